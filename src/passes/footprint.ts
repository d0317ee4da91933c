import type { GraphFunction, OpName, Value } from "../ir/graph.ts";
import type { Sizes } from "../ir/size.ts";
import { type AnyOp, nominalBytes } from "./tools.ts";

/** Operations whose result is what an operand holds, under another type or name: a target makes no second buffer for it. */
const views: ReadonlySet<OpName> = new Set<OpName>(["reshape", "rename", "copy", "stop", "element", "list"]);

/**
 * What the ops of a function make and read, in buffers: how many bytes are alive while they run in any order. A buffer lives
 * from the op that makes it to the last that reads it or a view of it; results of the function to its end, and its params
 * are another's.
 */
export class Footprint {
  /** Bytes of each buffer. */
  readonly bytes: readonly number[];
  /** Buffers that each op makes. */
  readonly makes: readonly (readonly number[])[];
  /** Buffers of the function's own that each op reads, each once. */
  readonly reads: readonly (readonly number[])[];
  /** Bytes beyond the operands and what else is alive that each op needs while it runs, its results included. */
  readonly needs: readonly number[];
  /** Buffers of the function's results: never freed in it. */
  readonly kept: ReadonlySet<number>;

  /** `peaks` has the peak of every function that the ops call. */
  constructor(fn: Pick<GraphFunction, "results">, ops: readonly AnyOp[], peaks: ReadonlyMap<string, number>, sizes: Sizes) {
    const bytes: number[] = [];
    const buffers = new Map<Value, readonly number[]>();
    const of = (v: Value): readonly number[] => buffers.get(v) ?? [];
    this.makes = ops.map((op) => {
      if (views.has(op.op)) {
        buffers.set(op.results[0]!, op.operands.length === 1 ? of(op.operands[0]!) : [...new Set(op.operands.flatMap(of))]);
        return [];
      }
      return op.results.flatMap((v) => {
        const size = nominalBytes(v.type, sizes);
        if (size === 0) return [];
        buffers.set(v, [bytes.push(size) - 1]);
        return [bytes.length - 1];
      });
    });
    this.reads = ops.map((op) => [...new Set(op.operands.flatMap(of))]);
    this.bytes = bytes;
    this.kept = new Set(fn.results.flatMap(of));
    this.needs = ops.map((op, i) => {
      const made = this.total(this.makes[i]!);
      const called = op.op === "call" || op.op === "fold" ? (peaks.get(op.attributes.fn) ?? 0) : 0;
      // A fold's lists grow while its function runs once more; a call's results are what the function made.
      return op.op === "fold" ? made + called : Math.max(made, called);
    });
  }

  /** Bytes of several buffers. */
  total(buffers: readonly number[]): number {
    return buffers.reduce((n, b) => n + this.bytes[b]!, 0);
  }

  /** The most bytes alive at once when the ops run in this order (places in `ops`). */
  peakOf(order: readonly number[]): number {
    const readers = new Int32Array(this.bytes.length);
    for (const reads of this.reads) for (const b of reads) readers[b]!++;
    let alive = 0;
    let peak = 0;
    for (const i of order) {
      peak = Math.max(peak, alive + this.needs[i]!);
      for (const b of this.makes[i]!) if (this.kept.has(b) || readers[b]! > 0) alive += this.bytes[b]!;
      for (const b of this.reads[i]!) if (--readers[b]! === 0 && !this.kept.has(b)) alive -= this.bytes[b]!;
    }
    return peak;
  }
}
