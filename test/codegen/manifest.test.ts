import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import type { Manifest, ManifestSite, ManifestWeight, TrainSettings } from "../../src/formats/manifest.ts";
import { CodegenError, manifestOf, printManifest } from "../../src/codegen/index.ts";
import { axis, listOf, tensor, type Weight } from "../../src/ir/index.ts";
import { manifest, root } from "./run.ts";

interface ObjectSchema {
  readonly properties: Readonly<Record<string, unknown>>;
  readonly required: readonly string[];
}

const schema = JSON.parse(readFileSync(join(root, "grammar/manifest.schema.json"), "utf8")) as ObjectSchema & { definitions: Record<string, ObjectSchema> };
const valid = new Ajv({ allErrors: true }).compile(schema);

const types: Record<keyof Manifest, true> = { format: true, moec: true, adapter: true, backend: true, spec: true, base: true, groups: true, kinds: true, fields: true, sites: true, weights: true, train: true, peft: true };
const siteTypes: Record<keyof ManifestSite, true> = { path: true, layer: true, in: true, out: true, module: true, experts: true, trainable: true };
const weightTypes: Record<keyof ManifestWeight, true> = { name: true, axes: true, shape: true, count: true, trainable: true, state: true, decay: true, initializer: true, sources: true, layoutOf: true };
const trainTypes: Record<keyof TrainSettings, true> = { data: true, test: true, epochs: true, steps: true, batch: true, accumulate: true, length: true, seed: true, optimizer: true, schedule: true, clip: true, memory: true };

/** Every field, optional ones included. */
const full: Manifest = manifest({
  backend: "tfjs-node",
  base: { model: "llama", path: "models/small", config: { vocab_size: 8 }, vocabulary: 8, context: 64 },
  groups: [{ name: "knowledge", experts: 3 }],
  kinds: ["world_knowledge"],
  sites: [{ path: "layers.0.mlp.up_proj", layer: 0, in: 4, out: 8, module: "model.layers.0.mlp.up_proj", experts: [{ group: "knowledge", kind: "lora", count: 3, always: false }], trainable: 36 }, { path: "norm", experts: [], trainable: 4 }],
  weights: (
    [{ kind: "zeros" }, { kind: "ones" }, { kind: "checkpoint" }, { kind: "constant", value: 1 }, { kind: "normal", std: 0.02 }, { kind: "uniform", bound: 0.1 }, { kind: "kaiming_uniform", a: 2.2, fanIn: 4 }] as const
  ).map((initializer, i) => ({ name: `w${i}`, axes: ["in"], shape: [4], count: 2, trainable: true, decay: false, initializer, sources: [{ tensor: "t", order: ["in"], adapter: { names: ["a", "b"], along: "expert" } }], layoutOf: "w" })),
  train: { ...manifest().train, data: "train.jsonl", test: "test.jsonl", steps: 5 },
  peft: { rank: 4, alpha: 8, dropout: 0, targets: ["up_proj"], rslora: false, fanInFanOut: false },
});

describe("the manifest", () => {
  it("has the schema's fields, and no others", () => {
    expect(Object.keys(schema.properties).sort()).toEqual(Object.keys(types).sort());
    expect(Object.keys(schema.definitions["site"]!.properties).sort()).toEqual(Object.keys(siteTypes).sort());
    expect(Object.keys(schema.definitions["weight"]!.properties).sort()).toEqual(Object.keys(weightTypes).sort());
    expect(Object.keys(schema.definitions["train"]!.properties).sort()).toEqual(Object.keys(trainTypes).sort());
  });

  it("is valid with every field and with the required ones only", () => {
    for (const m of [full, manifest()]) {
      valid(JSON.parse(printManifest(m)));
      expect(valid.errors ?? []).toEqual([]);
    }
  });

  it.each(schema.required)("is not valid without %s", (field) => {
    expect(valid(Object.fromEntries(Object.entries(full).filter(([k]) => k !== field)))).toBe(false);
  });

  it.each<[string, unknown]>([
    ["another format", { ...full, format: "moec/2" }],
    ["a field too many", { ...full, extra: 1 }],
    ["a short hash", { ...full, spec: { file: "x.moe", sha256: "ab" } }],
    ["an empty axis", { ...full, weights: [{ ...full.weights[0], shape: [0] }] }],
    ["an unknown initial value", { ...full, weights: [{ ...full.weights[0], initializer: { kind: "magic" } }] }],
    ["an initial value without its number", { ...full, weights: [{ ...full.weights[0], initializer: { kind: "normal" } }] }],
    ["kinds that repeat", { ...full, kinds: ["a", "a"] }],
    ["another optimizer", { ...full, train: { ...full.train, optimizer: { ...full.train.optimizer, name: "sgd" } } }],
  ])("is not valid with %s", (_, m) => {
    expect(valid(m)).toBe(false);
  });

  it("is made from a module's weights", () => {
    const weight: Weight = {
      name: "layers.mlp.up_proj.knowledge.A", type: listOf(2, tensor("f32", [axis("expert", 3), axis("in", 4)])), trainable: true, decay: true,
      initializer: { kind: "kaiming_uniform", a: Math.sqrt(5), fanIn: 4 }, sources: [0, 1].map((i) => ({ order: ["expert", "in"], adapter: { names: [0, 1, 2].map((e) => `layers.${i}.${e}`), along: "expert" } })),
    };
    const made = manifestOf({ weights: [weight] }, full);
    expect(made.weights).toEqual([{ name: weight.name, axes: ["expert", "in"], shape: [3, 4], count: 2, trainable: true, decay: true, initializer: weight.initializer, sources: weight.sources }]);
    valid(JSON.parse(printManifest(made)));
    expect(valid.errors ?? []).toEqual([]);
    expect(() => manifestOf({ weights: [{ ...weight, type: tensor("f32", [axis("sample")]) }] }, full)).toThrow(CodegenError);
  });
});
