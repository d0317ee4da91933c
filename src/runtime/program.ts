import type * as tfjs from "@tensorflow/tfjs-core";
import type { Manifest } from "../formats/manifest.ts";
import type { OnnxEntry } from "../formats/onnx.ts";

/** The TensorFlow.js that generated code calls: every backend shares this interface. */
export type Tf = typeof tfjs;

/** A module's weights (or their gradients, or moments) by name: one tensor, or one a layer. */
export type WeightStore = Readonly<Record<string, tfjs.Tensor | readonly tfjs.Tensor[]>>;

/** One padded batch on the device. All but `kind` are [sample, position]. */
export interface BatchInput {
  /** i32: token ids, anything at padding. */
  readonly tokens: tfjs.Tensor2D;
  /** i32: the id that should follow each token. */
  readonly targets: tfjs.Tensor2D;
  /** f32: 1 where the target counts in the loss (the completion), else 0. */
  readonly lossMask: tfjs.Tensor2D;
  /** f32: 1 at real tokens, 0 at padding. */
  readonly mask: tfjs.Tensor2D;
  /** f32: 1 at the tokens of the prompt (those before the first counted target's), else 0. */
  readonly prompt: tfjs.Tensor2D;
  /** i32 [sample]: index into the manifest's kinds; -1 where a row's kind is none of them. */
  readonly kind: tfjs.Tensor1D;
  /** [sample] each, by the manifest's fields: i32 where a field has so many values, else f32. */
  readonly fields: Readonly<Record<string, tfjs.Tensor1D>>;
}

/** What `evaluate` returns; the caller owns and disposes all. */
export interface Evaluation {
  /** f32 [sample]: summed negative log-likelihood (nats) of the counted targets. */
  readonly loss: tfjs.Tensor1D;
  /** f32 [sample]: how many targets count. */
  readonly count: tfjs.Tensor1D;
  /** f32 [sample]: how many counted targets are the argmax: all of them where greedy decoding gives the completion exactly. */
  readonly hits: tfjs.Tensor1D;
  /** f32 []: the weighted sum of all balance terms. */
  readonly balance: tfjs.Scalar;
  /** f32 [sample, group]: share of the gates' mass by group over the sample's real tokens, averaged over sites. */
  readonly usage: tfjs.Tensor2D;
}

export interface Gradients {
  /** f32 []: summed negative log-likelihood times `lossScale`. */
  readonly loss: tfjs.Scalar;
  /** f32 []: balance times `balanceScale`. */
  readonly balance: tfjs.Scalar;
  /** f32 [sample, group] as in Evaluation. */
  readonly usage: tfjs.Tensor2D;
  /** By trainable weight; and by "STATE#0" what the updates of states sum over the batch. */
  readonly gradients: WeightStore;
}

export interface Updated {
  readonly weights: WeightStore;
  readonly moment1: WeightStore;
  readonly moment2: WeightStore;
  /** f32 []: the learning rate that was used, and the gradient's global norm before clipping. */
  readonly lr: tfjs.Scalar;
  readonly norm: tfjs.Scalar;
}

/** How far training is: steps done, of how many. */
export interface Progress {
  readonly step: number;
  readonly steps: number;
}

/** The functions of a generated module. Arguments are borrowed; results are the caller's to dispose. */
export interface Entries {
  /** f32 [sample, position, vocab] in evaluation mode. */
  logits(weights: WeightStore, input: Pick<BatchInput, "tokens" | "mask" | "prompt" | "kind" | "fields">): { readonly logits: tfjs.Tensor3D };
  /** `host` says how far training is, for balances whose weight depends on it. */
  evaluate(weights: WeightStore, input: BatchInput, host: Progress): Evaluation;
  /**
   * Forward and backward of one micro-batch. `lossScale` = 1 / counted targets of the whole step, `balanceScale` =
   * 1 / micro-batches, so that sums over micro-batches are the step's loss and gradient. `draw` numbers the micro-batch
   * for dropout: no two of a run are equal.
   */
  gradients(
    weights: WeightStore,
    input: BatchInput,
    host: { readonly seed: number; readonly draw: number; readonly lossScale: number; readonly balanceScale: number } & Progress,
  ): Gradients;
  accumulate(a: WeightStore, b: WeightStore): WeightStore;
  /** `step` counts from 0; `steps` is the length of the whole run. Of the weights, the stores hold those that are trained, and states. */
  update(
    weights: WeightStore,
    gradients: WeightStore,
    moment1: WeightStore,
    moment2: WeightStore,
    host: Progress,
  ): Updated;
  /** Frees the module's constants. */
  dispose(): void;
}

/** The same functions as they run on a backend: some give their results later. What is disposed of must not be running. */
export type RunningEntries = {
  readonly [K in keyof Entries]: (...args: Parameters<Entries[K]>) => ReturnType<Entries[K]> | Promise<ReturnType<Entries[K]>>;
};

/** The ONNX model of an entry, as bytes of its file. Asked for once, when the entry is first run. */
export type OnnxModels = (entry: OnnxEntry) => Promise<Uint8Array>;

/** What a generated module exports for each adapter, before a backend is chosen. */
export interface CompiledProgram {
  readonly manifest: Manifest;
  /** Its entries as ONNX models, for the backend `onnx`. */
  readonly onnx?: OnnxModels;
  /** Places the module's constants on the backend and returns its functions. */
  create(tf: Tf): Entries;
}
