import type { Op, Value } from "../ir/graph.ts";

/** What backward reads of forward, and what it may make again. */
export interface KeepProblem {
  /** Values of forward that backward reads. */
  readonly reads: Iterable<Value>;
  /** The op that makes a value in forward; none for a param. */
  maker(v: Value): Op | undefined;
  /** Whether backward has the value anyway. */
  free(v: Value): boolean;
  /** Whether backward may run the op again. */
  again(op: Op): boolean;
  /** What keeping a value costs; Infinity for one that cannot be kept. */
  cost(v: Value): number;
}

/**
 * The cheapest set of values to keep from which backward can make all that it reads: a minimum cut between what cannot
 * be made again and what is read. Of equally cheap sets, the one that makes least again.
 */
export function cheapestToKeep(problem: KeepProblem): ReadonlySet<Value> {
  const network = new Network();
  const [source, sink] = [network.node(), network.node()];
  const nodes = new Map<Value, { readonly into: number; readonly out: number }>();
  const visit = (v: Value): { readonly into: number; readonly out: number } => {
    const known = nodes.get(v);
    if (known) return known;
    const made = { into: network.node(), out: network.node() };
    nodes.set(v, made);
    network.edge(made.into, made.out, problem.cost(v));
    const maker = problem.maker(v);
    if (!maker || !problem.again(maker)) network.edge(source, made.into, Infinity);
    else for (const x of maker.operands) if (!problem.free(x)) network.edge(visit(x).out, made.into, Infinity);
    return made;
  };
  for (const v of new Set(problem.reads)) if (!problem.free(v)) network.edge(visit(v).out, sink, Infinity);
  network.saturate(source, sink);
  const reaches = network.reaching(sink);
  return new Set([...nodes].flatMap(([v, { into, out }]) => (reaches.has(out) && !reaches.has(into) ? [v] : [])));
}

/** A flow network; `saturate` sends as much as it can carry (Edmonds and Karp 1972). */
class Network {
  /** Edges in pairs, each followed by its reverse: where it goes, and what it can still carry. */
  readonly #to: number[] = [];
  readonly #left: number[] = [];
  readonly #from: number[][] = [];

  node(): number {
    return this.#from.push([]) - 1;
  }

  edge(a: number, b: number, capacity: number): void {
    this.#from[a]!.push(this.#to.push(b) - 1);
    this.#left.push(capacity);
    this.#from[b]!.push(this.#to.push(a) - 1);
    this.#left.push(0);
  }

  saturate(source: number, sink: number): void {
    for (;;) {
      const by = new Map<number, number>([[source, -1]]);
      const queue = [source];
      for (let at = 0; at < queue.length && !by.has(sink); at++) {
        for (const e of this.#from[queue[at]!]!) {
          const next = this.#to[e]!;
          if (this.#left[e]! <= 0 || by.has(next)) continue;
          by.set(next, e);
          queue.push(next);
        }
      }
      if (!by.has(sink)) return;
      const path: number[] = [];
      for (let at = sink; at !== source; at = this.#to[path.at(-1)! ^ 1]!) path.push(by.get(at)!);
      const flow = Math.min(...path.map((e) => this.#left[e]!));
      if (flow === Infinity) throw new Error("backward reads a value that can neither be kept nor made again");
      for (const e of path) {
        this.#left[e]! -= flow;
        this.#left[e ^ 1]! += flow;
      }
    }
  }

  /** Nodes from which something more could still flow to `sink`. */
  reaching(sink: number): ReadonlySet<number> {
    const found = new Set([sink]);
    const queue = [sink];
    for (let at = 0; at < queue.length; at++) {
      for (const e of this.#from[queue[at]!]!) {
        const before = this.#to[e]!;
        if (this.#left[e ^ 1]! <= 0 || found.has(before)) continue;
        found.add(before);
        queue.push(before);
      }
    }
    return found;
  }
}
