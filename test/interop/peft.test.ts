import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { library } from "../../src/cli/library.ts";
import { chooseAdapter, compileAdapter, loadProgram, printProgram } from "../../src/compiler/index.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { Adapter } from "../../src/runtime/index.ts";
import type { CompiledProgram } from "../../src/runtime/program.ts";
import { moec, project } from "../cli/support.ts";
import { loadText } from "../codegen/run.ts";
import { fastTestBackends } from "../support/backends.ts";
import { available, python } from "../support/require.ts";

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
const texts = ["The number after 4 is", "Repeat 7: 7 7", "Paris is the capital of France.", "a"];

interface Results {
  readonly ids: readonly (readonly number[])[];
  readonly base: readonly (readonly number[])[];
  readonly cases: Readonly<Record<string, { readonly logits: readonly (readonly number[])[]; readonly merged?: readonly (readonly number[])[]; readonly [extra: string]: unknown }>>;
}
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
  const made = (r: number, target_modules: readonly string[]) => ({ r, lora_alpha: 8, target_modules });
  const cases = [
    { name: "ours", load: "saved", adapter: path("ours"), merge: true },
    { name: "made", load: "made", adapter: path("made"), config: made(4, ["gate_proj", "up_proj", "down_proj"]) },
    { name: "made-attention", load: "made", adapter: path("made-attention"), config: made(3, ["q_proj", "v_proj"]) },
    { name: "full", load: "full", adapter: path("full") },
  ];
  writeFileSync(path("cases.json"), JSON.stringify({ base: path("models/tiny"), texts, cases }));
  const done = spawnSync(python, [resolve("test/interop/reference.py"), folder], { encoding: "utf8", env: { ...process.env, HF_HUB_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error" } });
  expect(done.status, done.stderr).toBe(0);
  results = JSON.parse(readFileSync(path("results.json"), "utf8")) as Results;
}, 240_000);

/** Our logits of the texts, a row of [position, vocabulary] each. */
async function ourLogits(spec: string, backend: (typeof fastTestBackends)[number], adapterFolder?: string): Promise<{ ids: number[][]; logits: number[][] }> {
  const program = await loadProgram(new NodeHost(), path(spec), { library: library() });
  expect(program.diagnostics.filter((d) => d.severity === "error")).toEqual([]);
  const checked = chooseAdapter(program, undefined);
  const compiled = await compileAdapter(program, checked);
  const code = (await loadText(await printProgram(compiled, { types: false, format: false, runtimeImport: "moec/runtime" })))[compiled.exportName] as unknown as CompiledProgram;
  const adapter = await Adapter.load(code, { base: program.basePath(checked), backend, ...(adapterFolder === undefined ? {} : { adapter: adapterFolder }) });
  const { tf } = adapter.backend;
  const tokenizer = await adapter.tokenizer;
  const all = { ids: [] as number[][], logits: [] as number[][] };
  for (const text of texts) {
    const ids = [...tokenizer.encode(text, { special: true })];
    const shape: [number, number] = [1, ids.length];
    const input = { tokens: tf.tensor2d(ids, shape, "int32"), targets: tf.zeros(shape, "int32"), lossMask: tf.zeros(shape), mask: tf.ones(shape), kind: tf.tensor1d([-1], "int32") };
    const { logits } = adapter.model.entries.logits(adapter.model.weights, input as never);
    all.ids.push(ids);
    all.logits.push(Array.from(await adapter.backend.read(logits)));
    tf.dispose([logits, ...Object.values(input)]);
  }
  adapter.dispose();
  return all;
}

/** The greatest difference over all texts, positions and pieces. */
function apart(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number {
  expect(a.map((row) => row.length)).toEqual(b.map((row) => row.length));
  return Math.max(...a.flatMap((row, i) => row.map((x, j) => Math.abs(x - b[i]![j]!))));
}

describe.each(fastTestBackends)("PEFT, transformers and %s agree", (backend) => {
  it.skipIf(!hasPeft)("on the base, and on every token of the texts", async () => {
    const ours = await ourLogits("lora.moe", backend);
    expect(ours.ids).toEqual(results.ids);
    // B starts at zero, so that a fresh LoRA is the base.
    expect(apart(ours.logits, results.base)).toBeLessThanOrEqual(1e-4);
  });

  it.skipIf(!hasPeft)("on an adapter trained here", async () => {
    const theirs = results.cases["ours"]!;
    expect(theirs).toMatchObject({ r: 4, alpha: 8, targets: ["down_proj", "gate_proj", "up_proj"] });
    const ours = await ourLogits("lora.moe", backend, path("ours"));
    expect(apart(theirs.logits, results.base), "training changed something").toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
    expect(apart(ours.logits, theirs.merged!), "merged into the base").toBeLessThanOrEqual(1e-4);
  });

  it.skipIf(!hasPeft).each([
    ["made", "lora.moe"],
    ["made-attention", "attention.moe"],
  ])("on an adapter that PEFT made: %s", async (name, spec) => {
    const theirs = results.cases[name]!;
    const ours = await ourLogits(spec, backend, path(name));
    expect(apart(theirs.logits, results.base)).toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
  });

  it.skipIf(!hasPeft)("on a fully tuned base, which loads as a checkpoint of its own", async () => {
    const theirs = results.cases["full"]!;
    expect(theirs).toMatchObject({ missing_keys: [], unexpected_keys: [], mismatched_keys: [] });
    const ours = await ourLogits("sft.moe", backend, path("tuned"));
    expect(apart(theirs.logits, results.base)).toBeGreaterThan(0.05);
    expect(apart(ours.logits, theirs.logits)).toBeLessThanOrEqual(1e-4);
  });
});
