import { lstat, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fail } from "../../diagnostics/index.ts";
import { whyOutside } from "../../formats/safetensors-index.ts";
import { asDiagnostic } from "./node-host.ts";
import { makeFolder } from "./make-folder.ts";

/** A file's bytes: all of them, or piece by piece as they are made. */
export type Content = Uint8Array | AsyncIterable<Uint8Array>;

/** The few things that writing needs of a disk. A test puts one here that stops at any of its calls. */
export interface Disk {
  exists(path: string): Promise<boolean>;
  makeFolder(path: string): Promise<void>;
  /** Writes a new file and waits until its bytes are on the disk. */
  writeFile(path: string, content: Content): Promise<void>;
  /** Waits until a folder's entries are on the disk. */
  syncFolder(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
}

export const nodeDisk: Disk = {
  exists: async (path) =>
    lstat(path).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT" || error.code === "ENOTDIR") return false;
        throw error;
      },
    ),
  makeFolder,
  async writeFile(path, content) {
    const file = await open(path, "wx");
    try {
      if (content instanceof Uint8Array) await file.writeFile(content);
      // Each goes on where the one before it ended.
      else for await (const piece of content) await file.writeFile(piece);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  async syncFolder(path) {
    if (process.platform === "win32") return; // a folder cannot be opened there; NTFS journals its entries
    const folder = await open(path, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
  rename,
  remove: async (path) => rm(path, { recursive: true, force: true }),
};

/**
 * Writes a file so that its path holds the old bytes or the new ones, whole, whenever the program or the machine stops.
 * The new bytes go to a neighbour first, which then takes the path. Missing folders are made.
 */
export async function atomicWrite(path: string, content: Uint8Array | string, disk: Disk = nodeDisk): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${crypto.randomUUID().slice(-12)}.tmp`);
  try {
    await disk.makeFolder(folder);
    await disk.writeFile(temporary, toContent(content));
    await disk.rename(temporary, path);
    await disk.syncFolder(folder);
  } catch (error) {
    await disk.remove(temporary).catch(() => undefined);
    throw asDiagnostic(path, error, "written");
  }
}

/**
 * Writes a folder of files as one: afterwards `folder` holds exactly `files`.
 *
 * The guarantee, wherever the program or the machine stops: `folder` is the whole old folder or the whole new one, or,
 * in the instant between two renames, it is absent and the whole old one lies beside it as `.NAME.old`. `recoverFolder`
 * puts that back; readers call it before they read, and this function does before it writes. (No portable call exchanges
 * two folders.) `.NAME.new` is unfinished work and is never read. One writer at a time.
 *
 * @param files by name; a name may have `/`, and may not leave the folder
 */
export async function writeFolderAtomically(folder: string, files: ReadonlyMap<string, Content | string>, disk: Disk = nodeDisk): Promise<void> {
  for (const name of files.keys()) {
    const reason = whyOutside(name);
    if (reason !== undefined) fail("MOE5103", `the file ${JSON.stringify(name)} cannot be written into ${folder}: ${reason}`);
  }
  const { parent, fresh, old } = beside(folder);
  try {
    await disk.makeFolder(parent);
    await recoverFolder(folder, disk);
    await disk.remove(fresh);
    await disk.makeFolder(fresh);
    const folders = new Set([fresh]);
    for (const [name, content] of files) {
      const path = join(fresh, name);
      for (let at = dirname(path); !folders.has(at); at = dirname(at)) folders.add(at);
      await disk.makeFolder(dirname(path));
      await disk.writeFile(path, toContent(content));
    }
    for (const each of folders) await disk.syncFolder(each);
    if (await disk.exists(folder)) await disk.rename(folder, old);
    await disk.rename(fresh, folder);
    await disk.syncFolder(parent);
    await disk.remove(old);
  } catch (error) {
    // A full disk, say: give the room back, and put the old folder where it was.
    await recoverFolder(folder, disk).catch(() => undefined);
    await disk.remove(fresh).catch(() => undefined);
    throw asDiagnostic(folder, error, "written");
  }
}

/** Puts back what a stopped `writeFolderAtomically` left beside `folder`. Does nothing where nothing is to be done. */
export async function recoverFolder(folder: string, disk: Disk = nodeDisk): Promise<void> {
  const { old } = beside(folder);
  try {
    if (!(await disk.exists(old))) return;
    if (await disk.exists(folder)) await disk.remove(old);
    else await disk.rename(old, folder);
  } catch (error) {
    throw asDiagnostic(folder, error, "written");
  }
}

function beside(folder: string): { parent: string; fresh: string; old: string } {
  const plain = folder.replace(/(?<=.)[/\\]+$/, "");
  const [parent, name] = [dirname(plain), basename(plain)];
  if (name === "" || name === "." || name === "..") fail("MOE5108", `${folder} cannot be replaced as a whole`, { help: "name a folder of its own" });
  return { parent, fresh: join(parent, `.${name}.new`), old: join(parent, `.${name}.old`) };
}

function toContent(content: Content | string): Content {
  return typeof content === "string" ? new TextEncoder().encode(content) : content;
}
