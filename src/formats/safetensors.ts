/**
 * The safetensors format (huggingface/safetensors, version 0.8): 8 bytes of header length, a JSON header, the data.
 * The checks are the reference implementation's, made before anything is allocated; all faults of a header are told at
 * once, each with its tensors' names.
 */
import { diagnostic, DiagnosticError, didYouMean, fail, type Diagnostic } from "../diagnostics/index.ts";
import { byteSize, dtypeBits, encodeElements, type Dtype, type NumericDtype } from "./dtype.ts";
import { member, parseJson, typeName, plain, type JsonNode } from "./json.ts";

/** The longest header the format allows, in bytes. */
export const maximumHeader = 100_000_000;

export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  /** Sizes in memory order, row-major. */
  readonly shape: readonly number[];
  /** Offsets in the file, from its first byte; half open. */
  readonly begin: number;
  readonly end: number;
  /** The file's path as it was given. */
  readonly file: string;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** By name, in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Where the data begins in the file. */
  readonly dataStart: number;
}

/** Reads the header's length from a file's first eight bytes, and refuses what the file cannot hold. */
export function headerLength(bytes: Uint8Array, fileSize: number, file: string): number {
  if (fileSize < 8 || bytes.length < 8)
    fail("MOE5110", `${file} has ${fileSize} bytes: too few for a safetensors file, which begins with 8 bytes of header length`, { help: "was the download interrupted?" });
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  const available = fileSize - 8;
  const faults: string[] = [];
  if (length > BigInt(available)) faults.push(`${available} bytes follow`);
  if (length > BigInt(maximumHeader)) faults.push(`the format allows at most ${maximumHeader}`);
  if (faults.length > 0)
    fail("MOE5110", `${file} claims a header of ${length} bytes, but ${faults.join(" and ")}`, {
      help: length > 1n << 48n ? "is it a safetensors file at all?" : "was the download interrupted?",
    });
  return Number(length);
}

/**
 * Parses and checks a header.
 * @param bytes the first part of the file, at least up to the header's end
 * @param fileSize the whole file's size in bytes
 * @throws DiagnosticError with every fault of the header
 */
export function parseHeader(bytes: Uint8Array, fileSize: number, file: string): SafetensorsHeader {
  const length = headerLength(bytes, fileSize, file);
  if (bytes.length < 8 + length) fail("MOE5110", `${file} could be read up to byte ${bytes.length} only, but its header ends at byte ${8 + length}`);
  const root = headerTree(bytes.subarray(8, 8 + length), file);
  const faults: Diagnostic[] = [];
  const dataStart = 8 + length;
  const metadata = readMetadata(root, file, faults);
  const entries: TensorEntry[] = [];
  const seen = new Set<string>();
  if (root.kind === "object")
    for (const { key, value } of root.entries) {
      if (seen.has(key)) faults.push(diagnostic("MOE5116", `${file}: the header names ${quote(key)} twice`));
      seen.add(key);
      if (key === "__metadata__") continue;
      const entry = readEntry(key, value, dataStart, file, faults);
      if (entry !== undefined) entries.push(entry);
    }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  // Where an entry could not be read, its bytes would look like a gap: one mistake, one diagnostic.
  const whole = faults.length === 0;
  checkSizes(entries, faults);
  checkLayout(entries, dataStart, fileSize, file, whole, faults);
  if (faults.length > 0) throw new DiagnosticError(faults.slice(0, 50));
  return { metadata, tensors: new Map(entries.map((e) => [e.name, e])), dataStart };
}

/** Parses a whole file that is already in memory. */
export function parseSafetensors(bytes: Uint8Array, file: string): SafetensorsHeader {
  return parseHeader(bytes, bytes.length, file);
}

/** A tensor's bytes in a file that is in memory. */
export function tensorBytes(file: Uint8Array, entry: TensorEntry): Uint8Array {
  return file.subarray(entry.begin, entry.end);
}

/** The number of elements of a shape; undefined beyond 2^53. */
export function elementsOf(shape: readonly number[]): number | undefined {
  if (shape.includes(0)) return 0;
  const count = shape.reduce((a, b) => a * b, 1);
  return Number.isSafeInteger(count) ? count : undefined;
}

