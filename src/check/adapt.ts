import { balance, type Balanced } from "./balances.ts";
import { axisNames, bindOffers, definitionScope, evaluateSignature, signatureOf } from "./definition.ts";
import type { Elaborator } from "./elaborate.ts";
import type { FrozenSource } from "./emitter.ts";
import type { Bank, SitePlace, SitePlan } from "./plan.ts";
import { route, type ExpertWeights, type Routed, type RoutingInput } from "./routing.ts";
import { Scope } from "./scope.ts";
import type { AxisRef, Tensor } from "./values.ts";
import { items } from "./weights.ts";

/** What an adapted linear works on. */
export interface SiteInput extends RoutingInput {
  /** The layer's frozen output. */
  readonly y: Tensor;
  /** The frozen weight [in, out], in whatever order it lies. */
  readonly W: Tensor;
  /** The frozen weight's tensor in the checkpoint, and its axes there: what first values may be computed from. */
  readonly frozen: FrozenSource;
  /** Whether balance terms and the use of groups are wanted. */
  readonly statistics: boolean;
}

export interface SiteOutput extends Balanced {
  readonly output: Tensor;
  readonly gates?: Tensor;
}

/** Applies a plan to one linear whose router is its own: `route`, `applyExperts` and `balance` together. */
export function applySite(elaborator: Elaborator, plan: SitePlan, place: SitePlace, input: SiteInput): SiteOutput {
  const routed = route(elaborator, plan, place, routingOf(elaborator, plan, place, input));
  const output = applyExperts(elaborator, plan, place, input, routed);
  const balanced: Balanced = input.statistics && routed ? balance(elaborator, plan, place, routed, input) : { terms: [] };
  return { output, ...balanced, ...(routed ? { gates: routed.gates } : {}) };
}

/**
 * y + Σ always(x) + Σ_e gates_e · expert_e(x). Everything general: each expert for every token, gates multiplied, summed
 * over the experts. What makes it cheap is the passes' work.
 */
export function applyExperts(elaborator: Elaborator, plan: SitePlan, place: SitePlace, input: SiteInput, routed: Routed | undefined): Tensor {
  const { ops } = elaborator;
  let output = input.y;
  for (const bank of plan.banks) {
    if (!bank.always && !routed) continue;
    output = ops.inside(bank.name, () =>
      ops.at(bank.call.span, () => {
        if (bank.always) return ops.arithmetic("add", output, expert(elaborator, bank, place, undefined, plan, input));
        const mixed = plan.mix === "weights";
        const { own, share } = shareOf(elaborator, bank, plan, routed!, [input.x, input.y], mixed ? routed!.compact : routed!.gates);
        // One expert, made of all of them: Σ gates · A, Σ gates · B, and so on.
        if (mixed) return ops.arithmetic("add", output, expert(elaborator, bank, place, own, plan, input, share));
        const value = expert(elaborator, bank, place, own, plan, input);
        return ops.arithmetic("add", output, ops.reduce("sum", ops.arithmetic("mul", share, value), [own]));
      }),
    );
  }
  return output === input.y ? output : ops.transpose(output, input.y.axes);
}

/** A bank's own expert axis, and its part of the gates. `beside` are tensors whose axes it must not be called like. */
export function shareOf(elaborator: Elaborator, bank: Pick<Bank, "name" | "start" | "count">, plan: SitePlan, routed: Routed, beside: readonly Tensor[], gates = routed.gates): { readonly own: AxisRef; readonly share: Tensor } {
  const { ops } = elaborator;
  if (bank.start === 0 && bank.count === plan.experts) return { own: routed.expert, share: gates };
  const own = ops.axes.get(bank.name, bank.count, axisNames(...beside, routed.gates));
  return { own, share: ops.slice(gates, routed.expert, bank.start, own) };
}

/** What a bank's experts add to a linear, for each of them where they have an axis; `mix`ed into one where that is asked for. */
export function expert(elaborator: Elaborator, bank: Bank, place: SitePlace, axis: AxisRef | undefined, plan: SitePlan, input: SiteInput, mix?: Tensor): Tensor {
  const scope = bankScope(elaborator, bank, place, axis, plan, input, mix);
  const signature = signatureOf(bank);
  const body = new Scope(scope);
  const offers = new Map([["x", input.x], ["y", input.y], ["W", input.W]]);
  bindOffers(elaborator, bank, signature, body, offers, "an expert");
  const outer = elaborator.mapped;
  elaborator.mapped = axis;
  try {
    return elaborator.ops.at(signature.span, () => evaluateSignature(elaborator, bank, signature, body, [place.out]));
  } finally {
    elaborator.mapped = outer;
  }
}

/** The scope of a bank's definition at its site, with its weights. */
function bankScope(elaborator: Elaborator, bank: Bank, place: SitePlace, axis: AxisRef | undefined, plan: SitePlan, input: SiteInput, mix?: Tensor): Scope {
  const scope = definitionScope(bank, place, [input.x, input.y]);
  if (axis) scope.hidden.add(axis.name);
  // Files keep experts apart, under the groups' names: how they are stacked is nobody's business there.
  const names = (layer: number | undefined): string[] => {
    const prefix = input.filePrefix(layer);
    if (!axis) return [`${prefix}.${bank.name}`];
    return Array.from({ length: bank.count }, (_, i) => {
      const group = plan.groups.find((g) => bank.start + i >= g.start && bank.start + i < g.start + g.count)!;
      return `${prefix}.${group.name}.${bank.start + i - group.start}`;
    });
  };
  const shared = (layer: number | undefined): string[] => [`${input.filePrefix(layer)}.${bank.name}.shared`];
  items(elaborator, bank, scope, place, axis, { own: names, start: bank.start, shared, frozen: input.frozen, ...(mix ? { mix } : {}) });
  return scope;
}

/**
 * The weights of a site's routed experts, by name, where all of them are of one definition with equal arguments: a router may
 * look at them (Arrow). They are the very weights that the experts compute with.
 */
function expertWeights(elaborator: Elaborator, plan: SitePlan, place: SitePlace, input: SiteInput): ExpertWeights | undefined {
  const { ops } = elaborator;
  const routed = plan.banks.filter((b) => !b.always);
  const [bank] = routed;
  if (!bank || routed.length > 1 || plan.patches.length > 0) return undefined;
  const axis = ops.axes.get("expert", plan.experts);
  const path = [...ops.path, bank.name];
  return {
    names: bank.definition.items.flatMap((i) => (i.kind === "weight" ? [i.name.text] : [])),
    scope: () => {
      const outer = ops.path;
      ops.path = path;
      try {
        return bankScope(elaborator, bank, place, axis, plan, input);
      } finally {
        ops.path = outer;
      }
    },
  };
}

/** What a site's router is given: what the site has, and where it is the linear's own the experts' weights too. */
export function routingOf(elaborator: Elaborator, plan: SitePlan, place: SitePlace, input: SiteInput): RoutingInput {
  if (plan.scope !== "linear") return input;
  const experts = expertWeights(elaborator, plan, place, input);
  return experts ? { ...input, experts } : input;
}
