import { fail } from "../diagnostics/index.ts";
import { lineColumn, parseJson, type JsonNode } from "./json.ts";

/** Decodes a text file: UTF-8, a byte-order mark skipped; anything else is refused. */
export function decodeText(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return fail("MOE5104", `${file} is not UTF-8 text (byte ${firstInvalidByte(bytes)} cannot be)`);
  }
}

/** Parses a JSON file, or fails at its line and column. */
export function parseJsonFile(text: string, file: string): JsonNode {
  const result = parseJson(text);
  if (result.ok) return result.node;
  const { line, column } = lineColumn(text, result.fault.offset);
  return fail("MOE5105", `${file}, line ${line}, column ${column}: ${result.fault.message}`, { at: { file, start: result.fault.offset, end: Math.min(result.fault.offset + 1, text.length) } });
}

/** The offset of the first byte that is not well-formed UTF-8 (Unicode 15, table 3-7), or -1. */
export function firstInvalidByte(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i]!;
    const more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : -1;
    if (more < 0) return i;
    for (let k = 1; k <= more; k++) {
      // The second byte excludes overlong forms, surrogates and what lies beyond U+10FFFF.
      const low = k === 1 ? (first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80) : 0x80;
      const high = k === 1 ? (first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf) : 0xbf;
      const next = bytes[i + k];
      if (next === undefined || next < low || next > high) return i;
    }
    i += more + 1;
  }
  return -1;
}
