import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

/** The built command line. */
export const cli: string = resolve("dist/cli.cjs");

/** Held by the test file that builds, while the others wait. */
const lock = "node_modules/.moec-dist.lock";

/**
 * Makes dist/ where it is older than what it is made from, once however many test files ask at a time. For tests of the
 * command line and of the package: `beforeAll(ensureDist, 120_000)`.
 */
export function ensureDist(): void {
  const until = Date.now() + 90_000;
  while (!fresh()) {
    try {
      mkdirSync(lock);
    } catch {
      if (Date.now() > until) throw new Error(`${lock} is held for too long: remove it where no test runs`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
      continue;
    }
    try {
      if (fresh()) return;
      const run = spawnSync(process.execPath, ["scripts/build.mjs"], { encoding: "utf8" });
      if (run.status !== 0) throw new Error(`scripts/build.mjs failed:\n${run.stdout}${run.stderr}`);
      return;
    } finally {
      rmdirSync(lock);
    }
  }
}

function fresh(): boolean {
  const built = existsSync(cli) ? statSync(cli).mtimeMs : 0;
  return ["src", "std", "grammar", "package.json", "scripts/build.mjs"].every((path) => newest(path) <= built);
}

function newest(path: string): number {
  const found = statSync(path);
  if (!found.isDirectory()) return found.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))));
}
