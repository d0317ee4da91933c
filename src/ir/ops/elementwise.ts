import type { DType, OpAttributes, OpName, Type } from "../graph.ts";
import { erf, mapOne, mapTwo, selectOf, sigmoid, softplus } from "../kernels/elementwise.ts";
import { isList, isTensor, tensor } from "../types.ts";
import { type OpRow, alignedAxes, alignedSizes, dtypes, inputAt, tensorAt, tensorTypes, tensors } from "./row.ts";

/** The ops without attributes: their rows differ in a function and in the dtypes they take. */
type Plain = { [K in OpName]: OpAttributes[K] extends Record<never, never> ? (keyof OpAttributes[K] extends never ? K : never) : never }[OpName];

function unary<K extends Plain>(summary: string, allowed: readonly DType[], f: (x: number) => number, flops = 1): OpRow<K> {
  const row: OpRow<"neg"> = {
    summary,
    operands: tensors("x"),
    attributes: {},
    result: "x's type",
    constraints: [dtypes("C1", allowed, "x")],
    infer: ([x]) => [x!],
    flops: (c) => flops * c.results[0]!,
    evaluate: (inputs) => [mapOne(inputAt(inputs, 0), inputAt(inputs, 0).dtype, f)],
  };
  return row as unknown as OpRow<K>;
}

function binary<K extends Plain>(summary: string, allowed: readonly DType[], f: (x: number, y: number) => number, flops = 1, result?: DType): OpRow<K> {
  const row: OpRow<"add"> = {
    summary,
    operands: tensors("x", "y"),
    attributes: {},
    result: result ? `${result}, the axes aligned` : "x's dtype, the axes aligned",
    constraints: [
      ...(allowed === any ? [] : [dtypes<"add">("C1", allowed, "x")]),
      { id: "C2", text: "x and y are of one dtype", holds: (types) => tensorAt(types, 0).dtype === tensorAt(types, 1).dtype },
      { id: "C3", text: "axes that both have are of one size", holds: (types) => alignedSizes(tensorTypes(types)) },
    ],
    infer: (types) => [tensor(result ?? tensorAt(types, 0).dtype, alignedAxes(tensorTypes(types)))],
    flops: (c) => flops * c.results[0]!,
    evaluate: (inputs, _, c, results) => {
      const x = inputAt(inputs, 0);
      const type = tensorAt(results, 0);
      return [mapTwo(x, inputAt(inputs, 1), c.axes(type.axes), type.dtype, f)];
    },
  };
  return row as unknown as OpRow<K>;
}

const f32: readonly DType[] = ["f32"];
const numeric: readonly DType[] = ["f32", "i32"];
const bool: readonly DType[] = ["bool"];
const any: readonly DType[] = ["f32", "i32", "bool"];
const truth = (holds: boolean): number => (holds ? 1 : 0);

/** The value itself, of any type that a device holds. */
function sameValue(type: Type | undefined): boolean {
  return isTensor(type) || isList(type);
}

type Elementwise =
  | "neg" | "abs" | "sign" | "exp" | "log" | "log1p" | "sqrt" | "rsqrt" | "reciprocal" | "square"
  | "sigmoid" | "tanh" | "relu" | "softplus" | "sin" | "cos" | "floor" | "erf"
  | "add" | "sub" | "mul" | "div" | "pow" | "max" | "min"
  | "lt" | "le" | "gt" | "ge" | "eq" | "ne" | "and" | "or" | "not"
  | "select" | "cast" | "stop" | "copy";

