"""Random checkpoints of the architectures that the model definitions cover, with what transformers computes on them.

    python models.py FOLDER

writes FOLDER/NAME (config.json, model.safetensors) and FOLDER/NAME.case.safetensors: input_ids, labels, logits, loss and
the gradient of every weight, in float64 where transformers does not insist on float32.
"""
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
GPT2 = dict(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4)
CASES = {
    # A window shorter than the text.
    "mistral": (MistralConfig, MistralForCausalLM, dict(sliding_window=4, head_dim=8)),
    # A window that is configured and not used, biases on query, key and value, a tied head.
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, dict(use_sliding_window=False, sliding_window=4, tie_word_embeddings=True)),
    # Biases everywhere, one key-value head for each query head, another base of the rotation.
    "llama-biased": (LlamaConfig, LlamaForCausalLM, dict(attention_bias=True, mlp_bias=True, num_key_value_heads=4, rope_parameters={"rope_type": "default", "rope_theta": 500000.0})),
    # As save_pretrained writes it: a tied head, an MLP four times as wide as the model.
    "gpt2": (GPT2Config, GPT2LMHeadModel, GPT2),
    "gpt2-untied": (GPT2Config, GPT2LMHeadModel, GPT2 | dict(n_inner=40, tie_word_embeddings=False, scale_attn_weights=False, layer_norm_epsilon=1e-3)),
    # As the Hub's own files are: without the prefix, with the masks that old versions kept as buffers.
    "gpt2-hub": (GPT2Config, GPT2LMHeadModel, GPT2 | dict(n_inner=48)),
}


def save(model, to, hub):
    """Writes a checkpoint; returns what its file calls a parameter."""
    if not hub:
        model.save_pretrained(to)
        return lambda name: name
    model.config.save_pretrained(to)
    tensors = {name.removeprefix("transformer."): p.detach() for name, p in model.named_parameters()}
    places = model.config.n_positions
    for i in range(model.config.n_layer):
        tensors[f"h.{i}.attn.bias"] = torch.tril(torch.ones(1, 1, places, places, dtype=torch.uint8))
        tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(tensors, os.path.join(to, "model.safetensors"), metadata={"format": "pt"})
    return lambda name: name.removeprefix("transformer.")


folder = sys.argv[1]
for seed, (name, (config_class, model_class, special)) in enumerate(CASES.items()):
    torch.manual_seed(seed)
    config = config_class(**(special if config_class is GPT2Config else SMALL | special))
    config._attn_implementation = "eager"
    model = model_class(config).eval()
    for p in model.parameters():
        p.data.normal_(0, 0.3)
    called = save(model, os.path.join(folder, name), name.endswith("-hub"))
    model.double()
    ids = torch.randint(3, 64, (2, 11))
    out = model(input_ids=ids, labels=ids)
    out.loss.backward()
    tensors = {"input_ids": ids, "labels": ids.clone(), "logits": out.logits.detach().contiguous(), "loss": out.loss.detach().reshape(1)}
    tensors |= {f"grad.{called(n)}": p.grad.contiguous() for n, p in model.named_parameters()}
    save_file(tensors, os.path.join(folder, f"{name}.case.safetensors"))
