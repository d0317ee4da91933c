/** Columns that a character takes in a terminal: 0 for marks that combine, 2 for wide ones (East Asian, emoji), else 1. */
export function widthOf(code: number): number {
  if (code === 0x200d || code === 0xfeff || (code >= 0x200b && code <= 0x200f) || (code >= 0xfe00 && code <= 0xfe0f)) return 0;
  if (code < 0x300) return 1;
  if (/^\p{Mn}$/u.test(String.fromCodePoint(code))) return 0;
  const wide =
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0x303e) ||
    (code >= 0x3041 && code <= 0xa4cf) ||
    (code >= 0xa960 && code <= 0xa97f) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0xffe0 && code <= 0xffe6) ||
    (code >= 0x1f300 && code <= 0x1faff) ||
    (code >= 0x20000 && code <= 0x3fffd);
  return wide ? 2 : 1;
}

/** What is printed for a character: tabs become blanks, control characters their visible picture. */
function shown(code: number): string {
  if (code === 9) return "    ";
  if (code < 32) return String.fromCodePoint(0x2400 + code);
  if (code === 127) return "\u2421";
  // C1 controls and direction marks could rewrite the terminal or the order of the text.
  if ((code >= 0x80 && code < 0xa0) || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)) return "\ufffd";
  if (code >= 0xd800 && code < 0xe000) return "\ufffd";
  return String.fromCodePoint(code);
}

/** A text as it is safe to print on one line. */
export function printable(text: string): string {
  let out = "";
  for (const character of text) out += shown(character.codePointAt(0)!);
  return out;
}

/** The columns that `printable(text)` takes. */
export function columnsOf(text: string): number {
  let width = 0;
  for (const character of printable(text)) width += widthOf(character.codePointAt(0)!);
  return width;
}
