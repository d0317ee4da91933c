import { GraphError } from "./errors.ts";
import { bindingName, type Axis, type GraphFunction, type Module, type Type, type Value } from "./graph.ts";
import { countOf } from "./kernels/strided.ts";
import { rowOf } from "./ops/index.ts";
import type { EvaluationContext } from "./ops/row.ts";
import { evaluateSize, solveSize } from "./size.ts";
import type { Arg, ConcreteAxis, Data, Tensor } from "./tensor.ts";
import { describeType } from "./types.ts";

export type { Arg, ConcreteAxis, Data, Tensor } from "./tensor.ts";

/** The draws of a run, as the runtime's counter-based generator gives them: `out` is filled from its first number on. */
export interface RandomSource {
  uniform(out: Float32Array, seed: number, step: number, stream: number): void;
  normal(out: Float32Array, seed: number, step: number, stream: number): void;
}

/** Layers of one module are fewer than this, so that no two draws of a step share a stream. */
export const LAYERS_PER_STREAM = 4096;

/** The generator's stream number of a `random` op's `stream` in a layer: every target must use this one. */
export function randomStream(stream: number, layer: number): number {
  return stream * LAYERS_PER_STREAM + layer;
}

export interface InterpretOptions {
  /** Absent: `random` is an error. */
  readonly random?: RandomSource;
  /** Sizes of symbols that no argument shows. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Sees every op's results, innermost functions included: for tests and for looking at a wrong number. */
  readonly trace?: (fn: string, value: Value, result: Arg) => void;
}

/**
 * The reference interpreter: runs a function with every f32 in float64. Sizes of symbols follow from the arguments'
 * shapes and must agree. A graph that `verify` finds fault with gives any result or a GraphError.
 */
export function interpret(module: Module, fn: string, args: readonly Arg[], options: InterpretOptions = {}): readonly Arg[] {
  return new Run(module, options).call(fn, args);
}

/** Inputs of an entry: weights, gradients and moments by the weight's name, inputs by their own. */
export interface EntryInputs {
  readonly weight?: Readonly<Record<string, Arg>>;
  readonly gradient?: Readonly<Record<string, Arg>>;
  readonly moment1?: Readonly<Record<string, Arg>>;
  readonly moment2?: Readonly<Record<string, Arg>>;
  readonly statistic?: Readonly<Record<string, Arg>>;
  readonly input?: Readonly<Record<string, Arg>>;
}

/** An entry's results by what they are bound to, and its outputs by name. */
export interface EntryOutputs {
  readonly weight: Record<string, Arg>;
  readonly gradient: Record<string, Arg>;
  readonly moment1: Record<string, Arg>;
  readonly moment2: Record<string, Arg>;
  readonly statistic: Record<string, Arg>;
  readonly input: Record<string, Arg>;
  readonly output: Record<string, Arg>;
}

/** Runs an entry: `{weight: {"layers.A": …}, input: {tokens: …}}` to `{gradient: {…}, output: {loss: …}}`. */
export function interpretEntry(module: Module, entry: string, inputs: EntryInputs, options: InterpretOptions = {}): EntryOutputs {
  const found = module.entries.get(entry);
  if (!found) throw new GraphError(`there is no entry @${entry}`);
  const args = found.params.map((binding) => {
    const name = bindingName(binding);
    const given = inputs[binding.kind];
    if (!given || !Object.hasOwn(given, name)) throw new GraphError(`the entry @${entry} needs the ${binding.kind} "${name}"`);
    return given[name]!;
  });
  const results = interpret(module, found.fn, args, options);
  const outputs: EntryOutputs = { weight: {}, gradient: {}, moment1: {}, moment2: {}, statistic: {}, input: {}, output: {} };
  found.results.forEach((binding, i) => {
    outputs[binding.kind][bindingName(binding)] = results[i]!;
  });
  return outputs;
}


/** A tensor from plain numbers. `axes` as `{sample: 2, in: 3}`, in layout order. */
export function tensorOf(axes: Readonly<Record<string, number>>, values: ArrayLike<number>, dtype: Tensor["dtype"] = "f32"): Tensor {
  const list = Object.entries(axes).map(([name, size]): ConcreteAxis => ({ name, size }));
  if (countOf(list) !== values.length) throw new GraphError(`${values.length} values for ${countOf(list)} elements`);
  const data: Data = dtype === "f32" ? Float64Array.from(values) : dtype === "i32" ? Int32Array.from(values) : Uint8Array.from(values);
  return { dtype, axes: list, data };
}

class Run {
  readonly #module: Module;
  readonly #options: InterpretOptions;
  /** One environment for the whole run: a symbol stands for one number in every function. */
  readonly #sizes: Record<string, number>;
  readonly #context: EvaluationContext;
  #depth = 0;

