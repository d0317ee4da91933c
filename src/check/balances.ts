import { fail } from "../diagnostics/index.ts";
import { asksFor, bindOffers, definitionScope, evaluateSignature, signatureOf, type Offer } from "./definition.ts";
import type { Elaborator } from "./elaborate.ts";
import { withProgress, type PlannedBalance, type SitePlace, type SitePlan } from "./plan.ts";
import { defineGroups, groupsOf, oneHot, type Routed, type RoutingInput } from "./routing.ts";
import { Scope } from "./scope.ts";
import { showAxes, type AxisRef, type Tensor } from "./values.ts";
import { items } from "./weights.ts";

export interface Balanced {
  /** The weighted sum of the plan's balance terms, a scalar. */
  readonly balance?: Tensor;
  /** Each term before weighting, in the order of the text. */
  readonly terms: readonly Tensor[];
}

/** What a balance's term is multiplied by: its weight, over the number of sites where the mean is asked for. */
export function factorOf(elaborator: Elaborator, { weight, reduction }: PlannedBalance, sites: number): Tensor {
  const { ops } = elaborator;
  const share = reduction === "mean" ? sites : 1;
  if (typeof weight === "number") return ops.scalar(weight / share);
  const value = elaborator.tensor(elaborator.evaluate(weight.expression, withProgress(weight.scope, elaborator)), weight.expression);
  return share === 1 ? value : ops.arithmetic("div", value, ops.scalar(share));
}

/** The balance terms on a router's gates, but for those that are pooled over sites. */
export function balance(elaborator: Elaborator, plan: SitePlan, place: SitePlace, routed: Routed, input: RoutingInput): Balanced {
  const { ops } = elaborator;
  const terms: Tensor[] = [];
  let total: Tensor | undefined;
  for (const planned of plan.balances) {
    if (planned.reduction === "pooled") continue;
    const term = ops.inside("balance", () => ops.at(planned.clause.span, () => balanceTerm(elaborator, planned, plan, place, routed, input)));
    terms.push(term);
    const weighted = ops.at(planned.clause.span, () => ops.arithmetic("mul", term, factorOf(elaborator, planned, input.sites)));
    total = total ? ops.arithmetic("add", total, weighted) : weighted;
  }
  return { terms, ...(total ? { balance: total } : {}) };
}

/** A balance's term on gates, before it is weighted. */
export function balanceTerm(
  elaborator: Elaborator,
  planned: PlannedBalance,
  plan: SitePlan,
  place: SitePlace,
  { gates, expert: expertAxis, intermediates }: Pick<Routed, "gates" | "expert" | "intermediates">,
  input: RoutingInput,
): Tensor {
  const { ops } = elaborator;
  const scope = definitionScope(planned, place, [input.x], expertAxis);
  const [sample] = input.mask.axes as readonly [AxisRef];
  const position = ops.axes.get("position", "position");
  scope.define("sample", { kind: "axis", axis: sample });
  scope.define("position", { kind: "axis", axis: position });
  defineGroups(scope, plan, ops.axes);
  items(elaborator, planned, scope, place, undefined, { own: () => [] });
  const mask = planned.unmasked ? ops.expand(ops.scalar(1), [sample, position]) : input.mask;
  const offers = new Map<string, Offer>([["gates", gates], ["mask", mask], ["group", () => groupsOf(elaborator, plan, expertAxis)], ...intermediates]);
  const signature = signatureOf(planned);
  if (asksFor(signature, "matched")) offers.set("matched", () => matched(elaborator, planned, plan, expertAxis, input.kind, input.data.kinds));
  const body = new Scope(scope);
  bindOffers(elaborator, planned, signature, body, offers, "a balance");
  const term = ops.at(signature.span, () => evaluateSignature(elaborator, planned, signature, body, []));
  // An axis that the text does not see cannot be mapped over here: a balance is one number for the batch.
  if (term.axes.length) {
    fail("MOE3002", `${planned.definition.name.text} is one number for the batch, and computes ${showAxes(term.axes)}`, {
      at: signature.body.result.span,
      help: "declare the axes of what it asks for, so that its reductions see them: gates [sample, position, expert]",
    });
  }
  return term;
}

/** bool [sample, expert]: whether the sample's kind maps to the expert's group. No row of the table for kind -1. */
function matched(elaborator: Elaborator, planned: PlannedBalance, plan: SitePlan, expertAxis: AxisRef, kind: Tensor, kinds: readonly string[]): Tensor {
  const { ops } = elaborator;
  const kindAxis = ops.axes.get("kind", kinds.length);
  const values = kinds.flatMap((k) =>
    Array.from({ length: plan.experts }, (_, e) => {
      const group = plan.groups.find((g) => e >= g.start && e < g.start + g.count)!;
      return planned.map.get(k)?.includes(group.name) ? 1 : 0;
    }),
  );
  const is = oneHot(elaborator, kind, kindAxis);
  return ops.compare("gt", ops.dot(is, ops.table(values, [kindAxis, expertAxis]), [kindAxis]), ops.scalar(0.5));
}
