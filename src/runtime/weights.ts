import type { Tensor } from "@tensorflow/tfjs-core";
import { diagnostic, DiagnosticError, didYouMean, type Code, type Diagnostic } from "../diagnostics/index.ts";
import type { Manifest, ManifestWeight } from "../formats/manifest.ts";
import type { Backend } from "./backends/types.ts";
import { initialValues } from "./initialize.ts";
import { Spectra } from "./spectra.ts";
import { assemble, reorder, sizesOf, slicesOf, takeApart, type FileSlice } from "./layout.ts";
import type { WeightStore } from "./program.ts";
import { disposeStore, tensorsOf, type Model } from "./store.ts";

/** Named tensors in a file or a folder of shards, as float32. */
export interface TensorFile {
  /** The path, for messages. */
  readonly path: string;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Row-major elements; the array is the caller's. */
  read(name: string): Promise<Float32Array>;
}

/** A tensor on its way to a file, row major. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Named tensors in memory, seen as a file. */
export function tensorFileOf(path: string, tensors: readonly NamedTensor[]): TensorFile {
  const byName = new Map(tensors.map((t) => [t.name, t]));
  return {
    path,
    shapes: new Map(tensors.map((t) => [t.name, t.shape])),
    read: async (name) => byName.get(name)!.data.slice(),
  };
}

/** Whether a weight is part of the adapter: what training changes, and what an adapter brings that no base has. */
export function isSaved(weight: ManifestWeight): boolean {
  return weight.layoutOf === undefined && (weight.trainable || weight.sources.some((s) => s.adapter !== undefined));
}

/** The file tensors of a saved adapter, in the manifest's order. */
export function adapterSlices(manifest: Manifest): FileSlice[] {
  return manifest.weights.filter(isSaved).flatMap(slicesOf);
}

/** Whether a weight's first values are those of the base checkpoint. */
function fromBase(weight: ManifestWeight): boolean {
  return weight.initializer.kind === "checkpoint" || weight.sources.every((s) => s.adapter === undefined);
}

