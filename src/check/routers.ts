import { diagnostic, type Diagnostic, type Span } from "../diagnostics/index.ts";
import { routingOf } from "./adapt.ts";
import type { AdapterPlan } from "./assemble.ts";
import { balance } from "./balances.ts";
import { elaborator, type ElaborationContext } from "./context.ts";
import type { Emitter } from "./emitter.ts";
import { planKey, type DataPlan, type SitePlace, type SitePlan } from "./plan.ts";
import { nothing, reached, ReachEmitter, type Reach } from "./reach.ts";
import { route } from "./routing.ts";
import { standIn } from "./standin.ts";

/**
 * What is legal and probably wrong with a router and the balances on its gates, each looked at by itself, without the
 * model around it. Sites that are planned alike are looked at once. `placeOf` knows where a site is.
 */
export function routerWarnings(plan: AdapterPlan, context: ElaborationContext, placeOf: (path: string) => SitePlace | undefined): Diagnostic[] {
  const found: Diagnostic[] = [];
  const seen = new Set<string>();
  for (const [path, site] of plan.sites) {
    const key = site.router && planKey(site);
    if (key === undefined || seen.has(key)) continue;
    seen.add(key);
    const place = placeOf(path);
    if (!place) continue;
    found.push(...dropped(site, place, plan, context), ...detached(site, place, plan, context));
  }
  return found;
}

/** What a value is computed from: the dropout that it first met, where it met one. */
interface Trace {
  readonly dropped?: Span;
}

const untouched: Trace = {};

/** Elaborates without building, and follows what `drop` left: through comparisons and choices too, as no gradient would. */
const following: Emitter = {
  op: (_op, operands) => (operands as Trace[]).find((t) => t.dropped) ?? untouched,
  weight: () => untouched,
  number: () => untouched,
  layer: () => untouched,
  dropped: (_handle, { file, start, end }): Trace => ({ dropped: { file, start, end } }),
  fold: (_run, carried, body) => body(carried),
};

/** Gates that depend on what dropout left of the router's input. */
function dropped(site: SitePlan, place: SitePlace, data: DataPlan, context: ElaborationContext): Diagnostic[] {
  const e = elaborator(context, following, true);
  const input = standIn(context, place, data, () => untouched);
  const gates = route(e, site, place, routingOf(e, site, place, input))?.gates.handle as Trace | undefined;
  if (!gates?.dropped) return [];
  const { call, definition } = site.router!;
  return [
    diagnostic("MOE2042", `${definition.name.text} sees dropped-out input: while training, chance chooses the experts`, {
      at: call.span,
      secondary: [{ span: gates.dropped, text: "dropped out here" }],
      help: "give the router the input as it is",
    }),
  ];
}

/** Balances from which no gradient flows to a weight of the router: they would only move what the layers before compute. */
function detached(site: SitePlan, place: SitePlace, data: DataPlan, context: ElaborationContext): Diagnostic[] {
  const e = elaborator(context, new ReachEmitter(), true);
  const input = standIn(context, place, data, () => nothing);
  const routed = route(e, site, place, routingOf(e, site, place, input));
  if (!routed) return [];
  // What is pooled over sites learns as it does at each of them.
  const each = { ...site, balances: site.balances.map((b) => ({ ...b, reduction: "sum" as const })) };
  const { terms } = balance(e, each, place, routed, input);
  return site.balances.flatMap(({ definition, clause, weight }, i) => {
    if (weight === 0 || reached([terms[i]!.handle as Reach]).size > 0) return [];
    return [
      diagnostic("MOE3025", `no weight of ${site.router!.definition.name.text} learns from ${definition.name.text}: it would balance nothing`, {
        at: clause.span,
        secondary: [{ span: site.router!.call.span, text: "the router is here" }],
        help: "remove it, or use a router whose gates it can change",
      }),
    ];
  });
}
