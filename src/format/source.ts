import { doc, type Doc } from "./doc.ts";
import type { Comment } from "../parser/index.ts";
import { scan } from "../parser/scan.ts";
import { endOf } from "../parser/tokens.ts";
import type { SourceFile } from "../parser/index.ts";

const { hardline, lineSuffix, literalline, breakParent } = doc.builders;

/** What stands between two lines of the result. */
export interface Gap {
  /** Comments on the line before. */
  readonly trailing: readonly Doc[];
  /** Comments that begin a line, each with the line end before it. */
  readonly own: readonly { readonly before: Doc; readonly comment: Doc }[];
  /** What comes between the comments and the next token: a line end, a blank line, or a blank. */
  readonly separator: Doc;
  /** Whether a blank line lies anywhere in it. */
  readonly blank: boolean;
}

/** Whether a blank line belongs into a gap: as the author has it, always, or never. */
export type Blank = "keep" | "force" | "none";

/**
 * The tokens of a file in order, with the comments that stand before each. The printer takes every token exactly once, and
 * with it its comments, so none is lost. Where a line ends anyway a comment stays where it is (`gap`). Within a line a block
 * comment stays; a `//` comment moves up, before what it stands in (`scope`): so it never pushes what follows it to a line
 * where that would mean something else.
 */
export class Source {
  readonly #text: string;
  readonly #images: string[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #comments = new Map<number, Comment[]>();
  /** Of each opening bracket, its closing one. */
  readonly #closers = new Map<number, number>();
  /** How many comments that force a line end stand before a token, counted from the file's start. */
  readonly #forced: number[] = [0];
  #at = 0;
  /** Comments that move up, of each scope that is being printed. */
  readonly #raised: Comment[][] = [];

  constructor(file: SourceFile) {
    this.#text = file.text;
    const { tokens } = scan(file.text, file.path, () => {});
    const open: number[] = [];
    let next = 0;
    let forced = 0;
    for (let i = 0; i <= tokens.length; i++) {
      const token = tokens[i];
      const start = token ? token.startOffset : file.text.length;
      const before: Comment[] = [];
      for (; next < file.comments.length && file.comments[next]!.span.start < start; next++) {
        const comment = file.comments[next]!;
        before.push(comment);
        if (endsLine(comment)) forced++;
      }
      if (before.length > 0) this.#comments.set(i, before);
      this.#forced[i] = forced;
      this.#images.push(token ? token.image : "");
      this.#starts.push(start);
      this.#ends.push(token ? endOf(token) : start);
      const image = token?.image;
      if (image === "(" || image === "[" || image === "{") open.push(i);
      else if (image === ")" || image === "]" || image === "}") this.#closers.set(open.pop()!, i);
    }
  }

  // ——— looking ———

  /** The next token's text; "" at the end of the file. */
  get image(): string {
    return this.#images[this.#at]!;
  }

  /** The text of the token after the next. */
  get second(): string {
    return this.#images[this.#at + 1] ?? "";
  }

  /** Where the next token begins. */
  get start(): number {
    return this.#starts[this.#at]!;
  }

  /** Whether a `(` stands at an offset. */
  bracketAt(offset: number): boolean {
    return this.#text.charCodeAt(offset) === 40;
  }

  /** Whether comments stand before the next token. */
  get commented(): boolean {
    return this.#comments.has(this.#at);
  }

  /** Whether the brackets that the next token opens hold a comment that ends its line. */
  get holdsLineComment(): boolean {
    return this.#forced[this.#closers.get(this.#at)!]! > this.#forced[this.#at]!;
  }

  /** Whether a comment that ends its line stands before the next token. */
  get followsLineComment(): boolean {
    return this.#comments.get(this.#at)?.some(endsLine) ?? false;
  }

  /** Whether such a comment stands before the next token or the one after it; then all stand before the next. */
  pullComments(): boolean {
    const after = this.#comments.get(this.#at + 1);
    if (after?.some(endsLine)) {
      this.#comments.set(this.#at, [...(this.#comments.get(this.#at) ?? []), ...after]);
      this.#comments.delete(this.#at + 1);
    }
    return this.followsLineComment;
  }

