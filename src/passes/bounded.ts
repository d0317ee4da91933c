import type { Axis, OpName, Value } from "../ir/graph.ts";
import type { Site } from "./rewrite.ts";
import { namesOf } from "./tools.ts";

/** A value's elements along an axis are zero but where a mask holds, and it holds for at most `k`, whatever the numbers are. */
export interface Bound {
  /** What `is_top` made. Where it is without a bound, what is zero in places. */
  readonly mask: Value;
  /** Its own axis of choices. */
  readonly axis: string;
  /** Parts cut out along that axis, one after the other: the groups of a router that chooses among several. */
  readonly cuts: readonly { readonly start: number; readonly as: Axis }[];
  /** Infinity: zero in places, but no number says in how many. */
  readonly k: number;
}

/** undefined: not known to be zero anywhere. */
export type Support = Bound | undefined;

/** f(0) = 0 wherever the derivative is finite: what is zero for all inputs stays so, and so does its derivative. */
const fixesZero: ReadonlySet<OpName> = new Set<OpName>(["cast", "neg", "abs", "sign", "square", "tanh", "sin", "copy", "stop", "transpose", "expand"]);
const comparisons: ReadonlySet<OpName> = new Set<OpName>(["lt", "le", "gt", "ge", "eq", "ne", "not"]);

/** Where softmax has exactly 0 for a score: exp(c - m) underflows for each m that scores of any use have. */
const farBelow = -1e9;

/**
 * Where along an axis a value is zero by the algebra of the graph: a product with a mask of the k greatest, a quotient of one,
 * a choice between such a value and 0, and softmax over scores that are far below all others outside the mask (the gates of
 * Shazeer et al.). Names of definitions play no part. Ties do not either: `is_top` is true for exactly k.
 *
 * softmax: with a score of -1e9 or less outside the mask and a chosen one above -1e9 + 800, exp of the difference is 0 in
 * float64, and in float32 too. Where even the greatest chosen score is below that, the scores are no numbers to choose by.
 */
export function supportOf(site: Site, v: Value, axis: string, known = new Map<Value, Support>()): Support {
  if (known.has(v)) return known.get(v);
  const found = supportBy(site, v, axis, (x, along = axis) => supportOf(site, x, along, along === axis ? known : new Map()));
  known.set(v, found);
  return found;
}

function supportBy(site: Site, v: Value, axis: string, of: (v: Value, axis?: string) => Support): Support {
  if (v.type.kind !== "tensor" || !namesOf(v).includes(axis)) return undefined;
  const op = site.maker(v);
  if (!op) return undefined;
  const [x, y] = op.operands as readonly [Value, Value];
  const unbounded: Bound = { mask: v, axis, cuts: [], k: Infinity };
  if (fixesZero.has(op.op)) return of(x);
  if (comparisons.has(op.op)) return unbounded;
  switch (op.op) {
    case "is_top":
      return op.attributes.axis === axis ? { mask: v, axis, cuts: [], k: op.attributes.k } : undefined;
    case "and":
    case "mul":
      return narrower(of(x), of(y));
    case "div":
      return of(x);
    case "relu":
      return of(x) ?? unbounded;
    case "max":
      return numberOf(site, x) === 0 || numberOf(site, y) === 0 ? unbounded : undefined;
    case "select": {
      const [condition, yes, no] = op.operands as readonly [Value, Value, Value];
      if (numberOf(site, no) === 0) return narrower(of(condition), of(yes));
      return numberOf(site, yes) === 0 ? of(no) ?? unbounded : undefined;
    }
    case "softmax": {
      const scores = behindTransposes(site, x);
      if (op.attributes.axis !== axis || scores?.op !== "select") return undefined;
      const floor = numberOf(site, scores.operands[2]!);
      return floor !== undefined && floor <= farBelow ? of(scores.operands[0]!) : undefined;
    }
    case "slice": {
      const { axis: from, start, as } = op.attributes;
      if (as.name !== axis) return undefined;
      const whole = of(x, from);
      if (whole?.k === Infinity) return unbounded;
      return whole && { ...whole, cuts: [...whole.cuts, { start, as }], k: Math.min(whole.k, Number(as.size)) };
    }
    default:
      return undefined;
  }
}

function narrower(a: Support, b: Support): Support {
  return a && b ? (b.k < a.k ? b : a) : (a ?? b);
}

/** The number that a value is everywhere. */
function numberOf(site: Site, v: Value): number | undefined {
  const op = site.maker(v);
  return op?.op === "constant" ? op.attributes.value : op?.op === "expand" ? numberOf(site, op.operands[0]!) : undefined;
}

function behindTransposes(site: Site, v: Value): ReturnType<Site["maker"]> {
  const op = site.maker(v);
  return op?.op === "transpose" ? behindTransposes(site, op.operands[0]!) : op;
}
