import { fail } from "../diagnostics/index.ts";

/** What a path names. */
export interface FileStat {
  /** Bytes; 0 for a directory. */
  readonly size: number;
  readonly kind: "file" | "directory";
}

/**
 * Where files come from: a disk, a browser's file picker, a test's memory. Paths are POSIX strings, whatever the system.
 * A method that cannot do what it is asked throws a `DiagnosticError`; `stat` of what is not there is `undefined`.
 */
export interface Host {
  /** The whole file. */
  readFile(path: string): Promise<Uint8Array>;
  /** Bytes [begin, end) of the file. Shorter only where the file ends before `end`. */
  readRange(path: string, begin: number, end: number): Promise<Uint8Array>;
  stat(path: string): Promise<FileStat | undefined>;
  /** Names (not paths) in a folder. */
  list?(folder: string): Promise<readonly string[]>;
  /** The path with every symbolic link resolved; absent where a host has no links. */
  realPath?(path: string): Promise<string>;
}

/** Files in memory, by path: for tests, and for pages whose files were fetched or dropped. */
export class MemoryHost implements Host {
  readonly files: ReadonlyMap<string, Uint8Array>;
  constructor(files: Iterable<readonly [string, Uint8Array | string]>) {
    const encoder = new TextEncoder();
    this.files = new Map([...files].map(([path, content]) => [normalizePath(path), typeof content === "string" ? encoder.encode(content) : content]));
  }
  async readFile(path: string): Promise<Uint8Array> {
    const bytes = this.files.get(normalizePath(path));
    if (bytes === undefined) notFound(path);
    return bytes;
  }
  async readRange(path: string, begin: number, end: number): Promise<Uint8Array> {
    return (await this.readFile(path)).subarray(begin, end);
  }
  async stat(path: string): Promise<FileStat | undefined> {
    const at = normalizePath(path);
    const bytes = this.files.get(at);
    if (bytes !== undefined) return { size: bytes.length, kind: "file" };
    for (const name of this.files.keys()) if (at === "." || name.startsWith(`${at}/`)) return { size: 0, kind: "directory" };
    return undefined;
  }
  async list(folder: string): Promise<readonly string[]> {
    const prefix = normalizePath(folder) === "." ? "" : `${normalizePath(folder)}/`;
    const names = new Set<string>();
    for (const name of this.files.keys()) if (name.startsWith(prefix)) names.add(name.slice(prefix.length).split("/")[0]!);
    return [...names].sort();
  }
}

/** `a/./b//c/../d` becomes `a/b/d`; the empty path becomes `.`. */
export function normalizePath(path: string): string {
  const absolute = path.startsWith("/");
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (part !== ".." || !absolute) parts.push(part);
  }
  return (absolute ? "/" : "") + parts.join("/") || ".";
}

/** A name inside a folder, as a path. */
export function joinPath(folder: string, name: string): string {
  return folder === "" || folder === "." ? name : folder.endsWith("/") ? folder + name : `${folder}/${name}`;
}

/** The refusal every host gives for a file that is not there. */
export function notFound(path: string, help?: string): never {
  return fail("MOE5101", `${path} does not exist`, help === undefined ? {} : { help });
}