// The flops of transcendental functions follow the usual convention of a handful each; only their order matters.
export const elementwise: { readonly [K in Elementwise]: OpRow<K> } = {
  neg: unary("-x.", numeric, (x) => -x),
  abs: unary("|x|.", numeric, Math.abs),
  sign: unary("-1, 0 or 1.", numeric, Math.sign),
  exp: unary("e to the x.", f32, Math.exp, 4),
  log: unary("The natural logarithm.", f32, Math.log, 4),
  log1p: unary("log(1 + x), exact for small x.", f32, Math.log1p, 4),
  sqrt: unary("The square root.", f32, Math.sqrt),
  rsqrt: unary("1 / sqrt(x).", f32, (x) => 1 / Math.sqrt(x), 2),
  reciprocal: unary("1 / x.", f32, (x) => 1 / x),
  square: unary("x².", numeric, (x) => x * x),
  sigmoid: unary("1 / (1 + exp(-x)).", f32, sigmoid, 6),
  tanh: unary("The hyperbolic tangent.", f32, Math.tanh, 6),
  relu: unary("max(x, 0).", f32, (x) => Math.max(x, 0)),
  softplus: unary("log(1 + exp(x)).", f32, softplus, 8),
  sin: unary("The sine of x in radians.", f32, Math.sin, 4),
  cos: unary("The cosine of x in radians.", f32, Math.cos, 4),
  floor: unary("The greatest whole number not above x.", f32, Math.floor),
  erf: unary("The error function.", f32, erf, 8),
  add: binary("x + y.", numeric, (x, y) => x + y),
  sub: binary("x - y.", numeric, (x, y) => x - y),
  mul: binary("x * y.", numeric, (x, y) => x * y),
  div: binary("x / y.", f32, (x, y) => x / y),
  pow: binary("x to the y.", f32, (x, y) => x ** y, 8),
  max: binary("The greater of x and y.", numeric, Math.max),
  min: binary("The lesser of x and y.", numeric, Math.min),
  lt: binary("x < y.", numeric, (x, y) => truth(x < y), 1, "bool"),
  le: binary("x <= y.", numeric, (x, y) => truth(x <= y), 1, "bool"),
  gt: binary("x > y.", numeric, (x, y) => truth(x > y), 1, "bool"),
  ge: binary("x >= y.", numeric, (x, y) => truth(x >= y), 1, "bool"),
  eq: binary("x = y.", any, (x, y) => truth(x === y), 1, "bool"),
  ne: binary("x ≠ y.", any, (x, y) => truth(x !== y), 1, "bool"),
  and: binary("Both.", bool, (x, y) => x & y, 1),
  or: binary("Either or both.", bool, (x, y) => x | y, 1),
  not: unary("The opposite.", bool, (x) => 1 - x),
  select: {
    summary: "a where the condition holds, b elsewhere.",
    operands: tensors("condition", "a", "b"),
    attributes: {},
    result: "a's dtype, the axes of all three aligned",
    constraints: [
      dtypes("C1", bool, "the condition"),
      { id: "C2", text: "a and b are of one dtype", holds: (types) => tensorAt(types, 1).dtype === tensorAt(types, 2).dtype },
      { id: "C3", text: "axes that several operands have are of one size", holds: (types) => alignedSizes(tensorTypes(types)) },
    ],
    infer: (types) => [tensor(tensorAt(types, 1).dtype, alignedAxes(tensorTypes(types)))],
    flops: (c) => c.results[0]!,
    evaluate: (inputs, _, c, results) => [selectOf(inputAt(inputs, 0), inputAt(inputs, 1), inputAt(inputs, 2), c.axes(tensorAt(results, 0).axes))],
  },
  cast: {
    summary: "The same numbers in another dtype: f32 to i32 goes towards zero, to bool is whether it is not zero.",
    operands: tensors("x"),
    attributes: { dtype: { kind: "dtype" } },
    result: "x's axes in the dtype",
    constraints: [{ id: "C1", text: "the dtype is another than x's", holds: (types, a) => tensorAt(types, 0).dtype !== a.dtype }],
    infer: (types, a) => [tensor(a.dtype, tensorAt(types, 0).axes)],
    flops: (c) => c.results[0]!,
    evaluate: (inputs, a) => [mapOne(inputAt(inputs, 0), a.dtype, a.dtype === "f32" ? (x) => x : a.dtype === "i32" ? Math.trunc : (x) => truth(x !== 0))],
  },
  stop: {
    summary: "The same value with a gradient of zero.",
    operands: tensors("x"),
    attributes: {},
    result: "x's type",
    constraints: [],
    infer: ([x]) => [x!],
    flops: () => 0,
    evaluate: ([x]) => [x!],
  },
  copy: {
    summary: "The same value under a new handle: what a function does to return a param, or one value twice.",
    operands: { names: ["x"], kinds: ["any"] },
    attributes: {},
    result: "x's type",
    constraints: [{ id: "C1", text: "x is a tensor or a list of tensors", holds: ([x]) => sameValue(x) }],
    infer: ([x]) => [x!],
    flops: () => 0,
    evaluate: ([x]) => [x!],
  },
};

