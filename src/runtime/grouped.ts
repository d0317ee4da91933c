/**
 * Tokens sorted by the experts they chose, and one product for each expert: what `dispatch`, `spread`, `collect`,
 * `grouped_dot` and `grouped_outer` of the graph become. Which rows an expert has is known when the numbers are, so the
 * counts are read on the host in the midst of a step; an expert without rows costs nothing.
 *
 * WebGPU cannot be read without waiting: there the same numbers come from products with every expert, rows of others
 * masked. All helpers borrow their arguments; what they make on the way is freed.
 */
import type { Tensor, Tensor1D, Tensor2D } from "@tensorflow/tfjs-core";
import { floatOf, onWebGPU } from "./portable.ts";
import type { Tf } from "./program.ts";

/** Row-major numbers of a tensor, at once: for a backend that can. */
const read = (x: Tensor): Float32Array => x.dataSync() as Float32Array;

/** wasm's slices copy their whole operand, and its gathers go element by element; its memory is the host's to read, though. */
const onHost = (tf: Tf): boolean => tf.getBackend() === "wasm" || tf.getBackend() === "cpu";

/** [rows] tokens, [k, tokens] rows, [rows] choices, [choices] counts, of a mask [tokens, choices]: what the graph's `dispatch` says. */
export function dispatch(tf: Tf, mask: Tensor, k: number): [Tensor1D, Tensor2D, Tensor1D, Tensor1D] {
  if (onWebGPU(tf)) return dispatchUnread(tf, mask, k);
  const [tokens, choices] = mask.shape as [number, number];
  const is = mask.dataSync();
  const chosen = new Int32Array(tokens * k);
  const count = new Int32Array(choices);
  for (let t = 0; t < tokens; t++) {
    let found = 0;
    for (const wanted of [true, false]) {
      for (let e = 0; e < choices && found < k; e++) {
        if (Boolean(is[t * choices + e]) !== wanted) continue;
        chosen[t * k + found++] = e;
        count[e]!++;
      }
    }
  }
  const next = new Int32Array(choices);
  for (let e = 1; e < choices; e++) next[e] = next[e - 1]! + count[e - 1]!;
  const [token, choice, place] = [new Int32Array(tokens * k), new Int32Array(tokens * k), new Int32Array(tokens * k)];
  for (let t = 0; t < tokens; t++) {
    for (let s = 0; s < k; s++) {
      const e = chosen[t * k + s]!;
      const row = next[e]!++;
      token[row] = t;
      choice[row] = e;
      place[s * tokens + t] = row;
    }
  }
  return [tf.tensor1d(token, "int32"), tf.tensor2d(place, [k, tokens], "int32"), tf.tensor1d(choice, "int32"), tf.tensor1d(count, "int32")];
}

/** Each row gets its token's values: [tokens, rest] to [rows, rest]. */
export function spread(tf: Tf, x: Tensor, token: Tensor, place: Tensor): Tensor {
  if (tf.getBackend() !== "wasm" || x.dtype !== "float32") return tf.gather(x, token as Tensor1D);
  const [k, tokens] = place.shape as [number, number];
  const rows = token.size;
  const width = x.size / tokens;
  return tf.tidy(() => {
    const flat = tf.reshape(x, [tokens, width]);
    const parts = tf.unstack(place).map((at) => tf.scatterND(tf.reshape(at, [tokens, 1]), flat, [rows, width]));
    return tf.reshape(k === 1 ? parts[0]! : parts.reduce((a, b) => tf.add(a, b)), [rows, ...x.shape.slice(1)]);
  });
}

/** The sum of each token's rows: [rows, rest] to [tokens, rest]. */
export function collect(tf: Tf, x: Tensor, token: Tensor, place: Tensor): Tensor {
  const tokens = place.shape[1]!;
  const rest = x.shape.slice(1);
  return tf.tidy(() => {
    if (tf.getBackend() !== "wasm") return tf.unstack(place).map((at) => tf.gather(x, at as Tensor1D)).reduce((a, b) => tf.add(a, b));
    const width = x.size / token.size;
    return tf.reshape(tf.scatterND(tf.reshape(token, [token.size, 1]), tf.reshape(x, [token.size, width]), [tokens, width]), [tokens, ...rest]);
  });
}

/** Rows [rows, k] times the matrices of their groups, [groups, k, n] or, transposed, [groups, n, k]. */
export function groupedDot(tf: Tf, a: Tensor, b: Tensor, count: Tensor, transposeB = false): Tensor {
  const [rows, depth] = a.shape as [number, number];
  const groups = b.shape[0]!;
  const width = b.shape[transposeB ? 1 : 2]!;
  return tf.tidy(() => {
    if (onWebGPU(tf)) {
      const own = ownership(tf, count, rows);
      if (depth <= width) return tf.matMul(masked(tf, a, own), tf.reshape(transposeB ? tf.transpose(b, [0, 2, 1]) : b, [groups * depth, width]) as Tensor2D);
      const all = tf.matMul(a as Tensor2D, tf.reshape(tf.transpose(b, transposeB ? [2, 0, 1] : [1, 0, 2]), [depth, groups * width]) as Tensor2D);
      return tf.sum(tf.mul(tf.reshape(all, [rows, groups, width]), tf.reshape(own, [rows, groups, 1])), 1);
    }
    const counts = count.dataSync() as Int32Array;
    const parts = segments(tf, a, counts);
    const matrices = matricesOf(tf, b);
    const products = parts.map(({ group, rows: part }) => {
      const matrix = matrices(group);
      if (!transposeB) return tf.matMul(part, matrix);
      // wasm's products with transposed matrices are ten times slower than transposing first, other backends' are not.
      return tf.getBackend() === "wasm" ? tf.matMul(part, tf.transpose(matrix)) : tf.matMul(part, matrix, false, true);
    });
    return products.length === 1 ? products[0]! : tf.concat(products, 0);
  });
}

