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
 * The model definitions against transformers, on architectures that have no case among the oracles. transformers computes
 * norms and softmax in float32 even in a double model, hence the tolerance.
 */
describe.skipIf(!(await available("peft")))("the model definitions compute what transformers does", () => {
  const folder = mkdtempSync(join(tmpdir(), "moec-models-"));
  beforeAll(() => {
    const made = spawnSync(python, ["test/interop/models.py", folder], { encoding: "utf8" });
    expect(made.stderr.split("\n").slice(-3).join("\n") + made.status).toMatch(/0$/);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ["mistral", "llama", 23],
    ["qwen2", "llama", 28],
    ["llama-biased", "llama", 37],
    ["gpt2", "gpt2", 30],
    ["gpt2-untied", "gpt2", 31],
    ["gpt2-hub", "gpt2", 30],
  ])("%s with %s: logits, loss and gradients, %i tensors in all", async (name, model, compared) => {
    const text = `base b = ${model}("${join(folder, name)}")\nadapter Case on b { at ** { unfreeze } }\n`;
    const program = await checkText(new NodeHost(), "case.moe", text, { library: library() });
    expect(program.diagnostics).toEqual([]);
    const report = await verifyCase(program, await readCase(new NodeHost(), join(folder, `${name}.case.safetensors`)), "interpreter", 2e-6);
    expect(report.comparisons.filter((c) => !c.ok)).toEqual([]);
    expect(report.comparisons).toHaveLength(compared);
  });
});
