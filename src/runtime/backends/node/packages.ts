/** A package that was found: where `require` enters it, its folder and its version. */
export interface FoundPackage {
  readonly entry: string;
  readonly root: string;
  readonly version: string;
}

/**
 * Finds an installed package without loading it: first beside moec, then from the working directory upwards, where the
 * user's project is when moec itself lies elsewhere (a global install, npx). moec's own come first so that every part
 * of it uses one copy of tfjs-core. Undefined where there is none.
 */
export function findPackage(name: string): FoundPackage | undefined {
  const { createRequire } = process.getBuiltinModule("node:module");
  const { join } = process.getBuiltinModule("node:path");
  for (const from of [import.meta.url, join(process.cwd(), "package.json")]) {
    try {
      const entry = createRequire(from).resolve(name);
      const found = describe(entry, name);
      if (found) return found;
    } catch {
      // Not there (or not loadable from there): the next place, or none.
    }
  }
  return undefined;
}

/** Goes up from the entry file to the package.json that bears the name: some packages do not export theirs. */
function describe(entry: string, name: string): FoundPackage | undefined {
  const fs = process.getBuiltinModule("node:fs");
  const path = process.getBuiltinModule("node:path");
  for (let root = path.dirname(entry); ; root = path.dirname(root)) {
    const file = path.join(root, "package.json");
    if (fs.existsSync(file)) {
      const parsed = JSON.parse(fs.readFileSync(file, "utf8")) as { name?: unknown; version?: unknown };
      if (parsed.name === name) return { entry, root, version: String(parsed.version) };
    }
    if (root === path.dirname(root)) return undefined;
  }
}
