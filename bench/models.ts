import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { initialValues } from "../src/runtime/initialize.ts";
import type { TensorFile } from "../src/runtime/index.ts";

/** Sizes of a Llama. */
export interface LlamaSizes {
  readonly vocabulary: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
}

/** The 60M configuration that papers on low-rank training use: 58.1M parameters. */
export const llama60m: LlamaSizes = { vocabulary: 32000, hidden: 512, intermediate: 1376, layers: 8, heads: 8 };

/** A Llama of any depth, narrow: what a layer costs beside its products shows. */
export const narrow = (layers: number): LlamaSizes => ({ vocabulary: 256, hidden: 64, intermediate: 172, layers, heads: 4 });

export function parametersOf(sizes: LlamaSizes): number {
  return tensorsOf(sizes).reduce((n, [, shape]) => n + shape.reduce((m, s) => m * s, 1), 0);
}

type Shaped = readonly [name: string, shape: readonly number[]];

/** Names and shapes, as transformers writes them. */
function tensorsOf({ vocabulary, hidden: h, intermediate: f, layers }: LlamaSizes): readonly Shaped[] {
  const all = (names: readonly string[], shape: readonly number[]): Shaped[] => names.map((n) => [`${n}.weight`, shape]);
  const block = (i: number): readonly Shaped[] => [
    ...all([`model.layers.${i}.input_layernorm`, `model.layers.${i}.post_attention_layernorm`], [h]),
    ...all(["q_proj", "k_proj", "v_proj", "o_proj"].map((n) => `model.layers.${i}.self_attn.${n}`), [h, h]),
    ...all(["gate_proj", "up_proj"].map((n) => `model.layers.${i}.mlp.${n}`), [f, h]),
    [`model.layers.${i}.mlp.down_proj.weight`, [h, f]],
  ];
  return [["model.embed_tokens.weight", [vocabulary, h]], ...Array.from({ length: layers }, (_, i) => block(i)).flat(), ["model.norm.weight", [h]], ["lm_head.weight", [vocabulary, h]]];
}

/**
 * Writes a Llama's config.json and a weight file that is all header: a compiler reads no more, and the data is a hole that
 * takes no room on the disk.
 */
export function writeLlama(folder: string, sizes: LlamaSizes): void {
  mkdirSync(folder, { recursive: true });
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: sizes.vocabulary,
    hidden_size: sizes.hidden,
    intermediate_size: sizes.intermediate,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.heads,
    rms_norm_eps: 1e-5,
    hidden_act: "silu",
    attention_bias: false,
    max_position_embeddings: 2048,
    rope_scaling: null,
    tie_word_embeddings: false,
    torch_dtype: "float32",
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config, null, 2));
  let bytes = 0;
  const header: Record<string, object> = { __metadata__: { format: "pt" } };
  for (const [name, shape] of tensorsOf(sizes)) {
    const end = bytes + 4 * shape.reduce((n, s) => n * s, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [bytes, end] };
    bytes = end;
  }
  const json = JSON.stringify(header);
  const text = json + " ".repeat((8 - (json.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(join(folder, "model.safetensors"), "w");
  try {
    writeSync(file, Buffer.concat([length, Buffer.from(text)]));
    ftruncateSync(file, 8 + text.length + bytes);
  } finally {
    closeSync(file);
  }
}

/** The weights themselves, drawn when they are read: norms are 1, all else is normal with the standard deviation 0.02. */
export function randomLlama(folder: string, sizes: LlamaSizes): TensorFile {
  const shapes = new Map(tensorsOf(sizes));
  return {
    path: folder,
    shapes,
    read: async (name) => initialValues(name.endsWith("norm.weight") ? { kind: "ones" } : { kind: "normal", std: 0.02 }, shapes.get(name)!, 1, name),
  };
}
