import { Builder } from "../ir/builder.ts";
import { Costs } from "../ir/cost.ts";
import type { GraphFunction, Module, Origin, Value } from "../ir/graph.ts";
import { alignedAxes } from "../ir/ops/row.ts";
import { type Sizes, symbolsOf } from "../ir/size.ts";
import { type AnyOp, axesOf, calleesFirst, cloneOp, elementsOf, mapped, namesOf, nominalSymbol, opsOf, ordered, tensorOf, useCounts } from "./tools.ts";

/** One rewrite that was made. */
export interface StackReport {
  readonly fn: string;
  /** Where the rewritten op comes from, outermost first; empty where it has no origin. */
  readonly path: readonly string[];
  readonly origin?: Origin;
  /** Which of the rules of docs/architecture.md: 1, 2 or 6. */
  readonly rule: 1 | 2 | 6;
  /** Floating-point operations and bytes of the ops taken away and of those put in, as the op table counts them. */
  readonly before: { readonly flops: number; readonly bytes: number };
  readonly after: { readonly flops: number; readonly bytes: number };
}

export interface Stacked {
  readonly module: Module;
  readonly report: readonly StackReport[];
}

export interface StackOptions {
  /** Sizes of symbols, where some are known; others are taken as 32 each. */
  readonly sizes?: Sizes;
}

/** More rewrites than any function needs: each op takes part in a few. */
const rewritesPerOp = 8;

/**
 * Moves small factors to the small side of products, and sums into products (`·r` contracts over r):
 *
 * 1. `(a ·r b) ∘ c → (a ∘ c) ·r b` where the axes of c are axes of a or b and not contracted (or the same with b).
 * 2. `Σe (a ·r b) → a ·(e,r) b` where e is an axis of both.
 * 6. `(a ·r b) ∘ s → (a ∘ s) ·r b`, or with b: a scalar goes to the smaller operand; in a chain of factors it goes to
 *    the smallest.
 *
 * A rewrite is made where the op table says that it costs fewer operations, or as many and fewer bytes, and where the
 * product has no other user. Nothing here knows what an expert or a gate is.
 */
export function stack(module: Module, options: StackOptions = {}): Stacked {
  const functions = new Map<string, GraphFunction>();
  const report: StackReport[] = [];
  for (const fn of calleesFirst(module.functions)) {
    let now = fn;
    for (let left = rewritesPerOp * (fn.body.length + 1); left > 0; left--) {
      const next = once(now, functions, options.sizes ?? {});
      if (!next) break;
      now = next.fn;
      report.push(next.report);
    }
    functions.set(fn.name, now);
  }
  return { module: { ...module, functions: new Map([...module.functions.keys()].map((name) => [name, functions.get(name)!])) }, report };
}

/** How to write a value anew, and which ops go away with it. */
interface Rewrite {
  readonly rule: 1 | 2 | 6;
  readonly gone: readonly AnyOp[];
  write(b: Builder, now: (v: Value) => Value): Value;
}

/** The first rewrite of a function that pays. */
function once(fn: GraphFunction, functions: ReadonlyMap<string, GraphFunction>, sizes: Sizes): { readonly fn: GraphFunction; readonly report: StackReport } | undefined {
  const uses = useCounts(fn);
  const made = new Map<Value, AnyOp>(opsOf(fn).flatMap((op) => op.results.map((v) => [v, op] as const)));
  /** The op behind a value that only one reader has, transposes looked through; they go away with it. */
  const behind = (v: Value, through: AnyOp[]): AnyOp | undefined => {
    if (uses.get(v) !== 1) return undefined;
    const op = made.get(v);
    if (op?.op !== "transpose") return op;
    through.push(op);
    return behind(op.operands[0]!, through);
  };
  const known: Record<string, number> = { ...sizes };
  for (const v of [...fn.params, ...fn.body.flatMap((op) => op.results)]) {
    const axes = v.type.kind === "tensor" ? v.type.axes : v.type.kind === "list" ? v.type.of.axes : [];
    for (const a of axes) for (const s of symbolsOf(a.size)) if (!Object.hasOwn(known, s)) known[s] = nominalSymbol;
  }
  const costs = new Costs({ functions }, known);
  for (const op of opsOf(fn)) {
    for (const rewrite of rewritesOf(op, behind, known)) {
      const gone = [op, ...rewrite.gone].map((o) => costs.op(o)).reduce(plus);
      const put = tried(rewrite).map((o) => costs.op(o)).reduce(plus, { flops: 0, bytes: 0 });
      if (put.flops > gone.flops || (put.flops === gone.flops && put.bytes >= gone.bytes)) continue;
      const origin = op.origin;
      return { fn: apply(fn, op, rewrite, functions), report: { fn: fn.name, path: origin?.path ?? [], ...(origin ? { origin } : {}), rule: rewrite.rule, before: gone, after: put } };
    }
  }
  return undefined;
}

/** The ops that a rewrite would put in, on params in place of what they read. */
function tried(rewrite: Rewrite): readonly AnyOp[] {
  const b = new Builder("tried");
  const map = new Map<Value, Value>();
  rewrite.write(b, (v) => {
    const known = map.get(v) ?? b.param(v.type);
    map.set(v, known);
    return known;
  });
  return b.body as readonly AnyOp[];
}

