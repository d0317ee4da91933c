import { expect } from "vitest";
import { checkText, compileAdapter } from "../../src/compiler/index.ts";
import { MemoryHost } from "../../src/formats/host.ts";
import { checkSource, library, safetensors } from "../check/support.ts";
import { numbers } from "../passes/support.ts";
import { near, rows, sum } from "../std/by-hand.ts";
import { run, site, valuesOf } from "../std/support.ts";
import { clean, does, expert, gives, on, routed, router, type Case, type Cases } from "./cases.ts";

const sizes = { in: 4, out: 3, sample: 2, position: 3 };
const plain = "always lora(rank: 1)";
const own = (body: string): string => expert("weight l [out] = ones()", body);
const start = (initial: string, axes = "[in, out]"): string => expert(`weight A ${axes} = ${initial}`, axes === "[out]" ? "(y [out]) -> [out] = y * A" : "(x [in]) -> [out] = x @ A");
const twoGroups = "experts e[2] = lora(rank: 1)\nexperts f[1] = lora(rank: 2)\n";
const balanced = (balance: string, route = "softmax()"): string => on(`experts e[3] = lora(rank: 1)\nroute ${route}\nbalance own()`, `balance own() {\n  ${balance}\n}\n`);
/** A router that keeps a state, with further items. */
const keeping = (items: string, result = "softmax(x @ W + b, over: expert)"): string => routed(`router own() {\n  weight W [in, expert] = normal(0.02)\n  ${items}\n  (x [in]) -> [expert] = ${result}\n}\n`);
const state = "state b [expert] = zeros()\n  update b ";
/** A router over positions whose body is of logits l [position, expert]. */
const over = (body: string): string => routed(`router own() {\n  weight W [in, expert] = normal(0.02)\n  (x [position, in], prompt [position], mask [position]) -> [position, expert] {\n    axis source = position\n    l = x @ W\n    p = prompt * mask\n    ${body}\n  }\n}\n`);

/** A model of one stack with a checkpoint of its own, at models/own. */
function model(name: string, codes: string, parts: { readonly items?: string; readonly block?: string; readonly sum?: string; readonly body?: string; readonly config?: Readonly<Record<string, unknown>>; readonly tensors?: Readonly<Record<string, readonly number[]>> } = {}): Case {
  const text = `model own(config) {
  config {
    width: int
    depth: int = 2
  }
  axis vocab  = 8
  axis hidden = config.width
  axis wide   = 4
  weight table [vocab, hidden]
  ${parts.items ?? ""}
  block layers[config.depth](x [hidden]) -> [hidden] {
    ${parts.block ?? "linear up [hidden, wide]"}
    ${parts.sum ?? "x"} + rename(up(x), wide, to: hidden)
  }
  (tokens [position]) -> [position, vocab] ${parts.body ?? "= layers(gather(table, tokens, over: vocab)) @ table"}
}
base b = own("models/own")
adapter A on b {
  at layers.*.up { always lora(rank: 1) }
}
`;
  const shapes = parts.tensors ?? { "table.weight": [8, 4], "layers.0.up.weight": [4, 4], "layers.1.up.weight": [4, 4] };
  return does(`${name}: ${codes || "is right"}`, async () => {
    const host = new MemoryHost([["spec.moe", text], ["models/own/config.json", JSON.stringify({ width: 4, ...parts.config })], ["models/own/model.safetensors", safetensors(shapes)]]);
    const program = await checkText(host, "spec.moe", text, { library });
    expect(program.diagnostics.map((d) => d.code).sort()).toEqual(codes.split(" ").filter((c) => c !== "").sort());
  });
}
const layersOf = (more: (layer: number) => Readonly<Record<string, readonly number[]>>): Record<string, readonly number[]> => ({ "table.weight": [8, 4], ...more(0), ...more(1) });

