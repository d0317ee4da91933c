import type { Span } from "../diagnostics/index.ts";
import type { SourceFile } from "./ast.ts";
import { Lines } from "./lines.ts";

/** `// moec: allow MOE2027 because …`: a warning that the author has seen and means to keep. */
export interface Suppression {
  /** The code as written; that there is such a code is for the reader to check. */
  readonly code: string;
  readonly codeSpan: Span;
  /** What stands after `because`; "" where nothing does. */
  readonly reason: string;
  /** The comment. */
  readonly span: Span;
  /** The line whose diagnostics are allowed, counted from 0. */
  readonly line: number;
  /** That line's text, without its end: diagnostics that begin in it are allowed. */
  readonly covers: Span;
}

const pattern = /^\/\/\s*moec:\s*allow\s+(\w+)\b(?:\s*,?\s*because\b\s*(.*))?/d;

/**
 * The suppressions of a file, in the order of the text. One that has its line to itself speaks of the next line that is
 * more than a comment, so that several may stand above one line; a blank line ends its reach. One that follows code speaks
 * of its own line.
 */
export function suppressionsOf(file: SourceFile): readonly Suppression[] {
  const found = file.comments.flatMap((comment) => {
    const match = comment.doc ? null : pattern.exec(comment.text);
    if (!match) return [];
    const [start, end] = match.indices![1]!;
    const codeSpan = { file: comment.span.file, start: comment.span.start + start, end: comment.span.start + end };
    return [{ comment, code: match[1]!, codeSpan, reason: (match[2] ?? "").trim() }];
  });
  if (found.length === 0) return [];
  const lines = new Lines(file.text);
  const begins = (line: number): number => lines.startOf(line) + lines.indentOf(line);
  // Lines that hold nothing but a `//` comment.
  const commented = new Set<number>();
  for (const { span, text } of file.comments) {
    const line = lines.lineOf(span.start);
    if (text.startsWith("//") && begins(line) === span.start) commented.add(line);
  }
  const last = lines.lineOf(file.text.length);
  return found.map(({ comment, code, codeSpan, reason }) => {
    let line = lines.lineOf(comment.span.start);
    if (begins(line) === comment.span.start) {
      do line++;
      while (line < last && commented.has(line));
    }
    line = Math.min(line, last);
    const start = lines.startOf(line);
    const end = line < last ? start + file.text.slice(start, lines.startOf(line + 1)).replace(/[\r\n]+$/, "").length : file.text.length;
    return { code, codeSpan, reason, span: comment.span, line, covers: { file: file.path, start, end } };
  });
}
