import { diagnostic, type Diagnostic, type Span } from "../diagnostics/index.ts";
import type { AdapterDeclaration, AtClause } from "../parser/ast.ts";
import type { AdapterPlan } from "./assemble.ts";
import type { ElaborationContext } from "./context.ts";
import { dataOf } from "./data.ts";
import type { Elaborator } from "./elaborate.ts";
import { clauseNamesLayer } from "./layers.ts";
import type { ModelInstance, ModelNode } from "./model.ts";
import type { Reports } from "./params.ts";
import { resolvePath } from "./paths.ts";
import { Planner, type SitePlace, type SitePlan } from "./plan.ts";

/** Resolves every `at` against the model and plans each site. */
export function planAdapter(declaration: AdapterDeclaration, model: ModelInstance, context: ElaborationContext, dry: Elaborator, reporter: Reports, used: Set<object>): AdapterPlan {
  const report = (d: Diagnostic) => reporter.add(d);
  const data = dataOf(declaration, context.constants, dry, reporter);
  const planner = new Planner(context.definitions, dry, context.constants, data);
  const sites = new Map<string, SitePlan>();
  const unfrozen = new Set<string>();
  const routers = new Map<AtClause, Set<string>>();
  const owners = new Map<string, AtClause>();
  const shared = new Map<string, { readonly at: AtClause; readonly plan: SitePlan }>();
  if (declaration.sites.length === 0) reporter.add(diagnostic("MOE2025", `the adapter "${declaration.name.text}" adapts nothing`, { at: declaration.name.span, help: "add a clause: at PATH { … }" }));
  for (const at of declaration.sites) {
    const found: Diagnostic[] = [];
    const nodes = resolvePath(at.path, model.nodes, model.definition.name.text, found);
    for (const d of found) reporter.add(d);
    if (nodes.length === 0) continue;
    if (at.clauses.some((c) => c.kind === "unfreeze")) {
      const named = new Set(nodes.map((n) => n.path.join(".")));
      const within = (n: ModelNode): boolean => n.path.some((_, length) => named.has(n.path.slice(0, length + 1).join(".")));
      for (const n of model.nodes) if (n.kind !== "block" && within(n)) unfrozen.add(n.path.join("."));
    }
    if (!at.clauses.some((c) => c.kind !== "unfreeze")) {
      if (at.clauses.length === 0) planSyntaxOnly(at, report);
      continue;
    }
    const blocks = nodes.filter((n) => n.kind === "block" && linearsOf(n, model).length > 0);
    const onBlocks = at.clauses.some((c) => (c.kind === "experts" || c.kind === "always") && c.value.kind === "patch") && blocks.length > 0;
    const linears = onBlocks ? blocks : nodes.filter((n) => n.kind === "linear");
    if (linears.length === 0) {
      const inside = [...new Set(model.nodes.filter((n) => n.kind === "linear" && nodes.some((m) => isWithin(n, m))).map((n) => n.path[n.path.length - 1]!))];
      reporter.add(
        diagnostic("MOE3015", "experts stand on linear layers, and this path names none", {
          at: at.path.span,
          ...(inside.length ? { help: `linear layers inside: ${inside.join(", ")}; go on with .{${inside.join(", ")}}` } : {}),
        }),
      );
      continue;
    }
    const byLayer = clauseNamesLayer(at, context.definitions);
    const planned = new Map<string, SitePlan>();
    for (const node of linears) {
      const path = node.path.join(".");
      const inside = node.kind === "block" ? linearsOf(node, model) : [];
      const covered = [path, ...inside.map((n) => n.path.join("."))];
      const owner = covered.map((p) => owners.get(p)).find((o) => o !== undefined && o !== at);
      if (owner) {
        reporter.add(diagnostic("MOE3016", `${path} is adapted twice`, { at: at.path.span, secondary: [{ span: owner.path.span, text: "already here" }], help: "put all its experts into one clause" }));
        break;
      }
      for (const p of covered) owners.set(p, at);
      const place = placeOf(node, model);
      if (!place) continue;
      // Layers are planned alike where nothing of the clause speaks of the layer.
      const alike = byLayer ? undefined : JSON.stringify([node.path.filter((_, i) => i !== 1 || node.layer === undefined), place.in.size, place.out.size]);
      const plan = (alike === undefined ? undefined : planned.get(alike)) ?? planner.plan(at, place, reporter.guard, report);
      if (alike !== undefined) planned.set(alike, plan);
      for (const a of [...plan.banks, ...plan.patches.flatMap((p) => [...p.entries.values()]), ...(plan.router ? [plan.router] : []), ...plan.balances]) used.add(a.definition);
      if (plan.scope !== "linear" && !sharesRouter(at, plan, routerPath(path, plan, model), shared, report)) break;
      sites.set(path, plan);
      routers.set(at, (routers.get(at) ?? new Set()).add(routerPath(path, plan, model)));
    }
  }
  return { sites, unfrozen, ...data, groups: groupsOf(sites, model), siteCount: (plan) => routers.get(plan.at)?.size ?? 1 };
}

