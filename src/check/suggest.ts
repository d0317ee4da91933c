import { diagnostic, didYouMean, nearest, type Diagnostic, type Fix, type Span } from "../diagnostics/index.ts";

/**
 * What to say of a name that is not among those known: what was probably meant, with the edit that writes it, or
 * `otherwise` where nothing is near. For the details of a diagnostic. The fix is safe where only one name is near.
 */
export function suggest(
  name: { readonly text: string; readonly span: Span },
  known: Iterable<string>,
  otherwise?: string | undefined,
): { readonly help?: string; readonly fixes?: readonly Fix[] } {
  const names = [...known];
  const near = nearest(name.text, names, 2);
  if (near.length === 0) return otherwise === undefined ? {} : { help: otherwise };
  return {
    help: didYouMean(name.text, names)!,
    fixes: [{ title: `replace with ${near[0]!}`, edits: [{ span: name.span, text: near[0]! }], safe: near.length === 1 }],
  };
}

/** `there are: a, b, c`, or what to say where there is none. */
export function listed(lead: string, names: Iterable<string>, none?: string): string | undefined {
  const all = [...new Set(names)];
  if (all.length === 0) return none;
  return `${lead}: ${all.slice(0, 20).join(", ")}${all.length > 20 ? ", …" : ""}`;
}

/** A name that nothing in scope declares. */
export function unknownName(name: { readonly text: string; readonly span: Span }, known: Iterable<string>): Diagnostic {
  return diagnostic("MOE2001", `nothing named "${name.text}" is in scope`, { at: name.span, ...suggest(name, known) });
}

/** A call of what no definition and no part of the model is called. */
export function unknownFunction(name: { readonly text: string; readonly span: Span }, known: Iterable<string>): Diagnostic {
  return diagnostic("MOE2002", `no function is named "${name.text}"`, { at: name.span, ...suggest(name, known) });
}
