import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, it } from "vitest";
import type { Manifest, ManifestWeight } from "../../src/formats/manifest.ts";
import { parseSafetensors, tensorBytes } from "../../src/formats/safetensors.ts";
import { openAdapter, saveAdapter } from "../../src/runtime/adapter-files.ts";
import { startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import { NodeOutput } from "../../src/runtime/files/node-output.ts";
import { MemoryOutput } from "../../src/runtime/output.ts";
import { hasPeft, peftConfig, peftMisfits } from "../../src/runtime/peft.ts";
import { disposeStore, type Model } from "../../src/runtime/store.ts";
import { placeWeights, tensorFileOf } from "../../src/runtime/weights.ts";
import { shared } from "../support/require.ts";
import { refused } from "./support.ts";
import { manifest as tiny, tinyProgram } from "./tiny.ts";

const saved = `${shared}/oracles/llama_tiny_lora_mlp_saved`;
const oracle = existsSync(saved);

// The oracle's model: two layers, hidden 32, ffn 48; LoRA of rank 4 and alpha 8 on the three projections of the MLP.
const sides = { gate_proj: ["hidden", "ffn"], up_proj: ["hidden", "ffn"], down_proj: ["ffn", "hidden"] } as const;
const sizes = { hidden: 32, ffn: 48, rank: 4 } as const;
const layers = [0, 1];

/** A manifest as the compiler makes one; the factors lie in memory and in our files in whatever order we like. */
function loraManifest(): Manifest {
  const weights = Object.entries(sides).flatMap(([name, [input, output]]): ManifestWeight[] => {
    const path = (i: number): string => `layers.${i}.mlp.${name}`;
    const factor = (letter: "A" | "B", axes: (keyof typeof sizes)[]): ManifestWeight => ({
      name: `layers.mlp.${name}.lora.${letter}`,
      axes,
      shape: axes.map((a) => sizes[a]),
      count: 2,
      trainable: true,
      decay: true,
      initializer: { kind: "normal", std: 1 },
      // Ours are stored the other way round than PEFT's, so that the order is put to the test.
      sources: layers.map((i) => ({ order: axes, adapter: { names: [`${path(i)}.lora.${letter}`] } })),
    });
    return [
      {
        name: `layers.mlp.${name}`, axes: [input, output], shape: [sizes[input], sizes[output]], count: 2, trainable: false, decay: false,
        initializer: { kind: "checkpoint" },
        sources: layers.map((i) => ({ tensor: `model.${path(i)}.weight`, order: [output, input] })),
      },
      factor("A", [input, "rank"]),
      factor("B", ["rank", output]),
    ];
  });
  return {
    ...tiny,
    adapter: "LoRA",
    groups: [],
    kinds: [],
    weights,
    sites: layers.flatMap((layer) => Object.entries(sides).map(([name, [input, output]]) => ({ path: `layers.${layer}.mlp.${name}`, layer, in: sizes[input], out: sizes[output], module: `model.layers.${layer}.mlp.${name}`, experts: [{ group: "lora", kind: "lora", count: 1, always: true }], trainable: 0 }))),
    peft: { rank: 4, alpha: 8, dropout: 0, targets: ["gate_proj", "up_proj", "down_proj"], rslora: false, fanInFanOut: false },
  };
}

const manifest = loraManifest();
const base = tensorFileOf(
  "base",
  manifest.weights.filter((w) => !w.trainable).flatMap((w) => w.sources.map((s) => ({ name: s.tensor!, shape: [...w.shape].reverse(), data: new Float32Array(w.shape[0]! * w.shape[1]!) }))),
);

describe("PEFT's layout", () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend("cpu");
  });

  const place = async (adapter?: Awaited<ReturnType<typeof openAdapter>>, own = manifest): Promise<Model> => {
    const weights = await placeWeights({ manifest: own, backend, base, seed: 1, ...(adapter ? { adapter } : {}) });
    return { manifest: own, entries: tinyProgram().create(backend.tf), backend, weights };
  };

  it.skipIf(!oracle)("what PEFT 0.21 saved is loaded and saved again byte for byte", async () => {
    const model = await place(await openAdapter(new NodeOutput(), saved, manifest));
    const theirs = new Uint8Array(await readFile(`${saved}/adapter_model.safetensors`));
    const header = parseSafetensors(theirs, "theirs");
    // A [in, rank] in memory is PEFT's lora_A [r, in] transposed.
    const entry = header.tensors.get("base_model.model.model.layers.1.mlp.down_proj.lora_A.weight")!;
    const stored = new Float32Array(tensorBytes(theirs, entry).slice().buffer);
    const memory = await backend.read((model.weights["layers.mlp.down_proj.lora.A"] as readonly import("@tensorflow/tfjs-core").Tensor[])[1]!);
    expect(entry.shape).toEqual([4, 48]);
    for (let i = 0; i < 48; i++) for (let r = 0; r < 4; r++) expect(memory[i * 4 + r]).toBe(stored[r * 48 + i]);

    const host = new MemoryOutput();
    await saveAdapter(host, "out", model);
    expect(Buffer.compare(host.files.get("out/adapter_model.safetensors")!, theirs)).toBe(0);
    disposeStore(model.weights);
  });

  it.skipIf(!oracle)("our adapter_config.json says what PEFT's does", async () => {
    if (!hasPeft(manifest)) throw new Error("the manifest has lost its peft");
    const theirs = JSON.parse(await readFile(`${saved}/adapter_config.json`, "utf8")) as Record<string, unknown>;
    const { base_model_name_or_path: _, target_modules: targets, ...ours } = peftConfig(manifest);
    for (const [key, value] of Object.entries(ours)) expect(theirs[key], key).toEqual(value);
    expect([...(targets as string[])].sort()).toEqual([...(theirs["target_modules"] as string[])].sort());
    expect(peftMisfits(manifest, theirs, "adapter_config.json")).toEqual([]);
  });

  it("is written and read back, and so is moec's own layout", async () => {
    const model = await place();
    const host = new MemoryOutput();
    await saveAdapter(host, "out", model);
    expect([...host.files.keys()].sort()).toEqual(["out/adapter_config.json", "out/adapter_model.safetensors", "out/moec.json"]);
    const names = [...parseSafetensors(host.files.get("out/adapter_model.safetensors")!, "out").tensors.values()].map((t) => [t.name, t.shape]);
    expect(names).toContainEqual(["base_model.model.model.layers.0.mlp.gate_proj.lora_A.weight", [4, 32]]);
    expect(names).toContainEqual(["base_model.model.model.layers.1.mlp.gate_proj.lora_B.weight", [48, 4]]);
    const again = await place(await openAdapter(host, "out", manifest));
    const { peft: _, ...plain } = manifest;
    await saveAdapter(host, "plain", { ...model, manifest: plain });
    const own = await place(await openAdapter(host, "plain", manifest));
    for (const [name, tensors] of Object.entries(model.weights)) {
      for (const other of [again, own]) {
        for (const [i, t] of (tensors as readonly import("@tensorflow/tfjs-core").Tensor[]).entries()) expect(await backend.read((other.weights[name] as readonly (typeof t)[])[i]!)).toEqual(await backend.read(t));
      }
    }
    for (const m of [model, again, own]) disposeStore(m.weights);
  });

  it("refuses a configuration that does not fit, saying what differs", () => {
    const good = peftConfig(manifest as Manifest & { peft: NonNullable<Manifest["peft"]> });
    const told = (change: Record<string, unknown>, own = manifest): string[] => peftMisfits(own, { ...good, ...change }, "c").map((d) => `${d.code} ${d.message}`);
    expect(told({})).toEqual([]);
    expect(told({ r: 8 })).toEqual(["MOE5314 c: r is 8, and LoRA has 4."]);
    expect(told({ lora_alpha: 16, use_rslora: true })).toEqual(["MOE5314 c: lora_alpha is 16, and LoRA has 8.", "MOE5314 c: use_rslora is true, and LoRA has false."]);
    expect(told({ target_modules: ["gate_proj", "up_proj", "q_proj"] })).toEqual(["MOE5314 c: target_modules names 3 modules; it lacks down_proj, and LoRA does not adapt q_proj."]);
    expect(told({ target_modules: "all-linear" })).toEqual([]);
    expect(told({ use_dora: true })).toEqual(["MOE5315 c: use_dora is true, and only false can be loaded."]);
    expect(told({ fan_in_fan_out: true })).toEqual(["MOE5315 c: fan_in_fan_out is true, and the base's matrices lie the other way round."]);
    expect(told({ fan_in_fan_out: false }, { ...manifest, peft: { ...manifest.peft!, fanInFanOut: true } })).toEqual([]);
    expect(told({ bias: "all" })[0]).toContain("MOE5315");
    expect(told({ rank_pattern: { "layers.0": 2 } })[0]).toContain("rank_pattern");
    expect(told({ modules_to_save: ["lm_head"] })[0]).toContain("modules_to_save");
    expect(told({ peft_type: "IA3" })).toEqual(['MOE5315 c: peft_type is "IA3", and only "LORA" can be loaded.']);
    expect(told({}, tiny)[0]).toContain("Tiny is no plain LoRA");
    expect(peftMisfits(manifest, [], "c").map((d) => d.code)).toEqual(["MOE5106"]);
  });

  it("refuses tensors that do not fit, by PEFT's shapes and names as the file has them", async () => {
    const model = await place();
    const host = new MemoryOutput();
    await saveAdapter(host, "out", model);
    disposeStore(model.weights);
    const three = { ...manifest, weights: manifest.weights.filter((w) => !w.name.includes("up_proj")), peft: { ...manifest.peft!, targets: ["gate_proj", "down_proj"] } };
    expect((await refused(openAdapter(host, "out", three))).map((d) => d.code)).toEqual(["MOE5314"]);
    host.files.set("out/adapter_config.json", new TextEncoder().encode("{"));
    expect((await refused(openAdapter(host, "out", manifest))).map((d) => d.code)).toEqual(["MOE5105"]);
    await host.removeFile("out/adapter_config.json");
    expect((await refused(openAdapter(host, "out", manifest))).map((d) => d.code)).toEqual(["MOE5316"]);
    expect((await refused(openAdapter(host, "nowhere", manifest))).map((d) => d.code)).toEqual(["MOE5316"]);
  });
});
