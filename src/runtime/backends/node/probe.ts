import { describeAdapter, describeOnnx, describeWasm, reasonOf, type AdapterInfo } from "../launch.ts";
import { engineNameOf, howToRepair, packagesOf } from "../packages.ts";
import type { BackendName, BackendReport } from "../types.ts";
import { coresHere, onnxThreads, wasmThreads } from "./cores.ts";
import { findPackage } from "./packages.ts";
import { tensorFlowDefaults } from "./tensorflow.ts";
import { startThreaded } from "./threads.ts";

/** A backend that says nothing for so long is taken for hung. */
const LIMIT_MS = 60_000;

/** What the child found out, in one line of JSON. */
interface Finding {
  readonly error?: string;
  readonly milliseconds?: number;
  readonly adapter?: AdapterInfo;
  readonly tensorflow?: string;
  readonly gpu?: boolean;
  readonly threads?: number;
  /** Why more threads than one did not start. */
  readonly alone?: string;
}

/**
 * Tries a backend in a child process: loads it, multiplies, reads back, compares, times. Whatever happens there (an
 * illegal instruction in a native library, a driver that hangs) stays there and becomes the report's reason.
 */
export async function probeInChild(name: BackendName): Promise<BackendReport> {
  const packages = packagesOf[name].map((p) => findPackage(p));
  const core = findPackage("@tensorflow/tfjs-core");
  if (!core || packages.includes(undefined)) return { name, usable: false, reason: "it is not installed.", help: howToRepair(name) };
  const main = packages[packages.length - 1]!;
  const { version } = main;
  const job = {
    core: core.entry,
    main: main.entry,
    engineName: engineNameOf[name],
    ...(name === "onnx" ? { model: productModel, threads: onnxThreads(process.env, coresHere()) } : {}),
    ...(name === "webgpu" ? { dawn: process.getBuiltinModule("node:url").pathToFileURL(packages[0]!.entry).href } : {}),
    ...(name === "wasm" ? { wasmPath: main.entry.replace(/[^\\/]+$/, ""), package: main.root, threads: wasmThreads(process.env, coresHere()) } : {}),
  };
  const { finding, failure } = await runChild(JSON.stringify(job));
  const help = howToRepair(name);
  if (!finding) return { name, usable: false, version, reason: failure, help };
  if (finding.error !== undefined) return { name, usable: false, version, reason: reasonOf(finding.error), help };
  const { milliseconds } = finding;
  switch (name) {
    case "onnx":
      return { name, usable: true, version, device: describeOnnx(job.threads!), milliseconds };
    case "tfjs-node-gpu":
    case "tfjs-node":
      if (name === "tfjs-node-gpu" && !finding.gpu) return { name, usable: false, version, reason: "TensorFlow found no GPU that it can use.", help };
      return { name, usable: true, version, device: `${finding.gpu ? "GPU" : "CPU"}, TensorFlow ${finding.tensorflow}`, milliseconds };
    case "webgpu": {
      const { device, software } = describeAdapter(finding.adapter ?? {});
      const slow = "WebGPU works, but a CPU does a GPU's work: `auto` takes another backend. A GPU's driver would change that.";
      return { name, usable: true, version, device, software, milliseconds, ...(software ? { help: slow } : {}) };
    }
    case "wasm":
      return { name, usable: true, version, ...describeWasm(finding.threads ?? 1, finding.alone), milliseconds };
    case "cpu":
      return { name, usable: true, version, device: "CPU, JavaScript", milliseconds };
  }
}

/** A product [m, k] by [k, n] of any size as an ONNX model: inputs a and b, output c. */
const productModel = "CAoSBG1vZWMaADpkChQKAWEKAWISAWMaAWMiBk1hdE11bBIHcHJvZHVjdFoVCgFhEhAKDggBEgoKAxIBbQoDEgFrWhUKAWISEAoOCAESCgoDEgFrCgMSAW5iFQoBYxIQCg4IARIKCgMSAW0KAxIBbkIECgAQFQ==";

const MARK = "moec-probe ";

async function runChild(job: string): Promise<{ finding?: Finding; failure: string }> {
  const { spawn } = process.getBuiltinModule("node:child_process");
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program, job], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...tensorFlowDefaults(process.env) },
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (s: string) => void (out = (out + s).slice(-100_000)));
  child.stderr.setEncoding("utf8").on("data", (s: string) => void (err = (err + s).slice(-100_000)));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, LIMIT_MS);
  const [code, signal, spawnError] = await new Promise<[number | null, string | null, string?]>((done) => {
    child.on("error", (e) => done([null, null, e.message]));
    child.on("close", (c, s) => done([c, s]));
  });
  clearTimeout(timer);
  const line = out.split("\n").find((l) => l.startsWith(MARK));
  if (line) return { finding: JSON.parse(line.slice(MARK.length)) as Finding, failure: "" };
  if (late) return { failure: `it gave no answer within ${LIMIT_MS / 1000} s.` };
  if (spawnError !== undefined) return { failure: `a child process could not be started: ${spawnError}` };
  const last = err.split("\n").map((l) => l.trim()).filter((l) => l !== "").at(-1);
  return { failure: `it ended the process with ${signal ?? `exit code ${code}`}${last === undefined ? "" : ` (${last.slice(0, 200)})`}.` };
}

