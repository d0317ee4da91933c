import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { moec, project } from "../cli/support.ts";
import { fastTestBackends } from "../support/backends.ts";
import { available } from "../support/require.ts";
import { apart, ourLogits, reference, type Results } from "./support.ts";

const hasPeft = await available("peft");
const { folder, path } = project();

const lora = (rank: number, targets: string): string => `base llama = llama("models/tiny")

adapter LoRA on llama {
  at ${targets} { always lora(rank: ${rank}, alpha: 8) }
}

train LoRA {
  data      "data/train.jsonl"
  optimizer adamw(lr: 2e-2)
  steps 6  batch 4  length 24
}
`;
const sft = `base llama = llama("models/tiny")

adapter SFT on llama {
  at ** { unfreeze }
}

train SFT {
  data      "data/train.jsonl"
  optimizer adamw(lr: 1e-2)
  steps 3  batch 4  length 24
}
`;
const mlp = "layers.*.mlp.{gate_proj, up_proj, down_proj}";

let results: Results;

beforeAll(async () => {
  if (!hasPeft) return;
  writeFileSync(path("lora.moe"), lora(4, mlp));
  writeFileSync(path("attention.moe"), lora(3, "layers.*.self_attn.{q_proj, v_proj}"));
  writeFileSync(path("sft.moe"), sft);
  for (const [spec, out] of [["lora.moe", "ours"], ["sft.moe", "tuned"]] as const) {
    const run = await moec(["train", spec, "--backend", "wasm", "--out", out], { cwd: folder });
    expect(run.code, run.stderr).toBe(0);
  }
  // A fully tuned model is a checkpoint: the base's configuration, and the weights under the checkpoint's own names.
  mkdirSync(path("full"));
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json"]) cpSync(path(`models/tiny/${name}`), path(`full/${name}`));
  cpSync(path("tuned/adapter_model.safetensors"), path("full/model.safetensors"));
  // An adapter merged into its base is a checkpoint too.
  const run = await moec(["merge", "ours", "-o", "merged"], { cwd: folder });
  expect(run.code, run.stderr).toBe(0);
  const made = (r: number, target_modules: readonly string[]) => ({ r, lora_alpha: 8, target_modules });
  const cases = [
    { name: "ours", load: "saved", adapter: path("ours"), merge: true },
    { name: "made", load: "made", adapter: path("made"), config: made(4, ["gate_proj", "up_proj", "down_proj"]) },
    { name: "made-attention", load: "made", adapter: path("made-attention"), config: made(3, ["q_proj", "v_proj"]) },
    { name: "full", load: "full", adapter: path("full") },
    { name: "merged", load: "full", adapter: path("merged") },
  ];
  results = reference(folder, path("models/tiny"), cases);
}, 240_000);

describe.each(fastTestBackends)("PEFT, transformers and %s agree", (backend) => {
  it.skipIf(!hasPeft)("on the base, and on every token of the texts", async () => {
    const ours = await ourLogits(path("lora.moe"), backend);
    expect(ours.ids).toEqual(results.ids);
    // B starts at zero, so that a fresh LoRA is the base.
    expect(apart(ours.logits, results.base)).toBeLessThanOrEqual(1e-4);
  });

  it.skipIf(!hasPeft)("on an adapter trained here", async () => {
    const theirs = results.cases["ours"]!;
    expect(theirs).toMatchObject({ r: 4, alpha: 8, targets: ["down_proj", "gate_proj", "up_proj"] });
    const ours = await ourLogits(path("lora.moe"), backend, path("ours"));
    expect(apart(theirs.logits, results.base), "training changed something").toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
    expect(apart(ours.logits, theirs.merged!), "merged into the base").toBeLessThanOrEqual(1e-4);
  });

  it.skipIf(!hasPeft).each([
    ["made", "lora.moe"],
    ["made-attention", "attention.moe"],
  ])("on an adapter that PEFT made: %s", async (name, spec) => {
    const theirs = results.cases[name]!;
    const ours = await ourLogits(path(spec), backend, path(name));
    expect(apart(theirs.logits, results.base)).toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
  });

  it.skipIf(!hasPeft)("on a fully tuned base, which loads as a checkpoint of its own", async () => {
    const theirs = results.cases["full"]!;
    expect(theirs).toMatchObject({ missing_keys: [], unexpected_keys: [], mismatched_keys: [] });
    const ours = await ourLogits(path("sft.moe"), backend, path("tuned"));
    expect(apart(theirs.logits, results.base)).toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
  });

  it.skipIf(!hasPeft)("on a merged adapter: what `moec merge` writes, and what PEFT's own merge computes", async () => {
    const theirs = results.cases["merged"]!;
    expect(theirs).toMatchObject({ missing_keys: [], unexpected_keys: [], mismatched_keys: [] });
    const ours = await ourLogits(path("lora.moe"), backend, path("ours"));
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
    expect(apart(results.cases["ours"]!.merged!, theirs.logits)).toBeLessThanOrEqual(1e-5);
  });
});
