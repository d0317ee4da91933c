import { backendNames, type BackendName } from "../../src/runtime/backends/index.ts";

/**
 * The backends that parametrised tests run on: `describe.each(testBackends)("… on %s", (name) => …)`. From
 * MOEC_TEST_BACKENDS, a list with commas; wasm where it is not set, since wasm needs nothing but Node.
 */
export const testBackends: readonly BackendName[] = (process.env["MOEC_TEST_BACKENDS"] ?? "wasm")
  .split(",")
  .map((s) => s.trim())
  .filter((s) => s !== "")
  .map((s) => {
    if (!backendNames.includes(s as BackendName)) throw new Error(`MOEC_TEST_BACKENDS names ${JSON.stringify(s)}; backends are ${backendNames.join(", ")}`);
    return s as BackendName;
  });

/**
 * The same without WebGPU, for tests that compute a lot: in CI its device is simulated by the CPU, some 70 times slower
 * than wasm.
 */
export const fastTestBackends: readonly BackendName[] = testBackends.filter((name) => name !== "webgpu");

/** Of these, those that run TensorFlow.js's code: for programs that are written by hand, of which there are no ONNX models. */
export const codeTestBackends: readonly BackendName[] = fastTestBackends.filter((name) => name !== "onnx");
