import { diagnostic, didYouMean, type Details, type Diagnostic, type Span } from "../../diagnostics/index.ts";
import { parseJson } from "../../formats/json.ts";
import { firstInvalidByte } from "../../formats/text.ts";
import { normaliseRow, type DataRow, type Where } from "./rows.ts";

export interface JsonlOptions {
  /**
   * The kinds that the spec maps to groups; empty or absent: any kind is fine. A file in which no row has one of them is
   * another set of data, taken as it is with a warning; otherwise a kind that is none of them is a fault, and so is one
   * that looks like a misspelling of one of them.
   */
  readonly knownKinds?: readonly string[];
  /** Faults listed before the rest are only counted. */
  readonly maximumDiagnostics?: number;
}

export interface ParsedData {
  /** The rows without a fault, in the file's order. */
  readonly rows: readonly DataRow[];
  /**
   * Everything that is wrong with the others, in the file's order. Spans count UTF-16 units of the text as `decodeText`
   * gives it: without a byte-order mark. (Invalid bytes count as the U+FFFD that a lenient decoder makes of them.)
   */
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Reads a JSONL data file: one JSON object a line, in any of the forms that `normaliseRow` knows. Blank lines, CRLF and a
 * byte-order mark are accepted. Faulty lines are reported, all in one run, and left out. No diagnostic repeats a line's
 * text. Time and memory are linear in the file's size.
 */
export function parseJsonl(bytes: Uint8Array, file: string, options: JsonlOptions = {}): ParsedData {
  const report = new Report(options.maximumDiagnostics ?? 100);
  const wide = utf16(bytes);
  if (wide !== undefined) {
    report.add(diagnostic("MOE5135", `${file} is ${wide}, expected UTF-8`, { help: "convert it: iconv -f utf-16 -t utf-8" }));
    return { rows: [], diagnostics: report.all() };
  }
  const bom = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  const rows: DataRow[] = [];
  const ids = new Map<string, DataRow>();
  const kinds = new KindCheck(options.knownKinds ?? []);
  let line = 0;
  let textStart = 0; // UTF-16 offset of the line's first character
  let filled = 0;
  for (let begin = bom; begin < bytes.length; ) {
    line++;
    const newline = bytes.indexOf(0x0a, begin);
    const next = newline < 0 ? bytes.length : newline + 1;
    const raw = bytes.subarray(begin, newline < 0 ? bytes.length : newline);
    const reader = new Line(raw, file, line, begin, textStart, newline < 0, report);
    const text = reader.text();
    if (text === undefined || text.trim() !== "") filled++;
    if (text !== undefined && text.trim() !== "") {
      const value = reader.value(text);
      const row = value === undefined ? undefined : normaliseRow(value.value, line, (code, message, where) => reader.refuse(code, message, where));
      if (row !== undefined && unusedId(row, reader, ids)) {
        kinds.see(row, reader);
        rows.push(row);
      }
    }
    textStart += reader.width() + 1;
    begin = next;
  }
  if (filled === 0) report.add(diagnostic("MOE5134", bytes.length === 0 ? `${file} is empty (0 bytes): at least one row is needed` : `${file} has no rows: at least one is needed`));
  const refused = kinds.settle(report);
  return { rows: refused ? rows.filter((r) => !kinds.isUnknown(r.kind)) : rows, diagnostics: report.all() };
}

/** Collects diagnostics up to a limit, then counts. */
class Report {
  private readonly list: Diagnostic[] = [];
  private more = 0;
  private readonly limit: number;
  constructor(limit: number) {
    this.limit = limit;
  }
  add(one: Diagnostic): void {
    if (this.list.length < this.limit) this.list.push(one);
    else this.more++;
  }
  /** So many more, of which nothing is shown. */
  uncounted(count: number): void {
    this.more += count;
  }
  /** In the file's order, which that of finding is not where a kind is judged by the whole file. */
  all(): Diagnostic[] {
    const shown = [...this.list].sort((a, b) => (a.primary?.span.start ?? 0) - (b.primary?.span.start ?? 0));
    if (this.more > 0) shown.push(diagnostic("MOE5146", `${this.more} further fault${this.more === 1 ? " is" : "s are"} not shown`));
    return shown;
  }
}

/** One line while it is read: it knows its places in the bytes and in the text. */
class Line {
  private decoded: string | undefined;
  private readonly raw: Uint8Array;
  readonly file: string;
  readonly number: number;
  private readonly byteStart: number;
  private readonly textStart: number;
  private readonly unended: boolean;
  private readonly report: Report;

