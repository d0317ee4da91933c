import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Tensor } from "@tensorflow/tfjs-core";
import { build } from "esbuild";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { DiagnosticError } from "../../src/diagnostics/index.ts";
import { probeBackends, randomNormal, startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import { launch } from "../../src/runtime/backends/launch.ts";
import { nodeHost } from "../../src/runtime/backends/node/host.ts";
import { findPackage } from "../../src/runtime/backends/node/packages.ts";
import { probeInChild } from "../../src/runtime/backends/node/probe.ts";
import { onnxThreads, wasmThreads } from "../../src/runtime/backends/node/cores.ts";
import { startThreaded, type WasmPackage } from "../../src/runtime/backends/node/threads.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-threads-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

describe("how many threads", () => {
  it.each([
    [1, undefined, 1],
    [2, undefined, 1],
    [3, undefined, 1],
    [4, undefined, 2],
    [6, "max 100000\n", 3],
    [64, undefined, 4],
    [64, "200000 100000\n", 1],
    [64, "450000 100000\n", 2],
    [64, "50000 100000\n", 1],
    [4, "6400000 100000\n", 2],
    [8, "what is this\n", 4],
  ])("%i cores with the quota %j: %i", (available, quota, threads) => {
    expect(wasmThreads({}, { available, ...(quota === undefined ? {} : { quota }) })).toBe(threads);
    expect(wasmThreads({ MOEC_WASM_THREADS: "" }, { available, ...(quota === undefined ? {} : { quota }) })).toBe(threads);
  });

  it.each([["1", 1], ["5", 5], ["8", 8]])("MOEC_WASM_THREADS=%s, whatever the machine has", (wanted, threads) => {
    expect(wasmThreads({ MOEC_WASM_THREADS: wanted }, { available: 2, quota: "50000 100000" })).toBe(threads);
  });

  it("ONNX Runtime takes half too, of however many, or what MOEC_ONNX_THREADS says", () => {
    expect([1, 2, 4, 64].map((available) => onnxThreads({}, { available }))).toEqual([1, 1, 2, 32]);
    expect(onnxThreads({}, { available: 64, quota: "400000 100000\n" })).toBe(2);
    expect(onnxThreads({ MOEC_ONNX_THREADS: "12", MOEC_WASM_THREADS: "3" }, { available: 2 })).toBe(12);
    for (const wanted of ["0", "two", "1.5", "9999"]) expect(() => onnxThreads({ MOEC_ONNX_THREADS: wanted }, { available: 2 })).toThrow(expect.objectContaining({ diagnostics: [expect.objectContaining({ code: "MOE5205" })] }));
  });

  it.each(["0", "9", "-1", "1.5", "two", "1e0", " 2", "0x2"])("MOEC_WASM_THREADS=%s is refused", async (wanted) => {
    vi.stubEnv("MOEC_WASM_THREADS", wanted);
    const asked = [() => startBackend("wasm"), () => probeBackends(), () => probeInChild("wasm")].slice(wanted === "0" ? 0 : 2);
    for (const ask of asked) {
      const error: unknown = await ask().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(DiagnosticError);
      expect((error as DiagnosticError).diagnostics).toMatchObject([{ code: "MOE5205", message: `MOEC_WASM_THREADS is ${JSON.stringify(wanted)}: expected a whole number from 1 to 8.` }]);
    }
  });
});

/** Operations with kernels that run on threads and without, on sizes that do not divide evenly; the bits of each result. */
async function everything({ tf, read }: Backend): Promise<Record<string, Int32Array>> {
  const normal = (stream: number, ...shape: number[]): Tensor => {
    const numbers = new Float32Array(shape.reduce((a, b) => a * b));
    randomNormal(numbers, 1, 0, stream);
    return tf.tensor(numbers, shape);
  };
  const [x, w, y, cube] = [normal(1, 301, 203), normal(2, 203, 157), normal(3, 301, 203), normal(4, 3, 61, 67)];
  const made: Record<string, Tensor> = {
    matMul: tf.matMul(x, w),
    batches: tf.matMul(cube, cube, false, true),
    add: tf.add(x, y),
    row: tf.mul(x, tf.slice(y, [0, 0], [1, 203])),
    div: tf.div(x, y),
    exp: tf.exp(x),
    sigmoid: tf.sigmoid(x),
    softmax: tf.softmax(x),
    sum: tf.sum(x, 0),
    max: tf.max(cube, [0, 2]),
    transpose: tf.transpose(cube, [2, 0, 1]),
    where: tf.where(tf.greater(x, y), x, y),
    gather: tf.gather(x, tf.tensor1d([300, 0, 7], "int32")),
  };
  const bits: Record<string, Int32Array> = {};
  for (const [name, t] of Object.entries(made)) bits[name] = new Int32Array((await read(t)).slice().buffer);
  tf.dispose([x, w, y, cube, ...Object.values(made)]);
  return bits;
}

describe("wasm on threads", () => {
  async function on(threads: number): Promise<Record<string, Int32Array>> {
    vi.stubEnv("MOEC_WASM_THREADS", String(threads));
    const backend = await startBackend("wasm");
    try {
      expect(backend.device).toBe(`CPU, WebAssembly with SIMD, ${threads === 1 ? "one thread" : `${threads} threads`}`);
      return await everything(backend);
    } finally {
      await backend.dispose();
    }
  }

  it("computes the same bytes as on one, and starts and ends as often as wanted", async () => {
    const alone = await on(1);
    expect(Object.keys(alone).length).toBeGreaterThan(10);
    for (const threads of [2, 3, 8, 2]) expect(await on(threads)).toEqual(alone);
  });

  it("doctor's child says how many", async () => {
    vi.stubEnv("MOEC_WASM_THREADS", "2");
    expect(await probeInChild("wasm")).toMatchObject({ usable: true, device: "CPU, WebAssembly with SIMD, 2 threads" });
  });

  it("runs on one where the threads do not start, and says why", async () => {
    const backend = await launch("wasm", { ...nodeHost, wasmThreads: () => ({ count: 2, make: () => Promise.reject(new Error("no threads today")) }) });
    expect(backend.device).toBe("CPU, WebAssembly with SIMD, one thread (more did not start: no threads today)");
    expect(Array.from(await backend.read(backend.tf.square(backend.tf.tensor1d([2, 3]))))).toEqual([4, 9]);
    await backend.dispose();
  });

  it.each([
    ["a worker that throws", 'throw new Error("not here");', "not here"],
    ["a worker that ends", "process.exit(0);", "a thread ended before it had begun"],
    ["no worker", undefined, expect.stringContaining("threaded-simd.worker.js")],
  ])("rejects where the package is broken: %s", async (what, text, message) => {
    const root = join(folder, what);
    const worker = join(root, "wasm-out/tfjs-backend-wasm-threaded-simd.worker.js");
    mkdirSync(root);
    cpSync(join(findPackage("@tensorflow/tfjs-backend-wasm")!.root, "wasm-out"), join(root, "wasm-out"), { recursive: true });
    if (text === undefined) rmSync(worker);
    else writeFileSync(worker, `module.exports.wasmWorkerContents = ${JSON.stringify(text)};`);
    const { module } = await nodeHost.load("@tensorflow/tfjs-backend-wasm");
    expect(await startThreaded(module as WasmPackage, root, 3).catch((e: unknown) => e)).toMatchObject({ message });
  });

  it("does not keep the process alive, and survives its options", async () => {
    const file = resolve(`build/threads-test-${process.pid}.mjs`); // in the repository, where it finds the packages
    const stdin = 'import { startBackend } from "./src/runtime/backends/index.ts"; const { tf, device } = await startBackend("wasm"); const x = tf.ones([200, 200]); console.log(device, tf.matMul(x, x).dataSync()[7]);';
    await build({ stdin: { contents: stdin, resolveDir: ".", loader: "ts" }, outfile: file, bundle: true, format: "esm", platform: "node", packages: "external", minifyWhitespace: true, minifySyntax: true });
    try {
      for (const args of [[file], ["--input-type=module", "--eval", `await import(${JSON.stringify(file)})`]]) {
        const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 50_000, env: { ...process.env, MOEC_WASM_THREADS: "3" } });
        expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "CPU, WebAssembly with SIMD, 3 threads 200\n", stderr: "" });
      }
    } finally {
      rmSync(file);
    }
  });
});
