import type { Axis, DType, Size, TensorType, Type } from "../../ir/graph.ts";
import { divideSizes, evaluateSize, symbolsOf, type Sizes } from "../../ir/size.ts";
import { isTensor } from "../../ir/types.ts";
import { CodegenError } from "../errors.ts";
import { OnnxGraph, type ElementType, type OnnxType } from "./graph.ts";

/** A tensor of the ONNX graph and what stands for it. */
export interface Node {
  readonly name: string;
  readonly type: TensorType;
}

/** A number of the host: known where a fold's turn is meant, else one that is given to every run. */
export type HostNumber = { readonly known: number } | { readonly given: string };

const dtypes: { readonly [D in DType]: ElementType } = { f32: "f32", i32: "i32", bool: "bool" };

/** What rows write with: nodes of named axes, and sizes that are known when the model runs. */
export class Writer {
  readonly graph = new OnnxGraph();
  readonly #known: Sizes;
  readonly #sources = new Map<string, { readonly input: string; readonly at: number; readonly factor: number }>();
  readonly #lengths = new Map<Size, string>();
  readonly #shapes = new Map<string, string>();
  /** Host numbers that nodes read. */
  readonly numbers = new Set<string>();
  /** Draws that nodes read, by the input's name: one that is read twice is given once. */
  readonly draws = new Map<string, TensorType>();

  /** `known` are sizes that the file fixes. */
  constructor(known: Sizes) {
    this.#known = known;
  }

  /** Learns from an input's type where symbols can be read: alone if possible, else times a number. */
  learn(input: string, type: Type): void {
    if (!isTensor(type)) return;
    type.axes.forEach(({ size }, at) => {
      const [symbol, ...more] = symbolsOf(size);
      if (symbol === undefined || more.length > 0) return;
      const factor = divideSizes(size, symbol);
      if (typeof factor !== "number") return;
      const best = this.#sources.get(symbol);
      if (!best || factor < best.factor) this.#sources.set(symbol, { input, at, factor });
    });
  }

