import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { cli, ensureDist } from "../support/dist.ts";
import { writeTinyProject } from "../support/tiny-checkpoint.ts";

export interface Run {
  /** The exit code, or the signal that ended it. */
  readonly code: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with the process and what it has said so far, whenever it says more. */
  readonly watch?: (child: ChildProcess, said: string) => void;
}

/** Environment variables that would change what a test sees. */
const neutral = { NO_COLOR: undefined, FORCE_COLOR: undefined, MOEC_DEBUG: undefined };

/** Runs `moec …` as a user would, in a process of its own. */
export function moec(args: readonly string[], options: RunOptions): Promise<Run> {
  return execute(process.execPath, [cli, ...args], options);
}

export function execute(command: string, args: readonly string[], { cwd, input, env, watch }: RunOptions): Promise<Run> {
  return new Promise((done, failed) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...neutral, ...env } as NodeJS.ProcessEnv });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      watch?.(child, stdout + stderr);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      watch?.(child, stdout + stderr);
    });
    child.stdin.on("error", () => {}); // a command need not read its input
    child.stdin.end(input);
    child.on("error", failed);
    child.on("close", (code, signal) => done({ code: signal ?? code!, stdout, stderr }));
  });
}

/** A folder of its own for a test file, with the tiny project in it; dist/ is made where it is old. */
export function project(): { readonly folder: string; readonly path: (name: string) => string } {
  const folder = mkdtempSync(join(tmpdir(), "moec-test-"));
  beforeAll(() => {
    ensureDist();
    writeTinyProject(folder);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, path: (name) => join(folder, name) };
}
