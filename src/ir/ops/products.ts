import type { Axis, TensorType } from "../graph.ts";
import { dotOf } from "../kernels/matmul.ts";
import { axisNames, hasAxis, tensor } from "../types.ts";
import { type OpRow, alignedSizes, distinct, inputAt, tensorAt, tensorTypes, tensors } from "./row.ts";

/** The parts of a product's operands, each in the order in which it stands in the result (or, contracted, in a). */
export interface DotParts {
  readonly batch: readonly Axis[];
  readonly contracted: readonly Axis[];
  /** a's own axes: the rows of the result. */
  readonly own: readonly Axis[];
  /** b's own axes: the columns of the result. */
  readonly other: readonly Axis[];
}

/** Splits the axes of a product: result axes are batch, own, other. */
export function dotParts(a: TensorType, b: TensorType, over: readonly string[]): DotParts {
  return {
    batch: a.axes.filter((q) => hasAxis(b, q.name) && !over.includes(q.name)),
    contracted: a.axes.filter((q) => over.includes(q.name)),
    own: a.axes.filter((q) => !hasAxis(b, q.name)),
    other: b.axes.filter((q) => !hasAxis(a, q.name)),
  };
}

/** Whether an operand with a transpose flag is laid out as the canonical matrices the flag speaks of. */
function transposed(type: TensorType, first: readonly Axis[], second: readonly Axis[], batch: readonly Axis[]): boolean {
  const order = [...batch, ...first, ...second].map((q) => q.name);
  return batch.length <= 1 && first.length === 1 && second.length === 1 && axisNames(type).join("\n") === order.join("\n");
}

export const products: { readonly dot: OpRow<"dot"> } = {
  dot: {
    summary: "The sum over `over` of a*b; other shared axes are batch axes.",
    operands: tensors("a", "b"),
    attributes: { over: { kind: "names" }, transposeA: { kind: "boolean", optional: true }, transposeB: { kind: "boolean", optional: true } },
    result: "f32, the shared axes not contracted, then a's own, then b's own",
    constraints: [
      { id: "C1", text: "a and b are f32", holds: (types) => tensorTypes(types).every((t) => t.dtype === "f32") },
      { id: "C2", text: "every axis of `over` is one of a and of b, and none is named twice", holds: (types, { over }) => distinct(over) && over.every((name) => tensorTypes(types).every((t) => hasAxis(t, name))) },
      { id: "C3", text: "axes that both have are of one size", holds: (types) => alignedSizes(tensorTypes(types)) },
      {
        id: "C4",
        text: "with transposeA, a is [batch?, k, m], each one axis",
        holds: (types, { over, transposeA }) => {
          if (!transposeA) return true;
          const p = dotParts(tensorAt(types, 0), tensorAt(types, 1), over);
          return transposed(tensorAt(types, 0), p.contracted, p.own, p.batch);
        },
      },
      {
        id: "C5",
        text: "with transposeB, b is [batch?, n, k], each one axis",
        holds: (types, { over, transposeB }) => {
          if (!transposeB) return true;
          const p = dotParts(tensorAt(types, 0), tensorAt(types, 1), over);
          return transposed(tensorAt(types, 1), p.other, p.contracted, p.batch);
        },
      },
    ],
    infer: (types, { over }) => {
      const p = dotParts(tensorAt(types, 0), tensorAt(types, 1), over);
      return [tensor("f32", [...p.batch, ...p.own, ...p.other])];
    },
    flops: (c, { over }) => 2 * c.results[0]! * tensorAt(c.types, 0).axes.reduce((n, q) => (over.includes(q.name) ? n * c.size(q.size) : n), 1),
    evaluate: (inputs, { over }) => [dotOf(inputAt(inputs, 0), inputAt(inputs, 1), over)],
  },
};
