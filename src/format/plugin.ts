import type { Parser, Plugin, Printer, SupportLanguage } from "prettier";
import { parse as parseFile, type SourceFile } from "../parser/index.ts";
import { formatDefaults } from "./index.ts";
import { printFile } from "./printer.ts";

/**
 * The Prettier plugin: `prettier --plugin=moec/prettier --write examples/*.moe`. It prints what `moec fmt` prints; comments
 * are the printer's own business, which knows every token, so Prettier is told of none.
 */

/** What Prettier is given for a tree: one node, the file. */
interface Root {
  readonly type: "file";
  readonly file: SourceFile;
}

export const languages: SupportLanguage[] = [{ name: "moe", parsers: ["moe"], extensions: [".moe"], vscodeLanguageIds: ["moe"] }];

/** An error as Prettier shows it: the place, counted from 1. */
class SyntaxErrorAt extends SyntaxError {
  readonly loc: { readonly start: { readonly line: number; readonly column: number }; readonly end: { readonly line: number; readonly column: number } };

  constructor(message: string, text: string, start: number, end: number) {
    super(message);
    const place = (offset: number): { line: number; column: number } => {
      const before = text.slice(0, offset).split("\n");
      return { line: before.length, column: before[before.length - 1]!.length + 1 };
    };
    this.loc = { start: place(start), end: place(end) };
  }
}

const parser: Parser<Root> = {
  astFormat: "moe",
  parse(text, options) {
    const file = parseFile(text, options.filepath ?? "stdin.moe");
    const [first] = file.diagnostics;
    if (first) {
      const span = first.primary?.span ?? { start: 0, end: 0 };
      throw new SyntaxErrorAt(`${first.code}: ${first.message}${first.help ? ` (${first.help})` : ""}`, text, span.start, span.end);
    }
    return { type: "file", file };
  },
  locStart: (node) => node.file.span.start,
  locEnd: (node) => node.file.span.end,
};

const printer: Printer<Root> = {
  print: (path, options) => printFile(path.node.file, options),
};

export const parsers = { moe: parser };
export const printers = { moe: printer };
export const defaultOptions = { printWidth: formatDefaults.printWidth, tabWidth: formatDefaults.tabWidth };

export default { languages, parsers, printers, defaultOptions } satisfies Plugin<Root>;
