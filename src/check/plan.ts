import { diagnostic, fail, type Diagnostic, type Span } from "../diagnostics/index.ts";
import type { AtClause, BalanceClause, Call, ExpertsClause, Expression, MapDefinition, Name, Patch } from "../parser/ast.ts";
import type { Definitions } from "./definitions.ts";
import { SyntaxUnit, type Elaborator } from "./elaborate.ts";
import { Scope } from "./scope.ts";
import { listed, suggest } from "./suggest.ts";
import { textOf } from "./text.ts";
import { constant, showConst, type AxisRef, type AxisTable, type Entity } from "./values.ts";

/** A column of the data that routers look at. */
export interface Field {
  readonly name: string;
  /** It holds whole numbers below this, and arrives one-hot along an axis of its own name; absent: any number. */
  readonly values?: number;
}

/** What an adapter says of its data. */
export interface DataPlan {
  /** Kinds of data, in order. */
  readonly kinds: readonly string[];
  readonly fields: readonly Field[];
}

/** A definition with the compile-time arguments of a call. */
export interface Applied {
  readonly definition: MapDefinition;
  readonly call: Call;
  readonly parameters: ReadonlyMap<string, Entity>;
  /** Weights that all experts of the group have in common (`shared: A`). */
  readonly shared: ReadonlySet<string>;
}

/** Experts of one definition and equal arguments: elaborated once, mapped over their own axis. */
export interface Bank extends Applied {
  /** Names its weights: the group's name, "experts" where it holds several, or the always-on expert's. */
  readonly name: string;
  readonly always: boolean;
  /** Experts in it; 1 where it is always on. */
  readonly count: number;
  /** Its first expert among the routed ones. */
  readonly start: number;
}

/**
 * Experts that are a whole block (MixLoRA): the block is computed once for each, with some of its linears adapted. Each
 * entry is a bank of as many experts, by the linear's name.
 */
export interface PatchBank {
  readonly name: string;
  readonly count: number;
  readonly start: number;
  readonly span: Span;
  readonly entries: ReadonlyMap<string, Bank>;
}

/** A named group of routed experts. */
export interface Group {
  readonly name: string;
  readonly start: number;
  readonly count: number;
  readonly kind: string;
  readonly span: Span;
}

/** A balance's weight that changes while training goes on: an expression of `step` and `steps`. */
export interface DynamicWeight {
  readonly expression: Expression;
  readonly scope: Scope;
}

export interface PlannedBalance extends Applied {
  readonly clause: BalanceClause;
  /** A number; or, where it depends on the step, what to evaluate for it, and where. */
  readonly weight: number | DynamicWeight;
  readonly reduction: "sum" | "mean" | "pooled";
  readonly unmasked: boolean;
  /** Kind of data to names of groups. */
  readonly map: ReadonlyMap<string, readonly string[]>;
}

/**
 * Whose a router is: each linear's own, which looks at the linear's input; or one for the linears of a block, of a layer,
 * or of the whole model, which looks at the input of that.
 */
export type RouterScope = (typeof routerScopes)[number];
export const routerScopes = ["linear", "block", "layer", "model"] as const;

/** What an `at` clause puts on one linear. */
export interface SitePlan {
  readonly at: AtClause;
  readonly banks: readonly Bank[];
  /** On a block: experts that are the whole block. */
  readonly patches: readonly PatchBank[];
  readonly groups: readonly Group[];
  /** All routed experts. */
  readonly experts: number;
  readonly router?: Applied;
  readonly scope: RouterScope;
  /** Whether the gates weigh what the experts compute, or the experts' weights. */
  readonly mix: "outputs" | "weights";
  readonly balances: readonly PlannedBalance[];
  readonly unfreeze: boolean;
}

/** Where a plan is made: the linear's sides and the layer, as the text sees them. */
export interface SitePlace {
  readonly in: AxisRef;
  readonly out: AxisRef;
  readonly layer?: number;
  readonly layers: number;
  /** Of a block: its linears' places, by name. */
  readonly linears?: ReadonlyMap<string, SitePlace>;
}

