import { diagnostic, type Diagnostic } from "../diagnostics/index.ts";
import type { AdapterDeclaration, AtClause, SiteClause, VariantDeclaration } from "../parser/ast.ts";
import { showPath } from "./paths.ts";
import { suggest } from "./suggest.ts";

/**
 * Writes out `adapter B = A with { … }`: A's clauses, where B says nothing else. A clause of B at a path that A has too
 * takes the place of A's of the same kind there: a group or named expert that of the same name, a router the router,
 * balances all balances; what is new is added. Variants may vary variants.
 */
export function writeOut(variants: readonly VariantDeclaration[], adapters: Map<string, AdapterDeclaration>, report: (d: Diagnostic) => void): ReadonlyMap<string, string> {
  const parents = new Map<string, string>();
  const waiting = new Map(variants.map((v) => [v.name.text, v]));
  const open = new Set<string>();
  const resolve = (v: VariantDeclaration): AdapterDeclaration | undefined => {
    const name = v.name.text;
    const done = adapters.get(name);
    if (done) return done;
    if (open.has(name)) {
      report(diagnostic("MOE2012", `"${name}" varies itself`, { at: v.of.span }));
      return undefined;
    }
    open.add(name);
    const next = waiting.get(v.of.text);
    const parent = adapters.get(v.of.text) ?? (next ? resolve(next) : undefined);
    if (!parent) {
      if (!next && v.of.text !== "") {
        const names = [...adapters.keys(), ...waiting.keys()].filter((n) => n !== name);
        report(diagnostic("MOE2001", `no adapter is named "${v.of.text}"`, { at: v.of.span, ...suggest(v.of, names, `there are: ${names.join(", ")}`) }));
      }
      return undefined;
    }
    const doc = v.doc ?? parent.doc;
    const kinds = v.kinds ?? parent.kinds;
    // A field of the same name takes the place of the varied adapter's.
    const fields = [...(parent.fields ?? []).filter((f) => !v.fields?.some((own) => own.name.text === f.name.text)), ...(v.fields ?? [])];
    const written: AdapterDeclaration = {
      kind: "adapter", name: v.name, base: parent.base, sites: merge(parent.sites, v.sites), span: v.span,
      ...(doc === undefined ? {} : { doc }), ...(kinds ? { kinds } : {}), ...(fields.length ? { fields } : {}),
    };
    adapters.set(name, written);
    parents.set(name, v.of.text);
    return written;
  };
  for (const v of variants) resolve(v);
  return parents;
}

function merge(sites: readonly AtClause[], changes: readonly AtClause[]): AtClause[] {
  const merged = [...sites];
  for (const change of changes) {
    const at = merged.findIndex((s) => showPath(s.path) === showPath(change.path));
    if (at < 0) merged.push(change);
    else merged[at] = { ...merged[at]!, path: change.path, clauses: mergeClauses(merged[at]!.clauses, change.clauses) };
  }
  return merged;
}

/** What a clause stands for at its site: of each there is one, but for balances, which are replaced together. */
function role(clause: SiteClause): string {
  if (clause.kind === "experts") return `expert ${clause.name.text}`;
  if (clause.kind === "always") return clause.name ? `expert ${clause.name.text}` : "always";
  return clause.kind;
}

function mergeClauses(clauses: readonly SiteClause[], changes: readonly SiteClause[]): SiteClause[] {
  const changed = new Set(changes.map(role));
  const firstOf = new Map<string, number>();
  clauses.forEach((c, i) => {
    if (!firstOf.has(role(c))) firstOf.set(role(c), i);
  });
  const merged = clauses.flatMap((c, i) => {
    if (!changed.has(role(c))) return [c];
    return firstOf.get(role(c)) === i ? changes.filter((x) => role(x) === role(c)) : [];
  });
  return [...merged, ...changes.filter((c) => !firstOf.has(role(c)))];
}
