/** What is wrong with a literal, and how it is repaired. */
interface Fault {
  readonly message: string;
  readonly help: string;
}

/** The value of a number as written, with whatever touches it (`12px`, `1_000`). */
export function decodeNumber(text: string): { value: number; integer: boolean; fault?: Fault } {
  const integer = /^[0-9]+$/.test(text);
  if (!/^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(text)) {
    const shown = text.length > 30 ? `${text.slice(0, 27)}…` : text;
    const help = /^[0-9]+(_[0-9]+)+$/.test(text)
      ? "digits are written without `_`"
      : "a number is digits, a fraction after a point, and an exponent: `12`, `0.05`, `2e-4`";
    return { value: Number.parseFloat(text), integer: false, fault: { message: `\`${shown}\` is not a number`, help } };
  }
  const value = Number(text);
  if (!Number.isFinite(value)) {
    return { value: Number.MAX_VALUE, integer, fault: { message: "this number is too large", help: "the largest number is about 1.8e308" } };
  }
  if (integer && !Number.isSafeInteger(value)) {
    return { value, integer, fault: { message: "this integer is too large to be exact", help: "the largest is 9007199254740991 (2^53 - 1)" } };
  }
  return { value, integer };
}

/** The value of a string as written, its quotes included; `closed` where it has the second one. Offsets of faults count from its start. */
export function decodeString(image: string, closed: boolean): { value: string; faults: readonly { message: string; start: number; end: number }[] } {
  let value = "";
  const faults: { message: string; start: number; end: number }[] = [];
  const end = closed ? image.length - 1 : image.length;
  const escape = /\\(?:u\{([0-9a-fA-F]{1,6})\}|([\s\S]))/y;
  let from = 1;
  for (let i = 1; i < end; ) {
    if (image[i] !== "\\") {
      i++;
      continue;
    }
    value += image.slice(from, i);
    escape.lastIndex = i;
    const match = escape.exec(image);
    const length = match ? match[0].length : 1;
    const simple = match?.[2] === undefined ? undefined : escapes[match[2]];
    const code = match?.[1] === undefined ? undefined : Number.parseInt(match[1], 16);
    if (simple !== undefined) value += simple;
    else if (code !== undefined && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000)) value += String.fromCodePoint(code);
    else if (match) {
      faults.push({ message: code === undefined ? `\`${match[0]}\` is no escape` : `U+${match[1]!.toUpperCase()} is no character`, start: i, end: i + length });
      value += match[0];
    }
    i += length;
    from = i;
  }
  return { value: value + image.slice(from, end), faults };
}

const escapes: Readonly<Record<string, string>> = { '"': '"', "\\": "\\", n: "\n", t: "\t" };
