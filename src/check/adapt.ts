import { fail } from "../diagnostics/index.ts";
import type { Call, Expression, Signature, WeightItem } from "../parser/ast.ts";
import type { Initial } from "./emitter.ts";
import { SyntaxUnit, type Elaborator } from "./elaborate.ts";
import { placeScope, type Applied, type Bank, type PlannedBalance, type SitePlace, type SitePlan } from "./plan.ts";
import { Scope } from "./scope.ts";
import { suggest } from "./suggest.ts";
import { showAxes, showConst, type AxisRef, type Tensor } from "./values.ts";

/** What a router and the balances on its gates work on. */
export interface RoutingInput {
  /** The routed layer's input, or the block's. */
  readonly x: Tensor;
  /** f32 [sample, position]: 1 at real tokens. */
  readonly mask: Tensor;
  /** i32 [sample]: index among `kinds`, or -1; absent where kinds are not known (generation). */
  readonly kind?: Tensor;
  readonly kinds: readonly string[];
  /** Names of adapter tensors for a layer: prefix is the path there. */
  readonly filePrefix: (layer: number | undefined) => string;
  /** How many routers the clause has, for a mean over them. */
  readonly sites: number;
}

/** What an adapted linear works on. */
export interface SiteInput extends RoutingInput {
  /** The layer's frozen output. */
  readonly y: Tensor;
  /** The frozen weight [in, out], in whatever order it lies. */
  readonly W: Tensor;
  /** The frozen weight's tensor in the checkpoint, and its axes there: what first values may be computed from. */
  readonly frozen: { readonly tensor: (layer: number | undefined) => string; readonly order: readonly AxisRef[] };
  /** Whether balance terms and the use of groups are wanted. */
  readonly statistics: boolean;
}

/** A router's gates. */
export interface Routed {
  /** [sample, position, expert] where it looks at tokens. */
  readonly gates: Tensor;
  readonly expert: AxisRef;
  /** What its text names on the way: balances may ask for it. */
  readonly intermediates: ReadonlyMap<string, Tensor>;
}

export interface Balanced {
  /** The weighted sum of the plan's balance terms, a scalar. */
  readonly balance?: Tensor;
  /** Each term before weighting, in the order of the text. */
  readonly terms: readonly Tensor[];
}

export interface SiteOutput extends Balanced {
  readonly output: Tensor;
  readonly gates?: Tensor;
}

/** Applies a plan to one linear whose router is its own: `route`, `applyExperts` and `balance` together. */
export function applySite(elaborator: Elaborator, plan: SitePlan, place: SitePlace, input: SiteInput): SiteOutput {
  const routed = route(elaborator, plan, place, input);
  const output = applyExperts(elaborator, plan, place, input, routed);
  const balanced: Balanced = input.statistics && routed ? balance(elaborator, plan, place, routed, input) : { terms: [] };
  return { output, ...balanced, ...(routed ? { gates: routed.gates } : {}) };
}

/** The gates of a plan's router, where it has one. */
export function route(elaborator: Elaborator, plan: SitePlan, place: SitePlace, input: RoutingInput): Routed | undefined {
  const { ops } = elaborator;
  if (!plan.router || plan.experts === 0) return undefined;
  const axis = ops.axes.get("expert", plan.experts);
  const routed = ops.inside("router", () => router(elaborator, plan.router!, place, axis, input));
  ops.emitter.label?.(routed.gates.handle, "gates");
  return { ...routed, expert: axis };
}

/**
 * y + Σ always(x) + Σ_e gates_e · expert_e(x). Everything general: each expert for every token, gates multiplied, summed
 * over the experts. What makes it cheap is the passes' work.
 */
export function applyExperts(elaborator: Elaborator, plan: SitePlan, place: SitePlace, input: SiteInput, routed: Routed | undefined): Tensor {
  const { ops } = elaborator;
  let output = input.y;
  for (const bank of plan.banks) {
    if (!bank.always && !routed) continue;
    output = ops.inside(bank.name, () =>
      ops.at(bank.call.span, () => {
        if (bank.always) return ops.arithmetic("add", output, expert(elaborator, bank, place, undefined, plan, input));
        const { own, share } = shareOf(elaborator, bank, plan, routed!, [input.x, input.y]);
        const value = expert(elaborator, bank, place, own, plan, input);
        return ops.arithmetic("add", output, ops.reduce("sum", ops.arithmetic("mul", share, value), [own]));
      }),
    );
  }
  return output === input.y ? output : ops.transpose(output, input.y.axes);
}

