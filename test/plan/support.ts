import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { chooseAdapter, loadProgram, planCosts, type CostPlan, type PlanOptions, type Program } from "../../src/compiler/index.ts";
import type { Host } from "../../src/formats/host.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { library } from "../check/support.ts";

/** A folder that goes when the file's tests are over. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "moec-plan-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The disk, counting what is read. */
export class CountingHost extends NodeHost {
  bytes = 0;
  override async readFile(path: string): Promise<Uint8Array> {
    const bytes = await super.readFile(path);
    this.bytes += bytes.length;
    return bytes;
  }
  override async readRange(path: string, begin: number, end: number): Promise<Uint8Array> {
    const bytes = await super.readRange(path, begin, end);
    this.bytes += bytes.length;
    return bytes;
  }
}

/** An adapter on the checkpoint `base` beside it. */
export function adapterText(clauses: string, train = ""): string {
  return `base b = llama("base")\n\nadapter A on b {\n  ${clauses}\n}\n${train === "" ? "" : `\ntrain A { ${train} }\n`}`;
}

export async function programOf(folder: string, text: string, host: Host = new NodeHost()): Promise<Program> {
  const file = join(folder, "spec.moe");
  writeFileSync(file, text);
  const program = await loadProgram(host, file, { library });
  if (program.diagnostics.length > 0) throw new Error(program.diagnostics.map((d) => d.message).join("\n"));
  return program;
}

export async function planOf(folder: string, text: string, options: PlanOptions = {}, host?: Host): Promise<CostPlan> {
  const program = await programOf(folder, text, host);
  return planCosts(program, chooseAdapter(program, undefined), options);
}
