import { bytesOf } from "../ir/cost.ts";
import type { Entry, Module, Op, OpAttributes, Type, Value } from "../ir/graph.ts";
import type { Sizes } from "../ir/size.ts";
import { ancestors, makers } from "../passes/index.ts";

/** Bytes that a training step's forward half makes and its backward half reads, parameters and inputs not counted. */
export interface KeptBytes {
  /** Inside layers: what every turn of a fold keeps, all turns together. */
  readonly layers: number;
  /** Outside layers: embeddings, attention masks, the head. */
  readonly outside: number;
}

/** Operations whose result is their operand's bytes under another type: a target makes no second buffer for it. */
const views: ReadonlySet<string> = new Set(["reshape", "rename", "copy"]);

/**
 * What an entry keeps for its backward half, read off the graph after all passes: forward is what the entry's outputs
 * depend on, backward is the rest, and kept is what the second reads of the first. A value kept under two types counts
 * once. Lists of a fold count with all their elements.
 */
export function keptForBackward(module: Module, entry: Entry, sizes: Sizes): KeptBytes {
  const fn = module.functions.get(entry.fn)!;
  const maker = makers(fn.body);
  const forward: ReadonlySet<Op> = ancestors(
    fn.results.filter((_, i) => entry.results[i]?.kind === "output"),
    maker,
  );
  const kept = new Set<Value>();
  for (const op of fn.body) {
    if (forward.has(op) || op.op === "release") continue;
    for (const v of op.operands) {
      const made = maker.get(v);
      if (made && forward.has(made)) kept.add(v);
    }
  }
  let layers = 0;
  let outside = 0;
  const counted = new Set<Value>();
  const byFold = new Map<Op, Value[]>();
  for (const v of kept) {
    const made = maker.get(v)!;
    if (made.op === "fold" && v.type.kind === "list") byFold.set(made, [...(byFold.get(made) ?? []), v]);
    else {
      const root = rootOf(v, maker);
      if (!maker.has(root) || counted.has(root)) continue;
      counted.add(root);
      outside += bytesOf(root.type, sizes);
    }
  }
  for (const [op, values] of byFold) layers += keptByFold(module, op, values, sizes);
  return { layers, outside };
}

/** A fold's kept lists; two results of a turn that are one buffer count once, a view of what comes from outside not at all. */
function keptByFold(module: Module, op: Op, values: readonly Value[], sizes: Sizes): number {
  const { fn: name, count, carried, index } = op.attributes as OpAttributes["fold"];
  const fn = module.functions.get(name)!;
  const maker = makers(fn.body);
  const first = index ? 1 : 0;
  const given = new Set([...fn.params.slice(0, first), ...fn.params.slice(first + carried)]);
  const counted = new Set<Value>();
  let bytes = 0;
  for (const v of values) {
    const root = rootOf(fn.results[op.results.indexOf(v)]!, maker);
    if (given.has(root) || counted.has(root)) continue;
    counted.add(root);
    bytes += count * bytesOf(root.type, sizes);
  }
  return bytes;
}

/** The value whose buffer `v` is. */
function rootOf(v: Value, maker: ReadonlyMap<Value, Op>): Value {
  let at = v;
  for (let op = maker.get(at); op && views.has(op.op); op = maker.get(at)) at = op.operands[0]!;
  return at;
}

/** Elements of a type whose sizes are numbers. */
export function elementsIn(type: Type): number {
  if (type.kind === "number") return 0;
  if (type.kind === "list") return type.count * elementsIn(type.of);
  return type.axes.reduce((n, a) => n * (typeof a.size === "number" ? a.size : 1), 1);
}
