/** Where the lines of a text begin, and how far each is indented. Lines end with LF, CRLF or CR. */
export class Lines {
  readonly #starts: number[] = [0];
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c === 10 || (c === 13 && text.charCodeAt(i + 1) !== 10)) this.#starts.push(i + 1);
    }
  }

  /** The line of an offset, counted from 0. */
  lineOf(offset: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  startOf(line: number): number {
    return this.#starts[line]!;
  }

  /** The number of blanks that a line begins with. */
  indentOf(line: number): number {
    const start = this.#starts[line]!;
    let i = start;
    for (;;) {
      const c = this.#text.charCodeAt(i);
      if (c !== 32 && c !== 9 && c !== 0xfeff) return i - start;
      i++;
    }
  }
}
