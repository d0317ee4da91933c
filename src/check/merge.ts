import { diagnostic, type Diagnostic, type Span } from "../diagnostics/index.ts";
import { applyExperts, routingOf, type SiteInput } from "./adapt.ts";
import { AffineEmitter, extent, formOf, kind, prompt, token, type Form, type Seen } from "./affine.ts";
import type { AdapterPlan } from "./assemble.ts";
import { elaborator, type ElaborationContext } from "./context.ts";
import type { Elaborator } from "./elaborate.ts";
import type { ModelInstance, ModelTensor } from "./model.ts";
import type { Bank, DataPlan, Field, SitePlace, SitePlan } from "./plan.ts";
import { route, type Routed } from "./routing.ts";
import { placeOf, routerPath } from "./sites.ts";
import { standIn } from "./standin.ts";
import type { AxisRef, Tensor } from "./values.ts";

/** What a merge is asked to hold fast, where gates depend on it. */
export interface Fixed {
  /** A kind's number among the adapter's. */
  readonly kind?: number;
  readonly fields: ReadonlyMap<string, number>;
}

/** An adapted linear, seen by itself. */
export interface MergeSite {
  /** "layers.0.mlp.gate_proj" */
  readonly path: string;
  readonly plan: SitePlan;
  readonly place: SitePlace;
  /** Where its router stands, where that is not the linear's own. */
  readonly router?: { readonly path: string; readonly place: SitePlace };
  readonly data: DataPlan;
  readonly weight: ModelTensor;
  readonly bias?: ModelTensor;
}

/** Whether every site is a matrix, and what that depends on. */
export interface MergeProof {
  readonly sites: readonly MergeSite[];
  /** Why it cannot be merged, each mistake once. */
  readonly faults: readonly Diagnostic[];
  /** What of the data the gates depend on, and a merge fixes. */
  readonly looksAt: { readonly kind: boolean; readonly fields: ReadonlySet<string> };
}

/** The adapted linears of an adapter, but for blocks that are experts as a whole. */
export function mergeSites(plan: AdapterPlan, model: ModelInstance): MergeSite[] {
  const nodes = new Map(model.nodes.map((n) => [n.path.join("."), n]));
  return [...plan.sites].flatMap(([path, site]): MergeSite[] => {
    const node = nodes.get(path)!;
    const place = placeOf(node, model)!;
    if (node.kind !== "linear") return [];
    const [weight, bias] = node.tensors as readonly [ModelTensor, ModelTensor?];
    const whose = routerPath(path, site, model);
    // A router of the whole model stands before its first layer, and looks at what goes into that.
    const open = site.router && site.scope !== "linear" ? nodes.get(whose === "" ? `${model.stack}.0` : whose) : undefined;
    const axis = open?.axes[0];
    return [
      {
        path,
        plan: site,
        place,
        weight,
        data: plan,
        ...(bias ? { bias } : {}),
        ...(axis ? { router: { path: whose, place: { in: axis, out: axis, layers: place.layers, ...(whose === "" || place.layer === undefined ? {} : { layer: place.layer }) } } } : {}),
      },
    ];
  });
}

/**
 * What one adapted linear computes, by itself: the same elaboration that a whole model gets. `beside` is what a router that
 * is not the linear's own looks at, along its axis.
 */
export function elaborateSite(e: Elaborator, site: MergeSite, given: Omit<SiteInput, "frozen" | "filePrefix">, beside: (axis: AxisRef) => Tensor): { readonly routed: Routed | undefined; readonly apply: (banks: readonly Bank[]) => Tensor } {
  const { plan, place, router, weight } = site;
  const input: SiteInput = { ...given, filePrefix: () => site.path, frozen: { tensor: () => weight.name, order: weight.axes } };
  const routed = router
    ? route(e, plan, router.place, { ...input, x: beside(router.place.in), filePrefix: () => router.path })
    : route(e, plan, place, routingOf(e, plan, place, input));
  return { routed, apply: (banks) => applyExperts(e, { ...plan, banks }, place, input, routed) };
}

/**
 * The proof that a merge means what the adapter means: at every site the output is one matrix times x, and where the
 * linear has a bias one vector more, for every token alike. What depends on the kind of data or on a field is so once
 * these are `fixed`. Nothing is loaded for it.
 */
export function proveMerge(context: ElaborationContext, plan: AdapterPlan, model: ModelInstance, fixed: Fixed): MergeProof {
  const faults = new Map<string, Diagnostic>();
  const report = (d: Diagnostic): void => {
    const span = d.primary!.span;
    const key = `${d.code} ${span.file}:${span.start}-${span.end}`;
    if (!faults.has(key)) faults.set(key, d);
  };
  for (const site of plan.sites.values()) {
    for (const patch of site.patches) {
      report(
        diagnostic("MOE3033", `${patch.name} is a block as a whole, computed once for each of its ${patch.count} expert${patch.count === 1 ? "" : "s"}: one set of weights does not do what their mix does`, {
          at: patch.span,
          help: keep,
        }),
      );
    }
  }
  const looksAt = { kind: false, fields: new Set<string>() };
  const fieldsSeen = new Map(plan.fields.map((f): [string, Seen] => [f.name, { what: `the field "${f.name}"`, fixed: f }]));
  const sites = mergeSites(plan, model);
  for (const site of sites) {
    for (const { fixed: by } of proveSite(context, site, fieldsSeen, fixed, report)) {
      if (by === "kind") looksAt.kind = true;
      else if (by) looksAt.fields.add(by.name);
    }
  }
  return { sites, faults: [...faults.values()], looksAt };
}

