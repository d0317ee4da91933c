import type { KernelBackend } from "@tensorflow/tfjs-core";
import { fail } from "../../../diagnostics/index.ts";

/** tfjs-backend-wasm's own limits: its pool is made with eight workers, and the thread that calls counts as one of them. */
const MOST = 8;
/** What is taken without being asked for: TensorFlow.js's products gain little beyond. */
const WANTED = 4;

/** What a machine says of its cores. */
export interface Cores {
  /** Cores that this process may run on. */
  readonly available: number;
  /** The text of the control group's `cpu.max`: microseconds of processor time in a period, and the period. */
  readonly quota?: string;
}

/** Asks this machine. */
export function coresHere(): Cores {
  const os = process.getBuiltinModule("node:os");
  const fs = process.getBuiltinModule("node:fs");
  try {
    return { available: os.availableParallelism(), quota: fs.readFileSync("/sys/fs/cgroup/cpu.max", "utf8") };
  } catch {
    return { available: os.availableParallelism() }; // not Linux, or no control group of the second version
  }
}

/**
 * How many threads wasm runs on: what MOEC_WASM_THREADS says, else half of the cores there are, or of a container's share of
 * them, up to four. MOE5205 where the variable holds no number of threads.
 *
 * Half, as TensorFlow.js itself does it: two of the cores that a machine tells are often one core's two threads, and a
 * thread that finds no free core holds up every kernel (docs/backends.md has what that costs).
 */
export function wasmThreads(env: Readonly<Record<string, string | undefined>>, { available, quota }: Cores): number {
  const wanted = env["MOEC_WASM_THREADS"];
  if (wanted !== undefined && wanted !== "") {
    const count = Number(wanted);
    if (/^\d+$/.test(wanted) && count >= 1 && count <= MOST) return count;
    fail("MOE5205", `MOEC_WASM_THREADS is ${JSON.stringify(wanted)}: expected a whole number from 1 to ${MOST}.`, {
      notes: ["TensorFlow.js's WebAssembly has room for eight threads."],
      help: "Without the variable moec takes half of the cores, at most four.",
    });
  }
  const [time, period] = (quota ?? "max").trim().split(/\s+/).map(Number);
  const share = time! > 0 && period! > 0 ? time! / period! : Infinity; // "max" is no number: no limit
  return Math.max(1, Math.min(WANTED, Math.floor(Math.min(available, share) / 2)));
}

/** What `startThreaded` uses of tfjs-backend-wasm. */
export interface WasmPackage {
  readonly BackendWasm: new (wasm: object) => KernelBackend;
  setThreadsCount(count: number): void;
}

/**
 * Makes TensorFlow.js's backend on the package's threaded build, which the package itself never starts in Node: it would
 * start its workers from `blob:` addresses, which Node refuses. So the build is loaded here as the package's `init` does
 * it, with three things of its surroundings replaced:
 * - `Worker` runs the package's text of a worker as it is. Eight are asked for and `count - 1` are needed: for the rest
 *   stands something that only says it is loaded.
 * - `os` says twice as many cores as there are to be threads: the build halves that, and takes no more.
 * - `global` is an object nobody sees, since the build sets `Worker` there.
 *
 * The threads never keep the process alive. Rejects where one cannot be started, and leaves none behind.
 *
 * It refers to nothing outside of itself: `probe.ts` hands its text to a child.
 */
export async function startThreaded(tfjs: WasmPackage, packageFolder: string, count: number): Promise<KernelBackend> {
  const fs = process.getBuiltinModule("node:fs");
  const path = process.getBuiltinModule("node:path");
  const vm = process.getBuiltinModule("node:vm");
  const { createRequire } = process.getBuiltinModule("node:module");
  const workers = process.getBuiltinModule("node:worker_threads");
  const folder = path.join(packageFolder, "wasm-out");
  const file = path.join(folder, "tfjs-backend-wasm-threaded-simd.js");
  const require = createRequire(file);
  // As text that is run again, line breaks in its strings must be escaped anew: the package does so too.
  const { wasmWorkerContents } = require("./tfjs-backend-wasm-threaded-simd.worker.js") as { readonly wasmWorkerContents: string };
  const workerText = wasmWorkerContents.replace(/\n/g, "\\n");

  let refuse = (_: Error): void => {};
  const refused = new Promise<never>((_, reject) => (refuse = reject));
  refused.catch(() => {}); // raced below; what comes later concerns nobody
  let started = false;
  const threads: { terminate(): unknown }[] = [];
  function makeWorker(): object {
    if (threads.length < count - 1) {
      // No options of this process's (`--eval`, `--input-type`) are meant for it.
      const worker = new workers.Worker(workerText, { eval: true, execArgv: [] });
      threads.push(worker);
      worker.on("exit", () => refuse(new Error("a thread ended before it had begun")));
      const on = worker.on.bind(worker);
      worker.on = (event: string, listener: (value: never) => void) =>
        on(event, (value) => (event !== "error" || started ? listener(value as never) : refuse(value as Error)));
      worker.ref = () => {};
      return worker;
    }
    let hear = (_: { readonly cmd: string }): void => {};
    return {
      on: (event: string, listener: typeof hear) => void (event === "message" && (hear = listener)),
      postMessage: () => queueMicrotask(() => hear({ cmd: "loaded" })),
      ref() {},
      unref() {},
      terminate() {},
    };
  }
  interface WasmModule {
    readonly PThread: { readonly unusedWorkers: object[] };
    cwrap(name: string, result: "number" | null, args: readonly "number"[]): (...args: number[]) => number;
    tfjs?: object;
  }
  const module = { exports: {} as unknown as (settings: object) => Promise<WasmModule> };
  const surroundings = {
    module,
    exports: module.exports,
    require: (name: string): unknown => (name === "os" ? { cpus: () => ({ length: 2 * count }) } : require(name)),
    __filename: file,
    __dirname: folder,
    Worker: makeWorker,
    global: {},
  };
  try {
    vm.compileFunction(fs.readFileSync(file, "utf8"), Object.keys(surroundings), { filename: file })(...Object.values(surroundings));
    const wasm = await Promise.race([module.exports({ locateFile: (name: string) => path.join(folder, name), mainScriptUrlOrBlob: file }), refused]);
    started = true;
    wasm.PThread.unusedWorkers.reverse(); // the last are taken first, and the real ones were made first
    // What backend_wasm.ts adds to the module.
    wasm.tfjs = {
      init: wasm.cwrap("init", null, []),
      initWithThreadsCount: wasm.cwrap("init_with_threads_count", null, ["number"]),
      getThreadsCount: wasm.cwrap("get_threads_count", "number", []),
      registerTensor: wasm.cwrap("register_tensor", null, ["number", "number", "number"]),
      disposeData: wasm.cwrap("dispose_data", null, ["number"]),
      dispose: wasm.cwrap("dispose", null, []),
    };
    tfjs.setThreadsCount(count);
    return new tfjs.BackendWasm(wasm);
  } catch (error) {
    for (const thread of threads) thread.terminate();
    throw error;
  }
}
