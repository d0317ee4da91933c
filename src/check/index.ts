import { diagnostic, DiagnosticError, fail, type Code, type Diagnostic, type Span } from "../diagnostics/index.ts";
import type { TrainSettings } from "../formats/manifest.ts";
import type { AdapterDeclaration, AtClause, BaseDeclaration, Declaration, ModelDefinition, SourceFile, TrainDeclaration } from "../parser/ast.ts";
import { Assembly, type AdapterPlan, type ForwardInput } from "./assemble.ts";
import { elaborator, type ElaborationContext } from "./context.ts";
import { collect, type Definitions } from "./definitions.ts";
import { type Elaborator, SyntaxUnit } from "./elaborate.ts";
import { dryEmitter } from "./emitter.ts";
import { compareTensors, configSchema, instantiate, type ModelInstance, type ModelNode, type TensorHeader } from "./model.ts";
import { evaluateConstants } from "./params.ts";
import { resolvePath } from "./paths.ts";
import { Planner, type SitePlace, type SitePlan } from "./plan.ts";
import { nothing, reached, ReachEmitter, type Reach } from "./reach.ts";
import { Scope } from "./scope.ts";
import { listed, suggest } from "./suggest.ts";
import { LineIndex, type TensorOps } from "./tensors.ts";
import { checkAlone } from "./unused.ts";
import { defaultTrain, trainSettings } from "./train.ts";
import { AxisTable, type Tensor } from "./values.ts";

export { Assembly, type AdapterPlan, type Forward, type ForwardInput } from "./assemble.ts";
export { applySite, type SiteInput, type SiteOutput } from "./adapt.ts";
export { initializerNames } from "./weights.ts";
export { builtins } from "./builtins.ts";
export { Elaborator } from "./elaborate.ts";
export { elaborator, type ElaborationContext } from "./context.ts";
export { configSchema, type ModelInstance, type ModelNode } from "./model.ts";
export { defaultTrain } from "./train.ts";
export { Planner, type SitePlan, type SitePlace, type Bank, type Group } from "./plan.ts";
export { Scope } from "./scope.ts";
export { LineIndex, TensorOps } from "./tensors.ts";
export { AxisTable, type AxisRef, type Tensor, type Handle } from "./values.ts";
export type { Emitter, EmitOrigin, Initial, LayerRun, WeightRequest } from "./emitter.ts";
export type { Definitions } from "./definitions.ts";

/** A checkpoint folder's headers, read before checking; no weight is read. */
export interface CheckpointHeaders {
  readonly config: unknown;
  readonly configText: string;
  readonly configFile: string;
  readonly tensors: ReadonlyMap<string, TensorHeader>;
}

export interface CheckInput {
  /** The library, parsed. */
  readonly library: readonly SourceFile[];
  /** The spec, then what it imports. */
  readonly files: readonly SourceFile[];
  /** Values for `param`s, as texts. */
  readonly set: ReadonlyMap<string, string>;
  /** Headers by the path that a `base` names; diagnostics where they could not be read. */
  readonly checkpoints: ReadonlyMap<string, CheckpointHeaders | readonly Diagnostic[]>;
  /** Validates a configuration (ajv). */
  readonly validate: (schema: object, value: unknown, text: string, file: string) => readonly Diagnostic[];
  /** Extra tensors in a checkpoint are errors. */
  readonly strict?: boolean;
}

export interface CheckedBase {
  readonly name: string;
  readonly declaration: BaseDeclaration;
  readonly path: string;
  readonly model: ModelInstance;
}

/** An adapter with everything decided and proved: lowering it cannot fail for a reason of the user's. */
export interface CheckedAdapter {
  readonly name: string;
  readonly declaration: AdapterDeclaration;
  readonly base: CheckedBase;
  readonly plan: AdapterPlan;
  readonly train: TrainSettings;
}

export interface Checked {
  readonly definitions: Definitions;
  readonly adapters: readonly CheckedAdapter[];
  readonly diagnostics: readonly Diagnostic[];
  /** For further elaborations of the same program. */
  readonly context: ElaborationContext;
}

