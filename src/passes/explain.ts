import type { Cost } from "../ir/cost.ts";
import type { Module, OpName, Origin, Value } from "../ir/graph.ts";
import type { Sizes } from "../ir/size.ts";
import type { DispatchReport } from "./dispatch.ts";
import { frozenSignatures, frozenValues } from "./frozen.ts";
import { flagged } from "./join.ts";
import { Site, type StackReport, type StackRule } from "./rewrite.ts";
import { type AnyOp, calleesFirst, functionOf, isDraw, namesOf, opsOf } from "./tools.ts";

/** A rewrite that was not made, and why. */
export interface Left {
  readonly reason: string;
  /** What stands in the way, or what stays. */
  readonly origin?: Origin;
}

/** What stacking did at some places of a function, together where a rewrite joined them. */
export interface PlaceExplanation {
  readonly fn: string;
  /** How often a step runs the function: once a layer. */
  readonly turns: number;
  /** "layers.mlp.gate_proj". */
  readonly places: readonly string[];
  readonly rewrites: readonly { readonly rule: StackRule; readonly count: number }[];
  readonly left: readonly Left[];
  /** Sums over choices of which few are not zero: whether tokens are sorted by them, and what was weighed. */
  readonly dispatch: readonly Omit<DispatchReport, "fn" | "paths">[];
  /** Floating-point operations and bytes of all ops of the places, run once, before and after. */
  readonly before: Cost;
  readonly after: Cost;
}

/** What each rule does, for people. */
export const ruleTexts: Readonly<Record<StackRule, string>> = {
  1: "a factor (a gate) moved to the small side of a product",
  2: "a sum (over experts) became part of a product",
  4: "products that are summed became one",
  5: "products of one input became one",
  6: "a scale moved to the smallest factor",
};

/** A module before sparse dispatch, and after stacking. */
export interface StackedFrom {
  readonly before: Module;
  readonly after: Module;
  readonly report: readonly StackReport[];
  readonly dispatch?: readonly DispatchReport[];
}

/**
 * For places, named by the beginning of their ops' paths, in the functions that an entry runs: what was rewritten, what
 * was not and why, and the costs.
 */
export function explainStacking({ before, after, report, dispatch = [] }: StackedFrom, entry: string, places: readonly string[], sizes: Sizes = {}): readonly PlaceExplanation[] {
  const signatures = frozenSignatures(after);
  const turns = turnsOf(after, entry);
  const made: PlaceExplanation[] = [];
  for (const fn of calleesFirst(after.functions)) {
    if (!turns.has(fn.name)) continue;
    const placeOf = (path: readonly string[] | undefined): string | undefined => path && places.find((p) => `${path.join(".")}.`.startsWith(`${p}.`));
    const own = report.filter((r) => r.fn === fn.name);
    const [old, now] = [before.functions.get(fn.name), fn].map((f) => f && new Site(f, after.functions, sizes));
    const there = places.filter((p) => old?.fn.body.some((op) => placeOf(op.origin?.path) === p));
    const left = leftOf(now!, frozenValues(fn, signatures));
    for (const group of joined(there, own.map((r) => r.paths.flatMap((path) => placeOf(path) ?? [])))) {
      const cost = (site: Site | undefined): Cost => site?.cost(opsOf(site.fn).filter((op) => group.includes(placeOf(op.origin?.path) ?? ""))) ?? { flops: 0, bytes: 0 };
      const rules = own.filter((r) => r.paths.some((path) => group.includes(placeOf(path) ?? ""))).map((r) => r.rule);
      const here = left.filter((l) => group.includes(placeOf(l.origin?.path) ?? ""));
      made.push({
        fn: fn.name,
        turns: turns.get(fn.name)!,
        places: group,
        rewrites: [...new Set(rules)].sort().map((rule) => ({ rule, count: rules.filter((r) => r === rule).length })),
        dispatch: dispatch
          .filter((d) => d.fn === fn.name && d.paths.some((path) => group.includes(placeOf(path) ?? "")))
          .map(({ fn: _, paths, ...said }) => said),
        left: here.filter((l, i) => here.findIndex((m) => m.reason === l.reason) === i),
        before: cost(old),
        after: cost(now),
      });
    }
  }
  // What of a place is computed once before the layers is no place of its own.
  const inside = (p: PlaceExplanation): boolean => made.some((q) => q.before.flops > p.before.flops && p.places.every((place) => q.places.includes(place)));
  return made.filter((p) => p.rewrites.length + p.left.length + p.dispatch.length > 0 || !inside(p));
}

/** How often each function that an entry runs is run. */
function turnsOf(module: Module, entry: string): ReadonlyMap<string, number> {
  const turns = new Map<string, number>();
  const visit = (name: string, times: number): void => {
    turns.set(name, (turns.get(name) ?? 0) + times);
    for (const op of opsOf(functionOf(module.functions, name))) {
      if (op.op === "call" || op.op === "fold") visit(op.attributes.fn, times * (op.op === "fold" ? op.attributes.count : 1));
    }
  };
  const fn = module.entries.get(entry)?.fn;
  if (fn !== undefined) visit(fn, 1);
  return turns;
}

