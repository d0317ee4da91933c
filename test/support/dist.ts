import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

/** The built command line. */
export const cli: string = resolve("dist/cli.js");

/**
 * Vitest's `globalSetup`: makes dist/ once a run where it is older than what it is made from, so that tests of the
 * command line and of the package test today's sources.
 */
export default function ensureDist(): void {
  const built = existsSync(cli) ? statSync(cli).mtimeMs : 0;
  if (["src", "std", "grammar", "package.json", "scripts/build.mjs"].every((path) => newest(path) <= built)) return;
  const run = spawnSync(process.execPath, ["scripts/build.mjs"], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`scripts/build.mjs failed:\n${run.stdout}${run.stderr}`);
}

function newest(path: string): number {
  const found = statSync(path);
  if (!found.isDirectory()) return found.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))));
}
