import { Builder } from "../ir/builder.ts";
import { type Cost, Costs } from "../ir/cost.ts";
import type { GraphFunction, Origin, Value } from "../ir/graph.ts";
import { type Sizes, symbolsOf } from "../ir/size.ts";
import { type AnyOp, makers, mapped, nominalSymbol, opsOf, useCounts } from "./tools.ts";

/** The rules of stacking, as docs/architecture.md numbers them. Rule 3 is the layout's. */
export type StackRule = 1 | 2 | 4 | 5 | 6;

/** One rewrite that was made. */
export interface StackReport {
  readonly fn: string;
  /** Where the rewritten ops come from, outermost first, each place once; empty paths are of ops without an origin. */
  readonly paths: readonly (readonly string[])[];
  readonly origin?: Origin;
  readonly rule: StackRule;
  /** Floating-point operations and bytes of the ops taken away and of those put in, as the op table counts them. */
  readonly before: Cost;
  readonly after: Cost;
}

/** What the rules of stacking ask about a function that they look at. */
export class Site {
  readonly fn: GraphFunction;
  readonly functions: ReadonlyMap<string, GraphFunction>;
  /** Sizes of all symbols: those that are known, and `nominalSymbol` for the others. */
  readonly sizes: Sizes;
  readonly #uses: ReadonlyMap<Value, number>;
  readonly #made: ReadonlyMap<Value, AnyOp>;
  readonly #costs: Costs;

  constructor(fn: GraphFunction, functions: ReadonlyMap<string, GraphFunction>, sizes: Sizes) {
    this.fn = fn;
    this.functions = functions;
    this.#uses = useCounts(fn);
    this.#made = makers(fn.body);
    const known: Record<string, number> = { ...sizes };
    for (const v of [...fn.params, ...fn.body.flatMap((op) => op.results)]) {
      const axes = v.type.kind === "tensor" ? v.type.axes : v.type.kind === "list" ? v.type.of.axes : [];
      for (const a of axes) for (const s of symbolsOf(a.size)) if (!Object.hasOwn(known, s)) known[s] = nominalSymbol;
    }
    this.sizes = known;
    this.#costs = new Costs({ functions }, known);
  }

  /** How often a value is read, standing as a result included. */
  uses(v: Value): number {
    return this.#uses.get(v) ?? 0;
  }

  /** The op that makes a value; none for a param. */
  maker(v: Value): AnyOp | undefined {
    return this.#made.get(v);
  }

  /** The op behind a value that only one reader has, transposes looked through: these are put in `through`, for they go away with it. */
  behind(v: Value, through: AnyOp[]): AnyOp | undefined {
    if (this.uses(v) !== 1) return undefined;
    const op = this.maker(v);
    if (op?.op !== "transpose") return op;
    through.push(op);
    return this.behind(op.operands[0]!, through);
  }

  cost(ops: readonly AnyOp[]): Cost {
    return ops.map((op) => this.#costs.op(op)).reduce(plus, { flops: 0, bytes: 0 });
  }

  /** The cost of what `write` writes, on params in place of what it reads. */
  tried(write: (b: Builder, now: (v: Value) => Value) => unknown): Cost {
    const b = new Builder("tried");
    const map = new Map<Value, Value>();
    write(b, (v) => {
      const known = map.get(v) ?? b.param(v.type);
      map.set(v, known);
      return known;
    });
    return this.cost(b.body as readonly AnyOp[]);
  }
}

export function plus(a: Cost, b: Cost): Cost {
  return { flops: a.flops + b.flops, bytes: a.bytes + b.bytes };
}

/** Fewer operations, or as many and fewer bytes. */
export function cheaper(a: Cost, b: Cost): boolean {
  return a.flops < b.flops || (a.flops === b.flops && a.bytes < b.bytes);
}

/** The places that ops come from, each once. */
export function pathsOf(ops: readonly AnyOp[]): readonly (readonly string[])[] {
  const paths = new Map(ops.flatMap((op) => (op.origin ? [[op.origin.path.join("\n"), op.origin.path] as const] : [])));
  return [...paths.values()];
}

/**
 * Writes a function anew in its own order, where `instead` may take an op's place: it then maps the op's results itself.
 * `need` gives a value's new self, writing what makes it first where that stands further down.
 */
export function rewritten(
  fn: GraphFunction,
  functions: ReadonlyMap<string, GraphFunction>,
  instead: (op: AnyOp, b: Builder, need: (v: Value) => Value, set: (v: Value, made: Value) => void) => boolean,
): GraphFunction {
  const b = new Builder(fn.name, functions, fn.doc);
  const map = new Map<Value, Value>();
  const madeBy = makers(fn.body);
  for (const p of fn.params) map.set(p, b.param(p.type, p.name));
  const set = (v: Value, made: Value): void => void map.set(v, v.name ? b.named(v.name, made) : made);
  const done = new Set<AnyOp>();
  const write = (op: AnyOp): void => {
    if (done.has(op)) return;
    done.add(op);
    if (instead(op, b, need, set)) return;
    const operands = op.operands.map(need);
    b.at(op.origin, () => b.op(op.op, operands, op.attributes as never, op.results.map((v) => v.name)).forEach((made, i) => map.set(op.results[i]!, made)));
  };
  const need = (v: Value): Value => {
    const maker = map.has(v) ? undefined : madeBy.get(v);
    if (maker) write(maker);
    return mapped(map, v);
  };
  for (const op of opsOf(fn)) write(op);
  return b.finish(fn.results.map((v) => mapped(map, v)));
}
