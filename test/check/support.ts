import { readdirSync, readFileSync } from "node:fs";
import { checkText, type Program, type ProgramOptions } from "../../src/compiler/program.ts";
import type { Diagnostic } from "../../src/diagnostics/index.ts";
import { dtypeBits } from "../../src/formats/dtype.ts";
import { MemoryHost } from "../../src/formats/host.ts";
import { fromSpec } from "../../src/compiler/program.ts";

/** The library as it lies in the repository. */
export const library: ReadonlyMap<string, string> = new Map(
  readdirSync("std")
    .filter((n) => n.endsWith(".moe"))
    .sort()
    .map((n) => [`std/${n}`, readFileSync(`std/${n}`, "utf8")]),
);

/** A Llama of two layers, small enough that every size differs: a swapped pair of axes does not go unnoticed. */
export const tinyConfig = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 32,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: true,
} as const;

export type Shapes = Readonly<Record<string, readonly number[]>>;

/** The tensors of Hugging Face's Llama for a configuration, written down from its documentation, not from the compiler. */
export function llamaShapes(c: { readonly [K in keyof typeof tinyConfig]: unknown } = tinyConfig): Record<string, readonly number[]> {
  const [vocab, hidden, ffn] = [c.vocab_size as number, c.hidden_size as number, c.intermediate_size as number];
  const query = (c.num_attention_heads as number) * (c.head_dim as number);
  const key = (c.num_key_value_heads as number) * (c.head_dim as number);
  const shapes: Record<string, readonly number[]> = { "model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden] };
  if (c.tie_word_embeddings !== true) shapes["lm_head.weight"] = [vocab, hidden];
  for (let i = 0; i < (c.num_hidden_layers as number); i++) {
    const put = (name: string, shape: readonly number[]): void => void (shapes[`model.layers.${i}.${name}.weight`] = shape);
    put("input_layernorm", [hidden]);
    put("post_attention_layernorm", [hidden]);
    put("self_attn.q_proj", [query, hidden]);
    put("self_attn.k_proj", [key, hidden]);
    put("self_attn.v_proj", [key, hidden]);
    put("self_attn.o_proj", [hidden, query]);
    put("mlp.gate_proj", [ffn, hidden]);
    put("mlp.up_proj", [ffn, hidden]);
    put("mlp.down_proj", [hidden, ffn]);
  }
  return shapes;
}

/** A safetensors file of zeros, F32 where `dtypes` says nothing else. */
export function safetensors(shapes: Shapes, dtypes: Readonly<Record<string, string>> = {}): Uint8Array {
  const header: Record<string, { dtype: string; shape: readonly number[]; data_offsets: [number, number] }> = {};
  let offset = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const dtype = dtypes[name] ?? "F32";
    const end = offset + (dtypeBits[dtype as keyof typeof dtypeBits] / 8) * shape.reduce((n, s) => n * s, 1);
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const bytes = new Uint8Array(8 + text.length + offset);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(new TextEncoder().encode(text), 8);
  return bytes;
}

/** The folder that every spec of these tests calls "models/tiny-llama". */
export const baseFolder = "models/tiny-llama";

export interface Given {
  /** Where the spec would lie; "spec.moe" if not said. */
  readonly file?: string;
  /** Further files by path, for imports. */
  readonly files?: Readonly<Record<string, string>>;
  /** Fields of config.json in the place of the tiny model's; its weights follow `tensors`. */
  readonly config?: Readonly<Record<string, unknown>> | string;
  /** Shapes in the checkpoint, beside those of the tiny model; undefined takes a tensor out. */
  readonly tensors?: Readonly<Record<string, readonly number[] | undefined>>;
  /** Of those that are not F32. */
  readonly dtypes?: Readonly<Record<string, string>>;
  readonly set?: Readonly<Record<string, string>>;
  readonly options?: Partial<ProgramOptions>;
}

const plain = safetensors(llamaShapes());

/** Checks a spec beside a tiny checkpoint that lies in memory. */
export async function checkSource(text: string, given: Given = {}): Promise<Program> {
  const file = given.file ?? "spec.moe";
  const folder = fromSpec(file, baseFolder);
  const config = typeof given.config === "string" ? given.config : JSON.stringify({ ...tinyConfig, ...given.config });
  const shapes: Record<string, readonly number[]> = {};
  for (const [name, shape] of Object.entries({ ...llamaShapes(typeof given.config === "object" ? { ...tinyConfig, ...given.config } : tinyConfig), ...given.tensors })) if (shape) shapes[name] = shape;
  const weights = given.tensors || given.config ? safetensors(shapes, given.dtypes) : plain;
  const host = new MemoryHost([[file, text], [`${folder}/config.json`, config], [`${folder}/model.safetensors`, weights], ...Object.entries(given.files ?? {})]);
  return checkText(host, file, text, { library, set: new Map(Object.entries(given.set ?? {})), ...given.options });
}

/** 1-based line and column (UTF-16) of an offset. */
export function place(text: string, offset: number): string {
  const before = text.slice(0, offset).split("\n");
  return `${before.length}:${before.at(-1)!.length + 1}`;
}

/** A diagnostic on a few lines: code, place, message, then what else it says. */
export function render(d: Diagnostic, texts: ReadonlyMap<string, string>, main: string): string[] {
  const where = (span: { readonly file: string; readonly start: number; readonly end: number }): string => {
    const text = texts.get(span.file);
    const at = text === undefined ? String(span.start) : `${place(text, span.start)}-${place(text, span.end)}`;
    return span.file === main ? at : `${span.file}:${at}`;
  };
  return [
    `${d.code}${d.severity === "error" ? "" : ` (${d.severity})`}${d.primary ? ` ${where(d.primary.span)}` : ""} ${d.message}`,
    ...(d.primary?.text ? [`  ^ ${d.primary.text}`] : []),
    ...d.secondary.map((s) => `  ${where(s.span)}${s.text ? ` ${s.text}` : ""}`),
    ...d.notes.map((n) => `  note: ${n}`),
    ...(d.help ? [`  help: ${d.help}`] : []),
    ...d.fixes.flatMap((f) => [`  fix${f.safe ? "" : " (maybe)"}: ${f.title}: ${f.edits.map((e) => `${where(e.span)} ${JSON.stringify(e.text)}`).join(", ")}`]),
  ];
}

export function renderAll(program: Program): string[] {
  return program.diagnostics.flatMap((d) => render(d, program.texts, program.file));
}

/** A spec with one `at` clause on the linears of the MLP. */
export function spec(clauses: string, path = "layers.*.mlp.{gate_proj, up_proj, down_proj}", more = "", data = ""): string {
  return `base b = llama("${baseFolder}")\n\nadapter A on b {\n${data === "" ? "" : `  ${data}\n`}  at ${path} {\n${clauses.split("\n").map((l) => `    ${l}`).join("\n")}\n  }\n}\n${more}`;
}