  constructor(module: Module, options: InterpretOptions) {
    this.#module = module;
    this.#options = options;
    this.#sizes = { ...options.sizes };
    const axes = (list: readonly Axis[]): readonly ConcreteAxis[] => list.map((a) => ({ name: a.name, size: evaluateSize(a.size, this.#sizes) }));
    this.#context = {
      size: (size) => evaluateSize(size, this.#sizes),
      axes,
      random: (distribution, seed, step, layer, stream, out) => {
        const source = options.random;
        if (!source) throw new GraphError("a random op needs a source of random numbers");
        source[distribution](out, seed, step, randomStream(stream, layer));
      },
      call: (fn, args) => this.call(fn, args),
    };
  }

  call(name: string, args: readonly Arg[]): readonly Arg[] {
    const fn = this.#module.functions.get(name);
    if (!fn) throw new GraphError(`there is no function @${name}`);
    if (++this.#depth > 256) throw new GraphError(`functions call each other too deeply at @${name}`);
    this.#bind(fn, args);
    const values = new Map<Value, Arg>(fn.params.map((p, i) => [p, args[i]!]));
    const last = lastUses(fn);
    fn.body.forEach((op, i) => {
      const inputs = op.operands.map((v) => read(values, v));
      const types = op.results.map((v) => v.type);
      const results = rowOf(op.op).evaluate(inputs, op.attributes, this.#context, types);
      op.results.forEach((v, k) => {
        values.set(v, results[k]!);
        this.#options.trace?.(name, v, results[k]!);
      });
      // Memory is let go as soon as nothing reads it, whether or not the graph has release points yet.
      for (const v of last.get(i) ?? []) values.delete(v);
    });
    this.#depth--;
    return fn.results.map((v) => read(values, v));
  }

  /** Learns symbols from the arguments' shapes and checks what is known. Products of two unknowns wait for the others. */
  #bind(fn: GraphFunction, args: readonly Arg[]): void {
    if (args.length !== fn.params.length) throw new GraphError(`@${fn.name} takes ${fn.params.length} arguments, not ${args.length}`);
    const open: { size: Axis["size"]; actual: number; what: string }[] = [];
    fn.params.forEach((param, i) => {
      const what = `argument ${i} ("${param.name}") of @${fn.name}`;
      for (const { axis, actual } of shapesOf(param.type, args[i]!, what)) open.push({ size: axis.size, actual, what: `${axis.name} in ${what}` });
    });
    for (let left = open; left.length > 0; ) {
      const waiting = left.filter(({ size, actual, what }) => {
        const solved = solveSize(size, actual, this.#sizes);
        if (solved === "wrong") throw new GraphError(`${what} is ${actual} long, but its size is ${size}${known(size, this.#sizes)}`);
        if (typeof solved !== "string") this.#sizes[solved[0]] = solved[1];
        return solved === "open";
      });
      if (waiting.length === left.length) break; // a symbol that only products show: an error only where it is used
      left = waiting;
    }
  }
}

function known(size: Axis["size"], sizes: Readonly<Record<string, number>>): string {
  try {
    return typeof size === "number" ? "" : ` = ${evaluateSize(size, sizes)}`;
  } catch {
    return "";
  }
}

function read(values: ReadonlyMap<Value, Arg>, v: Value): Arg {
  const found = values.get(v);
  if (found === undefined) throw new GraphError(`the value "${v.name}" is used before it is made`, "C-ssa");
  return found;
}

/** For each op's place: the values that nothing after it reads. */
function lastUses(fn: GraphFunction): ReadonlyMap<number, readonly Value[]> {
  const place = new Map<Value, number>();
  fn.body.forEach((op, i) => {
    for (const v of [...op.operands, ...op.results]) place.set(v, i);
  });
  for (const v of fn.results) place.delete(v);
  const at = new Map<number, Value[]>();
  for (const [v, i] of place) at.set(i, [...(at.get(i) ?? []), v]);
  return at;
}

/** Checks an argument against its param's type (names, dtype, order) and gives each axis with its actual size. */
function shapesOf(type: Type, arg: Arg, what: string): readonly { axis: Axis; actual: number }[] {
  if (type.kind === "number") {
    if (typeof arg !== "number") throw new GraphError(`${what} must be a number`);
    return [];
  }
  if (type.kind === "list") {
    if (!Array.isArray(arg) || arg.length !== type.count) throw new GraphError(`${what} must be a list of ${type.count} tensors`);
    return (arg as readonly Tensor[]).flatMap((t) => shapesOf(type.of, t, what));
  }
  if (typeof arg !== "object" || !("data" in arg)) throw new GraphError(`${what} must be a tensor`);
  const fits = arg.dtype === type.dtype && arg.axes.length === type.axes.length && arg.axes.every((a, i) => a.name === type.axes[i]!.name);
  if (!fits) throw new GraphError(`${what} must be ${describeType(type)}, not ${describeType({ kind: "tensor", dtype: arg.dtype, axes: arg.axes })}`);
  if (arg.data.length !== countOf(arg.axes)) throw new GraphError(`${what} has ${arg.data.length} elements, its axes say ${countOf(arg.axes)}`);
  return type.axes.map((axis, i) => ({ axis, actual: arg.axes[i]!.size }));
}
