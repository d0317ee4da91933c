import { onnxEntries, portName, resultName, type OnnxEntry, type Port } from "../../formats/onnx.ts";
import { bindingName, type Entry, type ListType, type Module, type Op, type OpAttributes, type OpName, type TensorType, type Value } from "../../ir/graph.ts";
import type { Sizes } from "../../ir/size.ts";
import { CodegenError } from "../errors.ts";
import { paramStores, storeOf } from "../stores.ts";
import type { Compiled } from "../tfjs/index.ts";
import type { About } from "./graph.ts";
import { rows, type Operands, type Row, type StructureOp } from "./rows.ts";
import { place, Writer, type HostNumber, type Node } from "./writer.ts";

export interface OnnxOptions {
  /** Sizes that the file fixes; others ("sample", "position") are those of each run's inputs. */
  readonly sizes?: Sizes;
}

/** The entries that a module has, in the order of `onnxEntries`. */
export function onnxEntriesOf({ entries }: Module): readonly OnnxEntry[] {
  return onnxEntries.filter((name) => entries.has(name));
}

/**
 * An entry after all passes as the file of an ONNX model (opset 21) of ONNX's own operators. All weights are inputs: the file holds the
 * graph and its constants alone. Inputs and outputs bear the names of `formats/onnx.ts`. Folds and calls are written out,
 * so that layers are seen as layers. Throws CodegenError where a graph is not what the layout pass leaves.
 */
export function printOnnx({ module, manifest, doc }: Compiled, entryName: OnnxEntry, options: OnnxOptions = {}): Uint8Array {
  const entry = module.entries.get(entryName);
  if (!entry) throw new CodegenError(`the module has no entry "${entryName}"`);
  const printer = new Printer(module, options.sizes ?? {});
  printer.write(entry.fn, inputPorts(module, entry, entryName), resultPorts(entry));
  return printer.finish(`${manifest.adapter}.${entryName}`, {
    doc: doc ?? "",
    producer: manifest.moec,
    metadata: {
      "moec.adapter": manifest.adapter,
      "moec.entry": entryName,
      "moec.spec": manifest.spec.file,
      "moec.sha256": manifest.spec.sha256,
    },
  });
}

/** What a function's params and results are called. */
export interface OnnxNames {
  readonly params: readonly string[];
  readonly results: readonly string[];
}

/** A function alone, its params and results named `host/NAME` and so on by the caller: for tests and tools. */
export function printOnnxFunction(module: Module, fn: string, names: OnnxNames, options: OnnxOptions = {}): Uint8Array {
  const printer = new Printer(module, options.sizes ?? {});
  const layered = (name: string) => (layer: number | undefined) => (layer === undefined ? name : `${name}/${layer}`);
  printer.write(fn, names.params.map(layered), names.results.map(layered));
  return printer.finish(fn, { doc: module.functions.get(fn)?.doc ?? "", producer: "", metadata: {} });
}

/** The name of a param or result, or of its tensor of a layer. */
type Naming = (layer: number | undefined) => string;

function inputPorts(module: Module, entry: Entry, entryName: OnnxEntry): readonly Naming[] {
  const { params } = module.functions.get(entry.fn)!;
  const stores = paramStores(entryName, entry);
  return entry.params.map((binding, i) => {
    const name = bindingName(binding);
    if (binding.kind === "input") {
      const port: Port = { kind: params[i]!.type.kind === "number" ? "host" : "input", name };
      return () => portName(port);
    }
    const store = stores[i]!;
    return (layer) => portName({ kind: "store", store, name, ...(layer === undefined ? {} : { layer }) });
  });
}

function resultPorts(entry: Entry): readonly Naming[] {
  return entry.results.map((binding) => {
    if (binding.kind === "input") throw new CodegenError("an entry returns an input");
    const name = bindingName(binding);
    return (layer) => {
      if (binding.kind === "output") return resultName({ kind: "output", name });
      return resultName({ kind: "store", store: storeOf[binding.kind], name, ...(layer === undefined ? {} : { layer }) });
    };
  });
}

type RowOp = Exclude<OpName, StructureOp>;

type Given = Node | readonly Node[] | HostNumber;

const isNode = (given: Given): given is Node => "name" in given;

class Printer {
  readonly #module: Module;
  readonly #writer: Writer;
  /** The turns of the folds that are being written, outermost first. */
  readonly #turns: number[] = [];

  constructor(module: Module, sizes: Sizes) {
    this.#module = module;
    this.#writer = new Writer(sizes);
  }

