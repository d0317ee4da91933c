import type { DType } from "../graph.ts";
import { mapOne } from "../kernels/elementwise.ts";
import { maxOver, sumOver } from "../kernels/reduce.ts";
import type { Tensor } from "../tensor.ts";
import { hasAxis, tensor } from "../types.ts";
import { type OpRow, distinct, dtypes, inputAt, tensorAt, tensors } from "./row.ts";

type Reduction = "sum" | "mean" | "reduce_max";

function reduction<K extends Reduction>(summary: string, allowed: readonly DType[], f: (t: Tensor, axes: readonly string[]) => Tensor): OpRow<K> {
  const row: OpRow<"sum"> = {
    summary,
    operands: tensors("x"),
    attributes: { axes: { kind: "names" } },
    result: "x's type without the axes",
    constraints: [
      dtypes("C1", allowed, "x"),
      { id: "C2", text: "at least one axis is named, and none twice", holds: (_, a) => a.axes.length > 0 && distinct(a.axes) },
      { id: "C3", text: "the axes are x's", holds: (types, a) => a.axes.every((name) => hasAxis(tensorAt(types, 0), name)) },
    ],
    infer: (types, a) => {
      const x = tensorAt(types, 0);
      return [tensor(x.dtype, x.axes.filter((q) => !a.axes.includes(q.name)))];
    },
    flops: (c) => c.operands[0]!,
    evaluate: (inputs, a) => [f(inputAt(inputs, 0), a.axes)],
  };
  return row as unknown as OpRow<K>;
}

export const reductions: { readonly [K in Reduction]: OpRow<K> } = {
  sum: reduction("The sum over axes.", ["f32", "i32"], sumOver),
  mean: reduction("The arithmetic mean over axes.", ["f32"], (t, axes) => {
    const total = sumOver(t, axes);
    const scale = total.data.length / t.data.length;
    return mapOne(total, "f32", (x) => x * scale);
  }),
  reduce_max: reduction("The greatest element over axes.", ["f32", "i32"], maxOver),
};