/** R5, definitions, and R6, models. */
export const definitions: Cases = {
  "R5.1": [
    gives("MOE1015", "no signature", "expert own() {\n  weight l [out] = ones()\n}\n"),
    gives("MOE1015", "two", "expert own() {\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l\n  (y [out]) -> [out] = y * l\n}\n"),
    gives("MOE1016", "a parameter without a type", "expert own(rank) {\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l * rank\n}\n"),
    clean("one token and one expert, mapped over the others", own("(y [out]) -> [out] = y * l - mean(y)")),
    gives("MOE2015", "what is not given", own("(z [out]) -> [out] = z * l")),
  ],
  "R5.2": [
    clean("x, y and W", expert("weight l [out] = ones()", "(x [in], y [out], W [in, out]) -> [out] = l * (y - x @ W)")),
    gives("MOE3002", "another result", expert("weight l [in] = ones()", "(x [in]) -> [in] = x * l")),
    does("what it returns is added", async () => {
      const made = await site("always own()", sizes, numbers(1), "expert own() {\n  weight l [out] = ones()\n  (x [in], y [out], W [in, out]) -> [out] = l * (2 * y - x @ W)\n}\n");
      const [W, l] = [valuesOf(made, "base.weight"), valuesOf(made, "l")];
      rows(run(made, "output"), 3).forEach((y, t) => y.forEach((v, o) => near(v, (1 + l[o]!) * sum([0, 1, 2, 3].map((i) => valuesOf(made, "x")[4 * t + i]! * W[4 * o + i]!)))));
    }),
  ],
  "R5.3": [
    clean("all that there is", routed(router("(x [in], mask, prompt, kind [kind], c [c], group [expert, group], first_pass [hidden]) -> [expert]", "= x @ W * mask * prompt + kind @ K + c @ C + sum(group, over: group) + first_pass @ V", "weight W [in, expert] = normal(0.02)\n  weight K [kind, expert] = normal(0.02)\n  weight C [c, expert] = normal(0.02)\n  weight V [hidden, expert] = normal(0.02)"), "own()", "kinds a, b\n  field c[3]")),
    gives("MOE2026", "kinds, and none are listed", routed(router("(kind [kind]) -> [expert]", "= kind @ K", "weight K [kind, expert] = normal(0.02)"))),
    gives("MOE2015", "a field that the adapter lacks", on("experts e[2] = lora(rank: 1)\nexperts f[1] = lora(rank: 1)\nroute cluster_and_universal()")),
    gives("MOE3002", "another result", routed(router("(x [in]) -> [in]", "= x * sum(W, over: expert)"))),
    does("group is 1 where an expert is of a group", async () => {
      const made = await site(`${twoGroups}route own()`, sizes, numbers(2), router("(group [expert, group]) -> [expert]", "= sum(group * (1 + index(group)), over: group) * w", "weight w [] = ones()"));
      const [w] = valuesOf(made, "router.w") as [number];
      rows(run(made, "gates"), 3).forEach((g) => [1, 1, 2].forEach((v, e) => near(g[e]!, v * w)));
    }),
    does("what its body names, balances may ask for", async () => {
      const made = await site("experts e[3] = lora(rank: 1)\nroute own()\nbalance ask() unmasked", sizes, numbers(3), `${router("(x [in]) -> [expert]", "{\n    half = 0.5 * (x @ W)\n    half + 1\n  }")}balance ask() {\n  (half [sample, position, expert]) -> [] = sum(half)\n}\n`);
      near(run(made, "balance")[0]!, sum(run(made, "gates").map((g) => g - 1)));
    }),
  ],
  "R5.4": [
    clean("what there is", on(`${twoGroups}route softmax()\nbalance own() { a -> e\n b -> f }`, "balance own() {\n  (gates [sample, position, expert], mask [sample, position], matched [sample, expert], group [expert, group], logits [sample, position, expert]) -> [] {\n    sum(gates * mask) * sum(matched * 1) * sum(group) + sum(logits)\n  }\n}\n")),
    gives("MOE2015", "what the router does not name", balanced("(gates [sample, position, expert], mask [sample, position], margin [sample, position, expert]) -> [] = sum(gates * mask * margin)")),
    gives("MOE3002", "no single number", balanced("(gates [sample, position, expert], mask [sample, position]) -> [] = sum(gates * mask, over: expert)")),
    gives("MOE2029", "weights of its own", balanced("weight w [] = ones()\n  (gates [sample, position, expert], mask [sample, position]) -> [] = w * sum(gates * mask)")),
  ],
  "R5.5": [
    ...["zeros()", "ones()", "constant(0.5)", "normal(0.02)", "uniform(0.1)", "kaiming_uniform(a: sqrt(5))", "orthogonal(gain: 2)", "orthogonal()", "singular(W, along: in)", "singular(W, along: out, scale: 2)"].map((i) => {
      const axes = i.includes("along: in") ? "in, rank" : i.includes("along: out") ? "rank, out" : "in, out";
      return clean(i, axes === "in, out" ? start(i) : on("always own()", `expert own(rank: int = 2) {\n  weight A [${axes}] = ${i}\n  weight B [${axes === "in, rank" ? "rank, out" : "in, rank"}] = zeros()\n  (x [in]) -> [out] = ${axes === "in, rank" ? "x @ A @ B" : "x @ B @ A"}\n}\n`));
    }),
    clean("norm(W, over: in)", start("norm(W, over: in)", "[out]")),
    gives("MOE2016", "another", start("random()")),
    gives("MOE2016", "none", expert("weight A [in, out]", "(x [in]) -> [out] = x @ A")),
    gives("MOE3002", "a norm along the wrong side", start("norm(W, over: out)", "[out]")),
    gives("MOE2009", "a number that the frozen weight has not", on("always own()", "expert own(rank: int = 2) {\n  weight A [in, rank]  = singular(W, along: in, first: min(in, out) - 1)\n  weight B [rank, out] = zeros()\n  (x [in]) -> [out] = x @ A @ B\n}\n")),
    does("frozen is no weight that is trained; nth is the expert's number at its site", async () => {
      const text = "expert own(rank: int = 1) {\n  frozen A [in, rank]  = singular(W, along: in, first: 2 * nth)\n  weight B [rank, out] = zeros()\n  (x [in]) -> [out] = x @ A @ B\n}\n";
      const made = await site("experts e[1] = nothing()\nexperts f[3] = own()\nroute softmax()", { ...sizes, in: 9, out: 9 }, numbers(1), text);
      expect(made.module.weights.find((w) => w.name.endsWith("f.A"))).toMatchObject({ trainable: false, initializer: { kind: "singular", axis: "in", firsts: [2, 4, 6] } });
    }),
  ],
  "R5.6": [gives("MOE3020", "one that does not", expert("weight l [out] = ones()\n  weight m [out] = ones()", "(y [out]) -> [out] = y * l * stop(m)")), clean("one that does", own("(y [out]) -> [out] = y * l"))],
  "R5.7": [
    gives("MOE2011", "one that does not hold", on("always own(rank: 3)", 'expert own(rank: int) {\n  require rank < 3, "too much"\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l * rank\n}\n')),
    clean("one that does", on("always own(rank: 2)", 'expert own(rank: int) {\n  require rank < 3, "too much"\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l * rank\n}\n')),
    does("an axis of a size", async () => {
      const made = await site("always own()", sizes, numbers(1), "expert own() {\n  axis wide = 2 * in\n  weight A [in, wide] = zeros()\n  weight B [wide, out] = zeros()\n  (x [in]) -> [out] = x @ A @ B\n}\n");
      expect(valuesOf(made, "A")).toHaveLength(4 * 8);
    }),
  ],
  "R5.8": [
    clean("bare, with axes, with types", `fn f(x) = x + 1\nfn g(x [over], over: axis, by: float = 2) -> [over] = x * by / sum(x, over: over)\n${own("(y [out]) -> [out] = f(y) * l * g(y, over: out, by: 3)")}`),
    gives("MOE3002", "a result of other axes", `fn g(x [over], over: axis) -> [over] = sum(x, over: over)\n${own("(y [out]) -> [out] = l * g(y, over: out)")}`),
    gives("MOE2003", "an argument that it lacks", `fn g(x, by: float) = x * by\n${own("(y [out]) -> [out] = l * g(y)")}`),
  ],
  "R5.9": [
    clean("bindings, axis and require", own("(y [out]) -> [out] {\n    axis other = out\n    require out > 1\n    z = rename(y, out, to: other)\n    l * y * sum(z, over: other)\n  }")),
    gives("MOE1014", "no result", own("(y [out]) -> [out] {\n    z = y * l\n  }")),
    gives("MOE1014", "two results", own("(y [out]) -> [out] {\n    y * l\n    y\n  }")),
    gives("MOE1019", "an item in a body", expert("", "(y [out]) -> [out] {\n    weight l [out] = ones()\n    y * l\n  }")),
  ],
  "R5.10": [
    gives("MOE2040", "one that does not hold", on("always own(by: 3)", 'expert own(by: int) {\n  expect by < 3, "much"\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l * by\n}\n')),
    clean("one that does", on("always own(by: 2)", 'expert own(by: int) {\n  expect by < 3, "much"\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l * by\n}\n')),
  ],
  "R5.11": [
    does("numbers and axes", async () => {
      const made = await site(`${twoGroups}route own()`, sizes, numbers(4), router("(x [in], group [expert, group]) -> [expert]", "{\n    size = count(group, over: group)\n    0 * (x @ W) + experts + 10 * groups + 100 * expert + 1000 * size\n  }"));
      for (const g of run(made, "gates")) expect(g).toBe(3 + 20 + 300 + 2000);
    }),
  ],
  "R5.12": [
    gives("MOE2042", "what drop left", routed(router("(x [in]) -> [expert]", "= softmax(drop(x, 0.1) @ W, over: expert)"))),
    gives("MOE3025", "a balance from which no weight learns", on(`experts e[3] = lora(rank: 1)\nroute own()\nbalance ask()`, `${router("(x [in]) -> [expert]", "{\n    size = sum(x * x)\n    softmax(x @ W, over: expert)\n  }")}balance ask() {\n  (size [sample, position], mask [sample, position]) -> [] = sum(size * mask)\n}\n`)),
    gives("MOE2047", "the same balance twice", on(`${twoGroups}route softmax()\nbalance importance()\nbalance 2 * importance()`)),
  ],
  "R5.13": [
    clean("a state and its update", keeping(`${state}{\n    load = sum(gates * mask, over: [sample, position])\n    b + 0.1 * sign(mean(load) - load)\n  }`)),
    gives("MOE2030", "no update", keeping("state b [expert] = zeros()")),
    gives("MOE2001", "an update of no state", keeping(`${state}= 0.9 * b\n  update c = 0`)),
    gives("MOE2013", "two updates", keeping(`${state}= 0.9 * b\n  update b = b`)),
    gives("MOE2029", "an expert's", expert("weight l [out] = ones()\n  state b [out] = zeros()", "(y [out]) -> [out] = y * l * b")),
    gives("MOE2031", "single tokens", keeping(`${state}= b + sum(gates * gates, over: position)`).replace("sum(gates * gates, over: position)", "greatest(gates, over: [sample, position])")),
    gives("MOE2031", "what is trained", keeping(`${state}= b + sum(W, over: in)`)),
  ],
  "R5.14": [
    clean("forward", over("softmax(cumsum(l * p, over: position), over: expert)")),
    clean("the prompt", over("softmax(l + sum(l * p, over: position), over: expert)")),
    clean("back, with the token itself", over("past = index(source) <= index(position)\n    s    = sum(rename(l, position, to: source) * l, over: expert)\n    a    = softmax(where(past, s, -1e9), over: source)\n    softmax(l * p + dot(a, rename(l, position, to: source), over: source), over: expert)")),
    gives("MOE3023", "all positions", over("softmax(l * p - mean(l, over: position), over: expert)")),
    gives("MOE3023", "what is not the prompt", over("softmax(l + sum(l * (1 - p), over: position), over: expert)")),
    gives("MOE3023", "how many there are", over("softmax(l * p / count(l, over: position), over: expert)")),
  ],
  "R5.15": [
    clean("factors of experts that are alike", on("experts e[4] = goat(rank: 1, of: 4)\nroute arrow(2)")),
    gives("MOE2015", "of experts that have no such weight", on("experts e[4] = ia3()\nroute arrow(2)")),
  ],
  "R5.16": [
    clean("a tensor and an axis", routed(router("(c [c]) -> [expert]", "= c @ C", "weight C [c, expert] = normal(0.02)"), "own()", "field c[4]")),
    does("a number and an axis", async () => {
      const made = await site("always own(rank: 2)", sizes, numbers(1), "expert own(rank: int) {\n  weight A [in, rank] = zeros()\n  weight B [rank, out] = zeros()\n  (x [in]) -> [out] = x @ A @ B / rank\n}\n");
      expect(valuesOf(made, "A")).toHaveLength(8);
    }),
  ],

  "R6.1": [
    model("a field with a default", ""),
    model("an unknown field", "", { config: { other: 1 } }),
    model("another value", "MOE3011 MOE3011", { config: { depth: 3 }, tensors: { "table.weight": [8, 4], "layers.0.up.weight": [4, 4] } }),
    model("a field that is missing", "MOE5106", { config: { width: undefined } }),
    gives("MOE3017", "another architecture", on(plain), { config: { model_type: "mamba" } }),
    does("max_position_embeddings is the length that a program knows its base by", async () => {
      const program = await checkSource(on(plain), { config: { max_position_embeddings: 77 } });
      expect((await compileAdapter(program, program.checked.adapters[0]!)).manifest.base.context).toBe(77);
    }),
  ],
  "R6.2": [
    model("a bias", "", { block: "linear up [hidden, wide] bias config.width > 2", tensors: layersOf((l) => ({ [`layers.${l}.up.weight`]: [4, 4], [`layers.${l}.up.bias`]: [4] })) }),
    model("a bias that the file lacks, in two layers", "MOE3011 MOE3011", { block: "linear up [hidden, wide] bias true" }),
    model("one that is not there", "", { items: 'linear head [hidden, vocab] from "head" when config.width > 4' }),
    gives("MOE3018", "a quantised base", on(plain), { config: { quantization_config: { bits: 4 } } }),
  ],
  "R6.3": [
    model("two stacks", "MOE2014", { items: "block more[2](x [hidden]) -> [hidden] {\n    linear up [hidden, wide]\n    rename(up(x), wide, to: hidden)\n  }" }),
    model("a block in a block", "", {
      block: "block mlp(x [hidden]) -> [hidden] {\n      linear more [hidden, wide]\n      rename(more(x), wide, to: hidden)\n    }\n    linear up [hidden, wide]",
      sum: "x + mlp(x)",
      tensors: layersOf((l) => ({ [`layers.${l}.up.weight`]: [4, 4], [`layers.${l}.mlp.more.weight`]: [4, 4] })),
    }),
  ],
  "R6.4": [
    model("the output side first", "", { items: 'linear head [hidden, vocab] from "head"', body: "= head(layers(gather(table, tokens, over: vocab)))", tensors: { "table.weight": [8, 4], "layers.0.up.weight": [4, 4], "layers.1.up.weight": [4, 4], "head.weight": [8, 4] } }),
    model("the other way round", "MOE3012", { items: 'linear head [hidden, vocab] from "head"', body: "= head(layers(gather(table, tokens, over: vocab)))", tensors: { "table.weight": [8, 4], "layers.0.up.weight": [4, 4], "layers.1.up.weight": [4, 4], "head.weight": [4, 8] } }),
    model("the other way round, and it says so", "", { items: 'linear head [hidden, vocab] stored [hidden, vocab] from "head"', body: "= head(layers(gather(table, tokens, over: vocab)))", tensors: { "table.weight": [8, 4], "layers.0.up.weight": [4, 4], "layers.1.up.weight": [4, 4], "head.weight": [4, 8] } }),
    model("axes that are not its own", "MOE3002", { block: "linear up [hidden, wide] stored [hidden, vocab]" }),
  ],
  "R6.5": [
    model("another name", "", { block: 'linear up [hidden, wide] from ".wide"', tensors: layersOf((l) => ({ [`layers.${l}.wide.weight`]: [4, 4] })) }),
    model("the first that the file has", "", { block: 'linear up [hidden, wide] from ".wide" or ".broad"', tensors: layersOf((l) => ({ [`layers.${l}.broad.weight`]: [4, 4] })) }),
  ],
  "R6.6": [
    model("a tensor that nothing knows", "MOE3013", { tensors: { ...layersOf((l) => ({ [`layers.${l}.up.weight`]: [4, 4] })), extra: [3] } }),
    model("one that is passed over", "", { items: 'unused "extra"', tensors: { ...layersOf((l) => ({ [`layers.${l}.up.weight`]: [4, 4] })), extra: [3] } }),
  ],
};
