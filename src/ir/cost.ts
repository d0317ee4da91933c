import { GraphError } from "./errors.ts";
import type { Module, Op, Type } from "./graph.ts";
import { type Cost, type CostContext, rowOf } from "./ops/index.ts";
import { type Sizes, evaluateSize } from "./size.ts";

export type { Cost } from "./ops/index.ts";

/** Bytes of one element on a device: bool takes one, f32 and i32 four. */
export function bytesOf(type: Type, sizes: Sizes): number {
  if (type.kind === "number") return 0;
  if (type.kind === "list") return type.count * bytesOf(type.of, sizes);
  return elements(type, sizes) * (type.dtype === "bool" ? 1 : 4);
}

function elements(type: Type, sizes: Sizes): number {
  if (type.kind === "number") return 0;
  if (type.kind === "list") return type.count * elements(type.of, sizes);
  return type.axes.reduce((n, a) => n * evaluateSize(a.size, sizes), 1);
}

/** Costs of a module's functions when its symbols have the given sizes; each function is counted once and remembered. */
export class Costs {
  readonly #module: Pick<Module, "functions">;
  readonly #sizes: Sizes;
  readonly #known = new Map<string, Cost>();
  readonly #open = new Set<string>();

  constructor(module: Pick<Module, "functions">, sizes: Sizes) {
    this.#module = module;
    this.#sizes = sizes;
  }

  /** Kernels that a target starts for one op, callees not counted. */
  kernels(op: Op): number {
    const row = rowOf(op.op);
    return row.kernels ? row.kernels(this.#context(op), op.attributes) : 1;
  }

  /** One op, callees included. Bytes: operands read once, results written once, where the row does not know better. */
  op(op: Op): Cost {
    const context = this.#context(op);
    const row = rowOf(op.op);
    const moved = [...op.operands, ...op.results].reduce((n, v) => n + bytesOf(v.type, this.#sizes), 0);
    return { flops: row.flops(context, op.attributes), bytes: row.bytes ? row.bytes(context, op.attributes) : moved };
  }

  #context(op: Op): CostContext {
    const types = op.operands.map((v) => v.type);
    return {
      operands: types.map((t) => elements(t, this.#sizes)),
      results: op.results.map((v) => elements(v.type, this.#sizes)),
      types,
      size: (size) => evaluateSize(size, this.#sizes),
      fn: (name) => this.fn(name),
    };
  }

  /** A function's whole body. */
  fn(name: string): Cost {
    const known = this.#known.get(name);
    if (known) return known;
    const fn = this.#module.functions.get(name);
    if (!fn) throw new GraphError(`there is no function @${name}`);
    if (this.#open.has(name)) throw new GraphError(`@${name} calls itself`, "C-functions");
    this.#open.add(name);
    let flops = 0;
    let bytes = 0;
    for (const op of fn.body) {
      const cost = this.op(op);
      flops += cost.flops;
      bytes += cost.bytes;
    }
    this.#open.delete(name);
    const total = { flops, bytes };
    this.#known.set(name, total);
    return total;
  }
}