function headerTree(bytes: Uint8Array, file: string): JsonNode {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail("MOE5111", `${file}: the header is not UTF-8 text`, { help: "the file is damaged, or is not a safetensors file" });
  }
  const result = parseJson(text);
  if (!result.ok) {
    const at = new TextEncoder().encode(text.slice(0, result.fault.offset)).length;
    fail("MOE5111", `${file}: the header is not JSON at header byte ${at} (file byte ${at + 8}): ${result.fault.message}`, {
      help: "the file is damaged, or was written by a faulty program",
    });
  }
  if (result.node.kind !== "object") fail("MOE5111", `${file}: the header is ${article(result.node.kind)}, expected an object`);
  return result.node;
}

function readMetadata(root: JsonNode, file: string, faults: Diagnostic[]): Record<string, string> {
  const node = member(root, "__metadata__");
  if (node === undefined) return {};
  if (node.kind !== "object" || node.entries.some((e) => e.value.kind !== "string")) {
    faults.push(diagnostic("MOE5112", `${file}: __metadata__ must map strings to strings`));
    return {};
  }
  return plain(node) as Record<string, string>;
}

function readEntry(name: string, node: JsonNode, dataStart: number, file: string, faults: Diagnostic[]): TensorEntry | undefined {
  const bad = (message: string): undefined => {
    faults.push(diagnostic("MOE5112", `${file}: tensor ${quote(name)} ${message}`));
    return undefined;
  };
  if (node.kind !== "object") return bad(`is described by ${article(node.kind)}, expected an object with dtype, shape and data_offsets`);
  const raw = plain(node) as Record<string, unknown>;
  const fields = ["dtype", "shape", "data_offsets"];
  for (const field of fields) if (!Object.hasOwn(raw, field)) return bad(`has no ${field}`);
  if (new Set(node.entries.map((e) => e.key)).size < node.entries.length) return bad("has a field twice");
  const { dtype, shape, data_offsets: offsets } = raw;
  if (typeof dtype !== "string") return bad(`has a dtype that is ${article(typeName(dtype))}, expected a string`);
  if (!Object.hasOwn(dtypeBits, dtype)) {
    const guess = didYouMean(dtype, Object.keys(dtypeBits));
    faults.push(diagnostic("MOE5117", `${file}: tensor ${quote(name)} has the unknown dtype ${quote(dtype)}`, guess === undefined ? {} : { help: guess }));
    return undefined;
  }
  if (!isSizes(shape)) return bad("has a shape that is not a list of non-negative integers");
  if (!isSizes(offsets) || offsets.length !== 2) return bad("has data_offsets that are not two non-negative integers");
  const [begin, end] = offsets as [number, number];
  if (begin > end) return bad(`has data_offsets that end (${end}) before they begin (${begin})`);
  return { name, dtype: dtype as Dtype, shape, begin: dataStart + begin, end: dataStart + end, file };
}

function isSizes(value: unknown): value is number[] {
  // Room to add a header's length without leaving the safe integers.
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0 && n <= Number.MAX_SAFE_INTEGER - 2 * maximumHeader);
}

function checkSizes(entries: readonly TensorEntry[], faults: Diagnostic[]): void {
  for (const { name, dtype, shape, begin, end, file } of entries) {
    const elements = elementsOf(shape);
    const expected = elements === undefined ? undefined : byteSize(dtype, elements);
    const found = end - begin;
    if (expected === found) continue;
    const other = expected === undefined || expected === 0 ? undefined : found / expected;
    const help =
      other === 0.5 && dtypeBits[dtype] === 32 ? "is the data F16 or BF16?" : other === 2 && dtypeBits[dtype] === 16 ? "is the data F32?" : other === 2 && dtype === "F32" ? "is the data F64?" : undefined;
    const need = expected === undefined ? "more bytes than can be counted, or no whole number of them" : `${expected} bytes`;
    faults.push(
      diagnostic("MOE5115", `${file}: tensor ${quote(name)}, ${dtype} [${shape.join(", ")}], needs ${need}, but its offsets span ${found}`, help === undefined ? {} : { help }),
    );
  }
}