/** A bank's own expert axis, and its part of the gates. `beside` are tensors whose axes it must not be called like. */
export function shareOf(elaborator: Elaborator, bank: Pick<Bank, "name" | "start" | "count">, plan: SitePlan, routed: Routed, beside: readonly Tensor[]): { readonly own: AxisRef; readonly share: Tensor } {
  const { ops } = elaborator;
  if (bank.start === 0 && bank.count === plan.experts) return { own: routed.expert, share: routed.gates };
  const own = ops.axes.get(bank.name, bank.count, axisNames(...beside, routed.gates));
  return { own, share: ops.slice(routed.gates, routed.expert, bank.start, own) };
}

/** The balance terms on a router's gates. */
export function balance(elaborator: Elaborator, plan: SitePlan, place: SitePlace, routed: Routed, input: RoutingInput): Balanced {
  const { ops } = elaborator;
  const terms: Tensor[] = [];
  let total: Tensor | undefined;
  for (const planned of plan.balances) {
    const term = ops.inside("balance", () => ops.at(planned.clause.span, () => balanceTerm(elaborator, planned, plan, place, routed, input)));
    terms.push(term);
    const factor = planned.weight / (planned.reduction === "mean" ? input.sites : 1);
    const weighted = ops.at(planned.clause.span, () => ops.arithmetic("mul", term, ops.scalar(factor)));
    total = total ? ops.arithmetic("add", total, weighted) : weighted;
  }
  return { terms, ...(total ? { balance: total } : {}) };
}

function axisNames(...tensors: readonly (Tensor | undefined)[]): Set<string> {
  return new Set(tensors.flatMap((t) => t?.axes.map((a) => a.name) ?? []));
}

/**
 * The definition's scope at a place: sides, arguments, and what more it may speak of. Axes that a definition declares
 * are its own, whatever the model calls the axes of what the definition is given.
 */
function definitionScope(applied: Applied, place: SitePlace, given: readonly Tensor[], expertAxis?: AxisRef): Scope {
  const scope = placeScope(place);
  for (const name of axisNames(...given)) scope.hidden.add(name);
  for (const [name, value] of applied.parameters) scope.define(name, value);
  if (expertAxis) {
    scope.define("expert", { kind: "axis", axis: expertAxis });
    scope.define("experts", { kind: "const", value: expertAxis.size as number });
    scope.hidden.add(expertAxis.name);
  }
  return scope;
}

function signatureOf(applied: Applied): Signature {
  const signature = applied.definition.signature;
  if (!signature) throw new SyntaxUnit();
  return signature;
}

/** Binds a signature's parameters to what is offered by name. */
function bindOffers(elaborator: Elaborator, applied: Applied, signature: Signature, scope: Scope, offers: ReadonlyMap<string, Tensor>, who: string): void {
  for (const p of signature.parameters) {
    const value = offers.get(p.name.text);
    if (!value) {
      fail("MOE2015", `${who} is not given "${p.name.text}"`, { at: p.name.span, ...suggest(p.name, offers.keys(), `it may ask for: ${[...offers.keys()].join(", ")}`) });
    }
    if (p.kind === "tensor" && p.axes) {
      const declared = elaborator.declared(p.axes, scope);
      const missing = declared.filter((a) => !value.axes.includes(a));
      if (missing.length) {
        fail("MOE3001", `"${p.name.text}" is declared ${`[${p.axes.axes.map((a) => a.text).join(", ")}]`}, and what is given lacks ${missing.map((a) => scope.nameOf(a)).join(", ")}`, {
          at: p.span,
          secondary: [{ span: applied.call.span, text: "used here" }],
        });
      }
    }
    scope.define(p.name.text, value);
  }
}

/**
 * The signature's value. What the site does with it needs the axes `needed`, so the text may not declare others; a
 * number known at compile time is that number along all of them.
 */
function evaluateSignature(elaborator: Elaborator, applied: Applied, signature: Signature, scope: Scope, needed: readonly AxisRef[]): Tensor {
  const { ops } = elaborator;
  const name = applied.definition.name.text;
  const show = (axes: readonly AxisRef[]) => showAxes(axes, (a) => scope.nameOf(a));
  if (signature.result) {
    const declared = elaborator.declared(signature.result, scope);
    if (declared.length !== needed.length || needed.some((a) => !declared.includes(a))) {
      fail("MOE3002", `${name} is ${article(applied.definition.kind)}, whose result is ${show(needed)}; it declares ${show(declared)}`, { at: signature.result.span });
    }
  }
  const entity = elaborator.body(signature.body, scope, name, applied.call.span);
  const result = ops.at(signature.body.result.span, () => ops.cast(elaborator.tensor(entity, signature.body.result), "f32"));
  if (entity.kind !== "tensor" && needed.length > 0) return ops.at(signature.body.result.span, () => ops.expand(result, needed));
  elaborator.result(needed, result, scope, signature.body.result, name);
  return result;
}

