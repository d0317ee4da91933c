import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { checkText } from "../../src/compiler/program.ts";
import { NodeHost } from "../../src/runtime/files/node-host.ts";
import { checkSource, library, spec, tinyConfig } from "./support.ts";

const text = spec("always lora(rank: 2)");

/** Code and message of each diagnostic. */
const told = async (given: Parameters<typeof checkSource>[1]): Promise<string[]> => (await checkSource(text, given)).diagnostics.map((d) => `${d.code} ${d.message}${d.help ? ` (${d.help})` : ""}${d.notes.map((n) => ` [${n}]`).join("")}`);

describe("a checkpoint that is not what config.json says", () => {
  it("names a tensor that is missing, and a misspelling of it", async () => {
    const name = "model.layers.1.mlp.down_proj.weight";
    expect(await told({ tensors: { [name]: undefined } })).toEqual([expect.stringMatching(/^MOE3011 .*"model\.layers\.1\.mlp\.down_proj\.weight" \[hidden: 16, ffn: 24\] \(the download may be incomplete/)]);
    const [first, second] = await told({ tensors: { [name]: undefined, "model.layers.1.mlp.dwn_proj.weight": [16, 24] } });
    expect(first).toMatch(/did you mean "model\.layers\.1\.mlp\.dwn_proj\.weight"\?/);
    expect(second).toMatch(/^MOE3013 /);
  });

  it("names both shapes, and sees a transposed matrix", async () => {
    expect(await told({ tensors: { "model.layers.0.mlp.down_proj.weight": [24, 16] } })).toEqual([
      'MOE3012 models/tiny-llama/model.safetensors: "model.layers.0.mlp.down_proj.weight" has the shape [24, 16]; config.json makes it [hidden: 16, ffn: 24] (it looks transposed)',
    ]);
  });

  it("says in a few diagnostics that one number moves every shape", async () => {
    const found = await told({ config: JSON.stringify({ ...tinyConfig, intermediate_size: 32 }) });
    expect(found).toHaveLength(3);
    expect(found[2]).toMatch(/\[3 more tensors have other shapes too\]$/);
  });

  it("tells of tensors that are not used; with strict it is an error", async () => {
    const tensors = { "model.layers.0.self_attn.q_norm.weight": [4] };
    const severities = async (strict: boolean) => (await checkSource(text, { tensors, options: { strict } })).diagnostics.map((d) => [d.code, d.severity]);
    expect(await severities(false)).toEqual([["MOE3013", "warning"]]);
    expect(await severities(true)).toEqual([["MOE3013", "error"]]);
  });

  it.each([
    [{ hidden_act: "gelu" }, /^MOE5106 .*hidden_act must be one of "silu"/],
    [{ rope_scaling: { factor: 2 } }, /^MOE5106 .*rope_scaling/],
    [{ tie_word_embeddings: "yes" }, /^MOE5106 .*tie_word_embeddings must be boolean/],
    [{ num_key_value_heads: 3 }, /^MOE2011 llama requires config\.num_attention_heads % config\.num_key_value_heads == 0, and here config\.num_attention_heads = 4, config\.num_key_value_heads = 3/],
    [{ num_hidden_layers: 0 }, /^MOE3005 a stack has from 1 to 10,000 layers, this is 0/],
  ])("config.json with %j", async (fields, expected) => {
    expect(await told({ config: JSON.stringify({ ...tinyConfig, ...fields }) })).toEqual([expect.stringMatching(expected)]);
  });
});

describe("a checkpoint that no definition reads", () => {
  it.each(["bert", "t5", "mixtral"])("names the architecture %s, what there is, and what can be done", async (model_type) => {
    // All else is as in no Llama, and is not spoken of.
    const found = (await checkSource(text, { config: JSON.stringify({ model_type, d_model: 8 }), tensors: { "encoder.weight": [8] } })).diagnostics;
    expect(found.map((d) => d.code)).toEqual(["MOE3017"]);
    expect(found[0]!.message).toBe(`no model definition covers the architecture "${model_type}" that models/tiny-llama/config.json names`);
    expect(found[0]!.notes).toEqual(["there are: gpt2 (gpt2); llama (llama, mistral, qwen2)"]);
    expect(found[0]!.help).toContain("docs/adding-a-definition.md");
    expect(found[0]!.secondary.map((s) => s.span)).toEqual([{ file: "models/tiny-llama/config.json", start: 14, end: 16 + model_type.length }]);
  });

  it("writes the definition that covers the architecture", async () => {
    const [found, ...more] = (await checkSource(text, { config: JSON.stringify({ model_type: "gpt2" }) })).diagnostics;
    expect(more).toEqual([]);
    const [edit] = found!.fixes[0]!.edits;
    expect(text.slice(0, edit!.span.start) + edit!.text + text.slice(edit!.span.end)).toBe(text.replace("llama(", "gpt2("));
  });

  it("counts the spec's own definitions, and leaves alone one that names no architecture", async () => {
    const own = (field: string) => `model own(config) {\n  config { ${field} hidden_size: int }\n  axis hidden = config.hidden_size\n  axis vocab = 32\n  weight e [vocab, hidden] from "model.embed_tokens.weight"\n  (tokens [position]) -> [position, vocab] = gather(e, tokens, over: vocab) @ e\n}\n`;
    const config = JSON.stringify({ ...tinyConfig, model_type: "mine" });
    const codes = async (t: string) => (await checkSource(t, { config })).diagnostics.map((d) => `${d.code} ${d.notes.join()}`);
    expect(await codes(text + own("model_type: mine"))).toEqual(["MOE3017 "]);
    expect(await codes('base b = own("models/tiny-llama")\n' + own(""))).toEqual(["MOE3013 "]);
  });

  it.each([
    [{ quant_method: "gptq", bits: 4 }, " (gptq)"],
    [{ load_in_8bit: true }, ""],
  ])("is quantised by its configuration: %j", async (quantization_config, method) => {
    expect(await told({ config: JSON.stringify({ ...tinyConfig, quantization_config }) })).toEqual([
      `MOE3018 the base models/tiny-llama is quantised${method} (name the checkpoint that it was made from, or one that was dequantised and saved) [weights are read as F32, F16, BF16, F64]`,
    ]);
  });

  it.each([
    ["weight", "I8", /"model\.layers\.0\.mlp\.up_proj\.weight" is I8 /],
    ["weight", "F8_E4M3", /is F8_E4M3 /],
    ["qweight", "I32", /"model\.layers\.0\.mlp\.up_proj\.qweight" is I32 /],
  ])("is quantised by its header: a %s of %s", async (part, dtype, expected) => {
    const name = "model.layers.0.mlp.up_proj";
    expect(await told({ tensors: { [`${name}.weight`]: undefined, [`${name}.${part}`]: [24, 16] }, dtypes: { [`${name}.${part}`]: dtype } })).toEqual([expect.stringMatching(expected)]);
  });

  it("may hold whole numbers that the model does not want", async () => {
    expect((await told({ tensors: { "model.position_ids": [1, 8] }, dtypes: { "model.position_ids": "I64" } })).map((t) => t.slice(0, 7))).toEqual(["MOE3013"]);
  });
});

const shared = "../shared/checkpoints";

describe.skipIf(!existsSync(shared))("checkpoints with one fault each (../shared/checkpoints)", () => {
  // What each folder's row of the README asks for, as far as headers show it.
  it.each([
    ["header-length-beyond-file", [/truncated|longer|beyond|end/i]],
    ["header-not-json", [/not JSON|JSON/]],
    ["overlapping-offsets", [/up_proj.*gate_proj|gate_proj.*up_proj/]],
    ["dtype-size-mismatch", [/k_proj.*512.*256|k_proj.*256.*512/]],
    ["shape-mismatch-config", [/^MOE3012 .*down_proj.*\[24, 16\].*hidden: 16, ffn: 24.*looks transposed/]],
    ["missing-tensor", [/^MOE3011 .*model\.layers\.0\.self_attn\.k_proj\.weight/]],
    ["extra-tensor", [/^MOE3013 .*q_norm/]],
    ["index-outside-folder", [/^MOE5103 /]],
    ["header-length-100mb", [/104857600|104,857,600/]],
    ["bf16-valid", []],
    ["f16-valid", []],
    ["sharded-valid", []],
  ] as const)("%s", async (folder, expected) => {
    const program = await checkText(new NodeHost(), "spec.moe", text, { library, base: `${shared}/${folder}` });
    const found = program.diagnostics.map((d) => `${d.code} ${d.message} ${d.help ?? ""}`);
    expect(found).toEqual(expected.map((e) => expect.stringMatching(e)));
  });
});

