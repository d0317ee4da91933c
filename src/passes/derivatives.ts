import type { Builder } from "../ir/builder.ts";
import type { Axis, OpAttributes, OpName, TensorType, Value } from "../ir/graph.ts";
import { dotParts } from "../ir/ops/index.ts";
import { axesOf, namesOf, ordered, tensorOf } from "./tools.ts";

/** What an adjoint is written from: the op as it ran, and the cotangent of its result. */
export interface Adjoint<K extends OpName> {
  readonly b: Builder;
  readonly operands: readonly Value[];
  readonly y: Value;
  readonly dy: Value;
  readonly attributes: OpAttributes[K];
  /** The operand whose cotangent is asked for. */
  readonly at: number;
}

/**
 * The cotangent of one operand. It may have axes that the operand lacks, in any order: the caller sums and transposes
 * (`fitTo`), which is the adjoint of broadcasting.
 */
export type Rule<K extends OpName> = (a: Adjoint<K>) => Value;

/**
 * One row an op: a rule for each operand, the last one for all further operands; null for an operand through which no
 * gradient goes. "none": through no operand. "function": written by the engine (`differentiate.ts`).
 *
 * Rules read the result rather than the operands where they can, so that one value less is kept.
 */
export type DerivativeRow<K extends OpName> = readonly (Rule<K> | null)[] | "none" | "function";

const two = 2;

/** Sums a cotangent over the axes that `type` lacks and lays it out as `type`. */
export function fitTo(b: Builder, g: Value, type: TensorType): Value {
  const wanted = type.axes.map((a) => a.name);
  const narrow = b.sum(g, namesOf(g).filter((name) => !wanted.includes(name)));
  return ordered(b, narrow, wanted);
}

/** Zeros of a type. */
export function zeros(b: Builder, type: Value["type"]): Value {
  if (type.kind === "list") {
    const zero = zeros(b, type.of);
    return b.list(Array.from({ length: type.count }, () => zero));
  }
  const axes = type.kind === "tensor" ? type.axes : [];
  return axes.length ? b.expand(b.constant(0), axes) : b.constant(0);
}

function extents(b: Builder, x: Value, names: readonly string[]): Value {
  return b.extent(axesOf(x).filter((a) => names.includes(a.name)));
}

/** The axis by which a slice or a part of a concatenation goes back. */
function ownAxis(x: Value, name: string): Axis {
  return axesOf(x).find((a) => a.name === name)!;
}

function x0(a: { readonly operands: readonly Value[] }): Value {
  return a.operands[0]!;
}

function x1(a: { readonly operands: readonly Value[] }): Value {
  return a.operands[1]!;
}

/** dy where the one operand won, half of it at ties, as torch.maximum and torch.minimum have it. */
function winner(compare: "gt" | "lt", own: 0 | 1): Rule<"max"> & Rule<"min"> {
  return ({ b, operands, dy }) => {
    const x = operands[own]!;
    const y = operands[1 - own]!;
    const strict = b.cast(b[compare](x, y), "f32");
    const loose = b.cast(b[compare === "gt" ? "ge" : "le"](x, y), "f32");
    return b.mul(dy, b.mul(b.add(strict, loose), 0.5));
  };
}

