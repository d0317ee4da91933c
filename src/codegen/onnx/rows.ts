import type { Op, OpName, TensorType } from "../../ir/graph.ts";
import { elementCount } from "../../ir/types.ts";
import { portName, type HostValue } from "../../formats/onnx.ts";
import { grouped } from "./grouped.ts";
import { place, type HostNumber, type Node, type Writer } from "./writer.ts";

/** Ops that are no nodes of tensors: functions, which are written out where they are called, and lists of tensors. */
export type StructureOp = "call" | "fold" | "list" | "element" | "pack" | "unpack" | "release";

/** How an op is written in ONNX's own operators: its nodes, and the name of its result, or the names of its results. */
export type Row<K extends OpName> = (w: Writer, op: Op<K>, operands: Operands, result: TensorType) => string | readonly string[];

/** The operands of an op. */
export interface Operands {
  readonly tensors: readonly Node[];
  readonly numbers: readonly HostNumber[];
}

/** One operator of as many operands as the op has, aligned by name. */
function direct<K extends OpName>(operator: string): Row<K> {
  return (w, _op, { tensors }, result) => w.graph.node(operator, tensors.map((x) => w.aligned(x, result.axes)));
}

function reduction<K extends "sum" | "mean" | "reduce_max">(operator: string): Row<K> {
  return (w, op, { tensors: [x] }) => {
    const axes = op.attributes.axes.map((a) => place(x!, a)).sort((a, b) => a - b);
    return w.graph.node(operator, [x!.name, w.integers(axes)], { keepdims: 0, noop_with_empty_axes: 1 });
  };
}

/** Values are not freed by hand, so a second handle is the first. */
const same = (_w: Writer, _op: Op, { tensors: [x] }: Operands): string => x!.name;