/** Places in groups: those that a rewrite touched together are one. */
function joined(places: readonly string[], touched: readonly (readonly string[])[]): readonly (readonly string[])[] {
  let groups = places.map((p) => [p]);
  for (const some of touched) {
    const within = groups.filter((g) => g.some((p) => some.includes(p)));
    if (within.length > 1) groups = [...groups.flatMap((g) => (g === within[0] ? [within.flat()] : within.includes(g) ? [] : [g]))];
  }
  return groups;
}

/** Ops through which a factor or a sum can move; what they do is linear in the product. */
const linear: ReadonlySet<OpName> = new Set<OpName>(["mul", "neg", "transpose", "reshape", "rename", "expand", "copy"]);
/** Ops that look at one element at a time, through which a product is still looked for. */
const pointwise: ReadonlySet<OpName> = new Set<OpName>([
  "add", "sub", "div", "max", "min", "abs", "exp", "log", "sqrt", "rsqrt", "square", "sigmoid", "tanh", "relu", "softplus", "erf", "select", "pow",
]);

/** Sums over products that stayed sums, and products over the same axes that stayed apart. */
function leftOf(site: Site, frozen: ReadonlySet<Value>): readonly Left[] {
  const found: Left[] = [];
  for (const op of opsOf(site.fn)) {
    if (op.op === "sum") {
      const behind = productBehind(site, op.operands[0]!, frozen, op.attributes.axes);
      if (behind) found.push({ reason: `the sum over ${op.attributes.axes.join(", ")} stays: ${behind.why}`, ...origin(behind.at.origin ?? op.origin) });
    } else if (op.op === "dot" && !flagged(op)) {
      const shared = namesOf(op.operands[0]!).filter((n) => namesOf(op.operands[1]!).includes(n) && !op.attributes.over.includes(n));
      if (shared.length && !op.operands.some((v) => frozen.has(v)) && random(site, op)) {
        found.push({ reason: `one product for each ${shared.join(", ")}: each has a dropout mask of its own`, ...origin(op.origin) });
      }
    }
  }
  return [...found, ...apart(site, frozen)];
}

/** The product that a sum could have become part of, and why it did not; undefined where none with that axis stands behind. */
function productBehind(site: Site, v: Value, frozen: ReadonlySet<Value>, axes: readonly string[], obstacle?: AnyOp): { readonly at: AnyOp; readonly why: string } | undefined {
  const op = site.maker(v);
  if (!op) return undefined;
  if (op.op === "dot") {
    const factor = op.operands.find((x) => !frozen.has(x) && axes.every((n) => namesOf(x).includes(n)) && namesOf(x).some((n) => !axes.includes(n) && !op.attributes.over.includes(n)));
    if (!factor) return undefined;
    if (obstacle) return { at: obstacle, why: `${obstacle.op} stands between it and the product, which is not linear in what the product sums over` };
    return { at: op, why: site.uses(v) > 1 ? "the product is read elsewhere too" : "it would cost more than it saves" };
  }
  if (!linear.has(op.op) && !pointwise.has(op.op)) return undefined;
  const next = obstacle ?? (linear.has(op.op) ? undefined : op);
  for (const x of op.operands) {
    const behind = x.type.kind === "tensor" ? productBehind(site, x, frozen, axes, next) : undefined;
    if (behind) return behind;
  }
  return undefined;
}

/** Products over the same axes, at one place, whose inputs differ. */
function apart(site: Site, frozen: ReadonlySet<Value>): readonly Left[] {
  const groups = new Map<string, { readonly op: AnyOp & { op: "dot" }; readonly masked: boolean }[]>();
  for (const op of opsOf(site.fn)) {
    if (op.op !== "dot" || !op.origin || op.operands.some((v) => frozen.has(v))) continue;
    const key = JSON.stringify([op.origin.path.slice(0, -1), [...op.attributes.over].sort()]);
    groups.set(key, [...(groups.get(key) ?? []), { op, masked: random(site, op) }]);
  }
  return [...groups.values()].flatMap((group) => {
    const masked = group.filter((g) => g.masked).length;
    if (group.length < 2 || masked === 0) return [];
    const { op } = group.find((g) => g.masked)!;
    return [{ reason: `${group.length} products over ${op.attributes.over.join(", ")} stay apart: ${masked === 1 ? "one reads" : `${masked} read`} the input under a dropout mask`, ...origin(op.origin) }];
  });
}

/** Whether an operand of a product was multiplied with random numbers right before it. */
function random(site: Site, op: AnyOp): boolean {
  const drawn = (v: Value, depth: number): boolean => {
    const maker = site.maker(v);
    if (!maker || depth === 0 || maker.op === "dot" || maker.op === "sum") return false;
    return isDraw(maker) || maker.operands.some((x) => drawn(x, depth - 1));
  };
  return op.operands.some((v) => drawn(v, 6));
}

function origin(found: Origin | undefined): { readonly origin?: Origin } {
  return found ? { origin: found } : {};
}