/** Checks a spec: names, types, axes, the checkpoint, and that every weight learns. Never throws for a user's mistake. */
export function check(input: CheckInput): Checked {
  const reporter = new Reporter([...input.library, ...input.files]);
  const definitions = collect(input.library, input.files, (d) => reporter.add(d));
  const lines = new Map<string, LineIndex>();
  const texts = new Map([...input.library, ...input.files].map((f) => [f.path, f.text]));
  const constants = new Scope();
  const context: ElaborationContext = {
    axes: new AxisTable(),
    definitions,
    constants,
    lines: (file) => {
      const text = texts.get(file);
      if (text === undefined) return undefined;
      let index = lines.get(file);
      if (!index) lines.set(file, (index = new LineIndex(text)));
      return index;
    },
  };
  const dry = elaborator(context, dryEmitter, true);
  evaluateConstants(input.set, definitions, dry, constants, reporter);

  const bases = new Map<string, CheckedBase | undefined>();
  for (const [name, declaration] of definitions.bases) {
    reporter.guard(() => bases.set(name, checkBase(name, declaration, definitions, input, dry, reporter)));
    if (!bases.has(name)) bases.set(name, undefined);
  }
  for (const declaration of definitions.trains) {
    const { text, span } = declaration.adapter;
    if (text !== "" && !definitions.adapters.has(text)) {
      reporter.add(diagnostic("MOE2001", `no adapter is named "${text}"`, { at: span, ...suggest(declaration.adapter, definitions.adapters.keys(), listed("there are", definitions.adapters.keys(), "the spec declares none")) }));
    }
  }
  const used = new Set<object>();
  const adapters: CheckedAdapter[] = [];
  for (const [name, declaration] of definitions.adapters) {
    reporter.guard(() => {
      const adapter = checkAdapter(name, declaration, bases, context, dry, reporter, used);
      if (adapter) adapters.push(adapter);
    });
  }
  for (const d of input.files.flatMap((f) => f.declarations)) {
    if ((d.kind !== "expert" && d.kind !== "router" && d.kind !== "balance") || used.has(d) || !d.signature || definitions.faulty.has(d)) continue;
    reporter.guard(() => checkAlone(d, context));
  }
  return { definitions, adapters, diagnostics: reporter.list, context };
}

/** Codes that say that something is missing: where the text is broken it may only have been misread. */
const absences: ReadonlySet<Code> = new Set<Code>(["MOE2022", "MOE2023", "MOE2024", "MOE2025", "MOE2026", "MOE2027"]);

/** Codes that say that a name is declared nowhere. */
const unknowns: ReadonlySet<Code> = new Set<Code>(["MOE2001", "MOE2002"]);

/** Collects diagnostics; a unit that throws one is left, the next is looked at. */
class Reporter {
  readonly list: Diagnostic[];
  readonly #seen = new Set<string>();
  /** Declarations that hold syntax errors. */
  readonly #broken: readonly Span[];
  /** A declaration was lost to a syntax error: what it declared is not unknown. */
  readonly #lost: boolean;

  constructor(files: readonly SourceFile[]) {
    this.list = files.flatMap((f) => f.diagnostics);
    const holds = (d: Declaration, s: Diagnostic) => s.primary !== undefined && lies(s.primary.span, d.span);
    this.#broken = files.flatMap((f) => f.declarations.filter((d) => f.diagnostics.some((s) => holds(d, s))).map((d) => d.span));
    this.#lost = files.some((f) => f.diagnostics.some((s) => !f.declarations.some((d) => holds(d, s))));
  }

  /**
   * Adds a diagnostic unless that mistake was reported already: the same code at the same place is one mistake, also
   * where a definition is applied at many sites, or where each layer would say it in other numbers.
   */
  add(d: Diagnostic): void {
    if (d.primary && this.#misread(d.code, d.primary.span)) {
      this.#errors++;
      return;
    }
    this.#addOnce(d, d.primary ? `${d.code} ${d.primary.span.file}:${d.primary.span.start}-${d.primary.span.end}` : `${d.code} ${d.message}`);
  }

