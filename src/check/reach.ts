import type { EmitOrigin, Emitter, FoldBody, FoldResults, WeightRequest } from "./emitter.ts";

/**
 * What a value's gradient flows to: the handle of the checker's emitter. A graph, not a set of weights: sets would grow
 * with every layer of a deep model.
 */
export interface Reach {
  readonly from: readonly Reach[];
  readonly weight?: WeightUse;
}

export interface WeightUse {
  readonly name: string;
  readonly origin: EmitOrigin;
}

/** A value that no gradient leaves. */
export const nothing: Reach = { from: [] };

/** Operations through which no gradient flows. */
const opaque = new Set([
  "stop", "sign", "floor", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "one_hot", "argmax", "is_top",
  "constant", "table", "index", "extent", "fill", "random",
]);

/**
 * Elaborates without building: follows which trainable weights reach which values. A weight that does not reach the
 * objective would never learn (rule: every trainable weight reaches the loss).
 */
export class ReachEmitter implements Emitter {
  readonly weights: WeightUse[] = [];
  readonly #single = new Map<string, Reach>();

  /** A gradient may flow back to every argument. */
  pass(args: readonly unknown[]): Reach {
    return this.op("pass", args);
  }

  op(op: string, operands: readonly unknown[]): Reach {
    if (opaque.has(op)) return nothing;
    // The condition of a select and the rows of a gather carry no gradient.
    const flowing = (op === "select" ? operands.slice(1) : op === "gather" ? operands.slice(0, 1) : operands) as Reach[];
    const from = flowing.filter((r) => r !== nothing);
    return from.length === 0 ? nothing : from.length === 1 ? from[0]! : { from };
  }

  weight(request: WeightRequest, origin: EmitOrigin): Reach {
    if (!request.trainable) return nothing;
    const name = request.path.join(".");
    const key = `${name} ${request.tensor?.(0) ?? ""} ${this.#run}`;
    const known = this.#single.get(key);
    if (known) return known;
    const use = { name, origin };
    this.weights.push(use);
    const reach: Reach = { from: [], weight: use };
    this.#single.set(key, reach);
    return reach;
  }

  number(): Reach {
    return nothing;
  }

  layer(): Reach {
    return nothing;
  }

  #run = 0;

  fold(
    run: { readonly layers: readonly number[] },
    carried: readonly unknown[],
    body: FoldBody,
  ): FoldResults {
    this.#run = run.layers[0]! + 1;
    const once = body(carried);
    this.#run = 0;
    return once;
  }
}

/** The weights that gradients reach from some values. */
export function reached(values: readonly Reach[]): Set<WeightUse> {
  const seen = new Set<Reach>(values);
  const found = new Set<WeightUse>();
  // A set is walked in the order of insertion, with what is added on the way.
  for (const value of seen) {
    if (value.weight) found.add(value.weight);
    for (const source of value.from) seen.add(source);
  }
  return found;
}
