import type { Axis, DType, ListType, NumberType, Size, TensorType, Type } from "./graph.ts";
import { equalSizes, multiplySizes } from "./size.ts";

/** A tensor type. `axis` makes the axes: `tensor("f32", [axis("sample"), axis("in", 32)])`. */
export function tensor(dtype: DType, axes: readonly Axis[]): TensorType {
  return { kind: "tensor", dtype, axes };
}

/** A type of no axes. */
export function scalar(dtype: DType = "f32"): TensorType {
  return { kind: "tensor", dtype, axes: [] };
}

/** One tensor for each of `count` layers. */
export function listOf(count: number, of: TensorType): ListType {
  return { kind: "list", count, of };
}

export const numberType: NumberType = { kind: "number" };

/** An axis; without a size its size is the symbol of its own name. */
export function axis(name: string, size: Size = name): Axis {
  return { name, size };
}

export function isTensor(type: Type | undefined): type is TensorType {
  return type?.kind === "tensor";
}

export function isList(type: Type | undefined): type is ListType {
  return type?.kind === "list";
}

/** The names of a tensor's axes, in layout order. */
export function axisNames(type: TensorType): readonly string[] {
  return type.axes.map((a) => a.name);
}

export function hasAxis(type: TensorType, name: string): boolean {
  return type.axes.some((a) => a.name === name);
}

export function findAxis(type: TensorType, name: string): Axis | undefined {
  return type.axes.find((a) => a.name === name);
}

/** The number of elements: a product of the axes' sizes. */
export function elementCount(axes: readonly Axis[]): Size {
  return multiplySizes(...axes.map((a) => a.size));
}

export function sameAxis(a: Axis, b: Axis): boolean {
  return a.name === b.name && equalSizes(a.size, b.size);
}

/** Equal axes in equal order. */
export function sameAxes(a: readonly Axis[], b: readonly Axis[]): boolean {
  return a.length === b.length && a.every((x, i) => sameAxis(x, b[i]!));
}

/** Equal types, layout included. */
export function sameType(a: Type, b: Type): boolean {
  if (a.kind === "tensor" && b.kind === "tensor") return a.dtype === b.dtype && sameAxes(a.axes, b.axes);
  if (a.kind === "list" && b.kind === "list") return a.count === b.count && sameType(a.of, b.of);
  return a.kind === b.kind;
}

/** The same mathematical type: the layout may differ. */
export function sameUpToLayout(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && a.axes.length === b.axes.length && a.axes.every((x) => b.axes.some((y) => sameAxis(x, y)));
}

/** `f32[sample, in:32]`, `list[2] f32[in:32]`, `number`: the text form's own spelling. */
export function describeType(type: Type): string {
  if (type.kind === "number") return "number";
  if (type.kind === "list") return `list[${type.count}] ${describeType(type.of)}`;
  return `${type.dtype}${describeAxes(type.axes)}`;
}

/** `[sample, in:32]`; a size that is the symbol of its axis' own name is left out. */
export function describeAxes(axes: readonly Axis[]): string {
  return `[${axes.map(describeAxis).join(", ")}]`;
}

export function describeAxis(a: Axis): string {
  return a.size === a.name ? a.name : `${describeName(a.name)}:${a.size}`;
}

/** A name as the text form writes it: plain where it can be, quoted elsewhere. */
export function describeName(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_.]*$/.test(name) ? name : JSON.stringify(name);
}
