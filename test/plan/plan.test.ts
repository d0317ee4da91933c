import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compileAdapter, chooseAdapter } from "../../src/compiler/index.ts";
import { llama2_7b, llama3_70b, toy, writeHeaders, type LlamaConfig } from "./checkpoints.ts";
import { adapterText, CountingHost, planOf, programOf, temporaryFolder } from "./support.ts";

const root = temporaryFolder();
const on = (name: string, config: LlamaConfig, options: Parameters<typeof writeHeaders>[2] = { dtype: "F32" }): string => {
  writeHeaders(join(root, name, "base"), config, options);
  return join(root, name);
};
const small = on("toy", toy);
const deeper = on("deeper", { ...toy, num_hidden_layers: 5 });
const tied = on("tied", { ...toy, tie_word_embeddings: true });
const seven = on("7b", llama2_7b, { dtype: "F16", shardBytes: 10e9 });
const seventy = on("70b", llama3_70b, { dtype: "BF16", shardBytes: 5e9 });

const mixture = adapterText(`at layers.*.mlp.{gate_proj, up_proj, down_proj} {
    experts knowledge[3] = lora(rank: 4, alpha: 32, dropout: 0.05)
    experts skill[3]     = lora(rank: 4, alpha: 32, dropout: 0.05)
    route softmax()
    balance 0.1 * localized(delta: 0.1) {
      world_knowledge -> knowledge
      downstream      -> skill
    }
  }`);
const plainLora = adapterText("at layers.*.mlp.down_proj { always lora(rank: 3) }");

const [h, f, layers] = [toy.hidden_size, toy.intermediate_size, toy.num_hidden_layers];
const [heads, key] = [toy.num_attention_heads, (toy.hidden_size / toy.num_attention_heads) * toy.num_key_value_heads];

describe("parameters", () => {
  it("of a LoRA mixture: experts · rank · (in + out), and the router's in · experts", async () => {
    const plan = await planOf(small, mixture);
    const site = (i: number, o: number): number => 6 * 4 * (i + o) + 6 * i;
    expect(plan.sites.map((s) => [s.path, s.layers, s.count, s.trainable])).toEqual([
      ["layers.*.mlp.gate_proj", [0, 1], 2, site(h, f)],
      ["layers.*.mlp.up_proj", [0, 1], 2, site(h, f)],
      ["layers.*.mlp.down_proj", [0, 1], 2, site(f, h)],
    ]);
    expect(plan.trainable.parameters).toBe(layers * (2 * site(h, f) + site(f, h)));
    expect(plan.trainable.share).toBe(plan.trainable.parameters / plan.base.parameters);
    expect(plan.sites[0]).toMatchObject({ in: h, out: f, router: "softmax", unfrozen: false });
    expect(plan.sites[0]!.experts.map((e) => [e.group, e.kind, e.count])).toEqual([["knowledge", "lora", 3], ["skill", "lora", 3]]);
  });

  it("agree with what `moec build` writes", async () => {
    const program = await programOf(small, mixture);
    const { manifest } = await compileAdapter(program, chooseAdapter(program, undefined));
    const built = manifest.weights.filter((w) => w.trainable).reduce((n, w) => n + (w.count ?? 1) * w.shape.reduce((a, b) => a * b, 1), 0);
    expect((await planOf(small, mixture)).trainable.parameters).toBe(built);
  });

  it("of whole models are the published ones", async () => {
    // The safetensors totals that the models' pages on the Hugging Face hub show.
    expect((await planOf(seven, plainLora)).base.parameters).toBe(6_738_415_616);
    expect((await planOf(seventy, plainLora)).base.parameters).toBe(70_553_706_496);
  });

  it("of an unfrozen base are the base's own, each once", async () => {
    const plan = await planOf(tied, adapterText("at ** { unfreeze }"));
    expect(plan.trainable).toEqual({ parameters: plan.base.parameters, share: 1 });
    expect(plan.sites.map((s) => s.path)).toContain("embed_tokens");
    expect(plan.sites.every((s) => s.unfrozen && s.experts.length === 0 && s.operations === undefined)).toBe(true);
    expect(plan.memory.adapter).toBe(0);
  });
});