/** What tells a draw from all others of its stream. */
function counter(numbers: readonly HostNumber[]): { readonly seed: HostValue; readonly step: HostValue; readonly layer: HostValue } {
  const [seed, step, layer] = numbers.map((n): HostValue => ("known" in n ? n.known : n.given.replace(/^host\//, "")));
  return { seed: seed!, step: step!, layer: layer! };
}

export const rows: { readonly [K in Exclude<OpName, StructureOp>]: Row<K> } = {
  // — leaves —
  constant: (w, op) => w.literal(op.attributes.dtype, [], [op.attributes.value]),
  table: (w, op) => w.literal(op.attributes.dtype, op.attributes.axes.map((a) => Number(a.size)), op.attributes.values),
  index: (w, op) => w.range(op.attributes.axis, op.attributes.dtype),
  fill: (w, _op, { numbers: [n] }) => w.number(n!),
  extent: (w, op) => {
    const size = w.size({ name: "", size: elementCount(op.attributes.axes) });
    return typeof size === "number" ? w.literal("f32", [], [size]) : w.cast(w.graph.node("Squeeze", [w.length(size)]), "f32");
  },
  // Drawn on the host and given as inputs: the same numbers as everywhere.
  random: (w, { attributes: { distribution, stream } }, { numbers }, result) => w.drawn(portName({ kind: "draw", distribution, stream, ...counter(numbers) }), result),
  chance: (w, { attributes: { least, stream } }, { numbers }, result) => w.drawn(portName({ kind: "chance", least, stream, ...counter(numbers) }), result),

  // — elementwise —
  neg: direct("Neg"),
  abs: direct("Abs"),
  sign: direct("Sign"),
  exp: direct("Exp"),
  log: direct("Log"),
  // log(u) · x / (u − 1) with u = 1 + x: as exact as x is small (Goldberg 1991, theorem 4); where u is 1, x itself.
  log1p: (w, _op, { tensors: [x] }) => {
    const g = w.graph;
    const one = w.literal("f32", [], [1]);
    const u = g.node("Add", [x!.name, one]);
    const plain = g.node("Equal", [u, one]);
    const less = g.node("Where", [plain, one, g.node("Sub", [u, one])]);
    return g.node("Where", [plain, x!.name, g.node("Mul", [g.node("Log", [u]), g.node("Div", [x!.name, less])])]);
  },
  sqrt: direct("Sqrt"),
  rsqrt: (w, _op, { tensors: [x] }) => w.graph.node("Reciprocal", [w.graph.node("Sqrt", [x!.name])]),
  reciprocal: direct("Reciprocal"),
  square: (w, _op, { tensors: [x] }) => w.graph.node("Mul", [x!.name, x!.name]),
  sigmoid: direct("Sigmoid"),
  tanh: direct("Tanh"),
  relu: direct("Relu"),
  softplus: direct("Softplus"),
  sin: direct("Sin"),
  cos: direct("Cos"),
  floor: direct("Floor"),
  erf: direct("Erf"),
  add: direct("Add"),
  sub: direct("Sub"),
  mul: direct("Mul"),
  div: direct("Div"),
  pow: direct("Pow"),
  max: direct("Max"),
  min: direct("Min"),
  lt: direct("Less"),
  le: direct("LessOrEqual"),
  gt: direct("Greater"),
  ge: direct("GreaterOrEqual"),
  eq: direct("Equal"),
  ne: (w, _op, { tensors }, result) => w.graph.node("Not", [w.graph.node("Equal", tensors.map((x) => w.aligned(x, result.axes)))]),
  and: direct("And"),
  or: direct("Or"),
  not: direct("Not"),
  select: (w, _op, { tensors }, result) => {
    const g = w.graph;
    const [condition, a, b] = tensors.map((x) => w.aligned(x, result.axes)) as [string, string, string];
    // ONNX Runtime's Where takes no truths.
    if (result.dtype === "bool") return g.node("Or", [g.node("And", [condition, a]), g.node("And", [g.node("Not", [condition]), b])]);
    return g.node("Where", [condition, a, b]);
  },
  cast: (w, op, { tensors: [x] }) => w.cast(x!.name, op.attributes.dtype),
  stop: same,
  copy: same,

  // — reductions —
  sum: reduction("ReduceSum"),
  mean: reduction("ReduceMean"),
  reduce_max: reduction("ReduceMax"),

  // — products —
  dot: (w, op, { tensors: [a, b] }) => {
    // ONNX Runtime makes one node of a transpose of the last two axes and the product that reads it.
    const turned = (x: Node): string => {
      const [columns, rows, ...batch] = [...x.type.axes.keys()].reverse();
      return w.graph.node("Transpose", [x.name], { perm: [...batch.reverse(), columns!, rows!] });
    };
    const { transposeA = false, transposeB = false } = op.attributes;
    return w.graph.node("MatMul", [transposeA ? turned(a!) : a!.name, transposeB ? turned(b!) : b!.name]);
  },

  // — axes —
  rename: same,
  transpose: (w, op, { tensors: [x] }) => w.ordered(x!, op.attributes.order),
  reshape: (w, op, { tensors: [x] }) => w.reshape(x!.name, w.dims(x!.type.axes), w.dims(op.attributes.axes)),
  expand: (w, op, { tensors: [x] }) => w.graph.node("Expand", [w.aligned(x!, op.attributes.axes), w.shape(w.dims(op.attributes.axes))]),
  slice: (w, op, { tensors: [x] }) => {
    const { axis, start, as } = op.attributes;
    const size = w.size(as);
    const end = typeof size === "number" ? w.integers([start + size]) : w.graph.node("Add", [w.length(size), w.integers([start])]);
    return w.graph.node("Slice", [x!.name, w.integers([start]), end, w.integers([place(x!, axis)])]);
  },
  pad: (w, op, { tensors: [x] }) => {
    const { axis, before, after } = op.attributes;
    const at = place(x!, axis);
    return w.graph.node("Pad", [x!.name, w.integers([before, after]), "", w.integers([at])]);
  },
  concat: (w, op, { tensors }) => {
    const { axes } = op.attributes;
    const at = place(tensors[0]!, axes[0]!);
    const order = tensors[0]!.type.axes.map((a) => a.name);
    return w.graph.node("Concat", tensors.map((x, i) => w.ordered(x, order.map((n, k) => (k === at ? axes[i]! : n)))), { axis: at });
  },
  // From the last to before the first, and no end is so far: the least int64 that JavaScript writes exactly.
  reverse: (w, op, { tensors: [x] }) => {
    const [from, to, axis, by] = [-1, Number.MIN_SAFE_INTEGER, place(x!, op.attributes.axis), -1].map((n) => w.integers([n]));
    return w.graph.node("Slice", [x!.name, from!, to!, axis!, by!]);
  },

  // — indexing —
  gather: (w, op, { tensors: [table, indices] }) => {
    const { axis } = op.attributes;
    const others = table!.type.axes.map((a) => a.name).filter((n) => n !== axis);
    return w.graph.node("Gather", [w.ordered(table!, [axis, ...others]), indices!.name], { axis: 0 });
  },
  // ONNX Runtime's ScatterND sums what falls on one row on several threads at once and loses some of it: ScatterElements does
  // not, and wants an index for each element.
  scatter_add: (w, _op, { tensors: [indices, updates] }, result) => {
    const g = w.graph;
    const rest = result.axes.slice(1);
    const rows = indices!.type.axes;
    const ordered = w.ordered(updates!, [...rows, ...rest].map((a) => a.name));
    const flat = w.dims([{ name: "", size: elementCount(rows) }, ...rest]);
    const given = w.reshape(ordered, w.dims([...rows, ...rest]), flat);
    const each = w.reshape(indices!.name, w.dims(rows), [flat[0]!, ...rest.map(() => 1)]);
    const zeros = g.node("Expand", [w.literal("f32", [], [0]), w.shape(w.dims(result.axes))]);
    return g.node("ScatterElements", [zeros, g.node("Expand", [each, w.shape(flat)]), given], { axis: 0, reduction: "add" });
  },
  one_hot: (w, op, { tensors: [x] }) => {
    const index = w.graph.node("Unsqueeze", [x!.name, w.integers([x!.type.axes.length])]);
    return w.cast(w.graph.node("Equal", [index, w.range(op.attributes.axis, "i32")]), "f32");
  },
  argmax: (w, op, { tensors: [x] }) => w.cast(w.graph.node("ArgMax", [x!.name], { axis: place(x!, op.attributes.axis), keepdims: 0 }), "i32"),
  // TopK gives the lower index first among equals; an element is among them where its index is one of theirs.
  is_top: (w, op, { tensors: [x] }) => {
    const g = w.graph;
    const { axis, k } = op.attributes;
    const at = place(x!, axis);
    const order = x!.type.axes.map((a) => a.name);
    const last = [...order.filter((n) => n !== axis), axis];
    const [, indices] = g.nodes(w.several(2) as readonly [string, string], "TopK", [w.ordered(x!, last), w.integers([k])], { axis: -1 });
    const n = order.length;
    const each = g.node("Cast", [g.node("Unsqueeze", [indices, w.integers([n])])], { to: 6 });
    const hot = w.cast(g.node("Equal", [each, w.range(x!.type.axes[at]!, "i32")]), "f32");
    const top = w.cast(g.node("ReduceSum", [hot, w.integers([n - 1])], { keepdims: 0 }), "bool");
    return w.ordered({ name: top, type: { ...x!.type, axes: last.map((name) => x!.type.axes.find((a) => a.name === name)!) } }, order);
  },
  cumsum: (w, op, { tensors: [x] }) => {
    const { axis, exclusive, reverse } = op.attributes;
    return w.graph.node("CumSum", [x!.name, w.graph.constant("i64", [], [place(x!, axis)])], { exclusive: Number(exclusive), reverse: Number(reverse) });
  },

  // — dispatch —
  ...grouped,

  // — composites —
  softmax: (w, op, { tensors: [x] }) => w.graph.node("Softmax", [x!.name], { axis: place(x!, op.attributes.axis) }),
  log_softmax: (w, op, { tensors: [x] }) => w.graph.node("LogSoftmax", [x!.name], { axis: place(x!, op.attributes.axis) }),
};
