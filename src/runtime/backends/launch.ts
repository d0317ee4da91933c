import type { KernelBackend, Tensor } from "@tensorflow/tfjs-core";
import { fail } from "../../diagnostics/index.ts";
import { engineNameOf, howToInstall, howToRepair, packagesOf } from "./packages.ts";
import type { Ort } from "./ort.ts";
import type { Backend, BackendHost, BackendName, StartOptions, TensorFlow } from "./types.ts";

/** Starts one backend by name. A DiagnosticError says why it cannot: MOE5201 not installed, 5202 broken, 5204 in the way, 5205 threads. */
export async function launch(name: BackendName, host: BackendHost, options: StartOptions = {}): Promise<Backend> {
  const needed = packagesOf[name];
  const missing = needed.filter((p) => !host.has(p));
  if (missing.length > 0) {
    fail("MOE5201", `The backend ${name} is not installed: ${missing.join(" and ")} cannot be found.`, { help: howToInstall(name) });
  }
  const tf = await host.core();
  // Production mode only takes away tfjs's own messages; the reasons that matter are caught below.
  tf.enableProdMode();
  refuseSecondTensorFlow(name, tf);
  const threads = name === "wasm" ? host.wasmThreads?.() : undefined;
  const onnxThreads = name === "onnx" ? (host.onnxThreads?.() ?? 1) : undefined;

  let undoGpu = (): void => {};
  try {
    let adapter: AdapterInfo = {};
    if (name === "webgpu") {
      undoGpu = await host.provideGpu(); // before the package loads: without a GPU it registers no backend
      adapter = await requestAdapter();
    }
    if (name === "onnx") await host.load(needed[0]!); // the holder of its tensors
    const { module, version } = await host.load(needed[needed.length - 1]!);
    if (engineNameOf[name] === "tensorflow") loadedTensorFlow = name;
    tf.enableProdMode(); // a second copy of tfjs-core registers its flags anew
    if (name === "wasm") setWasmPath(module as WasmModule, tf, options.wasmPath ?? host.wasmPath());
    let failed: unknown;
    await activate(tf, engineNameOf[name], (make) => {
      if (!threads) return make();
      return threads.make(module).catch((error: unknown) => {
        failed = error;
        return make();
      });
    });
    if (name === "onnx") {
      const onnx = { ort: module as Ort, threads: onnxThreads! };
      return { name, tf, version, onnx, device: describeOnnx(onnx.threads), software: false, ...operations(name, tf, undoGpu) };
    }
    const device = name === "wasm" ? describeWasm((module as WasmModule).getThreadsCount(), failed) : describe(name, tf, adapter);
    return { name, tf, version, ...device, ...operations(name, tf, undoGpu) };
  } catch (error) {
    undoGpu();
    return fail("MOE5202", `The backend ${name} does not start: ${reasonOf(error)}`, { help: howToRepair(name) });
  }
}

/** The first line of what an error says. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : typeof error === "object" && error !== null && "message" in error ? String(error.message) : String(error);
  const line = text.split("\n").map((l) => l.trim()).find((l) => l !== "") ?? "no reason was given";
  return /[.!?]$/.test(line) ? line : `${line}.`;
}

interface WasmModule {
  setWasmPaths(prefix: string): void;
  /** The threads of the backend that was made last. */
  getThreadsCount(): number;
}

interface NativeBackend {
  readonly isGPUPackage: boolean;
  readonly isUsingGpuDevice: boolean;
  readonly binding: { readonly TF_Version: string };
}

/** The parts of GPUAdapterInfo that are read. */
export interface AdapterInfo {
  readonly vendor?: string;
  readonly architecture?: string;
  readonly device?: string;
  readonly description?: string;
  readonly isFallbackAdapter?: boolean;
}

/** What the adapter that tfjs will get says of itself. */
async function requestAdapter(): Promise<AdapterInfo> {
  interface Gpu {
    requestAdapter(options: { powerPreference: string }): Promise<{ readonly info?: AdapterInfo } | null>;
  }
  const { gpu } = (globalThis as unknown as { navigator: { gpu: Gpu } }).navigator;
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("there is no GPU with a driver that WebGPU can use.");
  return adapter.info ?? {};
}

function setWasmPath(module: WasmModule, tf: TensorFlow, path: string | undefined): void {
  // Paths are read when the backend is made; a running one has found its file.
  if (path !== undefined && !("wasm" in tf.engine().registry)) module.setWasmPaths(path);
}

/** The TensorFlow package that this process has loaded: its library stays, though the backend be freed. */
let loadedTensorFlow: BackendName | undefined;

