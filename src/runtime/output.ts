import { joinPath, MemoryHost, normalizePath, type Host } from "../formats/host.ts";

/**
 * A host that can be written to. Every method may be interrupted by a kill at any moment; only `rename` is all or
 * nothing, and everything that must survive is built on it.
 */
export interface OutputHost extends Host {
  /** Makes the folder and those above it; fine where it exists. */
  makeFolder(path: string): Promise<void>;
  /** Creates or replaces a file. Its content is on the disk when this resolves; a kill before that may leave a part. */
  writeFile(path: string, bytes: Uint8Array): Promise<void>;
  /** Adds to a file's end, creating it where it is missing. */
  appendFile(path: string, bytes: Uint8Array): Promise<void>;
  /** Renames a file, replacing what has the new name, in one step that a kill cannot divide. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; fine where it is missing. */
  removeFile(path: string): Promise<void>;
  /** Names (not paths) in a folder. */
  list(folder: string): Promise<readonly string[]>;
}

/** The end of the names of files that are not whole yet. */
export const PARTIAL = ".part";

/** Replaces a file so that every reader, and everybody after a kill, sees the old content or the new one. */
export async function writeWhole(host: OutputHost, path: string, bytes: Uint8Array): Promise<void> {
  await host.writeFile(path + PARTIAL, bytes);
  await host.rename(path + PARTIAL, path);
}

/** JSON as people read it, with a newline at the end. */
export function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
}

/** Several small files at once, each whole; the last is written last, so that it can stand for all. */
export async function writeAll(host: OutputHost, folder: string, files: readonly (readonly [string, Uint8Array])[]): Promise<void> {
  await host.makeFolder(folder);
  for (const [name, bytes] of files) await writeWhole(host, joinPath(folder, name), bytes);
}

/** Files in memory that can be written: for pages, which offer them as downloads, and for tests. */
export class MemoryOutput extends MemoryHost implements OutputHost {
  declare readonly files: Map<string, Uint8Array>;

  constructor(files: Iterable<readonly [string, Uint8Array | string]> = []) {
    super(files);
  }
  async makeFolder(_path: string): Promise<void> {}
  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    this.files.set(normalizePath(path), bytes.slice());
  }
  async appendFile(path: string, bytes: Uint8Array): Promise<void> {
    const old = this.files.get(normalizePath(path)) ?? new Uint8Array();
    const joined = new Uint8Array(old.length + bytes.length);
    joined.set(old);
    joined.set(bytes, old.length);
    this.files.set(normalizePath(path), joined);
  }
  async rename(from: string, to: string): Promise<void> {
    const bytes = await this.readFile(from);
    this.files.delete(normalizePath(from));
    this.files.set(normalizePath(to), bytes);
  }
  async removeFile(path: string): Promise<void> {
    this.files.delete(normalizePath(path));
  }
}
