import { describe, expect, it } from "vitest";
import type { GraphFunction, ListType, OpAttributes, OpName, TensorType, Type } from "../../src/ir/index.ts";
import { Builder, GraphError, axis, listOf, numberType, opGroups, ops, scalar, tensor, violationOf } from "../../src/ir/index.ts";

const f = (...axes: ReturnType<typeof axis>[]): TensorType => tensor("f32", axes);
const i = (...axes: ReturnType<typeof axis>[]): TensorType => tensor("i32", axes);
const bool = (...axes: ReturnType<typeof axis>[]): TensorType => tensor("bool", axes);
const a = axis("a", 2);
const b = axis("b", 3);
const b4 = axis("b", 4);
const n = axis("n");
const c6 = axis("c", 6);
const x = f(a, b);
// Two tokens, three experts, two choices each: four rows.
const rows = axis("rows", 4);
const slot = axis("slot", 2);
const moving = [i(rows), i(slot, a)] as const;
const weights: ListType = listOf(3, f(b));

const functions = new Map<string, GraphFunction>();
function define(name: string, params: readonly Type[], write: (b: Builder, params: Builder["params"]) => Parameters<Builder["finish"]>[0]): void {
  const builder = new Builder(name, functions);
  params.forEach((type) => builder.param(type));
  functions.set(name, builder.finish(write(builder, builder.params)));
}
define("turn", [f(b), f(b)], (w, [h, v]) => [w.mul(h!, v!)]);
define("wider", [f(b), f(b)], (w, [h]) => [w.expand(h!, [a, b])]);
define("counts", [f(b), f(b)], (w, [h]) => [w.neg(h!), w.cast(h!, "i32")]);

type Case<K extends OpName> = readonly [operands: readonly Type[], attributes: OpAttributes[K]];
const fold: OpAttributes["fold"] = { fn: "turn", count: 3, carried: 1, shared: 0, summed: 0, index: false, reverse: false };

/** One sound use of each op, so that a negative case differs from something that works. */
const sound: { readonly [K in OpName]: Case<K> } = {
  constant: [[], { value: 1, dtype: "f32" }],
  table: [[], { values: [1, 2], axes: [a], dtype: "f32" }],
  index: [[], { axis: n, dtype: "i32" }],
  fill: [[numberType], {}],
  extent: [[], { axes: [n] }],
  random: [[numberType, numberType, numberType], { stream: 1, axes: [n], distribution: "uniform" }],
  chance: [[numberType, numberType, numberType], { stream: 1, axes: [n], least: 0.5 }],
  neg: [[x], {}], abs: [[x], {}], sign: [[x], {}], exp: [[x], {}], log: [[x], {}], log1p: [[x], {}], sqrt: [[x], {}], rsqrt: [[x], {}], reciprocal: [[x], {}],
  square: [[x], {}], sigmoid: [[x], {}], tanh: [[x], {}], relu: [[x], {}], softplus: [[x], {}], sin: [[x], {}], cos: [[x], {}], floor: [[x], {}], erf: [[x], {}],
  add: [[x, f(b)], {}], sub: [[x, x], {}], mul: [[x, x], {}], div: [[x, x], {}], pow: [[x, x], {}], max: [[x, x], {}], min: [[x, x], {}],
  lt: [[x, x], {}], le: [[x, x], {}], gt: [[x, x], {}], ge: [[x, x], {}], eq: [[x, x], {}], ne: [[x, x], {}],
  and: [[bool(a), bool(b)], {}], or: [[bool(a), bool(a)], {}], not: [[bool(a)], {}],
  select: [[bool(a), x, f(b)], {}],
  cast: [[x], { dtype: "i32" }],
  stop: [[x], {}],
  copy: [[weights], {}],
  sum: [[x], { axes: ["a"] }], mean: [[x], { axes: ["a"] }], reduce_max: [[x], { axes: ["a"] }],
  dot: [[x, f(b, c6)], { over: ["b"] }],
  rename: [[x], { from: ["a"], to: ["z"] }],
  transpose: [[x], { order: ["b", "a"] }],
  reshape: [[x], { axes: [c6] }],
  expand: [[f(b)], { axes: [n, b] }],
  slice: [[x], { axis: "b", start: 1, as: axis("z", 2) }],
  pad: [[x], { axis: "b", before: 1, after: 2, as: c6 }],
  concat: [[x, f(a, axis("z", 3))], { axes: ["b", "z"], as: c6 }],
  reverse: [[x], { axis: "a" }],
  gather: [[f(b, a), i(n)], { axis: "b" }],
  scatter_add: [[i(n), f(n, a)], { axis: b }],
  one_hot: [[i(n)], { axis: b }],
  argmax: [[x], { axis: "b" }],
  is_top: [[x], { axis: "b", k: 2 }],
  cumsum: [[x], { axis: "b", exclusive: false, reverse: false }],
  dispatch: [[bool(a, b)], { axis: "b", slot, rows }],
  spread: [[x, ...moving], {}],
  collect: [[f(rows, b), ...moving], {}],
  grouped_dot: [[f(rows, c6), f(b, c6, n), i(b)], { over: ["c"] }],
  grouped_outer: [[f(rows, c6), f(rows, n), i(b)], {}],
  softmax: [[x], { axis: "b" }], log_softmax: [[x], { axis: "b" }],
  call: [[f(b), f(b)], { fn: "turn" }],
  fold: [[f(b), weights], fold],
  list: [[x, x], {}],
  element: [[weights], { at: 2 }],
  pack: [[weights], { as: axis("layer", 3) }],
  unpack: [[x], { axis: "a" }],
  release: [[x], {}],
};

