import { type Diagnostic, diagnostic } from "../../diagnostics/index.ts";

/** `value`, `function`: a name after % or @ (quoted ones unquoted); `doc`: the text after `///`. */
export type TokenKind = "word" | "value" | "function" | "string" | "number" | "doc" | "punctuation" | "end";

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const pattern =
  /(?<space>[ \t\r\n]+)|\/\/\/(?<doc>[^\n]*)|(?<comment>\/\/[^\n]*)|%(?<value>[A-Za-z0-9_.]+)|@(?<fn>[A-Za-z_][A-Za-z0-9_.]*)|@(?<quoted>"(?:[^"\\\n]|\\.)*")|(?<string>"(?:[^"\\\n]|\\.)*")|(?<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|-inf\b)|(?<word>[A-Za-z_][A-Za-z0-9_.]*)|(?<punctuation>->|\.\.|[{}()[\]:,=*])/y;

/** Splits a graph's text; the diagnostic is about the first character that no token starts with. */
export function lex(text: string, file: string): { tokens: readonly Token[]; problem?: Diagnostic } {
  const tokens: Token[] = [];
  let at = 0;
  const fail = (message: string, end: number) => ({ tokens, problem: diagnostic("MOE4101", message, { at: { file, start: at, end } }) });
  while (at < text.length) {
    pattern.lastIndex = at;
    const groups = pattern.exec(text)?.groups;
    if (!groups) return fail(`the character ${JSON.stringify(String.fromCodePoint(text.codePointAt(at)!))} starts no word of a graph`, at + 1);
    const end = pattern.lastIndex;
    const push = (kind: TokenKind, found: string): void => void tokens.push({ kind, text: found, start: at, end });
    const quoted = groups["quoted"] ?? groups["string"];
    if (quoted !== undefined) {
      const unquoted = unquote(quoted);
      if (unquoted === undefined) return fail("this string is not written as JSON writes strings", end);
      push(groups["quoted"] === undefined ? "string" : "function", unquoted);
    } else if (groups["doc"] !== undefined) push("doc", groups["doc"].replace(/^ /, ""));
    else if (groups["value"] !== undefined) push("value", groups["value"]);
    else if (groups["fn"] !== undefined) push("function", groups["fn"]);
    else if (groups["number"] !== undefined) push("number", groups["number"]);
    else if (groups["word"] !== undefined) push("word", groups["word"]);
    else if (groups["punctuation"] !== undefined) push("punctuation", groups["punctuation"]);
    at = end;
  }
  tokens.push({ kind: "end", text: "", start: at, end: at });
  return { tokens };
}

function unquote(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
