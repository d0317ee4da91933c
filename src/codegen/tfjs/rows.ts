import type { Axis, DType, Op, OpName, Value } from "../../ir/graph.ts";
import { elementCount } from "../../ir/types.ts";
import { CodegenError } from "../errors.ts";
import { align, composite, type Expression, inOrder, plain, transposed } from "./align.ts";
import { axesOf, axisIndex, dtypeNames, type FunctionScope, maxRank, number, rankText, tensorType, typeText } from "./scope.ts";

/** Ops that are statements of their own; the others are one expression for one result. */
export type StatementOp = "call" | "fold" | "list" | "release" | "dispatch";

/** A leaf that does not depend on a batch: made once for the module. */
export interface Hoisted {
  readonly hoisted: string;
}

/**
 * How an op of one result is written in TensorFlow.js. All kernels named here exist in the wasm, cpu, webgpu and
 * TensorFlow backends; where an op has none there, or one that differs between them, its row says what is written instead.
 */
export type Row<K extends OpName> = (op: Op<K>, scope: FunctionScope) => Expression | Hoisted;

const at = (op: Op, i: number): Value => {
  const value = op.operands[i];
  if (!value) throw new CodegenError(`${op.op} lacks operand ${i}`);
  return value;
};
const result = (op: Op): Value => {
  const value = op.results[0];
  if (!value) throw new CodegenError(`${op.op} lacks a result`);
  return value;
};

/** A kernel of as many operands as the op has, broadcast by name. */
function elementwise<K extends OpName>(kernel: string, before = ""): Row<K> {
  return (op, scope) => {
    const { operands, restore } = align(scope, op.operands, axesOf(result(op)));
    const code = `${kernel}(${before}${operands.map((o) => o.code).join(", ")})`;
    if (restore !== undefined) return composite(`tf.reshape(${code}, ${restore})`);
    return { code, temporaries: operands.some((o) => o.temporaries) };
  };
}

/** A helper of one operand, where kernels of some backends are not close enough. */
function portable(scope: FunctionScope, helper: "sinOf" | "cosOf", op: Op): Expression {
  return plain(cast(scope, `${scope.module.helper(helper)}(tf, ${scope.name(at(op, 0))})`, result(op)));
}

/** An operand that has been aligned, repeated to a shape. */
function broadcast(scope: FunctionScope, x: string, dims: readonly string[]): string {
  return `${scope.module.helper("broadcastOf")}(tf, ${x}, [${dims.join(", ")}])`;
}

function reduction<K extends "sum" | "mean" | "reduce_max">(kernel: string): Row<K> {
  return (op, scope) => {
    const x = at(op, 0);
    const axes = op.attributes.axes.map((name) => axisIndex(x, name)).sort((a, b) => a - b);
    return plain(`${kernel}(${scope.name(x)}, [${axes.join(", ")}])`);
  };
}

/** A new handle on the same data: `Reshape` shares it, while wasm's `Identity` copies. */
function handle(scope: FunctionScope, x: Value, axes = axesOf(x)): Expression {
  return plain(`tf.reshape(${scope.name(x)}, ${scope.shape(axes)})`);
}

/** Runs a kernel of the last axis along any. `write` gets the operand's code with that axis last. */
function alongLast(scope: FunctionScope, x: Value, axis: string, write: (x: string) => Expression): Expression {
  const place = axisIndex(x, axis);
  const rank = axesOf(x).length;
  if (place === rank - 1) return write(scope.name(x));
  const there = [...Array(rank).keys()].filter((i) => i !== place).concat(place);
  const back = [...Array(rank).keys()].map((i) => there.indexOf(i));
  return composite(`tf.transpose(${write(`tf.transpose(${scope.name(x)}, [${there.join(", ")}])`).code}, [${back.join(", ")}])`);
}

const zeroOf = (scope: FunctionScope, dtype: DType): string => scope.module.scalar(0, dtype);

