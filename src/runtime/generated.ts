/**
 * What generated code calls beside TensorFlow.js itself. Every helper borrows its arguments and returns tensors that the
 * caller owns; what it makes on the way is freed before it returns (`addInto` alone consumes what it is given, and says so).
 */
import type { Tensor, Tensor1D } from "@tensorflow/tfjs-core";
import { Adapter } from "./adapter.ts";
import { chanceValues, randomValues } from "./draws.ts";
import { floatOf, onWasm, onWebGPU } from "./portable.ts";
import type { BatchInput, CompiledProgram, Tf, WeightStore } from "./program.ts";
import type { AdapterProgram, AdapterTypes } from "./typed.ts";

export { collect, dispatch, groupedDot, groupedOuter, spread } from "./grouped.ts";
export { noBalance, noUsage } from "./nothing.ts";
export { broadcastOf, cosOf, floatOf, reverseOf, sinOf, transposeOf, whereOf } from "./portable.ts";

// What generated TypeScript names, so that this module alone is enough for it.
export type { Manifest } from "../formats/manifest.ts";
export type { Entries, Tf } from "./program.ts";
export type { AdapterOf, AdapterProgram, AdapterTypes, TrainableOf, WeightsOf, WeightTypes } from "./typed.ts";

/** A generated module's export: its manifest and functions, and `load`. */
export function program<T extends AdapterTypes = AdapterTypes>(compiled: CompiledProgram): AdapterProgram<T> {
  return { ...compiled, load: (options) => Adapter.load<T["groups"], T["kinds"]>(compiled, options) };
}

/** The one tensor of a weight. Throws a TypeError where the store lacks it or holds one a layer. */
export function weightOf(store: WeightStore, name: string): Tensor {
  const found = Object.hasOwn(store, name) ? store[name] : undefined;
  if (found === undefined || Array.isArray(found)) throw new TypeError(`the store has no tensor ${JSON.stringify(name)}`);
  return found as Tensor;
}

/** A weight's tensors, one a layer. Throws a TypeError where the store has not `count` of them. */
export function weightsOf(store: WeightStore, name: string, count: number): readonly Tensor[] {
  const found = Object.hasOwn(store, name) ? store[name] : undefined;
  if (!Array.isArray(found) || found.length !== count) throw new TypeError(`the store has no list of ${count} tensors ${JSON.stringify(name)}`);
  return found as readonly Tensor[];
}

/** A field of the data, [sample]. Throws a TypeError where the batch lacks it. */
export function fieldOf(input: Pick<BatchInput, "fields">, name: string): Tensor1D {
  const found = Object.hasOwn(input.fields, name) ? input.fields[name] : undefined;
  if (found === undefined) throw new TypeError(`the batch has no field ${JSON.stringify(name)}`);
  return found;
}

/** The `axis` of a tensor's shape in units of `factor`: how a batch tells its sizes. RangeError where it does not divide. */
export function sizeOf(tensor: Tensor, axis: number, factor = 1): number {
  const size = (tensor.shape[axis] ?? Number.NaN) / factor;
  if (!Number.isInteger(size)) throw new RangeError(`axis ${axis} of a tensor [${tensor.shape.join(", ")}] is not a multiple of ${factor}`);
  return size;
}

/** An entry that a module without trainable weights does not have. */
export function missing(entry: string): never {
  throw new Error(`this adapter has nothing to train, so it has no \`${entry}\``);
}

/** total + term, elementwise; frees both. */
export function addInto<T extends Tensor>(tf: Tf, total: T, term: T): T {
  const sum: T = tf.add(total, term);
  total.dispose();
  term.dispose();
  return sum;
}

/** Counter-based numbers, f32 [shape]: a function of (seed, step, stream, layer) alone. */
export function random(tf: Tf, distribution: "uniform" | "normal", seed: number, step: number, layer: number, stream: number, shape: number[]): Tensor {
  return tf.tensor(randomValues(distribution, seed, step, layer, stream, shape), shape, "float32");
}

