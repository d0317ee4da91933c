import { GraphError } from "../errors.ts";
import type { Axis, TensorType } from "../graph.ts";
import { allocate, along, countOf, layOut } from "../kernels/strided.ts";
import { equalSizes } from "../size.ts";
import type { Tensor } from "../tensor.ts";
import { axisNames, elementCount, findAxis, hasAxis, sameAxis, tensor } from "../types.ts";
import { type OpRow, distinct, inputAt, tensorAt, tensorTypes, tensors } from "./row.ts";

type AxisOp = "rename" | "transpose" | "reshape" | "expand" | "slice" | "pad" | "concat" | "reverse";

/** The axes with the one called `name` replaced. */
function replaced(axes: readonly Axis[], name: string, by: Axis): readonly Axis[] {
  return axes.map((q) => (q.name === name ? by : q));
}

/** Whether an axis may take the place of `name`: no other axis of the type is called so. */
function freeFor(type: TensorType, name: string, by: Axis): boolean {
  return by.name === name || !hasAxis(type, by.name);
}

/** Copies [start, start+length) along `axis` of `from` to `at` along the axis of equal place in `to`. */
function copyAlong(from: Tensor, axis: string, start: number, length: number, to: Tensor, toAxis: string, at: number): void {
  const source = along(from.axes, axis);
  const target = along(to.axes, toAxis);
  for (let o = 0; o < source.outer; o++) {
    const first = (o * source.size + start) * source.inner;
    to.data.set(from.data.subarray(first, first + length * source.inner), (o * target.size + at) * target.inner);
  }
}

