import { Builder } from "../ir/builder.ts";
import type { GraphFunction, Module, Value } from "../ir/graph.ts";
import type { Sizes } from "../ir/size.ts";
import { Footprint } from "./footprint.ts";
import { type AnyOp, calleesFirst, cloneOp, cloneParams, makers, mapped, opsOf, withFunctions } from "./tools.ts";

/** What an order of ops saves. */
export interface ScheduleReport {
  readonly fn: string;
  /** The most bytes held at once in the order of the text, and in the order chosen, by `Footprint`'s count. */
  readonly before: number;
  readonly after: number;
}

export interface Scheduled {
  readonly module: Module;
  readonly report: readonly ScheduleReport[];
}

/**
 * Puts the ops of every function into an order in which few bytes are alive at once. To find the best order is NP-hard, so
 * several that are good for different reasons are made, as XLA does it, and the one with the lowest peak is taken; the
 * order there was, unless another is better. Each takes O(n log n), and none depends on anything but the graph.
 *
 * Any order that makes values before their use computes the same: ops have no effects, and random draws are functions of
 * what they are given.
 */
export function schedule(module: Module, sizes: Sizes = {}): Scheduled {
  const functions = new Map<string, GraphFunction>(module.functions);
  const [before, after] = [new Map<string, number>(), new Map<string, number>()];
  const report: ScheduleReport[] = [];
  for (const fn of calleesFirst(module.functions)) {
    const ops = opsOf(fn);
    const given = [...ops.keys()];
    before.set(fn.name, new Footprint(fn, ops, before, sizes).peakOf(given));
    const footprint = new Footprint(fn, ops, after, sizes);
    const graph = new Dependences(fn, ops);
    let [best, peak] = [given, footprint.peakOf(given)];
    for (const order of [fromTheEnd(graph, footprint), fromTheStart(graph, footprint), depthFirst(graph, footprint)]) {
      const its = footprint.peakOf(order);
      if (its < peak) [best, peak] = [order, its];
    }
    after.set(fn.name, peak);
    functions.set(fn.name, best === given ? fn : inOrder(fn, best, functions));
    report.push({ fn: fn.name, before: before.get(fn.name)!, after: peak });
  }
  return { module: withFunctions(module, functions), report };
}

function inOrder(fn: GraphFunction, order: readonly number[], functions: ReadonlyMap<string, GraphFunction>): GraphFunction {
  const b = new Builder(fn.name, functions, fn.doc);
  const map = new Map<Value, Value>();
  cloneParams(b, fn, map);
  for (const i of order) cloneOp(b, fn.body[i]!, map);
  return b.finish(fn.results.map((v) => mapped(map, v)));
}

/** Which op reads what which other makes, by their places. */
class Dependences {
  readonly before: readonly (readonly number[])[];
  readonly after: readonly (readonly number[])[];
  /** The ops that make the function's results, each once. */
  readonly roots: readonly number[];

  constructor(fn: GraphFunction, ops: readonly AnyOp[]) {
    const places = new Map(ops.map((op, i) => [op, i]));
    const made = makers(ops);
    const placesOf = (values: readonly Value[]): number[] => [...new Set(values.flatMap((v) => places.get(made.get(v)!) ?? []))];
    const after: number[][] = ops.map(() => []);
    this.before = ops.map((op) => placesOf(op.operands));
    this.before.forEach((list, i) => list.forEach((j) => after[j]!.push(i)));
    this.after = after;
    this.roots = placesOf(fn.results);
  }
}

/**
 * The last op first, and before it, of all ops whose results are no longer asked for, the one that leaves least alive above
 * it: the bytes of operands that nothing later reads, less those it makes. So what is cheap to make is made late, right
 * before its use, and gradients' operands are used up at once.
 */
function fromTheEnd(graph: Dependences, footprint: Footprint): number[] {
  const alive = new Uint8Array(footprint.bytes.length);
  for (const b of footprint.kept) alive[b] = 1;
  const cost = (i: number): number => footprint.total(footprint.reads[i]!.filter((b) => !alive[b])) - footprint.total(footprint.makes[i]!);
  return greedy(graph.after, graph.before, cost, readersOf(footprint), (i) => footprint.reads[i]!.filter((b) => !alive[b] && (alive[b] = 1)), -1).reverse();
}

/**
 * The first op first, and after it, of all that can run, the one that adds least to what is alive: the bytes it makes, less
 * those of operands that it reads last.
 */