/** A block has one router of its own, for one clause and as many experts on each of its linears. */
function sharesRouter(at: AtClause, plan: SitePlan, block: string, shared: Map<string, { readonly at: AtClause; readonly plan: SitePlan }>, report: (d: Diagnostic) => void): boolean {
  const first = shared.get(block);
  if (!first) shared.set(block, { at, plan });
  else if (first.at !== at) {
    const route = (of: AtClause): Span => (of.clauses.find((c) => c.kind === "route") ?? of.path).span;
    report(diagnostic("MOE2020", `${block} has a router per block already`, { at: route(at), secondary: [{ span: route(first.at), text: "the first is here" }], help: "put the linears that share it into one clause, or leave out `per block` in one of them" }));
    return false;
  } else if (first.plan.experts !== plan.experts) {
    report(diagnostic("MOE3005", `the linears of ${block} share a router, and have ${first.plan.experts} and ${plan.experts} experts`, { at: at.path.span, help: "give each as many, or leave out `per block`" }));
    return false;
  }
  return true;
}

function planSyntaxOnly(at: AtClause, report: (d: Diagnostic) => void): void {
  report(diagnostic("MOE2025", "this clause puts nothing on its sites", { at: at.path.span, help: "add `experts`, `always` or `unfreeze`" }));
}

function isWithin(node: ModelNode, outer: ModelNode): boolean {
  return outer.path.length <= node.path.length && outer.path.every((p, i) => node.path[i] === p);
}

/** The linear layers directly in a block. */
function linearsOf(block: ModelNode, model: ModelInstance): ModelNode[] {
  return model.nodes.filter((n) => n.kind === "linear" && n.path.length === block.path.length + 1 && isWithin(n, block));
}

/** Where a plan is made: a linear's sides, or a block's input with its linears. Undefined for a block without an input axis. */
export function placeOf(node: ModelNode, model: ModelInstance): SitePlace | undefined {
  const layer = { layers: model.layers, ...(node.layer === undefined ? {} : { layer: node.layer }) };
  const [from, to] = node.axes;
  if (node.kind !== "block") return { in: from!, out: to!, ...layer };
  if (!from) return undefined;
  return { in: from, out: from, ...layer, linears: new Map(linearsOf(node, model).map((n) => [n.path.at(-1)!, { in: n.axes[0]!, out: n.axes[1]!, ...layer }])) };
}

/** The linear, block or layer that a site's router belongs to; "" for the whole model. */
export function routerPath(path: string, { scope }: SitePlan, model: ModelInstance): string {
  const parts = path.split(".");
  switch (scope) {
    case "linear":
      return path;
    case "block":
      return parts.slice(0, -1).join(".");
    case "layer":
      return parts[0] === model.stack ? parts.slice(0, 2).join(".") : path;
    case "model":
      return "";
  }
}

/** All groups, with the number of routers that each is weighed by. */
function groupsOf(sites: ReadonlyMap<string, SitePlan>, model: ModelInstance): { name: string; experts: number; sites: number }[] {
  const groups = new Map<string, { experts: number; routers: Set<string> }>();
  for (const [path, plan] of sites) {
    for (const g of plan.groups) {
      const known = groups.get(g.name) ?? { experts: g.count, routers: new Set() };
      groups.set(g.name, { experts: Math.max(known.experts, g.count), routers: known.routers.add(routerPath(path, plan, model)) });
    }
  }
  return [...groups].map(([name, { experts, routers }]) => ({ name, experts, sites: routers.size }));
}
