import type { Builder } from "../builder.ts";
import type { Value } from "../graph.ts";
import { mapLines } from "../kernels/reduce.ts";
import { hasAxis } from "../types.ts";
import { type OpRow, dtypes, inputAt, tensorAt, tensors } from "./row.ts";

type Composite = "softmax" | "log_softmax";

function normalizer<K extends Composite>(summary: string, log: boolean, decompose: (b: Builder, x: Value, axis: string) => Value): OpRow<K> {
  const row: OpRow<"softmax"> = {
    summary,
    operands: tensors("x"),
    attributes: { axis: { kind: "name" } },
    result: "x's type",
    constraints: [dtypes("C1", ["f32"], "x"), { id: "C2", text: "the axis is x's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) }],
    infer: ([x]) => [x!],
    flops: (c) => 8 * c.operands[0]!,
    evaluate: (inputs, a) => [
      mapLines(inputAt(inputs, 0), a.axis, "f32", (data, start, step, length, out) => {
        let greatest = -Infinity;
        for (let i = 0; i < length; i++) greatest = Math.max(greatest, data[start + i * step]!);
        let total = 0;
        for (let i = 0; i < length; i++) total += Math.exp(data[start + i * step]! - greatest);
        const shift = greatest + Math.log(total);
        for (let i = 0; i < length; i++) {
          const x = data[start + i * step]!;
          out[start + i * step] = log ? x - shift : Math.exp(x - greatest) / total;
        }
      }),
    ],
    decompose: (b, [x], a) => decompose(b, x!, a.axis),
  };
  return row as unknown as OpRow<K>;
}

export const composites: { readonly [K in Composite]: OpRow<K> } = {
  softmax: normalizer("exp(x) over its sum along the axis.", false, (b, x, axis) => {
    const e = b.exp(b.sub(x, b.stop(b.reduce_max(x, [axis]))));
    return b.div(e, b.sum(e, [axis]));
  }),
  log_softmax: normalizer("The logarithm of softmax.", true, (b, x, axis) => {
    const shifted = b.sub(x, b.stop(b.reduce_max(x, [axis])));
    return b.sub(shifted, b.log(b.sum(b.exp(shifted), [axis])));
  }),
};