  /** Adds what is wrong with a file that the text names `at` a place: several faults may share that place. */
  addFile(d: Diagnostic, at: Span): void {
    this.#addOnce(d.primary ? d : { ...d, primary: { span: at } }, `${d.code} ${d.message}`);
  }

  #addOnce(d: Diagnostic, key: string): void {
    if (d.severity === "error") this.#errors++;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.list.push(d);
  }

  /** Whether a declaration holds syntax errors. */
  isBroken(declaration: Span): boolean {
    return this.#broken.includes(declaration);
  }

  /** Whether a syntax error accounts for what would be said here. */
  #misread(code: Code, span: Span): boolean {
    if (unknowns.has(code)) return this.#lost;
    return absences.has(code) && this.#broken.some((b) => lies(span, b));
  }


  readonly guard = (body: () => void): void => {
    try {
      body();
    } catch (e) {
      if (!(e instanceof DiagnosticError)) throw e;
      if (e.diagnostics.length === 0) this.#errors++;
      for (const d of e.diagnostics) this.add(d);
    }
  };

  /** How often something was wrong, said again or not: whether a unit is whole shows by comparing before and after. */
  get errors(): number {
    return this.#errors;
  }

  #errors = 0;
}

function lies(inner: Span, outer: Span): boolean {
  return inner.file === outer.file && inner.start >= outer.start && inner.end <= outer.end;
}

/** The path a `base` declaration names; undefined where its argument is not one string. */
export function basePath(declaration: BaseDeclaration): string | undefined {
  const [arg, more] = declaration.args;
  if (!arg || more || (arg.name && arg.name.text !== "path")) return undefined;
  return arg.value.kind === "string" ? arg.value.value : undefined;
}

/** The model definition of a base. */
function baseModel(declaration: BaseDeclaration, definitions: Definitions): ModelDefinition {
  const model = definitions.models.get(declaration.model.text);
  if (model) {
    if (definitions.faulty.has(model)) throw new SyntaxUnit();
    return model;
  }
  if (declaration.model.text === "") throw new SyntaxUnit();
  return fail("MOE2002", `no model is named "${declaration.model.text}"`, {
    at: declaration.model.span,
    ...suggest(declaration.model, definitions.models.keys(), listed("there are", definitions.models.keys())),
  });
}

function checkBase(name: string, declaration: BaseDeclaration, definitions: Definitions, input: CheckInput, dry: Elaborator, reporter: Reporter): CheckedBase | undefined {
  if (reporter.isBroken(declaration.span)) return undefined;
  const model = baseModel(declaration, definitions);
  const path = basePath(declaration);
  if (path === undefined) return fail("MOE2003", `${declaration.model.text}(…) takes the path of a checkpoint folder`, { at: declaration.span, help: `for example ${declaration.model.text}("models/tiny-llama")` });
  const at = declaration.args[0]!.span;
  const headers = input.checkpoints.get(path);
  if (!headers) return undefined;
  if (Array.isArray(headers)) {
    for (const d of headers as readonly Diagnostic[]) reporter.addFile(d, at);
    return undefined;
  }
  const files = headers as CheckpointHeaders;
  const problems = input.validate(configSchema(model), files.config, files.configText, files.configFile);
  for (const d of problems) reporter.add(d);
  if (problems.some((d) => d.severity === "error")) return undefined;
  const instance = instantiate(model, files.config as Record<string, unknown>, dry, at);
  // The folder that was read: `--base` may have put another in the spec's place.
  const folder = files.configFile.replace(/\/?config\.json$/, "") || ".";
  const wrong = compareTensors(instance, files.tensors, folder, input.strict ?? false);
  for (const d of wrong) reporter.add(d.primary ? d : { ...d, secondary: [...d.secondary, { span: at, text: "the checkpoint is named here" }] });
  if (wrong.some((d) => d.severity === "error")) return undefined;
  return { name, declaration, path, model: instance };
}

