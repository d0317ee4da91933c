import { closeSync, fstatSync, lstatSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { crc32 } from "node:zlib";

/**
 * Where compiled code may be kept: the user's own folder for caches. What lies there is run, so it is undefined where
 * anybody else may write, and where there is no such folder and none can be made.
 */
export function codeFolder(env: Readonly<Record<string, string | undefined>>, home: () => string = homedir): string | undefined {
  if (env["NODE_DISABLE_COMPILE_CACHE"]) return undefined;
  const given = process.platform === "win32" ? env["LOCALAPPDATA"] : env["XDG_CACHE_HOME"];
  try {
    // Throws where the user has no entry and no HOME, as in containers that run as any user.
    const caches = given !== undefined && isAbsolute(given) ? given : join(home(), process.platform === "darwin" ? "Library/Caches" : ".cache");
    const folder = join(caches, "moec");
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

/** Code that V8 compiled of a script. */
export interface CompiledCode {
  /** V8's own format (`vm.Script`'s `cachedData`): V8 itself refuses what another version made, or other flags. */
  readonly data: Uint8Array;
  /** Bytes of bytecode that V8 held when it was written: a run that ends with many more has compiled what is not in it. */
  readonly bytecode: number;
}

/** "moec", the checksum of what follows, the size of the bytecode: 32 bits each. */
const header = 12;
const magic = 0x6d6f6563;
/** Files of one folder: some dozen commands, of two versions. */
const most = 32;

/** What a file holds; undefined where there is none, or where it is damaged: V8 itself does not look for that. */
export function readCode(file: string): CompiledCode | undefined {
  let bytes: Buffer;
  try {
    const open = openSync(file, "r");
    try {
      if (!fstatSync(open).isFile()) return undefined;
      bytes = readFileSync(open);
    } finally {
      closeSync(open);
    }
  } catch {
    return undefined;
  }
  if (bytes.length <= header || bytes.readUInt32LE(0) !== magic || bytes.readUInt32LE(4) !== crc32(bytes.subarray(8))) return undefined;
  return { data: bytes.subarray(header), bytecode: bytes.readUInt32LE(8) };
}

/** Writes a file whole or not at all, and removes the oldest of the folder's where there are many. What fails is not told: it is a cache. */
export function keepCode(file: string, { data, bytecode }: CompiledCode): void {
  const folder = join(file, "..");
  const written = `${file}.${process.pid}`;
  try {
    const bytes = Buffer.alloc(header + data.length);
    bytes.writeUInt32LE(magic, 0);
    bytes.writeUInt32LE(bytecode, 8);
    bytes.set(data, header);
    bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
    writeFileSync(written, bytes, { mode: 0o600, flag: "wx" });
    renameSync(written, file);
    const old = readdirSync(folder).filter((name) => name.includes(".code")).map((name) => ({ path: join(folder, name), at: statSync(join(folder, name)).mtimeMs }));
    for (const { path } of old.sort((a, b) => b.at - a.at).slice(most)) rmSync(path);
  } catch {
    rmSync(written, { force: true });
  }
}
