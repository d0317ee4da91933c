import { diagnostic, fail, type Diagnostic } from "../diagnostics/index.ts";
import { routingOf } from "./adapt.ts";
import type { AdapterPlan } from "./assemble.ts";
import { elaborator, type ElaborationContext } from "./context.ts";
import type { EmitOrigin, Emitter } from "./emitter.ts";
import type { Reports } from "./params.ts";
import { applicationKey, type DataPlan, type SitePlace, type SitePlan } from "./plan.ts";
import { route } from "./routing.ts";
import { standIn } from "./standin.ts";
import type { AxisRef, DType } from "./values.ts";

/**
 * The proof that a router is causal: no gate of a token may depend on a later one, or on the other samples of the batch.
 * In training such a router would see the answer it is asked for, and at generation there is nothing there to see.
 *
 * Every value of a router's text is followed with what it can see. The prompt is all there when the first token is
 * generated, so a sum of what is 0 outside the prompt (`x * prompt`) may cross positions; so may a sum over another name
 * of the positions where what lies ahead is 0 (`index(source) <= index(position)`), and a softmax or a greatest value where
 * it is so low that it does not count. So it is followed which number a value is there: `1 - prompt` is not 0 outside.
 */
export interface Sight {
  /** Where it first saw a later token or another sample, and what was done there. */
  readonly beyond?: { readonly origin: EmitOrigin; readonly why: string };
  /** By axis of positions: the number that it is outside the prompt. */
  readonly prompt: Fills;
  /** By axis of positions: the number that it is where the place along it lies ahead of the value's own position. */
  readonly ahead: Fills;
  /** Axes along which the value's own position is never left out: a softmax over what is left has something to spread over. */
  readonly itself: ReadonlySet<string>;
  /** The axis whose places it counts: 0, 1, 2 … */
  readonly counts?: string;
  /** It says which tokens are real: a real token is left where only real ones are asked for. */
  readonly real?: boolean;
  /** A number as low as those that leave scores out went into it: it may be so low anywhere. */
  readonly low?: boolean;
  /** Known when the text is compiled: the number, where it is one. */
  readonly literal?: number | "table";
  /** The axes of positions that the value has. */
  readonly positions: ReadonlySet<string>;
}

type Fills = ReadonlyMap<string, number>;

const none: Fills = new Map();
const nowhere: ReadonlySet<string> = new Set();
const blind: Sight = { prompt: none, ahead: none, itself: nowhere, positions: nowhere };

/** A score this low has no share in a softmax and is never the greatest: texts write -1e9. */
const LOW = -1e6;

type Numeric = (...of: number[]) => number;
/** Not known where an operand is not. */
const strict = (f: Numeric): Numeric => (...of) => (of.some(Number.isNaN) ? Number.NaN : f(...of));

/** What elementwise operations make of numbers; NaN stands for one that is not known. */
const elementwise: Readonly<Record<string, Numeric>> = {
  ...Object.fromEntries(
    Object.entries<Numeric>({
      neg: (v) => -v!,
      abs: Math.abs as Numeric,
      sign: Math.sign as Numeric,
      exp: Math.exp as Numeric,
      sqrt: Math.sqrt as Numeric,
      square: (v) => v! * v!,
      sin: Math.sin as Numeric,
      cos: Math.cos as Numeric,
      tanh: Math.tanh as Numeric,
      relu: (v) => Math.max(v!, 0),
      floor: Math.floor as Numeric,
      log1p: Math.log1p as Numeric,
      erf: (v) => (v === 0 ? 0 : Number.NaN),
      not: (v) => Number(v === 0),
      add: (a, b) => a! + b!,
      sub: (a, b) => a! - b!,
      max: Math.max,
      min: Math.min,
      or: (a, b) => Number(a !== 0 || b !== 0),
      eq: (a, b) => Number(a === b),
      ne: (a, b) => Number(a !== b),
      le: (a, b) => Number(a! <= b!),
      lt: (a, b) => Number(a! < b!),
      ge: (a, b) => Number(a! >= b!),
      gt: (a, b) => Number(a! > b!),
    }).map(([op, f]) => [op, strict(f)]),
  ),
  mul: (a, b) => (a === 0 || b === 0 ? 0 : a! * b!),
  div: (a, b) => (a === 0 ? 0 : a! / b!),
  and: (a, b) => (a === 0 || b === 0 ? 0 : strict(() => 1)(a!, b!)),
  select: (c, a, b) => (Number.isNaN(c) ? (a === b ? a! : Number.NaN) : c === 0 ? b! : a!),
};

