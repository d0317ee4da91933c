import { fail } from "../diagnostics/index.ts";
import type { UpdateItem } from "../parser/ast.ts";
import type { Elaborator } from "./elaborate.ts";
import type { EmitOrigin, Emitter, FoldBody, FoldResults, LayerRun, WeightRequest } from "./emitter.ts";
import type { SitePlan } from "./plan.ts";
import type { Routed, RoutingInput } from "./routing.ts";
import { Scope } from "./scope.ts";
import type { AxisRef, DType, Handle } from "./values.ts";

/**
 * States: what a router keeps from step to step outside the gradient (`state b [expert] = zeros()`), and what becomes of
 * them (`update b = b + rate * sign(mean(load) - load)`).
 *
 * A step may be made of several micro-batches, and an update need not be linear in what it sees of them. So an update
 * looks at the batch through sums over samples and positions alone. These are its statistics: they are computed with the
 * gradients, added up over the micro-batches as gradients are, and the rest of the update runs once a step, on their totals.
 * Both halves come from the same text: it is elaborated twice, and each emitter keeps its half.
 */
export function applyUpdates(elaborator: Elaborator, plan: SitePlan, routed: Routed, input: RoutingInput): void {
  const { ops } = elaborator;
  const updates = updatesOf(plan);
  if (updates.length === 0 || !ops.emitter.update) return;
  const given = new Scope(routed.scope);
  for (const name of ["sample", "position"]) given.define(name, { kind: "axis", axis: ops.axes.get(name, name) });
  if (!given.lookup("mask")) given.define("mask", input.mask);
  if (!given.lookup("gates")) given.define("gates", routed.gates);
  const name = plan.router!.definition.name.text;
  ops.inside("router", () => {
    for (const item of updates) {
      const scope = new Scope(given);
      const state = scope.lookup(item.name.text);
      if (state?.kind !== "tensor") continue;
      const next = (): Handle => {
        const at = item.body.result;
        const entity = elaborator.body(item.body, scope, `${name}'s update of ${item.name.text}`, at.span);
        const value = ops.cast(elaborator.tensor(entity, at), "f32");
        if (value.axes.length === 0 && state.axes.length > 0) return ops.expand(value, state.axes).handle;
        elaborator.result(state.axes, value, scope, at, `${name}'s update of ${item.name.text}`);
        return ops.transpose(value, state.axes).handle;
      };
      ops.at(item.body.result.span, () => ops.emitter.update!([...ops.path, item.name.text], next, ops.origin()));
    }
  });
}

/** What a router changes after each step. */
export function updatesOf(plan: Pick<SitePlan, "router">): UpdateItem[] {
  return (plan.router?.definition.items ?? []).filter((i): i is UpdateItem => i.kind === "update");
}

/** Whether a value belongs to one batch: an axis of its has a size that only a batch brings. */
export function ofBatch(type: { readonly axes: readonly AxisRef[] }): boolean {
  return type.axes.some((a) => typeof a.size === "string");
}

/** Whether an operation of an update is a statistic: a sum over all that the batch brings. */
export function isStatistic(op: string, operand: { readonly axes: readonly AxisRef[] }, result: { readonly axes: readonly AxisRef[] }): boolean {
  return op === "sum" && ofBatch(operand) && !ofBatch(result);
}

/** What the second half of an update is written to. */
export interface StateSink extends Emitter {
  /** The total of a statistic over the step: the one numbered `at` of a state. */
  statistic(state: readonly string[], at: number, type: { readonly axes: readonly AxisRef[]; readonly dtype: DType }): Handle;
  /** A state's next value. */
  next(state: readonly string[], value: Handle): void;
}

/** Values that the second half does not have: those of a batch, and those that depend on what is trained. */
const batch = Symbol("of a batch");
/** What a tensor that a batch brings is known by to a `StateEmitter`. */
export const batchValue: Handle = batch;
const opaque = Symbol("of what is trained");

/** Keeps of a whole elaboration what happens once a step: updates, on the totals of their statistics. */
export class StateEmitter implements Emitter {
  readonly #sink: StateSink;
  #updating: { readonly state: readonly string[]; at: number } | undefined;

  constructor(sink: StateSink) {
    this.#sink = sink;
  }

  op(op: string, operands: readonly Handle[], attributes: object, type: { readonly axes: readonly AxisRef[]; readonly dtype: DType }, origin: EmitOrigin): Handle {
    if (ofBatch(type)) return batch;
    if (operands.includes(opaque)) return opaque;
    if (operands.includes(batch)) {
      if (op !== "sum" || !this.#updating) return opaque;
      return this.#sink.statistic(this.#updating.state, this.#updating.at++, type);
    }
    return this.#sink.op(op, operands, attributes, type, origin);
  }

  pass(_args: readonly Handle[], type: { readonly axes: readonly AxisRef[] }): Handle {
    return ofBatch(type) ? batch : opaque;
  }

  weight(request: WeightRequest, origin: EmitOrigin): Handle {
    return request.trainable || request.tensor ? opaque : this.#sink.weight(request, origin);
  }

  number(): Handle {
    return opaque;
  }

  layer(): Handle {
    return opaque;
  }

  fold(
    run: LayerRun,
    carried: readonly Handle[],
    body: FoldBody,
    origin: EmitOrigin,
  ): FoldResults {
    let inner: FoldResults = { carried: [], summed: [], listed: [] };
    this.#sink.fold(
      run,
      [],
      () => {
        inner = body(carried.map(() => batch));
        return { carried: [], summed: [], listed: [] };
      },
      origin,
    );
    return { carried: carried.map(() => batch), summed: inner.summed.map(() => opaque), listed: inner.listed.map(() => batch) };
  }

  /** MOE2031 where the next value depends on the batch otherwise than through sums, or on what is trained. */
  update(state: readonly string[], next: () => Handle, origin: EmitOrigin): void {
    this.#updating = { state, at: 0 };
    try {
      const value = next();
      if (value === batch || value === opaque) {
        const { file, start, end } = origin;
        fail("MOE2031", `what becomes of "${state.at(-1)}" is not known once a step: it must be made of states, numbers and sums over the batch`, {
          at: { file, start, end },
          help: "sum over samples and positions first: load = sum(chosen * mask, over: [sample, position]); a mean is a sum over sum(mask, over: [sample, position])",
        });
      }
      this.#sink.next(state, value);
    } finally {
      this.#updating = undefined;
    }
  }
}
