/**
 * Names in generated code. Every name that reaches it (of a value, an axis, a weight, a file) may come from a `.moe` text
 * or a checkpoint and is not trusted: an identifier keeps ASCII letters, digits and underscores only, a comment keeps no
 * line break and no end of comment, and everything else is written as a JSON string.
 */

/** Words that cannot name a variable in strict TypeScript, or that would hide something the generated code uses. */
const reserved = new Set(
  (
    "abstract any arguments as asserts async await bigint boolean break case catch class const constructor continue debugger declare default " +
    "delete do else enum eval export extends false finally for from function get if implements import in infer instanceof interface is keyof " +
    "let module namespace never new null number object of package private protected public readonly require return set static string " +
    "super switch symbol this throw true try type typeof undefined unique unknown var void while with yield " +
    "Array Object Number String Boolean Symbol Math JSON Infinity NaN Float32Array Promise Error globalThis " +
    "each exports __dirname __filename __proto__ prototype hasOwnProperty toString valueOf"
  ).split(" "),
);

const longest = 48;

/** An identifier as near to a text as can be; `fallback` where nothing of it is left. */
export function identifier(text: string, fallback = "value"): string {
  let name = text
    .replace(/[^A-Za-z0-9_]+/g, "_")
    .replace(/^_+|_+$/g, "")
    .slice(0, longest)
    .replace(/_+$/, "");
  if (name === "") name = fallback;
  if (/^[0-9]/.test(name)) name = `_${name}`;
  return reserved.has(name) ? `${name}_` : name;
}

/** The names of one scope, each given once; a scope inside another uses none of the outer one's. */
export class Names {
  readonly #taken = new Set<string>();
  readonly #outer: Names | undefined;

  constructor(outer?: Names) {
    this.#outer = outer;
  }

  has(name: string): boolean {
    return this.#taken.has(name) || (this.#outer?.has(name) ?? false);
  }

  /** Takes a name that is an identifier already. */
  reserve(...names: readonly string[]): void {
    for (const name of names) this.#taken.add(name);
  }

  /** A free identifier like `hint`: "A", then "A_2", "A_3" … */
  fresh(hint: string, fallback?: string): string {
    const base = identifier(hint, fallback);
    let name = base;
    for (let n = 2; this.has(name); n++) name = `${base.replace(/_$/, "")}_${n}`;
    this.#taken.add(name);
    return name;
  }
}

/** A text for a comment: one line, and no end of comment, no compiler directive in it. */
export function comment(text: string): string {
  return text
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g, " ")
    .replace(/\*\//g, "* /")
    .replace(/@(?=ts-)/g, "@ ")
    .trim();
}

/** A string literal; U+2028 and U+2029 escaped, so that it can stand anywhere. */
export function literal(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A doc comment; nothing for no lines. */
export function docComment(lines: readonly string[], indent = ""): string {
  if (lines.length === 0) return "";
  if (lines.length === 1) return `${indent}/** ${comment(lines[0]!)} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${comment(line)}`.trimEnd()).join("\n")}\n${indent} */\n`;
}

/** The export of each adapter: its name, or the nearest free identifier. Both generated files agree on it. */
export function exportNames(adapters: readonly string[]): readonly string[] {
  const taken = new Set<string>();
  return adapters.map((adapter) => {
    const base = identifier(adapter, "adapter");
    let name = base;
    for (let n = 2; taken.has(name); n++) name = `${base}_${n}`;
    taken.add(name);
    return name;
  });
}