/** Operations that leave every number what it is. */
const keeping: ReadonlySet<string> = new Set(["stop", "copy", "transpose", "expand"]);

/** Follows what each value of a router can see. */
export class SightEmitter implements Emitter {
  op(op: string, operands: readonly unknown[], attributes: object, type: { readonly axes: readonly AxisRef[]; readonly dtype: DType }, origin: EmitOrigin): Sight {
    const seen = operands as readonly Sight[];
    const a = attributes as { readonly value?: number; readonly axes?: readonly (string | AxisRef)[]; readonly axis?: string | AxisRef; readonly over?: readonly string[]; readonly from?: readonly string[]; readonly to?: readonly string[]; readonly reverse?: boolean; readonly start?: number; readonly as?: AxisRef };
    const nameOf = (axis: string | AxisRef | undefined): string => (typeof axis === "object" ? axis.name : (axis ?? ""));
    const positions = new Set(type.axes.filter((x) => x.size === "position").map((x) => x.name));
    const beyond = seen.find((s) => s.beyond)?.beyond;
    const made = (more: Partial<Sight>): Sight => ({ ...blind, positions, ...(beyond ? { beyond } : {}), ...more });
    const far = (why: string): Sight => made({ beyond: beyond ?? { origin, why } });
    const [x] = seen as readonly [Sight];
    switch (op) {
      case "constant":
        return made({ literal: a.value ?? "table" });
      case "table":
        return made({ literal: "table" });
      case "index":
        return made({ counts: nameOf(a.axis) });
      case "extent":
        return (a.axes ?? []).some((of) => typeof of === "object" && typeof of.size === "string") ? far("counts all positions or samples of the batch, which generation does not know") : made({ literal: "table" });
      case "sum":
      case "mean":
      case "reduce_max":
        return reduced(op, (a.axes ?? []).map(nameOf), x, made, far);
      case "dot": {
        const [ahead, prompt] = [combine(elementwise["mul"]!, seen, (s) => s.ahead), combine(elementwise["mul"]!, seen, (s) => s.prompt)];
        return reduced("sum", a.over ?? [], { ahead, prompt, positions: new Set(seen.flatMap((s) => [...s.positions])) }, made, far);
      }
      case "softmax":
      case "log_softmax":
      case "is_top":
      case "reverse":
      case "cumsum":
        return along(op, nameOf(a.axis), a.reverse === true, x, made, far);
      case "rename": {
        const to = (axis: string): string => a.to![a.from!.indexOf(axis)] ?? axis;
        const renamed = (fills: Fills): Fills => new Map([...fills].map(([axis, fill]) => [to(axis), fill]));
        const { counts, literal: _, positions: __, beyond: ___, ...rest } = x;
        return made({ ...rest, prompt: renamed(x.prompt), ahead: renamed(x.ahead), itself: new Set([...x.itself].map(to)), ...(counts === undefined ? {} : { counts: to(counts) }) });
      }
      case "gather":
        return x.positions.has(nameOf(a.axis)) ? far("takes tokens by their number") : made({});
      case "slice":
        // The first token comes before every other.
        return x.positions.has(nameOf(a.axis)) && (a.start !== 0 || a.as?.size !== 1) ? far("takes tokens by their number") : made({});
      case "reshape": {
        const lost = [...x.positions].some((axis) => !positions.has(axis));
        return lost ? far("takes positions apart or together") : made({ ahead: x.ahead, prompt: x.prompt, itself: x.itself, ...(x.low ? { low: true } : {}) });
      }
      default:
        return made(pointwise(op, seen, type.dtype));
    }
  }

  weight(): Sight {
    return blind;
  }

  number(): Sight {
    return blind;
  }

  layer(): Sight {
    return blind;
  }

  fold(): never {
    throw new Error("a router has no layers");
  }
}

