/**
 * A graph after all passes, the one that `codegen/tfjs` prints, as one ONNX graph: what an ONNX target would have to be,
 * as far as a measurement needs it. Sizes are numbers and functions are written out where they are called.
 */
import type { Axis, DType, ListType, Module, Op, OpAttributes, OpName, TensorType, Value } from "../../src/ir/index.ts";
import { randomStream } from "../../src/ir/index.ts";
import { evaluateSize } from "../../src/ir/size.ts";
import { Graph, type Tensor } from "./model.ts";

/** A tensor of the ONNX graph and what stands for it. */
interface Node {
  readonly name: string;
  readonly type: TensorType;
}

/** A number of the host: known where a fold's turn is meant, else the name of an input. */
type HostNumber = { readonly known: number } | { readonly input: string };

type Given = Node | readonly Node[] | HostNumber;

/** Numbers that the host draws for each run and gives as an input, as generated code does. */
export interface Draw {
  readonly input: string;
  readonly dims: readonly number[];
  readonly distribution: "uniform" | "normal";
  readonly stream: number;
  /** Inputs that say the run's seed and step. */
  readonly seed: string;
  readonly step: string;
}

export interface Translated {
  readonly bytes: Uint8Array;
  /** For each param of the entry, its inputs: one, or one a layer; none where the tensor is part of the file. */
  readonly inputs: readonly (readonly string[])[];
  readonly outputs: readonly (readonly string[])[];
  readonly draws: readonly Draw[];
  readonly counts: ReadonlyMap<string, number>;
}

export interface TranslateOptions {
  readonly sizes: Readonly<Record<string, number>>;
  /** Tensors that become part of the file, by the param's place: one, or one a layer. */
  readonly frozen?: ReadonlyMap<number, readonly Float32Array[]>;
}

/** Writes an entry. */
export function translate(module: Module, entryName: string, options: TranslateOptions): Translated {
  return new Translator(module, options).entry(entryName);
}

const dtypes: { readonly [D in DType]: Tensor["type"] } = { f32: "f32", i32: "i32", bool: "bool" };

/** Ops that are one node of the same operands, aligned by name. */
const direct: Partial<Record<OpName, string>> = {
  neg: "Neg", abs: "Abs", sign: "Sign", exp: "Exp", log: "Log", sqrt: "Sqrt", reciprocal: "Reciprocal", sigmoid: "Sigmoid", tanh: "Tanh", relu: "Relu",
  softplus: "Softplus", sin: "Sin", cos: "Cos", floor: "Floor", erf: "Erf", add: "Add", sub: "Sub", mul: "Mul", div: "Div", pow: "Pow", max: "Max", min: "Min",
  lt: "Less", le: "LessOrEqual", gt: "Greater", ge: "GreaterOrEqual", eq: "Equal", and: "And", or: "Or", not: "Not", select: "Where",
};
const reductions: Partial<Record<OpName, string>> = { sum: "ReduceSum", mean: "ReduceMean", reduce_max: "ReduceMax" };

class Translator {
  readonly #module: Module;
  readonly #options: TranslateOptions;
  readonly #graph = new Graph();
  readonly #draws: Draw[] = [];
  readonly #numbers = new Set<string>();

  constructor(module: Module, options: TranslateOptions) {
    this.#module = module;
    this.#options = options;
  }

