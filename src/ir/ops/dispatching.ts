import type { Axis, Type } from "../graph.ts";
import { allocate, countOf, layOut } from "../kernels/strided.ts";
import { equalSizes, multiplySizes } from "../size.ts";
import type { ConcreteAxis, Tensor } from "../tensor.ts";
import { findAxis, hasAxis, sameAxis, tensor } from "../types.ts";
import { type CostContext, type OpRow, alignedSizes, distinct, inputAt, tensorAt, tensorTypes, tensors } from "./row.ts";

type Dispatching = "dispatch" | "spread" | "collect" | "grouped_dot" | "grouped_outer";

/** The one axis of an operand that is a list of whole numbers. */
function listAxis(types: readonly Type[], i: number): Axis {
  return tensorAt(types, i).axes[0]!;
}

function isList(types: readonly Type[], i: number): boolean {
  return tensorAt(types, i).dtype === "i32" && tensorAt(types, i).axes.length === 1;
}

/** The axes of an operand without some. */
function others(types: readonly Type[], i: number, ...without: readonly string[]): readonly Axis[] {
  return tensorAt(types, i).axes.filter((q) => !without.includes(q.name));
}

/** The axes of `spread` and `collect`: rows, choices of a token, tokens. */
function moved(types: readonly Type[]): { readonly rows: Axis; readonly slot: Axis; readonly tokens: Axis } {
  const [slot, tokens] = tensorAt(types, 2).axes;
  return { rows: listAxis(types, 1), slot: slot!, tokens: tokens! };
}

const movedConstraints = [
  { id: "C1", text: "`token` is i32 of one axis, the rows", holds: (types: readonly Type[]) => isList(types, 1) },
  {
    id: "C2",
    text: "`place` is i32 of two axes, choices and tokens, as many as there are rows",
    holds: (types: readonly Type[]) => {
      const place = tensorAt(types, 2);
      return place.dtype === "i32" && place.axes.length === 2 && equalSizes(multiplySizes(...place.axes.map((q) => q.size)), listAxis(types, 1).size);
    },
  },
];

/** First rows of each group, and after the last the number of all: running sums of the counts. */
function bounds(count: Tensor): readonly number[] {
  const ends = [0];
  for (const n of count.data) ends.push(ends.at(-1)! + n);
  return ends;
}

/** Two that take the operands apart, one for each group that may have rows, one that puts the products together. */
function groupedKernels(c: CostContext): number {
  const rows = tensorAt(c.types, 0).axes.reduce((n, q) => Math.max(n, c.size(q.size)), 1);
  return Math.min(c.operands[2]!, rows) + 3;
}

const sizeOf = (axes: readonly ConcreteAxis[], name: string): ConcreteAxis => axes.find((q) => q.name === name)!;

