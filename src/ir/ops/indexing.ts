import { GraphError } from "../errors.ts";
import { argmaxOver, mapLines } from "../kernels/reduce.ts";
import { allocate, along, countOf, layOut } from "../kernels/strided.ts";
import { findAxis, hasAxis, sameAxis, tensor } from "../types.ts";
import { type OpRow, dtypes, inputAt, tensorAt, tensorTypes, tensors } from "./row.ts";

type Indexing = "gather" | "scatter_add" | "one_hot" | "argmax" | "is_top" | "cumsum";

function checked(index: number, size: number, axis: string): number {
  if (index < 0 || index >= size) throw new GraphError(`index ${index} is outside the ${size} elements of ${axis}`);
  return index;
}

export const indexing: { readonly [K in Indexing]: OpRow<K> } = {
  gather: {
    summary: "Rows of a table.",
    operands: tensors("table", "indices"),
    attributes: { axis: { kind: "name" } },
    result: "the table's dtype; the indices' axes, then the table's others",
    constraints: [
      { id: "C1", text: "the axis is the table's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) },
      { id: "C2", text: "the indices are i32", holds: (types) => tensorAt(types, 1).dtype === "i32" },
      { id: "C3", text: "the indices have none of the table's other axes", holds: (types, a) => tensorAt(types, 0).axes.every((q) => q.name === a.axis || !hasAxis(tensorAt(types, 1), q.name)) },
    ],
    infer: (types, a) => {
      const [table, indices] = tensorTypes(types);
      return [tensor(table!.dtype, [...indices!.axes, ...table!.axes.filter((q) => q.name !== a.axis)])];
    },
    flops: () => 0,
    bytes: (c) => 8 * c.results[0]! + 4 * c.operands[1]!,
    evaluate: (inputs, a, c, results) => {
      const table = inputAt(inputs, 0);
      const indices = inputAt(inputs, 1);
      const rest = table.axes.filter((q) => q.name !== a.axis);
      const rows = layOut(table, [table.axes.find((q) => q.name === a.axis)!, ...rest]);
      const width = countOf(rest);
      const axes = c.axes(tensorAt(results, 0).axes);
      const data = allocate(table.dtype, countOf(axes));
      indices.data.forEach((index, i) => {
        const row = checked(index, rows.axes[0]!.size, a.axis);
        data.set(rows.data.subarray(row * width, (row + 1) * width), i * width);
      });
      return [{ dtype: table.dtype, axes, data }];
    },
  },
  scatter_add: {
    summary: "Sums updates into rows: the adjoint of gather.",
    operands: tensors("indices", "updates"),
    attributes: { axis: { kind: "axis" } },
    result: "f32; the axis, then the updates' axes that the indices lack",
    constraints: [
      { id: "C1", text: "the indices are i32 and the updates f32", holds: (types) => tensorAt(types, 0).dtype === "i32" && tensorAt(types, 1).dtype === "f32" },
      { id: "C2", text: "the updates have all axes of the indices", holds: (types) => tensorAt(types, 0).axes.every((q) => tensorAt(types, 1).axes.some((p) => sameAxis(p, q))) },
      { id: "C3", text: "the updates' other axes have not the axis' name", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis.name) || !hasAxis(tensorAt(types, 1), a.axis.name) },
    ],
    infer: (types, a) => [tensor("f32", [a.axis, ...tensorAt(types, 1).axes.filter((q) => !hasAxis(tensorAt(types, 0), q.name))])],
    flops: (c) => c.operands[1]!,
    evaluate: (inputs, a, c, results) => {
      const indices = inputAt(inputs, 0);
      const rest = inputAt(inputs, 1).axes.filter((q) => !indices.axes.some((p) => p.name === q.name));
      const updates = layOut(inputAt(inputs, 1), [...indices.axes, ...rest]);
      const width = countOf(rest);
      const axes = c.axes(tensorAt(results, 0).axes);
      const data = new Float64Array(countOf(axes));
      indices.data.forEach((index, i) => {
        const row = checked(index, axes[0]!.size, a.axis.name) * width;
        for (let j = 0; j < width; j++) data[row + j]! += updates.data[i * width + j]!;
      });
      return [{ dtype: "f32", axes, data }];
    },
  },
  one_hot: {
    summary: "1 at the index along a new last axis, 0 elsewhere; all 0 where the index is outside.",
    operands: tensors("indices"),
    attributes: { axis: { kind: "axis" } },
    result: "f32; the indices' axes, then the axis",
    constraints: [dtypes("C1", ["i32"], "the operand"), { id: "C2", text: "the indices lack the axis", holds: (types, a) => !hasAxis(tensorAt(types, 0), a.axis.name) }],
    infer: (types, a) => [tensor("f32", [...tensorAt(types, 0).axes, a.axis])],
    flops: () => 0,
    evaluate: (inputs, a, c, results) => {
      const indices = inputAt(inputs, 0);
      const size = c.size(a.axis.size);
      const axes = c.axes(tensorAt(results, 0).axes);
      const data = new Float64Array(countOf(axes));
      indices.data.forEach((index, i) => {
        if (index >= 0 && index < size) data[i * size + index] = 1;
      });
      return [{ dtype: "f32", axes, data }];
    },
  },
  argmax: {
    summary: "The index of the greatest element; the lowest among equals.",
    operands: tensors("x"),
    attributes: { axis: { kind: "name" } },
    result: "i32, x's axes without the axis",
    constraints: [dtypes("C1", ["f32", "i32"], "x"), { id: "C2", text: "the axis is x's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) }],
    infer: (types, a) => [tensor("i32", tensorAt(types, 0).axes.filter((q) => q.name !== a.axis))],
    flops: (c) => c.operands[0]!,
    evaluate: (inputs, a) => [argmaxOver(inputAt(inputs, 0), a.axis)],
  },
  is_top: {
    summary: "Whether an element is among the k greatest along the axis; ties go to the lower index.",
    operands: tensors("x"),
    attributes: { axis: { kind: "name" }, k: { kind: "count" } },
    result: "bool, x's axes",
    constraints: [
      dtypes("C1", ["f32"], "x"),
      { id: "C2", text: "the axis is x's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) },
      {
        id: "C3",
        text: "1 <= k <= the axis' size",
        holds: (types, a) => {
          const size = findAxis(tensorAt(types, 0), a.axis)!.size;
          return a.k >= 1 && (typeof size !== "number" || a.k <= size);
        },
      },
    ],
    infer: (types) => [tensor("bool", tensorAt(types, 0).axes)],
    flops: (c, a) => a.k * c.operands[0]!,
    evaluate: (inputs, a) => {
      const x = inputAt(inputs, 0);
      if (a.k > along(x.axes, a.axis).size) throw new GraphError(`the ${a.k} greatest of fewer elements along ${a.axis}`);
      const f = (data: ArrayLike<number>, start: number, step: number, length: number, out: { [i: number]: number }): void => {
        const order = Array.from({ length }, (_, i) => i).sort((i, j) => data[start + j * step]! - data[start + i * step]! || i - j);
        for (const i of order.slice(0, a.k)) out[start + i * step] = 1;
      };
      return [mapLines(x, a.axis, "bool", f)];
    },
  },
  cumsum: {
    summary: "The running sum along an axis; exclusive: of the elements before; reverse: from the end.",
    operands: tensors("x"),
    attributes: { axis: { kind: "name" }, exclusive: { kind: "boolean" }, reverse: { kind: "boolean" } },
    result: "x's type",
    constraints: [dtypes("C1", ["f32", "i32"], "x"), { id: "C2", text: "the axis is x's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) }],
    infer: ([x]) => [x!],
    flops: (c) => c.operands[0]!,
    evaluate: (inputs, a) => {
      const x = inputAt(inputs, 0);
      return [
        mapLines(x, a.axis, x.dtype, (data, start, step, length, out) => {
          let total = 0;
          for (let i = 0; i < length; i++) {
            const at = start + (a.reverse ? length - 1 - i : i) * step;
            if (a.exclusive) out[at] = total;
            total += data[at]!;
            if (!a.exclusive) out[at] = total;
          }
        }),
      ];
    },
  },
};

