import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The package's folder: where `std/` lies, whether the sources run or the bundle does. */
export const packageFolder: string = (() => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "std"))) {
    const above = dirname(folder);
    if (above === folder) throw new Error("the package is incomplete: std/ is missing");
    folder = above;
  }
  return folder;
})();

/** The library's definitions, as ["std/lora.moe", text]. */
export function library(): ReadonlyMap<string, string> {
  const folder = join(packageFolder, "std");
  const names = readdirSync(folder).filter((n) => n.endsWith(".moe")).sort();
  return new Map(names.map((n) => [`std/${n}`, readFileSync(join(folder, n), "utf8")]));
}
