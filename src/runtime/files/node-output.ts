import { appendFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { OutputHost } from "../output.ts";
import { nodeDisk } from "./atomic.ts";
import { makeFolder } from "./make-folder.ts";
import { asDiagnostic, NodeHost } from "./node-host.ts";

/** The disk, to write to. What the system refuses is a DiagnosticError (MOE5108). */
export class NodeOutput extends NodeHost implements OutputHost {
  async makeFolder(path: string): Promise<void> {
    await written(path, () => makeFolder(path));
  }

  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    await written(path, async () => {
      await rm(path, { force: true });
      await nodeDisk.writeFile(path, bytes);
    });
  }

  async appendFile(path: string, bytes: Uint8Array): Promise<void> {
    await written(path, () => appendFile(path, bytes));
  }

  async rename(from: string, to: string): Promise<void> {
    await written(to, async () => {
      await rename(from, to);
      await nodeDisk.syncFolder(dirname(to));
    });
  }

  async removeFile(path: string): Promise<void> {
    await written(path, () => rm(path, { force: true }));
  }
}

async function written(path: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw asDiagnostic(path, error, "written");
  }
}