/** bool [shape]: whether the uniform numbers that `random` would give are at least `least`; a byte each, made at once. */
export function chance(tf: Tf, least: number, seed: number, step: number, layer: number, stream: number, shape: number[]): Tensor {
  return tf.tensor(chanceValues(least, seed, step, layer, stream, shape), shape, "bool");
}

/** log(softmax(x)) along the last axis, without the tape that `tf.logSoftmax` prepares. */
export function logSoftmax(tf: Tf, x: Tensor): Tensor {
  return tf.tidy(() => {
    const shifted = tf.sub(x, tf.max(x, -1, true));
    const powers = tf.exp(shifted);
    const total = tf.log(tf.sum(powers, -1, true));
    powers.dispose(); // as large as x, and the result comes yet
    return tf.sub(shifted, total);
  });
}

/**
 * f32: 1 at each index along a new last axis, all 0 where an index is outside. `classes` is i32 0, 1, 2 … along that axis.
 * A comparison, since wasm's OneHot kernel writes beyond its result for an index outside, and core refuses one class. On wasm
 * it is made of arithmetic, exact for numbers below 2^24: a comparison that repeats its operands takes 55 ns an element there.
 */
export function oneHot(tf: Tf, indices: Tensor, classes: Tensor): Tensor {
  return tf.tidy(() => {
    const own = tf.reshape(indices, [indices.size, 1]);
    if (!onWasm(tf)) return tf.reshape(floatOf(tf, tf.equal(own, classes)), [...indices.shape, classes.size]);
    let hot = tf.sub(floatOf(tf, own), floatOf(tf, classes));
    // As wide as a vocabulary: each is freed as soon as the next is there.
    for (const next of [tf.abs, (x: Tensor) => tf.sub(1, x), tf.relu]) {
      const last = hot;
      hot = next(last);
      last.dispose();
    }
    return tf.reshape(hot, [...indices.shape, classes.size]);
  });
}

/**
 * Whether an element is among the k greatest along the last axis; ties go to the lower index (`tf.topk` does not promise to
 * order them alike on every backend). Chosen on the host: scores are few, and read in less time than one kernel over them
 * takes. Where that cannot be done at once, by counting how many elements come before each, pairwise: n² comparisons for n.
 */
export function isTop(tf: Tf, x: Tensor, k: number): Tensor {
  const n = x.shape[x.rank - 1]!;
  const rows = x.size / n;
  if (!onWebGPU(tf)) return tf.tensor(topOf(x.dataSync() as Float32Array, rows, n, k), x.shape, "bool");
  return tf.tidy(() => {
    const own = tf.reshape(x, [rows, n, 1]);
    const other = tf.reshape(x, [rows, 1, n]);
    const index = tf.range(0, n, 1, "int32");
    const lower = tf.less(tf.reshape(index, [1, 1, n]), tf.reshape(index, [1, n, 1]));
    const tied = tf.mul(floatOf(tf, tf.equal(other, own)), floatOf(tf, lower));
    const before = tf.sum(tf.add(floatOf(tf, tf.greater(other, own)), tied), -1);
    return tf.reshape(tf.less(before, tf.scalar(k - 0.5)), x.shape);
  });
}

function topOf(values: Float32Array, rows: number, n: number, k: number): Uint8Array {
  const top = new Uint8Array(values.length);
  for (let start = 0; start < rows * n; start += n) {
    for (let found = 0; found < k; found++) {
      let best = -1;
      for (let i = start; i < start + n; i++) if (top[i] === 0 && (best < 0 || values[i]! > values[best]!)) best = i;
      top[best] = 1;
    }
  }
  return top;
}

/** Sums `updates` [indices…, rest…] into the rows of a new [rows, rest…]. */
export function scatterAdd(tf: Tf, indices: Tensor, updates: Tensor, rows: number): Tensor {
  const rest = updates.shape.slice(indices.rank);
  const width = rest.reduce((n, size) => n * size, 1);
  return tf.tidy(() => {
    const sums = tf.scatterND(tf.reshape(indices, [indices.size, 1]), tf.reshape(updates, [indices.size, width]), [rows, width]);
    return tf.reshape(sums, [rows, ...rest]);
  });
}