  /** Whether what the next bracket opens begins on a line of its own. */
  get opensLine(): boolean {
    return lineEnds(this.#text, this.#ends[this.#at]!, this.#starts[this.#at + 1]!) > 0;
  }

  /** Whether the brackets that the next token opens are empty. */
  get isEmpty(): boolean {
    return this.#closers.get(this.#at) === this.#at + 1 && !this.#comments.has(this.#at + 1);
  }

  /** Whether the next token stands on the line of the last, with nothing between them. */
  get continuesLine(): boolean {
    return this.#at > 0 && !this.commented && lineEnds(this.#text, this.#ends[this.#at - 1]!, this.start) === 0;
  }

  /** The blocks `word { … }` right inside the brackets that were opened last: where each begins and ends. */
  blocks(word: string): readonly { readonly start: number; readonly end: number }[] {
    const found: { start: number; end: number }[] = [];
    for (let i = this.#at; i < this.#images.length && !/^[)\]}]?$/.test(this.#images[i]!); i++) {
      const closer = this.#closers.get(i);
      if (closer === undefined) continue;
      if (this.#images[i] === "{" && this.#images[i - 1] === word) found.push({ start: this.#starts[i - 1]!, end: this.#ends[closer]! });
      i = closer;
    }
    return found;
  }

  // ——— taking ———

  /** The next token, after its comments. Where it touches what stands before (`tight`), blanks go before the comments. */
  take(expected?: string, tight = false): Doc {
    const image = this.image;
    if (expected !== undefined && image !== expected) throw new Error(`the formatter expected ${expected} at ${this.start} and found ${image}`);
    const before = this.comments(tight);
    this.#at++;
    return before === "" ? image : [before, image];
  }

  /** Takes an optional comma away; its comments stay. */
  drop(): Doc {
    const before = this.comments(true);
    this.#at++;
    return before;
  }

  /** The comments before the next token, within a line. */
  private comments(tight: boolean): Doc {
    const found = this.#comments.get(this.#at);
    if (!found) return "";
    this.#comments.delete(this.#at);
    const stay: Doc[] = [];
    for (const comment of found) {
      if (isLine(comment)) this.#raised[this.#raised.length - 1]!.push(comment);
      else stay.push(tight ? [" ", blockText(comment.text)] : [blockText(comment.text), " "]);
    }
    return stay.length > 0 ? stay : "";
  }

  /** Prints something that begins a line; `raised` are the comments in it that move up, `apart` whether a blank line follows one. */
  scope<T>(print: () => T): { readonly result: T; readonly raised: readonly Doc[]; readonly apart: boolean } {
    this.#raised.push([]);
    const result = print();
    const comments = this.#raised.pop()!;
    // A `///` must not come to document what follows.
    const raised = comments.map((c, i): Doc => [c.text.trimEnd(), c.doc && !comments[i + 1]?.doc ? [hardline, hardline] : hardline]);
    return { result, raised, apart: comments.some((c) => c.doc) };
  }

  /**
   * The comments before the next token, which stands on a line of its own. `first` right after an opening bracket or at
   * the file's start, where no blank line begins.
   */
  gap(blank: Blank, first = false): Gap {
    const found = this.#comments.get(this.#at) ?? [];
    this.#comments.delete(this.#at);
    const fileStart = this.#at === 0;
    const before = fileStart ? 0 : this.#ends[this.#at - 1]!;
    const ends = found.map((comment, i) => lineEnds(this.#text, i > 0 ? found[i - 1]!.span.end : before, comment.span.start));
    const last = found[found.length - 1];
    const after = lineEnds(this.#text, last ? last.span.end : before, this.start);
    const allowed = (count: number, index: number): boolean => blank !== "none" && count > 1 && !(first && index === 0);
    let wanted = blank === "force" && !ends.some(allowed) && !allowed(after, found.length);
    let hasBlank = false;
    const newLine = (twice: boolean): Doc => {
      const both = twice || wanted;
      hasBlank ||= both;
      wanted = false;
      return both ? [hardline, hardline] : hardline;
    };
    // Block comments on the line of what follows them belong to it.
    let leads = found.length;
    const closes = /^[)\]}]?$/.test(this.image);
    while (!closes && leads > 0 && !isLine(found[leads - 1]!) && (leads === found.length ? after : ends[leads]!) === 0) leads--;
    const trailing: Doc[] = [];
    const own: { before: Doc; comment: Doc }[] = [];
    found.forEach((comment, i) => {
      const text = isLine(comment) ? comment.text.trimEnd() : blockText(comment.text);
      const begins = (fileStart && i === 0) || ends[i]! > 0 || (i === leads && own.length === 0) || (i > 0 && isLine(found[i - 1]!));
      if (begins) own.push({ before: fileStart && i === 0 ? "" : newLine(allowed(ends[i]!, i)), comment: text });
      else if (own.length > 0) own.push({ before: " ", comment: text });
      else trailing.push(isLine(comment) ? lineSuffix([" ", text]) : [" ", text]);
    });
    if (own.length > 0 && last && !isLine(last) && after === 0) return { trailing, own, separator: " ", blank: hasBlank };
    if (fileStart && !last) return { trailing, own, separator: "", blank: false };
    const separator = newLine(allowed(after, found.length));
    return { trailing, own, separator, blank: hasBlank };
  }
}

/** A gap as a document, with comments that move up out of what follows it. */
export function gapDoc({ trailing, own, separator }: Gap, raised: readonly Doc[] = []): Doc[] {
  const [first, ...others] = own;
  const rest: Doc[] = others.map(({ before, comment }): Doc => [before, comment]);
  if (!first) return [...trailing, separator, ...raised];
  return [...trailing, first.before, ...raised, first.comment, ...rest, separator];
}

/** The comments of a gap before a closing bracket. */
export function endDoc({ trailing, own }: Gap): Doc[] {
  return [...trailing, ...own.map(({ before, comment }): Doc => [before, comment])];
}

function isLine(comment: Comment): boolean {
  return comment.text.startsWith("//");
}

/** Whether a comment holds or needs a line end. */
function endsLine(comment: Comment): boolean {
  return isLine(comment) || /[\r\n]/.test(comment.text);
}

/** A block comment as it is; its further lines stay where they are. */
function blockText(text: string): Doc {
  const lines = text.split(/\r\n|\r|\n/);
  return lines.length === 1 ? text : [breakParent, ...lines.map((line, i): Doc => (i === 0 ? line : [literalline, line]))];
}

/** How many line ends lie between two offsets. */
function lineEnds(text: string, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) {
    const c = text.charCodeAt(i);
    if (c === 10 || (c === 13 && text.charCodeAt(i + 1) !== 10)) count++;
  }
  return count;
}
