import { describe, expect, it } from "vitest";
import { compileAdapter } from "../../src/compiler/index.ts";
import { checkText, type Program } from "../../src/compiler/program.ts";
import { MemoryHost } from "../../src/formats/host.ts";
import { checkSource, library, renderAll, safetensors, type Shapes } from "./support.ts";

const config = { model_type: "gpt2", vocab_size: 32, n_positions: 24, n_embd: 16, n_layer: 2, n_head: 4, n_inner: null, activation_function: "gelu_new" };

/** The tensors of transformers' GPT2LMHeadModel, written down from its documentation; the Hub's own files have no prefix. */
function gpt2Shapes(prefix: string, { n_inner = null, more = {} }: { readonly n_inner?: number | null; readonly more?: Shapes } = {}): Shapes {
  const [width, ffn] = [config.n_embd, n_inner ?? 4 * config.n_embd];
  const shapes: Record<string, readonly number[]> = { "wte.weight": [config.vocab_size, width], "wpe.weight": [config.n_positions, width], "ln_f.weight": [width], "ln_f.bias": [width] };
  for (let i = 0; i < config.n_layer; i++) {
    for (const norm of ["ln_1", "ln_2"]) for (const part of ["weight", "bias"]) shapes[`h.${i}.${norm}.${part}`] = [width];
    for (const [name, from, to] of [["attn.c_attn", width, 3 * width], ["attn.c_proj", width, width], ["mlp.c_fc", width, ffn], ["mlp.c_proj", ffn, width]] as const) {
      shapes[`h.${i}.${name}.weight`] = [from, to];
      shapes[`h.${i}.${name}.bias`] = [to];
    }
  }
  return { ...Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape])), ...more };
}

const gpt2Spec = (at: string): string => `base b = gpt2("base")\n\nadapter A on b {\n  at ${at}\n}\n`;

function checkGpt2(text: string, shapes: Shapes, fields: object = {}): Promise<Program> {
  const host = new MemoryHost([["spec.moe", text], ["base/config.json", JSON.stringify({ ...config, ...fields })], ["base/model.safetensors", safetensors(shapes)]]);
  return checkText(host, "spec.moe", text, { library });
}

async function compiled(text: string, shapes: Shapes, fields: object = {}) {
  const program = await checkGpt2(text, shapes, fields);
  expect(renderAll(program)).toEqual([]);
  return (await compileAdapter(program, program.checked.adapters[0]!)).manifest;
}

