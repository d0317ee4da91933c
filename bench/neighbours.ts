import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const folder = "bench/neighbours";

/** What moec is compared with and what draws the pictures is installed only for whoever asks. */
export function installNeighbours(): void {
  const run = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: folder, stdio: "inherit", shell: process.platform === "win32" });
  if (run.status !== 0) throw new Error(`npm ci in ${folder} failed`);
}

/** A module beside the neighbours' package.json; undefined, and said so, where they are not installed. */
export async function neighbour<T>(name: string): Promise<T | undefined> {
  if (existsSync(join(folder, "node_modules"))) return (await import(pathToFileURL(resolve(folder, `${name}.mjs`)).href)) as T;
  console.log(`skipped: ${name} (--install installs what ${folder} lists)`);
  return undefined;
}
