import { Message } from "./protobuf.ts";

/** Element types by the numbers that ONNX gives them (onnx.proto, TensorProto.DataType). */
export const elementTypes = { f32: 1, i32: 6, i64: 7, bool: 9 } as const;
export type ElementType = keyof typeof elementTypes;

export interface Tensor {
  readonly type: ElementType;
  readonly dims: readonly number[];
}

export type Attribute = number | readonly number[];

const opset = 21;
const irVersion = 10;

/** A graph of ONNX while it is written: nodes in order, constants, and what goes in and out. All shapes are numbers. */
export class Graph {
  readonly #nodes: Message[] = [];
  readonly #initializers: Message[] = [];
  readonly #inputs: Message[] = [];
  readonly #outputs: Message[] = [];
  readonly #constants = new Map<string, string>();
  readonly counts = new Map<string, number>();
  #names = 0;

  fresh(): string {
    return `v${this.#names++}`;
  }

  /** One node of one result, whose name is returned. */
  node(type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}, output = this.fresh()): string {
    const node = new Message();
    for (const input of inputs) node.bytes(1, input);
    node.bytes(2, output).bytes(3, `n${this.#nodes.length}`).bytes(4, type);
    for (const [name, value] of Object.entries(attributes)) {
      const attribute = new Message().bytes(1, name);
      if (typeof value === "number") attribute.integer(3, value);
      else for (const each of value) attribute.integer(8, each);
      node.bytes(5, attribute.integer(20, typeof value === "number" ? 2 : 7));
    }
    this.#nodes.push(node);
    this.counts.set(type, (this.counts.get(type) ?? 0) + 1);
    return output;
  }

  input(name: string, tensor: Tensor): void {
    this.#inputs.push(valueInfo(name, tensor));
  }

  output(name: string, tensor: Tensor): void {
    this.#outputs.push(valueInfo(name, tensor));
  }

  /** A tensor that is part of the file: little-endian bytes, as in every typed array of the machines that Node runs on. */
  initializer(name: string, { type, dims }: Tensor, data: ArrayBufferView): void {
    const tensor = new Message();
    for (const d of dims) tensor.integer(1, d);
    this.#initializers.push(tensor.integer(2, elementTypes[type]).bytes(8, name).bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));
  }

  /** A small tensor; equal ones are one. */
  constant(type: ElementType, dims: readonly number[], values: readonly number[]): string {
    const key = `${type} ${dims.join()} ${values.map((v) => (Object.is(v, -0) ? "-0" : v)).join()}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.fresh();
    const data = type === "f32" ? Float32Array.from(values) : type === "i32" ? Int32Array.from(values) : type === "i64" ? BigInt64Array.from(values, BigInt) : Uint8Array.from(values);
    this.initializer(name, { type, dims }, data);
    this.#constants.set(key, name);
    return name;
  }

  /** The model's file. */
  finish(name: string): Uint8Array {
    const graph = new Message();
    for (const node of this.#nodes) graph.bytes(1, node);
    graph.bytes(2, name);
    for (const each of this.#initializers) graph.bytes(5, each);
    for (const each of this.#inputs) graph.bytes(11, each);
    for (const each of this.#outputs) graph.bytes(12, each);
    return new Message().integer(1, irVersion).bytes(2, "moec").bytes(7, graph).bytes(8, new Message().bytes(1, "").integer(2, opset)).finish();
  }
}

function valueInfo(name: string, { type, dims }: Tensor): Message {
  const shape = new Message();
  for (const d of dims) shape.bytes(1, new Message().integer(1, d));
  const tensor = new Message().integer(1, elementTypes[type]).bytes(2, shape);
  return new Message().bytes(1, name).bytes(2, new Message().bytes(1, tensor));
}