  constructor(raw: Uint8Array, file: string, number: number, byteStart: number, textStart: number, unended: boolean, report: Report) {
    this.raw = raw;
    this.file = file;
    this.number = number;
    this.byteStart = byteStart;
    this.textStart = textStart;
    this.unended = unended;
    this.report = report;
  }

  /** The line's text without its end, or nothing where its bytes are no text. */
  text(): string | undefined {
    const nul = this.raw.indexOf(0);
    if (nul >= 0) {
      this.byteFault("MOE5136", nul, "NUL byte", "damaged file or UTF-16? Delete the byte, or convert the file: iconv -f utf-16 -t utf-8");
      return undefined;
    }
    try {
      this.decoded = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.raw);
    } catch {
      const at = firstInvalidByte(this.raw);
      const byte = this.raw[at]!;
      const cut = this.unended && at >= this.raw.length - 3 && byte >= 0xc2 && byte < 0xf5;
      if (cut) this.byteFault("MOE5137", at, "the file ends inside a character", "looks like an interrupted write or download: fetch the file again, or delete the last line");
      else
        this.byteFault(
          "MOE5135",
          at,
          `byte ${hex(byte)} is not UTF-8`,
          byte >= 0xa0 ? "looks like Latin-1: convert the file, iconv -f latin1 -t utf-8" : "looks like Windows-1252 or damage: convert the file, iconv -f windows-1252 -t utf-8",
        );
      return undefined;
    }
    return this.decoded.endsWith("\r") ? this.decoded.slice(0, -1) : this.decoded;
  }

  /** UTF-16 units of the line, a carriage return included, as a lenient decoder gives them. */
  width(): number {
    this.decoded ??= new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.raw);
    return this.decoded.length;
  }

  value(text: string): { value: unknown } | undefined {
    try {
      return { value: JSON.parse(text) as unknown };
    } catch {
      const result = parseJson(text);
      if (result.ok) return { value: undefined }; // too deep for one parser only; refused as no object
      const { message, offset, unfinished } = result.fault;
      const inside = unfinished === undefined ? undefined : unfinished === "value" ? "before a value" : `inside ${unfinished === "string" ? "a" : "an"} ${unfinished}`;
      if (this.unended && inside !== undefined)
        this.fault("MOE5137", offset, offset, `the file ends ${inside}`, { help: "looks like an interrupted write or download: fetch the file again, or delete the last line" });
      else this.fault("MOE5130", offset, offset + 1, inside === undefined ? message : `${message} (the line ends ${inside})`);
      return undefined;
    }
  }

  /** Reports a fault of the row's content; the place is found by reading the line again, which only faulty rows cost. */
  refuse(code: Diagnostic["code"], message: string, where: Where = {}): void {
    this.report.add(this.describe(code, message, where));
  }

  /** What `refuse` reports. */
  describe(code: Diagnostic["code"], message: string, where: Where = {}): Diagnostic {
    const parsed = parseJson(this.decoded!);
    const entry = parsed.ok && parsed.node.kind === "object" && where.key !== undefined ? parsed.node.entries.findLast((e) => e.key === where.key) : undefined;
    const place = entry === undefined ? undefined : where.part === "key" ? entry.keyPlace : entry.value;
    const details: Details = {
      ...(where.help === undefined ? {} : { help: where.help }),
      ...(where.rename === undefined || entry === undefined
        ? {}
        : {
            fixes: [
              { title: `rename ${JSON.stringify(entry.key)} to ${JSON.stringify(where.rename)}`, safe: true, edits: [{ span: this.span(entry.keyPlace.start, entry.keyPlace.end), text: JSON.stringify(where.rename) }] },
            ],
          }),
    };
    return place === undefined ? this.made(code, 0, 0, message, details, false) : this.made(code, place.start, place.end, message, details);
  }

  private byteFault(code: Diagnostic["code"], at: number, message: string, help: string): void {
    const before = new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.raw.subarray(0, at)).length;
    this.report.add(
      diagnostic(code, `${this.file}, line ${this.number}, byte column ${at + 1} (file offset ${this.byteStart + at}): ${message}`, { at: this.span(before, before + 1), help }),
    );
  }

  private fault(code: Diagnostic["code"], start: number, end: number, message: string, details: Details = {}): void {
    this.report.add(this.made(code, start, end, message, details));
  }

  private made(code: Diagnostic["code"], start: number, end: number, message: string, details: Details = {}, column = true): Diagnostic {
    // A value can be megabytes long: underline its beginning only.
    const at = this.span(start, Math.min(end, start + 200));
    return diagnostic(code, `${this.file}, line ${this.number}${column ? `, column ${start + 1}` : ""}: ${message}`, { at, ...details });
  }

  private span(start: number, end: number): Span {
    return { file: this.file, start: this.textStart + start, end: this.textStart + end };
  }
}

