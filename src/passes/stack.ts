import type { Builder } from "../ir/builder.ts";
import type { GraphFunction, Module, Value } from "../ir/graph.ts";
import { alignedAxes } from "../ir/ops/row.ts";
import type { Sizes } from "../ir/size.ts";
import { frozenSignatures, frozenValues } from "./frozen.ts";
import { type Joined, flagged, joinFactors, joinSums } from "./join.ts";
import { type StackReport, Site, cheaper, pathsOf, rewritten } from "./rewrite.ts";
import { type AnyOp, axesOf, calleesFirst, elementsOf, namesOf, opsOf, ordered, tensorOf, withFunctions } from "./tools.ts";

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
 * Moves small factors to the small side of products, sums into products, and products into one (`·r` contracts over r):
 *
 * 1. `(a ·r b) ∘ c → (a ∘ c) ·r b` where the axes of c are axes of a or b and not contracted (or the same with b).
 * 2. `Σe (a ·r b) → a ·(e,r) b` where e is an axis of both.
 * 4. `a1 ·r b1 + a2 ·s b2 → [a1 a2] ·(r+s) [b1; b2]`, for products that nothing else reads.
 * 5. `x ·i A`, `x ·i W` → `x ·i [A W]`, split after.
 * 6. `(a ·r b) ∘ s → (a ∘ s) ·r b`, or with b: a scalar goes to the smaller operand; in a chain of factors it goes to
 *    the smallest. `(a ∘ s) ·r b → a ·r (b ∘ s)`, or after the product, where that is smaller.
 *
 * Rule 3, that a product over or free in several axes is one matrix product, is what the layout makes of it.
 *
 * Rules 1 and 6 hold for products of groups of rows (`grouped_dot`) too, with a factor of one operand's axes.
 *
 * A rewrite is made where the op table says that it costs fewer operations, or as many and fewer bytes; for rules 1, 2
 * and 6 the product has no other user. Nothing here knows what an expert or a gate is.
 */
export function stack(module: Module, options: StackOptions = {}): Stacked {
  const functions = new Map<string, GraphFunction>();
  const report: StackReport[] = [];
  const signatures = frozenSignatures(module);
  const sizes = options.sizes ?? {};
  for (const fn of calleesFirst(module.functions)) {
    const made = stackFunction(fn, functions, sizes, (now) => frozenValues(now, signatures));
    functions.set(fn.name, made.fn);
    report.push(...made.report);
  }
  return { module: withFunctions(module, functions), report };
}

/** One function, whose callees are done. */
export function stackFunction(
  fn: GraphFunction,
  functions: ReadonlyMap<string, GraphFunction>,
  sizes: Sizes,
  frozenIn: (fn: GraphFunction) => ReadonlySet<Value>,
): { readonly fn: GraphFunction; readonly report: readonly StackReport[] } {
  const report: StackReport[] = [];
  let now = fn;
  for (let left = rewritesPerOp * (fn.body.length + 1); left > 0; left--) {
    const site = new Site(now, functions, sizes);
    const frozen = frozenIn(now);
    // Products are joined when nothing can be moved into them any more.
    const next = local(site) ?? joinSums(site, frozen) ?? joinFactors(site, frozen);
    if (!next) break;
    now = next.fn;
    report.push(next.report);
  }
  return { fn: now, report };
}

/** How to write a value anew, and which ops go away with it. */
interface Rewrite {
  readonly rule: 1 | 2 | 6;
  readonly gone: readonly AnyOp[];
  write(b: Builder, now: (v: Value) => Value): Value;
}

/** The first rewrite of a single value that pays. */
function local(site: Site): Joined | undefined {
  for (const op of opsOf(site.fn)) {
    for (const rewrite of rewritesOf(op, site)) {
      const gone = [op, ...rewrite.gone];
      const [before, after] = [site.cost(gone), site.tried((b, now) => rewrite.write(b, now))];
      if (!cheaper(after, before)) continue;
      const away = new Set(rewrite.gone);
      const result = op.results[0]!;
      const fn = rewritten(site.fn, site.functions, (at, b, need, set) => {
        if (at !== op) return away.has(at);
        // In the type that its users know: a transpose back is the layout's to remove and does not count against the rewrite.
        b.at(op.origin, () => set(result, ordered(b, rewrite.write(b, need), namesOf(result))));
        return true;
      });
      return { fn, report: { fn: fn.name, paths: pathsOf([op]), ...(op.origin ? { origin: op.origin } : {}), rule: rewrite.rule, before, after } };
    }
  }
  return undefined;
}

