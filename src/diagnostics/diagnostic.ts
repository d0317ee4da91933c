import { catalogue, type Code } from "./catalogue.ts";

/** A half-open range of UTF-16 offsets in one file. `file` is the path as the user wrote it. */
export interface Span {
  readonly file: string;
  readonly start: number;
  readonly end: number;
}

export type Severity = "error" | "warning" | "info";

/** A place in a text, with what is to be said about it. */
export interface Label {
  readonly span: Span;
  readonly text?: string;
}

/** One replacement: the text of `span` becomes `text`. */
export interface Edit {
  readonly span: Span;
  readonly text: string;
}

/** A change that would repair the mistake. `safe` fixes keep the meaning that the user clearly intended. */
export interface Fix {
  readonly title: string;
  readonly edits: readonly Edit[];
  readonly safe: boolean;
}

/**
 * One mistake, told once. `primary` is absent only where no text is at fault (a missing file, say).
 * `message` says what was found and what was expected; `help` what to do about it.
 */
export interface Diagnostic {
  readonly code: Code;
  readonly severity: Severity;
  readonly message: string;
  readonly primary?: Label;
  readonly secondary: readonly Label[];
  readonly notes: readonly string[];
  readonly help?: string;
  readonly fixes: readonly Fix[];
}

/** What a diagnostic may carry beside its code and message. */
export interface Details {
  readonly at?: Span;
  readonly label?: string;
  readonly secondary?: readonly Label[];
  readonly notes?: readonly string[];
  readonly help?: string;
  readonly fixes?: readonly Fix[];
}

/** Makes a diagnostic of a registered code; its severity is the catalogue's. */
export function diagnostic(code: Code, message: string, details: Details = {}): Diagnostic {
  return {
    code,
    severity: catalogue[code].severity,
    message,
    ...(details.at ? { primary: { span: details.at, ...(details.label ? { text: details.label } : {}) } } : {}),
    secondary: details.secondary ?? [],
    notes: details.notes ?? [],
    ...(details.help ? { help: details.help } : {}),
    fixes: details.fixes ?? [],
  };
}

/** Thrown where a user's mistake ends the work; the command line renders it, never its stack. */
export class DiagnosticError extends Error {
  readonly diagnostics: readonly Diagnostic[];
  constructor(diagnostics: readonly Diagnostic[] | Diagnostic) {
    const list = Array.isArray(diagnostics) ? (diagnostics as readonly Diagnostic[]) : [diagnostics as Diagnostic];
    super(list.map((d) => `${d.code}: ${d.message}`).join("\n"));
    this.name = "DiagnosticError";
    this.diagnostics = list;
  }
}

/** Throws one diagnostic. */
export function fail(code: Code, message: string, details: Details = {}): never {
  throw new DiagnosticError(diagnostic(code, message, details));
}
