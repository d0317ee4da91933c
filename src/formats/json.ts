/**
 * JSON (RFC 8259) with the place of every value, for diagnostics that point at the text. Strict: no comments, no
 * trailing commas. Nesting is limited, so hostile input cannot exhaust the stack.
 */

interface Place {
  /** UTF-16 offsets, half open. */
  readonly start: number;
  readonly end: number;
}

export interface JsonEntry {
  readonly key: string;
  /** The key's place, quotes included. */
  readonly keyPlace: Place;
  readonly value: JsonNode;
}

export type JsonNode =
  | (Place & { readonly kind: "object"; readonly entries: readonly JsonEntry[] })
  | (Place & { readonly kind: "array"; readonly items: readonly JsonNode[] })
  | (Place & { readonly kind: "string"; readonly value: string })
  | (Place & { readonly kind: "number"; readonly value: number })
  | (Place & { readonly kind: "boolean"; readonly value: boolean })
  | (Place & { readonly kind: "null"; readonly value: null });

export interface JsonFault {
  /** What was expected and what was found: 'expected "," or "}", found a string'. */
  readonly message: string;
  /** UTF-16 offset of the first character that cannot be. */
  readonly offset: number;
  /** Where the text stops too early: what it stops inside. */
  readonly unfinished?: "string" | "object" | "array" | "value";
}

export type JsonResult = { readonly ok: true; readonly node: JsonNode } | { readonly ok: false; readonly fault: JsonFault };

/** Deeper texts than this are refused: no file of ours nests past ten. */
export const maximumDepth = 200;

/** Parses a whole text. */
export function parseJson(text: string): JsonResult {
  const reader = new Reader(text);
  try {
    reader.space();
    const node = reader.value(0);
    reader.space();
    if (reader.at < text.length) reader.fault("expected the end of the text");
    return { ok: true, node };
  } catch (error) {
    if (error instanceof Fault) return { ok: false, fault: error.fault };
    throw error;
  }
}

/** The plain value of a node, as `JSON.parse` gives it (of equal keys the last one counts). */
export function plain(node: JsonNode): unknown {
  switch (node.kind) {
    case "object":
      return Object.fromEntries(node.entries.map((e) => [e.key, plain(e.value)])); // defines "__proto__" as a key like any other
    case "array":
      return node.items.map(plain);
    default:
      return node.value;
  }
}

/** The value of an object's key (the last where it is repeated). */
export function member(node: JsonNode, key: string): JsonNode | undefined {
  return node.kind === "object" ? node.entries.findLast((e) => e.key === key)?.value : undefined;
}

/** The entry or item that a JSON pointer (RFC 6901) names: its value, and its key's place where it has one. */
export function atPointer(root: JsonNode, pointer: string): { node: JsonNode; keyPlace?: Place } | undefined {
  let found: { node: JsonNode; keyPlace?: Place } = { node: root };
  for (const raw of pointer.split("/").slice(1)) {
    const part = raw.replaceAll("~1", "/").replaceAll("~0", "~");
    if (found.node.kind === "object") {
      const entry = found.node.entries.findLast((e) => e.key === part);
      if (entry === undefined) return undefined;
      found = { node: entry.value, keyPlace: entry.keyPlace };
    } else if (found.node.kind === "array") {
      const item = found.node.items[Number(part)];
      if (item === undefined) return undefined;
      found = { node: item };
    } else return undefined;
  }
  return found;
}

/** Line and column, both from 1, of a UTF-16 offset. */
export function lineColumn(text: string, offset: number): { line: number; column: number } {
  let line = 1;
  let start = 0;
  for (let i = text.indexOf("\n"); i >= 0 && i < offset; i = text.indexOf("\n", i + 1)) {
    line++;
    start = i + 1;
  }
  return { line, column: offset - start + 1 };
}