/** The scope of a definition applied at a place: its sides, `layer` and `layers` where there are layers. */
export function placeScope(place: SitePlace, parent?: Scope): Scope {
  const scope = new Scope(parent, []);
  scope.define("in", { kind: "axis", axis: place.in });
  scope.define("out", { kind: "axis", axis: place.out });
  if (place.layer !== undefined) scope.define("layer", constant(place.layer));
  scope.define("layers", constant(place.layers));
  return scope;
}

/** The axes that the data brings: `kind` where kinds are known, and one for each field of whole numbers. */
export function defineData(scope: Scope, data: DataPlan, axes: AxisTable): void {
  if (data.kinds.length) scope.define("kind", { kind: "axis", axis: axes.get("kind", data.kinds.length) });
  for (const f of data.fields) if (f.values !== undefined) scope.define(f.name, { kind: "axis", axis: axes.get(f.name, f.values) });
}

const kinds = { experts: "expert", always: "expert", route: "router", balance: "balance" } as const;

/** Makes the plan of one site; what is wrong goes to `diagnostics` and the rest is still planned. */
export class Planner {
  readonly #definitions: Definitions;
  readonly #elaborator: Elaborator;
  readonly #constants: Scope;
  /** Routers may look at it. */
  readonly #data: DataPlan;

  constructor(definitions: Definitions, elaborator: Elaborator, constants: Scope, data: DataPlan = { kinds: [], fields: [] }) {
    this.#data = data;
    this.#definitions = definitions;
    this.#elaborator = elaborator;
    this.#constants = constants;
  }