function rewritesOf(op: AnyOp, site: Site): readonly Rewrite[] {
  if (op.op === "sum") return sums(op, site);
  if (op.op === "mul") return [...factors(op, 0, site), ...factors(op, 1, site)];
  if (op.op === "div") return factors(op, 0, site);
  if (op.op === "dot" && !flagged(op)) return [...scales(op, 0, site), ...scales(op, 1, site)];
  return [];
}

/** Rule 2, for those of the summed axes that both operands have; an axis of one operand alone is summed there. */
function sums(op: AnyOp & { op: "sum" }, site: Site): readonly Rewrite[] {
  const through: AnyOp[] = [];
  const dot = site.behind(op.operands[0]!, through);
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

/** Rule 6, for a scalar that operand `at` of a product was multiplied with: it goes to the other, or to the result. */
function scales(op: AnyOp & { op: "dot" }, at: 0 | 1, site: Site): readonly Rewrite[] {
  const through: AnyOp[] = [];
  const inner = site.behind(op.operands[at]!, through);
  if (inner?.op !== "mul") return [];
  const side = inner.operands.findIndex((v) => axesOf(v).length === 0);
  if (side < 0) return [];
  const [scale, rest] = [inner.operands[side]!, inner.operands[1 - side]!];
  const product = (b: Builder, own: Value, other: Value): Value => b.dot(at === 0 ? own : other, at === 0 ? other : own, op.attributes.over);
  const rewrite = (write: Rewrite["write"]): Rewrite => ({ rule: 6, gone: [inner, ...through], write });
  return [
    rewrite((b, now) => product(b, now(rest), b.mul(now(op.operands[1 - at]!), now(scale)))),
    rewrite((b, now) => b.mul(product(b, now(rest), now(op.operands[1 - at]!)), now(scale))),
  ];
}

/** Rules 1 and 6: operand `at` of a product or quotient is itself a dot or a chain of factors, the other moves into it. */
function factors(op: AnyOp & { op: "mul" | "div" }, at: 0 | 1, site: Site): readonly Rewrite[] {
  const through: AnyOp[] = [];
  const c = op.operands[1 - at]!;
  if (op.operands[0] === op.operands[1]) return [];
  const inner = site.behind(op.operands[at]!, through);
  const scalar = axesOf(c).length === 0;
  const join = (b: Builder, x: Value, y: Value): Value => (op.op === "div" ? b.div(x, y) : b.mul(x, y));
  if (inner?.op === "dot" && !flagged(inner)) {
    const free = namesOf(inner.results[0]!);
    if (!namesOf(c).every((n) => free.includes(n))) return [];
    // An axis of c that the operand lacks is the other's: it becomes a batch axis (rule 2 may then sum over it).
    const joined = (side: 0 | 1): number => elementsOf({ kind: "tensor", dtype: "f32", axes: alignedAxes([tensorOf(inner.operands[side]!), tensorOf(c)]) }, site.sizes);
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
  if (inner?.op === "grouped_dot") {
    const [a, matrices, count] = inner.operands as readonly [Value, Value, Value];
    return ([a, matrices] as const)
      .filter((v) => namesOf(c).every((n) => namesOf(v).includes(n) && !inner.attributes.over.includes(n)))
      .sort((v, w) => elementsOf(v.type, site.sizes) - elementsOf(w.type, site.sizes))
      .map((into): Rewrite => ({
        rule: scalar ? 6 : 1,
        gone: [inner, ...through],
        write(b, now) {
          const [left, right] = [a, matrices].map((v) => (v === into ? join(b, now(v), now(c)) : now(v))) as [Value, Value];
          return b.grouped_dot(left, right, now(count), inner.attributes.over);
        },
      }));
  }
  // (x ∘ y) ∘ c: c goes to the smaller of the two where it has no axes of its own to bring.
  if (inner?.op === "mul") {
    return ([0, 1] as const)
      .filter((side) => namesOf(c).every((n) => namesOf(inner.operands[side]!).includes(n)))
      .sort((p, q) => elementsOf(inner.operands[p]!.type, site.sizes) - elementsOf(inner.operands[q]!.type, site.sizes))
      .map((side): Rewrite => ({
        rule: 6,
        gone: [inner, ...through],
        write: (b, now) => b.mul(now(inner.operands[1 - side]!), join(b, now(inner.operands[side]!), now(c))),
      }));
  }
  return [];
}
