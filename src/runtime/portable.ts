/**
 * Operations that WebGPU's kernels (@tensorflow/tfjs-backend-webgpu 4.22) do wrongly, not at all, or not closely enough, and
 * some that wasm's do very slowly. On every other backend each is its kernel. They borrow their arguments; what they make on the way is freed.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import type { Tf } from "./program.ts";

export const onWebGPU = (tf: Tf): boolean => tf.getBackend() === "webgpu";
export const onWasm = (tf: Tf): boolean => tf.getBackend() === "wasm";

/** sin(x), radians: an absolute error of at most 1e-6 for |x| up to 8000 or so, where WGSL itself asks for no more than 5e-4. */
export function sinOf(tf: Tf, x: Tensor): Tensor {
  return onWebGPU(tf) ? turned(tf, x, 0) : tf.sin(x);
}

/** cos(x), as close as `sinOf`. */
export function cosOf(tf: Tf, x: Tensor): Tensor {
  return onWebGPU(tf) ? turned(tf, x, 1) : tf.cos(x);
}

/** π/2 in three parts (Cody and Waite 1980): multiples of the first are exact in float32, the others carry what it lacks. */
const quarterTurn = [1.5703125, 4.837512969970703e-4, 7.549789954891882e-8] as const;

/** sin(x + quarters · π/2): x less a multiple of π/2, then the polynomials of Cephes' sinf and cosf on [-π/4, π/4]. */
function turned(tf: Tf, x: Tensor, quarters: number): Tensor {
  return tf.tidy(() => {
    const k = tf.floor(tf.add(tf.mul(x, 2 / Math.PI), 0.5));
    const r = quarterTurn.reduce<Tensor>((rest, part) => tf.sub(rest, tf.mul(k, part)), x);
    const z = tf.mul(r, r);
    const polynomial = (...c: readonly number[]): Tensor => c.slice(1).reduce<Tensor>((p, a) => tf.add(tf.mul(p, z), a), tf.fill(x.shape, c[0]!));
    const sine = tf.add(r, tf.mul(tf.mul(r, z), polynomial(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)));
    const cosine = polynomial(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5, 1);
    const turns = tf.add(k, quarters);
    const half = tf.floor(tf.mul(turns, 0.5));
    const odd = tf.sub(turns, tf.mul(half, 2));
    const negative = tf.sub(half, tf.mul(tf.floor(tf.mul(half, 0.5)), 2));
    const value = tf.add(tf.mul(sine, tf.sub(1, odd)), tf.mul(cosine, odd));
    return tf.mul(value, tf.sub(1, tf.mul(negative, 2)));
  });
}

/**
 * Whole numbers or truths as float32. WebGPU's cast leaves the integers in place under another name, at which kernels that
 * read their operand as it lies (transpose, matrix products) then fail: only arithmetic turns them.
 */
export function floatOf(tf: Tf, x: Tensor): Tensor {
  return onWebGPU(tf) ? tf.tidy(() => tf.mul(tf.cast(x, "float32"), tf.scalar(1, "float32"))) : tf.cast(x, "float32");
}

/** Axes in another order. WebGPU's kernel takes float32 only; whole numbers below 2^24 are exact there. */
export function transposeOf(tf: Tf, x: Tensor, order: number[]): Tensor {
  if (x.dtype === "float32" || !onWebGPU(tf)) return tf.transpose(x, order);
  return tf.tidy(() => {
    const moved = tf.transpose(floatOf(tf, x), order);
    return x.dtype === "bool" ? tf.notEqual(moved, 0) : tf.cast(moved, x.dtype);
  });
}

/**
 * x with its axes of size 1 repeated to `shape`; axes that x lacks come first. wasm's Tile copies element by element (35 ns for
 * each, twice that in its threaded build), so there the repeating is that of a product with ones, which is exact (0.2 ns).
 * WebGPU's Tile goes by way of the host from rank 5 on, so there each run of repeated axes is repeated by itself, at rank 3.
 */
export function broadcastOf(tf: Tf, x: Tensor, shape: number[]): Tensor {
  const own = [...Array<number>(shape.length - x.rank).fill(1), ...x.shape];
  if (onWasm(tf) && x.dtype !== "int32" && shape.length <= 6) {
    return tf.tidy(() => {
      const ones = tf.fill(shape.map((n, i) => (own[i] === n ? 1 : n)), 1);
      return x.dtype === "bool" ? tf.cast(tf.mul(tf.cast(x, "float32"), ones), "bool") : tf.mul(x, ones);
    });
  }
  if (shape.length <= 4 || !onWebGPU(tf)) return tf.broadcastTo(x, shape);
  return tf.tidy(() => {
    const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
    let result: Tensor = x;
    // From the last axis on, so that what is repeated is contiguous and small at first.
    for (let end = shape.length; end > 0; ) {
      const repeated = own[end - 1] !== shape[end - 1];
      let begin = end - 1;
      while (begin > 0 && (own[begin - 1] !== shape[begin - 1]) === repeated) begin--;
      if (repeated) {
        const [before, after] = [product(own.slice(0, begin)), product(shape.slice(end))];
        result = tf.tile(tf.reshape(result, [before, 1, after]), [1, product(shape.slice(begin, end)), 1]);
      }
      end = begin;
    }
    return tf.reshape(result, shape);
  });
}

/** a where the condition (bool) holds, else b; broadcast to one shape, by Tile on backends where that is no matter. */
export function whereOf(tf: Tf, condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const rank = Math.max(condition.rank, a.rank, b.rank);
  if (!onWasm(tf) && (rank <= 4 || !onWebGPU(tf))) return tf.where(condition, a, b);
  return tf.tidy(() => {
    const size = (x: Tensor, i: number): number => x.shape[i - (rank - x.rank)] ?? 1;
    const shape = Array.from({ length: rank }, (_, i) => Math.max(size(condition, i), size(a, i), size(b, i)));
    const whole = (x: Tensor): boolean => x.rank === rank && x.shape.every((n, i) => n === shape[i]);
    const flat = (x: Tensor): Tensor => tf.reshape(whole(x) ? x : broadcastOf(tf, x, shape), [-1]);
    return tf.reshape(tf.where(flat(condition), flat(a), flat(b)), shape);
  });
}

/**
 * x turned round along one axis. Kernels of some backends stop at rank 4, so it is the middle one of three. wasm's goes element
 * by element (26 ns for each): there the few slices of a short axis, as rotary embedding has it, are put together anew.
 */
export function reverseOf(tf: Tf, x: Tensor, axis: number): Tensor {
  return tf.tidy(() => {
    const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
    const [before, n, after] = [product(x.shape.slice(0, axis)), x.shape[axis]!, product(x.shape.slice(axis + 1))];
    const three = tf.reshape(x, [before, n, after]);
    if (!onWasm(tf) || n > 8) return tf.reshape(tf.reverse(three, 1), x.shape);
    const first = tf.transpose(three, [1, 0, 2]);
    const parts = Array.from({ length: n }, (_, i) => tf.slice(first, [n - 1 - i, 0, 0], [1, before, after]));
    return tf.reshape(tf.transpose(tf.concat(parts, 0), [1, 0, 2]), x.shape);
  });
}