/**
 * What the child runs. A text and not a file, so that it needs no place beside whatever bundle moec is in; and not
 * `launch`, because the bundle that holds `launch` may be a command; of moec it holds one function that needs nothing else.
 * Errors are told, not thrown; a crash tells itself.
 */
const program = `
import { createRequire } from "node:module";
import util from "node:util";
const job = JSON.parse(process.argv[1]);
const startThreaded = ${startThreaded.toString()};
const write = (finding) => process.stdout.write(${JSON.stringify(MARK)} + JSON.stringify(finding) + "\\n");
const check = (data) => {
  const product = Array.from(data);
  if (product.join() !== "7,10,15,22") throw new Error("it multiplies wrongly: [1 2; 3 4] squared gave " + product.join(" "));
};
const time = async (run) => {
  const times = [];
  const start = performance.now();
  for (let i = 0; i < 4 && (i < 2 || performance.now() - start < 3000); i++) {
    const t = performance.now();
    await run();
    if (i > 0) times.push(performance.now() - t);
  }
  times.sort((x, y) => x - y);
  return Math.round(times[times.length >> 1] * 100) / 100;
};
const said = [];
for (const key of ["log", "info", "warn", "error"]) console[key] = (...parts) => said.push(...parts);
try {
  const require = createRequire(job.core);
  const finding = {};
  if (job.model) {
    const ort = require(job.main);
    const session = await ort.InferenceSession.create(Buffer.from(job.model, "base64"), { executionProviders: ["cpu"], intraOpNumThreads: job.threads, logSeverityLevel: 3, extra: { session: { intra_op: { allow_spinning: "0" } } } });
    const filled = (value, ...dims) => new ort.Tensor("float32", new Float32Array(dims[0] * dims[1]).fill(value), dims);
    const square = new ort.Tensor("float32", Float32Array.of(1, 2, 3, 4), [2, 2]);
    check((await session.run({ a: square, b: square })).c.data);
    const [a, b] = [filled(0.5, 512, 512), filled(0.25, 512, 1376)];
    finding.milliseconds = await time(async () => void (await session.run({ a, b })).c.data);
    write(finding);
    process.exit(0);
  }
  if (job.dawn) {
    const { create, globals } = await import(job.dawn);
    for (const key of Object.keys(globals)) globalThis[key] ??= globals[key];
    const gpu = create([]);
    if (globalThis.navigator) Object.defineProperty(globalThis.navigator, "gpu", { value: gpu });
    else Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error("there is no GPU with a driver that WebGPU can use");
    const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
    finding.adapter = { vendor, architecture, device, description, isFallbackAdapter };
  }
  util.isNullOrUndefined ??= (v) => v === null || v === undefined;
  util.isArray ??= Array.isArray;
  const tf = require(job.core);
  const main = require(job.main);
  if (job.wasmPath) main.setWasmPaths(job.wasmPath);
  if (job.threads > 1) {
    const entry = tf.engine().registryFactory[job.engineName];
    const make = entry.factory;
    entry.factory = () => startThreaded(main, job.package, job.threads).catch((error) => {
      finding.alone = String(error?.message ?? error);
      return make();
    });
  }
  if (!(await tf.setBackend(job.engineName))) {
    const why = said.find((p) => p instanceof Error) ?? said.at(-1) ?? "TensorFlow.js gave no reason";
    throw new Error(String(why.message ?? why).replace(/^Initialization of backend \\w+ failed\\s*/, ""));
  }
  await tf.ready();
  const square = tf.tensor2d([1, 2, 3, 4], [2, 2]);
  check(await tf.matMul(square, square).data());
  const a = tf.fill([512, 512], 0.5), b = tf.fill([512, 1376], 0.25);
  finding.milliseconds = await time(async () => {
    const c = tf.matMul(a, b);
    await c.data();
    c.dispose();
  });
  const backend = tf.backend();
  if (job.threads) finding.threads = main.getThreadsCount();
  if (backend.binding) {
    finding.tensorflow = backend.binding.TF_Version;
    finding.gpu = backend.isUsingGpuDevice;
  }
  write(finding);
} catch (error) {
  write({ error: String(error?.message ?? error) });
}
process.exit(0);
`;