export interface PlaceOptions {
  readonly manifest: Manifest;
  readonly backend: Backend;
  /** The base checkpoint. */
  readonly base: TensorFile;
  /** A saved adapter, under the names of `adapterSlices`; without one the adapter's weights start afresh from `seed`. */
  readonly adapter?: TensorFile;
  readonly seed: number;
  /** Told of every tensor placed, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Puts every weight of a program on a backend, in the layouts that evaluation wants (`layOutForTraining` makes the others). The base's files are read once,
 * one tensor at a time, whatever the number of layouts. Everything is checked before the first read; where something
 * does not fit, a DiagnosticError tells all of it (MOE5118, MOE5310 to MOE5313) and nothing stays on the device.
 */
export async function placeWeights(options: PlaceOptions): Promise<WeightStore> {
  const { manifest, backend, base, adapter, seed } = options;
  const weights = manifest.weights.filter((w) => w.layoutOf === undefined);
  const saved = adapter ? (w: ManifestWeight): boolean => isSaved(w) : (): boolean => false;
  const faults = [
    ...misfits(weights.filter((w) => fromBase(w) && !saved(w)).flatMap(baseSlices), base, { missing: "MOE5118", shape: "MOE5313" }),
    ...(adapter ? adapterMisfits(manifest, adapter) : []),
  ];
  if (faults.length > 0) throw new DiagnosticError(faults);

  const stale = manifest.weights.find((w) => manifest.weights.some((o) => o.name === w.layoutOf && (o.trainable || o.state)));
  if (stale) throw new Error(`${stale.name} is a second layout of a weight that training changes: it would grow old`);
  const layouts = (name: string): ManifestWeight[] => manifest.weights.filter((w) => w.layoutOf === name && !w.training);
  const total = manifest.weights.filter((w) => !w.training).reduce((n, w) => n + (w.count ?? 1), 0);
  let done = 0;
  const spectra = new Spectra(manifest, base);
  const store: Record<string, Tensor | Tensor[]> = {};
  try {
    for (const weight of weights) {
      const all = [weight, ...layouts(weight.name)];
      for (const w of all) if (w.count !== undefined) store[w.name] = [];
      const slices = fromBase(weight) && !saved(weight) ? baseSlices(weight) : slicesOf(weight);
      for (let index = 0; index < (weight.count ?? 1); index++) {
        const here = slices.filter((s) => s.index === index);
        const parts: Float32Array[] = [];
        for (const slice of here) {
          if (saved(weight)) parts.push(await adapter!.read(slice.name));
          else if (fromBase(weight)) parts.push(await base.read(slice.name));
          else if (weight.initializer.kind === "base_norm") parts.push(await baseNorm(weight, slice, base));
          else if (weight.initializer.kind === "singular") parts.push(await spectra.values(weight, slice, here.indexOf(slice)));
          else parts.push(initialValues(weight.initializer, slice.shape, seed, slice.name));
        }
        const data = assemble(here, parts);
        for (const w of all) {
          // A backend may keep the array it is given, so each layout has its own.
          const laidOut = w === weight ? data : reorder(data, sizesOf(w), weight.axes, w.axes);
          const tensor = backend.tf.tensor(w !== weight && laidOut === data ? data.slice() : laidOut, [...w.shape], "float32");
          if (w.count === undefined) store[w.name] = tensor;
          else (store[w.name] as Tensor[]).push(tensor);
          options.onProgress?.(++done, total);
        }
      }
    }
    return store;
  } catch (error) {
    disposeStore(store);
    throw error;
  }
}

/**
 * Makes the layouts of frozen weights that only gradients read, once, on the device: a model that is evaluated or writes text never
 * holds them.
 */
export function layOutForTraining(model: Model): void {
  const { manifest, backend } = model;
  const made: Record<string, Tensor | Tensor[]> = {};
  for (const w of manifest.weights) {
    if (!w.training || model.weights[w.name] !== undefined) continue;
    const original = manifest.weights.find((o) => o.name === w.layoutOf)!;
    const order = w.axes.map((a) => original.axes.indexOf(a));
    const tensors = tensorsOf(model.weights[original.name]!).map((t) => backend.tf.transpose(t, order));
    made[w.name] = w.count === undefined ? tensors[0]! : tensors;
  }
  model.weights = { ...model.weights, ...made };
}

/** First values that are the norm of a frozen tensor over one axis (DoRA's magnitude), summed in float64. */
async function baseNorm(weight: ManifestWeight, slice: FileSlice, base: TensorFile): Promise<Float32Array> {
  const from = weight.sources[slice.index]?.base;
  const shape = from && base.shapes.get(from.tensor);
  if (weight.initializer.kind !== "base_norm" || !from || !shape) throw new Error(`the manifest does not say what ${weight.name} starts from`);
  const data = await base.read(from.tensor);
  const over = from.order.indexOf(weight.initializer.over);
  const [rows, columns] = shape as readonly [number, number];
  const sums = new Float64Array(over === 0 ? columns : rows);
  for (let i = 0; i < data.length; i++) sums[over === 0 ? i % columns : Math.floor(i / columns)]! += data[i]! ** 2;
  return Float32Array.from(sums, Math.sqrt);
}

/** A weight's tensors under the base checkpoint's names, whatever the adapter calls them. */
function baseSlices(weight: ManifestWeight): FileSlice[] {
  return slicesOf({ ...weight, sources: weight.sources.map(({ tensor, order }) => ({ ...(tensor === undefined ? {} : { tensor }), order })) });
}

/**
 * Replaces the saved part of a store by what a file holds: the inverse of `adapterTensors`. All or nothing; the old
 * tensors are freed. DiagnosticError: MOE5310 to MOE5312.
 */
export async function restoreTensors(manifest: Manifest, store: WeightStore, backend: Backend, file: TensorFile): Promise<WeightStore> {
  const faults = adapterMisfits(manifest, file);
  if (faults.length > 0) throw new DiagnosticError(faults);
  const fresh = await loadTensors(manifest.weights.filter(isSaved), backend, file);
  for (const name of Object.keys(fresh)) for (const old of tensorsOf(store[name]!)) old.dispose();
  return { ...store, ...fresh };
}

/** Tensors of a checked file as a store of the given weights; `prefix` stands before each name in the file. */
export async function loadTensors(weights: readonly ManifestWeight[], backend: Backend, file: TensorFile, prefix = ""): Promise<WeightStore> {
  const store: Record<string, Tensor | Tensor[]> = {};
  try {
    for (const weight of weights) {
      const slices = slicesOf(weight);
      const list: Tensor[] = [];
      store[weight.name] = list;
      for (let index = 0; index < (weight.count ?? 1); index++) {
        const here = slices.filter((s) => s.index === index);
        const parts: Float32Array[] = [];
        for (const slice of here) parts.push(await file.read(prefix + slice.name));
        list.push(backend.tf.tensor(assemble(here, parts), [...weight.shape], "float32"));
      }
      if (weight.count === undefined) store[weight.name] = list[0]!;
    }
    return store;
  } catch (error) {
    disposeStore(store);
    throw error;
  }
}

/**
 * The adapter as named tensors in the files' order: what training changes (unfrozen base weights under their
 * checkpoint's names) and what else the adapter owns. `only` narrows it, for stores that hold trainable weights alone.
 */
export async function adapterTensors(
  manifest: Manifest,
  store: WeightStore,
  read: Backend["read"],
  only: (weight: ManifestWeight) => boolean = isSaved,
): Promise<NamedTensor[]> {
  const named: NamedTensor[] = [];
  for (const weight of manifest.weights.filter(only)) {
    const slices = slicesOf(weight);
    const tensors = tensorsOf(store[weight.name]!);
    for (let index = 0; index < tensors.length; index++) {
      const here = slices.filter((s) => s.index === index);
      const data = Float32Array.from(await read(tensors[index]!));
      takeApart(here, data).forEach((part, i) => named.push({ name: here[i]!.name, shape: here[i]!.shape, data: part }));
    }
  }
  return named;
}

/** What keeps a file from being this program's adapter; empty where it fits. */
export function adapterMisfits(manifest: Manifest, file: TensorFile): Diagnostic[] {
  const slices = adapterSlices(manifest);
  const faults = misfits(slices, file, { missing: "MOE5310", shape: "MOE5312" });
  const known = new Set(slices.map((s) => s.name));
  const missing = slices.filter((s) => !file.shapes.has(s.name)).map((s) => s.name);
  const extra = [...file.shapes.keys()].filter((name) => !known.has(name));
  // A renamed tensor is one mistake: where a missing name is close to an extra one, the first diagnostic has said it.
  const told = new Set(missing.flatMap((name) => nearestOf(name, extra)));
  const untold = extra.filter((name) => !told.has(name));
  if (untold.length > 0) {
    faults.push(
      diagnostic("MOE5311", `${file.path} holds ${countOf(untold.length, "tensor")} that ${manifest.adapter} does not have: ${listed(untold)}.`, {
        help: `Was it saved by another adapter? ${manifest.adapter} has ${known.size === 0 ? "no tensors" : `${listed([...known])}`}.`,
      }),
    );
  }
  return faults;
}

const nearestOf = (name: string, candidates: readonly string[]): string[] => {
  const hint = didYouMean(name, candidates);
  return hint === undefined ? [] : candidates.filter((c) => hint.includes(`"${c}"`));
};

/** Missing names together, and each wrong shape, of what a program wants from a file. */
function misfits(slices: readonly FileSlice[], file: TensorFile, code: { missing: Code; shape: Code }): Diagnostic[] {
  const faults: Diagnostic[] = [];
  const missing = slices.filter((s) => !file.shapes.has(s.name));
  if (missing.length > 0) {
    const wanted = new Set(slices.map((s) => s.name));
    const near = didYouMean(missing[0]!.name, [...file.shapes.keys()].filter((n) => !wanted.has(n)));
    faults.push(
      diagnostic(code.missing, `${file.path} lacks ${countOf(missing.length, "tensor")}: ${listed(missing.map((s) => s.name))}.`, near === undefined ? {} : { help: near }),
    );
  }
  for (const { name, shape, order } of slices) {
    const found = file.shapes.get(name);
    if (found === undefined || (found.length === shape.length && found.every((n, i) => n === shape[i]))) continue;
    faults.push(
      diagnostic(code.shape, `${name} in ${file.path} is [${found.join(", ")}]; expected [${shape.join(", ")}] (${order.join(", ") || "a scalar"}).`),
    );
  }
  return faults;
}

/** "one tensor", "3 tensors". */
export function countOf(n: number, noun: string): string {
  return n === 1 ? `one ${noun}` : `${n} ${noun}s`;
}

/** Up to four names, and how many more. */
export function listed(names: readonly string[], limit = 4): string {
  const shown = names.slice(0, limit).join(", ");
  return names.length > limit ? `${shown} and ${names.length - limit} more` : shown;
}
