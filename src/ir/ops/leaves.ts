import type { OpName } from "../graph.ts";
import { allocate, countOf } from "../kernels/strided.ts";
import type { Data } from "../tensor.ts";
import { axisNames, scalar, tensor } from "../types.ts";
import { type OpRow, distinct, tensors } from "./row.ts";

type Leaf = "constant" | "table" | "index" | "fill" | "extent" | "random" | "chance";

/** Whether a number can be an element of a dtype. */
function fits(value: number, dtype: string): boolean {
  if (dtype === "bool") return value === 0 || value === 1;
  if (dtype === "i32") return value === (value | 0);
  return !Number.isNaN(value);
}

function dataOf(dtype: "f32" | "i32" | "bool", values: readonly number[]): Data {
  const data = allocate(dtype, values.length);
  data.set(values);
  return data;
}

export const leaves: { readonly [K in Leaf & OpName]: OpRow<K> } = {
  constant: {
    summary: "A scalar literal.",
    operands: tensors(),
    attributes: { value: { kind: "number" }, dtype: { kind: "dtype" } },
    result: "dtype []",
    constraints: [{ id: "C1", text: "the value is one of the dtype: a whole 32-bit number for i32, 0 or 1 for bool, not NaN for f32", holds: (_, a) => fits(a.value, a.dtype) }],
    infer: (_, a) => [scalar(a.dtype)],
    flops: () => 0,
    kernels: () => 0,
    evaluate: (_, a) => [{ dtype: a.dtype, axes: [], data: dataOf(a.dtype, [a.value]) }],
  },
  table: {
    summary: "A literal tensor, row major.",
    operands: tensors(),
    attributes: { values: { kind: "numbers" }, axes: { kind: "axes" }, dtype: { kind: "dtype" } },
    result: "dtype [axes]",
    constraints: [
      { id: "C1", text: "all sizes are numbers, and there are as many values as elements", holds: (_, a) => a.axes.every((x) => typeof x.size === "number") && a.values.length === a.axes.reduce((n, x) => n * Number(x.size), 1) },
      { id: "C2", text: "every value is one of the dtype", holds: (_, a) => a.values.every((v) => fits(v, a.dtype)) },
      { id: "C3", text: "no axis stands twice", holds: (_, a) => distinct(a.axes.map((x) => x.name)) },
    ],
    infer: (_, a) => [tensor(a.dtype, a.axes)],
    flops: () => 0,
    kernels: () => 0,
    evaluate: (_, a, c) => [{ dtype: a.dtype, axes: c.axes(a.axes), data: dataOf(a.dtype, a.values) }],
  },
  index: {
    summary: "0, 1, 2 … along one axis.",
    operands: tensors(),
    attributes: { axis: { kind: "axis" }, dtype: { kind: { oneOf: ["f32", "i32"] } } },
    result: "dtype [axis]",
    constraints: [],
    infer: (_, a) => [tensor(a.dtype, [a.axis])],
    flops: () => 0,
    kernels: () => 0,
    evaluate: (_, a, c) => {
      const axes = c.axes([a.axis]);
      const data = allocate(a.dtype, countOf(axes));
      for (let i = 0; i < data.length; i++) data[i] = i;
      return [{ dtype: a.dtype, axes, data }];
    },
  },
  fill: {
    summary: "A host number as a tensor.",
    operands: { names: ["value"], kinds: ["number"] },
    attributes: {},
    result: "f32 []",
    constraints: [],
    infer: () => [scalar()],
    flops: () => 0,
    kernels: () => 0,
    evaluate: ([value]) => [{ dtype: "f32", axes: [], data: Float64Array.of(value as number) }],
  },
  extent: {
    summary: "The number of elements along the axes together, known when a batch arrives.",
    operands: tensors(),
    attributes: { axes: { kind: "axes" } },
    result: "f32 []",
    constraints: [{ id: "C1", text: "no axis stands twice", holds: (_, a) => distinct(a.axes.map((x) => x.name)) }],
    infer: () => [scalar()],
    flops: () => 0,
    kernels: () => 0,
    evaluate: (_, a, c) => [{ dtype: "f32", axes: [], data: Float64Array.of(countOf(c.axes(a.axes))) }],
  },
  random: {
    summary: "A counter-based draw: uniform in [0, 1), or standard normal. A function of seed, step, layer and stream alone.",
    operands: { names: ["seed", "step", "layer"], kinds: ["number", "number", "number"] },
    attributes: { stream: { kind: "count" }, axes: { kind: "axes" }, distribution: { kind: { oneOf: ["uniform", "normal"] } } },
    result: "f32 [axes]",
    constraints: [{ id: "C1", text: "no axis stands twice", holds: (_, a) => distinct(axisNames(tensor("f32", a.axes))) }],
    infer: (_, a) => [tensor("f32", a.axes)],
    // About a dozen integer operations a number, whatever the target counts them as.
    flops: (c) => 12 * c.results[0]!,
    evaluate: ([seed, step, layer], a, c) => {
      const axes = c.axes(a.axes);
      const out = new Float32Array(countOf(axes));
      c.random(a.distribution, seed as number, step as number, layer as number, a.stream, out);
      return [{ dtype: "f32", axes, data: Float64Array.from(out) }];
    },
  },
  chance: {
    summary: "Whether the uniform draw with the same numbers is at least `least`: a draw of which nothing else is wanted.",
    operands: { names: ["seed", "step", "layer"], kinds: ["number", "number", "number"] },
    attributes: { stream: { kind: "count" }, axes: { kind: "axes" }, least: { kind: "number" } },
    result: "bool [axes]",
    constraints: [{ id: "C1", text: "no axis stands twice", holds: (_, a) => distinct(axisNames(tensor("bool", a.axes))) }],
    infer: (_, a) => [tensor("bool", a.axes)],
    flops: (c) => 12 * c.results[0]!,
    evaluate: ([seed, step, layer], a, c) => {
      const axes = c.axes(a.axes);
      const drawn = new Float32Array(countOf(axes));
      c.random("uniform", seed as number, step as number, layer as number, a.stream, drawn);
      return [{ dtype: "bool", axes, data: Uint8Array.from(drawn, (u) => Number(u >= a.least)) }];
    },
  },
};