  entry(name: string): Translated {
    const entry = this.#module.entries.get(name)!;
    const fn = this.#module.functions.get(entry.fn)!;
    const inputs: string[][] = [];
    const args = fn.params.map((param, i): Given => {
      const names: string[] = [];
      inputs.push(names);
      const frozen = this.#options.frozen?.get(i);
      const one = (type: TensorType, at: number): Node => {
        const node = { name: `p${i}_${at}`, type };
        if (frozen) this.#graph.initializer(node.name, this.#tensor(type), frozen[at]!);
        else {
          this.#graph.input(node.name, this.#tensor(type));
          names.push(node.name);
        }
        return node;
      };
      const { type } = param;
      if (type.kind === "list") return Array.from({ length: type.count }, (_, at) => one(type.of, at));
      if (type.kind === "tensor") return one(type, 0);
      names.push(`p${i}_0`);
      return { input: `p${i}_0` };
    });
    const results = this.#call(entry.fn, args);
    const outputs = results.map((result, i) =>
      (Array.isArray(result) ? (result as readonly Node[]) : [result as Node]).map((node, at) => {
        const output = this.#graph.node("Identity", [node.name], {}, `r${i}_${at}`);
        this.#graph.output(output, this.#tensor(node.type));
        return output;
      }),
    );
    // A number that nothing but draws reads is no input of the graph.
    for (const number of this.#numbers) this.#graph.input(number, { type: "f32", dims: [] });
    return { bytes: this.#graph.finish(name), inputs, outputs, draws: this.#draws, counts: this.#graph.counts };
  }

  #call(name: string, args: readonly Given[]): readonly Given[] {
    const fn = this.#module.functions.get(name)!;
    const values = new Map<Value, Given>(fn.params.map((p, i) => [p, args[i]!]));
    for (const op of fn.body) {
      const operands = op.operands.map((v) => values.get(v)!);
      this.#op(op, operands).forEach((result, i) => values.set(op.results[i]!, result));
    }
    return fn.results.map((v) => values.get(v)!);
  }

  #op(op: Op, operands: readonly Given[]): readonly Given[] {
    switch (op.op) {
      case "release":
        return [];
      case "call":
        return this.#call((op.attributes as OpAttributes["call"]).fn, operands);
      case "list":
        return [operands as readonly Node[]];
      case "element":
        return [(operands[0] as readonly Node[])[(op.attributes as OpAttributes["element"]).at]!];
      case "pack": {
        const parts = operands[0] as readonly Node[];
        const rows = parts.map((part) => this.#graph.node("Unsqueeze", [part.name, this.#graph.constant("i64", [1], [0])]));
        return [{ name: this.#graph.node("Concat", rows, { axis: 0 }), type: op.results[0]!.type as TensorType }];
      }
      case "unpack": {
        const x = operands[0] as Node;
        const { count, of } = op.results[0]!.type as ListType;
        const axis = x.type.axes.findIndex((a) => a.name === (op.attributes as OpAttributes["unpack"]).axis);
        return [Array.from({ length: count }, (_, i): Node => ({ name: this.#graph.node("Gather", [x.name, this.#graph.constant("i64", [], [i])], { axis }), type: of }))];
      }
      case "fold":
        return this.#fold(op.attributes as OpAttributes["fold"], operands);
      default: {
        const type = op.results[0]!.type as TensorType;
        return [{ name: this.#node(op, operands, type), type }];
      }
    }
  }

  #fold({ fn, count, carried, shared, summed, index, reverse }: OpAttributes["fold"], operands: readonly Given[]): readonly Given[] {
    let state = operands.slice(0, carried);
    const always = operands.slice(carried, carried + shared);
    const lists = operands.slice(carried + shared) as readonly (readonly Node[])[];
    let totals: readonly Node[] | undefined;
    const made: Node[][] = [];
    for (let turn = 0; turn < count; turn++) {
      const at = reverse ? count - 1 - turn : turn;
      const results = this.#call(fn, [...(index ? [{ known: at }] : []), ...state, ...always, ...lists.map((l) => l[at]!)]);
      state = results.slice(0, carried);
      const terms = results.slice(carried, carried + summed) as readonly Node[];
      totals = totals === undefined ? terms : totals.map((t, i) => ({ name: this.#graph.node("Add", [t.name, terms[i]!.name]), type: t.type }));
      results.slice(carried + summed).forEach((r, i) => ((made[i] ??= [])[at] = r as Node));
    }
    return [...state, ...totals!, ...made];
  }

  /** Writes an op of one tensor and returns its name. */
  #node(op: Op, operands: readonly Given[], type: TensorType): string {
    const g = this.#graph;
    const x = operands[0] as Node;
    const attributes = <K extends OpName>(_: K): OpAttributes[K] => op.attributes as OpAttributes[K];
    const dims = this.#dims(type.axes);
    const place = (axis: string, of = x): number => of.type.axes.findIndex((a) => a.name === axis);
    const shape = (to: readonly number[]): string => g.constant("i64", [to.length], to);
    const aligned = (): string[] => operands.map((o) => this.#aligned(o as Node, type.axes));
    const kernel = direct[op.op];
    if (kernel !== undefined) return g.node(kernel, aligned());
    const reduction = reductions[op.op];
    if (reduction !== undefined) {
      const axes = attributes("sum").axes.map((a) => place(a));
      return g.node(reduction, [x.name, shape(axes)], { keepdims: 0 });
    }
    switch (op.op) {
      case "constant":
        return g.constant(dtypes[attributes("constant").dtype], [], [attributes("constant").value]);
      case "table":
        return g.constant(dtypes[type.dtype], dims, attributes("table").values);
      case "index":
        return g.constant(dtypes[type.dtype], dims, [...Array(dims[0]).keys()]);
      case "extent":
        return g.constant("f32", [], [this.#dims(attributes("extent").axes).reduce((n, d) => n * d, 1)]);
      case "fill":
        return this.#number(operands[0] as HostNumber);
      case "random":
        return this.#draw(attributes("random"), operands as readonly HostNumber[], dims);
      case "chance": {
        const { least, ...draw } = attributes("chance");
        return g.node("GreaterOrEqual", [this.#draw({ ...draw, distribution: "uniform" }, operands as readonly HostNumber[], dims), g.constant("f32", [], [least])]);
      }
      case "log1p":
        return g.node("Log", [g.node("Add", [x.name, g.constant("f32", [], [1])])]);
      case "rsqrt":
        return g.node("Reciprocal", [g.node("Sqrt", [x.name])]);
      case "square":
        return g.node("Mul", [x.name, x.name]);
      case "ne":
        return g.node("Not", [g.node("Equal", aligned())]);
      case "cast":
        return g.node("Cast", [x.name], { to: { f32: 1, i32: 6, bool: 9 }[attributes("cast").dtype] });
      // Values are not freed by hand, so a second handle is the first.
      case "stop":
      case "copy":
      case "rename":
        return x.name;
      case "dot":
        return g.node("MatMul", operands.map((o) => (o as Node).name));
      case "transpose":
        return g.node("Transpose", [x.name], { perm: attributes("transpose").order.map((n) => place(n)) });
      case "reshape":
        return g.node("Reshape", [x.name, shape(dims)]);
      case "expand":
        return g.node("Expand", [this.#aligned(x, type.axes), shape(dims)]);
      case "slice": {
        const { axis, start } = attributes("slice");
        const at = place(axis);
        return g.node("Slice", [x.name, shape([start]), shape([start + dims[at]!]), shape([at])]);
      }
      case "reverse":
        return g.node("Slice", [x.name, shape([-1]), shape([-(2 ** 31)]), shape([place(attributes("reverse").axis)]), shape([-1])]);
      case "pad": {
        const { axis, before, after } = attributes("pad");
        const ends = x.type.axes.map((a) => (a.name === axis ? [before, after] : [0, 0]));
        return g.node("Pad", [x.name, shape([...ends.map((e) => e[0]!), ...ends.map((e) => e[1]!)])]);
      }
      case "concat": {
        const { axes } = attributes("concat");
        const at = place(axes[0]!);
        const order = x.type.axes.map((a) => a.name);
        const parts = operands.map((o, i) => this.#ordered(o as Node, order.map((n, k) => (k === at ? axes[i]! : n))));
        return g.node("Concat", parts, { axis: at });
      }
      case "gather": {
        const { axis } = attributes("gather");
        const rows = this.#ordered(x, [axis, ...x.type.axes.map((a) => a.name).filter((n) => n !== axis)]);
        return g.node("Gather", [rows, (operands[1] as Node).name], { axis: 0 });
      }
      case "one_hot": {
        const classes = dims.at(-1)!;
        const index = g.node("Reshape", [x.name, shape([...dims.slice(0, -1), 1])]);
        return g.node("Cast", [g.node("Equal", [index, g.constant("i32", [classes], [...Array(classes).keys()])])], { to: 1 });
      }
      case "argmax":
        return g.node("Cast", [g.node("ArgMax", [x.name], { axis: place(attributes("argmax").axis), keepdims: 0 })], { to: 6 });
      case "cumsum": {
        const { axis, exclusive, reverse } = attributes("cumsum");
        return g.node("CumSum", [x.name, g.constant("i64", [], [place(axis)])], { exclusive: Number(exclusive), reverse: Number(reverse) });
      }
      case "softmax":
        return g.node("Softmax", [x.name], { axis: place(attributes("softmax").axis) });
      case "log_softmax":
        return g.node("LogSoftmax", [x.name], { axis: place(attributes("log_softmax").axis) });
      default:
        throw new Error(`${op.op} is not written in ONNX yet`);
    }
  }

  /** An operand so that its axes are broadcast as their names ask: in the result's order, ones where it lacks an axis before its first. */
  #aligned(x: Node, axes: readonly Axis[]): string {
    const names = x.type.axes.map((a) => a.name);
    const order = axes.map((a) => a.name).filter((n) => names.includes(n));
    const name = this.#ordered(x, order);
    const first = axes.findIndex((a) => names.includes(a.name));
    const there = first < 0 ? [] : axes.slice(first);
    if (there.length === order.length) return name;
    const dims = there.map((a) => (names.includes(a.name) ? this.#dims([a])[0]! : 1));
    return this.#graph.node("Reshape", [name, this.#graph.constant("i64", [dims.length], dims)]);
  }

  #ordered(x: Node, order: readonly string[]): string {
    const perm = order.map((n) => x.type.axes.findIndex((a) => a.name === n));
    return perm.every((p, i) => p === i) ? x.name : this.#graph.node("Transpose", [x.name], { perm });
  }

  #number(given: HostNumber): string {
    if ("known" in given) return this.#graph.constant("f32", [], [given.known]);
    this.#numbers.add(given.input);
    return given.input;
  }

  #draw({ distribution, stream }: OpAttributes["random"], [seed, step, layer]: readonly HostNumber[], dims: readonly number[]): string {
    if (!seed || !step || !layer || !("input" in seed) || !("input" in step)) throw new Error("a draw whose seed or step the host does not give");
    if (!("known" in layer)) throw new Error("a draw in a layer that is not known");
    const input = `draw${this.#draws.length}`;
    this.#graph.input(input, { type: "f32", dims });
    this.#draws.push({ input, dims, distribution, stream: randomStream(stream, layer.known), seed: seed.input, step: step.input });
    return input;
  }

  #dims(axes: readonly Axis[]): number[] {
    return axes.map((a) => evaluateSize(a.size, this.#options.sizes));
  }

  #tensor(type: TensorType): Tensor {
    return { type: dtypes[type.dtype], dims: this.#dims(type.axes) };
  }
}