/** What the parts of a batch tell, by their names. */
const seenBy: Readonly<Record<string, Seen>> = { mask: extent, prompt, kind, first_pass: token };

/** What to do with an adapter that is no matrix. */
const keep = "keep the adapter beside the base: `moec eval` and `moec generate` take its folder as it is";

/** Looks at each of a site's banks by itself; returns all that they depend on. */
function proveSite(context: ElaborationContext, site: MergeSite, fieldsSeen: ReadonlyMap<string, Seen>, fixed: Fixed, report: (d: Diagnostic) => void): ReadonlySet<Seen> {
  const e = elaborator(context, new AffineEmitter(), false);
  const input = standIn(context, site.place, site.data, (name, axes) => {
    if (name === "x") return formOf("linear", axes);
    if (name === "y") return formOf(site.bias ? "affine" : "linear", axes);
    const seen = Object.hasOwn(seenBy, name) ? seenBy[name] : fieldsSeen.get(name);
    return formOf("constant", axes, ...(seen ? [seen] : []));
  });
  const beside = (axis: AxisRef): Tensor => ({ ...input.x, axes: [...input.mask.axes, axis], handle: formOf("constant", input.mask.axes, token) });
  const { routed, apply } = elaborateSite(e, site, input, beside);
  const gates = routed?.compact.handle as Form | undefined;
  const sees = new Set<Seen>();
  for (const bank of site.plan.banks) {
    const form = apply([bank]).handle as Form;
    for (const s of form.sees) sees.add(s);
    const fault = whyNot(site, bank, form, bank.always ? undefined : gates, fixed);
    if (fault) report(fault);
  }
  return sees;
}

/** Why one bank's part of a site is no matrix; undefined where it is one. */
function whyNot(site: MergeSite, bank: Bank, form: Form, gates: Form | undefined, fixed: Fixed): Diagnostic | undefined {
  const open = [...form.sees].filter((s) => s.fixed === undefined);
  const router = site.plan.router;
  if (router && gates && (open.length > 0 || (form.degree === "other" && gates.degree !== "constant"))) {
    const name = router.definition.name.text;
    const all = new Set(gates.degree === "constant" ? open : [token, ...open]);
    // Of a prompt the tokens are a part: the prompt is what to speak of.
    const what = all.has(prompt) ? prompt.what : [...all].map((s) => s.what).join(" and ");
    return diagnostic("MOE3030", `${name}'s gates depend on ${what}: ${all.has(prompt) ? "each text has" : "each token has"} weights of its own, and a merged checkpoint has one set`, {
      at: router.call.span,
      ...(gates.bent ? { secondary: [{ span: spanOf(gates.bent.origin), text: gates.bent.what }] } : {}),
      help: `${keep}. Gates that depend on the kind of data or on a field alone can be merged, for one of them at a time`,
    });
  }
  if (form.degree === "other" || open.length > 0) {
    return diagnostic("MOE3031", `${bank.definition.name.text} is not linear in the layer's input: no matrix does what it does`, {
      at: bank.call.span,
      ...(form.bent ? { secondary: [{ span: spanOf(form.bent.origin), text: form.bent.what }] } : {}),
      help: keep,
    });
  }
  if (form.degree !== "linear" && !site.bias) {
    return diagnostic("MOE3032", `${bank.definition.name.text} adds a constant, and ${site.path} has no bias in the checkpoint that could take it`, {
      at: bank.call.span,
      ...(form.raised ? { secondary: [{ span: spanOf(form.raised.origin), text: form.raised.what }] } : {}),
      help: keep,
    });
  }
  return gates && router ? missing(site, form, fixed) : undefined;
}

/** What the gates depend on, could be fixed, and was not. */
function missing({ plan, data }: MergeSite, form: Form, fixed: Fixed): Diagnostic | undefined {
  const router = plan.router!;
  const isOpen = (by: "kind" | Field): boolean => (by === "kind" ? fixed.kind === undefined : !fixed.fields.has(by.name));
  const open = [...form.sees].flatMap((s) => (s.fixed !== undefined && isOpen(s.fixed) ? [s] : []));
  if (open.length === 0) return undefined;
  const options = open.map(({ fixed: by }) => (by === "kind" ? `--kind ${data.kinds.join(" | ")}` : `--field ${(by as Field).name}=NUMBER`));
  return diagnostic("MOE3034", `${router.definition.name.text}'s gates depend on ${open.map((s) => s.what).join(" and ")}: a merged checkpoint is for one of them`, {
    at: router.call.span,
    help: `say which: ${options.join(" ")}`,
  });
}

function spanOf({ file, start, end }: Span): Span {
  return { file, start, end };
}
