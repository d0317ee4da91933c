import { proveMerge } from "../check/index.ts";
import { checkText, type Program } from "../compiler/index.ts";
import type { CodeRow, Diagnostic } from "../diagnostics/index.ts";
import { MemoryHost } from "../formats/host.ts";
import { encodeSafetensors } from "../formats/safetensors.ts";
import { library } from "./library.ts";

/** The folder that the texts of `moec explain` and of the documentation call their base. */
export const specimenFolder = "models/tiny-llama";

/** A Llama of two layers in which every size differs: what a spec in a text is checked against, where no disk is. */
const config = {
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
};

/** Checks a text beside a small checkpoint in memory. */
export async function checkSpecimen(text: string, file = "spec.moe"): Promise<Program> {
  const host = new MemoryHost([
    [file, text],
    [`${specimenFolder}/config.json`, JSON.stringify(config)],
    [`${specimenFolder}/model.safetensors`, encodeSafetensors(tensors(), { format: "pt" })],
  ]);
  return checkText(host, file, text, { library: library() });
}

/** All that is said of a program, with what is said where something is asked of it beside a check. */
export function diagnosticsOf({ checked, diagnostics }: Program, asked: CodeRow["asked"]): readonly Diagnostic[] {
  if (asked === undefined) return diagnostics;
  const { context, adapters } = checked;
  return [...diagnostics, ...adapters.flatMap((a) => proveMerge(context, a.plan, a.base.model, { fields: new Map() }).faults)];
}

function tensors(): { readonly name: string; readonly shape: readonly number[]; readonly data: Float32Array }[] {
  const { vocab_size: vocab, hidden_size: hidden, intermediate_size: ffn } = config;
  const key = config.num_key_value_heads * config.head_dim;
  const zeros = (name: string, ...shape: number[]) => ({ name: `model.${name}.weight`, shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => [
    zeros(`layers.${i}.input_layernorm`, hidden),
    zeros(`layers.${i}.post_attention_layernorm`, hidden),
    zeros(`layers.${i}.self_attn.q_proj`, hidden, hidden),
    zeros(`layers.${i}.self_attn.k_proj`, key, hidden),
    zeros(`layers.${i}.self_attn.v_proj`, key, hidden),
    zeros(`layers.${i}.self_attn.o_proj`, hidden, hidden),
    zeros(`layers.${i}.mlp.gate_proj`, ffn, hidden),
    zeros(`layers.${i}.mlp.up_proj`, ffn, hidden),
    zeros(`layers.${i}.mlp.down_proj`, hidden, ffn),
  ]);
  return [zeros("embed_tokens", vocab, hidden), zeros("norm", hidden), ...layers.flat()];
}
