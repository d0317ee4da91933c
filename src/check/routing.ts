import { fail, nearest } from "../diagnostics/index.ts";
import type { Signature } from "../parser/ast.ts";
import { asksFor, bindOffers, definitionScope, evaluateSignature, mentionsAxis, signatureOf, type Offer } from "./definition.ts";
import type { Elaborator } from "./elaborate.ts";
import { defineData, type Applied, type DataPlan, type Field, type SitePlace, type SitePlan } from "./plan.ts";
import { Scope } from "./scope.ts";
import { constant, type AxisRef, type AxisTable, type Tensor } from "./values.ts";
import { items } from "./weights.ts";

/** What a router and the balances on its gates work on. */
export interface RoutingInput {
  /** The routed layer's input, or the block's. */
  readonly x: Tensor;
  /** f32 [sample, position]: 1 at real tokens. */
  readonly mask: Tensor;
  /** i32 [sample]: index among the kinds, or -1. */
  readonly kind: Tensor;
  readonly data: DataPlan;
  /** What only some routers ask for. */
  readonly batch: LazyBatch;
  /** The base's own last hidden states at each token, [sample, position, hidden], where a whole model is elaborated. */
  readonly firstPass?: () => { readonly states: Tensor; readonly hidden: AxisRef };
  /** What a linear's own router may look at of its experts. */
  readonly experts?: ExpertWeights;
  /** Names of adapter tensors for a layer: prefix is the path there. */
  readonly filePrefix: (layer: number | undefined) => string;
  /** How many routers the clause has, for a mean over them. */
  readonly sites: number;
}

/** The weights of experts that are all of one definition. */
export interface ExpertWeights {
  readonly names: readonly string[];
  /** The definition's scope with the weights, which are mapped over `expert`; made when a router asks. */
  readonly scope: () => Scope;
}

/** Tensors that a batch brings where a program asks for them. */
export interface LazyBatch {
  /** f32 [sample, position]: 1 at the tokens of the prompt, those before the completion. */
  readonly prompt: () => Tensor;
  /** [sample]: i32 where the field has so many values, else f32. */
  readonly field: (field: Field) => Tensor;
}

/** A router's gates. */
export interface Routed {
  /** [sample, position, expert]. */
  readonly gates: Tensor;
  /** As the router gave them: without `sample` or `position` where it does not look at these. */
  readonly compact: Tensor;
  readonly expert: AxisRef;
  /** The scope of its text, once it was elaborated: updates go on in it. */
  readonly scope: Scope;
  /** What its text names on the way: balances may ask for it. */
  readonly intermediates: ReadonlyMap<string, Tensor>;
}

/** The gates of a plan's router, where it has one. */
export function route(elaborator: Elaborator, plan: SitePlan, place: SitePlace, input: RoutingInput): Routed | undefined {
  const { ops } = elaborator;
  if (!plan.router || plan.experts === 0) return undefined;
  const axis = ops.axes.get("expert", plan.experts);
  const routed = ops.inside("router", () => router(elaborator, plan, place, axis, input));
  ops.emitter.label?.(routed.gates.handle, "gates");
  return { ...routed, expert: axis };
}

/** What every router may ask for: no field of the data is called so. */
export const offered: readonly string[] = ["x", "mask", "prompt", "kind", "group", "first_pass", "sample", "position", "expert", "in", "out", "hidden"];

