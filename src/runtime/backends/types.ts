import type * as tfjs from "@tensorflow/tfjs-core";
import type { BackendName } from "../../formats/backends.ts";
import type { OnnxRuntime } from "./ort.ts";

/** TensorFlow.js's core: the operations that generated code calls. */
export type TensorFlow = typeof tfjs;

export { backendNames, type BackendName } from "../../formats/backends.ts";

/**
 * A started backend. TensorFlow.js keeps one engine in a process and one active backend in it, so starting another
 * backend switches every `tf` to it; tensors made before stay readable.
 */
export interface Backend {
  readonly name: BackendName;
  /** Operations on this backend's engine. Any other copy of tfjs-core in the process shares that engine. */
  readonly tf: TensorFlow;
  /** Where programs run as ONNX models: then `tf` is its cpu backend, which holds their tensors and computes little. */
  readonly onnx?: OnnxRuntime;
  /** The device in words: "CPU, TensorFlow 2.21.0", "SwiftShader driver 5.0.0 (software)". */
  readonly device: string;
  /** The version of the package behind the backend. */
  readonly version: string;
  /** True where a GPU's work is done by a CPU: right, but slower than any other backend. */
  readonly software: boolean;
  /**
   * The numbers of a tensor, row-major: float32 as Float32Array; int32 and bool (0 or 1) as Int32Array. Always
   * asynchronous, since WebGPU cannot be read in any other way. The tensor stays alive.
   */
  read(tensor: tfjs.Tensor): Promise<Float32Array | Int32Array>;
  /** Tensors alive in the engine, and the bytes they hold. */
  memory(): { readonly tensors: number; readonly bytes: number };
  /**
   * Frees the backend and what its tensors held; any `Backend` of the same name is dead after it, and it can be started
   * anew. The engine never learns that those tensors are gone: dispose of them first, or `memory` goes on counting them.
   */
  dispose(): Promise<void>;
}

/** What `moec doctor` says of one backend. */
export interface BackendReport {
  readonly name: BackendName;
  /** A small matrix product ran on it and came back right. */
  readonly usable: boolean;
  /** Works, but in software on the CPU: `auto` passes it over. */
  readonly software?: boolean;
  readonly version?: string;
  readonly device?: string;
  /** Median time of a float32 product [512, 512] by [512, 1376], reading included. */
  readonly milliseconds?: number;
  /** Why it is not usable. */
  readonly reason?: string;
  /** What to do about it. */
  readonly help?: string;
}

export interface StartOptions {
  /** Whether there are ONNX models to run: without them `auto` passes the backend `onnx` over. */
  readonly models?: boolean;
  /** Told of each backend that `auto` found installed and passed over, with the reason. */
  readonly onSkip?: (report: BackendReport) => void;
  /** Where a web page serves tfjs-backend-wasm's .wasm files, ending in "/". Node finds them in the package. */
  readonly wasmPath?: string;
}

/** One of the packages behind the backends, loaded. */
export interface LoadedPackage {
  readonly module: unknown;
  readonly version: string;
}

/** A way to start tfjs-backend-wasm on several threads. */
export interface ThreadedStart {
  readonly count: number;
  /** Makes the backend of the loaded package; rejects where the threads cannot be started. */
  make(module: unknown): Promise<tfjs.KernelBackend>;
}

/** What differs between Node and a web page: where packages, files and the GPU come from. */
export interface BackendHost {
  /** moec's own copy of tfjs-core. */
  core(): Promise<TensorFlow>;
  /** True where the package can be found; it may still fail to load. */
  has(name: string): boolean;
  /** Loads a package without a word on the console. Rejects with the package's own error. */
  load(name: string): Promise<LoadedPackage>;
  /** Folder or address of the .wasm files, ending in "/"; undefined where the package's own default is right. */
  wasmPath(): string | undefined;
  /** How many threads ONNX Runtime computes on. Throws MOE5205 as `wasmThreads` does. */
  onnxThreads?(): number;
  /**
   * How wasm is started on several threads, where the package does not see to that itself; undefined where one thread is
   * right. Throws MOE5205 where the environment asks for what is no number of threads.
   */
  wasmThreads?(): ThreadedStart | undefined;
  /** Sets `navigator.gpu` where it is missing. Returns what undoes that. */
  provideGpu(): Promise<() => void>;
  /** Tries a backend apart from this process, where that can be done; undefined where it cannot. */
  probe?(name: BackendName): Promise<BackendReport>;
}
