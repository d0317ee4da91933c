import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DiagnosticError, type Diagnostic } from "../../src/diagnostics/index.ts";

/** Files that lie beside a checkout on some machines; tests that need them are skipped by name elsewhere. */
export const shared = fileURLToPath(new URL("../../../shared/", import.meta.url)).replace(/\/$/, "");
export const hasShared = existsSync(shared);

/** The diagnostics that something is refused with; fails where it is accepted or throws anything else. */
export async function refusal(work: () => unknown): Promise<readonly Diagnostic[]> {
  try {
    await work();
  } catch (error) {
    if (error instanceof DiagnosticError) return error.diagnostics;
    throw error;
  }
  throw new Error("accepted, though a refusal was expected");
}

/** A checkpoint file from a raw header text and data bytes. */
export function rawSafetensors(header: string, dataBytes: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}
