import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Tensor } from "@tensorflow/tfjs-core";
import { backendNames, randomNormal, startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import { findPackage } from "../../src/runtime/backends/node/packages.ts";
import { DiagnosticError } from "../../src/diagnostics/index.ts";
import { testBackends } from "../support/backends.ts";

/** Standard normal numbers: the same for every backend. */
function normal(n: number, stream: number): Float32Array {
  const out = new Float32Array(n);
  randomNormal(out, 1, 0, stream);
  return out;
}

/** Float64 product of row-major [m, k] and [k, n]: three loops, what every backend is held against. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, m: number, k: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let p = 0; p < k; p++) for (let j = 0; j < n; j++) out[i * n + j]! += a[i * k + p]! * b[p * n + j]!;
  return out;
}

/** Largest difference over the largest expected magnitude. */
function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(got.length).toBe(expected.length);
  let [difference, magnitude] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(got[i]! - expected[i]!));
    magnitude = Math.max(magnitude, Math.abs(expected[i]!));
  }
  return Number.isNaN(difference) ? Infinity : difference / magnitude;
}

describe.each(testBackends)("%s", (name) => {
  let backend: Backend;
  const said: unknown[][] = [];
  beforeAll(async () => {
    const kept = { ...console };
    for (const key of ["log", "info", "warn", "error"] as const) console[key] = (...parts: unknown[]) => void said.push(parts);
    try {
      backend = await startBackend(name);
      // The cpu backend greets at its first tensor.
      backend.tf.scalar(1).dispose();
    } finally {
      Object.assign(console, kept);
    }
  });
  afterAll(() => backend?.dispose());

  /** Runs `make` and returns its numbers; afterwards no tensor that it made is left. */
  async function numbers(make: (tf: Backend["tf"]) => Tensor): Promise<Float32Array | Int32Array> {
    const before = backend.memory().tensors;
    const out = backend.tf.tidy(() => make(backend.tf));
    const read = await backend.read(out);
    out.dispose();
    expect(backend.memory().tensors).toBe(before);
    return read;
  }

  it("is what was asked for, and says so", () => {
    expect(backend.name).toBe(name);
    expect(backend.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(backend.device).not.toBe("");
  });

  it("starts without a word on the console", () => {
    expect(said).toEqual([]);
  });

  it("is the backend of the tfjs-core that generated code imports", async () => {
    const imported = await import("@tensorflow/tfjs-core");
    expect(imported.engine()).toBe(backend.tf.engine());
    expect(imported.getBackend()).toBe(backend.tf.getBackend());
    const a = imported.tensor2d([1, 2, 3, 4], [2, 2]);
    const c = imported.matMul(a, a);
    expect(Array.from(await backend.read(c))).toEqual([7, 10, 15, 22]);
    imported.dispose([a, c]);
  });

  it("multiplies matrices, plain and by transpose flags", async () => {
    const [m, k, n] = [33, 65, 17];
    const [a, b] = [normal(m * k, 1), normal(k * n, 2)];
    const expected = product(a, b, m, k, n);
    expect(relativeError(await numbers((tf) => tf.matMul(tf.tensor2d(a, [m, k]), tf.tensor2d(b, [k, n]))), expected)).toBeLessThan(2e-6);
    expect(relativeError(await numbers((tf) => tf.matMul(tf.transpose(tf.tensor2d(a, [m, k])), tf.tensor2d(b, [k, n]), true)), expected)).toBeLessThan(2e-6);
    expect(relativeError(await numbers((tf) => tf.matMul(tf.tensor2d(a, [m, k]), tf.transpose(tf.tensor2d(b, [k, n])), false, true)), expected)).toBeLessThan(2e-6);
  });

  it("multiplies batches of matrices", async () => {
    const [batch, m, k, n] = [3, 5, 7, 4];
    const [a, b] = [normal(batch * m * k, 3), normal(batch * k * n, 4)];
    const expected = Array.from({ length: batch }, (_, i) => Array.from(product(a.subarray(i * m * k), b.subarray(i * k * n), m, k, n))).flat();
    expect(relativeError(await numbers((tf) => tf.matMul(tf.tensor3d(a, [batch, m, k]), tf.tensor3d(b, [batch, k, n]))), expected)).toBeLessThan(2e-6);
  });

  it.each([
    ["add", (tf: Backend["tf"], x: Tensor, y: Tensor) => tf.add(x, y), (x: number, y: number) => x + y, 1e-6],
    ["sub", (tf, x, y) => tf.sub(x, y), (x, y) => x - y, 1e-6],
    ["mul", (tf, x, y) => tf.mul(x, y), (x, y) => x * y, 1e-6],
    ["div", (tf, x, y) => tf.div(x, tf.add(tf.abs(y), 0.5)), (x, y) => x / (Math.abs(y) + 0.5), 1e-6],
    ["maximum", (tf, x, y) => tf.maximum(x, y), (x, y) => Math.max(x, y), 1e-6],
    ["exp", (tf, x) => tf.exp(x), (x) => Math.exp(x), 2e-6],
    ["log", (tf, x) => tf.log(tf.add(tf.abs(x), 1e-3)), (x) => Math.log(Math.abs(x) + 1e-3), 2e-6],
    ["sqrt", (tf, x) => tf.sqrt(tf.abs(x)), (x) => Math.sqrt(Math.abs(x)), 2e-6],
    ["rsqrt", (tf, x) => tf.rsqrt(tf.add(tf.abs(x), 0.1)), (x) => 1 / Math.sqrt(Math.abs(x) + 0.1), 2e-6],
    ["sigmoid", (tf, x) => tf.sigmoid(x), (x) => 1 / (1 + Math.exp(-x)), 2e-6],
    ["tanh", (tf, x) => tf.tanh(x), (x) => Math.tanh(x), 2e-6],
    // WGSL asks of sin and cos no more than an absolute error of 2^-11 in [-π, π] (its §15.7.4.1), and SwiftShader uses
    // that up. Tables of angles (rotary embedding) are therefore made on the host, never on a backend.
    ["cos", (tf, x) => tf.cos(tf.clipByValue(x, -3, 3)), (x) => Math.cos(Math.min(3, Math.max(-3, x))), name === "webgpu" ? 2 ** -11 : 2e-6],
    ["sin", (tf, x) => tf.sin(tf.clipByValue(x, -3, 3)), (x) => Math.sin(Math.min(3, Math.max(-3, x))), name === "webgpu" ? 2 ** -11 : 2e-6],
    ["where", (tf, x, y) => tf.where(tf.greater(x, 0), x, y), (x, y) => (x > 0 ? x : y), 1e-6],
    ["clip", (tf, x) => tf.clipByValue(x, -1, 0.5), (x) => Math.min(0.5, Math.max(-1, x)), 1e-6],
  ] as [string, (tf: Backend["tf"], x: Tensor, y: Tensor) => Tensor, (x: number, y: number) => number, number][])("computes %s", async (_, compute, expected, tolerance) => {
    const [x, y] = [normal(300, 5), normal(300, 6)];
    const got = await numbers((tf) => compute(tf, tf.tensor2d(x, [20, 15]), tf.tensor2d(y, [20, 15])));
    expect(relativeError(got, Array.from(x, (v, i) => expected(v, y[i]!)))).toBeLessThan(tolerance);
  });

  it("broadcasts along any axis", async () => {
    const [x, row, column] = [normal(12, 7), normal(4, 8), normal(3, 9)];
    const got = await numbers((tf) => tf.mul(tf.add(tf.tensor2d(x, [3, 4]), tf.tensor1d(row)), tf.tensor2d(column, [3, 1])));
    expect(relativeError(got, Array.from(x, (v, i) => (v + row[i % 4]!) * column[Math.floor(i / 4)]!))).toBeLessThan(1e-6);
  });

  it("reduces over the first, a middle, the last and all axes", async () => {
    const [a, b, c] = [4, 5, 6];
    const x = normal(a * b * c, 10).map(Math.abs); // of one sign, so that no sum cancels
    const reduce = (key: (i: number, j: number, k: number) => number, size: number, start: number, fold: (s: number, v: number) => number): number[] => {
      const out = new Array<number>(size).fill(start);
      for (let i = 0; i < a; i++) for (let j = 0; j < b; j++) for (let k = 0; k < c; k++) out[key(i, j, k)] = fold(out[key(i, j, k)]!, x[(i * b + j) * c + k]!);
      return out;
    };
    const sum = (s: number, v: number): number => s + v;
    const got = (axis: number | number[] | undefined): Promise<ArrayLike<number>> => numbers((tf) => tf.sum(tf.tensor3d(x, [a, b, c]), axis));
    expect(relativeError(await got(0), reduce((_, j, k) => j * c + k, b * c, 0, sum))).toBeLessThan(2e-6);
    expect(relativeError(await got(1), reduce((i, _, k) => i * c + k, a * c, 0, sum))).toBeLessThan(2e-6);
    expect(relativeError(await got(2), reduce((i, j) => i * b + j, a * b, 0, sum))).toBeLessThan(2e-6);
    expect(relativeError(await got([0, 2]), reduce((_, j) => j, b, 0, sum))).toBeLessThan(2e-6);
    expect(relativeError(await got(undefined), reduce(() => 0, 1, 0, sum))).toBeLessThan(2e-6);
    expect(relativeError(await numbers((tf) => tf.max(tf.tensor3d(x, [a, b, c]), 1)), reduce((i, _, k) => i * c + k, a * c, -Infinity, Math.max))).toBe(0);
    expect(relativeError(await numbers((tf) => tf.mean(tf.tensor3d(x, [a, b, c]), -1)), reduce((i, j) => i * b + j, a * b, 0, (s, v) => s + v / c))).toBeLessThan(2e-6);
  });

  it("reshapes, transposes, slices, joins, tiles and pads", async () => {
    const x = Float32Array.from({ length: 24 }, (_, i) => i);
    const t = (tf: Backend["tf"]): Tensor => tf.tensor3d(x, [2, 3, 4]);
    const permuted: number[] = [];
    for (let k = 0; k < 4; k++) for (let i = 0; i < 2; i++) for (let j = 0; j < 3; j++) permuted.push((i * 3 + j) * 4 + k);
    expect(Array.from(await numbers((tf) => tf.reshape(t(tf), [6, 4])))).toEqual(Array.from(x));
    expect(Array.from(await numbers((tf) => tf.transpose(t(tf), [2, 0, 1])))).toEqual(permuted);
    expect(Array.from(await numbers((tf) => tf.slice(t(tf), [0, 1, 2], [2, 1, 2])))).toEqual([6, 7, 18, 19]);
    expect(Array.from(await numbers((tf) => tf.concat([tf.slice(t(tf), [1, 0, 0], [1, 3, 1]), tf.slice(t(tf), [0, 0, 0], [1, 3, 1])], 2)))).toEqual([12, 0, 16, 4, 20, 8]);
    expect(Array.from(await numbers((tf) => tf.tile(tf.tensor2d([1, 2], [1, 2]), [2, 2])))).toEqual([1, 2, 1, 2, 1, 2, 1, 2]);
    expect(Array.from(await numbers((tf) => tf.pad(tf.tensor2d([1, 2], [1, 2]), [[1, 0], [0, 1]])))).toEqual([0, 0, 0, 1, 2, 0]);
  });

  it("gathers rows, makes one-hot rows, finds the largest and counts up", async () => {
    const x = Float32Array.from({ length: 12 }, (_, i) => (i * 7) % 12);
    const table = (tf: Backend["tf"]): Tensor => tf.tensor2d(x, [4, 3]);
    expect(Array.from(await numbers((tf) => tf.gather(table(tf), tf.tensor1d([3, 0, 3], "int32"))))).toEqual([...x.slice(9), ...x.slice(0, 3), ...x.slice(9)]);
    expect(Array.from(await numbers((tf) => tf.oneHot(tf.tensor1d([2, 0], "int32"), 3)))).toEqual([0, 0, 1, 1, 0, 0]);
    expect(Array.from(await numbers((tf) => tf.argMax(table(tf), 1)))).toEqual([0, 1, 2, 3].map((i) => [...x.slice(i * 3, i * 3 + 3)].indexOf(Math.max(...x.slice(i * 3, i * 3 + 3)))));
    expect(Array.from(await numbers((tf) => tf.topk(table(tf), 2).values))).toEqual([0, 1, 2, 3].flatMap((i) => [...x.slice(i * 3, i * 3 + 3)].sort((p, q) => q - p).slice(0, 2)));
    expect(Array.from(await numbers((tf) => tf.cumsum(tf.tensor2d([1, 2, 3, 4], [2, 2]), 1)))).toEqual([1, 3, 3, 7]);
  });

  it("computes a softmax that survives large logits", async () => {
    const x = [1000, 1001, 1002, -5, 0, 5];
    const rows = [x.slice(0, 3), x.slice(3)].flatMap((row) => {
      const e = row.map((v) => Math.exp(v - Math.max(...row)));
      return e.map((v) => v / e.reduce((s, w) => s + w));
    });
    expect(relativeError(await numbers((tf) => tf.softmax(tf.tensor2d(x, [2, 3]))), rows)).toBeLessThan(2e-6);
  });

  it("keeps minus infinity out of a softmax, as a causal mask needs", async () => {
    const got = await numbers((tf) => tf.softmax(tf.add(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([0, -1e9, 0, 0], [2, 2]))));
    expect(Array.from(got.slice(0, 2))).toEqual([1, 0]);
    expect(got[2]! + got[3]!).toBeCloseTo(1, 6);
  });

  it("reads int32 and bool as Int32Array", async () => {
    expect(await numbers((tf) => tf.tensor1d([1, -2, 2 ** 24 + 1], "int32"))).toEqual(Int32Array.of(1, -2, 2 ** 24 + 1));
    expect(await numbers((tf) => tf.less(tf.tensor1d([1, 5]), tf.tensor1d([2, 2])))).toEqual(Int32Array.of(1, 0));
  });

  it("can be freed and started again", async () => {
    await backend.dispose();
    backend = await startBackend(name);
    expect(Array.from(await numbers((tf) => tf.add(tf.tensor1d([1, 2]), tf.tensor1d([3, 4]))))).toEqual([4, 6]);
  });
});

describe("startBackend", () => {
  const problem = async (name: string): Promise<DiagnosticError> => {
    const error: unknown = await startBackend(name as never).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DiagnosticError);
    return error as DiagnosticError;
  };

  it("names the backends when there is none of that name", async () => {
    const [d, ...more] = (await problem("wsam")).diagnostics;
    expect(more).toEqual([]);
    expect(d).toMatchObject({ code: "MOE5203", help: 'did you mean "wasm"?' });
    expect(d!.notes.join()).toContain(backendNames.join(", "));
  });

  // The tests of tfjs-node above have loaded its library. Without it MOE5201 is the right answer.
  it.skipIf(!testBackends.includes("tfjs-node") || findPackage("@tensorflow/tfjs-node-gpu") === undefined)("refuses a second TensorFlow", async () => {
    const [d, ...more] = (await problem("tfjs-node-gpu")).diagnostics;
    expect(more).toEqual([]);
    expect(d).toMatchObject({ code: "MOE5204", message: "The backend tfjs-node-gpu cannot start in this process, which has started tfjs-node." });
  });

  it("starts wasm and cpu in one process, one after the other", async () => {
    const wasm = await startBackend("wasm");
    const x = wasm.tf.tensor1d([1, 2, 3]);
    const cpu = await startBackend("cpu");
    const y = cpu.tf.square(x);
    expect(Array.from(await cpu.read(y))).toEqual([1, 4, 9]);
    expect(Array.from(await cpu.read(x))).toEqual([1, 2, 3]);
    cpu.tf.dispose([x, y]);
    await cpu.dispose();
    expect((await startBackend("wasm")).tf.getBackend()).toBe("wasm");
  });
});
