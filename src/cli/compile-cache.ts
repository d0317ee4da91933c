import { lstatSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/**
 * Where compiled code may be kept: the user's own folder for caches. What lies there is run, so it is undefined where
 * anybody else may write, and where there is no such folder and none can be made.
 */
export function compileCacheFolder(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const given = process.platform === "win32" ? env["LOCALAPPDATA"] : env["XDG_CACHE_HOME"];
  const caches = given !== undefined && isAbsolute(given) ? given : join(homedir(), process.platform === "darwin" ? "Library/Caches" : ".cache");
  const folder = join(caches, "moec");
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return [caches, folder].every(isOwn) ? folder : undefined;
  } catch {
    return undefined;
  }
}

/** A folder, no link, that nobody but its owner may write to, and that is ours. Windows keeps these folders apart by itself. */
function isOwn(path: string): boolean {
  const found = lstatSync(path);
  return found.isDirectory() && (process.getuid === undefined || (found.uid === process.getuid() && (found.mode & 0o022) === 0));
}