export const axesOps: { readonly [K in AxisOp]: OpRow<K> } = {
  rename: {
    summary: "Renames axes; sizes and data stay.",
    operands: tensors("x"),
    attributes: { from: { kind: "names" }, to: { kind: "names" } },
    result: "x's type with the new names",
    constraints: [
      { id: "C1", text: "`from` and `to` are of one length, and `from` names no axis twice", holds: (_, a) => a.from.length === a.to.length && distinct(a.from) },
      { id: "C2", text: "the axes of `from` are x's", holds: (types, a) => a.from.every((name) => hasAxis(tensorAt(types, 0), name)) },
      { id: "C3", text: "the result has no axis twice", holds: (types, a) => distinct(axisNames(tensorAt(types, 0)).map((n) => a.to[a.from.indexOf(n)] ?? n)) },
    ],
    infer: (types, a) => {
      const x = tensorAt(types, 0);
      return [tensor(x.dtype, x.axes.map((q) => ({ name: a.to[a.from.indexOf(q.name)] ?? q.name, size: q.size })))];
    },
    flops: () => 0,
    kernels: () => 0,
    bytes: () => 0,
    evaluate: (inputs, a) => {
      const x = inputAt(inputs, 0);
      return [{ ...x, axes: x.axes.map((q) => ({ name: a.to[a.from.indexOf(q.name)] ?? q.name, size: q.size })) }];
    },
  },
  transpose: {
    summary: "The same tensor laid out in another order of its axes.",
    operands: tensors("x"),
    attributes: { order: { kind: "names" } },
    result: "x's type in that order",
    constraints: [{ id: "C1", text: "the order names every axis of x once", holds: (types, a) => distinct(a.order) && a.order.length === tensorAt(types, 0).axes.length && a.order.every((name) => hasAxis(tensorAt(types, 0), name)) }],
    infer: (types, a) => {
      const x = tensorAt(types, 0);
      return [tensor(x.dtype, a.order.map((name) => findAxis(x, name)!))];
    },
    flops: () => 0,
    evaluate: (inputs, a) => {
      const x = inputAt(inputs, 0);
      return [layOut(x, a.order.map((name) => x.axes.find((q) => q.name === name)!))];
    },
  },
  reshape: {
    summary: "Row-major elements under other axes: splits, merges, adds unit axes.",
    operands: tensors("x"),
    attributes: { axes: { kind: "axes" } },
    result: "x's dtype, [axes]",
    constraints: [
      { id: "C1", text: "no axis stands twice", holds: (_, a) => distinct(a.axes.map((q) => q.name)) },
      { id: "C2", text: "the product of the sizes stays", holds: (types, a) => equalSizes(elementCount(tensorAt(types, 0).axes), elementCount(a.axes)) },
    ],
    infer: (types, a) => [tensor(tensorAt(types, 0).dtype, a.axes)],
    flops: () => 0,
    kernels: () => 0,
    bytes: () => 0,
    evaluate: (inputs, a, c) => [{ ...inputAt(inputs, 0), axes: c.axes(a.axes) }],
  },
  expand: {
    summary: "Repeats along axes that x lacks.",
    operands: tensors("x"),
    attributes: { axes: { kind: "axes" } },
    result: "x's dtype, [axes]",
    constraints: [
      { id: "C1", text: "no axis stands twice", holds: (_, a) => distinct(a.axes.map((q) => q.name)) },
      { id: "C2", text: "the axes hold all of x's, each of its size", holds: (types, a) => tensorAt(types, 0).axes.every((q) => a.axes.some((p) => sameAxis(p, q))) },
    ],
    infer: (types, a) => [tensor(tensorAt(types, 0).dtype, a.axes)],
    flops: () => 0,
    evaluate: (inputs, a, c) => [layOut(inputAt(inputs, 0), c.axes(a.axes))],
  },
  slice: {
    summary: "Elements [start, start + size) along an axis.",
    operands: tensors("x"),
    attributes: { axis: { kind: "name" }, start: { kind: "count" }, as: { kind: "axis" } },
    result: "x's type, the axis replaced",
    constraints: [
      { id: "C1", text: "the axis is x's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) },
      { id: "C2", text: "the size is a number, and the slice ends within the axis", holds: (types, a) => inside(findAxis(tensorAt(types, 0), a.axis)!, a.start, a.as) },
      { id: "C3", text: "no other axis of x has the new name", holds: (types, a) => freeFor(tensorAt(types, 0), a.axis, a.as) },
    ],
    infer: (types, a) => [tensor(tensorAt(types, 0).dtype, replaced(tensorAt(types, 0).axes, a.axis, a.as))],
    flops: () => 0,
    bytes: (c) => 8 * c.results[0]!,
    evaluate: (inputs, a, c, results) => {
      const x = inputAt(inputs, 0);
      const size = c.size(a.as.size);
      const whole = along(x.axes, a.axis).size;
      if (a.start + size > whole) throw new GraphError(`the slice [${a.start}, ${a.start + size}) goes past the ${whole} elements of ${a.axis}`);
      const axes = c.axes(tensorAt(results, 0).axes);
      const out: Tensor = { dtype: x.dtype, axes, data: allocate(x.dtype, countOf(axes)) };
      copyAlong(x, a.axis, a.start, size, out, a.as.name, 0);
      return [out];
    },
  },
  pad: {
    summary: "Zeros before and after along an axis: the adjoint of slice.",
    operands: tensors("x"),
    attributes: { axis: { kind: "name" }, before: { kind: "count" }, after: { kind: "count" }, as: { kind: "axis" } },
    result: "x's type, the axis replaced",
    constraints: [
      { id: "C1", text: "the axis is x's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) },
      {
        id: "C2",
        text: "the sizes are numbers, the new one is before + size + after",
        holds: (types, a) => {
          const size = findAxis(tensorAt(types, 0), a.axis)!.size;
          return typeof size === "number" && a.as.size === a.before + size + a.after;
        },
      },
      { id: "C3", text: "no other axis of x has the new name", holds: (types, a) => freeFor(tensorAt(types, 0), a.axis, a.as) },
    ],
    infer: (types, a) => [tensor(tensorAt(types, 0).dtype, replaced(tensorAt(types, 0).axes, a.axis, a.as))],
    flops: () => 0,
    evaluate: (inputs, a, c, results) => {
      const x = inputAt(inputs, 0);
      const axes = c.axes(tensorAt(results, 0).axes);
      const out: Tensor = { dtype: x.dtype, axes, data: allocate(x.dtype, countOf(axes)) };
      copyAlong(x, a.axis, 0, along(x.axes, a.axis).size, out, a.as.name, a.before);
      return [out];
    },
  },
  concat: {
    summary: "Tensors joined along one axis each into one, at its place in the first.",
    operands: { names: [], kinds: [], rest: { name: "part", kind: "tensor", least: 1 } },
    attributes: { axes: { kind: "names" }, as: { kind: "axis" } },
    result: "the first's type, its axis replaced",
    constraints: [
      { id: "C1", text: "every operand has its own axis of `axes`", holds: (types, a) => a.axes.length === types.length && a.axes.every((name, i) => hasAxis(tensorAt(types, i), name)) },
      { id: "C2", text: "dtypes and all other axes are equal", holds: (types, a) => equalRests(tensorTypes(types), a.axes) },
      {
        id: "C3",
        text: "the joined sizes are numbers and the new one is their sum",
        holds: (types, a) => {
          const sizes = a.axes.map((name, i) => findAxis(tensorAt(types, i), name)!.size);
          return sizes.every((s) => typeof s === "number") && a.as.size === sizes.reduce<number>((n, s) => n + Number(s), 0);
        },
      },
      { id: "C4", text: "no other axis has the new name", holds: (types, a) => freeFor(tensorAt(types, 0), a.axes[0]!, a.as) },
    ],
    infer: (types, a) => [tensor(tensorAt(types, 0).dtype, replaced(tensorAt(types, 0).axes, a.axes[0]!, a.as))],
    flops: () => 0,
    evaluate: (inputs, a, c, results) => {
      const type = tensorAt(results, 0);
      const axes = c.axes(type.axes);
      const out: Tensor = { dtype: type.dtype, axes, data: allocate(type.dtype, countOf(axes)) };
      let at = 0;
      inputs.forEach((_, i) => {
        const part = inputAt(inputs, i);
        const own = part.axes.find((q) => q.name === a.axes[i])!;
        const aligned = layOut(part, axes.map((q) => (q.name === a.as.name ? own : q)));
        copyAlong(aligned, own.name, 0, own.size, out, a.as.name, at);
        at += own.size;
      });
      return [out];
    },
  },
  reverse: {
    summary: "The elements along an axis in the opposite order.",
    operands: tensors("x"),
    attributes: { axis: { kind: "name" } },
    result: "x's type",
    constraints: [{ id: "C1", text: "the axis is x's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) }],
    infer: ([x]) => [x!],
    flops: () => 0,
    evaluate: (inputs, a) => {
      const x = inputAt(inputs, 0);
      const { size } = along(x.axes, a.axis);
      const out: Tensor = { dtype: x.dtype, axes: x.axes, data: allocate(x.dtype, x.data.length) };
      for (let i = 0; i < size; i++) copyAlong(x, a.axis, i, 1, out, a.axis, size - 1 - i);
      return [out];
    },
  },
};

/** Whether [start, start + as.size) lies within `whole`, where that can be known before a batch arrives. */
function inside(whole: Axis, start: number, as: Axis): boolean {
  return typeof as.size === "number" && (typeof whole.size !== "number" || start + as.size <= whole.size);
}

/** Equal dtypes, and equal axes but for each one's own joined axis. */
function equalRests(types: readonly TensorType[], joined: readonly string[]): boolean {
  const first = types[0]!;
  const rest = first.axes.filter((q) => q.name !== joined[0]);
  return types.every(
    (t, i) => t.dtype === first.dtype && t.axes.length === first.axes.length && rest.every((q) => t.axes.some((p) => sameAxis(p, q) && p.name !== joined[i])),
  );
}
