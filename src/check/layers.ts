import type { AtClause, Call, MapDefinition, NameExpression, Node } from "../parser/ast.ts";
import { walk } from "../parser/walk.ts";
import type { Definitions } from "./definitions.ts";
import type { SitePlan } from "./plan.ts";

/** What was found out of a definition before. */
const known = new WeakMap<MapDefinition, { readonly anywhere: boolean; readonly computing: boolean }>();

/** Whether a clause, or a definition that it applies, uses the number of the layer: then each layer is planned by itself. */
export function clauseNamesLayer(at: AtClause, { experts, routers, balances }: Definitions): boolean {
  let found = namesLayer(at);
  walk(at, (node) => {
    const call = node as Partial<Call>;
    if (call.kind !== "call" || !call.callee) return;
    for (const table of [experts, routers, balances]) {
      const definition = table.get(call.callee.text);
      if (definition) found ||= look(definition).anywhere;
    }
  });
  return found;
}

/**
 * Whether a definition at a site computes with the number of its layer. Arguments and defaults are numbers once a site is
 * planned, and part of the plan's key; what a body says of `layer` is not, so that layers of one key are not alike there.
 */
export function planNamesLayer(plan: SitePlan): boolean {
  const applied = [...plan.banks, ...plan.patches.flatMap((p) => [...p.entries.values()]), ...(plan.router ? [plan.router] : []), ...plan.balances];
  return applied.some((a) => look(a.definition).computing);
}

function look(definition: MapDefinition): { readonly anywhere: boolean; readonly computing: boolean } {
  let found = known.get(definition);
  if (!found) {
    const { items, signature } = definition;
    const computing = [...items.filter((i) => i.kind !== "require" && i.kind !== "expect"), ...(signature ? [signature] : [])].some(namesLayer);
    known.set(definition, (found = { anywhere: computing || namesLayer(definition), computing }));
  }
  return found;
}

function namesLayer(root: Node): boolean {
  let found = false;
  walk(root, (node) => {
    const name = node as Partial<NameExpression>;
    found ||= name.kind === "name" && name.text === "layer";
    return !found;
  });
  return found;
}
