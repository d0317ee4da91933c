import type { KernelBackend } from "@tensorflow/tfjs-core";

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