/** What is known of an elementwise result. */
function pointwise(op: string, seen: readonly Sight[], dtype: DType): Partial<Sight> {
  const same = keeping.has(op) || op === "cast";
  const f = op === "cast" ? (v: number): number => (dtype === "bool" ? Number(v !== 0) : dtype === "i32" ? Math.trunc(v) : v) : keeping.has(op) ? (v: number): number => v : elementwise[op];
  const low = seen.some((s) => s.low || (typeof s.literal === "number" && s.literal <= LOW));
  const literals = seen.length > 0 && seen.every((s) => s.literal !== undefined);
  if (!f) return { ...(literals ? { literal: "table" } : {}), ...(low ? { low } : {}) };
  const past = pastOf(op, seen);
  const constant = (f as Numeric)(...seen.map((s) => (typeof s.literal === "number" ? s.literal : Number.NaN)));
  const ahead = past ? new Map([[past.axis, 0]]) : combine(f, seen, (s) => s.ahead);
  return {
    prompt: combine(f, seen, (s) => s.prompt),
    ahead,
    itself: past ? (past.itself ? new Set([past.axis]) : nowhere) : itselfOf(op, seen, ahead),
    ...(literals ? { literal: Number.isNaN(constant) ? "table" : constant } : {}),
    ...(same && seen[0]?.counts !== undefined ? { counts: seen[0].counts } : {}),
    ...(seen[0]?.real && (same || (op === "gt" && seen[1]?.literal === 0)) ? { real: true } : {}),
    ...(low ? { low } : {}),
  };
}

/** The numbers that are known of a result, axis by axis. */
function combine(f: Numeric, seen: readonly Sight[], pick: (s: Sight) => Fills): Fills {
  const made = new Map<string, number>();
  for (const axis of new Set(seen.flatMap((s) => [...pick(s).keys()]))) {
    const value = f(...seen.map((s) => pick(s).get(axis) ?? (typeof s.literal === "number" ? s.literal : Number.NaN)));
    if (!Number.isNaN(value)) made.set(axis, value);
  }
  return made;
}

/** `index(source) <= index(position)`, either way round: ahead it is false; at the position itself true, unless it is strict. */
function pastOf(op: string, seen: readonly Sight[]): { readonly axis: string; readonly itself: boolean } | undefined {
  if (op !== "le" && op !== "lt" && op !== "ge" && op !== "gt") return undefined;
  const [early, late] = (op === "le" || op === "lt" ? seen : [seen[1], seen[0]]) as readonly [Sight, Sight];
  if (early.counts === undefined || early.counts === "position" || late.counts !== "position") return undefined;
  return { axis: early.counts, itself: op === "le" || op === "ge" };
}

/** Along which axes the own position is left by an elementwise result. */
function itselfOf(op: string, seen: readonly Sight[], ahead: Fills): ReadonlySet<string> {
  const [first, chosen] = seen;
  const axes = [...new Set(seen.flatMap((s) => [...s.itself]))];
  if (keeping.has(op) || op === "cast") return first!.itself;
  // Beside the past it is asked at most for real tokens.
  if (op === "and") return new Set(axes.filter((axis) => seen.every((s) => s.itself.has(axis) || s.real)));
  // At the own position the first of two is chosen, which must not be as low as what is left out.
  if (op === "select") return new Set([...first!.itself].filter((axis) => first!.ahead.get(axis) === 0 && chosen!.literal === undefined && (!chosen!.low || chosen!.itself.has(axis))));
  // Scores that are moved or scaled by a number, so that what is left out stays as low.
  if (["neg", "add", "sub", "mul", "div"].includes(op) && seen.filter((s) => s.literal === undefined).length === 1) {
    return new Set(axes.filter((axis) => seen.some((s) => (s.ahead.get(axis) ?? 0) <= LOW) && (ahead.get(axis) ?? 0) <= LOW));
  }
  return nowhere;
}

type Made = (more: Partial<Sight>) => Sight;
type Far = (why: string) => Sight;

