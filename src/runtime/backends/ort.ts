/** The parts of onnxruntime-node's interface that are used: moec does not depend on its types. */
export interface Ort {
  readonly Tensor: new (type: OrtDType, data: OrtData, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
}

export type OrtDType = "float32" | "int32" | "bool";
export type OrtData = Float32Array | Int32Array | Uint8Array;

export interface OrtTensor {
  readonly type: string;
  readonly data: OrtData;
  readonly dims: readonly number[];
}

export type OrtTensors = Readonly<Record<string, OrtTensor>>;

export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** By place as the names; a size that is no number is the model's own text. */
  readonly inputMetadata: readonly { readonly type: OrtDType; readonly shape: readonly (number | string)[] }[];
  readonly outputMetadata: readonly { readonly type: OrtDType; readonly shape: readonly (number | string)[] }[];
  /** `fetches` gives tensors that results are written into. */
  run(feeds: OrtTensors, fetches?: OrtTensors): Promise<OrtTensors>;
  release(): Promise<void>;
}

/** A session on the CPU. Its threads sleep between calls: a spinning one would take a core from whoever works meanwhile. */
export function openSession(ort: Ort, model: Uint8Array, threads: number): Promise<OrtSession> {
  return ort.InferenceSession.create(model, {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    graphOptimizationLevel: "all",
    // Errors alone: what it warns of (a constant that nothing reads) is no user's concern.
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  });
}

/** ONNX Runtime, started: the package, and how many threads a session computes on. */
export interface OnnxRuntime {
  readonly ort: Ort;
  readonly threads: number;
}
