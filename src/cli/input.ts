import { fail } from "../diagnostics/index.ts";

/** All of standard input as text; more than 16 MB is refused. */
export async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > 16 * 2 ** 20) fail("MOE5102", "standard input holds more than 16 MB");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