/** The tensors, sorted by offset, must tile the data. */
function checkLayout(entries: readonly TensorEntry[], dataStart: number, fileSize: number, file: string, whole: boolean, faults: Diagnostic[]): void {
  let cursor = dataStart;
  let last: TensorEntry | undefined;
  let gap = false;
  for (const entry of entries) {
    const offset = (n: number): number => n - dataStart;
    if (entry.end > fileSize) {
      faults.push(
        diagnostic("MOE5114", `${file}: tensor ${quote(entry.name)} has data_offsets [${offset(entry.begin)}, ${offset(entry.end)}], but the file holds ${fileSize - dataStart} bytes of data`, {
          help: "was the download interrupted?",
        }),
      );
      gap = true;
    } else if (entry.begin < cursor && last !== undefined) {
      const shared = [offset(entry.begin), offset(Math.min(last.end, Math.max(entry.end, entry.begin)))] as const;
      faults.push(
        shared[0] < shared[1]
          ? diagnostic("MOE5113", `${file}: tensors ${quote(last.name)} and ${quote(entry.name)} share the data bytes ${shared[0]} to ${shared[1]}`)
          : diagnostic("MOE5114", `${file}: the empty tensor ${quote(entry.name)} lies inside ${quote(last.name)}`),
      );
    } else if (entry.begin > cursor && whole && !gap) {
      faults.push(diagnostic("MOE5114", `${file}: no tensor covers the data bytes ${offset(cursor)} to ${offset(entry.begin)}, before ${quote(entry.name)}`));
    }
    if (entry.end > cursor || last === undefined) {
      cursor = Math.max(cursor, entry.end);
      last = entry;
    }
  }
  if (whole && !gap && cursor < fileSize)
    faults.push(diagnostic("MOE5114", `${file} has ${fileSize - cursor} bytes after its last tensor`, { help: "is it two files joined, or a header from another file?" }));
}

/** What to write: values in row-major order. */
export interface TensorData {
  readonly name: string;
  /** F32 where absent. */
  readonly dtype?: NumericDtype;
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/**
 * A safetensors file. Tensors are laid out as the reference implementation does, wider elements first and then by name,
 * and the header is padded with spaces to a multiple of 8 bytes: equal tensors give equal files.
 */
export function encodeSafetensors(tensors: Iterable<TensorData>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const sorted = [...tensors].map((t) => ({ ...t, dtype: t.dtype ?? ("F32" as const) }));
  const rank = Object.keys(dtypeBits); // as the reference implementation orders dtypes
  sorted.sort((a, b) => rank.indexOf(b.dtype) - rank.indexOf(a.dtype) || compare(a.name, b.name));
  const header: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) header.push(["__metadata__", Object.fromEntries(Object.entries(metadata).sort((a, b) => compare(a[0], b[0])))]);
  let offset = 0;
  const names = new Set<string>();
  for (const { name, dtype, shape, data } of sorted) {
    const size = byteSize(dtype, data.length)!;
    if (elementsOf(shape) !== data.length) throw new Error(`tensor "${name}" of shape [${shape.join(", ")}] was given ${data.length} values`);
    if (names.has(name) || name === "__metadata__") throw new Error(`tensor name "${name}" cannot be used (twice)`);
    names.add(name);
    header.push([name, { dtype, shape, data_offsets: [offset, offset + size] }]);
    offset += size;
  }
  // Written by hand: an object would put a name like "7" first.
  const json = `{${header.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(",")}}`;
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.length / 8) * 8;
  const file = new Uint8Array(8 + length + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(length), true);
  file.fill(0x20, 8, 8 + length);
  file.set(text, 8);
  let at = 8 + length;
  for (const { dtype, data } of sorted) {
    const bytes = encodeElements(dtype, data);
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Names come from files that nobody checked: quoted, control characters escaped, and cut where they are absurd. */
function quote(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 117)}...` : name);
}

function article(noun: string): string {
  return noun === "null" ? noun : `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
}