  plan(at: AtClause, place: SitePlace, guard: (body: () => void) => void, report: (d: Diagnostic) => void): SitePlan {
    const scope = placeScope(place, this.#constants);
    const groups: Group[] = [];
    const banks: Bank[] = [];
    const patches: PatchBank[] = [];
    let experts = 0;
    // Where a clause that lists experts is at fault, their number is not known, and nothing is said that depends on it.
    const total = () => (groups.length === at.clauses.filter((c) => c.kind === "experts").length ? experts : "unknown");
    const named = new Map<string, Span>();
    for (const clause of at.clauses) {
      if (clause.kind === "experts") {
        guard(() => {
          this.#name(clause.name, named);
          if (clause.value.kind === "patch") {
            const group = this.#group(clause, "patch", scope, experts);
            patches.push({ name: group.name, count: group.count, start: group.start, span: clause.value.span, entries: this.#patch(clause.value, group, place) });
            groups.push(group);
            experts += group.count;
            return;
          }
          const value = onLinear(clause.value, place);
          const group = this.#group(clause, value.callee.text, scope, experts);
          const applied = this.#apply({ kind: "experts", value }, scope, place);
          groups.push(group);
          experts += group.count;
          const last = banks[banks.length - 1];
          // Neighbours of one definition and equal arguments are one bank: one weight, one product.
          if (last && !last.always && last.start + last.count === group.start && sameApplication(last, applied)) {
            banks[banks.length - 1] = { ...last, name: "", count: last.count + group.count };
          } else banks.push({ ...applied, name: group.name, always: false, count: group.count, start: group.start });
        });
      } else if (clause.kind === "always") {
        guard(() => {
          if (clause.name) this.#name(clause.name, named);
          const applied = this.#apply({ kind: "always", value: onLinear(clause.value, place) }, scope, place);
          banks.push({ ...applied, name: clause.name?.text ?? "", always: true, count: 1, start: 0 });
        });
      }
    }
    let mix: SitePlan["mix"] = "outputs";
    for (const clause of at.clauses) {
      if (clause.kind !== "mix") continue;
      mix = clause.what.kind;
      if (mix === "weights" && patches.length) report(diagnostic("MOE3015", "an expert that is a whole block has no weights of one shape to mix", { at: clause.span, help: "put the experts on the block's linears, or mix their outputs" }));
    }
    let router: Applied | undefined;
    let routeAt: Span | undefined;
    let per: SitePlan["scope"] = "linear";
    for (const clause of at.clauses) {
      if (clause.kind !== "route") continue;
      guard(() => {
        if (routeAt) fail("MOE2020", "a site has one router", { at: clause.span, secondary: [{ span: routeAt, text: "the first is here" }] });
        routeAt = clause.span;
        if (clause.per) {
          const { text } = clause.per;
          const known = routerScopes.find((s) => s === text);
          per = known ?? fail("MOE2021", `there is no router per ${text}`, { at: clause.per.span, ...suggest(clause.per, routerScopes, "a router is per linear, per block, per layer or per model: the linears in it share the gates") });
        }
        router = this.#apply(clause, scope, place, { experts: total(), groups: groups.length });
      });
    }
    const where = at.path.span;
    const firstExperts = at.clauses.find((c) => c.kind === "experts");
    if (firstExperts && !routeAt) {
      report(diagnostic("MOE2022", "experts are listed and nothing routes to them", { at: firstExperts.span, help: "add a router, for example `route softmax()`; an expert without a gate is `always …`" }));
    }
    if (!firstExperts && routeAt) {
      report(diagnostic("MOE2023", "there is a router and no experts to route to", { at: routeAt, help: "list them, for example `experts e[4] = lora(rank: 4)`" }));
    }
    const balances: PlannedBalance[] = [];
    const inText = new Set(at.clauses.flatMap((c) => (c.kind === "experts" ? [c.name.text] : [])));
    for (const clause of at.clauses) {
      if (clause.kind !== "balance") continue;
      guard(() => {
        if (routeAt) balances.push(once(balances, this.#balance(clause, scope, place, groups, total(), inText, report), report));
        else if (!firstExperts) report(diagnostic("MOE2024", "a balance weighs a router's gates, and this site has no router", { at: clause.span, help: "list experts and a router, or remove it" }));
      });
    }
    const unfreeze = at.clauses.some((c) => c.kind === "unfreeze");
    if (at.clauses.length === 0) report(diagnostic("MOE2025", "this clause puts nothing on its sites", { at: where, help: "add `experts`, `always` or `unfreeze`" }));
    return { at, banks: nameBanks(banks, named), patches, groups, experts, balances, unfreeze, mix, scope: per, ...(router ? { router } : {}) };
  }

  /** Every group and always-on expert of a site has a name of its own: its weights lie under it. */
  #name(name: Name, named: Map<string, Span>): void {
    if (name.text === "") throw new SyntaxUnit();
    const before = named.get(name.text);
    if (before) fail("MOE2013", `"${name.text}" is already listed`, { at: name.span, secondary: [{ span: before, text: "first listed here" }], help: "give it another name" });
    if (reserved.includes(name.text)) fail("MOE2013", `"${name.text}" is what the ${name.text}'s own weights are called`, { at: name.span, help: "give the experts another name" });
    named.set(name.text, name.span);
  }

  /** The banks of a patch, by the linear that each changes. */
  #patch(patch: Patch, group: Group, place: SitePlace): ReadonlyMap<string, Bank> {
    const { linears } = place;
    if (!linears) return fail("MOE3015", "a patch changes a whole block, and this path names linear layers", { at: patch.span, help: "end the path at the block: at layers.*.mlp { … }" });
    const entries = new Map<string, Bank>();
    for (const entry of patch.entries) {
      for (const name of entry.linears) {
        if (name.text === "") throw new SyntaxUnit();
        const inside = linears.get(name.text);
        if (!inside) fail("MOE3010", `the block has no linear layer "${name.text}"`, { at: name.span, ...suggest(name, linears.keys(), `it has: ${[...linears.keys()].join(", ")}`) });
        if (entries.has(name.text)) fail("MOE2013", `"${name.text}" is changed twice`, { at: name.span });
        const applied = this.#apply({ kind: "experts", value: entry.value }, placeScope(inside, this.#constants), inside);
        entries.set(name.text, { ...applied, name: group.name, always: false, count: group.count, start: group.start });
      }
    }
    return entries;
  }

  #group(clause: ExpertsClause, kind: string, scope: Scope, start: number): Group {
    const count = this.#elaborator.evaluateConst(clause.count, scope, "the number of experts is known at compile time").value;
    if (typeof count !== "number" || !Number.isSafeInteger(count) || count < 1 || count > 4096) {
      fail("MOE3005", `a group has a whole number of experts from 1 to 4096, this is ${showConst(count)}`, { at: clause.count.span });
    }
    return { name: clause.name.text, start, count, kind, span: clause.name.span };
  }

  #definition(clause: { readonly kind: keyof typeof kinds; readonly value: Call }): MapDefinition {
    const kind = kinds[clause.kind];
    const { experts, routers, balances } = this.#definitions;
    const table = { expert: experts, router: routers, balance: balances }[kind];
    const name = clause.value.callee;
    const found = table.get(name.text);
    if (found) {
      if (this.#definitions.faulty.has(found)) throw new SyntaxUnit();
      return found;
    }
    if (name.text === "") throw new SyntaxUnit();
    const other = [...[experts, routers, balances].entries()].find(([, t]) => t.has(name.text));
    return fail("MOE2002", `no ${kind} is named "${name.text}"`, {
      at: name.span,
      ...(other ? { help: `"${name.text}" is ${["an expert", "a router", "a balance"][other[0]]}` } : suggest(name, table.keys(), listed("there are", table.keys()))),
    });
  }

  #apply(clause: { readonly kind: keyof typeof kinds; readonly value: Call }, outer: Scope, place: SitePlace, routing?: { readonly experts: number | "unknown"; readonly groups: number }): Applied {
    const definition = this.#definition(clause);
    // Defaults and requirements may speak of the site's sides and, in a router or balance, of its experts.
    const inner = placeScope(place);
    const experts = routing?.experts;
    if (experts === "unknown") for (const name of ["experts", "expert", "groups", "group"]) inner.faulty.add(name);
    else if (experts !== undefined) {
      inner.define("experts", constant(experts));
      inner.define("groups", constant(routing!.groups));
      const { axes } = this.#elaborator.ops;
      if (experts > 0) inner.define("expert", { kind: "axis", axis: axes.get("expert", experts) });
      if (routing!.groups > 0) inner.define("group", { kind: "axis", axis: axes.get("group", routing!.groups) });
      defineData(inner, this.#data, axes);
    }
    const { call, shared } = sharedWeights(definition, clause);
    this.#elaborator.parameters(definition.name.text, definition.parameters, call, outer, inner);
    const parameters = new Map(definition.parameters.map((p) => [p.name.text, inner.names.get(p.name.text)!]));
    for (const item of definition.items) {
      if (item.kind === "axis") this.#elaborator.defineAxis(item.name, item.size, inner);
      if (item.kind === "require" || item.kind === "expect") this.#elaborator.require(item, inner, definition.name.text, clause.value.span);
    }
    return { definition, call: clause.value, parameters, shared };
  }

  #weight(expression: Expression, scope: Scope): number | DynamicWeight {
    const value = this.#elaborator.evaluate(expression, withProgress(scope, this.#elaborator));
    if (value.kind === "tensor" && value.axes.length === 0) return { expression, scope };
    if (value.kind !== "const" || typeof value.value !== "number" || !Number.isFinite(value.value)) {
      return fail("MOE2005", "a balance's weight is a number", { at: expression.span, help: "it may depend on the layer, and on `step` and `steps`: 0.1 * (1 - step / steps)" });
    }
    return value.value;
  }

  #balance(clause: BalanceClause, scope: Scope, place: SitePlace, groups: readonly Group[], experts: number | "unknown", inText: ReadonlySet<string>, report: (d: Diagnostic) => void): PlannedBalance {
    const applied = this.#apply(clause, scope, place, { experts, groups: groups.length });
    const weight = clause.weight ? this.#weight(clause.weight, scope) : 1;
    const map = new Map<string, string[]>();
    const used = new Set<string>();
    for (const arrow of clause.map) {
      if (map.has(arrow.from.text)) fail("MOE2013", `the kind "${arrow.from.text}" is mapped twice`, { at: arrow.from.span, help: "one arrow may name several groups: kind -> a, b" });
      for (const [i, to] of arrow.to.entries()) {
        if (to.text === "") throw new SyntaxUnit();
        const known = groups.map((g) => g.name);
        if (!known.includes(to.text)) {
          // A group whose own clause is at fault is not unknown.
          if (inText.has(to.text)) throw new SyntaxUnit();
          fail("MOE2001", `no group of experts is named "${to.text}" here`, { at: to.span, ...suggest(to, known, listed("groups", known)) });
        }
        if (arrow.to.findIndex((t) => t.text === to.text) < i) fail("MOE2013", `the group "${to.text}" stands twice in one arrow`, { at: to.span });
        used.add(to.text);
      }
      map.set(arrow.from.text, arrow.to.map((t) => t.text));
    }
    const asks = applied.definition.signature?.parameters.map((p) => p.name.text) ?? [];
    if (asks.includes("matched")) {
      if (map.size === 0) fail("MOE2026", `${applied.definition.name.text} needs to know which kinds of data belong to which group`, { at: clause.value.span, help: `add arrows: { kind -> ${groups[0]?.name ?? "group"} … }` });
      for (const g of groups) {
        if (!used.has(g.name)) report(diagnostic("MOE2027", `no kind of data maps to the group "${g.name}"`, { at: g.span, secondary: [{ span: clause.span, text: "the arrows are here" }], help: "the constraint then pulls every kind away from it" }));
      }
    } else if (map.size > 0) {
      fail("MOE2028", `${applied.definition.name.text} does not look at kinds of data: these arrows would have no effect`, { at: clause.map[0]!.span });
    }
    if (!clause.unmasked && !asks.includes("mask")) {
      fail("MOE3021", `${applied.definition.name.text} counts padding: its statistic takes no mask`, { at: clause.value.span, help: "take `mask [sample, position]` in the definition, or write `unmasked` after the balance" });
    }
    return { ...applied, clause, weight, reduction: clause.reduction?.kind ?? "sum", unmasked: clause.unmasked !== undefined, map };
  }
}

