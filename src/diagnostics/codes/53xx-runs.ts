import { codes } from "../row.ts";

/** 53xx: training, evaluation, saved adapters, generation. */
export const runCodes = codes({
  MOE5301: {
    severity: "error",
    title: "training diverged",
    explain:
      "The loss, the balance loss or the gradient's norm became NaN or infinite. The step is given up: the model keeps the weights from before it, " +
      "and no checkpoint is written after it. Usually the learning rate is too high, or rises too fast: lower `lr`, add a `warmup`, or set `clip 1`. " +
      "Where it happens at the first step, look at the base checkpoint and at the data instead.",
  },
  MOE5310: {
    severity: "error",
    title: "adapter file lacks tensors",
    explain:
      "The saved adapter does not hold a tensor that the compiled adapter needs. An adapter is loaded whole or not at all: what is missing is never " +
      "filled with fresh values. Usually the file was saved from another spec: other sites, other groups, another number of experts.",
  },
  MOE5311: {
    severity: "error",
    title: "adapter file holds unknown tensors",
    explain:
      "The saved adapter holds tensors that the compiled adapter does not have, and that would be ignored silently. Load it with the spec that it was " +
      "saved from: `moec.json` beside it names the spec's file and its SHA-256.",
  },
  MOE5312: {
    severity: "error",
    title: "adapter tensor of another shape",
    explain: "A tensor of the saved adapter has the right name and the wrong shape: another rank, or another base. The message gives both shapes in the file's order.",
  },
  MOE5313: {
    severity: "error",
    title: "base tensor of another shape",
    explain:
      "The base checkpoint is not the one that the spec was compiled for: a tensor has another shape. Compile the spec again for this base, or give the path of the right one.",
  },
  MOE5314: {
    severity: "error",
    title: "PEFT adapter does not fit the spec",
    explain:
      "`adapter_config.json` says another rank, alpha or list of modules than the spec, so that its tensors would not fit or would count with another factor. Change the spec to what the file says.",
  },
  MOE5315: {
    severity: "error",
    title: "kind of PEFT adapter not supported",
    explain:
      "The folder holds a PEFT adapter that is no plain LoRA (DoRA, biases, ranks that vary by pattern, modules saved whole, another `peft_type`), or the spec is none. " +
      "Only what both sides can say is loaded; nothing is dropped silently.",
  },
  MOE5316: {
    severity: "error",
    title: "no adapter in the folder",
    explain:
      "A saved adapter is a folder with `adapter_model.safetensors`, and with `moec.json` or PEFT's `adapter_config.json` beside it. A run that was stopped before it ended holds " +
      "a `checkpoint` only: resume it to its end.",
  },
  MOE5317: {
    severity: "error",
    title: "manifest of another format",
    explain: "`moec.json` was written by another version of moec, whose format this one does not read, or it is damaged.",
  },
  MOE5318: {
    severity: "warning",
    title: "adapter saved from another text of the spec",
    explain:
      "The spec's text has changed since the adapter was saved. Names and shapes of its tensors still fit, or it would be refused; but what the text says of scales, routers or " +
      "activations is not in the tensors, so it may compute something else now. Load it with the spec that it was trained with.",
  },
  MOE5320: {
    severity: "error",
    title: "checkpoint of another run",
    explain:
      "Resuming promises the numbers of a run that was never stopped. That needs the same spec, base, data, seed, steps and batch, and the message says which of them differ. " +
      "To go on from the weights alone, load the adapter and start a new run.",
  },
  MOE5321: {
    severity: "error",
    title: "checkpoint is damaged",
    explain:
      "The checkpoint's `state.json`, or a file that it names, cannot be read. moec writes checkpoints so that a kill at any moment leaves a whole one, so something else changed or cut the files.",
  },
  MOE5322: {
    severity: "error",
    title: "nothing to resume",
    explain: "There is no checkpoint in the folder: no run was started there, or it ended before its first checkpoint. Start the run without `--resume`.",
  },
  MOE5323: {
    severity: "info",
    title: "resumed on another backend",
    explain: "A resumed run gives exactly the numbers of an unbroken one where both are on one backend. Two backends round differently.",
  },
  MOE5330: {
    severity: "error",
    title: "prompt is too long",
    explain: "The prompt has as many tokens as the base's context or more, so no room is left for an answer. Shorten it, or take a base with a longer context.",
  },
  MOE5331: {
    severity: "error",
    title: "nothing to train",
    explain: "The adapter has no weight that training could change. Give it experts that have weights, or `unfreeze` parts of the base.",
  },
  MOE5332: {
    severity: "error",
    title: "token outside the vocabulary",
    explain: "A row holds a token id that the base's embedding does not have: tokenizer and model do not belong together, or the tokenizer was extended and the model was not.",
  },
  MOE5333: {
    severity: "error",
    title: "no data given",
    explain: "Neither the call nor the spec's `train` block says which data to use.",
  },
  MOE5334: {
    severity: "error",
    title: "base does not match the compiled spec",
    explain:
      "The base's `config.json` differs from that of the base which the spec was compiled for, in a field that the model definition reads. The compiled code has those numbers built in: compile the spec for this base.",
  },
  MOE5335: {
    severity: "error",
    title: "prompt is empty",
    explain: "A model continues a text, so it needs at least one token to begin from. Most tokenizers put a beginning-of-sequence token in front of every text; this one does not.",
  },
  MOE5336: {
    severity: "error",
    title: "a field is not given",
    explain: "The adapter's router looks at a column of the data, which its spec declares as a `field`. A prompt is no row of the data, so its value has to be given: `moec generate out/A \"a prompt\" --field cluster=2`.",
  },
  MOE5340: {
    severity: "error",
    title: "case does not fit the spec",
    explain:
      "`moec verify` found no tensor in the case for something that the spec has, or one of another shape. A case names its tensors as published cases do: `x`, `C`, `mask`, " +
      "`base.weight` [out, in], `expert.0.A` [rank, in], `router.weight` [expert, in], `output`, `grad.x`; with `input_ids` it is about the whole model. The message says which name was looked for.",
  },
  MOE5341: {
    severity: "error",
    title: "spec has no place for the case",
    explain: "A case of one layer is computed at the first `at` clause that adapts a linear, a case of a block in the block of the model that has its linears. The spec has none.",
  },
  MOE5350: {
    severity: "error",
    title: "a merged weight that its dtype cannot hold",
    explain:
      "What comes of a weight and the adapter is beyond the greatest number of the checkpoint's dtype (65504 in float16), or is NaN, because the adapter or the base is. " +
      "Nothing was written. An adapter that trained well does not do that: look at its losses in `metrics.jsonl`.",
  },
  MOE5351: {
    severity: "error",
    title: "a dtype that takes no merge",
    explain:
      "A merged weight is written in the dtype that it has in the checkpoint, which is float64, float32, float16 or bfloat16. Rounded to whole numbers it would be another weight. Take the base in one of these dtypes.",
  },
});
