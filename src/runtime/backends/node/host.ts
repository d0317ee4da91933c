import { quietly } from "../quiet.ts";
import type { BackendHost, TensorFlow } from "../types.ts";
import { coresHere, onnxThreads, wasmThreads } from "./cores.ts";
import { importModule } from "./import.ts";
import { findPackage } from "./packages.ts";
import { probeInChild } from "./probe.ts";
import { tensorFlowDefaults } from "./tensorflow.ts";
import { startThreaded, type WasmPackage } from "./threads.ts";

/** Node: packages are found beside moec or in the user's project, the GPU comes from the package `webgpu` (Dawn). */
export const nodeHost: BackendHost = {
  async core() {
    return requireQuietly("@tensorflow/tfjs-core") as TensorFlow;
  },

  has(name) {
    return findPackage(name) !== undefined;
  },

  async load(name) {
    if (name.startsWith("@tensorflow/tfjs-node")) {
      Object.assign(process.env, tensorFlowDefaults(process.env));
      restoreUtil();
    }
    return { module: requireQuietly(name), version: findPackage(name)?.version ?? "unknown" };
  },

  wasmPath() {
    const path = process.getBuiltinModule("node:path");
    const entry = findPackage("@tensorflow/tfjs-backend-wasm")?.entry;
    return entry === undefined ? undefined : path.dirname(entry) + path.sep;
  },

  wasmThreads() {
    const count = wasmThreads(process.env, coresHere());
    if (count === 1) return undefined;
    return { count, make: async (module) => startThreaded(module as WasmPackage, findPackage("@tensorflow/tfjs-backend-wasm")!.root, count) };
  },

  async provideGpu() {
    const present = (globalThis as { navigator?: { gpu?: unknown } }).navigator;
    if (present?.gpu) return () => {};
    const gpu = await (dawn ??= createDawn());
    // Node 21 and later have a navigator, without a GPU; Node 20 has none.
    if (present) {
      Object.defineProperty(present, "gpu", { value: gpu, configurable: true });
      return () => void delete present.gpu;
    }
    Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true, writable: true });
    return () => void delete (globalThis as { navigator?: unknown }).navigator;
  },

  onnxThreads: () => onnxThreads(process.env, coresHere()),

  probe: probeInChild,
};

/**
 * Dawn's GPU, once it was asked for. One for the process, never given up: when a backend's end freed it and the next
 * start made another, 6 test runs in 91 ended in an aborted mutex; none in 33 did with one.
 */
let dawn: Promise<object> | undefined;

async function createDawn(): Promise<object> {
  const found = findPackage("webgpu");
  if (!found) throw new Error('the package "webgpu" cannot be found.');
  const url = process.getBuiltinModule("node:url").pathToFileURL(found.entry).href;
  const { create, globals } = (await importModule(url)) as { create(flags: string[]): object; globals: object };
  // GPUBufferUsage, GPUMapMode and the like, which tfjs takes from the global scope.
  for (const [key, value] of Object.entries(globals)) if (!(key in globalThis)) Object.assign(globalThis, { [key]: value });
  return create([]);
}

/** The packages are CommonJS: loading them is synchronous, so the console is quiet for exactly that long. */
function requireQuietly(name: string): unknown {
  const found = findPackage(name);
  if (!found) throw new Error(`the package "${name}" cannot be found.`);
  const require = process.getBuiltinModule("node:module").createRequire(found.entry);
  return quietly(() => require(found.entry) as unknown);
}

/** tfjs-node 4.22 calls two functions of `util` that Node 23 took away. */
function restoreUtil(): void {
  const util = process.getBuiltinModule("node:util") as unknown as Record<string, unknown>;
  util["isNullOrUndefined"] ??= (value: unknown) => value === null || value === undefined;
  util["isArray"] ??= Array.isArray;
}