/** A scope in which `step`, the steps done, and `steps`, how many there will be, are scalars. */
export function withProgress(scope: Scope, elaborator: Elaborator): Scope {
  const inner = new Scope(scope);
  for (const name of ["step", "steps"]) if (!scope.lookup(name)) inner.define(name, elaborator.ops.hostNumber(name));
  return inner;
}

/** A number, or the text of what changes, with the layer where it speaks of it. */
function weightKey({ weight, layer }: { readonly weight: number | DynamicWeight; readonly layer: unknown }): unknown {
  if (typeof weight === "number") return weight;
  const text = textOf(weight.expression);
  return [text, /\blayer\b/.test(text) ? layer : null];
}

/** Passes a balance on; says so where the site has the same one already. */
function once(before: readonly PlannedBalance[], planned: PlannedBalance, report: (d: Diagnostic) => void): PlannedBalance {
  const key = (b: PlannedBalance): string => JSON.stringify([applicationKey(b), b.unmasked, [...b.map].sort()]);
  const same = before.find((b) => key(b) === key(planned));
  if (same) {
    report(diagnostic("MOE2047", `${planned.definition.name.text} is counted twice`, { at: planned.clause.span, secondary: [{ span: same.clause.span, text: "the same balance is here" }], help: "write it once, with the weight that both have together" }));
  }
  return planned;
}