function article(kind: string): string {
  return kind === "expert" ? "an expert" : `a ${kind}`;
}

function router(elaborator: Elaborator, applied: Applied, place: SitePlace, expertAxis: AxisRef, input: RoutingInput): { gates: Tensor; intermediates: Map<string, Tensor> } {
  const scope = definitionScope(applied, place, [input.x], expertAxis);
  const { ops } = elaborator;
  const signature = signatureOf(applied);
  const asksKind = signature.parameters.some((p) => p.name.text === "kind");
  if (input.kinds.length) scope.define("kind", { kind: "axis", axis: ops.axes.get("kind", input.kinds.length) });
  else if (asksKind) {
    fail("MOE2026", `${applied.definition.name.text} looks at the kind of data, and the adapter lists none`, { at: applied.call.span, help: "list them at the top of the adapter: kinds translation, summary" });
  }
  items(elaborator, applied, scope, place, undefined, { own: (layer) => [`${input.filePrefix(layer)}.router`] });
  const body = new Scope(scope);
  const offers = new Map([["x", input.x], ["mask", input.mask]]);
  if (input.kind && asksKind) offers.set("kind", kindOf(elaborator, input.kind, input.kinds));
  bindOffers(elaborator, applied, signature, body, offers, "a router");
  const before = new Set(body.names.keys());
  const gates = elaborator.ops.at(signature.span, () => {
    const value = evaluateSignature(elaborator, applied, signature, body, [expertAxis]);
    // A router that does not look at the token still gives every token its gates.
    const lacking = input.mask.axes.filter((a) => !value.axes.includes(a));
    return lacking.length ? elaborator.ops.expand(value, [...lacking, ...value.axes]) : value;
  });
  const intermediates = new Map<string, Tensor>();
  for (const [name, entity] of body.names) if (!before.has(name) && entity.kind === "tensor") intermediates.set(name, entity);
  return { gates, intermediates };
}

/** What a bank's experts add to a linear, for each of them where they have an axis. */
export function expert(elaborator: Elaborator, bank: Bank, place: SitePlace, axis: AxisRef | undefined, plan: SitePlan, input: SiteInput): Tensor {
  const scope = definitionScope(bank, place, [input.x, input.y]);
  if (axis) scope.hidden.add(axis.name);
  // Files keep experts apart, under the groups' names: how they are stacked is nobody's business there.
  const names = (layer: number | undefined): string[] => {
    const prefix = input.filePrefix(layer);
    if (!axis) return [`${prefix}.${bank.name}`];
    return Array.from({ length: bank.count }, (_, i) => {
      const group = plan.groups.find((g) => bank.start + i >= g.start && bank.start + i < g.start + g.count)!;
      return `${prefix}.${group.name}.${bank.start + i - group.start}`;
    });
  };
  const shared = (layer: number | undefined): string[] => [`${input.filePrefix(layer)}.${bank.name}.shared`];
  items(elaborator, bank, scope, place, axis, { own: names, shared, frozen: input.frozen });
  const signature = signatureOf(bank);
  const body = new Scope(scope);
  const offers = new Map([["x", input.x], ["y", input.y], ["W", input.W]]);
  bindOffers(elaborator, bank, signature, body, offers, "an expert");
  return elaborator.ops.at(signature.span, () => evaluateSignature(elaborator, bank, signature, body, [place.out]));
}

/** What a definition's weights belong to in files, by layer. */
interface Owners {
  /** One name a slice along the expert axis, or one. */
  readonly own: (layer: number | undefined) => string[];
  /** Of weights that a group's experts have in common. */
  readonly shared?: (layer: number | undefined) => string[];
  /** The frozen weight that first values may be computed from. */
  readonly frozen?: SiteInput["frozen"];
}

/**
 * Declares a definition's axes and weights; the weights are mapped over the expert axis where there is one. `owners` names
 * what they belong to in files.
 */