export const rows: { readonly [K in Exclude<OpName, StatementOp>]: Row<K> } = {
  // — leaves: what needs no batch is made once —
  constant: (op, scope) => ({ hoisted: scope.module.scalar(op.attributes.value, op.attributes.dtype) }),
  table: (op, scope) => {
    const { values, axes, dtype } = op.attributes;
    const code = `tf.tensor([${values.map(number).join(", ")}], ${scope.shape(axes)}, "${dtypeNames[dtype]}")`;
    return { hoisted: scope.module.constant(result(op).name || "table", cast(scope, code, result(op))) };
  },
  index: (op, scope) => indexRange(scope, op.attributes.axis, op.attributes.dtype),
  fill: (op, scope) => plain(`tf.scalar(${scope.name(at(op, 0))}, "float32")`),
  extent: (op, scope) => {
    const size = elementCount(op.attributes.axes);
    return typeof size === "number" ? { hoisted: scope.module.scalar(size, "f32") } : plain(`tf.scalar(${scope.size(size)}, "float32")`);
  },
  random: (op, scope) => {
    const { stream, axes, distribution } = op.attributes;
    const [seed, step, layer] = [at(op, 0), at(op, 1), at(op, 2)].map((v) => scope.name(v));
    const code = `${scope.module.helper("random")}(tf, "${distribution}", ${seed}, ${step}, ${layer}, ${stream}, ${scope.shape(axes)})`;
    return plain(cast(scope, code, result(op)));
  },
  chance: (op, scope) => {
    const { stream, axes, least } = op.attributes;
    const [seed, step, layer] = [at(op, 0), at(op, 1), at(op, 2)].map((v) => scope.name(v));
    const code = `${scope.module.helper("chance")}(tf, ${number(least)}, ${seed}, ${step}, ${layer}, ${stream}, ${scope.shape(axes)})`;
    return plain(cast(scope, code, result(op)));
  },

  // — elementwise —
  neg: elementwise("tf.neg"),
  abs: elementwise("tf.abs"),
  sign: elementwise("tf.sign"),
  exp: elementwise("tf.exp"),
  log: elementwise("tf.log"),
  log1p: elementwise("tf.log1p"),
  sqrt: elementwise("tf.sqrt"),
  rsqrt: elementwise("tf.rsqrt"),
  reciprocal: elementwise("tf.reciprocal"),
  square: elementwise("tf.square"),
  sigmoid: elementwise("tf.sigmoid"),
  tanh: elementwise("tf.tanh"),
  relu: elementwise("tf.relu"),
  softplus: elementwise("tf.softplus"),
  sin: (op, scope) => portable(scope, "sinOf", op),
  cos: (op, scope) => portable(scope, "cosOf", op),
  floor: elementwise("tf.floor"),
  erf: elementwise("tf.erf"),
  add: elementwise("tf.add"),
  sub: elementwise("tf.sub"),
  mul: elementwise("tf.mul"),
  div: elementwise("tf.div"),
  pow: elementwise("tf.pow"),
  max: elementwise("tf.maximum"),
  min: elementwise("tf.minimum"),
  lt: elementwise("tf.less"),
  le: elementwise("tf.lessEqual"),
  gt: elementwise("tf.greater"),
  ge: elementwise("tf.greaterEqual"),
  eq: elementwise("tf.equal"),
  ne: elementwise("tf.notEqual"),
  and: elementwise("tf.logicalAnd"),
  or: elementwise("tf.logicalOr"),
  not: elementwise("tf.logicalNot"),
  // The Select kernel takes equal shapes only; `whereOf` repeats what lacks an axis and frees that itself.
  select: (op, scope) => {
    const e = elementwise<"select">(scope.module.helper("whereOf"), "tf, ")(op, scope);
    return "hoisted" in e ? e : { ...e, code: cast(scope, e.code, result(op)) };
  },
  cast: (op, scope) => {
    const x = at(op, 0);
    // A cast to bool keeps a float's low byte on wasm, so it is a comparison.
    if (op.attributes.dtype === "bool") return plain(`tf.notEqual(${scope.name(x)}, ${zeroOf(scope, tensorType(x).dtype)})`);
    if (op.attributes.dtype === "f32" && tensorType(x).dtype !== "f32") return plain(cast(scope, `${scope.module.helper("floatOf")}(tf, ${scope.name(x)})`, result(op)));
    return plain(`tf.cast(${scope.name(x)}, "${dtypeNames[op.attributes.dtype]}")`);
  },
  stop: (op, scope) => copyOf(scope, at(op, 0)),
  copy: (op, scope) => copyOf(scope, at(op, 0)),

  // — reductions —
  sum: reduction("tf.sum"),
  mean: reduction("tf.mean"),
  reduce_max: reduction("tf.max"),

  // — products —
  dot: (op, scope) => {
    const [a, b] = [at(op, 0), at(op, 1)];
    const { over, transposeA = false, transposeB = false } = op.attributes;
    const last = (v: Value, k: number): string | undefined => axesOf(v).at(k)?.name;
    const inner = over[0];
    const batch = axesOf(a).slice(0, -2).map((q) => q.name);
    const canonical =
      over.length === 1 && axesOf(a).length >= 2 && axesOf(a).length <= 3 && axesOf(b).length === axesOf(a).length &&
      last(a, transposeA ? -2 : -1) === inner && last(b, transposeB ? -1 : -2) === inner && batch.every((n, i) => axesOf(b)[i]?.name === n);
    if (!canonical) throw new CodegenError(`a product of "${a.name}" and "${b.name}" that the layout pass has not made a matrix product`);
    const flags = transposeB ? `, ${transposeA}, true` : transposeA ? ", true" : "";
    return plain(`tf.matMul(${scope.name(a)}, ${scope.name(b)}${flags})`);
  },

  // — axes —
  rename: (op, scope) => handle(scope, at(op, 0)),
  transpose: (op, scope) => {
    const code = transposed(scope, at(op, 0), op.attributes.order);
    return plain(tensorType(at(op, 0)).dtype === "f32" ? code : cast(scope, code, result(op)));
  },
  reshape: (op, scope) => handle(scope, at(op, 0), op.attributes.axes),
  expand: (op, scope) => {
    const x = at(op, 0);
    const { axes } = op.attributes;
    const { operands, restore } = align(scope, [x], axes);
    if (restore === undefined) {
      const code = broadcast(scope, operands[0]!.code, axes.map((a) => scope.size(a.size)));
      return { code: cast(scope, code, result(op)), temporaries: operands[0]!.temporaries };
    }
    const names = new Set(axesOf(x).map((a) => a.name));
    const dims: string[] = [];
    let before: boolean | undefined;
    for (const a of axes) {
      const present = names.has(a.name);
      if (present === before) dims.push(`${dims.pop()} * ${scope.size(a.size)}`);
      else dims.push(scope.size(a.size));
      before = present;
    }
    return composite(`tf.reshape(${broadcast(scope, operands[0]!.code, dims)}, ${restore})`);
  },
  slice: (op, scope) => {
    const x = at(op, 0);
    const place = axisIndex(x, op.attributes.axis);
    const begin = axesOf(x).map((_, i) => (i === place ? op.attributes.start : 0));
    const size = axesOf(x).map((a, i) => (i === place ? scope.size(op.attributes.as.size) : scope.size(a.size)));
    return plain(`tf.slice(${scope.name(x)}, [${begin.join(", ")}], [${size.join(", ")}])`);
  },
  pad: (op, scope) => {
    const x = at(op, 0);
    const place = axisIndex(x, op.attributes.axis);
    const pads = axesOf(x).map((_, i) => (i === place ? `[${op.attributes.before}, ${op.attributes.after}]` : "[0, 0]"));
    return plain(`tf.pad(${scope.name(x)}, [${pads.join(", ")}])`);
  },
  concat: (op, scope) => {
    const place = axisIndex(at(op, 0), op.attributes.axes[0]!);
    const order = axesOf(at(op, 0)).map((a) => a.name);
    const parts = op.operands.map((v, i) => inOrder(scope, v, order.map((n, k) => (k === place ? op.attributes.axes[i]! : n))));
    return { code: `tf.concat([${parts.map((p) => p.code).join(", ")}], ${place})`, temporaries: parts.some((p) => p.temporaries) };
  },
  reverse: (op, scope) => {
    const x = at(op, 0);
    return plain(cast(scope, `${scope.module.helper("reverseOf")}(tf, ${scope.name(x)}, ${axisIndex(x, op.attributes.axis)})`, result(op)));
  },

  // — indexing —
  gather: (op, scope) => {
    const [table, indices] = [at(op, 0), at(op, 1)];
    const others = axesOf(table).filter((a) => a.name !== op.attributes.axis);
    const rowsFirst = inOrder(scope, table, [op.attributes.axis, ...others.map((a) => a.name)]);
    const generics = scope.typed("<tfjs.Tensor>");
    return { code: cast(scope, `tf.gather${generics}(${rowsFirst.code}, ${scope.name(indices)})`, result(op)), temporaries: rowsFirst.temporaries };
  },
  // ScatterNd sums what falls on one row on every backend; UnsortedSegmentSum is missing on wasm.
  scatter_add: (op, scope) => {
    const [indices, updates] = [at(op, 0), at(op, 1)];
    const rest = axesOf(result(op)).slice(1).map((a) => a.name);
    const rowsOf = inOrder(scope, updates, [...axesOf(indices).map((a) => a.name), ...rest]);
    const code = `${scope.module.helper("scatterAdd")}(tf, ${scope.name(indices)}, ${rowsOf.code}, ${scope.size(op.attributes.axis.size)})`;
    return { code: cast(scope, code, result(op)), temporaries: rowsOf.temporaries };
  },
  one_hot: (op, scope) => {
    const range = indexRange(scope, op.attributes.axis, "i32");
    const code = `${scope.module.helper("oneHot")}(tf, ${scope.name(at(op, 0))}, ${"hoisted" in range ? range.hoisted : range.code})`;
    return { code: cast(scope, code, result(op)), temporaries: !("hoisted" in range) };
  },
  argmax: (op, scope) => plain(`tf.argMax(${scope.name(at(op, 0))}, ${axisIndex(at(op, 0), op.attributes.axis)})`),
  is_top: (op, scope) => {
    const e = alongLast(scope, at(op, 0), op.attributes.axis, (x) => plain(`${scope.module.helper("isTop")}(tf, ${x}, ${op.attributes.k})`));
    return { ...e, code: cast(scope, e.code, result(op)) };
  },
  cumsum: (op, scope) => plain(`tf.cumsum(${scope.name(at(op, 0))}, ${axisIndex(at(op, 0), op.attributes.axis)}, ${op.attributes.exclusive}, ${op.attributes.reverse})`),

  // — dispatch: helpers of the runtime, which read the counts —
  spread: (op, scope) => helped(scope, "spread", op),
  collect: (op, scope) => helped(scope, "collect", op),
  grouped_dot: (op, scope) => {
    const [a, b] = [at(op, 0), at(op, 1)];
    const inner = op.attributes.over[0]!;
    const { over, transposeB = false } = op.attributes;
    const canonical = over.length === 1 && axisIndex(a, inner) === 1 && axesOf(b).length === 3 && axisIndex(b, inner) === (transposeB ? 2 : 1) && axesOf(b)[0]!.name === axesOf(at(op, 2))[0]!.name;
    if (!canonical) throw new CodegenError(`a grouped product of "${a.name}" and "${b.name}" that the layout pass has not made one of matrices`);
    return helped(scope, "groupedDot", op, transposeB ? ", true" : "");
  },
  grouped_outer: (op, scope) => {
    const [a, b] = [at(op, 0), at(op, 1)];
    if (![a, b].every((v) => axesOf(v).length === 2) || axesOf(a)[0]!.name !== axesOf(b)[0]!.name) throw new CodegenError(`a grouped product of "${a.name}" and "${b.name}" whose rows do not stand first`);
    return helped(scope, "groupedOuter", op);
  },

  // — composites —
  softmax: (op, scope) => alongLast(scope, at(op, 0), op.attributes.axis, (x) => plain(`tf.softmax(${x})`)),
  log_softmax: (op, scope) => {
    const e = alongLast(scope, at(op, 0), op.attributes.axis, (x) => plain(`${scope.module.helper("logSoftmax")}(tf, ${x})`));
    return { ...e, code: cast(scope, e.code, result(op)) };
  },

  element: (op, scope) => {
    const type = tensorType(result(op));
    return plain(`tf.reshape(${scope.name(at(op, 0))}[${op.attributes.at}]${scope.typed("!")}, ${scope.shape(type.axes)})`);
  },
  pack: (op, scope) => plain(cast(scope, `tf.stack([...${scope.name(at(op, 0))}]${scope.typed(" as tfjs.Tensor[]")}, 0)`, result(op))),
  unpack: (op, scope) => plain(`tf.unstack(${scope.name(at(op, 0))}, ${axisIndex(at(op, 0), op.attributes.axis)})${scope.typed(` as ${typeText(result(op).type).replace("readonly ", "")}`)}`),
};

