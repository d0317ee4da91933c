import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { probeBackends, type BackendReport } from "../src/runtime/index.ts";
import type { Rows } from "./table.ts";

/** What has rows in the table, in its order. */
export const tabled = ["linear", "memory", "growth", "step", "sparse"] as const;

export interface AllResult {
  readonly parts: readonly Rows[];
  /** What is not in the table, and why. */
  readonly skipped: readonly string[];
}

/**
 * Every benchmark of the table on every usable backend, each in a process of its own: what one leaves on a heap does not
 * weigh on the next, and one that fails takes no other with it.
 */
export async function benchAll(only: string | undefined, options: readonly string[]): Promise<AllResult> {
  const skipped: string[] = [];
  const usable = (await probeBackends()).filter((report) => {
    const why = reasonToSkip(report, only);
    if (why !== undefined) skipped.push(`${report.name}: ${why}`);
    return why === undefined;
  });
  const folder = mkdtempSync(join(tmpdir(), "moec-bench-"));
  const parts: Rows[] = [];
  try {
    for (const name of tabled) {
      for (const backend of usable) {
        if (backend.name === "onnx" && name !== "step" && name !== "sparse") {
          skipped.push(`${name} on onnx: its sides are TensorFlow.js's; npm run bench -- onnx has its own`);
          continue;
        }
        const file = join(folder, `${name}-${backend.name}.json`);
        const { status, signal } = spawnSync(process.execPath, [process.argv[1]!, name, "--backend", backend.name, "--rows", file, ...options], { stdio: "inherit" });
        if (status === 0) parts.push(JSON.parse(readFileSync(file, "utf8")) as Rows);
        else skipped.push(`${name} on ${backend.name}: it failed (${signal ?? `exit code ${status}`})`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { parts, skipped };
}

function reasonToSkip({ name, usable, software, reason, device }: BackendReport, only: string | undefined): string | undefined {
  if (only !== undefined && name !== only) return "another was asked for";
  if (!usable) return reason ?? "it does not work here";
  if (only !== undefined) return undefined;
  if (software) return `${device} is no GPU but the CPU in its place (--backend ${name} takes it all the same)`;
  if (name === "cpu") return "plain JavaScript takes some thirty times as long as wasm (--backend cpu takes it all the same)";
  return undefined;
}
