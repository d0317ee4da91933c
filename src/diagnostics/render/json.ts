import type { Diagnostic, Severity, Span } from "../diagnostic.ts";
import { lineColumn, textOf, type Texts } from "./position.ts";

/** A place in the JSON form. Lines and columns count from 1 and are absent where the text is not at hand. */
export interface JsonPlace {
  readonly file: string;
  /** UTF-16 offset of the first character. */
  readonly start: number;
  /** UTF-16 offset after the last character. */
  readonly end: number;
  readonly line?: number;
  readonly column?: number;
  readonly endLine?: number;
  readonly endColumn?: number;
}

/** One diagnostic in the JSON form. Every field is always there, `null` or empty where it says nothing. */
export interface JsonDiagnostic {
  readonly code: string;
  readonly severity: Severity;
  readonly message: string;
  readonly primary: (JsonPlace & { readonly label: string | null }) | null;
  readonly secondary: readonly (JsonPlace & { readonly label: string | null })[];
  readonly notes: readonly string[];
  readonly help: string | null;
  readonly fixes: readonly { readonly title: string; readonly safe: boolean; readonly edits: readonly (JsonPlace & { readonly text: string })[] }[];
}

/** What `renderJson` prints. `version` changes when a reader would have to. */
export interface JsonReport {
  readonly version: 1;
  readonly errors: number;
  readonly warnings: number;
  readonly diagnostics: readonly JsonDiagnostic[];
}

/** A span with the lines and columns of its text. */
export function jsonPlace(span: Span, texts: Texts): JsonPlace {
  const text = textOf(texts, span.file);
  const { file, start, end } = span;
  if (text === undefined) return { file, start, end };
  const from = lineColumn(text, start);
  const to = lineColumn(text, end);
  return { file, start, end, line: from.line, column: from.column, endLine: to.line, endColumn: to.column };
}

/** Diagnostics as data; `JsonReport` is the shape. */
export function jsonReport(diagnostics: readonly Diagnostic[], texts: Texts): JsonReport {
  const count = (severity: Severity): number => diagnostics.filter((d) => d.severity === severity).length;
  return {
    version: 1,
    errors: count("error"),
    warnings: count("warning"),
    diagnostics: diagnostics.map((d) => ({
      code: d.code,
      severity: d.severity,
      message: d.message,
      primary: d.primary ? { ...jsonPlace(d.primary.span, texts), label: d.primary.text ?? null } : null,
      secondary: d.secondary.map((label) => ({ ...jsonPlace(label.span, texts), label: label.text ?? null })),
      notes: d.notes,
      help: d.help ?? null,
      fixes: d.fixes.map((fix) => ({
        title: fix.title,
        safe: fix.safe,
        edits: fix.edits.map((edit) => ({ ...jsonPlace(edit.span, texts), text: edit.text })),
      })),
    })),
  };
}

/** Diagnostics for programs: one JSON document, with a line break at its end. */
export function renderJson(diagnostics: readonly Diagnostic[], texts: Texts): string {
  return `${JSON.stringify(jsonReport(diagnostics, texts), undefined, 2)}\n`;
}
