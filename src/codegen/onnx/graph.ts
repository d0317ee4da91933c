import type { Size } from "../../ir/graph.ts";
import { Message } from "./protobuf.ts";

/** Element types by the numbers that ONNX gives them (onnx.proto, TensorProto.DataType). */
export const elementTypes = { f32: 1, i32: 6, i64: 7, bool: 9 } as const;
export type ElementType = keyof typeof elementTypes;

/** A tensor's type; a size that is no number is known when the model runs. */
export interface OnnxType {
  readonly type: ElementType;
  readonly dims: readonly Size[];
}

export type Attribute = number | string | readonly number[];

/** Fixed, so that one file means one thing: opset 21 and IR 10 are those of ONNX 1.16, which ONNX Runtime reads since 1.18. */
const opset = 21;
const irVersion = 10;

/** AttributeProto.AttributeType, and the field that the value stands in. */
const attributeTypes = { int: 2, string: 3, ints: 7 } as const;

/** Where what is written comes from. */
export interface Place {
  /** What the names of its values begin with. */
  readonly name: string;
  /** A spec's line. */
  readonly doc: string;
}

/** What a file says of itself. */
export interface About {
  readonly doc: string;
  /** The compiler's version. */
  readonly producer: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A graph of ONNX while it is written: nodes in order, constants, and what goes in and out. */
export class OnnxGraph {
  readonly #nodes: Message[] = [];
  readonly #initializers: Message[] = [];
  readonly #inputs: Message[] = [];
  readonly #outputs: Message[] = [];
  readonly #constants = new Map<string, string>();
  readonly #names = new Map<string, number>();
  /** What is read by a node. */
  readonly used = new Set<string>();
  /** Names and documents what is written next. */
  place: Place = { name: "value", doc: "" };

  /** A free name: "x", then "x_2", "x_3" … No two values of a graph may have one. */
  fresh(base: string): string {
    const n = (this.#names.get(base) ?? 0) + 1;
    this.#names.set(base, n);
    return n === 1 ? base : this.fresh(`${base}_${n}`);
  }

  /** One node of one result, whose name is returned. */
  node(type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.named(this.fresh(this.place.name), type, inputs, attributes);
  }

  /** The same with a result of a given name, which must be free. */
  named(output: string, type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.nodes([output], type, inputs, attributes)[0]!;
  }

  /** A node of several results. */
  nodes<Names extends readonly string[]>(outputs: Names, type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): Names {
    const node = new Message();
    for (const input of inputs) {
      node.bytes(1, input);
      this.used.add(input);
    }
    for (const output of outputs) node.bytes(2, output);
    node.bytes(3, outputs[0]!).bytes(4, type);
    for (const [name, value] of Object.entries(attributes)) node.bytes(5, attribute(name, value));
    if (this.place.doc !== "") node.bytes(6, this.place.doc);
    this.#nodes.push(node);
    return outputs;
  }

  input(name: string, type: OnnxType): void {
    this.#inputs.push(valueInfo(name, type));
  }

  output(name: string, type: OnnxType): void {
    this.#outputs.push(valueInfo(name, type));
  }

  /** A small tensor that is part of the file; equal ones are one. */
  constant(type: ElementType, dims: readonly number[], values: readonly number[]): string {
    const key = `${type} ${dims.join()} ${values.map((v) => (Object.is(v, -0) ? "-0" : v)).join()}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.fresh(`constant/${type}${dims.length === 0 ? `_${values[0]}` : ""}`);
    const tensor = new Message();
    for (const d of dims) tensor.integer(1, d);
    // Raw data are little-endian, as typed arrays are on every machine that Node runs on.
    this.#initializers.push(tensor.integer(2, elementTypes[type]).bytes(8, name).bytes(9, dataOf(type, values)));
    this.#constants.set(key, name);
    return name;
  }

  /** The model's file. */
  finish(name: string, { doc, producer, metadata }: About): Uint8Array {
    const graph = new Message();
    for (const node of this.#nodes) graph.bytes(1, node);
    graph.bytes(2, name);
    for (const each of this.#initializers) graph.bytes(5, each);
    if (doc !== "") graph.bytes(10, doc);
    for (const each of this.#inputs) graph.bytes(11, each);
    for (const each of this.#outputs) graph.bytes(12, each);
    const model = new Message().integer(1, irVersion).bytes(2, "moec").bytes(3, producer).bytes(7, graph).bytes(8, new Message().bytes(1, "").integer(2, opset));
    for (const [key, value] of Object.entries(metadata)) model.bytes(14, new Message().bytes(1, key).bytes(2, value));
    return model.finish();
  }
}

function attribute(name: string, value: Attribute): Message {
  const message = new Message().bytes(1, name);
  if (typeof value === "number") return message.integer(3, value).integer(20, attributeTypes.int);
  if (typeof value === "string") return message.bytes(4, value).integer(20, attributeTypes.string);
  for (const each of value) message.integer(8, each);
  return message.integer(20, attributeTypes.ints);
}

function dataOf(type: ElementType, values: readonly number[]): Uint8Array {
  if (type === "bool") return Uint8Array.from(values);
  const data = type === "f32" ? Float32Array.from(values) : type === "i32" ? Int32Array.from(values) : BigInt64Array.from(values, BigInt);
  return new Uint8Array(data.buffer);
}

function valueInfo(name: string, { type, dims }: OnnxType): Message {
  const shape = new Message();
  for (const d of dims) shape.bytes(1, typeof d === "number" ? new Message().integer(1, d) : new Message().bytes(2, d));
  const tensor = new Message().integer(1, elementTypes[type]).bytes(2, shape);
  return new Message().bytes(1, name).bytes(2, new Message().bytes(1, tensor));
}
