import { beforeAll, describe, expect, it } from "vitest";
import type { Tensor } from "@tensorflow/tfjs-core";
import { broadcastOf, cosOf, floatOf, reverseOf, sinOf, transposeOf, whereOf } from "../../src/runtime/portable.ts";
import { startBackend, type Backend } from "../../src/runtime/index.ts";
import { testBackends } from "../support/backends.ts";

describe.each(testBackends)("operations that not every backend has, on %s", (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend(name);
  });
  const values = async (t: Tensor): Promise<number[]> => Array.from(await backend.read(t));
  /** 0, 1, 2 … */
  const count = (shape: number[], dtype: "float32" | "int32" = "float32"): Tensor => backend.tf.tensor(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i), shape, dtype);

  it.each([
    ["sinOf", sinOf, Math.sin],
    ["cosOf", cosOf, Math.cos],
  ] as const)("%s is within 1e-6 up to angles of some thousand turns' quarters", async (_, of, exact) => {
    // Angles as rotary positions have them, and places next to the multiples of π/2 where the reduction is hardest.
    const angles = Float32Array.from([
      ...Array.from({ length: 4000 }, (_, i) => i * 1.37 - 2000),
      ...Array.from({ length: 2000 }, (_, i) => ((i - 1000) * Math.PI) / 2),
      ...Array.from({ length: 500 }, (_, i) => 1e-3 * i),
    ]);
    const got = await values(of(backend.tf, backend.tf.tensor1d(angles)));
    const worst = got.reduce((m, y, i) => Math.max(m, Math.abs(y - exact(angles[i]!))), 0);
    expect(worst).toBeLessThan(1e-6);
  });

  it("transposeOf moves whole numbers and truths", async () => {
    const { tf } = backend;
    expect(await values(transposeOf(tf, count([2, 2, 3], "int32"), [2, 0, 1]))).toEqual([0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
    const truths = transposeOf(tf, tf.greater(count([2, 3]), 2), [1, 0]);
    expect([truths.dtype, truths.shape, await values(floatOf(tf, truths))]).toEqual(["bool", [3, 2], [0, 1, 0, 1, 0, 1]]);
  });

  it("floatOf makes numbers that every kernel reads", async () => {
    const { tf } = backend;
    const truths = floatOf(tf, tf.greater(count([2, 3]), 2));
    expect(truths.dtype).toBe("float32");
    expect(await values(tf.transpose(tf.reshape(truths, [1, 2, 3]), [2, 0, 1]))).toEqual([0, 1, 0, 1, 0, 1]);
    expect(await values(tf.matMul(truths as never, count([3, 2]) as never))).toEqual([0, 0, 6, 9]);
    expect(await values(tf.transpose(floatOf(tf, count([2, 2], "int32")), [1, 0]))).toEqual([0, 2, 1, 3]);
  });

  it.each([
    [[3], [2, 3]],
    [[2, 1, 3], [2, 4, 3]],
    [[2, 1, 1, 1, 3], [2, 2, 2, 2, 3]],
    [[1, 2, 1, 2, 1], [3, 2, 3, 2, 3]],
    [[2, 1], [2, 3, 2, 2, 4]],
  ])("broadcastOf [%s] is [%s]", async (from, to) => {
    const got = broadcastOf(backend.tf, count(from), to);
    // The element at a place is that of the same place with every repeated axis at 0.
    const own = [...Array<number>(to.length - from.length).fill(1), ...from];
    const expected = Array.from({ length: to.reduce((a, b) => a * b, 1) }, (_, i) => {
      let [rest, index, stride] = [i, 0, 1];
      for (let d = to.length - 1; d >= 0; d--) {
        index += own[d] === 1 ? 0 : (rest % to[d]!) * stride;
        rest = Math.floor(rest / to[d]!);
        stride *= own[d]!;
      }
      return index;
    });
    expect([got.shape, await values(got)]).toEqual([to, expected]);
  });

  it("broadcastOf keeps whole numbers, truths, infinities and signs of zero", async () => {
    const { tf } = backend;
    const whole = broadcastOf(tf, tf.tensor2d([2 ** 24 + 1, -3], [2, 1], "int32"), [2, 2]);
    expect([whole.dtype, await values(whole)]).toEqual(["int32", [2 ** 24 + 1, 2 ** 24 + 1, -3, -3]]);
    const truths = broadcastOf(tf, tf.greater(count([2, 1, 3]), 2), [2, 2, 3]);
    expect([truths.dtype, await values(truths)]).toEqual(["bool", [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]]);
    expect(await values(broadcastOf(tf, tf.tensor1d([Infinity, -Infinity, -0]), [2, 3]))).toEqual([Infinity, -Infinity, -0, Infinity, -Infinity, -0]);
  });

  it.each([
    [[2, 3], 0],
    [[2, 3], 1],
    [[3, 2, 2, 2], 2],
    [[2, 2, 2, 3, 2], 3],
    [[2, 11, 2], 1],
  ])("reverseOf [%s] along axis %i", async (shape, axis) => {
    const got = reverseOf(backend.tf, count(shape), axis);
    const [n, after] = [shape[axis]!, shape.slice(axis + 1).reduce((a, b) => a * b, 1)];
    const expected = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => {
      const at = Math.floor(i / after) % n;
      return i + (n - 1 - 2 * at) * after;
    });
    expect([got.shape, await values(got)]).toEqual([shape, expected]);
  });

  it("whereOf takes scalars, rows and infinities", async () => {
    const { tf } = backend;
    expect(await values(whereOf(tf, tf.greater(count([2, 3]), 2), count([3]), tf.scalar(-Infinity)))).toEqual([-Infinity, -Infinity, -Infinity, 0, 1, 2]);
    // WebGPU's kernel chooses among float32, whatever the type: whole numbers are exact up to 2^24 there.
    const large = 2 ** 24 + (backend.name === "webgpu" ? 0 : 1);
    expect(await values(whereOf(tf, tf.tensor1d([1, 0], "bool"), tf.tensor1d([7, 8], "int32"), tf.scalar(large, "int32")))).toEqual([7, large]);
  });

  it("whereOf chooses over five axes, of which each operand has its own", async () => {
    const { tf } = backend;
    const got = whereOf(tf, tf.greater(count([2, 1, 1, 1, 2]), 1), count([1, 2, 1, 2, 1]), tf.scalar(-1));
    expect(got.shape).toEqual([2, 2, 1, 2, 2]);
    expect(await values(got)).toEqual([-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 1, 1, 2, 2, 3, 3]);
  });

  it("they leave nothing behind but their result", () => {
    const { tf } = backend;
    const [x, b, i] = [count([2, 1, 1, 1, 3]), tf.greater(count([2, 3]), 2), count([2, 3], "int32")];
    const [chosen, one] = [tf.greater(x, 1), tf.scalar(1, "int32")];
    const before = tf.memory().numTensors;
    const made = [sinOf(tf, x), cosOf(tf, x), floatOf(tf, b), transposeOf(tf, i, [1, 0]), transposeOf(tf, b, [1, 0]), broadcastOf(tf, x, [2, 2, 2, 2, 3]), broadcastOf(tf, b, [2, 2, 3]), whereOf(tf, chosen, x, x), whereOf(tf, b, one, i), reverseOf(tf, x, 0), reverseOf(tf, b, 1)];
    expect(tf.memory().numTensors - before).toBe(made.length);
  });
});