function checkAdapter(
  name: string,
  declaration: AdapterDeclaration,
  bases: ReadonlyMap<string, CheckedBase | undefined>,
  context: ElaborationContext,
  dry: Elaborator,
  reporter: Reporter,
  used: Set<object>,
): CheckedAdapter | undefined {
  const before = reporter.errors;
  const train = trainOf(name, context.definitions);
  const settings = train ? trainSettings(train, context.constants, dry, reporter.guard) : defaultTrain;
  if (!bases.has(declaration.base.text)) {
    if (declaration.base.text === "") return undefined;
    fail("MOE2001", `no base is named "${declaration.base.text}"`, {
      at: declaration.base.span,
      ...suggest(declaration.base, bases.keys(), listed("there are", bases.keys(), 'declare one, for example: base llama = llama("models/tiny-llama")')),
    });
  }
  const base = bases.get(declaration.base.text);
  if (!base) return undefined;
  const plan = planAdapter(declaration, base.model, context, dry, reporter, used);
  if (reporter.errors > before) return undefined;
  const adapter = { name, declaration, base, plan, train: settings };
  proveReach(adapter, context, reporter);
  return reporter.errors > before ? undefined : adapter;
}

/** How an adapter is trained: its own block, or that of the adapter it varies. */
function trainOf(name: string, { trains, parents }: Definitions): TrainDeclaration | undefined {
  for (let of: string | undefined = name; of !== undefined; of = parents.get(of)) {
    const own = trains.find((t) => t.adapter.text === of);
    if (own) return own;
  }
  return undefined;
}

/** Resolves every `at` against the model and plans each site. */
function planAdapter(declaration: AdapterDeclaration, model: ModelInstance, context: ElaborationContext, dry: Elaborator, reporter: Reporter, used: Set<object>): AdapterPlan {
  const report = (d: Diagnostic) => reporter.add(d);
  const kinds = kindsOf(declaration, report);
  const planner = new Planner(context.definitions, dry, context.constants, kinds);
  const sites = new Map<string, SitePlan>();
  const unfrozen = new Set<string>();
  const routers = new Map<AtClause, Set<string>>();
  const owners = new Map<string, AtClause>();
  const shared = new Map<string, { readonly at: AtClause; readonly plan: SitePlan }>();
  if (declaration.sites.length === 0) reporter.add(diagnostic("MOE2025", `the adapter "${declaration.name.text}" adapts nothing`, { at: declaration.name.span, help: "add a clause: at PATH { … }" }));
  for (const at of declaration.sites) {
    const found: Diagnostic[] = [];
    const nodes = resolvePath(at.path, model.nodes, model.definition.name.text, found);
    for (const d of found) reporter.add(d);
    if (nodes.length === 0) continue;
    if (at.clauses.some((c) => c.kind === "unfreeze")) {
      const named = new Set(nodes.map((n) => n.path.join(".")));
      const within = (n: ModelNode): boolean => n.path.some((_, length) => named.has(n.path.slice(0, length + 1).join(".")));
      for (const n of model.nodes) if (n.kind !== "block" && within(n)) unfrozen.add(n.path.join("."));
    }
    if (!at.clauses.some((c) => c.kind !== "unfreeze")) {
      if (at.clauses.length === 0) planSyntaxOnly(at, report);
      continue;
    }
    const blocks = nodes.filter((n) => n.kind === "block" && linearsOf(n, model).length > 0);
    const onBlocks = at.clauses.some((c) => (c.kind === "experts" || c.kind === "always") && c.value.kind === "patch") && blocks.length > 0;
    const linears = onBlocks ? blocks : nodes.filter((n) => n.kind === "linear");
    if (linears.length === 0) {
      const inside = [...new Set(model.nodes.filter((n) => n.kind === "linear" && nodes.some((m) => isWithin(n, m))).map((n) => n.path[n.path.length - 1]!))];
      reporter.add(
        diagnostic("MOE3015", "experts stand on linear layers, and this path names none", {
          at: at.path.span,
          ...(inside.length ? { help: `linear layers inside: ${inside.join(", ")}; go on with .{${inside.join(", ")}}` } : {}),
        }),
      );
      continue;
    }
    for (const node of linears) {
      const path = node.path.join(".");
      const inside = node.kind === "block" ? linearsOf(node, model) : [];
      const covered = [path, ...inside.map((n) => n.path.join("."))];
      const owner = covered.map((p) => owners.get(p)).find((o) => o !== undefined && o !== at);
      if (owner) {
        reporter.add(diagnostic("MOE3016", `${path} is adapted twice`, { at: at.path.span, secondary: [{ span: owner.path.span, text: "already here" }], help: "put all its experts into one clause" }));
        break;
      }
      for (const p of covered) owners.set(p, at);
      const place = placeOf(node, model);
      if (!place) continue;
      const plan = planner.plan(at, place, reporter.guard, report);
      for (const a of [...plan.banks, ...plan.patches.flatMap((p) => [...p.entries.values()]), ...(plan.router ? [plan.router] : []), ...plan.balances]) used.add(a.definition);
      if (plan.scope === "block" && !sharesRouter(at, plan, routerPath(path, plan), shared, report)) break;
      sites.set(path, plan);
      routers.set(at, (routers.get(at) ?? new Set()).add(routerPath(path, plan)));
    }
  }
  return { sites, unfrozen, kinds, groups: groupsOf(sites), siteCount: (plan) => routers.get(plan.at)?.size ?? 1 };
}