/** How a message names a JSON type. */
export function typeName(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

class Fault extends Error {
  readonly fault: JsonFault;
  constructor(fault: JsonFault) {
    super(fault.message);
    this.fault = fault;
  }
}

const numberPattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const escapePattern = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const runPattern = /[^"\\\u0000-\u001f]*/y;

class Reader {
  at = 0;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }

  space(): void {
    for (;;) {
      const c = this.text.charCodeAt(this.at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.at++;
    }
  }

  fault(expected: string, unfinished?: JsonFault["unfinished"]): never {
    const ended = this.at >= this.text.length;
    throw new Fault({
      message: `${expected}, found ${ended ? "the end of the text" : this.found()}`,
      offset: this.at,
      ...(ended && unfinished ? { unfinished } : {}),
    });
  }

  /** Names what stands at the cursor in a few characters, never the rest of a long line. */
  private found(): string {
    const c = this.text[this.at]!;
    if (c === '"') return "a string";
    if (c < " " || c === "\u007f") return `the control character U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    const word = /[\p{L}\p{N}_.+-]{1,20}/uy;
    word.lastIndex = this.at;
    return `"${word.exec(this.text)?.[0] ?? String.fromCodePoint(this.text.codePointAt(this.at)!)}"`;
  }

  value(depth: number): JsonNode {
    if (depth > maximumDepth) throw new Fault({ message: `nested deeper than ${maximumDepth} levels`, offset: this.at });
    const start = this.at;
    const c = this.text[this.at];
    if (c === "{") return this.object(depth);
    if (c === "[") return this.array(depth);
    if (c === '"') {
      const value = this.string();
      return { kind: "string", start, end: this.at, value };
    }
    for (const [word, value] of words) {
      if (!this.text.startsWith(word, this.at)) continue;
      this.at += word.length;
      return value === null ? { kind: "null", start, end: this.at, value } : { kind: "boolean", start, end: this.at, value };
    }
    numberPattern.lastIndex = this.at;
    const number = numberPattern.exec(this.text);
    if (number === null) this.fault("expected a value", "value");
    this.at += number[0].length;
    return { kind: "number", start, end: this.at, value: Number(number[0]) };
  }

  private object(depth: number): JsonNode {
    const start = this.at++;
    const entries: JsonEntry[] = [];
    this.space();
    if (this.text[this.at] === "}") return { kind: "object", start, end: ++this.at, entries };
    for (;;) {
      if (this.text[this.at] !== '"') this.fault(entries.length === 0 ? 'expected a key in quotes or "}"' : "expected a key in quotes", "object");
      const keyStart = this.at;
      const key = this.string();
      const keyPlace = { start: keyStart, end: this.at };
      this.space();
      if (this.text[this.at] !== ":") this.fault('expected ":"', "object");
      this.at++;
      this.space();
      entries.push({ key, keyPlace, value: this.value(depth + 1) });
      this.space();
      const c = this.text[this.at];
      if (c === "}") return { kind: "object", start, end: ++this.at, entries };
      if (c !== ",") this.fault('expected "," or "}"', "object");
      this.at++;
      this.space();
    }
  }

  private array(depth: number): JsonNode {
    const start = this.at++;
    const items: JsonNode[] = [];
    this.space();
    if (this.text[this.at] === "]") return { kind: "array", start, end: ++this.at, items };
    for (;;) {
      items.push(this.value(depth + 1));
      this.space();
      const c = this.text[this.at];
      if (c === "]") return { kind: "array", start, end: ++this.at, items };
      if (c !== ",") this.fault('expected "," or "]"', "array");
      this.at++;
      this.space();
    }
  }

  private string(): string {
    const start = this.at++;
    for (;;) {
      runPattern.lastIndex = this.at;
      this.at += runPattern.exec(this.text)![0].length;
      const c = this.text[this.at];
      if (c === '"') break;
      if (c !== "\\") this.fault(c === undefined ? "expected the end of a string" : "expected no raw control character in a string", "string");
      escapePattern.lastIndex = this.at;
      const matched = escapePattern.exec(this.text);
      if (matched === null) {
        if (this.at + 6 > this.text.length && /^\\(?:u[0-9a-fA-F]{0,3})?$/.test(this.text.slice(this.at))) {
          this.at = this.text.length;
          this.fault("expected the end of a string", "string");
        }
        throw new Fault({ message: `no such escape in a string: ${JSON.stringify(this.text.slice(this.at, this.at + 2))}`, offset: this.at });
      }
      this.at += matched[0].length;
    }
    this.at++;
    return JSON.parse(this.text.slice(start, this.at)) as string;
  }
}

const words = [["true", true], ["false", false], ["null", null]] as const;
