import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What of Hugging Face's `LlamaConfig` decides shapes; sizes are the published models'. */
export interface LlamaConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly rms_norm_eps: number;
  readonly max_position_embeddings: number;
  readonly rope_theta?: number;
  readonly rope_scaling: null;
  readonly tie_word_embeddings: boolean;
}

const common = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_act: "silu",
  attention_bias: false,
  rope_scaling: null,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: false,
} as const;

/** meta-llama/Llama-2-7b-hf (float16). */
export const llama2_7b: LlamaConfig = {
  ...common,
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  max_position_embeddings: 4096,
};

/** meta-llama/Meta-Llama-3-70B (bfloat16): grouped queries, a large vocabulary. */
export const llama3_70b: LlamaConfig = {
  ...common,
  vocab_size: 128256,
  hidden_size: 8192,
  intermediate_size: 28672,
  num_hidden_layers: 80,
  num_attention_heads: 64,
  num_key_value_heads: 8,
  max_position_embeddings: 8192,
  rope_theta: 500000,
};

/** A model small enough to think through by hand, no two sizes alike. */
export const toy: LlamaConfig = {
  ...common,
  vocab_size: 96,
  hidden_size: 16,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
};

/** Names and shapes of a Llama's tensors, as transformers writes them. */
export function llamaTensors(c: LlamaConfig): [string, number[]][] {
  const [h, f] = [c.hidden_size, c.intermediate_size];
  const key = (h / c.num_attention_heads) * c.num_key_value_heads;
  const layer = (i: number): [string, number[]][] => {
    const at = `model.layers.${i}.`;
    return [
      [`${at}input_layernorm.weight`, [h]],
      [`${at}mlp.down_proj.weight`, [h, f]],
      [`${at}mlp.gate_proj.weight`, [f, h]],
      [`${at}mlp.up_proj.weight`, [f, h]],
      [`${at}post_attention_layernorm.weight`, [h]],
      [`${at}self_attn.k_proj.weight`, [key, h]],
      [`${at}self_attn.o_proj.weight`, [h, h]],
      [`${at}self_attn.q_proj.weight`, [h, h]],
      [`${at}self_attn.v_proj.weight`, [key, h]],
    ];
  };
  return [
    ["model.embed_tokens.weight", [c.vocab_size, h]],
    ...Array.from({ length: c.num_hidden_layers }, (_, i) => layer(i)).flat(),
    ["model.norm.weight", [h]],
    ...(c.tie_word_embeddings ? [] : ([["lm_head.weight", [c.vocab_size, h]]] as [string, number[]][])),
  ];
}

/**
 * Writes a checkpoint whose weight files are all header: their data is a hole that takes no room on the disk, whatever
 * its size. `shardBytes` splits it as `save_pretrained(max_shard_size=…)` does.
 */
export function writeHeaders(folder: string, config: LlamaConfig, options: { readonly dtype: "F16" | "BF16" | "F32"; readonly shardBytes?: number }): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, torch_dtype: options.dtype === "BF16" ? "bfloat16" : options.dtype === "F16" ? "float16" : "float32" }, null, 2));
  const width = options.dtype === "F32" ? 4 : 2;
  const shards: { header: Record<string, unknown>; bytes: number }[] = [{ header: { __metadata__: { format: "pt" } }, bytes: 0 }];
  const where: [string, number][] = [];
  for (const [name, shape] of llamaTensors(config)) {
    const size = width * shape.reduce((n, s) => n * s, 1);
    let shard = shards.at(-1)!;
    if (options.shardBytes !== undefined && shard.bytes > 0 && shard.bytes + size > options.shardBytes) shards.push((shard = { header: { __metadata__: { format: "pt" } }, bytes: 0 }));
    shard.header[name] = { dtype: options.dtype, shape, data_offsets: [shard.bytes, shard.bytes + size] };
    shard.bytes += size;
    where.push([name, shards.length - 1]);
  }
  const pad = (n: number): string => String(n).padStart(5, "0");
  const file = (i: number): string => (options.shardBytes === undefined ? "model.safetensors" : `model-${pad(i + 1)}-of-${pad(shards.length)}.safetensors`);
  for (const [i, { header, bytes }] of shards.entries()) {
    let text = JSON.stringify(header);
    text += " ".repeat((8 - (text.length % 8)) % 8);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const fd = openSync(join(folder, file(i)), "w");
    try {
      writeSync(fd, Buffer.concat([length, Buffer.from(text)]));
      ftruncateSync(fd, 8 + text.length + bytes);
    } finally {
      closeSync(fd);
    }
  }
  if (options.shardBytes !== undefined) {
    const total = shards.reduce((n, s) => n + s.bytes, 0);
    const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(where.map(([name, i]) => [name, file(i)])) };
    writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index, null, 2));
  }
}