function reduced(op: "sum" | "mean" | "reduce_max", over: readonly string[], x: Pick<Sight, "ahead" | "prompt" | "positions">, made: Made, far: Far): Sight {
  const called = op === "reduce_max" ? "the greatest value" : op;
  if (over.includes("sample")) return far(`${called} over the samples of the batch`);
  const crossing = over.filter((axis) => x.positions.has(axis));
  const closed = (axis: string): boolean => (op === "reduce_max" ? (x.ahead.get(axis) ?? 0) <= LOW : x.ahead.get(axis) === 0 || (op === "sum" && x.prompt.get(axis) === 0));
  if (!crossing.every(closed)) return far(`${called} over all positions`);
  // A mean is over as many positions as the batch happens to have.
  if (crossing.length > 0 && op === "mean") return far("mean over as many positions as the batch happens to have");
  // The greatest of equal numbers is that number; of sums only those of 0 are followed.
  const left = (fills: Fills): Fills => new Map([...fills].filter(([axis, fill]) => !over.includes(axis) && (fill === 0 || op === "reduce_max")));
  return made({ ahead: left(x.ahead), prompt: left(x.prompt) });
}

/** Operations along an axis that the result still has. */
function along(op: string, axis: string, reverse: boolean, x: Sight, made: Made, far: Far): Sight {
  if (axis === "sample") return far(`${op} over the samples of the batch`);
  const zeros = (fills: Fills): Fills => new Map([...fills].filter(([, fill]) => fill === 0));
  if (!x.positions.has(axis)) return op === "cumsum" ? made({ ahead: zeros(x.ahead), prompt: zeros(x.prompt) }) : made({});
  if (op === "cumsum" && !reverse && axis === "position") return made({});
  if (op !== "softmax" || (x.ahead.get(axis) ?? 0) > LOW) return far(`${op} over all positions`);
  // Where nothing is left, softmax spreads over everything that was to be left out.
  if (!x.itself.has(axis)) return far("softmax over positions of which none may be left, and then it spreads over all: the token itself must be among them, index(source) <= index(position)");
  return made({ ahead: new Map([[axis, 0]]) });
}

/** Proves that a site's router is causal. Throws MOE3023 with the place where it looks too far. */
export function proveCausal(context: ElaborationContext, plan: SitePlan, place: SitePlace, data: DataPlan, report: (d: Diagnostic) => void = () => {}): void {
  if (!plan.router) return;
  const e = elaborator(context, new SightEmitter(), true);
  const input = standIn(context, place, data, (name, axes): Sight => {
    const positions = new Set(axes.filter((a) => a.size === "position").map((a) => a.name));
    return { ...blind, positions, ...(name === "prompt" ? { prompt: new Map([...positions].map((axis) => [axis, 0])) } : {}), ...(name === "mask" ? { real: true } : {}) };
  });
  const routed = route(e, plan, place, routingOf(e, plan, place, input));
  const beyond = (routed?.compact.handle as Sight | undefined)?.beyond;
  if (!beyond) {
    if (plan.mix === "weights" && routed?.compact.axes.some((a) => a.size === "position")) {
      report(diagnostic("MOE3024", `${plan.router.definition.name.text} gives every token gates of its own, and this mixes weights: each token gets a copy of them`, {
        at: plan.router.call.span,
        help: "mix outputs, which computes the same for experts that are linear in their weights' product and costs no copies; or route by sample (`sentence`), by kind or by a field",
      }));
    }
    return;
  }
  const { file, start, end } = beyond.origin;
  fail("MOE3023", `${plan.router.definition.name.text} is not causal: a gate here depends on ${beyond.why}`, {
    at: { file, start, end },
    secondary: [{ span: plan.router.call.span, text: "routed here" }],
    help: "a token may look at itself, at what came before (`cumsum`), or at the prompt: sum(x * prompt, over: position)",
  });
}

/** Runs the proof once for each router and place of an adapter. */
export function proveCausality(plan: AdapterPlan, context: ElaborationContext, placeOf: (path: string) => SitePlace | undefined, reports: Reports): void {
  const proved = new Set<string>();
  for (const [path, site] of plan.sites) {
    const place = site.router && placeOf(path);
    if (!place) continue;
    const key = JSON.stringify([applicationKey(site.router!), site.mix, site.scope, site.experts, site.groups.length, place.in.size]);
    if (proved.has(key)) continue;
    proved.add(key);
    reports.guard(() => proveCausal(context, site, place, plan, (d) => reports.add(d)));
  }
}