/** Both native packages register as "tensorflow", and the second to come would silently be the first. */
function refuseSecondTensorFlow(name: BackendName, tf: TensorFlow): void {
  if (engineNameOf[name] !== "tensorflow") return;
  const running = tf.engine().registry["tensorflow"] as unknown as NativeBackend | undefined;
  const other = running ? (running.isGPUPackage ? "tfjs-node-gpu" : "tfjs-node") : loadedTensorFlow;
  if (other === undefined || other === name) return;
  fail("MOE5204", `The backend ${name} cannot start in this process, which has started ${other}.`, {
    help: "Both bring TensorFlow's own library, and a process holds one: use one of the two.",
  });
}

type Made = KernelBackend | Promise<KernelBackend>;

/**
 * Makes a registered backend the engine's active one; `start` is given its maker, and is not called where it runs already.
 * The engine swallows what a backend's maker throws and says "false"; so the maker is wrapped to keep the reason.
 */
async function activate(tf: TensorFlow, engineName: string, start: (make: () => Made) => Made): Promise<void> {
  const entry = tf.engine().registryFactory[engineName];
  if (!entry) throw new Error(`the package did not register the backend "${engineName}"`);
  const make = entry.factory;
  let reason: unknown;
  const caught = (error: unknown): never => {
    reason = error;
    throw error;
  };
  entry.factory = () => {
    try {
      // A synchronous maker must stay so, or the engine would wait for it.
      const made = start(make);
      return made instanceof Promise ? made.catch(caught) : made;
    } catch (error) {
      return caught(error);
    }
  };
  try {
    const started = await tf.setBackend(engineName);
    if (!started) throw reason ?? new Error("TensorFlow.js gave no reason");
    await tf.ready();
  } finally {
    entry.factory = make;
  }
}

function describe(name: Exclude<BackendName, "wasm" | "onnx">, tf: TensorFlow, adapter: AdapterInfo): { device: string; software: boolean } {
  switch (name) {
    case "tfjs-node-gpu":
    case "tfjs-node": {
      const native = tf.backend() as unknown as NativeBackend;
      if (name === "tfjs-node-gpu" && !native.isUsingGpuDevice) throw new Error("TensorFlow found no GPU that it can use.");
      return { device: `${native.isUsingGpuDevice ? "GPU" : "CPU"}, TensorFlow ${native.binding.TF_Version}`, software: false };
    }
    case "webgpu":
      return describeAdapter(adapter);
    case "cpu":
      return { device: "CPU, JavaScript", software: false };
  }
}

function threadsInWords(threads: number): string {
  return threads === 1 ? "one thread" : `${threads} threads`;
}

/** ONNX Runtime's device in words. */
export function describeOnnx(threads: number): string {
  return `CPU, ONNX Runtime, ${threadsInWords(threads)}`;
}

/** wasm in words; `failed` is why more threads than one did not start, where they were wanted. */
export function describeWasm(threads: number, failed?: unknown): { device: string; software: boolean } {
  const device = `CPU, WebAssembly with SIMD, ${threadsInWords(threads)}`;
  return { device: failed === undefined ? device : `${device} (more did not start: ${reasonOf(failed).slice(0, -1)})`, software: false };
}

/** The device in words, and whether it is a CPU in disguise. */
export function describeAdapter(info: AdapterInfo): { device: string; software: boolean } {
  const names = [info.description, info.device, info.architecture, info.vendor].filter((s): s is string => s !== undefined && s !== "");
  const software = info.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|softpipe|basic render/i.test(names.join(" "));
  const device = names[0] ?? "GPU";
  return { device: software ? `${device} (software)` : device, software };
}

function operations(name: BackendName, tf: TensorFlow, undoGpu: () => void): Pick<Backend, "read" | "memory" | "dispose"> {
  const engineName = engineNameOf[name];
  return {
    async read(tensor: Tensor) {
      const data: unknown = await tensor.data();
      if (data instanceof Float32Array || data instanceof Int32Array) return data;
      return Int32Array.from(data as ArrayLike<number>); // bool comes as bytes
    },
    memory() {
      const { numTensors, numBytes } = tf.memory();
      return { tensors: numTensors, bytes: numBytes };
    },
    async dispose() {
      const makers = tf.engine().registryFactory;
      const entry = makers[engineName];
      if (!entry || !(engineName in tf.engine().registry)) return;
      tf.removeBackend(engineName);
      // A package registers once, when it loads: its maker must outlive the backend for a second start.
      makers[engineName] = entry;
      undoGpu();
    },
  };
}