  /** An axis' size: a number where the file fixes all its symbols. */
  size(axis: Axis): Size {
    return symbolsOf(axis.size).every((s) => Object.hasOwn(this.#known, s)) ? evaluateSize(axis.size, this.#known) : axis.size;
  }

  dims(axes: readonly Axis[]): Size[] {
    return axes.map((a) => this.size(a));
  }

  /** The type of a value as ONNX says it. */
  typeOf(type: TensorType): OnnxType {
    return { type: dtypes[type.dtype], dims: this.dims(type.axes) };
  }

  /** Free names for a node of several results. */
  several(count: number): readonly string[] {
    return Array.from({ length: count }, () => this.graph.fresh(this.graph.place.name));
  }

  /** 0, 1, 2 … along an axis. */
  range(axis: Axis, dtype: "f32" | "i32"): string {
    const size = this.size(axis);
    if (typeof size === "number") return this.literal(dtype, [size], [...Array(size).keys()]);
    const g = this.graph;
    return this.cast(g.node("Range", [g.constant("i64", [], [0]), g.node("Squeeze", [this.length(size)]), g.constant("i64", [], [1])]), dtype);
  }

  /** Whole numbers as ONNX's operators take them: int64, one axis. */
  integers(values: readonly number[]): string {
    return this.graph.constant("i64", [values.length], values);
  }

  /** A literal of one of the graph's own types. */
  literal(dtype: DType, dims: readonly number[], values: readonly number[]): string {
    return this.graph.constant(dtypes[dtype], dims, dtype === "bool" ? values.map((v) => Number(v !== 0)) : values);
  }

  /** A size as int64 of one element; computed once, at the first use. */
  length(size: Size): string {
    if (typeof size === "number") return this.integers([size]);
    const known = this.#lengths.get(size);
    if (known !== undefined) return known;
    const name = this.#at(`size/${size}`, () => this.#length(size));
    this.#lengths.set(size, name);
    return name;
  }

  #length(size: string): string {
    const g = this.graph;
    const factors = size.split("*");
    if (factors.length > 1) {
      // "6*position*sample": the last factor, times the rest.
      const rest = factors.slice(0, -1).join("*");
      return g.node("Mul", [this.length(/^\d+$/.test(rest) ? Number(rest) : rest), this.length(factors.at(-1)!)]);
    }
    if (Object.hasOwn(this.#known, size)) return this.integers([this.#known[size]!]);
    const source = this.#sources.get(size);
    if (!source) throw new CodegenError(`no input's shape tells the size "${size}"`);
    const whole = g.node("Shape", [source.input], { start: source.at, end: source.at + 1 });
    return source.factor === 1 ? whole : g.node("Div", [whole, this.integers([source.factor])]);
  }

  /** A shape as int64. */
  shape(dims: readonly Size[]): string {
    if (dims.every((d) => typeof d === "number")) return this.integers(dims);
    const key = dims.join();
    const known = this.#shapes.get(key);
    if (known !== undefined) return known;
    const parts = dims.map((d) => this.length(d));
    const name = parts.length === 1 ? parts[0]! : this.#at(`shape/${dims.join("_")}`, () => this.graph.node("Concat", parts, { axis: 0 }));
    this.#shapes.set(key, name);
    return name;
  }

  /** Row-major elements under other sizes. Sizes that stand where they stood need not be known, and of others one. */
  reshape(x: string, from: readonly Size[], to: readonly Size[]): string {
    if (from.length === to.length && from.every((d, i) => d === to[i])) return x;
    const kept = to.map((d, i) => typeof d !== "number" && d === from[i]);
    const open = to.filter((d, i) => typeof d !== "number" && !kept[i]).length;
    const dims = open > 1 ? this.shape(to) : this.integers(to.map((d, i) => (typeof d === "number" ? d : kept[i] ? 0 : -1)));
    return this.graph.node("Reshape", [x, dims]);
  }

  /** An operand so that its axes are broadcast as their names ask: in the result's order, ones where it lacks an axis after its first. */
  aligned(x: Node, axes: readonly Axis[]): string {
    const names = new Set(x.type.axes.map((a) => a.name));
    const there = axes.filter((a) => names.has(a.name));
    const name = this.ordered(x, there.map((a) => a.name));
    const last = axes.slice(axes.findIndex((a) => names.has(a.name)));
    const missing = names.size === 0 ? [] : last.flatMap((a, i) => (names.has(a.name) ? [] : [i]));
    return missing.length === 0 ? name : this.graph.node("Unsqueeze", [name, this.integers(missing)]);
  }

  /** A tensor in another order of all its axes. */
  ordered(x: Node, order: readonly string[]): string {
    const perm = order.map((n) => place(x, n));
    return perm.every((p, i) => p === i) ? x.name : this.graph.node("Transpose", [x.name], { perm });
  }

  /** A host's number as a scalar. */
  number(given: HostNumber): string {
    if ("known" in given) return this.literal("f32", [], [given.known]);
    this.numbers.add(given.given);
    return given.given;
  }

  /** What the host draws, by the name that says how. */
  drawn(name: string, type: TensorType): string {
    this.draws.set(name, type);
    return name;
  }

  cast(x: string, to: DType): string {
    return this.graph.node("Cast", [x], { to: { f32: 1, i32: 6, bool: 9 }[to] });
  }

  /** Writes something that belongs to no op of the graph. */
  #at(name: string, write: () => string): string {
    const { place } = this.graph;
    this.graph.place = { name, doc: "" };
    const made = write();
    this.graph.place = place;
    return made;
  }
}

/** Where an axis stands in a tensor's layout. */
export function place(x: Node, axis: string): number {
  const at = x.type.axes.findIndex((a) => a.name === axis);
  if (at < 0) throw new CodegenError(`${x.name} has no axis "${axis}"`);
  return at;
}