/** What breaks each numbered constraint and none before it. Tuples of [operands, attributes], keyed "op.Cn". */
const broken: Record<string, readonly [readonly Type[], object]> = {
  "constant.C1": [[], { value: 1.5, dtype: "i32" }],
  "table.C1": [[], { values: [1], axes: [a], dtype: "f32" }],
  "table.C2": [[], { values: [1, 2], axes: [a], dtype: "bool" }],
  "table.C3": [[], { values: [1, 2, 3, 4], axes: [a, a], dtype: "f32" }],
  "extent.C1": [[], { axes: [n, n] }],
  "chance.C1": [[numberType, numberType, numberType], { stream: 1, axes: [n, n], least: 0.5 }],
  "random.C1": [[numberType, numberType, numberType], { stream: 1, axes: [n, n], distribution: "uniform" }],
  "select.C1": [[x, x, x], {}],
  "select.C2": [[bool(a), x, i(a)], {}],
  "select.C3": [[bool(b4), x, x], {}],
  "cast.C1": [[x], { dtype: "f32" }],
  "copy.C1": [[numberType], {}],
  "dot.C1": [[x, i(b)], { over: ["b"] }],
  "dot.C2": [[x, f(b)], { over: ["a"] }],
  "dot.C3": [[x, f(b4)], { over: ["b"] }],
  "dot.C4": [[x, f(b, c6)], { over: ["b"], transposeA: true }],
  "dot.C5": [[x, f(b, c6)], { over: ["b"], transposeB: true }],
  "rename.C1": [[x], { from: ["a"], to: [] }],
  "rename.C2": [[x], { from: ["z"], to: ["y"] }],
  "rename.C3": [[x], { from: ["a"], to: ["b"] }],
  "transpose.C1": [[x], { order: ["a"] }],
  "reshape.C1": [[x], { axes: [axis("a", 1), axis("a", 6)] }],
  "reshape.C2": [[f(n)], { axes: [axis("m", "2*n")] }],
  "expand.C1": [[f(b)], { axes: [b, b] }],
  "expand.C2": [[x], { axes: [b] }],
  "slice.C1": [[x], { axis: "z", start: 0, as: axis("y", 1) }],
  "slice.C2": [[x], { axis: "b", start: 2, as: axis("y", 2) }],
  "slice.C3": [[x], { axis: "b", start: 0, as: axis("a", 2) }],
  "pad.C1": [[x], { axis: "z", before: 0, after: 0, as: axis("y", 1) }],
  "pad.C2": [[x], { axis: "b", before: 1, after: 1, as: c6 }],
  "pad.C3": [[f(a, axis("b", 1))], { axis: "b", before: 1, after: 0, as: a }],
  "concat.C1": [[x, x], { axes: ["b", "z"], as: c6 }],
  "concat.C2": [[x, f(axis("a", 9), b)], { axes: ["b", "b"], as: c6 }],
  "concat.C3": [[x, x], { axes: ["b", "b"], as: axis("c", 7) }],
  "concat.C4": [[f(axis("c", 2), axis("b", 1)), f(axis("c", 2), axis("b", 1))], { axes: ["b", "b"], as: axis("c", 2) }],
  "reverse.C1": [[x], { axis: "z" }],
  "gather.C1": [[x, i(n)], { axis: "z" }],
  "gather.C2": [[x, f(n)], { axis: "b" }],
  "gather.C3": [[x, i(a)], { axis: "b" }],
  "scatter_add.C1": [[f(n), f(n, a)], { axis: b }],
  "scatter_add.C2": [[i(n), f(a)], { axis: b }],
  "scatter_add.C3": [[i(n), f(n, b)], { axis: b }],
  "one_hot.C1": [[f(n)], { axis: b }],
  "one_hot.C2": [[i(b)], { axis: b }],
  "argmax.C1": [[bool(a)], { axis: "a" }],
  "is_top.C1": [[i(a)], { axis: "a", k: 1 }],
  "is_top.C3": [[x], { axis: "b", k: 4 }],
  "cumsum.C1": [[bool(a)], { axis: "a", exclusive: false, reverse: false }],
  "dispatch.C1": [[bool(a, b, n)], { axis: "b", slot, rows }],
  "dispatch.C2": [[bool(a, b)], { axis: "b", slot: b4, rows }],
  "dispatch.C3": [[bool(a, b)], { axis: "b", slot, rows: axis("rows", 5) }],
  "dispatch.C4": [[bool(a, b)], { axis: "b", slot: axis("b", 2), rows }],
  "spread.C1": [[x, f(rows), i(slot, a)], {}],
  "spread.C2": [[x, i(rows), i(axis("slot", 3), a)], {}],
  "spread.C3": [[f(b), ...moving], {}],
  "collect.C1": [[f(rows, b), f(rows), i(slot, a)], {}],
  "collect.C2": [[f(rows, b), i(rows), i(a)], {}],
  "collect.C3": [[f(rows, a), ...moving], {}],
  "grouped_dot.C1": [[i(rows, c6), f(b, c6, n), i(b)], { over: ["c"] }],
  "grouped_dot.C2": [[f(rows, c6), f(b, c6, n), i(b4)], { over: ["c"] }],
  "grouped_dot.C3": [[f(rows, c6), f(b, c6, n), i(b)], { over: [] }],
  "grouped_dot.C4": [[f(rows, a, c6), f(b, c6, n), i(b)], { over: ["c"] }],
  "grouped_dot.C5": [[f(rows, c6), f(b, c6), i(b)], { over: ["c"] }],
  "grouped_dot.C6": [[f(rows, axis("c", 5)), f(b, c6, n), i(b)], { over: ["c"] }],
  "grouped_dot.C7": [[f(rows, c6), f(b, c6, n), i(b)], { over: ["c"], transposeB: true }],
  "grouped_outer.C1": [[i(rows, c6), f(rows, n), i(b)], {}],
  "grouped_outer.C2": [[f(rows, b), f(rows, n), i(b)], {}],
  "grouped_outer.C3": [[f(rows, c6), f(rows, c6), i(b)], {}],
  "grouped_outer.C4": [[f(rows), f(rows, n), i(b)], {}],
  "call.C1": [[], { fn: "nowhere" }],
  "call.C2": [[f(b)], { fn: "turn" }],
  "fold.C1": [[f(b), weights], { ...fold, fn: "nowhere" }],
  "fold.C2": [[f(b), weights], { ...fold, count: 0 }],
  "fold.C3": [[f(b), weights], { ...fold, count: 2 }],
  "fold.C4": [[f(b), weights], { ...fold, index: true }],
  "fold.C5": [[f(b), weights], { ...fold, fn: "wider" }],
  "fold.C6": [[f(b), weights], { ...fold, fn: "counts", summed: 1 }],
  "list.C1": [[x, f(b, a)], {}],
  "element.C1": [[weights], { at: 3 }],
  "pack.C1": [[weights], { as: axis("layer", 4) }],
  "pack.C2": [[listOf(3, f(a, b))], { as: axis("a", 3) }],
  "unpack.C1": [[x], { axis: "z" }],
  "unpack.C2": [[f(n, b)], { axis: "n" }],
  "release.C1": [[numberType], {}],
};
// Rows that share their constraints share their negative cases.
for (const op of ["neg", "abs", "sign", "exp", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "square", "sigmoid", "tanh", "relu", "softplus", "sin", "cos", "floor", "erf"]) broken[`${op}.C1`] = [[bool(a)], {}];
broken["not.C1"] = [[x], {}];
for (const op of ["add", "sub", "mul", "div", "pow", "max", "min", "lt", "le", "gt", "ge", "eq", "ne", "and", "or"]) {
  const logical = op === "and" || op === "or";
  if (op !== "eq" && op !== "ne") broken[`${op}.C1`] = [logical ? [x, x] : [bool(a), bool(a)], {}];
  broken[`${op}.C2`] = [logical ? [bool(a), x] : [x, i(a)], {}];
  broken[`${op}.C3`] = [logical ? [bool(b), bool(b4)] : [x, f(b4)], {}];
}
for (const op of ["sum", "mean", "reduce_max"]) {
  broken[`${op}.C1`] = [[bool(a)], { axes: ["a"] }];
  broken[`${op}.C2`] = [[x], { axes: [] }];
  broken[`${op}.C3`] = [[x], { axes: ["z"] }];
}
for (const op of ["softmax", "log_softmax"]) broken[`${op}.C1`] = [[i(a)], { axis: "a" }];
for (const op of ["argmax", "is_top", "cumsum", "softmax", "log_softmax"]) broken[`${op}.C2`] = [[x], { ...(sound[op as "argmax"][1] as object), axis: "z" }];

