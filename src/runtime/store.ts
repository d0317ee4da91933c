import type { Tensor } from "@tensorflow/tfjs-core";
import type { Manifest, ManifestWeight } from "../formats/manifest.ts";
import type { Backend } from "./backends/types.ts";
import type { RunningEntries, WeightStore, Progress } from "./program.ts";

/**
 * A model that lives on a backend: what training, evaluation and generation share. `weights` is replaced by every
 * training step; whoever holds the model owns all its tensors.
 */
export interface Model {
  readonly manifest: Manifest;
  readonly entries: RunningEntries;
  readonly backend: Backend;
  weights: WeightStore;
  /** How far this model was trained here; absent before, and for one that was loaded. */
  progress?: Progress;
}

/** The tensors of one weight: one, or one a layer. */
export function tensorsOf(entry: WeightStore[string]): readonly Tensor[] {
  return Array.isArray(entry) ? (entry as readonly Tensor[]) : [entry as Tensor];
}

/** All tensors of a store, in its order. */
export function allTensors(store: WeightStore): Tensor[] {
  return Object.values(store).flatMap(tensorsOf);
}

/** Frees every tensor of a store. */
export function disposeStore(store: WeightStore): void {
  for (const tensor of allTensors(store)) tensor.dispose();
}

/** The weights that are trained. */
export function trainableWeights(manifest: Manifest): readonly ManifestWeight[] {
  return manifest.weights.filter((w) => w.trainable);
}

/** The part of a store that a step changes, states included; the tensors are shared, not copied. */
export function changingStore(manifest: Manifest, store: WeightStore): WeightStore {
  const part: Record<string, WeightStore[string]> = {};
  for (const { name, trainable, state } of manifest.weights) if (trainable || state) part[name] = store[name]!;
  return part;
}

/** A store of zeros shaped like the trainable weights: AdamW's moments before the first step. */
export function zerosLike(manifest: Manifest, backend: Backend): WeightStore {
  const { tf } = backend;
  const store: Record<string, WeightStore[string]> = {};
  for (const { name, shape, count } of trainableWeights(manifest)) {
    const zeros = (): Tensor => tf.zeros([...shape]);
    store[name] = count === undefined ? zeros() : Array.from({ length: count }, zeros);
  }
  return store;
}
