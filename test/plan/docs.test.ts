import { cpSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { execute, project } from "../cli/support.ts";
import { cli } from "../support/dist.ts";
import { llama2_7b, llama3_70b, writeHeaders } from "./checkpoints.ts";

const { folder: cwd, path } = project();

/** Sessions of the documentation: a command after a dollar sign, and what it printed. */
const sessions = [...readFileSync("docs/plan.md", "utf8").matchAll(/^```text\n\$ moec (.*)\n([\s\S]*?)^```$/gm)].map((m) => ({ command: m[1]!, output: m[2]! }));

describe("docs/plan.md shows what is printed", () => {
  it("has sessions", () => expect(sessions.length).toBeGreaterThanOrEqual(4));

  // Of training, seconds and a backend's last digits differ.
  it.each(sessions.filter((s) => !s.command.includes("--train")))("$command", async ({ command, output }) => {
    writeHeaders(path("models/llama-2-7b"), llama2_7b, { dtype: "F16", shardBytes: 10e9 });
    writeHeaders(path("models/llama-3-70b"), llama3_70b, { dtype: "BF16", shardBytes: 5e9 });
    cpSync("examples", path("examples"), { recursive: true });
    cpSync("examples/loramoe.moe", path("loramoe.moe"));
    const run = await execute("/bin/sh", ["-c", `"${process.execPath}" "${cli}" ${command}`], { cwd });
    expect(run.stderr).toBe("");
    expect(run.stdout).toBe(output);
  });
});
