import type { ILexingError, IToken } from "chevrotain";
import type { Code, Details, Span } from "../diagnostics/index.ts";
import type { Comment } from "./ast.ts";
import { BlockComment, endOf, OpenComment, OpenString, theLexer } from "./tokens.ts";

/** What the lexer makes of a text. */
export interface Scanned {
  readonly tokens: IToken[];
  readonly comments: Comment[];
  /** Runs of characters that are part of no token. */
  readonly illegal: readonly Span[];
}

/** What is probably meant by characters that the language does not have. */
const meant: Readonly<Record<string, { help: string; instead?: string }>> = {
  ";": { help: "statements end where the next one begins; leave the `;` out", instead: "" },
  "'": { help: 'strings stand in double quotes: "…"' },
  "`": { help: 'strings stand in double quotes: "…"' },
  "\u201c": { help: 'this is a typographic quote; write `"`', instead: '"' },
  "\u201d": { help: 'this is a typographic quote; write `"`', instead: '"' },
  "#": { help: "comments begin with `//`", instead: "//" },
  "&&": { help: "write `and`", instead: "and" },
  "&": { help: "write `and`", instead: "and" },
  "!": { help: "write `not`", instead: "not " },
  "\u00a0": { help: "this is a no-break space; write an ordinary one", instead: " " },
  "\u2212": { help: "this is a typographic minus; write `-`", instead: "-" },
  "\u2013": { help: "this is a dash; write `-`", instead: "-" },
  "\u00d7": { help: "multiplication is `*`", instead: "*" },
  "\u00b7": { help: "multiplication is `*`", instead: "*" },
  "\u2192": { help: "write `->`", instead: "->" },
  "\u2264": { help: "write `<=`", instead: "<=" },
  "\u2265": { help: "write `>=`", instead: ">=" },
  "\u2260": { help: "write `!=`", instead: "!=" },
};

function illegal(text: string, error: ILexingError, file: string, report: (code: Code, message: string, details: Details) => void): Span {
  const span = { file, start: error.offset, end: error.offset + error.length };
  const found = text.slice(span.start, span.end);
  const first = String.fromCodePoint(found.codePointAt(0)!);
  const hint = meant[found] ?? meant[first];
  const code = found.codePointAt(0)!;
  const shown = found.length > 12 ? `${first}…` : found;
  const invisible = code < 32 || (code >= 127 && code < 161) || code === 0xfeff || (code >= 0xd800 && code < 0xe000);
  const what = invisible ? `the character U+${code.toString(16).toUpperCase().padStart(4, "0")}` : `\`${shown}\``;
  const letter = /^\p{L}/u.test(found);
  report("MOE1006", `${what} is not part of the language`, {
    at: span,
    help: hint?.help ?? (letter ? "names are made of the letters a to z, digits and `_`" : undefined),
    fixes:
      hint?.instead !== undefined && (meant[found] || found === first)
        ? [{ title: hint.instead === "" ? "remove it" : hint.instead === " " ? "write a blank" : `write \`${hint.instead.trim()}\``, edits: [{ span, text: hint.instead }], safe: hint.instead !== '"' }]
        : [],
  });
  return span;
}

/** Cuts a text into tokens and comments; reports what is neither, and strings and comments without an end. */
export function scan(text: string, file: string, report: (code: Code, message: string, details: Details) => void): Scanned {
  const result = theLexer().tokenize(text);
  const runs = result.errors.map((error) => illegal(text, error, file, report));

  for (const token of result.tokens) {
    if (token.tokenType !== OpenString) continue;
    const span = { file, start: token.startOffset, end: endOf(token) };
    report("MOE1005", "this string has no closing quote on its line", {
      at: span,
      help: 'end it with `"`; a line break inside a string is written `\\n`',
      fixes: [{ title: 'add `"`', edits: [{ span: { file, start: span.end, end: span.end }, text: '"' }], safe: false }],
    });
  }

  const comments = (result.groups["comments"] ?? []).map((token): Comment => {
    const span = { file, start: token.startOffset, end: endOf(token) };
    if (token.tokenType === OpenComment) {
      report("MOE1009", "this comment is never closed", { at: { file, start: span.start, end: span.start + 2 }, help: "end it with `*/`" });
    }
    const block = token.tokenType === BlockComment || token.tokenType === OpenComment;
    return { span, text: token.image, doc: !block && /^\/\/\/(?!\/)/.test(token.image) };
  });
  return { tokens: result.tokens, comments, illegal: runs };
}
