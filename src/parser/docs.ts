import type { Comment } from "./ast.ts";
import type { Lines } from "./lines.ts";

/** Finds the `///` lines directly above a node. */
export class Docs {
  readonly #comments: readonly Comment[];
  readonly #lines: Lines;
  readonly #byLine = new Map<number, Comment>();

  constructor(comments: readonly Comment[], lines: Lines) {
    this.#comments = comments;
    this.#lines = lines;
    for (const comment of this.#comments) {
      if (!comment.doc) continue;
      const line = lines.lineOf(comment.span.start);
      // A `///` after code on its line belongs to nothing.
      if (lines.startOf(line) + lines.indentOf(line) === comment.span.start) this.#byLine.set(line, comment);
    }
  }

  /** The Markdown of the unbroken run of `///` lines above the line of `offset`, without the slashes. */
  before(offset: number): string | undefined {
    if (this.#byLine.size === 0) return undefined;
    let line = this.#lines.lineOf(offset);
    if (this.#lines.startOf(line) + this.#lines.indentOf(line) !== offset) return undefined;
    line--;
    const found: string[] = [];
    for (let comment = this.#byLine.get(line); comment; comment = this.#byLine.get(--line)) {
      found.push(comment.text.slice(3).replace(/^ /, "").trimEnd());
    }
    return found.length === 0 ? undefined : found.reverse().join("\n");
  }
}