export const dispatching: { readonly [K in Dispatching]: OpRow<K> } = {
  dispatch: {
    summary:
      "The k choices of each token, sorted: rows are (token, choice) pairs, first all of choice 0 by token, then those of choice 1, and so on. A token chooses the first k true ones along the axis, and where fewer are true the first of the others: its choices are always distinct.",
    operands: tensors("mask"),
    attributes: { axis: { kind: "name" }, slot: { kind: "axis" }, rows: { kind: "axis" } },
    result: "i32: the token of each row [rows], the row of each token's choices in order [slot, token], the choice of each row [rows], how many rows each choice has [axis]",
    constraints: [
      { id: "C1", text: "the mask is bool of two axes, the choices' and the tokens'", holds: (types, a) => tensorAt(types, 0).dtype === "bool" && tensorAt(types, 0).axes.length === 2 && hasAxis(tensorAt(types, 0), a.axis) },
      {
        id: "C2",
        text: "`slot` has a number of 1 to the choices' as size",
        holds: (types, a) => {
          const { size } = findAxis(tensorAt(types, 0), a.axis)!;
          return typeof a.slot.size === "number" && typeof size === "number" && a.slot.size >= 1 && a.slot.size <= size;
        },
      },
      { id: "C3", text: "there are as many rows as tokens have choices", holds: (types, a) => equalSizes(a.rows.size, multiplySizes(a.slot.size, others(types, 0, a.axis)[0]!.size)) },
      { id: "C4", text: "the axes' names differ", holds: (types, a) => distinct([a.slot.name, a.rows.name, ...tensorAt(types, 0).axes.map((q) => q.name)]) },
    ],
    infer: (types, a) => {
      const [tokens] = others(types, 0, a.axis);
      return [tensor("i32", [a.rows]), tensor("i32", [a.slot, tokens!]), tensor("i32", [a.rows]), tensor("i32", [findAxis(tensorAt(types, 0), a.axis)!])];
    },
    flops: (c) => 2 * c.operands[0]!,
    kernels: () => 5,
    evaluate: (inputs, a, c, results) => {
      const mask = inputAt(inputs, 0);
      const [choices, tokens] = [sizeOf(mask.axes, a.axis), mask.axes.find((q) => q.name !== a.axis)!];
      const { data } = layOut(mask, [tokens, choices]);
      const k = c.size(a.slot.size);
      const chosen = Array.from({ length: tokens.size }, (_, t) => {
        const all = Array.from({ length: choices.size }, (_, e) => e);
        const is = (e: number): boolean => data[t * choices.size + e] === 1;
        return [...all.filter(is), ...all.filter((e) => !is(e))].slice(0, k);
      });
      const rows = chosen.flatMap((list, t) => list.map((e, s) => ({ t, e, s }))).sort((p, q) => p.e - q.e || p.t - q.t);
      const place = new Int32Array(rows.length);
      const count = new Int32Array(choices.size);
      rows.forEach(({ t, e, s }, row) => {
        place[s * tokens.size + t] = row;
        count[e]!++;
      });
      const datas = [Int32Array.from(rows, (r) => r.t), place, Int32Array.from(rows, (r) => r.e), count];
      return datas.map((values, i) => ({ dtype: "i32" as const, axes: c.axes(tensorAt(results, i).axes), data: values }));
    },
  },
  spread: {
    summary: "Tokens' values for each of their rows, as `dispatch` sorted them: the adjoint of collect.",
    operands: tensors("x", "token", "place"),
    attributes: {},
    result: "x's dtype; the rows, then x's other axes",
    constraints: [
      ...movedConstraints,
      { id: "C3", text: "x has the tokens' axis, and not the rows' or the choices'", holds: (types) => moves(types, "tokens", "rows") },
    ],
    infer: (types) => {
      const { rows, tokens } = moved(types);
      return [tensor(tensorAt(types, 0).dtype, [rows, ...others(types, 0, tokens.name)])];
    },
    flops: () => 0,
    bytes: (c) => 8 * c.results[0]!,
    evaluate: (inputs, _, c, results) => {
      const [x, token] = [inputAt(inputs, 0), inputAt(inputs, 1)];
      const axes = c.axes(tensorAt(results, 0).axes);
      const tokens = inputAt(inputs, 2).axes[1]!;
      const table = layOut(x, [tokens, ...axes.slice(1)]);
      const width = countOf(axes.slice(1));
      const data = allocate(x.dtype, countOf(axes));
      token.data.forEach((t, row) => data.set(table.data.subarray(t * width, (t + 1) * width), row * width));
      return [{ dtype: x.dtype, axes, data }];
    },
  },
  collect: {
    summary: "The sum of each token's rows: the adjoint of spread.",
    operands: tensors("x", "token", "place"),
    attributes: {},
    result: "f32; the tokens, then x's other axes",
    constraints: [
      ...movedConstraints,
      { id: "C3", text: "x is f32 and has the rows' axis, and not the tokens' or the choices'", holds: (types) => tensorAt(types, 0).dtype === "f32" && moves(types, "rows", "tokens") },
    ],
    infer: (types) => {
      const { rows, tokens } = moved(types);
      return [tensor("f32", [tokens, ...others(types, 0, rows.name)])];
    },
    flops: (c) => c.operands[0]! - c.results[0]!,
    bytes: (c) => 8 * c.operands[0]! + 4 * c.results[0]!,
    evaluate: (inputs, _, c, results) => {
      const [x, token] = [inputAt(inputs, 0), inputAt(inputs, 1)];
      const axes = c.axes(tensorAt(results, 0).axes);
      const table = layOut(x, [token.axes[0]!, ...axes.slice(1)]);
      const width = countOf(axes.slice(1));
      const data = new Float64Array(countOf(axes));
      token.data.forEach((t, row) => {
        for (let j = 0; j < width; j++) data[t * width + j]! += table.data[row * width + j]!;
      });
      return [{ dtype: "f32", axes, data }];
    },
  },
  grouped_dot: {
    summary: "Rows times the matrix of their group, a product for each group that has rows: the sum over `over` of a*b. Rows are sorted by group, `count` of each.",
    operands: tensors("a", "b", "count"),
    attributes: { over: { kind: "names" }, transposeB: { kind: "boolean", optional: true } },
    result: "f32, the rows, then b's own axes",
    constraints: [
      { id: "C1", text: "a and b are f32", holds: (types) => tensorTypes(types).slice(0, 2).every((t) => t.dtype === "f32") },
      { id: "C2", text: "`count` is i32 of one axis, the groups', which b has and a has not", holds: (types) => isList(types, 2) && tensorAt(types, 1).axes.some((q) => sameAxis(q, listAxis(types, 2))) && !hasAxis(tensorAt(types, 0), listAxis(types, 2).name) },
      { id: "C3", text: "`over` names at least one axis that a and b have, and none twice", holds: (types, { over }) => over.length > 0 && distinct(over) && over.every((n) => hasAxis(tensorAt(types, 0), n) && hasAxis(tensorAt(types, 1), n)) },
      { id: "C4", text: "a has one axis more, the rows', which b has not", holds: (types, { over }) => others(types, 0, ...over).length === 1 && !hasAxis(tensorAt(types, 1), others(types, 0, ...over)[0]!.name) },
      { id: "C5", text: "b has an axis of its own", holds: (types, { over }) => others(types, 1, listAxis(types, 2).name, ...over).length > 0 },
      { id: "C6", text: "axes that both have are of one size", holds: (types) => alignedSizes(tensorTypes(types).slice(0, 2)) },
      {
        id: "C7",
        text: "with transposeB, b is [group, n, k], each one axis",
        holds: (types, { over, transposeB }) => !transposeB || (tensorAt(types, 1).axes.length === 3 && tensorAt(types, 1).axes[0]!.name === listAxis(types, 2).name && tensorAt(types, 1).axes[2]!.name === over[0]),
      },
    ],
    infer: (types, { over }) => [tensor("f32", [...others(types, 0, ...over), ...others(types, 1, listAxis(types, 2).name, ...over)])],
    flops: (c, { over }) => 2 * c.results[0]! * tensorAt(c.types, 0).axes.reduce((n, q) => (over.includes(q.name) ? n * c.size(q.size) : n), 1),
    // Rows and matrices are copied out for their products, and the products into one.
    bytes: (c) => 12 * (c.operands[0]! + c.operands[1]! + c.results[0]!),
    kernels: groupedKernels,
    evaluate: (inputs, { over }, c, results) => {
      const [a, b, count] = [inputAt(inputs, 0), inputAt(inputs, 1), inputAt(inputs, 2)];
      const axes = c.axes(tensorAt(results, 0).axes);
      const inner = a.axes.filter((q) => over.includes(q.name));
      const [left, right] = [layOut(a, [axes[0]!, ...inner]).data, layOut(b, [count.axes[0]!, ...inner, ...axes.slice(1)]).data];
      const [depth, width] = [countOf(inner), countOf(axes.slice(1))];
      const data = new Float64Array(countOf(axes));
      const ends = bounds(count);
      for (let g = 0; g + 1 < ends.length; g++)
        for (let row = ends[g]!; row < ends[g + 1]!; row++)
          for (let i = 0; i < depth; i++) {
            const value = left[row * depth + i]!;
            for (let j = 0; j < width; j++) data[row * width + j]! += value * right[(g * depth + i) * width + j]!;
          }
      return [{ dtype: "f32", axes, data }];
    },
  },
  grouped_outer: {
    summary: "For each group the sum over its rows of a*b; 0 for a group without rows. Rows are sorted by group, `count` of each.",
    operands: tensors("a", "b", "count"),
    attributes: {},
    result: "f32, the groups, then a's own axes, then b's",
    constraints: [
      { id: "C1", text: "a and b are f32", holds: (types) => tensorTypes(types).slice(0, 2).every((t) => t.dtype === "f32") },
      { id: "C2", text: "`count` is i32 of one axis, the groups', which neither has", holds: (types) => isList(types, 2) && [0, 1].every((i) => !hasAxis(tensorAt(types, i), listAxis(types, 2).name)) },
      { id: "C3", text: "a and b share one axis, the rows', of one size", holds: (types) => others(types, 0).filter((q) => hasAxis(tensorAt(types, 1), q.name)).length === 1 && alignedSizes(tensorTypes(types).slice(0, 2)) },
      { id: "C4", text: "each has an axis of its own", holds: (types) => [0, 1].every((i) => tensorAt(types, i).axes.length > 1) },
    ],
    infer: (types) => {
      const own = (i: number): readonly Axis[] => others(types, i).filter((q) => !hasAxis(tensorAt(types, 1 - i), q.name));
      return [tensor("f32", [listAxis(types, 2), ...own(0), ...own(1)])];
    },
    flops: (c) => (2 * c.results[0]! * c.size(rowsOf(c.types).size)) / c.operands[2]!,
    bytes: (c) => 12 * (c.operands[0]! + c.operands[1]! + c.results[0]!),
    kernels: groupedKernels,
    evaluate: (inputs, _, c, results) => {
      const [a, b, count] = [inputAt(inputs, 0), inputAt(inputs, 1), inputAt(inputs, 2)];
      const axes = c.axes(tensorAt(results, 0).axes);
      const rows = a.axes.find((q) => b.axes.some((p) => p.name === q.name))!;
      const own = (t: Tensor): readonly ConcreteAxis[] => t.axes.filter((q) => q.name !== rows.name);
      const [left, right] = [layOut(a, [rows, ...own(a)]).data, layOut(b, [rows, ...own(b)]).data];
      const [height, width] = [countOf(own(a)), countOf(own(b))];
      const data = new Float64Array(countOf(axes));
      const ends = bounds(count);
      for (let g = 0; g + 1 < ends.length; g++)
        for (let row = ends[g]!; row < ends[g + 1]!; row++)
          for (let i = 0; i < height; i++) {
            const value = left[row * height + i]!;
            for (let j = 0; j < width; j++) data[(g * height + i) * width + j]! += value * right[row * width + j]!;
          }
      return [{ dtype: "f32", axes, data }];
    },
  },
};

/** Whether operand 0 has the one side's axis, of that size, and not the other's nor the choices'. */
function moves(types: readonly Type[], from: "rows" | "tokens", to: "rows" | "tokens"): boolean {
  const all = moved(types);
  const x = tensorAt(types, 0);
  return x.axes.some((q) => sameAxis(q, all[from])) && !hasAxis(x, all[to].name) && !hasAxis(x, all.slot.name);
}

/** The axis that the operands of a grouped_outer share. */
function rowsOf(types: readonly Type[]): Axis {
  return tensorAt(types, 0).axes.find((q) => hasAxis(tensorAt(types, 1), q.name))!;
}