/** A kind that the spec does not map: what to say where it stands first, and on which lines it came again. */
interface UnknownKind {
  readonly error: Diagnostic;
  readonly warning: Diagnostic;
  readonly lines: number[];
  again: number;
}

/** Judges the kinds of a file's rows, once all of them are known. */
class KindCheck {
  private readonly known: readonly string[];
  private readonly unknown = new Map<string, UnknownKind>();
  private mapped = false;
  /** Rows of yet other kinds, where a file has more than are worth keeping. */
  private beyond = 0;

  constructor(known: readonly string[]) {
    this.known = known;
  }

  isUnknown(kind: string | undefined): boolean {
    return kind !== undefined && this.known.length > 0 && !this.known.includes(kind);
  }

  see({ kind, line }: DataRow, reader: Line): void {
    if (kind === undefined || !this.isUnknown(kind)) {
      this.mapped ||= kind !== undefined;
      return;
    }
    const before = this.unknown.get(kind);
    if (before !== undefined) {
      before.again++;
      if (before.lines.length < 5) before.lines.push(line);
      return;
    }
    if (this.unknown.size === 1000) {
      this.beyond++;
      return;
    }
    const known = this.known.map((k) => JSON.stringify(k)).join(", ");
    const help = didYouMean(kind, this.known);
    const error = reader.describe("MOE5133", `unknown kind ${shorten(kind)}; known are ${known}`, { key: "kind", ...(help === undefined ? {} : { help }) });
    const warning = reader.describe("MOE5147", `kind ${shorten(kind)} is mapped to no group, nor is any other kind of this file; mapped are ${known}`, {
      key: "kind",
      help: "its rows match no group: the balance only evens out the experts' use. To tell them apart, map the kind in the spec, or give the rows a kind that is mapped",
    });
    this.unknown.set(kind, { error, warning, lines: [], again: 0 });
  }

  /** Reports; true where rows of unknown kinds are refused. */
  settle(report: Report): boolean {
    const kinds = [...this.unknown];
    if (kinds.length === 0) return false;
    // Nothing here was meant for the spec's map, unless a name was misspelt.
    if (!this.mapped && kinds.every(([, { error }]) => error.help === undefined)) {
      const [[, first], ...others] = kinds as [(typeof kinds)[0], ...typeof kinds];
      const more = others.slice(0, 5).map(([kind]) => shorten(kind)).join(", ");
      report.add(others.length === 0 ? first.warning : { ...first.warning, notes: [`other kinds in it: ${more}${others.length > 5 ? `, and ${others.length - 5} more` : ""}`] });
      return false;
    }
    for (const [, { error, lines, again }] of kinds) {
      const note = `the same kind is on ${again} more line${again === 1 ? "" : "s"}: ${lines.join(", ")}${again > lines.length ? ", ..." : ""}`;
      report.add(again === 0 ? error : { ...error, notes: [note] });
    }
    report.uncounted(this.beyond);
    return true;
  }
}

function unusedId(row: DataRow, reader: Line, ids: Map<string, DataRow>): boolean {
  if (row.id === undefined) return true;
  const other = ids.get(row.id);
  if (other === undefined) {
    ids.set(row.id, row);
    return true;
  }
  if (other.prompt === row.prompt && other.completion === row.completion && other.kind === row.kind) {
    reader.refuse("MOE5138", `same row as line ${other.line}`, { key: "id", help: "delete one of the two, unless it is meant to count twice" });
    return true;
  }
  reader.refuse("MOE5139", `id ${shorten(row.id)} is already used at line ${other.line}, with different content`, { key: "id", help: "give each row an id of its own" });
  return false;
}

function shorten(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
}

function hex(byte: number): string {
  return `0x${byte.toString(16).toUpperCase().padStart(2, "0")}`;
}

/** Tells UTF-16 by its mark, or by NULs in a good part of its first bytes. */
function utf16(bytes: Uint8Array): string | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return "UTF-16 (little endian)";
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return "UTF-16 (big endian)";
  const head = bytes.subarray(0, 1000);
  const nuls = head.reduce((n, b) => n + (b === 0 ? 1 : 0), 0);
  return head.length >= 4 && nuls * 4 > head.length ? "probably UTF-16: it is full of NUL bytes" : undefined;
}
