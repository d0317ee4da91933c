import { fail } from "../diagnostics/index.ts";
import type { Argument, Call, Expression, Name } from "../parser/ast.ts";
import { booleanOf } from "./constants.ts";
import { sizeAsConst, type Elaborator } from "./elaborate.ts";
import type { Scope } from "./scope.ts";
import { constant, isConst, type AxisRef, type Entity, type Tensor } from "./values.ts";

/** What a builtin gets: its arguments by parameter name, not yet evaluated where they name axes. */
interface BuiltinCall {
  readonly elaborator: Elaborator;
  readonly scope: Scope;
  readonly call: Call;
  readonly args: ReadonlyMap<string, Argument>;
  /** Arguments that were evaluated already: evaluating twice would emit twice. */
  readonly values: ReadonlyMap<string, Entity>;
}

interface Builtin {
  /** Parameter names in order; a trailing `?` marks those that may be absent. */
  readonly parameters: readonly string[];
  readonly doc: string;
  readonly run: (c: BuiltinCall) => Entity;
  /** The value where every argument is known at compile time. */
  readonly fold?: (...values: number[]) => number;
}

const arg = (c: BuiltinCall, name: string): Argument => c.args.get(name)!;

function tensor(c: BuiltinCall, name: string): Tensor {
  const a = arg(c, name);
  return c.elaborator.tensor(c.values.get(name) ?? c.elaborator.evaluate(a.value, c.scope), a.value);
}

function axis(c: BuiltinCall, name: string): AxisRef {
  return c.elaborator.axis(arg(c, name).value, c.scope);
}

function axes(c: BuiltinCall, name: string): AxisRef[] {
  return c.elaborator.axisList(arg(c, name).value, c.scope);
}

/** A compile-time number. */
function number(c: BuiltinCall, name: string): number {
  const a = arg(c, name);
  const value = c.elaborator.evaluateConst(a.value, c.scope, `${c.call.callee.text}'s ${name} is known at compile time`).value;
  if (typeof value !== "number") return fail("MOE2005", `${c.call.callee.text}'s ${name} is a number`, { at: a.value.span });
  return value;
}

/** A compile-time truth value. */
function boolean(c: BuiltinCall, name: string): boolean {
  const a = arg(c, name);
  return booleanOf(c.elaborator.evaluateConst(a.value, c.scope, `${c.call.callee.text}'s ${name} is known at compile time`), a.value);
}

/** The operand must have the axis that the operation names. */
function has(c: BuiltinCall, x: Tensor, over: readonly AxisRef[], at: Expression): void {
  c.elaborator.hasAxes(x, over, at, `${c.call.callee.text}'s operand`, c.scope);
}

/** `over`, or every axis that the text sees where it is not said. */
function reduced(c: BuiltinCall, x: Tensor): AxisRef[] {
  const over = c.args.has("over") ? axes(c, "over") : c.scope.seen(x.axes);
  has(c, x, over, arg(c, "x").value);
  return over;
}

const unary = (op: string, fold: (x: number) => number, doc: string): Builtin => ({
  parameters: ["x"],
  doc,
  fold,
  run: (c) => c.elaborator.ops.unary(op, tensor(c, "x")),
});

const reduction = (op: "sum" | "mean" | "reduce_max", doc: string): Builtin => ({
  parameters: ["x", "over?"],
  doc,
  run: (c) => {
    const x = tensor(c, "x");
    return c.elaborator.ops.reduce(op, x, reduced(c, x));
  },
});

const along = (op: string, doc: string): Builtin => ({
  parameters: ["x", "over"],
  doc,
  run: (c) => {
    const x = c.elaborator.ops.cast(tensor(c, "x"), "f32");
    const over = axis(c, "over");
    has(c, x, [over], arg(c, "x").value);
    return c.elaborator.ops.emit(op, [x], { axis: over.name }, x.axes);
  },
});

const extreme = (op: "min" | "max", doc: string): Builtin => ({
  parameters: ["a", "b"],
  doc,
  fold: op === "min" ? Math.min : Math.max,
  run: (c) => c.elaborator.ops.arithmetic(op, tensor(c, "a"), tensor(c, "b")),
});

