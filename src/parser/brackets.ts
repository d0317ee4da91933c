import { createTokenInstance, type IToken } from "chevrotain";
import type { Details, Code, Span } from "../diagnostics/index.ts";
import type { Lines } from "./lines.ts";
import { Arrow, closerOf, closers, endOf, Equals, Identifier, LCurly, LParen, LSquare, OpenString } from "./tokens.ts";

/** Deeper nesting than this is refused: the parser and all that walks the tree recurse. */
export const maxNesting = 64;

type Report = (code: Code, message: string, details: Details) => void;

interface Frame {
  readonly token: IToken;
  readonly closer: IToken["tokenType"];
  readonly line: number;
  readonly indent: number;
}

/**
 * Makes the brackets of a token list balance before the parser sees it: a closing bracket that is missing is put in
 * (a token of no width, `isInsertedInRecovery`), one too many is taken out, and what is nested too deeply is cut. Each is
 * reported once, at the opening bracket, where the mistake is; the parser may then trust that every bracket it opens closes.
 *
 * Where the closing bracket belongs is guessed from layout, only in texts whose brackets do not balance: a line that
 * begins no further right than the line of the opening bracket is outside of it.
 */
export function balanceBrackets(tokens: readonly IToken[], lines: Lines, file: string, report: Report): IToken[] {
  const suspect = firstUnclosed(tokens);
  const out: IToken[] = [];
  const stack: Frame[] = [];
  let line = -1;

  const spanOf = (token: IToken): Span => ({ file, start: token.startOffset, end: endOf(token) });
  const closeMissing = (frame: Frame): void => {
    const previous = out[out.length - 1]!;
    const end = endOf(previous);
    const inserted = createTokenInstance(frame.closer, "", end, end, NaN, NaN, NaN, NaN);
    inserted.isInsertedInRecovery = true;
    out.push(inserted);
    stack.pop();
    if (previous.tokenType === OpenString) return; // the string took the closing bracket in, and is reported
    const closer = frame.closer.PATTERN as string;
    report("MOE1003", `this \`${frame.token.image}\` is never closed`, {
      at: spanOf(frame.token),
      label: "opened here",
      secondary: [{ span: { file, start: end, end }, text: `a \`${closer}\` is missing about here` }],
      fixes: [{ title: `add \`${closer}\``, edits: [{ span: { file, start: end, end }, text: closer }], safe: false }],
    });
  };

  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const type = token.tokenType;
    const tokenLine = suspect <= i || stack.length > 0 || closerOf.has(type) ? lines.lineOf(token.startOffset) : line;
    const beginsLine = tokenLine !== line;
    line = tokenLine;
    let top = stack[stack.length - 1];

    if (i > suspect) {
      while (top && closesHere(top, token, beginsLine, line, lines)) {
        closeMissing(top);
        top = stack[stack.length - 1];
      }
    }

    const closer = closerOf.get(type);
    if (closer) {
      if (stack.length >= maxNesting) {
        report("MOE1020", `nested more than ${maxNesting} deep`, { at: spanOf(token), help: "give inner parts a name of their own" });
        const missing = createTokenInstance(Identifier, "", token.startOffset, token.startOffset, NaN, NaN, NaN, NaN);
        missing.isInsertedInRecovery = true;
        out.push(missing);
        i = endOfNest(tokens, i) - 1;
        continue;
      }
      stack.push({ token, closer, line, indent: lines.indentOf(line) });
    } else if (closers.has(type)) {
      if (!stack.some((f) => f.closer === type)) {
        report("MOE1004", `\`${token.image}\` closes nothing`, {
          at: spanOf(token),
          fixes: [{ title: `remove \`${token.image}\``, edits: [{ span: spanOf(token), text: "" }], safe: false }],
        });
        continue;
      }
      while (stack[stack.length - 1]!.closer !== type) closeMissing(stack[stack.length - 1]!);
      stack.pop();
    }
    out.push(token);
  }
  while (stack.length > 0) closeMissing(stack[stack.length - 1]!);
  return out;
}

/** The index of the first bracket that a plain stack of brackets leaves open or closes wrongly; Infinity where all balance. */
function firstUnclosed(tokens: readonly IToken[]): number {
  const stack: { index: number; closer: IToken["tokenType"] }[] = [];
  let first = Infinity;
  tokens.forEach((token, index) => {
    const closer = closerOf.get(token.tokenType);
    if (closer) stack.push({ index, closer });
    else if (closers.has(token.tokenType)) {
      while (stack.length > 0 && stack[stack.length - 1]!.closer !== token.tokenType) first = Math.min(first, stack.pop()!.index);
      stack.pop();
    }
  });
  return Math.min(first, stack[0]?.index ?? Infinity);
}

/** Whether the bracket of `frame` cannot reach over `token`. */
function closesHere(frame: Frame, token: IToken, beginsLine: boolean, line: number, lines: Lines): boolean {
  const type = token.tokenType;
  const opener = frame.token.tokenType;
  if (opener !== LCurly && (type === LCurly || type === Arrow)) return true;
  if (opener === LSquare && type === Equals) return true;
  if (!beginsLine || line === frame.line || type === frame.closer) return false;
  if (closers.has(type) && opener === LParen) return false;
  return lines.indentOf(line) <= frame.indent;
}

/** The index after the bracket that `start` opens and all that it holds. */
function endOfNest(tokens: readonly IToken[], start: number): number {
  let open = 0;
  for (let i = start; i < tokens.length; i++) {
    const type = tokens[i]!.tokenType;
    if (closerOf.has(type)) open++;
    else if (closers.has(type) && --open === 0) return i + 1;
  }
  return tokens.length;
}
