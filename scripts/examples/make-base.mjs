/**
 * Makes the example base model, examples/models/tiny-llama/model.safetensors, from nothing with this project's own
 * compiler: a random checkpoint, then `moec train scripts/examples/base.moe` (every weight unfrozen).
 *
 *     npm run build && node scripts/examples/make-base.mjs [--random-only] [options for `moec train`, e.g. --backend tfjs-node]
 *
 * The random checkpoint and the run lie in build/, which git ignores.
 */
import { spawnSync } from "node:child_process";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);
const model = new URL("examples/models/tiny-llama/", root);
const random = new URL("build/tiny-llama-random/", root);
const run = new URL("build/tiny-llama-run/", root);

/** Marsaglia's polar method over mulberry32: the same normal numbers on every machine. */
function normals(seed) {
  let state = seed | 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => {
    for (;;) {
      const u = 2 * uniform() - 1;
      const v = 2 * uniform() - 1;
      const s = u * u + v * v;
      if (s > 0 && s < 1) return u * Math.sqrt((-2 * Math.log(s)) / s);
    }
  };
}

/** Name and shape of every tensor of a LlamaForCausalLM with tied embeddings, as Hugging Face stores it. */
function tensors(config) {
  const { hidden_size: h, intermediate_size: f, head_dim: d } = config;
  const q = config.num_attention_heads * d;
  const kv = config.num_key_value_heads * d;
  const layer = {
    "input_layernorm": [h],
    "self_attn.q_proj": [q, h],
    "self_attn.k_proj": [kv, h],
    "self_attn.v_proj": [kv, h],
    "self_attn.o_proj": [h, q],
    "post_attention_layernorm": [h],
    "mlp.gate_proj": [f, h],
    "mlp.up_proj": [f, h],
    "mlp.down_proj": [h, f],
  };
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) =>
    Object.entries(layer).map(([name, shape]) => [`model.layers.${i}.${name}.weight`, shape]),
  );
  return [["model.embed_tokens.weight", [config.vocab_size, h]], ...layers.flat(), ["model.norm.weight", [h]]];
}

/** A safetensors file of float32: norms at one, all else normal with the configuration's `initializer_range`. */
function randomCheckpoint(config, seed) {
  const normal = normals(seed);
  const header = { __metadata__: { format: "pt" } };
  const values = [];
  for (const [name, shape] of tensors(config)) {
    const begin = 4 * values.length;
    const size = shape.reduce((a, b) => a * b, 1);
    for (let i = 0; i < size; i++) values.push(shape.length === 1 ? 1 : config.initializer_range * normal());
    header[name] = { dtype: "F32", shape, data_offsets: [begin, 4 * values.length] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc(-json.length & 7, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const data = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => data.writeFloatLE(value, 4 * i));
  return Buffer.concat([length, padded, data]);
}

/** A float32 safetensors file as bfloat16, rounded to nearest even: half the size, and no fact is lost by it. */
function toBfloat16(file) {
  const dataStart = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, dataStart).toString("utf8"));
  const chunks = [];
  let at = 0;
  const out = { __metadata__: { format: "pt" } };
  for (const [name, { shape, data_offsets: [begin, end] }] of Object.entries(header).filter(([name]) => name !== "__metadata__")) {
    const halves = Buffer.alloc((end - begin) / 2);
    for (let i = 0; i < halves.length / 2; i++) {
      const bits = file.readUInt32LE(dataStart + begin + 4 * i);
      halves.writeUInt16LE(((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff, 2 * i);
    }
    chunks.push(halves);
    out[name] = { dtype: "BF16", shape, data_offsets: [at, (at += halves.length)] };
  }
  const json = Buffer.from(JSON.stringify(out));
  const padded = Buffer.concat([json, Buffer.alloc(-json.length & 7, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...chunks]);
}

await mkdir(random, { recursive: true });
const config = JSON.parse(await readFile(new URL("config.json", model), "utf8"));
await writeFile(new URL("model.safetensors", random), randomCheckpoint(config, 1));
for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json"])
  await copyFile(new URL(name, model), new URL(name, random));

const options = process.argv.slice(2);
if (!options.includes("--random-only")) {
  const cli = fileURLToPath(new URL("dist/cli.cjs", root));
  const spec = fileURLToPath(new URL("scripts/examples/base.moe", root));
  const { status } = spawnSync(process.execPath, [cli, "train", spec, "--out", fileURLToPath(run), ...options], { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
  await writeFile(new URL("model.safetensors", model), toBfloat16(await readFile(new URL("adapter_model.safetensors", run))));
}