/** What stands on a linear: a definition. A block takes patches. */
function onLinear(value: Call | Patch, place: SitePlace): Call {
  if (value.kind === "call" && !place.linears) return value;
  if (value.kind === "call") {
    return fail("MOE3015", "this path names a whole block, whose experts are patches", {
      at: value.span,
      help: `say what changes in it: patch { ${[...place.linears!.keys()].join(", ")}: ${value.callee.text}(…) }; or go on to its linear layers`,
    });
  }
  return fail("MOE2022", "an expert that is a whole block has a router: write it as `experts`", { at: value.span, help: "for an update that always counts, put `always …` on the block's linears" });
}

/** Parts of a site that have weights under these names. */
const reserved: readonly string[] = ["router", "balance"];

/** Names the banks that the text does not: several groups in one, experts that are always on. No two share a name. */
function nameBanks(banks: readonly Bank[], named: ReadonlyMap<string, Span>): Bank[] {
  const taken = new Set(named.keys());
  return banks.map((bank) => {
    if (bank.name !== "") return bank;
    const wanted = bank.always ? "always" : "experts";
    let name = wanted;
    for (let n = 2; taken.has(name); n++) name = `${wanted}_${n}`;
    taken.add(name);
    return { ...bank, name };
  });
}

/**
 * `shared: A`, or a list: weights that the experts of a group have in common (HydraLoRA). Any expert takes it, so it is no
 * parameter of the definition.
 */