/** Everything that the language can do with tensors beside its operators. Names not here are `fn`s of the library. */
export const builtins: Readonly<Record<string, Builtin>> = {
  exp: unary("exp", Math.exp, "e to the x."),
  log: unary("log", Math.log, "The natural logarithm."),
  log1p: unary("log1p", Math.log1p, "log(1 + x), exact for small x."),
  sqrt: unary("sqrt", Math.sqrt, "The square root."),
  rsqrt: unary("rsqrt", (x) => 1 / Math.sqrt(x), "1 / sqrt(x)."),
  abs: unary("abs", Math.abs, "The absolute value."),
  sign: unary("sign", Math.sign, "-1, 0 or 1."),
  sin: unary("sin", Math.sin, "The sine."),
  cos: unary("cos", Math.cos, "The cosine."),
  tanh: unary("tanh", Math.tanh, "The hyperbolic tangent."),
  floor: unary("floor", Math.floor, "The greatest whole number that is not greater."),
  sigmoid: unary("sigmoid", (x) => 1 / (1 + Math.exp(-x)), "1 / (1 + exp(-x))."),
  relu: unary("relu", (x) => Math.max(0, x), "max(x, 0)."),
  softplus: unary("softplus", (x) => Math.log1p(Math.exp(-Math.abs(x))) + Math.max(x, 0), "log(1 + exp(x))."),
  erf: { parameters: ["x"], doc: "The error function.", run: (c) => c.elaborator.ops.unary("erf", tensor(c, "x")) },
  min: extreme("min", "The smaller of two, element by element."),
  max: extreme("max", "The greater of two, element by element."),

  sum: reduction("sum", "The sum over axes; over every axis the text sees where none is named."),
  mean: reduction("mean", "The mean over axes; over every axis the text sees where none is named."),
  greatest: reduction("reduce_max", "The greatest value over axes."),
  count: {
    parameters: ["x", "over?"],
    doc: "How many elements x has along axes; along every axis the text sees where none is named.",
    run: (c) => {
      const x = tensor(c, "x");
      return c.elaborator.ops.emit("extent", [], { axes: reduced(c, x) }, []);
    },
  },

  softmax: along("softmax", "exp(x) over its sum along an axis."),
  log_softmax: along("log_softmax", "The logarithm of softmax, without overflow."),
  cumsum: {
    parameters: ["x", "over"],
    doc: "The running sum along an axis, each element included.",
    run: (c) => {
      const x = c.elaborator.ops.cast(tensor(c, "x"), "f32");
      const over = axis(c, "over");
      has(c, x, [over], arg(c, "x").value);
      return c.elaborator.ops.emit("cumsum", [x], { axis: over.name, exclusive: false, reverse: false }, x.axes);
    },
  },
  is_top: {
    parameters: ["x", "k", "over"],
    doc: "True for the k greatest along an axis; ties go to the lower index.",
    run: (c) => {
      const x = tensor(c, "x");
      const over = axis(c, "over");
      const k = number(c, "k");
      has(c, x, [over], arg(c, "x").value);
      if (!Number.isSafeInteger(k) || k < 1 || (typeof over.size === "number" && k > over.size)) {
        fail("MOE3006", `the ${k} greatest of ${over.size} along ${c.scope.nameOf(over)}: k is a whole number from 1 to ${over.size}`, { at: arg(c, "k").span });
      }
      return c.elaborator.ops.emit("is_top", [x], { axis: over.name, k }, x.axes, "bool");
    },
  },
  reverse: {
    parameters: ["x", "over"],
    doc: "The elements along an axis in opposite order.",
    run: (c) => {
      const x = tensor(c, "x");
      const over = axis(c, "over");
      has(c, x, [over], arg(c, "x").value);
      return c.elaborator.ops.emit("reverse", [x], { axis: over.name }, x.axes, x.dtype);
    },
  },

  dot: {
    parameters: ["a", "b", "over"],
    doc: "The product of two tensors, summed over the named axes; other axes that both have stay.",
    run: (c) => {
      const a = tensor(c, "a");
      const b = tensor(c, "b");
      const over = axes(c, "over");
      has(c, a, over, arg(c, "a").value);
      has(c, b, over, arg(c, "b").value);
      return c.elaborator.ops.dot(a, b, over);
    },
  },
  where: {
    parameters: ["condition", "a", "b"],
    doc: "a where the condition holds, b elsewhere, element by element.",
    run: (c) => c.elaborator.ops.select(tensor(c, "condition"), tensor(c, "a"), tensor(c, "b")),
  },
  stop: {
    parameters: ["x"],
    doc: "x, through which no gradient flows.",
    run: (c) => {
      const x = tensor(c, "x");
      return c.elaborator.ops.emit("stop", [x], {}, x.axes, x.dtype);
    },
  },
  drop: {
    parameters: ["x", "p", "each?"],
    doc: "Dropout: zero with probability p, else x / (1 - p); x itself in evaluation. One mask for all that is mapped over what x lacks; with `each: true` one for each expert.",
    run: (c) => {
      const x = tensor(c, "x");
      const p = number(c, "p");
      if (!(p >= 0 && p < 1)) fail("MOE2004", `a dropout is at least 0 and less than 1, this is ${p}`, { at: arg(c, "p").span });
      const { ops, training, mapped } = c.elaborator;
      const each = c.args.has("each") && boolean(c, "each");
      if (p === 0 || !training) return x;
      const axes = each && mapped && !x.axes.includes(mapped) ? [...x.axes, mapped] : x.axes;
      const kept = ops.cast(ops.compare("ge", ops.random("uniform", axes), ops.scalar(p)), "f32");
      const left = ops.arithmetic("mul", ops.arithmetic("mul", x, kept), ops.scalar(1 / (1 - p)));
      return ops.emitter.dropped ? { ...left, handle: ops.emitter.dropped(left.handle, ops.origin()) } : left;
    },
  },
  noise: {
    parameters: ["x"],
    doc: "Standard normal numbers along x's axes, new in each step; zeros in evaluation.",
    run: (c) => {
      const { axes } = tensor(c, "x");
      const { ops, training } = c.elaborator;
      return training ? ops.random("normal", axes) : ops.expand(ops.scalar(0), axes);
    },
  },

  random: {
    parameters: ["x"],
    doc: "Uniform numbers between 0 and 1 along x's axes, new in each step; 0.5 in evaluation.",
    run: (c) => {
      const { axes } = tensor(c, "x");
      const { ops, training } = c.elaborator;
      if (!training) return ops.expand(ops.scalar(0.5), axes);
      // Neither end is drawn, so that a logarithm is finite.
      return ops.arithmetic("max", ops.random("uniform", axes), ops.scalar(2 ** -25));
    },
  },

  along: {
    parameters: ["values", "axis"],
    doc: "A list of numbers as a tensor along an axis of as many places.",
    run: (c) => {
      const along = axis(c, "axis");
      const { value } = arg(c, "values");
      const list = c.elaborator.evaluateConst(value, c.scope, "the numbers along an axis are known at compile time").value;
      if (!Array.isArray(list) || !list.every((v) => typeof v === "number")) return fail("MOE2005", "a list of numbers is needed here", { at: value.span });
      if (list.length !== along.size) fail("MOE3005", `the list has ${list.length} entries, and ${c.scope.nameOf(along)} has ${along.size}`, { at: value.span });
      return c.elaborator.ops.table(list as number[], [along]);
    },
  },
  length: {
    parameters: ["list"],
    doc: "How many entries a list has.",
    run: (c) => {
      const { value } = arg(c, "list");
      const list = c.elaborator.evaluateConst(value, c.scope, "a list is known at compile time").value;
      return Array.isArray(list) ? constant(list.length) : fail("MOE2005", "a list is needed here", { at: value.span });
    },
  },

  index: {
    parameters: ["axis"],
    doc: "0, 1, 2 … along an axis: whole numbers, which may name rows.",
    run: (c) => {
      const along = axis(c, "axis");
      return c.elaborator.ops.emit("index", [], { axis: along, dtype: "i32" }, [along], "i32");
    },
  },
  rename: {
    parameters: ["x", "axis", "to"],
    doc: "x with another name for an axis of the same size.",
    run: (c) => {
      const x = tensor(c, "x");
      const from = axis(c, "axis");
      const to = axis(c, "to");
      has(c, x, [from], arg(c, "x").value);
      if (from.size !== to.size) fail("MOE3005", `an axis keeps its size when renamed: ${c.scope.nameOf(from)} has ${from.size}, ${c.scope.nameOf(to)} has ${to.size}`, { at: arg(c, "to").span });
      return c.elaborator.ops.rename(x, from, to);
    },
  },
  split: {
    parameters: ["x", "axis", "into"],
    doc: "One axis as several, the last running fastest; their sizes multiply to its size.",
    run: (c) => {
      const x = tensor(c, "x");
      const whole = axis(c, "axis");
      const parts = axes(c, "into");
      has(c, x, [whole], arg(c, "x").value);
      sameSize(c, whole, parts, arg(c, "into"));
      return c.elaborator.ops.reshape(x, x.axes.flatMap((a) => (a === whole ? parts : [a])));
    },
  },
  part: {
    parameters: ["x", "axis", "at"],
    doc: "What x has at one place along an axis, which is gone; places count from 0.",
    run: (c) => {
      const x = tensor(c, "x");
      const along = axis(c, "axis");
      const at = number(c, "at");
      has(c, x, [along], arg(c, "x").value);
      const { size } = along;
      if (!Number.isSafeInteger(at) || at < 0 || (typeof size === "number" && at >= size)) {
        fail("MOE2009", `${c.scope.nameOf(along)} has ${size} places, counted from 0; this asks for number ${at}`, { at: arg(c, "at").span });
      }
      const { ops } = c.elaborator;
      const one = ops.axes.get(along.name, 1, new Set(x.axes.map((a) => a.name)));
      return ops.reshape(ops.slice(x, along, at, one), x.axes.filter((a) => a !== along));
    },
  },
  merge: {
    parameters: ["x", "axes", "into"],
    doc: "Several axes as one, the last running fastest.",
    run: (c) => {
      const x = tensor(c, "x");
      const parts = axes(c, "axes");
      const whole = axis(c, "into");
      has(c, x, parts, arg(c, "x").value);
      sameSize(c, whole, parts, arg(c, "into"));
      const rest = x.axes.filter((a) => !parts.includes(a));
      const ordered = c.elaborator.ops.transpose(x, [...rest, ...parts]);
      return c.elaborator.ops.reshape(ordered, [...rest, whole]);
    },
  },
  gather: {
    parameters: ["table", "rows", "over"],
    doc: "Rows of a table: the table's named axis gives way to the axes of the whole-number tensor of rows.",
    run: (c) => {
      const table = tensor(c, "table");
      const rows = tensor(c, "rows");
      const over = axis(c, "over");
      has(c, table, [over], arg(c, "table").value);
      if (rows.dtype !== "i32") fail("MOE2005", "rows are whole numbers, from the data or from index", { at: arg(c, "rows").span });
      return c.elaborator.ops.emit("gather", [table, rows], { axis: over.name }, [...rows.axes, ...table.axes.filter((a) => a !== over)]);
    },
  },
  one_hot: {
    parameters: ["x", "over"],
    doc: "1 at the place that a whole number names along an axis, else 0.",
    run: (c) => {
      const x = tensor(c, "x");
      const over = axis(c, "over");
      if (x.dtype !== "i32") fail("MOE2005", "one_hot takes whole numbers from the data", { at: arg(c, "x").span });
      return c.elaborator.ops.emit("one_hot", [x], { axis: over }, [...x.axes, over]);
    },
  },
};

