import type { Diagnostic } from "../diagnostics/index.ts";
import { parse } from "../parser/index.ts";
import { doc } from "./doc.ts";
import { printFile } from "./printer.ts";

/** How a text is laid out; the names and meanings are Prettier's. */
export interface FormatOptions {
  /** The length of a line that is aimed at, 120 if not given. */
  readonly printWidth?: number;
  readonly tabWidth?: number;
  readonly useTabs?: boolean;
  /** `auto` keeps what the text's first line ends with. */
  readonly endOfLine?: "lf" | "crlf" | "cr" | "auto";
}

/** Prettier's defaults but for the width: definitions are formulas with named axes, and read better in one line. */
export const formatDefaults = { printWidth: 120, tabWidth: 2, useTabs: false, endOfLine: "lf" } as const;

/** A formatted text; none where the text has syntax errors, which `diagnostics` hold. */
export interface Formatted {
  readonly text?: string;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Formats one file as the Prettier plugin does. Names need not resolve and types need not fit; a text with syntax errors
 * is not formatted. The result has the same tree and the same comments, and formatting it changes nothing.
 *
 * @param text the file's text.
 * @param path the file's path as the user wrote it, for the spans of diagnostics.
 */
export function format(text: string, path: string, options: FormatOptions = {}): Formatted {
  const { printWidth, tabWidth, useTabs, endOfLine } = { ...formatDefaults, ...options };
  const given = parse(text, path);
  if (given.diagnostics.length > 0) return { diagnostics: given.diagnostics };
  const marked = text.startsWith("\uFEFF");
  const plain = (marked ? text.slice(1) : text).replace(/\r\n?/g, "\n");
  const file = plain === text ? given : parse(plain, path);
  const printed = doc.printer.printDocToString(printFile(file, { printWidth, tabWidth }), { printWidth, tabWidth, useTabs }).formatted;
  const end = endOfLine === "auto" ? lineEnd(text) : { lf: "\n", crlf: "\r\n", cr: "\r" }[endOfLine];
  return { text: `${marked ? "\uFEFF" : ""}${end === "\n" ? printed : printed.replaceAll("\n", end)}`, diagnostics: [] };
}

function lineEnd(text: string): string {
  return /\r\n?|\n/.exec(text)?.[0] ?? "\n";
}