  write(name: string, params: readonly Naming[], results: readonly Naming[]): void {
    const w = this.#writer;
    const { graph } = w;
    const fn = this.#function(name);
    const inputs: Node[] = [];
    // Before any value takes them: these names are what the model is called by.
    const reserve = (name: string): string => {
      if (graph.fresh(name) !== name) throw new CodegenError(`two inputs or outputs are called ${name}`);
      return name;
    };
    const tensor = (input: string, type: TensorType): Node => {
      const node = { name: reserve(input), type };
      w.learn(input, type);
      inputs.push(node);
      return node;
    };
    fn.results.forEach(({ type }, i) => {
      if (type.kind === "list") for (let layer = 0; layer < type.count; layer++) reserve(results[i]!(layer));
      else reserve(results[i]!(undefined));
    });
    const args = fn.params.map(({ type }, i): Given => {
      if (type.kind === "number") return { given: reserve(params[i]!(undefined)) };
      if (type.kind === "tensor") return tensor(params[i]!(undefined), type);
      return Array.from({ length: type.count }, (_, layer) => tensor(params[i]!(layer), type.of));
    });
    for (const [i, result] of this.#call(name, args).entries()) {
      const give = (node: Node, layer?: number): void => {
        const output = results[i]!(layer);
        graph.place = { name: output, doc: "" };
        graph.output(graph.named(output, "Identity", [node.name]), w.typeOf(node.type));
      };
      if (Array.isArray(result)) (result as readonly Node[]).forEach(give);
      else give(result as Node);
    }
    // What nothing reads is no input: an entry may be given weights that it does not look at.
    for (const { name: input, type } of inputs) if (graph.used.has(input)) graph.input(input, w.typeOf(type));
    for (const number of w.numbers) graph.input(number, { type: "f32", dims: [] });
    for (const [draw, type] of w.draws) graph.input(draw, w.typeOf(type));
  }

  finish(name: string, about: About): Uint8Array {
    return this.#writer.graph.finish(name, about);
  }

  #function(name: string): NonNullable<ReturnType<Module["functions"]["get"]>> {
    const fn = this.#module.functions.get(name);
    if (!fn) throw new CodegenError(`there is no function @${name}`);
    return fn;
  }

  #call(name: string, args: readonly Given[]): readonly Given[] {
    const fn = this.#function(name);
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
      case "pack":
        return [this.#pack(op as Op<"pack">, operands[0] as readonly Node[])];
      case "unpack":
        return [this.#unpack(op as Op<"unpack">, operands[0] as Node)];
      case "copy":
        return [operands[0]!];
      case "fold":
        return this.#fold(op.attributes as OpAttributes["fold"], operands);
      default:
        return this.#nodes(op as Op<RowOp>, operands);
    }
  }

  #pack(op: Op<"pack">, parts: readonly Node[]): Node {
    const w = this.#writer;
    this.#begin(op);
    const rows = parts.map((part) => w.graph.node("Unsqueeze", [part.name, w.integers([0])]));
    return { name: w.graph.node("Concat", rows, { axis: 0 }), type: op.results[0]!.type as TensorType };
  }

  #unpack(op: Op<"unpack">, x: Node): readonly Node[] {
    const { graph } = this.#writer;
    const type = op.results[0]!.type as ListType;
    this.#begin(op);
    const axis = place(x, op.attributes.axis);
    const axes = this.#writer.integers([axis]);
    return graph.nodes(this.#writer.several(type.count), "Split", [x.name], { axis, num_outputs: type.count }).map((part) => ({ name: graph.node("Squeeze", [part, axes]), type: type.of }));
  }

  /** Names and documents what an op writes. */
  #begin(op: Op): void {
    this.#writer.graph.place = { name: this.#path(op, op.results[0]!.name), doc: op.origin ? `${op.origin.file}:${op.origin.line}` : "" };
  }

  #nodes<K extends RowOp>(op: Op<K>, operands: readonly Given[]): readonly Node[] {
    const w = this.#writer;
    const types = op.results.map(({ type }): TensorType => {
      if (type.kind !== "tensor") throw new CodegenError(`${op.op} makes no tensor`);
      return type;
    });
    this.#begin(op);
    const given: Operands = { tensors: operands.filter(isNode), numbers: operands.filter((o): o is HostNumber => !isNode(o) && !Array.isArray(o)) };
    const made = (rows[op.op] as Row<K>)(w, op, given, types[0]!);
    return (typeof made === "string" ? [made] : made).map((name, i) => ({ name, type: types[i]! }));
  }

  /** "layers.3.mlp.gate_proj/gates": the path of what the op is part of, with the layer in it, and the value's name. */
  #path(op: Op, name: string): string {
    const [first, ...rest] = op.origin?.path ?? [];
    const path = first === undefined ? this.#turns : [first, ...this.#turns, ...rest];
    return [...(path.length === 0 ? [] : [path.join(".")]), name || op.op].join("/");
  }

  #fold({ fn, count, carried, shared, summed, index, reverse }: OpAttributes["fold"], operands: readonly Given[]): readonly Given[] {
    const { graph } = this.#writer;
    let state = operands.slice(0, carried);
    const always = operands.slice(carried, carried + shared);
    const lists = operands.slice(carried + shared) as readonly (readonly Node[])[];
    let totals: readonly Node[] = [];
    const made: Node[][] = [];
    for (let turn = 0; turn < count; turn++) {
      const at = reverse ? count - 1 - turn : turn;
      this.#turns.push(at);
      const results = this.#call(fn, [...(index ? [{ known: at }] : []), ...state, ...always, ...lists.map((l) => l[at]!)]);
      state = results.slice(0, carried);
      const terms = results.slice(carried, carried + summed) as readonly Node[];
      graph.place = { name: `${fn}/total`, doc: "" };
      totals = turn === 0 ? terms : totals.map((t, i) => ({ name: graph.node("Add", [t.name, terms[i]!.name]), type: t.type }));
      results.slice(carried + summed).forEach((r, i) => ((made[i] ??= [])[at] = r as Node));
      this.#turns.pop();
    }
    return [...state, ...totals, ...made];
  }
}
