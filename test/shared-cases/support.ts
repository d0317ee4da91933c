import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { expect } from "vitest";
import { moec, type Run } from "../cli/support.ts";
import { shared } from "../support/require.ts";

/** A path beside the repository, from anywhere. */
export const inShared = (path: string): string => resolve(shared, path);

/** A small adapter that fits any Llama. */
export const smallSpec = `base llama = llama("none")

adapter Small on llama {
  at layers.*.mlp.{gate_proj, up_proj, down_proj} {
    experts facts[2]    = lora(rank: 2, alpha: 4)
    experts feelings[2] = lora(rank: 2, alpha: 4)
    route softmax()
    balance 0.1 * localized() {
      world_knowledge -> facts
      sentiment       -> feelings
      downstream      -> feelings
    }
  }
}

train Small {
  optimizer adamw(lr: 1e-3)
  steps 2  batch 2  length 24
}
`;

/** Runs in a folder and expects the user's mistake to be told as one: exit code 1, no stack trace, nothing in `out`. */
export async function refused(folder: string, args: readonly string[]): Promise<string> {
  const run = await moec(args, { cwd: folder });
  expect(run.code, run.stderr).toBe(1);
  expect(run.stdout).toBe("");
  expect(run.stderr).not.toMatch(/\n\s+at .*:\d+:\d+|this is a bug/);
  expect(existsSync(`${folder}/out`)).toBe(false);
  return run.stderr;
}

export async function fine(folder: string, args: readonly string[]): Promise<Run> {
  const run = await moec(args, { cwd: folder });
  expect(run.code, run.stderr).toBe(0);
  return run;
}