/** "op.Cn" of the whole table. */
const ids = opGroups.flatMap((g) => g.ops).flatMap((op) => ops[op].constraints.map((c) => `${op}.${c.id}`));

describe("numbered constraints", () => {
  it.each(ids)("%s refuses what breaks it", (id) => {
    const found = broken[id];
    expect(found, `a negative case for ${id}`).toBeDefined();
    const op = id.split(".")[0] as OpName;
    const [operands, attributes] = found!;
    const violation = violationOf(op, operands, attributes as never, functions);
    expect(violation?.id).toBe(id);
    expect(violation?.text).toBe(ops[op].constraints.find((c) => `${op}.${c.id}` === id)!.text);
  });

  it("are all that there are negative cases for", () => {
    expect(Object.keys(broken).filter((id) => !ids.includes(id))).toEqual([]);
  });

  it.each(Object.keys(sound) as OpName[])("%s accepts a sound use", (op) => {
    const [operands, attributes] = sound[op];
    expect(violationOf(op, operands, attributes as never, functions)).toBeUndefined();
  });

  it("come after the operands' number and kinds, and the attributes' kinds", () => {
    expect(violationOf("add", [x], {}, functions)?.id).toBe("add.operands");
    expect(violationOf("add", [x, numberType], {}, functions)?.id).toBe("add.operands");
    expect(violationOf("concat", [], { axes: [], as: a }, functions)?.id).toBe("concat.operands");
    expect(violationOf("element", [weights], { at: -1 }, functions)?.id).toBe("element.attributes");
    expect(violationOf("sum", [x], {} as never, functions)?.id).toBe("sum.attributes");
    expect(violationOf("extent", [], { axes: [axis("q", "b*a")] }, functions)?.id).toBe("extent.attributes");
  });

  it("are what the builder throws", () => {
    const w = new Builder("f");
    const p = w.param(x);
    expect(() => w.dot(p, p, ["z"])).toThrow(GraphError);
    expect(() => w.dot(p, p, ["z"])).toThrow(/^dot\.C2: every axis of `over` is one of a and of b/);
    expect(() => w.neg(new Builder("g").param(scalar()))).toThrow(/^C-ssa/);
  });
});
