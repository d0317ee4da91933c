"""What transformers and PEFT make of a folder of cases: reads cases.json there, writes results.json.

A case: {"name", "load": "made" | "saved" | "full", "adapter": folder}.
- made: PEFT adds a LoRA with random factors to the base, and saves it to the folder.
- saved: PEFT loads the folder's adapter onto the base.
- full: transformers loads the folder as a checkpoint of its own; no weight may be missing or left over.
"""
import json
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.manual_seed(1)
torch.set_num_threads(1)
folder = sys.argv[1]
with open(f"{folder}/cases.json") as f:
    todo = json.load(f)
tokenizer = AutoTokenizer.from_pretrained(todo["base"])
ids = [tokenizer(text)["input_ids"] for text in todo["texts"]]


def logits(model):
    model.eval()
    with torch.no_grad():
        return [model(torch.tensor([row])).logits[0].double().flatten().tolist() for row in ids]


def base():
    return AutoModelForCausalLM.from_pretrained(todo["base"], dtype=torch.float32)


results = {"ids": ids, "base": logits(base()), "cases": {}}
for case in todo["cases"]:
    extra = {}
    if case["load"] == "made":
        config = LoraConfig(**case["config"], init_lora_weights=False, task_type="CAUSAL_LM")
        model = get_peft_model(base(), config)
        model.save_pretrained(case["adapter"])
    elif case["load"] == "saved":
        model = PeftModel.from_pretrained(base(), case["adapter"])
        config = model.peft_config["default"]
        extra = {"r": config.r, "alpha": config.lora_alpha, "targets": sorted(config.target_modules), "fan_in_fan_out": config.fan_in_fan_out}
    else:
        model, info = AutoModelForCausalLM.from_pretrained(case["adapter"], dtype=torch.float32, output_loading_info=True)
        extra = {key: sorted(map(str, info[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    results["cases"][case["name"]] = {"logits": logits(model), **extra}
    if case.get("merge"):
        results["cases"][case["name"]]["merged"] = logits(model.merge_and_unload())
with open(f"{folder}/results.json", "w") as f:
    json.dump(results, f)