it("layers that differ stand apart", async () => {
  const plan = await planOf(deeper, adapterText("at layers.*.mlp.up_proj { always lora(rank: [2, 4, 4, 2, 4][layer]) }"));
  expect(plan.sites.map((s) => [s.layers, s.trainable])).toEqual([[[0, 3], 2 * (h + f)], [[1, 2, 4], 4 * (h + f)]]);
});

describe("operations per token", () => {
  it("of a LoRA mixture, stacked: two products for all experts, the router, the gates, the sum", async () => {
    const plan = await planOf(small, mixture);
    const [e, r] = [6, 4];
    // A softmax counts 8 operations an entry, as the table of operations has it.
    const extra = (i: number, o: number): number => 2 * i * e + 8 * e + 2 * i * e * r + e * r + 2 * e * r * o + o;
    expect(plan.sites.map((s) => s.operations)).toEqual([
      { frozen: 2 * h * f, extra: extra(h, f) },
      { frozen: 2 * h * f, extra: extra(h, f) },
      { frozen: 2 * h * f, extra: extra(f, h) },
    ]);
    const sum = layers * (2 * extra(h, f) + extra(f, h));
    expect(Math.abs(plan.operations.extra - sum)).toBeLessThan(0.001 * sum);
  });

  it("of what sites share count once: a block's router, a block that is the expert", async () => {
    const shared = await planOf(small, adapterText("at layers.*.mlp.*_proj { experts e[3] = lora(rank: 2)\n route softmax() per block }"));
    const own = await planOf(small, adapterText("at layers.*.mlp.*_proj { experts e[3] = lora(rank: 2)\n route softmax() }"));
    const extras = (plan: typeof own): number[] => plan.sites.flatMap((s) => (s.operations ? [s.operations.extra] : []));
    const total = extras(shared).reduce((a, b) => a + b, 0);
    expect(Math.abs(layers * total - shared.operations.extra)).toBeLessThanOrEqual(2 * layers);
    // Of the three routers, one on [h] is left.
    const router = (i: number): number => 2 * i * 3 + 8 * 3;
    expect(own.operations.extra - shared.operations.extra).toBe(layers * (router(h) + router(f)));
    expect(extras(shared)[0]! - extras(shared)[1]!).toBe(router(h));

    const whole = await planOf(small, adapterText("at layers.*.mlp { experts e[3] = patch { gate_proj, up_proj, down_proj: lora(rank: 2) }\n route softmax() }"));
    const block = whole.sites.find((s) => s.path === "layers.*.mlp")!;
    expect(block).toMatchObject({ count: layers, router: "softmax", operations: { frozen: 3 * 2 * h * f } });
    expect(Math.abs(layers * block.operations!.extra - whole.operations.extra)).toBeLessThanOrEqual(layers);
    expect(whole.trainable.parameters).toBe(layers * (3 * 3 * 2 * (h + f) + 3 * h));
  });

  it("of a base are two for each weight of a product, and attention's, which grow with the length", async () => {
    const at = async (length: number): Promise<number> => (await planOf(seven, plainLora, { batch: 1, length })).operations.base;
    const products = 2 * (6_738_415_616 - 32000 * 4096 - 65 * 4096);
    const [short, long] = [await at(512), await at(1024)];
    expect(short / products).toBeGreaterThan(1);
    expect(short / products).toBeLessThan(1.05);
    // 2·2·hidden for each position looked at (scores, and the sum of values), and a dozen on each score.
    const perPosition = (long - short) / 512 / 32;
    expect(perPosition).toBeGreaterThan(4 * 4096);
    expect(perPosition).toBeLessThan(4 * 4096 + 20 * 32);
  });

  it("of training an adapter are some twice the forward's: no frozen weight gets a gradient", async () => {
    const { operations } = await planOf(seven, mixture, { batch: 4, length: 256 });
    expect(operations.training / (operations.base + operations.extra)).toBeGreaterThan(1.9);
    expect(operations.training / (operations.base + operations.extra)).toBeLessThan(2.2);
    const full = await planOf(seven, adapterText("at ** { unfreeze }"), { batch: 4, length: 256 });
    expect(full.operations.training / full.operations.base).toBeGreaterThan(2.9);
  });
});