function items(
  elaborator: Elaborator,
  applied: Applied,
  scope: Scope,
  place: SitePlace,
  expertAxis: AxisRef | undefined,
  owners: Owners,
): void {
  const { ops } = elaborator;
  for (const item of applied.definition.items) {
    if (item.kind === "axis") elaborator.defineAxis(item.name, item.size, scope);
    if (item.kind !== "weight") continue;
    const declared = elaborator.declared(item.axes, scope);
    // The side that contracts with the input comes first, then the expert, so that A of all experts is one matrix
    // [in, expert·rank]; where the weight does not meet the input, the expert leads: B is [expert·rank, out].
    const mapped = applied.shared.has(item.name.text) ? undefined : expertAxis;
    const names = !mapped && expertAxis && owners.shared ? owners.shared : owners.own;
    const first = initial(elaborator, item, declared, scope, place);
    const axes = !mapped ? declared : declared[0] === place.in ? [declared[0], mapped, ...declared.slice(1)] : [mapped, ...declared];
    const tensor: Tensor = {
      kind: "tensor",
      axes,
      dtype: "f32",
      handle: ops.emitter.weight(
        {
          path: [...ops.path, item.name.text],
          axes,
          trainable: true,
          initial: first,
          decay: declared.length > 1,
          // Matrices lie in files as PyTorch's linear layers keep them, the output side first; a table looked up by kind
          // as its embeddings do, a row for each.
          order: [...(mapped ? [mapped] : []), ...(declared.length === 2 && declared[0]!.name !== "kind" ? [declared[1]!, declared[0]!] : declared)],
          adapter: { names: (layer) => names(layer).map((o) => `${o}.${item.name.text}`), ...(mapped ? { along: mapped } : {}) },
          ...(first.kind === "base_norm" && owners.frozen ? { base: owners.frozen } : {}),
        },
        ops.at(item.span, () => ops.origin()),
      ),
    };
    scope.define(item.name.text, tensor);
  }
}

/** Initial values that a definition may name. Arguments are positional or by name. */
const initializers: Readonly<Record<string, { readonly parameters: readonly string[]; readonly make: (a: readonly (number | undefined)[], fanIn: number) => Initial | string }>> = {
  zeros: { parameters: [], make: () => ({ kind: "zeros" }) },
  ones: { parameters: [], make: () => ({ kind: "ones" }) },
  constant: { parameters: ["value"], make: ([value]) => (value === undefined ? "value" : { kind: "constant", value }) },
  normal: { parameters: ["std"], make: ([std]) => (std === undefined ? "std" : { kind: "normal", std }) },
  uniform: { parameters: ["bound"], make: ([bound]) => (bound === undefined ? "bound" : { kind: "uniform", bound }) },
  kaiming_uniform: { parameters: ["a"], make: ([a], fanIn) => ({ kind: "kaiming_uniform", a: a ?? 0, fanIn }) },
};

export const initializerNames = [...Object.keys(initializers), "norm"];

/** `norm(W, over: in)`: computed from the site's frozen weight when an adapter starts afresh. */
function baseNorm(elaborator: Elaborator, e: Call, item: WeightItem, axes: readonly AxisRef[], scope: Scope, place: SitePlace): Initial {
  const parameters = ["W", "over"].map((text) => ({ name: { text, span: e.callee.span } }));
  const bound = elaborator.bind("norm", parameters, e.args);
  const [of, over] = parameters.map((p) => bound.get(p)?.value);
  if (of?.kind !== "name" || of.text !== "W" || !over) return fail("MOE2016", "an initial norm is of the site's frozen weight: norm(W, over: in)", { at: e.span });
  const axis = elaborator.axis(over, scope);
  const rest = [place.in, place.out].filter((a) => a !== axis);
  if (rest.length !== 1 || axes.length !== 1 || axes[0] !== rest[0]) {
    fail("MOE3002", `norm(W, over: ${scope.nameOf(axis)}) is [${rest.map((a) => scope.nameOf(a)).join(", ")}], "${item.name.text}" is [${axes.map((a) => scope.nameOf(a)).join(", ")}]`, { at: e.span });
  }
  return { kind: "base_norm", over: axis.name };
}

