import { GraphError } from "./errors.ts";
import type { Axis, DType, Entry, GraphFunction, Module, Op, OpAttributes, OpName, Origin, TensorType, Type, Value, Weight } from "./graph.ts";
import { type Functions, inferTypes } from "./ops/index.ts";
import { isTensor, scalar } from "./types.ts";

/** A value, or a number that becomes a `constant` of the other operand's dtype (f32 where there is none). */
export type Operand = Value | number;

/** What the fold helper takes, beside the operands' counts, which follow from the lists given. */
export interface FoldSpec {
  readonly fn: string;
  readonly count: number;
  readonly carried?: readonly Value[];
  readonly shared?: readonly Value[];
  readonly lists?: readonly Value[];
  /** How many of the function's results after the carried ones are added up over the turns. */
  readonly summed?: number;
  /** Whether the function's first param is the turn's number. */
  readonly index?: boolean;
  readonly reverse?: boolean;
}

/**
 * Writes one function, op by op. Result types follow from the op table; a broken constraint throws `GraphError` with
 * its number ("dot.C2") at the call that breaks it.
 */
export class Builder {
  readonly name: string;
  readonly doc: string | undefined;
  readonly #functions: Functions;
  readonly #params: Value[] = [];
  readonly #body: Op[] = [];
  readonly #known = new Set<Value>();
  readonly #constants = new Map<string, Value>();
  #origin: Origin | undefined;
  #finished = false;

  /** `functions` is where `call` and `fold` look functions up; it may grow while this one is written. */
  constructor(name: string, functions: Functions = new Map(), doc?: string) {
    this.name = name;
    this.#functions = functions;
    this.doc = doc;
  }

  /** The params so far. */
  get params(): readonly Value[] {
    return this.#params;
  }

  /** The ops so far: what a pass that writes in order may read back. */
  get body(): readonly Op[] {
    return this.#body;
  }

  param(type: Type, name = ""): Value {
    const value: Value = { type, name };
    this.#params.push(value);
    this.#known.add(value);
    return value;
  }

  /** Ops written within `write` come from `origin` (the innermost `at` counts); undefined keeps the one around. */
  at<T>(origin: Origin | undefined, write: () => T): T {
    const before = this.#origin;
    this.#origin = origin ?? before;
    try {
      return write();
    } finally {
      this.#origin = before;
    }
  }

