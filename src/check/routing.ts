import { fail } from "../diagnostics/index.ts";
import { bindOffers, definitionScope, evaluateSignature, signatureOf } from "./definition.ts";
import type { Elaborator } from "./elaborate.ts";
import type { Applied, SitePlace, SitePlan } from "./plan.ts";
import { Scope } from "./scope.ts";
import type { AxisRef, Tensor } from "./values.ts";
import { items } from "./weights.ts";

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

/** A router's gates. */
export interface Routed {
  /** [sample, position, expert] where it looks at tokens. */
  readonly gates: Tensor;
  readonly expert: AxisRef;
  /** What its text names on the way: balances may ask for it. */
  readonly intermediates: ReadonlyMap<string, Tensor>;
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

/** f32 [sample, kind]: 1 at the sample's kind; all 0 where it is none of them. */
export function kindOf(elaborator: Elaborator, kind: Tensor, kinds: readonly string[]): Tensor {
  const { ops } = elaborator;
  const axis = ops.axes.get("kind", kinds.length);
  const index = ops.emit("index", [], { axis, dtype: "i32" }, [axis], "i32");
  return ops.cast(ops.compare("eq", kind, index), "f32");
}
