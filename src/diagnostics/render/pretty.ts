import pc from "picocolors";
import type { Diagnostic, Fix, Label, Severity, Span } from "../diagnostic.ts";
import { lineAround, lineColumn, textOf, type Texts } from "./position.ts";
import { columnsOf, printable } from "./width.ts";

export interface PrettyOptions {
  /** ANSI colours; the caller decides (a terminal, `NO_COLOR`). */
  readonly color: boolean;
}

/** More of a source line than this is cut, around what is marked. In UTF-16 units. */
const widest = 160;
/** At most so many marked lines are shown of one diagnostic. */
const mostLines = 12;

interface Mark {
  readonly label: Label;
  readonly primary: boolean;
  readonly line: number;
}

type Colors = ReturnType<typeof pc.createColors>;

/**
 * Diagnostics for people: a header with the code, the place, the source lines with what is meant underlined, notes, help
 * and fixes. Where a text is not at hand the place is given as an offset. Ends with a line break unless there is nothing.
 */
export function renderPretty(diagnostics: readonly Diagnostic[], texts: Texts, options: PrettyOptions): string {
  const colors = pc.createColors(options.color);
  return diagnostics.map((diagnostic) => renderOne(diagnostic, texts, colors)).join("\n");
}

function renderOne(diagnostic: Diagnostic, texts: Texts, c: Colors): string {
  const tint = tintOf(diagnostic.severity, c);
  const out = [`${tint(c.bold(`${diagnostic.severity}[${diagnostic.code}]`))}${c.bold(`: ${lines(diagnostic.message)}`)}`];
  const labels = [...(diagnostic.primary ? [{ label: diagnostic.primary, primary: true }] : []), ...diagnostic.secondary.map((label) => ({ label, primary: false }))];
  const files = [...new Set(labels.map(({ label }) => label.span.file))];

  const marks = labels.map(({ label, primary }): Mark => {
    const text = textOf(texts, label.span.file);
    return { label, primary, line: text === undefined ? 0 : lineColumn(text, label.span.start).line };
  });
  const gutter = String(Math.max(0, ...marks.map((mark) => mark.line))).length;
  const bar = c.blue(`${" ".repeat(gutter)} |`);

  files.forEach((file, index) => {
    const here = marks.filter((mark) => mark.label.span.file === file);
    const text = textOf(texts, file);
    const arrow = c.blue(`${" ".repeat(gutter)}${index === 0 ? "-->" : ":::"}`);
    out.push(`${arrow} ${place(file, text, here[0]!.label.span)}`);
    if (text === undefined) {
      for (const mark of here) if (mark.label.text) out.push(`${bar} ${lines(mark.label.text)}`);
      return;
    }
    out.push(bar);
    const numbers = [...new Set(here.map((mark) => mark.line))].sort((a, b) => a - b).slice(0, mostLines);
    let before: number | undefined;
    for (const number of numbers) {
      if (before !== undefined && number > before + 1) out.push(c.blue(`${" ".repeat(Math.max(0, gutter - 2))}...`));
      before = number;
      out.push(...sourceLine(text, number, here.filter((mark) => mark.line === number), gutter, tint, c));
    }
  });

  const extra = (word: string, text: string): void => {
    out.push(`${c.blue(`${" ".repeat(gutter)} =`)} ${c.bold(`${word}:`)} ${lines(text).replace(/\n/g, `\n${" ".repeat(gutter + 5 + word.length)}`)}`);
  };
  if (files.length > 0 && (diagnostic.notes.length > 0 || diagnostic.help || diagnostic.fixes.length > 0)) out.push(bar);
  for (const note of diagnostic.notes) extra("note", note);
  if (diagnostic.help) extra("help", diagnostic.help);
  for (const fix of diagnostic.fixes) extra("fix", fixText(fix, texts));
  return `${out.join("\n")}\n`;
}

/** A message may have several lines; nothing else in it controls the terminal. */
function lines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

function tintOf(severity: Severity, c: Colors): (text: string) => string {
  return severity === "error" ? c.red : severity === "warning" ? c.yellow : c.cyan;
}

function place(file: string, text: string | undefined, span: Span): string {
  if (text === undefined) return `${printable(file)} (offset ${span.start})`;
  const { line, column } = lineColumn(text, span.start);
  return `${printable(file)}:${line}:${column}`;
}

/** One line of the text, and under it what is said about places in it, the rightmost first. */
function sourceLine(text: string, number: number, marks: readonly Mark[], gutter: number, tint: (text: string) => string, c: Colors): string[] {
  const bar = c.blue(`${" ".repeat(gutter)} |`);
  const around = lineAround(text, marks[0]!.label.span.start);
  const focus = (marks.find((mark) => mark.primary) ?? marks[0]!).label.span.start;
  let { start, end } = around;
  if (start === 0 && text.charCodeAt(0) === 0xfeff) start = 1;
  let head = "";
  let tail = "";
  if (end - start > widest) {
    const from = Math.max(start, Math.min(focus - widest / 4, end - widest));
    const to = Math.min(end, from + widest);
    if (from > start) head = "…";
    if (to < end) tail = "…";
    // Half a surrogate pair is no character.
    start = isLow(text, from) ? from + 1 : from;
    end = isLow(text, to) ? to - 1 : to;
  }
  const out = [`${c.blue(`${String(number).padStart(gutter)} |`)} ${head}${printable(text.slice(start, end))}${tail}`.trimEnd()];
  const column = (offset: number): number => columnsOf(head) + columnsOf(text.slice(start, Math.max(start, Math.min(offset, end))));
  const sorted = [...marks].sort((a, b) => b.label.span.start - a.label.span.start || Number(b.primary) - Number(a.primary));
  for (const mark of sorted) {
    const { span } = mark.label;
    const from = column(span.start);
    const more = span.end > around.end;
    const width = Math.max(1, column(Math.min(span.end, around.end)) - from);
    const paint = mark.primary ? tint : c.blue;
    const said = mark.label.text ? ` ${lines(mark.label.text)}` : "";
    out.push(`${bar} ${" ".repeat(from)}${paint(`${(mark.primary ? "^" : "-").repeat(width)}${more ? "…" : ""}${said}`)}`);
  }
  return out;
}

function isLow(text: string, at: number): boolean {
  const c = text.charCodeAt(at);
  return c >= 0xdc00 && c < 0xe000;
}

/** `add `)` at line 3, column 14`: a fix in words. */
function fixText(fix: Fix, texts: Texts): string {
  const first = fix.edits[0];
  const text = first && textOf(texts, first.span.file);
  if (!first || text === undefined) return fix.title;
  const { line, column } = lineColumn(text, first.span.start);
  return `${fix.title} (line ${line}, column ${column})`;
}
