import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCase } from "../../src/cli/verify/case.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { checkText } from "../../src/compiler/index.ts";
import { library } from "../../src/cli/library.ts";
import { verifyCase } from "../oracles/run.ts";
import { available, python } from "../support/require.ts";

/**
 * The `llama` definition against transformers, on architectures that have no case among the oracles. transformers computes
 * norms and softmax in float32 even in a double model, hence the tolerance.
 */
describe.skipIf(!(await available("peft")))("the llama definition is also", () => {
  const folder = mkdtempSync(join(tmpdir(), "moec-models-"));
  beforeAll(() => {
    const made = spawnSync(python, ["test/interop/models.py", folder], { encoding: "utf8" });
    expect(made.stderr.split("\n").slice(-3).join("\n") + made.status).toMatch(/0$/);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ["mistral", 23],
    ["qwen2", 28],
    ["llama-biased", 37],
  ])("%s: logits, loss and %i tensors in all", async (name, compared) => {
    const text = `base llama = llama("${join(folder, name)}")\nadapter Case on llama { at ** { unfreeze } }\n`;
    const program = await checkText(new NodeHost(), "case.moe", text, { library: library() });
    expect(program.diagnostics).toEqual([]);
    const report = await verifyCase(program, await readCase(new NodeHost(), join(folder, `${name}.case.safetensors`)), "interpreter", 2e-6);
    expect(report.comparisons.filter((c) => !c.ok)).toEqual([]);
    expect(report.comparisons).toHaveLength(compared);
  });
});
