import { catalogue, diagnostic, nearest, type Code, type Diagnostic, type Fix, type Span } from "../diagnostics/index.ts";
import { suppressionsOf, type Suppression } from "../parser/index.ts";
import type { SourceFile } from "../parser/ast.ts";

/**
 * Honours `// moec: allow CODE because REASON` (R1.10): takes out the warnings that the author means to keep, and says what
 * is wrong with an allowance. `asWritten` tells that the spec was checked with its own values and its own base: only then
 * does an allowance that allowed nothing have no use.
 */
export function suppress(files: readonly SourceFile[], diagnostics: readonly Diagnostic[], asWritten: boolean): Diagnostic[] {
  const allowed = files.flatMap((file) => suppressionsOf(file).map((suppression) => ({ suppression, text: file.text })));
  if (allowed.length === 0) return [...diagnostics];
  const used = new Set<Suppression>();
  const kept = diagnostics.filter((d) => {
    if (d.severity !== "warning") return true;
    const by = allowed.filter(({ suppression: s }) => s.code === d.code && places(d).some((span) => beginsIn(span, s.covers)));
    for (const { suppression } of by) used.add(suppression);
    return by.length === 0;
  });
  // Behind an error much is not looked at: nothing is said of what would have been found there.
  const whole = asWritten && !diagnostics.some((d) => d.severity === "error");
  for (const { suppression, text } of allowed) {
    const fault = faultOf(suppression) ?? (whole && !used.has(suppression) ? unused(suppression, text) : undefined);
    if (fault) kept.push(fault);
  }
  return kept;
}

/** Where a diagnostic stands; one about a file beside the spec stands where the spec names that file. */
function places(d: Diagnostic): readonly Span[] {
  return d.primary ? [d.primary.span] : d.secondary.map((s) => s.span);
}

function beginsIn(span: Span, line: Span): boolean {
  return span.file === line.file && span.start >= line.start && span.start <= line.end;
}

/** What is wrong with the comment itself. */
function faultOf({ code, reason, span, codeSpan }: Suppression): Diagnostic | undefined {
  if (!Object.hasOwn(catalogue, code)) {
    const [near] = nearest(code, warnings(), 1);
    const fixes = near === undefined ? [] : [{ title: `write ${near}`, edits: [{ span: codeSpan, text: near }], safe: false }];
    return diagnostic("MOE2043", `there is no diagnostic ${code}`, { at: codeSpan, help: near === undefined ? "`moec explain` lists all" : `did you mean ${near}?`, fixes });
  }
  const { severity, title } = catalogue[code as Code];
  if (severity !== "warning") {
    return diagnostic("MOE2044", `only warnings can be allowed, and ${code}, "${title}", is ${severity === "error" ? "an error" : "none"}`, { at: codeSpan, help: "repair what it tells, and remove the comment" });
  }
  if (reason === "") {
    return diagnostic("MOE2045", `why ${code} is allowed here is not said`, { at: span, help: `write // moec: allow ${code} because …` });
  }
  return undefined;
}

function warnings(): string[] {
  return Object.keys(catalogue).filter((code) => catalogue[code as Code].severity === "warning");
}

function unused({ code, span, line }: Suppression, text: string): Diagnostic {
  return diagnostic("MOE2046", `nothing on line ${line + 1} gives ${code}`, { at: span, help: "remove the comment", fixes: [removal(span, text)] });
}

/** Removes a comment: with its line where it has it to itself, else with the blanks before it. */
function removal(span: Span, text: string): Fix {
  const before = text.slice(0, span.start).replace(/[ \t]+$/, "").length;
  const alone = before === 0 || text[before - 1] === "\n";
  const end = alone ? span.end + (/^\r?\n/.exec(text.slice(span.end))?.[0].length ?? 0) : span.end;
  return { title: "remove the comment", edits: [{ span: { file: span.file, start: before, end }, text: "" }], safe: true };
}