/** A block has one router of its own, for one clause and as many experts on each of its linears. */
function sharesRouter(at: AtClause, plan: SitePlan, block: string, shared: Map<string, { readonly at: AtClause; readonly plan: SitePlan }>, report: (d: Diagnostic) => void): boolean {
  const first = shared.get(block);
  if (!first) shared.set(block, { at, plan });
  else if (first.at !== at) {
    const route = (of: AtClause): Span => (of.clauses.find((c) => c.kind === "route") ?? of.path).span;
    report(diagnostic("MOE2020", `${block} has a router per block already`, { at: route(at), secondary: [{ span: route(first.at), text: "the first is here" }], help: "put the linears that share it into one clause, or leave out `per block` in one of them" }));
    return false;
  } else if (first.plan.experts !== plan.experts) {
    report(diagnostic("MOE3005", `the linears of ${block} share a router, and have ${first.plan.experts} and ${plan.experts} experts`, { at: at.path.span, help: "give each as many, or leave out `per block`" }));
    return false;
  }
  return true;
}

function planSyntaxOnly(at: AtClause, report: (d: Diagnostic) => void): void {
  report(diagnostic("MOE2025", "this clause puts nothing on its sites", { at: at.path.span, help: "add `experts`, `always` or `unfreeze`" }));
}

function isWithin(node: ModelNode, outer: ModelNode): boolean {
  return outer.path.length <= node.path.length && outer.path.every((p, i) => node.path[i] === p);
}

/** The kinds of data of an adapter: those it lists, else those that its arrows name. A listed kind stands once. */
function kindsOf(declaration: AdapterDeclaration, report: (d: Diagnostic) => void): string[] {
  const kinds = new Set<string>();
  for (const kind of declaration.kinds ?? []) {
    if (kinds.has(kind.text)) report(diagnostic("MOE2013", `the kind "${kind.text}" is listed twice`, { at: kind.span }));
    if (kind.text !== "") kinds.add(kind.text);
  }
  const arrows = declaration.sites.flatMap((at) => at.clauses.flatMap((c) => (c.kind === "balance" ? c.map : [])));
  for (const { from } of arrows) {
    if (from.text === "" || kinds.has(from.text)) continue;
    if (!declaration.kinds) kinds.add(from.text);
    else report(diagnostic("MOE2001", `the adapter lists no kind "${from.text}"`, { at: from.span, ...suggest(from, kinds, `its kinds: ${[...kinds].join(", ")}`) }));
  }
  return [...kinds];
}

