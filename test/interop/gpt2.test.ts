import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { moec, project } from "../cli/support.ts";
import { fastTestBackends } from "../support/backends.ts";
import { available } from "../support/require.ts";
import { writeTinyGpt2 } from "../support/tiny-checkpoint.ts";
import { apart, ourLogits, reference, type Results } from "./support.ts";

const hasPeft = await available("peft");
const { folder, path } = project();

const spec = (sites: string, lr: string): string => `base gpt = gpt2("models/gpt2")

adapter A on gpt {
  ${sites}
}

train A {
  data      "data/train.jsonl"
  optimizer adamw(lr: ${lr})
  steps 6  batch 4  length 24
}
`;
const specs = {
  lora: spec("at h.*.{attn, mlp}.{c_attn, c_proj, c_fc} { always lora(rank: 4, alpha: 8) }", "2e-2"),
  // The attention has a c_proj too: PEFT must be told which is meant.
  projection: spec("at h.*.mlp.c_proj { always lora(rank: 4, alpha: 8) }", "2e-2"),
  dora: spec("at h.*.attn.c_attn { always dora(rank: 2) }", "1e-2"),
  sft: spec("at ** { unfreeze }", "1e-2"),
};

let results: Results;

beforeAll(async () => {
  if (!hasPeft) return;
  writeTinyGpt2(path("models/gpt2"));
  for (const [name, text] of Object.entries(specs)) writeFileSync(path(`${name}.moe`), text);
  for (const name of ["lora", "projection", "sft"]) {
    const run = await moec(["train", `${name}.moe`, "--backend", "wasm", "--out", `out-${name}`], { cwd: folder });
    expect(run.code, run.stderr).toBe(0);
    expect(run.stderr).not.toContain("MOE3013");
  }
  mkdirSync(path("full"));
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json"]) cpSync(path(`models/gpt2/${name}`), path(`full/${name}`));
  cpSync(path("out-sft/adapter_model.safetensors"), path("full/model.safetensors"));
  results = reference(folder, path("models/gpt2"), [
    { name: "lora", load: "saved", adapter: path("out-lora"), merge: true },
    { name: "projection", load: "saved", adapter: path("out-projection"), merge: true },
    { name: "made", load: "made", adapter: path("made"), config: { r: 4, lora_alpha: 8, target_modules: ["c_attn", "c_proj", "c_fc"] } },
    { name: "full", load: "full", adapter: path("full") },
  ]);
}, 240_000);

describe.skipIf(!hasPeft).each(fastTestBackends)("GPT-2: PEFT, transformers and %s agree", (backend) => {
  it("on the base, whose matrices lie the other way round", async () => {
    const ours = await ourLogits(path("lora.moe"), backend);
    expect(ours.ids).toEqual(results.ids);
    // B starts at zero, so that a fresh LoRA is the base.
    expect(apart(ours.logits, results.base)).toBeLessThanOrEqual(1e-4);
  });

  it("on a fresh DoRA, whose magnitude is the norm of such a matrix", async () => {
    const ours = await ourLogits(path("dora.moe"), backend);
    expect(apart(ours.logits, results.base)).toBeLessThanOrEqual(1e-4);
  });

  it.each([
    ["lora", ["c_attn", "c_fc", "c_proj"]],
    ["projection", ["mlp.c_proj"]],
  ])("on an adapter trained here: %s", async (name, targets) => {
    const theirs = results.cases[name]!;
    expect(theirs).toMatchObject({ r: 4, alpha: 8, targets, fan_in_fan_out: true });
    const ours = await ourLogits(path(`${name}.moe`), backend, path(`out-${name}`));
    expect(apart(theirs.logits, results.base), "training changed something").toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
    expect(apart(ours.logits, theirs.merged!), "merged into the base").toBeLessThanOrEqual(1e-4);
  });

  it("on an adapter that PEFT made", async () => {
    const theirs = results.cases["made"]!;
    const ours = await ourLogits(path("lora.moe"), backend, path("made"));
    expect(apart(theirs.logits, results.base)).toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
  });

  it("on a fully tuned base, which keeps its file's names", async () => {
    const theirs = results.cases["full"]!;
    expect(theirs).toMatchObject({ missing_keys: [], unexpected_keys: [], mismatched_keys: [] });
    const ours = await ourLogits(path("sft.moe"), backend, path("out-sft"));
    expect(apart(theirs.logits, results.base)).toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
  });
});