/** A helper of as many operands as the op has. */
function helped(scope: FunctionScope, helper: "spread" | "collect" | "groupedDot" | "groupedOuter", op: Op, flags = ""): Expression {
  return plain(cast(scope, `${scope.module.helper(helper)}(tf, ${op.operands.map((v) => scope.name(v)).join(", ")}${flags})`, result(op)));
}

/** 0, 1, 2 … along an axis; made once where its size is a number. */
function indexRange(scope: FunctionScope, axis: Axis, dtype: "f32" | "i32"): Expression | Hoisted {
  const code = `tf.range(0, ${scope.size(axis.size)}, 1, "${dtypeNames[dtype]}")`;
  return typeof axis.size === "number" ? { hoisted: scope.module.constant(`${axis.name}_index`, code) } : plain(code);
}

/** A copy of a tensor, or of each tensor of a list. */
export function copyOf(scope: FunctionScope, x: Value): Expression {
  if (x.type.kind === "tensor") return handle(scope, x);
  return plain(`${scope.name(x)}.map((tensor) => tf.reshape(tensor, tensor.shape))`);
}

/** `code as tfjs.Tensor2D`, where TensorFlow.js' own types know no rank. */
function cast(scope: FunctionScope, code: string, value: Value): string {
  if (!scope.module.types || axesOf(value).length > maxRank) return code;
  return `${code} as ${rankText(axesOf(value).length)}`;
}
