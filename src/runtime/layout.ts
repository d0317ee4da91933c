import type { ManifestWeight } from "../formats/manifest.ts";

/**
 * Row-major elements of a tensor with axes `from`, laid out with axes `to` (the same names in another order). Returns
 * `data` itself where the orders are equal.
 */
export function reorder<T extends Float32Array | Float64Array>(data: T, sizes: Readonly<Record<string, number>>, from: readonly string[], to: readonly string[]): T {
  // Axes of size 1 do not move data, and neighbours that stay together move as one axis.
  const wanted = to.filter((a) => sizes[a] !== 1);
  const given = from.filter((a) => sizes[a] !== 1);
  if (wanted.length === given.length && wanted.every((a, i) => a === given[i])) return data;

  const strideOf = new Map<string, number>();
  let stride = 1;
  for (const axis of [...given].reverse()) {
    strideOf.set(axis, stride);
    stride *= sizes[axis]!;
  }
  const shape = wanted.map((a) => sizes[a]!);
  const strides = wanted.map((a) => strideOf.get(a)!);
  const out = emptyLike(data, data.length);
  const inner = shape.at(-1)!;
  const innerStride = strides.at(-1)!;
  const counter = new Array<number>(shape.length - 1).fill(0);
  let source = 0;
  for (let at = 0; at < out.length; at += inner) {
    for (let i = 0; i < inner; i++) out[at + i] = data[source + i * innerStride]!;
    for (let axis = counter.length - 1; axis >= 0; axis--) {
      source += strides[axis]!;
      if (++counter[axis]! < shape[axis]!) break;
      source -= strides[axis]! * shape[axis]!;
      counter[axis] = 0;
    }
  }
  return out;
}

function emptyLike<T extends Float32Array | Float64Array>(data: T, length: number): T {
  return (data instanceof Float64Array ? new Float64Array(length) : new Float32Array(length)) as T;
}

/** Sizes by axis name. */
export function sizesOf(weight: ManifestWeight): Readonly<Record<string, number>> {
  return Object.fromEntries(weight.axes.map((a, i) => [a, weight.shape[i]!]));
}

export const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

/** One tensor as it lies in a file, and which part of which of a weight's tensors it is. */
export interface FileSlice {
  /** The name in the file. */
  readonly name: string;
  readonly weight: ManifestWeight;
  /** Which of the weight's tensors; 0 where there is but one. */
  readonly index: number;
  /** Axes and sizes in the file's order. */
  readonly order: readonly string[];
  readonly shape: readonly number[];
  /** Position along `along`, where the file holds one tensor for each. */
  readonly slice?: { readonly along: string; readonly at: number };
}

/**
 * The file tensors that make up a weight: under the adapter's names where it has some, else under the base
 * checkpoint's. Throws an Error where the manifest contradicts itself, which is a compiler's bug.
 */
export function slicesOf(weight: ManifestWeight): FileSlice[] {
  const sizes = sizesOf(weight);
  return weight.sources.flatMap((source, index): FileSlice[] => {
    const names = source.adapter?.names ?? (source.tensor === undefined ? undefined : [source.tensor]);
    if (names === undefined) throw new Error(`the manifest gives no file name for ${weight.name}`);
    const along = source.adapter?.along;
    const order = source.order.filter((a) => a !== along);
    const axes = along === undefined ? order : [...order, along];
    if (axes.length !== weight.axes.length || axes.some((a) => !(a in sizes)) || names.length !== (along === undefined ? 1 : sizes[along])) {
      throw new Error(`the manifest's source of ${weight.name} does not fit its axes [${weight.axes.join(", ")}]`);
    }
    const shape = order.map((a) => sizes[a]!);
    return names.map((name, at) => ({ name, weight, index, order, shape, ...(along === undefined ? {} : { slice: { along, at } }) }));
  });
}

/** Joins the slices of one tensor into its memory layout. `parts` are in the slices' order, each in its file's. */
export function assemble<T extends Float32Array | Float64Array>(slices: readonly FileSlice[], parts: readonly T[]): T {
  const first = slices[0]!;
  const { weight, order } = first;
  const sizes = sizesOf(weight);
  if (first.slice === undefined) return reorder(parts[0]!, sizes, order, weight.axes);
  const length = product(first.shape);
  const joined = emptyLike(parts[0]!, length * parts.length);
  parts.forEach((part, i) => joined.set(part, i * length));
  return reorder(joined, sizes, [first.slice.along, ...order], weight.axes);
}

/** The inverse of `assemble`. */
export function takeApart<T extends Float32Array | Float64Array>(slices: readonly FileSlice[], data: T): T[] {
  const first = slices[0]!;
  const { weight, order } = first;
  const sizes = sizesOf(weight);
  if (first.slice === undefined) return [reorder(data, sizes, weight.axes, order)];
  const joined = reorder(data, sizes, weight.axes, [first.slice.along, ...order]);
  const length = product(first.shape);
  return slices.map((_, i) => joined.slice(i * length, (i + 1) * length) as T);
}