/** The linear layers directly in a block. */
function linearsOf(block: ModelNode, model: ModelInstance): ModelNode[] {
  return model.nodes.filter((n) => n.kind === "linear" && n.path.length === block.path.length + 1 && isWithin(n, block));
}

/** Where a plan is made: a linear's sides, or a block's input with its linears. Undefined for a block without an input axis. */
function placeOf(node: ModelNode, model: ModelInstance): SitePlace | undefined {
  const layer = { layers: model.layers, ...(node.layer === undefined ? {} : { layer: node.layer }) };
  const [from, to] = node.axes;
  if (node.kind !== "block") return { in: from!, out: to!, ...layer };
  if (!from) return undefined;
  return { in: from, out: from, ...layer, linears: new Map(linearsOf(node, model).map((n) => [n.path.at(-1)!, { in: n.axes[0]!, out: n.axes[1]!, ...layer }])) };
}

/** The layer or block that a site's router belongs to. */
function routerPath(path: string, plan: SitePlan): string {
  return plan.scope === "block" ? path.slice(0, Math.max(0, path.lastIndexOf("."))) : path;
}

/** All groups, with the number of routers that each is weighed by. */
function groupsOf(sites: ReadonlyMap<string, SitePlan>): { name: string; experts: number; sites: number }[] {
  const groups = new Map<string, { experts: number; routers: Set<string> }>();
  for (const [path, plan] of sites) {
    for (const g of plan.groups) {
      const known = groups.get(g.name) ?? { experts: g.count, routers: new Set() };
      groups.set(g.name, { experts: Math.max(known.experts, g.count), routers: known.routers.add(routerPath(path, plan)) });
    }
  }
  return [...groups].map(([name, { experts, routers }]) => ({ name, experts, sites: routers.size }));
}

/** The tensors that a batch brings, as parameters of an elaboration. */
export function batchTensors(ops: TensorOps, handle: (name: string, tensor: Omit<Tensor, "handle">) => unknown): ForwardInput {
  const sample = ops.axes.get("sample", "sample");
  const position = ops.axes.get("position", "position");
  const make = (name: string, dtype: Tensor["dtype"], axes: Tensor["axes"]): Tensor => {
    const tensor = { kind: "tensor" as const, dtype, axes };
    return { ...tensor, handle: handle(name, tensor) };
  };
  return {
    tokens: make("tokens", "i32", [sample, position]),
    mask: make("mask", "f32", [sample, position]),
    kind: make("kind", "i32", [sample]),
  };
}

/** Elaborates once to type-check the whole, and proves that every trainable weight reaches the loss. */
function proveReach(adapter: CheckedAdapter, context: ElaborationContext, reporter: Reporter): void {
  const emitter = new ReachEmitter();
  const e = elaborator(context, emitter, true);
  const assembly = new Assembly(e, adapter.base.model, adapter.plan, { statistics: true });
  const forward = assembly.forward(batchTensors(e.ops, () => nothing));
  const learning = reached([forward.logits, ...(forward.balance ? [forward.balance] : [])].map((t) => t.handle as Reach));
  for (const use of emitter.weights) {
    if (learning.has(use)) continue;
    const { file, start, end } = use.origin;
    reporter.add(diagnostic("MOE3020", `the weight "${use.name.slice(use.name.lastIndexOf(".") + 1)}" does not reach the loss: it would never learn`, { at: { file, start, end }, help: "use it in the result, or remove it" }));
  }
  if (emitter.weights.length === 0) {
    reporter.add(diagnostic("MOE2025", `the adapter "${adapter.name}" has nothing to train`, { at: adapter.declaration.name.span }));
  }
  for (const plan of adapter.plan.sites.values()) {
    for (const b of plan.balances) {
      if (b.weight === 0) reporter.add(diagnostic("MOE3022", "a balance with weight 0 has no effect", { at: b.clause.span, help: "remove it, or give it a weight" }));
    }
  }
}
