import { Builder } from "../ir/builder.ts";
import type { GraphFunction, Module, Value } from "../ir/graph.ts";
import type { Sizes } from "../ir/size.ts";
import { Footprint } from "./footprint.ts";
import { calleesFirst, cloneOp, cloneParams, mapped, opsOf, withFunctions } from "./tools.ts";

/** What a function holds at its fullest moment. */
export interface ReleaseReport {
  readonly fn: string;
  /** Bytes of buffers made in the function or by what it calls (`Footprint`), params and results of others not counted. */
  readonly peakBytes: number;
  /** Values that are released in it. */
  readonly released: number;
}

export interface Released {
  readonly module: Module;
  readonly report: readonly ReleaseReport[];
}

/**
 * Places `release` right after the last use of every tensor and list that a function makes and does not return. Every
 * result of every op counts as a handle of its own (`list`, `element`, `copy`, `reshape` included), so a target that
 * hands out one buffer twice must count references, as TensorFlow.js does.
 *
 * A function returns what it made, once (C-results): `copy` where a result is a param or stands twice.
 */
export function release(module: Module, sizes: Sizes = {}): Released {
  const functions = new Map<string, GraphFunction>(module.functions);
  const peaks = new Map<string, number>();
  const report: ReleaseReport[] = [];
  for (const fn of calleesFirst(module.functions)) {
    const made = place(fn, functions);
    functions.set(fn.name, made);
    const ops = opsOf(fn).filter((op) => op.op !== "release");
    const peakBytes = new Footprint(fn, ops, peaks, sizes).peakOf([...ops.keys()]);
    peaks.set(fn.name, peakBytes);
    report.push({ fn: fn.name, peakBytes, released: opsOf(made).reduce((n, op) => n + (op.op === "release" ? op.operands.length : 0), 0) });
  }
  return { module: withFunctions(module, functions), report };
}

function place(fn: GraphFunction, functions: ReadonlyMap<string, GraphFunction>): GraphFunction {
  const last = new Map<Value, number>();
  const body = opsOf(fn).filter((op) => op.op !== "release");
  body.forEach((op, at) => {
    for (const v of op.results) if (v.type.kind !== "number") last.set(v, at);
    for (const v of op.operands) if (last.has(v)) last.set(v, at);
  });
  for (const v of fn.results) last.delete(v);
  const ends = new Map<number, Value[]>();
  for (const [v, at] of last) ends.set(at, [...(ends.get(at) ?? []), v]);
  const b = new Builder(fn.name, functions, fn.doc);
  const map = new Map<Value, Value>();
  cloneParams(b, fn, map);
  body.forEach((op, at) => {
    cloneOp(b, op, map);
    const over = ends.get(at);
    if (over) b.at(op.origin, () => b.release(over.map((v) => mapped(map, v))));
  });
  return b.finish(fn.results.map((v) => mapped(map, v)));
}
