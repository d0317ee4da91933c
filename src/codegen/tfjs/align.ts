import type { Axis, Value } from "../../ir/graph.ts";
import { multiplySizes } from "../../ir/size.ts";
import { CodegenError } from "../errors.ts";
import { axesOf, axisIndex, type FunctionScope, maxRank, tensorType } from "./scope.ts";

/** An expression, and whether it makes tensors beside its result (then it is to stand in `tf.tidy`). */
export interface Expression {
  readonly code: string;
  readonly temporaries: boolean;
}

export function plain(code: string): Expression {
  return { code, temporaries: false };
}

/** A composite: its intermediate tensors are freed by `tf.tidy`, which its result leaves. */
export function composite(code: string): Expression {
  return { code, temporaries: true };
}

/** A value laid out in another order of its axes (named, all of them). */
export function inOrder(scope: FunctionScope, value: Value, order: readonly string[]): Expression {
  const axes = axesOf(value);
  if (axes.every((a, i) => a.name === order[i])) return plain(scope.name(value));
  return composite(transposed(scope, value, order));
}

/** `tf.transpose`, or the runtime's where the value is no float32: not every backend's kernel takes those. */
export function transposed(scope: FunctionScope, value: Value, order: readonly string[]): string {
  const places = order.map((n) => axisIndex(value, n)).join(", ");
  if (tensorType(value).dtype === "f32") return `tf.transpose(${scope.name(value)}, [${places}])`;
  return `${scope.module.helper("transposeOf")}(tf, ${scope.name(value)}, [${places}])`;
}

/**
 * Operands made ready for TensorFlow.js' positional broadcasting into the axes of `result`, and what is still to be done
 * with the result. Alignment by name becomes unit axes; an operand whose axes are the result's last ones needs none.
 * More axes than kernels take are merged first, where neighbours are present or absent together in every operand.
 */
export function align(scope: FunctionScope, operands: readonly Value[], result: readonly Axis[]): { operands: readonly Expression[]; restore: string | undefined } {
  if (result.length <= maxRank) return { operands: operands.map((v) => alignOne(scope, v, result)), restore: undefined };
  const has = (v: Value, name: string): boolean => axesOf(v).some((a) => a.name === name);
  const runs: Axis[][] = [];
  for (const a of result) {
    const last = runs.at(-1);
    if (last && operands.every((v) => has(v, a.name) === has(v, last[0]!.name))) last.push(a);
    else runs.push([a]);
  }
  if (runs.length > maxRank) throw new CodegenError(`an elementwise operation over ${runs.length} separate axes: kernels take ${maxRank}`);
  return {
    operands: operands.map((v) => {
      if (axesOf(v).length === 0) return plain(scope.name(v));
      const { code } = inOrder(scope, v, result.filter((a) => has(v, a.name)).map((a) => a.name));
      const dims = runs.map((run) => (has(v, run[0]!.name) ? scope.size(multiplySizes(...run.map((a) => a.size))) : "1"));
      return composite(`tf.reshape(${code}, [${dims.join(", ")}])`);
    }),
    restore: scope.shape(result),
  };
}

function alignOne(scope: FunctionScope, value: Value, result: readonly Axis[]): Expression {
  const names = new Set(axesOf(value).map((a) => a.name));
  const ordered = inOrder(
    scope,
    value,
    result.filter((a) => names.has(a.name)).map((a) => a.name),
  );
  const first = result.findIndex((a) => names.has(a.name));
  if (first < 0 || result.length - first === names.size) return ordered;
  const dims = result.slice(first).map((a) => (names.has(a.name) ? scope.size(a.size) : "1"));
  return composite(`tf.reshape(${ordered.code}, [${dims.join(", ")}])`);
}
