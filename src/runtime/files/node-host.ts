import { open, readdir, readFile, realpath, stat } from "node:fs/promises";
import { sep } from "node:path";
import { diagnostic, DiagnosticError, fail } from "../../diagnostics/index.ts";
import { notFound, type FileStat, type Host } from "../../formats/host.ts";

/** The disk, as a `Host`. Relative paths count from the working directory. */
export class NodeHost implements Host {
  async readFile(path: string): Promise<Uint8Array> {
    return guarded(path, async () => bare(await readFile(path)));
  }

  /** Reads in pieces: one read call cannot return more than 2 GiB. */
  async readRange(path: string, begin: number, end: number): Promise<Uint8Array> {
    return guarded(path, async () => {
      const file = await open(path, "r");
      try {
        const bytes = new Uint8Array(Math.max(0, Math.min(end, (await file.stat()).size) - begin));
        let done = 0;
        while (done < bytes.length) {
          const { bytesRead } = await file.read(bytes, done, Math.min(bytes.length - done, 2 ** 28), begin + done);
          if (bytesRead === 0) break;
          done += bytesRead;
        }
        return bytes.subarray(0, done);
      } finally {
        await file.close();
      }
    });
  }

  async stat(path: string): Promise<FileStat | undefined> {
    if (path.includes("\0")) return undefined;
    try {
      const found = await stat(path);
      if (found.isDirectory()) return { size: 0, kind: "directory" };
      // A pipe or a device could block for ever or never end.
      if (!found.isFile()) fail("MOE5102", `${path} is no regular file`);
      return { size: found.size, kind: "file" };
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw asDiagnostic(path, error);
    }
  }

  async list(folder: string): Promise<readonly string[]> {
    return guarded(folder, async () => (await readdir(folder)).sort());
  }

  async realPath(path: string): Promise<string> {
    return guarded(path, async () => (await realpath(path)).split(sep).join("/"));
  }
}

/** A plain Uint8Array over the same memory: a Buffer's `slice` and `toString` mean other things. */
function bare(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asDiagnostic(path, error);
  }
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "not permitted",
  EISDIR: "it is a folder, expected a file",
  ENOTDIR: "a part of the path is a file, expected a folder",
  ELOOP: "its links lead in a circle",
  EMFILE: "too many open files",
  ENOSPC: "no space left on the disk",
  EROFS: "the disk is read-only",
  EDQUOT: "the disk quota is used up",
  ENAMETOOLONG: "the name is too long",
  EINVAL: "the system does not take the name",
  EEXIST: "something else lies there",
  ENOTEMPTY: "the folder is not empty",
};

/** What the system said, as a diagnostic; anything but a system's refusal is returned as it is. */
export function asDiagnostic(path: string, error: unknown, doing: "read" | "written" = "read"): unknown {
  const code = errorCode(error);
  if (error instanceof DiagnosticError || code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error;
  try {
    if (code === "ENOENT" && doing === "read") notFound(path);
  } catch (missing) {
    return missing;
  }
  return new DiagnosticError(diagnostic(doing === "read" ? "MOE5102" : "MOE5108", `${path} cannot be ${doing}: ${reasons[code] ?? code}`));
}