describe("memory", () => {
  it("of weights, moments and gradients", async () => {
    const { memory, trainable, base } = await planOf(seven, mixture, { batch: 1, length: 16 });
    expect(memory.checkpoint).toBe(2 * base.parameters);
    expect(base.dtypes).toEqual({ F16: 2 * base.parameters });
    expect(memory.base).toBe(4 * base.parameters);
    expect(memory.adapter).toBe(4 * trainable.parameters);
    expect(memory.moments).toBe(8 * trainable.parameters);
    expect(memory.gradients).toBe(4 * trainable.parameters);
    expect(memory.layouts).toBeLessThanOrEqual(memory.base);
    expect(memory.training).toBeGreaterThanOrEqual(memory.base + memory.layouts + memory.adapter + memory.moments + memory.peak);
  });

  it("kept inside layers, for a LoRA on down_proj", async () => {
    const [batch, length] = [3, 7];
    const { memory } = await planOf(small, plainLora, { batch, length });
    // By hand, numbers per token and layer. The layer's input and the MLP's, each with its norm's factor; queries, keys,
    // values and the probabilities; gate, its sigmoid, and up; x·A. Not one input of a frozen product.
    const perToken = 2 * (h + 1) + h + 2 * key + heads * length + 3 * f + 3;
    expect(memory.activations.layers).toBe(4 * batch * length * layers * perToken);
  });

  it("kept grows with depth and batch in proportion, and with the length as attention does", async () => {
    const inside = async (folder: string, batch: number, length: number): Promise<number> => (await planOf(folder, mixture, { batch, length })).memory.activations.layers;
    const one = await inside(small, 1, 32);
    const batched = await inside(small, 4, 32);
    // Two numbers of a layer are the batch's, not the samples': the balance's mean and variance.
    expect(Math.abs(batched - 4 * one)).toBeLessThan(0.001 * batched);
    expect(await inside(deeper, 1, 32)).toBe((one / 2) * 5);
    const [l, l2, l3] = [one, await inside(small, 1, 64), await inside(small, 1, 96)];
    expect(l3 - 2 * l2 + l).toBe(2 * 4 * layers * heads * 32 ** 2);
  });

  it("is at its fullest no less than what is kept, and less in micro-batches", async () => {
    const whole = await planOf(small, mixture, { batch: 8, length: 32 });
    expect(whole.memory.peak).toBeGreaterThan(whole.memory.activations.layers + whole.memory.activations.outside);
    expect(whole.memory.evaluation).toBeLessThan(whole.memory.training);
    const text = mixture + '\ntrain A { data "d.jsonl"  batch 8  accumulate 4  length 32 }\n';
    const parts = await planOf(small, text);
    expect(parts.batch).toEqual({ samples: 8, microBatches: 4, length: 32, tokens: 2 * 32 });
    expect(parts.memory.activations.layers).toBeLessThan(0.26 * whole.memory.activations.layers);
  });
});

describe("large models", () => {
  it("are planned from their headers alone", async () => {
    const host = new CountingHost();
    const plan = await planOf(seventy, mixture, { batch: 8, length: 1024 }, host);
    expect(plan.memory.checkpoint).toBe(2 * 70_553_706_496);
    expect(plan.base).toMatchObject({ layers: 80, context: 8192 });
    expect(plan.sites.map((s) => s.count)).toEqual([80, 80, 80]);
    expect(host.bytes).toBeLessThan(2 ** 20);
  });

  it("take about as long as a toy", async () => {
    const time = async (folder: string): Promise<number> => {
      const start = performance.now();
      await planOf(folder, mixture);
      return performance.now() - start;
    };
    const [toys, large]: [number[], number[]] = [[], []];
    for (let i = 0; i < 3; i++) {
      toys.push(await time(small));
      large.push(await time(seventy));
    }
    // 40 times as deep, 8,000,000 times as large.
    expect(Math.min(...large)).toBeLessThan(4 * Math.min(...toys) + 100);
  });
});
