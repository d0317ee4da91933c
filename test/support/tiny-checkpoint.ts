import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A Llama of two layers and some 33,000 numbers, with the example model's tokenizer: trains ten steps in a blink. */
const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 1024,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 3,
  torch_dtype: "float32",
};

/** The tensors' names and shapes, as Hugging Face's Llama has them. */
function shapes(): [string, number[]][] {
  const [vocab, hidden, ffn, key] = [config.vocab_size, config.hidden_size, config.intermediate_size, config.num_key_value_heads * config.head_dim];
  const all: [string, number[]][] = [["model.embed_tokens.weight", [vocab, hidden]], ["model.norm.weight", [hidden]]];
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const parts: [string, number[]][] = [
      ["input_layernorm", [hidden]],
      ["post_attention_layernorm", [hidden]],
      ["self_attn.q_proj", [hidden, hidden]],
      ["self_attn.k_proj", [key, hidden]],
      ["self_attn.v_proj", [key, hidden]],
      ["self_attn.o_proj", [hidden, hidden]],
      ["mlp.gate_proj", [ffn, hidden]],
      ["mlp.up_proj", [ffn, hidden]],
      ["mlp.down_proj", [hidden, ffn]],
    ];
    for (const [name, shape] of parts) all.push([`model.layers.${i}.${name}.weight`, shape]);
  }
  return all;
}

/** Writes a checkpoint of seeded random weights in Hugging Face's layout. */
export function writeTinyCheckpoint(folder: string): void {
  writeCheckpoint(folder, config, shapes());
}

const gpt2Config = {
  architectures: ["GPT2LMHeadModel"],
  model_type: "gpt2",
  vocab_size: 1024,
  n_positions: 48,
  n_embd: 16,
  n_layer: 2,
  n_head: 4,
  n_inner: null,
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: "float32",
};

/** A GPT-2 of two layers as the Hub's own files have it: no prefix, matrices as [in, out], and the mask as a buffer. */
export function writeTinyGpt2(folder: string): void {
  const { vocab_size: vocab, n_positions: places, n_embd: width } = gpt2Config;
  const all: [string, number[]][] = [["wte.weight", [vocab, width]], ["wpe.weight", [places, width]], ["ln_f.weight", [width]], ["ln_f.bias", [width]]];
  for (let i = 0; i < gpt2Config.n_layer; i++) {
    const linear = (name: string, from: number, to: number): [string, number[]][] => [[`${name}.weight`, [from, to]], [`${name}.bias`, [to]]];
    const parts: [string, number[]][] = [
      ["ln_1.weight", [width]],
      ["ln_1.bias", [width]],
      ["ln_2.weight", [width]],
      ["ln_2.bias", [width]],
      ["attn.bias", [1, 1, places, places]],
      ...linear("attn.c_attn", width, 3 * width),
      ...linear("attn.c_proj", width, width),
      ...linear("mlp.c_fc", width, 4 * width),
      ...linear("mlp.c_proj", 4 * width, width),
    ];
    for (const [name, shape] of parts) all.push([`h.${i}.${name}`, shape]);
  }
  writeCheckpoint(folder, gpt2Config, all);
}

/** Gains of norms are 1; all else is random. */
function writeCheckpoint(folder: string, config: object, shapes: readonly (readonly [string, readonly number[]])[]): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config, null, 2));
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) cpSync(join("examples/models/tiny-llama", name), join(folder, name));
  let state = 1;
  const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const parts: Float32Array[] = [];
  let at = 0;
  for (const [name, shape] of shapes) {
    const size = shape.reduce((a, b) => a * b, 1);
    const gain = shape.length === 1 && name.endsWith(".weight");
    parts.push(Float32Array.from({ length: size }, () => (gain ? 1 : 0.6 * (random() - 0.5))));
    header[name] = { dtype: "F32", shape, data_offsets: [at, (at += 4 * size)] };
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(join(folder, "model.safetensors"), Buffer.concat([length, Buffer.from(text), ...parts.map((p) => Buffer.from(p.buffer))]));
}

/** LoRAMoE as the example has it, at a size for tests: dropout on, so that resumption has randomness to get right. */
export const tinySpec = `base llama = llama("models/tiny")

/// Six experts in two groups.
adapter LoRAMoE on llama {
  at layers.*.mlp.{gate_proj, up_proj, down_proj} {
    experts knowledge[3] = lora(rank: 2, alpha: 8, dropout: 0.1)
    experts skill[3]     = lora(rank: 2, alpha: 8, dropout: 0.1)
    route softmax()
    balance 0.1 * localized(delta: 0.1) {
      world_knowledge -> knowledge
      downstream      -> skill
    }
  }
}

train LoRAMoE {
  data      "data/train.jsonl"
  optimizer adamw(lr: 1e-2, weight_decay: 0)
  schedule  cosine(warmup: 0.1)
  steps 8  batch 4  length 24  seed 3
}
`;

/** Rows of both kinds. */
export const tinyRows: string = Array.from({ length: 12 }, (_, i) =>
  JSON.stringify(
    i % 2 === 0
      ? { id: `fact-${i}`, prompt: `The number after ${i} is`, completion: ` ${i + 1}`, kind: "world_knowledge" }
      : { id: `task-${i}`, prompt: `Repeat ${i}:`, completion: ` ${i} ${i}`, kind: "downstream" },
  ),
).join("\n") + "\n";

/** A project for tests: `loramoe.moe`, its data, and its base in `models/tiny`. */
export function writeTinyProject(folder: string): void {
  writeTinyCheckpoint(join(folder, "models/tiny"));
  mkdirSync(join(folder, "data"), { recursive: true });
  writeFileSync(join(folder, "loramoe.moe"), tinySpec);
  writeFileSync(join(folder, "data/train.jsonl"), tinyRows);
}