function sharedWeights(definition: MapDefinition, clause: { readonly kind: keyof typeof kinds; readonly value: Call }): { readonly call: Call; readonly shared: ReadonlySet<string> } {
  const call = clause.value;
  const own = definition.parameters.some((p) => p.name.text === "shared");
  const arg = clause.kind === "experts" && !own ? call.args.find((a) => a.name?.text === "shared") : undefined;
  if (!arg) return { call, shared: new Set() };
  const weights = definition.items.flatMap((i) => (i.kind === "weight" ? [i.name.text] : []));
  const shared = new Set<string>();
  for (const e of arg.value.kind === "list" ? arg.value.items : [arg.value]) {
    if (e.kind === "missing") throw new SyntaxUnit();
    const name = e.kind === "name" ? e.text : undefined;
    if (name === undefined || !weights.includes(name)) {
      fail("MOE2001", `${definition.name.text} has no weight ${name === undefined ? "like this" : `"${name}"`} to share`, {
        at: e.span,
        ...(name === undefined ? { help: `its weights: ${weights.join(", ")}` } : suggest({ text: name, span: e.span }, weights, `its weights: ${weights.join(", ")}`)),
      });
    }
    shared.add(name);
  }
  return { call: { ...call, args: call.args.filter((a) => a !== arg) }, shared };
}

function sameApplication(a: Applied, b: Applied): boolean {
  return a.definition === b.definition && a.shared.size === 0 && b.shared.size === 0 && applicationKey(a) === applicationKey(b);
}

/** Keys are asked for once a site and layer, and made once an application and a plan. */
const applicationKeys = new WeakMap<Applied, string>();
const planKeys = new WeakMap<SitePlan, string>();

/** What was made for an object before, or is made now. */
function kept<K extends object>(keys: WeakMap<K, string>, of: K, make: () => string): string {
  let key = keys.get(of);
  if (key === undefined) keys.set(of, (key = make()));
  return key;
}

/** Equal for equal definitions and arguments. */
export function applicationKey(a: Applied): string {
  return kept(applicationKeys, a, () => JSON.stringify([[...a.shared], a.definition.name.text, a.definition.span, [...a.parameters].map(([n, e]) => [n, e.kind === "const" ? e.value : e.kind])]));
}

/** Equal for sites that one layer function can serve. */
export function planKey(plan: SitePlan): string {
  return kept(planKeys, plan, () => JSON.stringify([
    plan.at.span,
    plan.banks.map((b) => [applicationKey(b), b.name, b.always, b.count, b.start]),
    plan.patches.map((p) => [p.name, p.start, p.count, [...p.entries].map(([linear, b]) => [linear, applicationKey(b)])]),
    plan.groups.map((g) => [g.name, g.start, g.count]),
    plan.router ? applicationKey(plan.router) : null,
    plan.scope,
    plan.mix,
    plan.balances.map((b) => [applicationKey(b), weightKey({ weight: b.weight, layer: typeof b.weight === "number" ? null : b.weight.scope.lookup("layer") }), b.reduction, b.unmasked, [...b.map]]),
    plan.unfreeze,
  ]));
}
