import { diagnostic, fail, type Diagnostic } from "../diagnostics/index.ts";
import { routingOf } from "./adapt.ts";
import type { AdapterPlan } from "./assemble.ts";
import { elaborator, type ElaborationContext } from "./context.ts";
import type { EmitOrigin, Emitter } from "./emitter.ts";
import type { Reports } from "./params.ts";
import { applicationKey, type DataPlan, type SitePlace, type SitePlan } from "./plan.ts";
import { route } from "./routing.ts";
import { standIn } from "./standin.ts";
import type { AxisRef } from "./values.ts";

/**
 * The proof that a router is causal: no gate of a token may depend on a later one, or on the other samples of the batch.
 * In training such a router would see the answer it is asked for, and at generation there is nothing there to see.
 *
 * Every value of a router's text is followed with what it can see. The prompt is all there when the first token is
 * generated, so a sum of what is 0 outside the prompt (`x * prompt`) may cross positions; so may a sum over another name
 * of the positions where what lies ahead is masked (`index(source) <= index(position)`).
 */
export interface Sight {
  /** Where it first saw a later token or another sample, and what was done there. */
  readonly beyond?: { readonly origin: EmitOrigin; readonly why: string };
  /** Axes of positions along which it is 0 outside the prompt. */
  readonly prompt: ReadonlySet<string>;
  /** Axes of positions along which nothing ahead of the value's own position counts. */
  readonly masked: ReadonlySet<string>;
  /** The axis whose places it counts: 0, 1, 2 … */
  readonly counts?: string;
  /** Known when the text is compiled. */
  readonly literal?: boolean;
  /** The axes of positions that the value has. */
  readonly positions: ReadonlySet<string>;
}

const none: ReadonlySet<string> = new Set();
const blind: Sight = { prompt: none, masked: none, positions: none };

/** Elementwise operations that keep a zero. */
const keepsZero: ReadonlySet<string> = new Set(["neg", "abs", "sign", "sqrt", "square", "sin", "tanh", "relu", "floor", "log1p", "erf", "cast", "stop", "copy", "transpose", "expand"]);