/** For each group the sum over its rows of a [rows, m] times b [rows, n]: [groups, m, n]. `a` is the smaller: it is transposed. */
export function groupedOuter(tf: Tf, a: Tensor, b: Tensor, count: Tensor): Tensor {
  const [rows, height] = a.shape as [number, number];
  const width = b.shape[1]!;
  const groups = count.size;
  return tf.tidy(() => {
    if (onWebGPU(tf)) {
      const spreadOut = tf.transpose(masked(tf, a, ownership(tf, count, rows)));
      return tf.reshape(tf.matMul(spreadOut, b as Tensor2D), [groups, height, width]);
    }
    const counts = count.dataSync() as Int32Array;
    const left = segments(tf, a, counts);
    const products = new Map(segments(tf, b, counts).map(({ group, rows: part }, i) => [group, transposedDot(tf, left[i]!.rows, part)] as const));
    const none = products.size < groups ? tf.zeros([height, width]) : undefined;
    return tf.reshape(tf.concat(Array.from({ length: groups }, (_, g) => products.get(g) ?? (none as Tensor2D)), 0), [groups, height, width]);
  });
}

/** aᵀ b. */
function transposedDot(tf: Tf, a: Tensor2D, b: Tensor2D): Tensor2D {
  return tf.getBackend() === "wasm" ? tf.matMul(tf.transpose(a), b) : tf.matMul(a, b, true);
}

/** The rows of each group that has any. */
function segments(tf: Tf, x: Tensor, counts: Int32Array): { readonly group: number; readonly rows: Tensor2D }[] {
  const width = x.shape[1]!;
  const filled = [...counts.keys()].filter((g) => counts[g]! > 0);
  if (filled.length === 1) return [{ group: filled[0]!, rows: x as Tensor2D }];
  if (!onHost(tf)) {
    const parts = tf.split(x, filled.map((g) => counts[g]!), 0);
    return filled.map((group, i) => ({ group, rows: parts[i] as Tensor2D }));
  }
  const data = read(x);
  let start = 0;
  return filled.map((group) => {
    const from = start;
    start += counts[group]!;
    return { group, rows: tf.tensor2d(data.subarray(from * width, start * width), [counts[group]!, width]) };
  });
}

/** A group's matrix. */
function matricesOf(tf: Tf, b: Tensor): (group: number) => Tensor2D {
  const [, depth, width] = b.shape as [number, number, number];
  if (!onHost(tf)) {
    const all = tf.unstack(b);
    return (group) => all[group] as Tensor2D;
  }
  const data = read(b);
  return (group) => tf.tensor2d(data.subarray(group * depth * width, (group + 1) * depth * width), [depth, width]);
}

/** [rows, groups]: 1 where the row is the group's. */
function ownership(tf: Tf, count: Tensor, rows: number): Tensor2D {
  const end = tf.cumsum(floatOf(tf, count), 0);
  const start = tf.sub(end, floatOf(tf, count));
  const row = tf.reshape(tf.range(0, rows, 1, "float32"), [rows, 1]);
  return tf.mul(floatOf(tf, tf.greaterEqual(row, start)), floatOf(tf, tf.less(row, end)));
}

/** [rows, groups * width]: the row's values at its group, 0 at the others. */
function masked(tf: Tf, x: Tensor, own: Tensor2D): Tensor2D {
  const [rows, width] = x.shape as [number, number];
  const groups = own.shape[1];
  return tf.reshape(tf.mul(tf.reshape(x, [rows, 1, width]), tf.reshape(own, [rows, groups, 1])), [rows, groups * width]);
}

/** `dispatch` by kernels alone. Counts and rows are exact in float32 up to 2^24. */
function dispatchUnread(tf: Tf, mask: Tensor, k: number): [Tensor1D, Tensor2D, Tensor1D, Tensor1D] {
  const [tokens, choices] = mask.shape as [number, number];
  const made = tf.tidy(() => {
    const is = floatOf(tf, mask);
    const not = tf.sub(1, is);
    const behind = tf.add(tf.sum(is, 1, true), tf.cumsum(not, 1, true));
    const order = tf.add(tf.mul(is, tf.cumsum(is, 1, true)), tf.mul(not, behind));
    const chosen = floatOf(tf, tf.less(order, k - 0.5));
    const count = tf.sum(chosen, 0);
    const row = tf.add(tf.cumsum(chosen, 0, true), tf.cumsum(count, 0, true));
    const slot = tf.reshape(tf.range(0, k, 1, "float32"), [k, 1, 1]);
    const at = floatOf(tf, tf.less(tf.abs(tf.sub(tf.reshape(order, [1, tokens, choices]), slot)), 0.5));
    const place = tf.sum(tf.mul(at, tf.reshape(row, [1, tokens, choices])), 2);
    const choiceAt = tf.sum(tf.mul(at, tf.range(0, choices, 1, "float32")), 2);
    const whole = (x: Tensor): Tensor => tf.cast(tf.floor(tf.add(x, 0.5)), "int32");
    const indices = tf.reshape(whole(place), [k * tokens, 1]);
    const token = tf.reshape(tf.add(tf.zeros([k, 1]), tf.range(0, tokens, 1, "float32")), [k * tokens]);
    const sorted = (x: Tensor): Tensor => whole(tf.scatterND(indices, tf.reshape(x, [k * tokens]), [k * tokens]));
    return [sorted(token), whole(place), sorted(choiceAt), whole(count)];
  });
  return made as [Tensor1D, Tensor2D, Tensor1D, Tensor1D];
}
