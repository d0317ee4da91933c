import type { MapDefinition, NameExpression } from "../parser/ast.ts";
import { walk } from "../parser/index.ts";
import type { SitePlan } from "./plan.ts";

/** What was found out of a definition before. */
const known = new WeakMap<MapDefinition, boolean>();

/**
 * Whether a definition at a site computes with the number of its layer. Arguments and defaults are numbers by then and part
 * of a plan's key; what a body says of `layer` is not, so that layers which are planned alike are not alike there.
 */
export function speaksOfLayer(plan: SitePlan): boolean {
  const applied = [...plan.banks, ...plan.patches.flatMap((p) => [...p.entries.values()]), ...(plan.router ? [plan.router] : []), ...plan.balances];
  return applied.some(({ definition }) => {
    let found = known.get(definition);
    if (found === undefined) known.set(definition, (found = speaks(definition)));
    return found;
  });
}

function speaks({ items, signature }: MapDefinition): boolean {
  let found = false;
  for (const part of [...items.filter((i) => i.kind !== "require" && i.kind !== "expect"), ...(signature ? [signature] : [])]) {
    walk(part, (node) => {
      const { kind, text } = node as Partial<NameExpression>;
      if (kind === "name" && text === "layer") found = true;
      return !found;
    });
  }
  return found;
}
