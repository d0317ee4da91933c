import { Builder } from "../ir/builder.ts";
import type { Axis, GraphFunction, Module, OpName, Value } from "../ir/graph.ts";
import { elementwise } from "../ir/ops/elementwise.ts";
import { equalSizes, multiplySizes } from "../ir/size.ts";
import { isTensor } from "../ir/types.ts";
import { type AnyOp, axesOf, calleesFirst, cloneParams, mapped, namesOf, opsOf, sameNames, withFunctions } from "./tools.ts";

/** Ops that work on each row alone, where rows are all axes but those that the attributes name. */
const byRow: ReadonlySet<string> = new Set<string>([...Object.keys(elementwise), "softmax", "log_softmax", "is_top", "sum", "mean", "reduce_max", "slice", "pad", "concat"]);

/**
 * Rows stay merged from product to product. The layout gives each product matrices and splits its rows into their axes
 * again, [sample.position, out] to [sample, position, out]. Where all operands of an op are such splits, the op runs on
 * the merged rows and its result is split instead: what meets the next product's merge is then nothing. Each reshape
 * that goes away is a call less; on native backends a call costs as much as a small product.
 *
 * To run after the layout. `simplify` removes what has become of the reshapes.
 */
export function mergeRows(module: Module): Module {
  const functions = new Map<string, GraphFunction>();
  for (const fn of calleesFirst(module.functions)) functions.set(fn.name, merged(fn, functions));
  return withFunctions(module, functions);
}

function merged(fn: GraphFunction, functions: ReadonlyMap<string, GraphFunction>): GraphFunction {
  const b = new Builder(fn.name, functions, fn.doc);
  const map = new Map<Value, Value>();
  cloneParams(b, fn, map);
  const views = new Views(b);
  for (const op of opsOf(fn)) {
    b.at(op.origin, () => {
      const operands = op.operands.map((v) => mapped(map, v));
      const results = views.rewritten(op, operands) ?? b.op(op.op, operands, op.attributes as never, op.results.map((v) => v.name));
      op.results.forEach((v, i) => map.set(v, results[i]!));
      if (op.op === "reshape") views.made(operands[0]!, results[0]!);
    });
  }
  return b.finish(fn.results.map((v) => mapped(map, v)));
}

/** The reshapes of a function so far. */
class Views {
  readonly #b: Builder;
  /** What a reshape was made from. */
  readonly #source = new Map<Value, Value>();
  /** The reshapes of a value. */
  readonly #of = new Map<Value, Value[]>();

  constructor(b: Builder) {
    this.#b = b;
  }

  made(from: Value, to: Value): void {
    const source = this.#source.get(from) ?? from;
    this.#source.set(to, source);
    this.#of.set(source, [...(this.#of.get(source) ?? []), to]);
  }

  /** The op on merged rows, and its result split; undefined where an operand would have to be merged for it. */
  rewritten(op: AnyOp, operands: readonly Value[]): readonly Value[] | undefined {
    const result = op.results[0];
    if (!byRow.has(op.op) || op.results.length !== 1 || !result || !isTensor(result.type) || !operands.every((v) => isTensor(v.type))) return undefined;
    for (const v of operands) {
      const source = this.#source.get(v);
      const row = source && axesOf(source)[0];
      const rows = row && prefix(axesOf(v), row);
      if (!row || !rows || !this.#fits(op, rows)) continue;
      const names = rows.map((a) => a.name);
      const parts = operands.map((x) => (namesOf(x).some((n) => names.includes(n)) ? this.#merged(x, row, rows) : x));
      if (parts.some((x) => x === undefined)) continue;
      const made = this.#b.one(op.op as OpName, parts as readonly Value[], op.attributes as never);
      const rest = axesOf(result).slice(rows.length);
      // Orders must be as they were: a broadcast may have put other axes first.
      if (!sameNames(namesOf(made), [row.name, ...rest.map((a) => a.name)])) continue;
      const split = this.#b.reshape(made, axesOf(result));
      if (result.name) this.#b.named(result.name, split);
      this.made(made, split);
      return [split];
    }
    return undefined;
  }

  /** Whether the result has these axes first, and the op works along none of them. */
  #fits(op: AnyOp, rows: readonly Axis[]): boolean {
    const names = rows.map((a) => a.name);
    if (!sameNames(namesOf(op.results[0]!).slice(0, rows.length), names)) return false;
    const a = op.attributes as { readonly axis?: string; readonly axes?: readonly string[] };
    return ![...(a.axis === undefined ? [] : [a.axis]), ...(a.axes ?? [])].some((n) => names.includes(n));
  }

  /** A value with its first axes merged, where that is at hand or one reshape of what it was split from. */
  #merged(v: Value, row: Axis, rows: readonly Axis[]): Value | undefined {
    if (!sameNames(namesOf(v).slice(0, rows.length), rows.map((a) => a.name))) return undefined;
    const axes = [row, ...axesOf(v).slice(rows.length)];
    const source = this.#source.get(v) ?? v;
    const known = [source, ...(this.#of.get(source) ?? [])].find((x) => same(axesOf(x), axes));
    if (known) return known;
    const first = axesOf(source)[0];
    if (first?.name !== row.name || !equalSizes(first.size, row.size)) return undefined;
    const made = this.#b.reshape(source, axes);
    this.made(source, made);
    return made;
  }
}

/** The first axes that hold as many elements as one; at least two. */
function prefix(axes: readonly Axis[], row: Axis): readonly Axis[] | undefined {
  for (let k = 2; k <= axes.length; k++) if (equalSizes(multiplySizes(...axes.slice(0, k).map((a) => a.size)), row.size)) return axes.slice(0, k);
  return undefined;
}

function same(a: readonly Axis[], b: readonly Axis[]): boolean {
  return a.length === b.length && a.every((x, i) => x.name === b[i]!.name && equalSizes(x.size, b[i]!.size));
}
