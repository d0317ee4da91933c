import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const folder = "bench/onnx";

/** Installs ONNX Runtime beside its package.json, without what its own install step downloads (its CUDA libraries). */
export function installOnnxRuntime(): void {
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" };
  const run = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: folder, env, stdio: "inherit", shell: process.platform === "win32" });
  if (run.status !== 0) throw new Error(`npm ci in ${folder} failed`);
}

/** The parts of onnxruntime-node's interface that are used: moec does not depend on its types. */
export interface Ort {
  readonly Tensor: new (type: string, data: Float32Array | Int32Array, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

export interface OrtTensor {
  readonly data: Float32Array | Int32Array;
  readonly dims: readonly number[];
}

export type Feeds = Readonly<Record<string, OrtTensor>>;

export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly outputMetadata: readonly { readonly shape: readonly number[] }[];
  /** `fetches` names the results wanted, or gives tensors that they are written into. */
  run(feeds: Feeds, fetches?: Feeds): Promise<Feeds>;
  release(): Promise<void>;
}

/** ONNX Runtime, or undefined, and said so, where it is not installed. */
export function onnxRuntime(): Ort | undefined {
  if (!existsSync(`${folder}/node_modules`)) {
    console.log(`skipped: ONNX Runtime (--install installs what ${folder} lists)`);
    return undefined;
  }
  return createRequire(resolve(folder, "package.json"))("onnxruntime-node") as Ort;
}

/** A session on the CPU. Its threads sleep between calls rather than spin, so that they disturb no other side. */
export function open(ort: Ort, model: Uint8Array, threads: number): Promise<Session> {
  return ort.InferenceSession.create(model, {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    graphOptimizationLevel: "all",
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  });
}

/** Tensors for all results, to be written into by every run. */
export function resultsOf(ort: Ort, session: Session): Feeds {
  return Object.fromEntries(session.outputNames.map((name, i) => {
    const dims = session.outputMetadata[i]!.shape;
    return [name, new ort.Tensor("float32", new Float32Array(dims.reduce((n, d) => n * d, 1)), dims)];
  }));
}