function sameSize(c: BuiltinCall, whole: AxisRef, parts: readonly AxisRef[], at: Argument): void {
  const product = parts.reduce<number | undefined>((n, a) => (n !== undefined && typeof a.size === "number" ? n * a.size : undefined), 1);
  const name = (a: AxisRef) => `${c.scope.nameOf(a)}: ${a.size}`;
  if (product === undefined || product !== whole.size) {
    fail("MOE3005", `the sizes do not multiply: ${name(whole)} against [${parts.map(name).join(", ")}]${product === undefined ? "" : ` = ${product}`}`, { at: at.span });
  }
}

/** Calls a builtin: at compile time where all is known then, else as operations on tensors. */
export function callBuiltin(elaborator: Elaborator, name: string, call: Call, scope: Scope): Entity {
  const builtin = builtins[name]!;
  const parameters = builtin.parameters.map((p) => ({ name: { text: p.replace("?", ""), span: call.callee.span } satisfies Name, optional: p.endsWith("?") }));
  const bound = elaborator.bind(name, parameters, call.args);
  for (const p of parameters) {
    if (!p.optional && !bound.has(p)) {
      fail("MOE2003", `${name} needs "${p.name.text}"`, { at: call.span, help: `${name}(${builtin.parameters.join(", ")}): ${builtin.doc}` });
    }
  }
  const values = builtin.fold ? parameters.map((p) => sizeAsConst(elaborator.evaluate(bound.get(p)!.value, scope))) : [];
  if (builtin.fold) {
    if (values.every(isConst)) {
      const numbers = values.map((v, i) =>
        typeof v.value === "number" ? v.value : fail("MOE2005", `${name} takes numbers`, { at: bound.get(parameters[i]!)!.span }),
      );
      return constant(builtin.fold(...numbers));
    }
  }
  const args = new Map([...bound].map(([p, a]) => [p.name.text, a]));
  return builtin.run({ elaborator, scope, call, args, values: new Map(values.map((v, i) => [parameters[i]!.name.text, v])) });
}