  /** Any op by name: its results. `names` are hints for printing. */
  op<K extends OpName>(op: K, operands: readonly Value[], attributes: OpAttributes[K], names: readonly string[] = []): readonly Value[] {
    if (this.#finished) throw new GraphError(`@${this.name} is finished`);
    for (const v of operands) if (!this.#known.has(v)) throw new GraphError(`an operand of ${op} ("${v.name}") is not a value of @${this.name}`, "C-ssa");
    const types = inferTypes(op, operands.map((v) => v.type), attributes, this.#functions);
    const results = types.map((type, i): Value => ({ type, name: names[i] ?? "" }));
    this.#body.push({ op, operands, attributes, results, ...(this.#origin ? { origin: this.#origin } : {}) });
    for (const v of results) this.#known.add(v);
    return results;
  }

  /** An op of one result. */
  one<K extends OpName>(op: K, operands: readonly Value[], attributes: OpAttributes[K], name = ""): Value {
    const results = this.op(op, operands, attributes, [name]);
    if (results.length !== 1) throw new GraphError(`${op} has ${results.length} results, one was expected`);
    return results[0]!;
  }

  /** Names a value for printing, and returns it. */
  named(name: string, value: Value): Value {
    value.name = name;
    return value;
  }

  /**
   * The function. Results that are params, or stand twice, are copied, so that the caller owns each (C-results).
   * Nothing can be written afterwards.
   */
  finish(results: readonly Value[]): GraphFunction {
    const seen = new Set<Value>(this.#params);
    const owned = results.map((value) => {
      const own = seen.has(value) ? this.copy(value) : value;
      if (!this.#known.has(own)) throw new GraphError(`a result ("${value.name}") is not a value of @${this.name}`, "C-ssa");
      seen.add(own);
      return own;
    });
    this.#finished = true;
    return { name: this.name, ...(this.doc === undefined ? {} : { doc: this.doc }), params: [...this.#params], body: [...this.#body], results: owned };
  }

  // — leaves —

  /** A scalar literal; equal ones of a function are one value. */
  constant(value: number, dtype: DType = "f32"): Value {
    const key = `${dtype} ${Object.is(value, -0) ? "-0" : value}`;
    const known = this.#constants.get(key);
    if (known) return known;
    const made = this.at(undefined, () => this.one("constant", [], { value, dtype }));
    this.#constants.set(key, made);
    return made;
  }
  table(values: readonly number[], axes: readonly Axis[], dtype: DType = "f32"): Value {
    return this.one("table", [], { values, axes, dtype });
  }
  index(axis: Axis, dtype: "f32" | "i32" = "i32"): Value {
    return this.one("index", [], { axis, dtype });
  }
  fill(number: Value): Value {
    return this.one("fill", [number], {});
  }
  extent(axes: readonly Axis[]): Value {
    return this.one("extent", [], { axes });
  }
  chance(seed: Value, step: Value, layer: Value, stream: number, axes: readonly Axis[], least: number): Value {
    return this.one("chance", [seed, step, layer], { stream, axes, least });
  }
  random(seed: Value, step: Value, layer: Value, stream: number, axes: readonly Axis[], distribution: "uniform" | "normal" = "uniform"): Value {
    return this.one("random", [seed, step, layer], { stream, axes, distribution });
  }

  // — elementwise —

  neg(x: Operand): Value { return this.#unary("neg", x); }
  abs(x: Operand): Value { return this.#unary("abs", x); }
  sign(x: Operand): Value { return this.#unary("sign", x); }
  exp(x: Operand): Value { return this.#unary("exp", x); }
  log(x: Operand): Value { return this.#unary("log", x); }
  log1p(x: Operand): Value { return this.#unary("log1p", x); }
  sqrt(x: Operand): Value { return this.#unary("sqrt", x); }
  rsqrt(x: Operand): Value { return this.#unary("rsqrt", x); }
  reciprocal(x: Operand): Value { return this.#unary("reciprocal", x); }
  square(x: Operand): Value { return this.#unary("square", x); }
  sigmoid(x: Operand): Value { return this.#unary("sigmoid", x); }
  tanh(x: Operand): Value { return this.#unary("tanh", x); }
  relu(x: Operand): Value { return this.#unary("relu", x); }
  softplus(x: Operand): Value { return this.#unary("softplus", x); }
  sin(x: Operand): Value { return this.#unary("sin", x); }
  cos(x: Operand): Value { return this.#unary("cos", x); }
  floor(x: Operand): Value { return this.#unary("floor", x); }
  erf(x: Operand): Value { return this.#unary("erf", x); }
  not(x: Operand): Value { return this.#unary("not", x); }
  stop(x: Operand): Value { return this.#unary("stop", x); }

  add(x: Operand, y: Operand): Value { return this.#binary("add", x, y); }
  sub(x: Operand, y: Operand): Value { return this.#binary("sub", x, y); }
  mul(x: Operand, y: Operand): Value { return this.#binary("mul", x, y); }
  div(x: Operand, y: Operand): Value { return this.#binary("div", x, y); }
  pow(x: Operand, y: Operand): Value { return this.#binary("pow", x, y); }
  max(x: Operand, y: Operand): Value { return this.#binary("max", x, y); }
  min(x: Operand, y: Operand): Value { return this.#binary("min", x, y); }
  lt(x: Operand, y: Operand): Value { return this.#binary("lt", x, y); }
  le(x: Operand, y: Operand): Value { return this.#binary("le", x, y); }
  gt(x: Operand, y: Operand): Value { return this.#binary("gt", x, y); }
  ge(x: Operand, y: Operand): Value { return this.#binary("ge", x, y); }
  eq(x: Operand, y: Operand): Value { return this.#binary("eq", x, y); }
  ne(x: Operand, y: Operand): Value { return this.#binary("ne", x, y); }
  and(x: Operand, y: Operand): Value { return this.#binary("and", x, y); }
  or(x: Operand, y: Operand): Value { return this.#binary("or", x, y); }

  select(condition: Value, a: Operand, b: Operand): Value {
    const [x, y] = this.#pair(a, b);
    return this.one("select", [condition, x, y], {});
  }
  /** x itself where it is of the dtype already. */
  cast(x: Value, dtype: DType): Value {
    return isTensor(x.type) && x.type.dtype === dtype ? x : this.one("cast", [x], { dtype });
  }
  copy(x: Value): Value {
    return this.one("copy", [x], {}, x.name);
  }

  // — reductions: x itself where no axis is named —

  sum(x: Value, axes: readonly string[]): Value { return axes.length ? this.one("sum", [x], { axes }) : x; }
  mean(x: Value, axes: readonly string[]): Value { return axes.length ? this.one("mean", [x], { axes }) : x; }
  reduce_max(x: Value, axes: readonly string[]): Value { return axes.length ? this.one("reduce_max", [x], { axes }) : x; }

  // — products —

  dot(a: Value, b: Value, over: readonly string[], flags: { readonly transposeA?: boolean; readonly transposeB?: boolean } = {}): Value {
    return this.one("dot", [a, b], { over, ...flags });
  }

  // — axes —

  rename(x: Value, from: readonly string[], to: readonly string[]): Value { return this.one("rename", [x], { from, to }); }
  transpose(x: Value, order: readonly string[]): Value { return this.one("transpose", [x], { order }); }
  reshape(x: Value, axes: readonly Axis[]): Value { return this.one("reshape", [x], { axes }); }
  expand(x: Operand, axes: readonly Axis[]): Value { return this.one("expand", [this.#value(x)], { axes }); }
  slice(x: Value, axis: string, start: number, as: Axis): Value { return this.one("slice", [x], { axis, start, as }); }
  pad(x: Value, axis: string, before: number, after: number, as: Axis): Value { return this.one("pad", [x], { axis, before, after, as }); }
  /** `axes`: one name for each part, or one for all. */
  concat(parts: readonly Value[], axes: string | readonly string[], as: Axis): Value {
    return this.one("concat", parts, { axes: typeof axes === "string" ? parts.map(() => axes) : axes, as });
  }
  reverse(x: Value, axis: string): Value { return this.one("reverse", [x], { axis }); }

  // — indexing —

  gather(table: Value, indices: Value, axis: string): Value { return this.one("gather", [table, indices], { axis }); }
  scatter_add(indices: Value, updates: Value, axis: Axis): Value { return this.one("scatter_add", [indices, updates], { axis }); }
  one_hot(indices: Value, axis: Axis): Value { return this.one("one_hot", [indices], { axis }); }
  argmax(x: Value, axis: string): Value { return this.one("argmax", [x], { axis }); }
  is_top(x: Value, axis: string, k: number): Value { return this.one("is_top", [x], { axis, k }); }
  cumsum(x: Value, axis: string, options: { readonly exclusive?: boolean; readonly reverse?: boolean } = {}): Value {
    return this.one("cumsum", [x], { axis, exclusive: options.exclusive ?? false, reverse: options.reverse ?? false });
  }

  // — dispatch —

  /** The rows' tokens, the tokens' rows, the rows' choices, and how many rows each choice has. */
  dispatch(mask: Value, axis: string, slot: Axis, rows: Axis): { readonly token: Value; readonly place: Value; readonly choice: Value; readonly count: Value } {
    const [token, place, choice, count] = this.op("dispatch", [mask], { axis, slot, rows }, ["token", "place", "choice", "count"]);
    return { token: token!, place: place!, choice: choice!, count: count! };
  }
  spread(x: Value, token: Value, place: Value): Value { return this.one("spread", [x, token, place], {}); }
  collect(x: Value, token: Value, place: Value): Value { return this.one("collect", [x, token, place], {}); }
  grouped_dot(a: Value, b: Value, count: Value, over: readonly string[], flags: { readonly transposeB?: boolean } = {}): Value {
    return this.one("grouped_dot", [a, b, count], { over, ...flags });
  }
  grouped_outer(a: Value, b: Value, count: Value): Value { return this.one("grouped_outer", [a, b, count], {}); }

  // — composites —

  softmax(x: Value, axis: string): Value { return this.one("softmax", [x], { axis }); }
  log_softmax(x: Value, axis: string): Value { return this.one("log_softmax", [x], { axis }); }

  // — functions —

  call(fn: string, operands: readonly Value[]): readonly Value[] { return this.op("call", operands, { fn }); }
  /** Results in the contract's order: carried, summed, lists. */
  fold(spec: FoldSpec): readonly Value[] {
    const { carried = [], shared = [], lists = [] } = spec;
    return this.op("fold", [...carried, ...shared, ...lists], {
      fn: spec.fn,
      count: spec.count,
      carried: carried.length,
      shared: shared.length,
      summed: spec.summed ?? 0,
      index: spec.index ?? false,
      reverse: spec.reverse ?? false,
    });
  }
  list(elements: readonly Value[]): Value { return this.one("list", elements, {}); }
  element(list: Value, at: number): Value { return this.one("element", [list], { at }); }
  pack(list: Value, as: Axis): Value { return this.one("pack", [list], { as }); }
  unpack(x: Value, axis: string): Value { return this.one("unpack", [x], { axis }); }
  release(values: readonly Value[]): void { this.op("release", values, {}); }

  #value(x: Operand, like?: TensorType): Value {
    return typeof x === "number" ? this.constant(x, like?.dtype ?? "f32") : x;
  }

  #pair(x: Operand, y: Operand): [Value, Value] {
    const like = [x, y].flatMap((v) => (typeof v !== "number" && isTensor(v.type) ? [v.type] : []))[0] ?? scalar();
    return [this.#value(x, like), this.#value(y, like)];
  }

  #unary(op: "neg" | "abs" | "sign" | "exp" | "log" | "log1p" | "sqrt" | "rsqrt" | "reciprocal" | "square" | "sigmoid" | "tanh" | "relu" | "softplus" | "sin" | "cos" | "floor" | "erf" | "not" | "stop", x: Operand): Value {
    return this.one(op, [this.#value(x)], {});
  }

  #binary(op: "add" | "sub" | "mul" | "div" | "pow" | "max" | "min" | "lt" | "le" | "gt" | "ge" | "eq" | "ne" | "and" | "or", x: Operand, y: Operand): Value {
    return this.one(op, this.#pair(x, y), {});
  }
}

/** Collects a module's functions, weights and entries. Callees come before their callers. */
export class ModuleBuilder {
  readonly functions = new Map<string, GraphFunction>();
  readonly weights: Weight[] = [];
  readonly entries = new Map<string, Entry>();

  /** Starts a function that can call those added so far; `add` it when it is finished. */
  function(name: string, doc?: string): Builder {
    return new Builder(name, this.functions, doc);
  }

  /** Writes and adds a function: `write` makes params and ops and returns the results. */
  define(name: string, write: (b: Builder) => readonly Value[], doc?: string): GraphFunction {
    const b = this.function(name, doc);
    return this.add(b.finish(write(b)));
  }

  add(fn: GraphFunction): GraphFunction {
    if (this.functions.has(fn.name)) throw new GraphError(`there is a function @${fn.name} already`, "C-functions");
    this.functions.set(fn.name, fn);
    return fn;
  }

  weight(weight: Weight): Weight {
    if (this.weights.some((w) => w.name === weight.name)) throw new GraphError(`there is a weight @${weight.name} already`, "C-weights");
    this.weights.push(weight);
    return weight;
  }

  entry(name: string, entry: Entry): Entry {
    if (this.entries.has(name)) throw new GraphError(`there is an entry @${name} already`, "C-entries");
    this.entries.set(name, entry);
    return entry;
  }

  finish(): Module {
    return { functions: new Map(this.functions), weights: [...this.weights], entries: new Map(this.entries) };
  }
}
