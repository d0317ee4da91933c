import type { Binding, Entry, Module, Weight } from "../ir/graph.ts";
import { orderOf } from "./orders.ts";
import { functionOf } from "./tools.ts";

export interface LaidOut {
  readonly module: Module;
  /** Frozen weights held in another order than the spec's, so that no step transposes them. */
  readonly hoisted: readonly string[];
}

/**
 * Drops frozen weights' params that nothing reads any more, and the original of a weight that is only read in another order. Of
 * a weight's layouts the one that most entries read bears its name: evaluation then needs no other, and what gradients alone
 * read is made when training begins.
 */
export function settle(module: Module, variants: readonly { weight: Weight; of: string }[]): LaidOut {
  const functions = new Map(module.functions);
  const entries = new Map<string, Entry>();
  const originals = new Set(variants.map((v) => v.of));
  const readers = new Map<string, number>();
  for (const [name, entry] of module.entries) {
    const fn = functionOf(functions, entry.fn);
    const used = new Set(fn.body.flatMap((op) => op.operands));
    const stays = fn.params.map((p, i) => {
      const binding = entry.params[i]!;
      return used.has(p) || binding.kind !== "weight" || !originals.has(binding.weight);
    });
    functions.set(fn.name, { ...fn, params: fn.params.filter((_, i) => stays[i]) });
    entries.set(name, { ...entry, params: entry.params.filter((_, i) => stays[i]) });
    for (const b of entries.get(name)!.params) if (b.kind === "weight") readers.set(b.weight, (readers.get(b.weight) ?? 0) + 1);
  }
  const renamed = new Map<string, string>();
  const readersOf = (name: string): number => readers.get(name) ?? 0;
  for (const of of originals) {
    const [most] = variants.filter((v) => v.of === of).map((v) => v.weight.name).sort((x, y) => readersOf(y) - readersOf(x));
    if (readersOf(most!) <= readersOf(of)) continue;
    renamed.set(most!, of);
    renamed.set(of, `${of}.${orderOf(module.weights.find((w) => w.name === of)!.type)!.join("_")}`);
  }
  const weights = module.weights
    .filter((w) => !originals.has(w.name) || readers.has(w.name))
    .map((w): Weight => {
      const name = renamed.get(w.name);
      if (name === undefined) return w;
      if (originals.has(w.name)) return { ...w, name, layoutOf: w.layoutOf ?? w.name };
      const { layoutOf: _, ...rest } = w;
      return { ...rest, name, ...(originalLayout(module, name) === undefined ? {} : { layoutOf: originalLayout(module, name)! }) };
    });
  const rename = (b: Binding): Binding => (b.kind === "weight" ? { ...b, weight: renamed.get(b.weight) ?? b.weight } : b);
  const bound = new Map([...entries].map(([name, e]) => [name, { ...e, params: e.params.map(rename) }]));
  // A weight must stand before those that are its layouts; and the weights' order does not depend on how they are laid out.
  const place = new Map(module.weights.map((w, i) => [w.name, i]));
  const sorted = [...weights.filter((w) => w.layoutOf === undefined).sort((x, y) => place.get(x.name)! - place.get(y.name)!), ...weights.filter((w) => w.layoutOf !== undefined)];
  return { module: { functions, weights: sorted, entries: bound }, hoisted: [...originals] };
}

function originalLayout(module: Module, name: string): string | undefined {
  return module.weights.find((w) => w.name === name)?.layoutOf;
}