function plus(a: { flops: number; bytes: number }, b: { flops: number; bytes: number }): { flops: number; bytes: number } {
  return { flops: a.flops + b.flops, bytes: a.bytes + b.bytes };
}

function rewritesOf(op: AnyOp, behind: (v: Value, through: AnyOp[]) => AnyOp | undefined, sizes: Sizes): readonly Rewrite[] {
  if (op.op === "sum") return sums(op, behind);
  if (op.op === "mul") return [...factors(op, 0, behind, sizes), ...factors(op, 1, behind, sizes)];
  if (op.op === "div") return factors(op, 0, behind, sizes);
  return [];
}

/** Rule 2, for those of the summed axes that both operands have; an axis of one operand alone is summed there. */
function sums(op: AnyOp & { op: "sum" }, behind: (v: Value, through: AnyOp[]) => AnyOp | undefined): readonly Rewrite[] {
  const through: AnyOp[] = [];
  const dot = behind(op.operands[0]!, through);
  if (dot?.op !== "dot" || flagged(dot)) return [];
  const [a, b] = dot.operands as readonly [Value, Value];
  const { axes } = op.attributes;
  return [
    {
      rule: 2,
      gone: [dot, ...through],
      write(out, now) {
        const [na, nb] = [namesOf(a), namesOf(b)];
        const left = out.sum(now(a), axes.filter((n) => na.includes(n) && !nb.includes(n)));
        const right = out.sum(now(b), axes.filter((n) => nb.includes(n) && !na.includes(n)));
        return out.dot(left, right, [...dot.attributes.over, ...axes.filter((n) => na.includes(n) && nb.includes(n))]);
      },
    },
  ];
}

/** Rules 1 and 6: operand `at` of a product or quotient is itself a dot or a chain of factors, the other moves into it. */
function factors(op: AnyOp & { op: "mul" | "div" }, at: 0 | 1, behind: (v: Value, through: AnyOp[]) => AnyOp | undefined, sizes: Sizes): readonly Rewrite[] {
  const through: AnyOp[] = [];
  const c = op.operands[1 - at]!;
  if (op.operands[0] === op.operands[1]) return [];
  const inner = behind(op.operands[at]!, through);
  const scalar = axesOf(c).length === 0;
  const join = (b: Builder, x: Value, y: Value): Value => (op.op === "div" ? b.div(x, y) : b.mul(x, y));
  if (inner?.op === "dot" && !flagged(inner)) {
    const free = namesOf(inner.results[0]!);
    if (!namesOf(c).every((n) => free.includes(n))) return [];
    // An axis of c that the operand lacks is the other's: it becomes a batch axis (rule 2 may then sum over it).
    const joined = (side: 0 | 1): number => elementsOf({ kind: "tensor", dtype: "f32", axes: alignedAxes([tensorOf(inner.operands[side]!), tensorOf(c)]) }, sizes);
    return ([0, 1] as const)
      .slice()
      .sort((p, q) => joined(p) - joined(q))
      .map((side): Rewrite => ({
        rule: scalar ? 6 : 1,
        gone: [inner, ...through],
        write(b, now) {
          const operands = inner.operands.map((v, i) => (i === side ? join(b, now(v), now(c)) : now(v)));
          return b.dot(operands[0]!, operands[1]!, inner.attributes.over);
        },
      }));
  }
  // (x ∘ y) ∘ c: c goes to the smaller of the two where it has no axes of its own to bring.
  if (inner?.op === "mul") {
    return ([0, 1] as const)
      .filter((side) => namesOf(c).every((n) => namesOf(inner.operands[side]!).includes(n)))
      .sort((p, q) => elementsOf(inner.operands[p]!.type, sizes) - elementsOf(inner.operands[q]!.type, sizes))
      .map((side): Rewrite => ({
        rule: 6,
        gone: [inner, ...through],
        write: (b, now) => b.mul(now(inner.operands[1 - side]!), join(b, now(inner.operands[side]!), now(c))),
      }));
  }
  return [];
}

function flagged(op: AnyOp & { op: "dot" }): boolean {
  return Boolean(op.attributes.transposeA || op.attributes.transposeB);
}

/**
 * The function with `target`'s value written anew, in the type that its users know. A transpose back to that type is the
 * layout's to remove: it does not count against the rewrite.
 */
function apply(fn: GraphFunction, target: AnyOp, rewrite: Rewrite, functions: ReadonlyMap<string, GraphFunction>): GraphFunction {
  const b = new Builder(fn.name, functions, fn.doc);
  const map = new Map<Value, Value>();
  for (const p of fn.params) map.set(p, b.param(p.type, p.name));
  const gone = new Set(rewrite.gone);
  for (const op of opsOf(fn)) {
    if (gone.has(op)) continue;
    if (op !== target) {
      cloneOp(b, op, map);
      continue;
    }
    const result = op.results[0]!;
    b.at(op.origin, () => {
      const value = ordered(b, rewrite.write(b, (v) => mapped(map, v)), tensorOf(result).axes.map((a) => a.name));
      map.set(result, b.named(result.name || value.name, value));
    });
  }
  return b.finish(fn.results.map((v) => mapped(map, v)));
}