describe("gpt2", () => {
  it.each([["transformer."], [""]])("reads files whose names begin with %j, and calls modules as transformers does", async (prefix) => {
    const manifest = await compiled(gpt2Spec("h.*.{attn, mlp}.c_proj { always lora(rank: 2) }"), gpt2Shapes(prefix));
    const read = manifest.weights.flatMap((w) => w.sources.flatMap((s) => s.tensor ?? []));
    expect(new Set(read)).toEqual(new Set(Object.keys(gpt2Shapes(prefix))));
    expect(manifest.sites.map((s) => s.module)).toEqual([0, 1].flatMap((i) => [`transformer.h.${i}.attn.c_proj`, `transformer.h.${i}.mlp.c_proj`]));
    expect(manifest.peft).toMatchObject({ targets: ["c_proj"], fanInFanOut: true });
    expect(manifest.base).toMatchObject({ context: 24, vocabulary: 32 });
  });

  it.each([
    ["h.*.mlp.c_proj", ["mlp.c_proj"]],
    ["h.*.*.{c_attn, c_fc}", ["c_attn", "c_fc"]],
    ["h.0.mlp.c_proj", undefined],
  ])("PEFT is told %s by %j", async (path, targets) => {
    expect((await compiled(gpt2Spec(`${path} { always lora(rank: 2) }`), gpt2Shapes(""))).peft?.targets).toEqual(targets);
  });

  it("says of a head of its own that its matrix lies the other way round than its layers'", async () => {
    const shapes = gpt2Shapes("transformer.", { more: { "lm_head.weight": [32, 16] } });
    const of = async (path: string) => (await compiled(gpt2Spec(`${path} { always lora(rank: 2) }`), shapes, { tie_word_embeddings: false })).peft?.fanInFanOut;
    expect([await of("lm_head"), await of("h.*.mlp.c_fc")]).toEqual([false, true]);
  });

  it("passes over what old files hold beside weights, and no more", async () => {
    const masks = { "h.0.attn.bias": [1, 1, 24, 24], "h.1.attn.masked_bias": [], "lm_head.weight": [32, 16] };
    await compiled(gpt2Spec("** { unfreeze }"), gpt2Shapes("", { more: masks }));
    const told = renderAll(await checkGpt2(gpt2Spec("** { unfreeze }"), gpt2Shapes("", { more: { ...masks, "h.0.crossattention.c_attn.weight": [16, 32], "attn.bias": [1] } })));
    expect(told[0]).toContain('2 tensors that the model "gpt2" does not use: h.0.crossattention.c_attn.weight, attn.bias');
  });

  it("takes n_inner, and finds a matrix that lies as PyTorch's do", async () => {
    await compiled(gpt2Spec("** { unfreeze }"), gpt2Shapes("", { n_inner: 20 }), { n_inner: 20 });
    const told = renderAll(await checkGpt2(gpt2Spec("** { unfreeze }"), gpt2Shapes("", { more: { "h.0.mlp.c_fc.weight": [64, 16] } })));
    expect(told).toEqual([expect.stringContaining('MOE3012 base/model.safetensors: "h.0.mlp.c_fc.weight" has the shape [64, 16]; config.json makes it [hidden: 16, ffn: 64]'), expect.any(String), "  help: it looks transposed"]);
  });

  it("misses a tensor by the name that the file would have", async () => {
    const without = (prefix: string) => Object.fromEntries(Object.entries(gpt2Shapes(prefix)).filter(([name]) => !name.includes("h.1.attn.c_attn.bias")));
    for (const prefix of ["transformer.", ""]) {
      expect(renderAll(await checkGpt2(gpt2Spec("** { unfreeze }"), without(prefix)))[0]).toBe(`MOE3011 the checkpoint base has no tensor "${prefix}h.1.attn.c_attn.bias" [fused: 48]`);
    }
  });

  it.each([
    [{ activation_function: "gelu" }, /^MOE5106 .*activation_function must be one of "gelu_new"/],
    [{ scale_attn_by_inverse_layer_idx: true }, /^MOE2011 gpt2 requires not config\.scale_attn_by_inverse_layer_idx/],
    [{ add_cross_attention: true }, /^MOE2011 /],
    [{ n_head: 3 }, /^MOE2011 gpt2 requires config\.n_embd % config\.n_head == 0/],
  ])("refuses %j", async (fields, expected) => {
    expect((await checkGpt2(gpt2Spec("** { unfreeze }"), gpt2Shapes(""), fields)).diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([expect.stringMatching(expected)]);
  });
});

/** A model of one linear on an embedding, with `items` in it. */
const own = (items: string, body = "project(gather(table, tokens, over: vocab))", more = ""): string =>
  `base b = own("models/tiny-llama")\n\nmodel own(config) {\n  config { hidden_size: int }\n  axis hidden = config.hidden_size\n  axis vocab = 32\n  axis ffn = 24\n  weight table [vocab, hidden] from "model.embed_tokens.weight"\n  ${items}\n  (tokens [position]) -> [position, ffn] = ${body}\n}\n${more}`;
const adapter = (path = "project"): string => `\nadapter A on b {\n  at ${path} { always lora(rank: 2) }\n}\n`;

/** Codes and messages but for MOE3013: most of the checkpoint is not used here. */
const told = async (text: string, tensors: Shapes = {}): Promise<string[]> =>
  (await checkSource(text, { tensors })).diagnostics.filter((d) => d.code !== "MOE3013").map((d) => `${d.code} ${d.message}`);

describe("a model's parts in the file", () => {
  it("a matrix is stored along its two axes, in either order", async () => {
    const linear = (stored: string) => own(`linear project [hidden, ffn] ${stored} from "p"`, undefined, adapter());
    expect(await told(linear(""), { "p.weight": [24, 16] })).toEqual([]);
    expect(await told(linear("stored [ffn, hidden]"), { "p.weight": [24, 16] })).toEqual([]);
    expect(await told(linear("stored [hidden, ffn]"), { "p.weight": [16, 24] })).toEqual([]);
    expect(await told(linear("stored [hidden, ffn]"), { "p.weight": [24, 16] })).toEqual([expect.stringMatching(/^MOE3012 .*\[24, 16\]; config\.json makes it \[hidden: 16, ffn: 24\]/)]);
    for (const stored of ["[hidden]", "[hidden, vocab]"]) expect(await told(linear(`stored ${stored}`), { "p.weight": [24, 16] })).toEqual(["MOE3002 a matrix is stored along the axes that it has: [hidden, ffn] in either order"]);
  });

  it("has the first of its names that the file has, else the first is missed", async () => {
    const linear = own('linear project [hidden, ffn] from "a.p" or "b.p" or "p"');
    for (const name of ["a.p", "b.p", "p"]) expect(await told(linear, { [`${name}.weight`]: [24, 16] })).toEqual([]);
    // A longer name that begins alike is another's.
    expect(await told(linear, { "a.project.weight": [24, 16] })).toEqual(['MOE3011 the checkpoint models/tiny-llama has no tensor "a.p.weight" [ffn: 24, hidden: 16]']);
    const both = await checkSource(linear, { tensors: { "b.p.weight": [24, 16], "p.weight": [24, 16] } });
    expect(both.diagnostics.map((d) => d.message)).toEqual([expect.stringMatching(/, p\.weight|: p\.weight|…$/)]);
  });

  it("goes on from the block's name where its own begins with a point", async () => {
    const block = own('block inner(x [hidden]) -> [ffn] from "x" or "y" {\n    linear project [hidden, ffn] from ".deep.p"\n    unused ".rest"\n    project(x)\n  }', "inner(gather(table, tokens, over: vocab))", adapter("inner.project"));
    expect(await told(block, { "y.deep.p.weight": [24, 16], "y.rest": [1] })).toEqual([]);
    const program = await checkSource(block, { tensors: { "y.deep.p.weight": [24, 16], "y.rest": [1], "x.rest": [1] } });
    expect(program.diagnostics.map((d) => d.code)).toEqual(["MOE3011", "MOE3013"]);
  });

  it("unused is a word of models, and may depend on the configuration", async () => {
    const expert = "expert e() {\n  unused \"x\"\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * (l - 1)\n}\n";
    expect(await told(expert)).toEqual(["MOE2029 an expert reads no checkpoint, so nothing of one is unused"]);
    const told13 = async (when: string) => (await checkSource(own(`linear project [hidden, ffn] from "p"\n  unused "model.norm.weight" when ${when}`), { tensors: { "p.weight": [24, 16] } })).diagnostics[0]!.message;
    const [passed, not] = [await told13("config.hidden_size == 16"), await told13("config.hidden_size != 16")].map((m) => Number(/has (\d+) tensors/.exec(m)![1]));
    expect(not! - passed!).toBe(1);
  });
});