function fromTheStart(graph: Dependences, footprint: Footprint): number[] {
  const left = footprint.bytes.map(() => 0);
  for (const reads of footprint.reads) for (const b of reads) left[b]!++;
  const cost = (i: number): number => footprint.total(footprint.makes[i]!) - footprint.total(footprint.reads[i]!.filter((b) => left[b] === 1 && !footprint.kept.has(b)));
  return greedy(graph.before, graph.after, cost, readersOf(footprint), (i) => footprint.reads[i]!.filter((b) => --left[b]! === 1), 1);
}

/** The ops that read each buffer. */
function readersOf(footprint: Footprint): readonly (readonly number[])[] {
  const readers: number[][] = footprint.bytes.map(() => []);
  footprint.reads.forEach((reads, i) => reads.forEach((b) => readers[b]!.push(i)));
  return readers;
}

/**
 * An order in which each op comes after all of `needs`, at each step the cheapest of those that can come. `take` places an op
 * and tells of which buffers the readers' costs have changed by that. Of equal ones the first comes, or with `way` -1 the last.
 */
function greedy(
  needs: readonly (readonly number[])[],
  freed: readonly (readonly number[])[],
  cost: (i: number) => number,
  readers: readonly (readonly number[])[],
  take: (i: number) => readonly number[],
  way: 1 | -1,
): number[] {
  const waiting = needs.map((list) => list.length);
  const costs = new Float64Array(needs.length).fill(Number.NaN);
  const done = new Uint8Array(needs.length);
  const heap = new Heap();
  const offer = (i: number): void => {
    const now = cost(i);
    if (costs[i] === now) return;
    costs[i] = now;
    heap.push(now, way * i, i);
  };
  needs.forEach((list, i) => list.length === 0 && offer(i));
  const order: number[] = [];
  for (let top = heap.pop(); top; top = heap.pop()) {
    const [price, i] = top;
    if (done[i] || costs[i] !== price) continue; // an offer that a later one replaced
    done[i] = 1;
    order.push(i);
    for (const b of take(i)) for (const r of readers[b]!) if (!done[r] && waiting[r] === 0) offer(r);
    for (const next of freed[i]!) if (--waiting[next]! === 0) offer(next);
  }
  return order;
}

/** Numbers with a price, the lowest first; of equal prices the one of the lower second number. */
class Heap {
  readonly #items: (readonly [price: number, tie: number, item: number])[] = [];

  push(price: number, tie: number, item: number): void {
    const items = this.#items;
    const entry = [price, tie, item] as const;
    let at = items.length;
    for (let up = (at - 1) >> 1; at > 0 && before(entry, items[up]!); at = up, up = (at - 1) >> 1) items[at] = items[up]!;
    items[at] = entry;
  }

  pop(): readonly [price: number, item: number] | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (!first || !last) return undefined;
    if (items.length > 0) {
      let at = 0;
      for (let down = 1; down < items.length; at = down, down = 2 * at + 1) {
        if (down + 1 < items.length && before(items[down + 1]!, items[down]!)) down++;
        if (!before(items[down]!, last)) break;
        items[at] = items[down]!;
      }
      items[at] = last;
    }
    return [first[0], first[2]];
  }
}

function before(a: readonly [number, number, number], b: readonly [number, number, number]): boolean {
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
}

/**
 * From the results down, and of an op's operands first the one that needs most beyond what it leaves (Sethi and Ullman 1970;
 * Liu 1987): best where every value is read once, and near it where the rest is small.
 */
function depthFirst(graph: Dependences, footprint: Footprint): number[] {
  const count = graph.before.length;
  const leaves = footprint.makes.map((buffers) => footprint.total(buffers));
  const peaks = new Float64Array(count);
  const bySurplus = (places: readonly number[]): number[] => [...places].sort((a, b) => peaks[b]! - leaves[b]! - (peaks[a]! - leaves[a]!) || a - b);
  const operands: number[][] = [];
  for (let i = 0; i < count; i++) {
    // Ops stand after their operands, so these are known.
    const first = bySurplus(graph.before[i]!);
    operands.push(first);
    let [held, peak] = [0, 0];
    for (const j of first) {
      peak = Math.max(peak, held + peaks[j]!);
      held += leaves[j]!;
    }
    peaks[i] = Math.max(peak, held + footprint.needs[i]!);
  }
  const order: number[] = [];
  const done = new Uint8Array(count);
  const next = new Int32Array(count);
  for (const root of [...bySurplus(graph.roots), ...Array(count).keys()]) {
    const open = [root];
    for (let i = open.at(-1); i !== undefined; i = open.at(-1)) {
      const operand = operands[i]![next[i]!++];
      if (operand !== undefined && !done[operand]) open.push(operand);
      else if (operand === undefined) {
        open.pop();
        if (!done[i]) order.push(i);
        done[i] = 1;
      }
    }
  }
  return order;
}