/** Follows what each value of a router can see. */
export class SightEmitter implements Emitter {
  op(op: string, operands: readonly unknown[], attributes: object, type: { readonly axes: readonly AxisRef[] }, origin: EmitOrigin): Sight {
    const seen = operands as readonly Sight[];
    const a = attributes as { readonly axes?: readonly (string | AxisRef)[]; readonly axis?: string | AxisRef; readonly over?: readonly string[]; readonly from?: readonly string[]; readonly to?: readonly string[]; readonly reverse?: boolean };
    const nameOf = (axis: string | AxisRef | undefined): string => (typeof axis === "object" ? axis.name : (axis ?? ""));
    const positions = new Set(type.axes.filter((x) => x.size === "position").map((x) => x.name));
    const beyond = seen.find((s) => s.beyond)?.beyond;
    const all = (pick: (s: Sight) => ReadonlySet<string>): Set<string> => new Set(seen.flatMap((s) => [...pick(s)]));
    const common = (pick: (s: Sight) => ReadonlySet<string>): Set<string> => new Set([...all(pick)].filter((x) => seen.every((s) => s.literal || pick(s).has(x))));
    const made = (more: Partial<Sight>): Sight => ({ prompt: none, masked: none, positions, ...(beyond ? { beyond } : {}), ...more });
    const far = (why: string): Sight => made({ beyond: beyond ?? { origin, why } });
    switch (op) {
      case "constant":
      case "table":
        return made({ literal: true });
      case "index":
        return made({ counts: nameOf(a.axis) });
      case "extent":
        return (a.axes ?? []).some((x) => typeof x === "object" && typeof x.size === "string") ? far("counts all positions or samples of the batch, which generation does not know") : made({ literal: true });
      case "le":
      case "lt":
      case "ge":
      case "gt": {
        // index(source) <= index(position): only what stands before or at the position is left.
        const [early, late] = op === "le" || op === "lt" ? seen : [seen[1]!, seen[0]!];
        const ahead = early!.counts !== undefined && late!.counts === "position" && early!.counts !== "position" ? [early!.counts] : [];
        return made({ masked: new Set(ahead) });
      }
      case "and":
        return made({ masked: all((s) => s.masked), prompt: all((s) => s.prompt) });
      case "mul":
        return made({ masked: all((s) => s.masked), prompt: all((s) => s.prompt) });
      case "div":
        return made({ masked: seen[0]!.masked, prompt: seen[0]!.prompt });
      case "add":
      case "sub":
      case "max":
      case "min":
        return made({ masked: common((s) => s.masked), prompt: common((s) => s.prompt) });
      case "select":
        // Where the condition holds only up to here, and the rest is a literal, nothing ahead counts.
        return made({ masked: new Set([...(seen[2]!.literal ? seen[0]!.masked : none), ...[...seen[1]!.masked].filter((x) => seen[2]!.masked.has(x))]) });
      case "sum":
      case "mean":
      case "reduce_max":
        return this.#reduce(op, (a.axes ?? []).map(nameOf), seen[0]!, made, far);
      case "dot": {
        const [x, y] = seen as readonly [Sight, Sight];
        return this.#reduce("sum", a.over ?? [], { prompt: new Set([...x.prompt, ...y.prompt]), masked: new Set([...x.masked, ...y.masked]), positions: new Set([...x.positions, ...y.positions]) }, made, far);
      }
      case "softmax":
      case "log_softmax":
      case "is_top":
      case "reverse":
      case "cumsum": {
        const axis = nameOf(a.axis);
        const x = seen[0]!;
        if (axis === "sample") return far(`${op} over the samples of the batch`);
        if (!x.positions.has(axis)) return made({ masked: op === "cumsum" ? x.masked : none, prompt: op === "cumsum" ? x.prompt : none });
        if (op === "cumsum" && !a.reverse && axis === "position") return made({});
        return op === "softmax" && x.masked.has(axis) ? made({ masked: x.masked }) : far(`${op} over all positions`);
      }
      case "rename": {
        const renamed = (names: ReadonlySet<string>): Set<string> => new Set([...names].map((x) => a.to![a.from!.indexOf(x)] ?? x));
        const x = seen[0]!;
        return made({ prompt: renamed(x.prompt), masked: renamed(x.masked), ...(x.counts === undefined ? {} : { counts: a.to![a.from!.indexOf(x.counts)] ?? x.counts }) });
      }
      case "reshape": {
        const lost = [...all((s) => s.positions)].some((x) => !positions.has(x));
        return lost ? far("takes positions apart or together") : made({ masked: seen[0]!.masked, prompt: seen[0]!.prompt });
      }
      default:
        if (seen.length === 1 && keepsZero.has(op)) return made({ masked: seen[0]!.masked, prompt: seen[0]!.prompt, ...(seen[0]!.literal ? { literal: true } : {}), ...(op === "cast" && seen[0]!.counts !== undefined ? { counts: seen[0]!.counts } : {}) });
        return made(seen.length > 0 && seen.every((s) => s.literal) ? { literal: true } : {});
    }
  }

  #reduce(op: string, over: readonly string[], x: Sight, made: (more: Partial<Sight>) => Sight, far: (why: string) => Sight): Sight {
    if (over.includes("sample")) return far(`${op} over the samples of the batch`);
    const crossing = over.filter((axis) => x.positions.has(axis));
    const open = crossing.filter((axis) => !x.masked.has(axis) && !(op === "sum" && x.prompt.has(axis)));
    if (open.length > 0) return far(`${op} over all positions`);
    // A mean is over as many positions as the batch happens to have.
    if (crossing.length > 0 && op === "mean") return far("mean over as many positions as the batch happens to have");
    const left = (names: ReadonlySet<string>): Set<string> => new Set([...names].filter((axis) => !over.includes(axis)));
    return made({ masked: left(x.masked), prompt: left(x.prompt) });
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

/** Proves that a site's router is causal. Throws MOE3023 with the place where it looks too far. */
export function proveCausal(context: ElaborationContext, plan: SitePlan, place: SitePlace, data: DataPlan, report: (d: Diagnostic) => void = () => {}): void {
  if (!plan.router) return;
  const e = elaborator(context, new SightEmitter(), true);
  const input = standIn(context, place, data, (name, axes): Sight => {
    const positions = new Set(axes.filter((a) => a.size === "position").map((a) => a.name));
    return { ...blind, positions, ...(name === "prompt" ? { prompt: positions } : {}) };
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
