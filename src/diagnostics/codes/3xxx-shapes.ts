import { codes } from "../row.ts";
import { adapting, ownBalance, ownExpert, ownRouter } from "./example.ts";

/** 3xxx: axes, sizes, paths and the checkpoint. */
export const shapeCodes = codes({
  MOE3001: {
    severity: "error",
    title: "axes do not fit",
    explain: "Tensors are aligned by the names of their axes. `@` contracts the one axis that both sides share; a declared parameter must have the axes it is declared with.",
    bad: ownExpert("expert own() {\n  weight M [in, out] = zeros()\n  (x [in], y [out]) -> [out] = x @ y * sum(M, over: in)\n}"),
    good: ownExpert("expert own() {\n  weight M [in, out] = zeros()\n  (x [in]) -> [out] = x @ M\n}"),
  },
  MOE3002: {
    severity: "error",
    title: "wrong result axes",
    explain: "What a definition computes does not have the axes it declares, or one axis stands twice.",
    bad: ownExpert("expert own() {\n  weight M [in, out] = zeros()\n  (x [in]) -> [out] = x * M\n}"),
    good: ownExpert("expert own() {\n  weight M [in, out] = zeros()\n  (x [in]) -> [out] = x @ M\n}"),
  },
  MOE3003: {
    severity: "error",
    title: "unknown axis",
    explain: "An axis is named that is not in scope. In an expert: `in`, `out` and whatever the definition declares; in a router also `expert`; in a balance also `sample` and `position`.",
    bad: ownRouter("router own() {\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] = softmax(x @ W, over: exprt)\n}"),
    good: ownRouter("router own() {\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] = softmax(x @ W, over: expert)\n}"),
  },
  MOE3004: {
    severity: "error",
    title: "axis collision",
    explain: "A tensor would have two axes of one name.",
    bad: ownExpert("expert own() {\n  weight l [out] = ones()\n  (y [out]) -> [out] {\n    axis other = out\n    pairs = y * rename(y, out, to: other)\n    sum(rename(pairs, other, to: out), over: out) * l\n  }\n}"),
    good: ownExpert("expert own() {\n  weight l [out] = ones()\n  (y [out]) -> [out] {\n    axis other = out\n    pairs = y * rename(y, out, to: other)\n    sum(pairs, over: other) * l\n  }\n}"),
  },
  MOE3005: {
    severity: "error",
    title: "sizes do not fit",
    explain: "An axis has a whole size of at least 1, known from the checkpoint, a parameter or the site; splitting and merging keep the number of elements.",
    bad: adapting("experts e[0] = lora(rank: 4)\nroute softmax()"),
    good: adapting("experts e[1] = lora(rank: 4)\nroute softmax()"),
  },
  MOE3006: {
    severity: "error",
    title: "k against a size",
    explain: "The k greatest of n need 1 <= k <= n.",
    bad: ownRouter("router own() {\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] = softmax(x @ W, over: expert) * is_top(x @ W, 3, over: expert)\n}"),
    good: ownRouter("router own() {\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] = softmax(x @ W, over: expert) * is_top(x @ W, 1, over: expert)\n}"),
  },
  MOE3010: {
    severity: "error",
    title: "a path that matches nothing",
    explain: "Every path, and every name inside its braces, must name something in the model. Other tools ignore such names in silence and train less than was asked for.",
    bad: adapting("always lora(rank: 4)", "", "layers.*.mpl.gate_proj"),
    good: adapting("always lora(rank: 4)", "", "layers.*.mlp.gate_proj"),
  },
  MOE3011: {
    severity: "error",
    title: "a tensor is missing",
    explain: "The model definition and config.json ask for a tensor that the checkpoint does not have. Loading it all the same would leave random numbers in its place.",
  },
  MOE3012: {
    severity: "error",
    title: "a tensor has another shape",
    explain: "A tensor's shape in the checkpoint is not what config.json makes it.",
  },
  MOE3013: {
    severity: "warning",
    title: "tensors not used",
    explain: "The checkpoint has tensors that the model definition does not know: it may be of another architecture, whose result then differs.",
  },
  MOE3014: {
    severity: "error",
    title: "a path too wide",
    explain: "A path may hold at most four `**`.",
    bad: adapting("always lora(rank: 4)", "", "**.**.**.**.**.gate_proj"),
    good: adapting("always lora(rank: 4)", "", "**.gate_proj"),
  },
  MOE3015: {
    severity: "error",
    title: "no linear layer here",
    explain: "Experts adapt linear layers; the path names blocks or other weights.",
    bad: adapting("always lora(rank: 4)", "", "layers.*.mlp"),
    good: adapting("always lora(rank: 4)", "", "layers.*.mlp.*_proj"),
  },
  MOE3016: {
    severity: "error",
    title: "adapted twice",
    explain: "Two clauses put experts on the same layer.",
    bad: "base llama = llama(\"models/tiny-llama\")\n\nadapter A on llama {\n  at layers.*.mlp.gate_proj { always lora(rank: 4) }\n  at layers.0.mlp.* { always lora(rank: 8) }\n}\n",
    good: "base llama = llama(\"models/tiny-llama\")\n\nadapter A on llama {\n  at layers.*.mlp.gate_proj { always lora(rank: 4) }\n  at layers.0.mlp.up_proj { always lora(rank: 8) }\n}\n",
  },
  MOE3020: {
    severity: "error",
    title: "a weight that no gradient reaches",
    explain: "Every trainable weight must reach the loss by a way along which gradients flow; this one does not and would keep its initial value.",
    bad: ownExpert("expert own() {\n  weight l [out] = ones()\n  weight m [out] = ones()\n  (y [out]) -> [out] = y * l\n}"),
    good: ownExpert("expert own() {\n  weight l [out] = ones()\n  weight m [out] = ones()\n  (y [out]) -> [out] = y * l + m\n}"),
  },
  MOE3021: {
    severity: "error",
    title: "a statistic that counts padding",
    explain: "A balance that sums over positions must leave out padding: it takes `mask`, or the spec says `unmasked`. Padding in the statistic changes the loss by an order of magnitude.",
    bad: ownBalance("balance own() {\n  (gates [sample, position, expert]) -> [] = variance(sum(gates, over: [sample, position]))\n}"),
    good: ownBalance("balance own() {\n  (gates [sample, position, expert], mask [sample, position]) -> [] = variance(sum(gates * mask, over: [sample, position]))\n}"),
  },
  MOE3023: {
    severity: "error",
    title: "a router that sees the future",
    explain: "A language model gives each token from those before it. A router whose gates depend on later positions (expert choice, Soft MoE, the mean of a whole sample) sees in training what it will not have when a text is generated, and one that depends on the other samples of the batch gives a text another continuation in other company. A router may look at the token, at what came before it (`cumsum` over positions), and at the prompt, which is all there beforehand: `sum(x * prompt, over: position)`.",
    bad: ownRouter("router own() {\n  weight W [in, expert] = zeros()\n  (x [position, in], mask [position]) -> [expert] {\n    whole = sum(x * mask, over: position) / max(sum(mask, over: position), 1)\n    softmax(whole @ W, over: expert)\n  }\n}"),
    good: ownRouter("router own() {\n  weight W [in, expert] = zeros()\n  (x [position, in], prompt [position]) -> [expert] {\n    whole = sum(x * prompt, over: position) / max(sum(prompt, over: position), 1)\n    softmax(whole @ W, over: expert)\n  }\n}"),
  },
  MOE3022: {
    severity: "warning",
    title: "a balance without weight",
    explain: "A balance whose weight is 0 has no effect; the authors' script ships like that, and trains an unconstrained mixture.",
    bad: adapting("experts e[2] = lora(rank: 4)\nexperts f[2] = lora(rank: 4)\nroute softmax()\nbalance 0 * localized() { facts -> e  tasks -> f }"),
    good: adapting("experts e[2] = lora(rank: 4)\nexperts f[2] = lora(rank: 4)\nroute softmax()\nbalance 0.1 * localized() { facts -> e  tasks -> f }"),
  },
});
