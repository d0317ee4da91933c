import { diagnostic, fail, type Diagnostic } from "../diagnostics/index.ts";
import type { IndexExpression, ListExpression } from "../parser/ast.ts";
import type { Scope } from "./scope.ts";
import { showConst, type ConstValue } from "./values.ts";

/** How many values a list holds in all, by the list. */
const sizes = new WeakMap<object, number>();

/** A list of evaluated entries. Lists of lists made from constants could double with each line of the text, so their size is bounded. */
export function listOf(e: ListExpression, values: readonly ConstValue[]): readonly ConstValue[] {
  const size = values.reduce<number>((n, v) => n + (sizes.get(v as object) ?? 1), 0);
  if (size > 10_000) fail("MOE2012", "a list of more than 10,000 values", { at: e.span });
  sizes.set(values, size);
  return values;
}

/**
 * The entry of a list at an index, which is rounded down. A list that is indexed by `layer` is one entry a layer: the
 * messages then compare its length with the model's.
 */
export function entryOf(e: IndexExpression, list: ConstValue, index: number, scope: Scope, warn: (d: Diagnostic) => void): ConstValue {
  if (!Array.isArray(list)) return fail("MOE2005", "only a list can be indexed", { at: e.object.span, label: `this is ${showConst(list)}` });
  const values = list as readonly ConstValue[];
  const at = Math.floor(index);
  const layers = e.index.kind === "name" && e.index.text === "layer" ? scope.lookup("layers") : undefined;
  if (layers?.kind === "const" && typeof layers.value === "number") {
    const both = `the list has ${values.length} ${values.length === 1 ? "entry" : "entries"} and the model ${layers.value} layer${layers.value === 1 ? "" : "s"}`;
    const help = "spread a list over any number of layers like this: [2, 4, 6, 8][layer * 4 / layers]";
    if (at >= values.length) fail("MOE2009", `${both}: there is none for layer ${at}, counted from 0`, { at: e.object.span, help });
    if (values.length > layers.value) warn(diagnostic("MOE2041", `${both}: its last ones are never looked at`, { at: e.object.span, help }));
  }
  if (at < 0 || at >= values.length) {
    return fail("MOE2009", `the list has ${values.length} entries, counted from 0; this asks for number ${at}`, { at: e.index.span });
  }
  return values[at]!;
}
