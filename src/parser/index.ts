import { diagnostic, type Code, type Details, type Diagnostic } from "../diagnostics/index.ts";
import type { SourceFile } from "./ast.ts";
import { balanceBrackets } from "./brackets.ts";
import { Docs } from "./docs.ts";
import { MoeParser } from "./grammar.ts";
import { Lines } from "./lines.ts";
import { repairTree } from "./repair.ts";
import { scan } from "./scan.ts";
import { maxCollected, maxDiagnostics } from "./tolerant.ts";

export type * from "./ast.ts";
export { childNodes, walk } from "./walk.ts";
export { keywords, reservedWords } from "./tokens.ts";
export { suppressionsOf, type Suppression } from "./suppressions.ts";

/** Files longer than this (in UTF-16 units) are not parsed. */
export const maxFileSize = 1_000_000;

let parser: MoeParser | undefined;

/**
 * Parses one file. Never throws: what is wrong is in `diagnostics`, in the order of the text, one for each mistake and at
 * most 50, and the tree holds all that could be understood.
 *
 * @param text the file's text; a byte order mark and CRLF line ends are fine. Offsets count UTF-16 units of this text.
 * @param path the file's path as the user wrote it, for the spans.
 */
export function parse(text: string, path: string): SourceFile {
  const diagnostics: Diagnostic[] = [];
  const report = (code: Code, message: string, details: Details): void => {
    if (diagnostics.length < maxCollected) diagnostics.push(diagnostic(code, message, details));
  };
  const whole = { file: path, start: 0, end: text.length };
  if (text.length > maxFileSize) {
    report("MOE1021", `this file has ${text.length} characters; more than ${maxFileSize} are not read`, { at: { file: path, start: 0, end: 0 } });
    return { span: whole, path, text, imports: [], declarations: [], comments: [], diagnostics };
  }
  const lines = new Lines(text);
  const { tokens, comments } = scan(text, path, report);
  const balanced = balanceBrackets(tokens, lines, path, report);
  parser ??= new MoeParser();
  const { imports, declarations } = parser.parseFile(path, text, balanced, new Docs(comments, lines), lines);
  // What the lexer and the brackets complain about spoils its line for the parser: one mistake, one diagnostic.
  const spoilt = new Set(diagnostics.map((d) => lines.lineOf(d.primary?.span.start ?? 0)));
  for (const found of parser.diagnostics) if (!spoilt.has(lines.lineOf(found.primary?.span.start ?? 0))) diagnostics.push(found);
  const file = { span: whole, path, text, imports, declarations, comments, diagnostics: [] as readonly Diagnostic[] };
  repairTree(file, tokens.length, diagnostics.length > 0, report);
  file.diagnostics = inOrder(diagnostics);
  return file;
}

/** In the order of the text, and no more than anyone will read. */
function inOrder(diagnostics: Diagnostic[]): Diagnostic[] {
  const at = (d: Diagnostic): number => d.primary?.span.start ?? 0;
  diagnostics.sort((a, b) => at(a) - at(b));
  if (diagnostics.length <= maxDiagnostics) return diagnostics;
  const shown = diagnostics.slice(0, maxDiagnostics - 1);
  const rest = diagnostics[maxDiagnostics - 1]!;
  shown.push(diagnostic("MOE1022", "further syntax errors are not shown", rest.primary ? { at: rest.primary.span } : {}));
  return shown;
}
