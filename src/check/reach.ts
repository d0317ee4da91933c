import type { EmitOrigin, Emitter, WeightRequest } from "./emitter.ts";

/** Which trainable weights a value's gradient reaches: the handle of the checker's emitter. */
type Reach = ReadonlySet<WeightUse>;

export interface WeightUse {
  readonly name: string;
  readonly origin: EmitOrigin;
}

const nothing: Reach = new Set();

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
  /** Sets are shared: one for each distinct union met, or a deep model costs memory for nothing. */
  readonly #single = new Map<string, Reach>();

  op(op: string, operands: readonly unknown[]): Reach {
    if (opaque.has(op)) return nothing;
    // The condition of a select and the rows of a gather carry no gradient.
    const flowing = (op === "select" ? operands.slice(1) : op === "gather" ? operands.slice(0, 1) : operands) as Reach[];
    let largest = nothing;
    for (const r of flowing) if (r.size > largest.size) largest = r;
    const missing = flowing.some((r) => r !== largest && [...r].some((w) => !largest.has(w)));
    if (!missing) return largest;
    const all = new Set(largest);
    for (const r of flowing) for (const w of r) all.add(w);
    return all;
  }

  weight(request: WeightRequest, origin: EmitOrigin): Reach {
    if (!request.trainable) return nothing;
    const name = request.path.join(".");
    const key = `${name} ${request.tensor?.(0) ?? ""} ${this.#run}`;
    const known = this.#single.get(key);
    if (known) return known;
    const use = { name, origin };
    this.weights.push(use);
    const reach = new Set([use]);
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
    body: (carried: readonly unknown[]) => { readonly carried: readonly unknown[]; readonly summed: readonly unknown[] },
  ): { readonly carried: readonly unknown[]; readonly summed: readonly unknown[] } {
    this.#run = run.layers[0]! + 1;
    const once = body(carried);
    this.#run = 0;
    return once;
  }
}