function router(elaborator: Elaborator, plan: SitePlan, place: SitePlace, expertAxis: AxisRef, input: RoutingInput): Omit<Routed, "expert"> {
  const applied = plan.router!;
  const { ops } = elaborator;
  const { kinds, fields } = input.data;
  const scope = definitionScope(applied, place, [input.x], expertAxis);
  const signature = signatureOf(applied);
  if (asksFor(signature, "kind") && kinds.length === 0) {
    fail("MOE2026", `${applied.definition.name.text} looks at the kind of data, and the adapter lists none`, { at: applied.call.span, help: "list them at the top of the adapter: kinds translation, summary" });
  }
  requireFields(applied, signature, fields, input.experts?.names ?? []);
  const first = asksFor(signature, "first_pass") ? input.firstPass?.() : undefined;
  if (first) scope.define("hidden", { kind: "axis", axis: first.hidden });
  if (mentionsAxis(signature, "position")) scope.define("position", { kind: "axis", axis: ops.axes.get("position", "position") });
  defineGroups(scope, plan, ops.axes);
  defineData(scope, input.data, ops.axes);
  items(elaborator, applied, scope, place, undefined, { own: (layer) => [[input.filePrefix(layer), "router"].filter((part) => part !== "").join(".")] });
  const body = new Scope(scope);
  const offers = new Map<string, Offer>([["x", input.x], ["mask", input.mask], ["prompt", input.batch.prompt], ["group", () => groupsOf(elaborator, plan, expertAxis)]]);
  if (kinds.length) offers.set("kind", () => oneHot(elaborator, input.kind, ops.axes.get("kind", kinds.length)));
  for (const f of fields) {
    const { values } = f;
    offers.set(f.name, () => (values === undefined ? input.batch.field(f) : oneHot(elaborator, input.batch.field(f), ops.axes.get(f.name, values))));
  }
  if (first) offers.set("first_pass", first.states);
  if (input.experts) offerWeights(signature, input.experts, scope, offers);
  bindOffers(elaborator, applied, signature, body, offers, "a router");
  const before = new Set(body.names.keys());
  const position = body.lookup("position");
  const perPosition = signature.result?.axes.some((a) => a.text === "position") && position?.kind === "axis" ? [position.axis] : [];
  const [compact, gates] = ops.at(signature.span, () => {
    const value = evaluateSignature(elaborator, applied, signature, body, [...perPosition, expertAxis]);
    // A router that does not look at the token still gives every token its gates.
    const lacking = input.mask.axes.filter((a) => !value.axes.includes(a));
    return [value, lacking.length ? ops.expand(value, [...lacking, ...value.axes]) : value] as const;
  });
  const intermediates = new Map<string, Tensor>();
  for (const [name, entity] of body.names) if (!before.has(name) && entity.kind === "tensor") intermediates.set(name, entity);
  return { gates, compact, intermediates, scope: body };
}

/** Offers the experts' weights that a signature asks for, and puts their own axes in scope under the names that the experts give them. */
function offerWeights(signature: Signature, experts: ExpertWeights, scope: Scope, offers: Map<string, Offer>): void {
  const asked = signature.parameters.filter((p) => p.kind === "tensor" && experts.names.includes(p.name.text) && !offers.has(p.name.text));
  if (asked.length === 0) return;
  const own = experts.scope();
  for (const p of asked) {
    const weight = own.lookup(p.name.text);
    if (weight?.kind !== "tensor") continue;
    offers.set(p.name.text, weight);
    for (const axis of weight.axes) {
      const name = own.nameOf(axis);
      if (!scope.lookupAxis(name)) scope.define(name, { kind: "axis", axis });
    }
  }
}

/** What a router asks for along an axis of its own name, or of none, is a field of the data: the adapter must declare it. */
function requireFields({ definition, call }: Applied, signature: Signature, fields: readonly Field[], weights: readonly string[]): void {
  for (const p of signature.parameters) {
    const axes = p.kind === "tensor" && p.axes ? p.axes.axes.map((a) => a.text) : undefined;
    if (!axes || axes.some((a) => a !== p.name.text) || offered.includes(p.name.text) || weights.includes(p.name.text) || fields.some((f) => f.name === p.name.text)) continue;
    const names = fields.map((f) => f.name);
    const [near] = nearest(p.name.text, names, 1);
    fail("MOE2015", `${definition.name.text} looks at the field "${p.name.text}" of the data, and the adapter declares ${near === undefined ? "none" : `"${near}"`}`, {
      at: call.span,
      secondary: [{ span: p.span, text: "asked for here" }],
      help: near === undefined ? `declare it at the top of the adapter: field ${p.name.text}${axes.length ? "[8], with as many values as it has" : ""}` : `call the field "${p.name.text}", as the column of the data`,
    });
  }
}

/** `groups` and the axis `group`, for what a router or a balance says of groups. */
export function defineGroups(scope: Scope, plan: SitePlan, axes: AxisTable): void {
  scope.define("groups", constant(plan.groups.length));
  if (plan.groups.length) scope.define("group", { kind: "axis", axis: axes.get("group", plan.groups.length) });
}

/** f32 [expert, group]: 1 where the expert is of the group. */
export function groupsOf(elaborator: Elaborator, plan: SitePlan, expertAxis: AxisRef): Tensor {
  const { ops } = elaborator;
  const values = Array.from({ length: plan.experts }, (_, e) => plan.groups.map((g) => Number(e >= g.start && e < g.start + g.count)));
  return ops.table(values.flat(), [expertAxis, ops.axes.get("group", plan.groups.length)]);
}

/** f32 [.., axis]: 1 at the place that a whole number names; all 0 where it is none of them. */
export function oneHot(elaborator: Elaborator, x: Tensor, axis: AxisRef): Tensor {
  const { ops } = elaborator;
  const index = ops.emit("index", [], { axis, dtype: "i32" }, [axis], "i32");
  return ops.cast(ops.compare("eq", x, index), "f32");
}