function initial(elaborator: Elaborator, item: WeightItem, axes: readonly AxisRef[], scope: Scope, place: SitePlace): Initial {
  const e: Expression | undefined = item.initial;
  if (e?.kind === "call" && e.callee.text === "norm") return baseNorm(elaborator, e, item, axes, scope, place);
  if (!e) return fail("MOE2016", `the weight "${item.name.text}" needs an initial value`, { at: item.span, help: `for example = zeros(); there are: ${initializerNames.join(", ")}` });
  if (e.kind === "missing") throw new SyntaxUnit();
  if (e.kind !== "call" || !Object.hasOwn(initializers, e.callee.text)) {
    const all = `there are: ${initializerNames.map((n) => `${n}()`).join(", ")}`;
    const name = e.kind === "call" ? e.callee : e.kind === "name" ? e : undefined;
    return fail("MOE2016", "an initial value is one of the known distributions", { at: name?.span ?? e.span, ...(name ? suggest(name, initializerNames, all) : { help: all }) });
  }
  const row = initializers[e.callee.text]!;
  const parameters = row.parameters.map((text) => ({ name: { text, span: e.callee.span } }));
  const bound = elaborator.bind(e.callee.text, parameters, e.args);
  const values = parameters.map((p) => {
    const arg = bound.get(p);
    if (!arg) return undefined;
    const value = elaborator.evaluateConst(arg.value, scope, "an initial value is known at compile time").value;
    if (typeof value !== "number") return fail("MOE2005", `a number is needed here, this is ${showConst(value)}`, { at: arg.span });
    return value;
  });
  const sizes = axes.slice(0, -1).map((a) => a.size);
  const fanIn = sizes.reduce<number>((n, s) => n * (typeof s === "number" ? s : 1), 1);
  const made = row.make(values, fanIn);
  if (typeof made === "string") return fail("MOE2003", `${e.callee.text} needs ${made}`, { at: e.span });
  return made;
}

function balanceTerm(
  elaborator: Elaborator,
  planned: PlannedBalance,
  plan: SitePlan,
  place: SitePlace,
  { gates, expert: expertAxis, intermediates }: Routed,
  input: RoutingInput,
): Tensor {
  const { ops } = elaborator;
  const scope = definitionScope(planned, place, [input.x], expertAxis);
  const sample = ops.axes.get("sample", "sample");
  const position = ops.axes.get("position", "position");
  scope.define("sample", { kind: "axis", axis: sample });
  scope.define("position", { kind: "axis", axis: position });
  items(elaborator, planned, scope, place, undefined, { own: () => [] });
  const mask = planned.unmasked ? ops.expand(ops.scalar(1), [sample, position]) : input.mask;
  const offers = new Map<string, Tensor>([["gates", gates], ["mask", mask], ...intermediates]);
  const signature = signatureOf(planned);
  if (signature.parameters.some((p) => p.name.text === "matched") && input.kind) offers.set("matched", matched(elaborator, planned, plan, expertAxis, input.kind, input.kinds));
  const body = new Scope(scope);
  bindOffers(elaborator, planned, signature, body, offers, "a balance");
  const term = ops.at(signature.span, () => evaluateSignature(elaborator, planned, signature, body, []));
  // An axis that the text does not see cannot be mapped over here: a balance is one number for the batch.
  if (term.axes.length) {
    fail("MOE3002", `${planned.definition.name.text} is one number for the batch, and computes ${showAxes(term.axes)}`, {
      at: signature.body.result.span,
      help: "declare the axes of what it asks for, so that its reductions see them: gates [sample, position, expert]",
    });
  }
  return term;
}

/** f32 [sample, kind]: 1 at the sample's kind; all 0 where it is none of them. */
function kindOf(elaborator: Elaborator, kind: Tensor, kinds: readonly string[]): Tensor {
  const { ops } = elaborator;
  const axis = ops.axes.get("kind", kinds.length);
  const index = ops.emit("index", [], { axis, dtype: "i32" }, [axis], "i32");
  return ops.cast(ops.compare("eq", kind, index), "f32");
}

/** bool [sample, expert]: whether the sample's kind maps to the expert's group. No row of the table for kind -1. */
function matched(elaborator: Elaborator, planned: PlannedBalance, plan: SitePlan, expertAxis: AxisRef, kind: Tensor, kinds: readonly string[]): Tensor {
  const { ops } = elaborator;
  const kindAxis = ops.axes.get("kind", kinds.length);
  const values = kinds.flatMap((k) =>
    Array.from({ length: plan.experts }, (_, e) => {
      const group = plan.groups.find((g) => e >= g.start && e < g.start + g.count)!;
      return planned.map.get(k)?.includes(group.name) ? 1 : 0;
    }),
  );
  const is = kindOf(elaborator, kind, kinds);
  return ops.compare("gt", ops.dot(is, ops.table(values, [kindAxis, expertAxis]), [kindAxis]), ops.scalar(0.5));
}
