import { checkText, loadProgram, type Program, type ProgramOptions } from "../compiler/program.ts";
import { fail } from "../diagnostics/index.ts";
import type { Host } from "../formats/host.ts";
import { decodeText } from "../formats/text.ts";

const mostBytes = 16 * 2 ** 20;

/** All of standard input as text. MOE5102 for more than 16 MB, and what `decodeText` says of bytes that are no UTF-8. */
export async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > mostBytes) fail("MOE5102", "standard input holds more than 16 MB");
    chunks.push(chunk);
  }
  return decodeText(Buffer.concat(chunks), "standard input");
}

/** Where a spec from standard input counts as lying: its paths are seen from the working directory. */
export const stdinName = "stdin.moe";

/** Reads and checks a spec, `-` from standard input. */
export async function readProgram(host: Host, file: string, options: ProgramOptions): Promise<Program> {
  return file === "-" ? checkText(host, stdinName, await readStdin(), options) : loadProgram(host, file, options);
}
