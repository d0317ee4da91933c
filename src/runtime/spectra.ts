import type { Manifest, ManifestWeight } from "../formats/manifest.ts";
import { product, type FileSlice } from "./layout.ts";
import { singularTriplets } from "./singular.ts";
import type { TensorFile } from "./weights.ts";

/** One singular triplet of a frozen tensor. */
interface Triplet {
  readonly value: number;
  readonly left: Float32Array;
  readonly right: Float32Array;
}

/**
 * First values from singular vectors of frozen tensors (PiSSA, MiLoRA, GOAT). Each tensor is decomposed once, when the
 * first weight asks; of the spectrum only those triplets are kept that some weight starts from, about as many numbers as
 * these weights have.
 */
export class Spectra {
  readonly #base: TensorFile;
  /** The numbers of the triplets that are wanted of each frozen tensor, over all weights. */
  readonly #wanted = new Map<string, Set<number>>();
  readonly #known = new Map<string, ReadonlyMap<number, Triplet>>();

  constructor(manifest: Manifest, base: TensorFile) {
    this.#base = base;
    for (const w of manifest.weights) {
      if (w.initializer.kind !== "singular") continue;
      const { firsts, steps } = w.initializer;
      const numbers = otherSizes(w).reduce<number[]>((all, size, i) => all.flatMap((n) => Array.from({ length: size }, (_, k) => n + k * steps[i]!)), [...firsts]);
      for (const { base: from } of w.sources) {
        if (!from) continue;
        const wanted = this.#wanted.get(from.tensor) ?? new Set();
        for (const n of numbers) wanted.add(n);
        this.#wanted.set(from.tensor, wanted);
      }
    }
  }

  /** The first values of one slice of a weight, in the file's order; `nth` is its place along the axis that slices are taken of. */
  async values(weight: ManifestWeight, slice: FileSlice, nth: number): Promise<Float32Array> {
    const { initializer } = weight;
    const from = weight.sources[slice.index]?.base;
    if (initializer.kind !== "singular" || !from) throw new Error(`the manifest does not say what ${weight.name} starts from`);
    const triplets = await this.#of(from.tensor);
    const side = from.order.indexOf(initializer.axis) === 0 ? "left" : "right";
    const first = initializer.firsts[nth] ?? initializer.firsts[0]!;
    // Where the file's axes go: along the vector, or to the vector of another number.
    const own = slice.order.indexOf(initializer.axis);
    const others = otherAxes(weight).map((axis, k) => ({ at: slice.order.indexOf(axis), step: initializer.steps[k]! }));
    const out = new Float32Array(product(slice.shape));
    const index = new Array<number>(slice.order.length).fill(0);
    for (let i = 0; i < out.length; i++) {
      let rest = i;
      for (let d = slice.shape.length - 1; d >= 0; d--) {
        index[d] = rest % slice.shape[d]!;
        rest = Math.floor(rest / slice.shape[d]!);
      }
      const triplet = triplets.get(others.reduce((n, { at, step }) => n + index[at]! * step, first))!;
      out[i] = triplet[side][index[own]!]! * Math.sqrt(initializer.scale * triplet.value);
    }
    return out;
  }

  async #of(tensor: string): Promise<ReadonlyMap<number, Triplet>> {
    const known = this.#known.get(tensor);
    if (known) return known;
    const [rows, columns] = this.#base.shapes.get(tensor) as readonly [number, number];
    const wanted = [...(this.#wanted.get(tensor) ?? [])];
    const found = singularTriplets(await this.#base.read(tensor), rows, columns, Math.max(...wanted) + 1);
    const made = new Map(wanted.map((n): [number, Triplet] => [n, { value: found.values[n]!, left: Float32Array.from(found.left.subarray(n * rows, (n + 1) * rows)), right: Float32Array.from(found.right.subarray(n * columns, (n + 1) * columns)) }]));
    this.#known.set(tensor, made);
    return made;
  }
}

/** A weight's axes but the frozen side and the one that slices are taken along. */
function otherAxes(w: ManifestWeight): string[] {
  const { initializer } = w;
  const along = w.sources[0]?.adapter?.along;
  return w.axes.filter((a) => a !== along && !(initializer.kind === "singular" && a === initializer.axis));
}

function otherSizes(w: ManifestWeight): number[] {
  return otherAxes(w).map((a) => w.shape[w.axes.indexOf(a)]!);
}