export const derivatives: { readonly [K in OpName]: DerivativeRow<K> } = {
  constant: "none",
  table: "none",
  index: "none",
  fill: "none",
  extent: "none",
  random: "none",
  chance: "none",

  neg: [({ b, dy }) => b.neg(dy)],
  abs: [({ b, dy, ...a }) => b.mul(dy, b.sign(x0(a)))],
  sign: "none",
  exp: [({ b, dy, y }) => b.mul(dy, y)],
  log: [({ b, dy, ...a }) => b.div(dy, x0(a))],
  log1p: [({ b, dy, ...a }) => b.div(dy, b.add(x0(a), 1))],
  sqrt: [({ b, dy, y }) => b.div(b.mul(dy, 0.5), y)],
  rsqrt: [({ b, dy, y }) => b.mul(b.mul(dy, -0.5), b.mul(y, b.square(y)))],
  reciprocal: [({ b, dy, y }) => b.neg(b.mul(dy, b.square(y)))],
  square: [({ b, dy, ...a }) => b.mul(dy, b.mul(x0(a), two))],
  sigmoid: [({ b, dy, y }) => b.mul(dy, b.mul(y, b.sub(1, y)))],
  tanh: [({ b, dy, y }) => b.mul(dy, b.sub(1, b.square(y)))],
  /** 0 at 0, as in PyTorch; y > 0 exactly where x > 0. */
  relu: [({ b, dy, y }) => b.select(b.gt(y, 0), dy, 0)],
  softplus: [({ b, dy, ...a }) => b.mul(dy, b.sigmoid(x0(a)))],
  sin: [({ b, dy, ...a }) => b.mul(dy, b.cos(x0(a)))],
  cos: [({ b, dy, ...a }) => b.neg(b.mul(dy, b.sin(x0(a))))],
  floor: "none",
  /** 2/sqrt(pi) exp(-x²). */
  erf: [({ b, dy, ...a }) => b.mul(dy, b.mul(b.exp(b.neg(b.square(x0(a)))), 2 / Math.sqrt(Math.PI)))],
  add: [({ dy }) => dy],
  sub: [({ dy }) => dy, ({ b, dy }) => b.neg(dy)],
  mul: [({ b, dy, ...a }) => b.mul(dy, x1(a)), ({ b, dy, ...a }) => b.mul(dy, x0(a))],
  div: [({ b, dy, ...a }) => b.div(dy, x1(a)), ({ b, dy, y, ...a }) => b.neg(b.div(b.mul(dy, y), x1(a)))],
  /** As PyTorch: the base's is 0 where the exponent is 0; the exponent's is 0 where the base is 0 and the exponent >= 0. */
  pow: [
    ({ b, dy, ...a }) => b.select(b.eq(x1(a), 0), 0, b.mul(dy, b.mul(x1(a), b.pow(x0(a), b.sub(x1(a), 1))))),
    ({ b, dy, y, ...a }) => b.select(b.and(b.eq(x0(a), 0), b.ge(x1(a), 0)), 0, b.mul(dy, b.mul(y, b.log(x0(a))))),
  ],
  max: [winner("gt", 0), winner("gt", 1)],
  min: [winner("lt", 0), winner("lt", 1)],
  lt: "none",
  le: "none",
  gt: "none",
  ge: "none",
  eq: "none",
  ne: "none",
  and: "none",
  or: "none",
  not: "none",
  select: [null, ({ b, dy, ...a }) => b.select(x0(a), dy, 0), ({ b, dy, ...a }) => b.select(x0(a), 0, dy)],
  /** No cast between two dtypes has a gradient. */
  cast: "none",
  stop: "none",
  copy: [({ dy }) => dy],

  sum: [({ b, dy, ...a }) => b.expand(dy, axesOf(x0(a)))],
  mean: [({ b, dy, attributes, ...a }) => b.expand(b.div(dy, extents(b, x0(a), attributes.axes)), axesOf(x0(a)))],
  /** Equal maxima share the cotangent evenly, as torch.amax has it. */
  reduce_max: [
    ({ b, dy, y, attributes, ...a }) => {
      const hit = b.cast(b.eq(x0(a), y), "f32");
      return b.mul(hit, b.div(dy, b.sum(hit, attributes.axes)));
    },
  ],

  dot: [
    ({ b, dy, attributes, ...a }) => {
      const { other } = dotParts(tensorOf(x0(a)), tensorOf(x1(a)), attributes.over);
      return other.length ? b.dot(dy, x1(a), other.map((q) => q.name)) : b.mul(dy, x1(a));
    },
    ({ b, dy, attributes, ...a }) => {
      const { own } = dotParts(tensorOf(x0(a)), tensorOf(x1(a)), attributes.over);
      return own.length ? b.dot(x0(a), dy, own.map((q) => q.name)) : b.mul(x0(a), dy);
    },
  ],

  rename: [({ b, dy, attributes }) => b.rename(dy, attributes.to, attributes.from)],
  transpose: [({ dy }) => dy],
  reshape: [({ b, dy, ...a }) => b.reshape(dy, axesOf(x0(a)))],
  expand: [({ dy }) => dy],
  slice: [
    ({ b, dy, attributes, ...a }) => {
      const axis = ownAxis(x0(a), attributes.axis);
      return b.pad(dy, attributes.as.name, attributes.start, Number(axis.size) - attributes.start - Number(attributes.as.size), axis);
    },
  ],
  pad: [({ b, dy, attributes, ...a }) => b.slice(dy, attributes.as.name, attributes.before, ownAxis(x0(a), attributes.axis))],
  concat: [
    ({ b, dy, attributes, operands, at }) => {
      const own = operands.map((v, i) => ownAxis(v, attributes.axes[i]!));
      const start = own.slice(0, at).reduce((n, a) => n + Number(a.size), 0);
      return b.slice(dy, attributes.as.name, start, own[at]!);
    },
  ],
  reverse: [({ b, dy, attributes }) => b.reverse(dy, attributes.axis)],

  gather: [({ b, dy, attributes, ...a }) => b.scatter_add(x1(a), dy, ownAxis(x0(a), attributes.axis)), null],
  scatter_add: [null, ({ b, dy, attributes, ...a }) => b.gather(dy, x0(a), attributes.axis.name)],
  one_hot: "none",
  argmax: "none",
  is_top: "none",
  cumsum: [({ b, dy, attributes }) => b.cumsum(dy, attributes.axis, { exclusive: attributes.exclusive, reverse: !attributes.reverse })],

  dispatch: "none",
  spread: [({ b, dy, ...a }) => b.collect(dy, x1(a), a.operands[2]!), null, null],
  collect: [({ b, dy, ...a }) => b.spread(dy, x1(a), a.operands[2]!), null, null],
  grouped_dot: [
    ({ b, dy, ...a }) => b.grouped_dot(dy, x1(a), a.operands[2]!, namesOf(dy).filter((n) => namesOf(x1(a)).includes(n))),
    ({ b, dy, ...a }) => b.grouped_outer(x0(a), dy, a.operands[2]!),
    null,
  ],
  grouped_outer: [
    ({ b, dy, ...a }) => b.grouped_dot(x1(a), dy, a.operands[2]!, namesOf(dy).filter((n) => namesOf(x1(a)).includes(n))),
    ({ b, dy, ...a }) => b.grouped_dot(x0(a), dy, a.operands[2]!, namesOf(dy).filter((n) => namesOf(x0(a)).includes(n))),
    null,
  ],

  softmax: [({ b, dy, y, attributes }) => b.mul(y, b.sub(dy, b.sum(b.mul(dy, y), [attributes.axis])))],
  log_softmax: [({ b, dy, y, attributes }) => b.sub(dy, b.mul(b.exp(y), b.sum(dy, [attributes.axis])))],

  call: "function",
  fold: "function",
  list: "function",
  element: "function",
  pack: [({ b, dy, attributes }) => b.unpack(dy, attributes.as.name)],
  unpack: [({ b, dy, attributes, ...a }) => b.pack(dy, ownAxis(x0(a), attributes.axis))],
  release: "none",
};

/** The rule for one operand; null where no gradient goes through it. */
export function ruleOf(op: OpName, at: number): Rule<OpName> | null {
  const row = derivatives[op] as DerivativeRow<OpName>;
  if (row === "none" || row === "function") return null;
  return row[Math.min(at, row.length - 1)] ?? null;
}
