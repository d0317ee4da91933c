/** A place as people count: both from 1, the column in characters (code points) of the line. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** The texts that diagnostics point into, by the path in their spans. */
export type Texts = ReadonlyMap<string, string> | ((file: string) => string | undefined);

export function textOf(texts: Texts, file: string): string | undefined {
  return typeof texts === "function" ? texts(file) : texts.get(file);
}

/** Where the line that holds `offset` begins and ends (without its line break). */
export function lineAround(text: string, offset: number): { start: number; end: number } {
  let start = Math.min(offset, text.length);
  // Between CR and LF is the end of the line before.
  if (text[start - 1] === "\r" && text[start] === "\n") start--;
  while (start > 0 && text[start - 1] !== "\n" && text[start - 1] !== "\r") start--;
  let end = start;
  while (end < text.length && text[end] !== "\n" && text[end] !== "\r") end++;
  return { start, end };
}

/**
 * Line and column of a UTF-16 offset, both counted from 1; the column counts code points, as editors' status bars do.
 * Lines end with LF, CRLF or CR. An offset outside of the text counts as its nearest end; a byte order mark has no column.
 */
export function lineColumn(text: string, offset: number): Position {
  const at = Math.max(0, Math.min(offset, text.length));
  const { start } = lineAround(text, at);
  let line = 1;
  for (let i = 0; i < start; i++) {
    const c = text.charCodeAt(i);
    if (c === 10 || (c === 13 && text.charCodeAt(i + 1) !== 10)) line++;
  }
  const from = start === 0 && text.charCodeAt(0) === 0xfeff ? 1 : start;
  let column = 1;
  for (let i = from; i < at; column++) i += text.codePointAt(i)! > 0xffff ? 2 : 1;
  return { line, column };
}
