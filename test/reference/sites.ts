import { expect } from "vitest";
import { proveMerge, type Fixed } from "../../src/check/index.ts";
import { compileAdapter } from "../../src/compiler/index.ts";
import { checkSource } from "../check/support.ts";
import { numbers } from "../passes/support.ts";
import { near, range, rows } from "../std/by-hand.ts";
import { run, site, valuesOf } from "../std/support.ts";
import { clean, does, gives, on, routed, router, type Case, type Cases } from "./cases.ts";

const base = 'base b = llama("models/tiny-llama")\n';
const lora = "always lora(rank: 1)";
const at = (path: string, clauses = lora): string => `  at ${path} { ${clauses} }\n`;
const adapter = (name: string, ...sites: readonly string[]): string => `adapter ${name} on b {\n${sites.join("")}}\n`;
/** The paths that an adapter adapts, and by what. */
async function sites(text: string, name: string): Promise<Record<string, readonly string[]>> {
  const program = await checkSource(text);
  expect(program.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([]);
  const found = program.checked.adapters.find((a) => a.name === name)!;
  return Object.fromEntries([...found.plan.sites].map(([path, plan]) => [path, [...plan.banks.map((b) => `${b.name}: ${b.definition.name.text} ${b.count}`), ...(plan.router ? [plan.router.definition.name.text] : []), ...plan.balances.map((b) => b.definition.name.text)]]));
}
const paths = async (path: string): Promise<string[]> => Object.keys(await sites(base + adapter("A", at(path)), "A")).sort();
const mlp = (layer: number): string[] => ["down_proj", "gate_proj", "up_proj"].map((l) => `layers.${layer}.mlp.${l}`);
const experts = "experts e[2] = lora(rank: 1)\nexperts f[2] = lora(rank: 1)\nroute softmax()\n";
const arrows = "balance localized() { x -> e\n y -> f }";
const train = (settings: string): string => `${on(lora)}train A {\n  ${settings}\n}\n`;

/** What keeps the adapter from being merged into its base. */
const merges = (codes: string, name: string, clauses: string, more = "", data = "", fixed: Fixed = { fields: new Map() }, path = "layers.0.mlp.up_proj"): Case =>
  does(`merging ${name}: ${codes || "is right"}`, async () => {
    const { checked } = await checkSource(on(clauses, more, data, path));
    expect(checked.diagnostics.filter((d) => d.severity === "error")).toEqual([]);
    const [adapter] = checked.adapters;
    expect(proveMerge(checked.context, adapter!.plan, adapter!.base.model, fixed).faults.map((d) => d.code)).toEqual(codes.split(" ").filter((c) => c !== ""));
  });

/** R3, bases and adapters, and R4, clauses of a site. */
export const sitesAndClauses: Cases = {
  "R3.1": [
    clean("a checkpoint that fits", base + adapter("A", at("layers.*.mlp.up_proj"))),
    gives("MOE2002", "a model that there is none of", `base b = lama("models/tiny-llama")\n`),
    gives("MOE3012", "a checkpoint of another shape", base + adapter("A", at("layers.*.mlp.up_proj")), { tensors: { "model.norm.weight": [17] } }),
    gives("MOE3011", "a checkpoint that lacks a tensor", base + adapter("A", at("layers.*.mlp.up_proj")), { tensors: { "model.norm.weight": undefined } }),
  ],
  "R3.2": [
    gives("MOE3016", "two clauses for a linear", base + adapter("A", at("layers.0.mlp.up_proj"), at("layers.*.mlp.up_proj"))),
    gives("MOE2025", "an adapter that does nothing", base + adapter("A")),
    gives("MOE2025", "a clause that does nothing", base + adapter("A", at("layers.0.mlp.up_proj", ""))),
  ],
  "R3.3": [
    does("a clause takes the place of that of its kind and name, and what is new is added", async () => {
      const text = `${base}adapter A on b {\n  at layers.*.mlp.up_proj {\n${experts}balance 0.1 * importance()\nbalance 0.1 * entropy()\n}\n}\n`;
      const b = `adapter B = A with {\n  at layers.*.mlp.up_proj {\n experts f[3] = nothing()\n experts g[1] = nothing()\n route top_k(1)\n balance z_loss()\n }\n${at("layers.0.mlp.down_proj")}}\n`;
      expect(await sites(text + b, "B")).toEqual({
        ...Object.fromEntries([0, 1].map((l) => [`layers.${l}.mlp.up_proj`, ["e: lora 2", "experts: nothing 4", "top_k", "z_loss"]])),
        "layers.0.mlp.down_proj": ["always: lora 1"],
      });
      expect((await sites(text + b, "A"))["layers.0.mlp.up_proj"]).toEqual(["experts: lora 4", "softmax", "importance", "entropy"]);
    }),
    does("it is trained as what it varies, unless it says otherwise", async () => {
      const program = await checkSource(`${train("steps 7\n  batch 3")}adapter B = A with {\n${at("layers.0.self_attn.q_proj")}}\nadapter C = B with {\n${at("layers.0.self_attn.k_proj")}}\ntrain C {\n  steps 5\n}\n`);
      expect(program.diagnostics).toEqual([]);
      expect(program.checked.adapters.map((a) => [a.name, a.train.steps, a.train.batch])).toEqual(expect.arrayContaining([["B", 7, 3], ["C", 5, 8]]));
    }),
    gives("MOE2012", "one that varies itself", `${base}adapter B = B with {\n${at("layers.0.mlp.up_proj")}}\n`),
    gives("MOE2001", "one that varies nothing", `${base}adapter B = A with {\n${at("layers.0.mlp.up_proj")}}\n`),
  ],
  "R3.4": [
    does("names, numbers, globs, alternatives and any number of segments", async () => {
      expect(await paths("layers.1.mlp.{gate_proj, up_proj, down_proj}")).toEqual(mlp(1));
      expect(await paths("layers.0.mlp.*_proj")).toEqual(mlp(0));
      expect(await paths("layers.*.mlp.*")).toEqual([...mlp(0), ...mlp(1)]);
      expect(await paths("**.{up_proj, *ate_proj}")).toEqual([0, 1].flatMap((l) => [`layers.${l}.mlp.gate_proj`, `layers.${l}.mlp.up_proj`]));
      expect(await paths("layers.**.up_proj")).toEqual([0, 1].map((l) => `layers.${l}.mlp.up_proj`));
    }),
    gives("MOE1001", "pieces apart", base + adapter("A", at("layers.*.mlp.* proj"))),
  ],
  "R3.5": [
    gives("MOE3010", "a path to nothing", base + adapter("A", at("layers.*.mlp.upp_proj"))),
    gives("MOE3010", "an alternative to nothing", base + adapter("A", at("layers.*.mlp.{up_proj, gate_prj}"))),
    gives("MOE3010", "a layer that there is none of", base + adapter("A", at("layers.2.mlp.up_proj"))),
  ],
  "R3.6": [
    does("the list, else what arrows name, in order", async () => {
      const kinds = async (text: string): Promise<readonly string[]> => (await checkSource(text)).checked.adapters[0]!.plan.kinds;
      expect(await kinds(on(experts + arrows, "", "kinds y, x, z"))).toEqual(["y", "x", "z"]);
      expect(await kinds(on(experts + arrows))).toEqual(["x", "y"]);
    }),
    gives("MOE2001", "a kind that is not listed", on(experts + arrows, "", "kinds y")),
    gives("MOE2013", "a kind that is listed twice", on(experts + arrows, "", "kinds y, x, y")),
  ],
  "R3.7": [
    clean("a field of values, and one of any number", routed(router("(x [in], c [c], n []) -> [expert]", "= x @ W + n * (c @ C)", "weight W [in, expert] = normal(0.02)\n  weight C [c, expert] = normal(0.02)"), "own()", "field c[4]\n  field n")),
    does("it is 1 at the sample's value, and the number", async () => {
      const made = await site("experts e[3] = lora(rank: 2)\nroute own()", { in: 4, out: 3, sample: 3, position: 2 }, numbers(4), router("(c [c], n []) -> [expert]", "= n * (c @ C)", "weight C [c, expert] = normal(0.02)"), "field c[3]\n  field n");
      const [c, n] = [valuesOf(made, "fields.c"), valuesOf(made, "fields.n").map((_, i) => 0.5 + i)];
      const table = valuesOf(made, "router.C");
      rows(run(made, "gates", { "fields.n": n }), 3).forEach((g, t) => g.forEach((v, e) => near(v, n[Math.floor(t / 2)]! * table[c[Math.floor(t / 2)]! * 3 + e]!)));
    }),
    gives("MOE2013", "twice", on(lora, "", "field c[4]\n  field c")),
    gives("MOE2013", "a name that every router is given", on(lora, "", "field mask")),
    gives("MOE3005", "no values", on(lora, "", "field c[0]")),
    gives("MOE3005", "too many", on(lora, "", "field c[65537]")),
    does("a variant's takes the place of the one of its name", async () => {
      const program = await checkSource(`${on(lora, "", "field c[4]\n  field n")}adapter B = A with {\n  field c[8]\n}\n`);
      expect(program.diagnostics).toEqual([]);
      expect(program.checked.adapters.find((a) => a.name === "B")!.plan.fields).toEqual([{ name: "n" }, { name: "c", values: 8 }]);
    }),
  ],

  "R4.1": [
    does("layer and layers in a count and an argument", async () => {
      const all = await sites(on("experts e[2 + layer * layers] = lora(rank: 1)\nroute softmax()", "", "", "layers.*.mlp.up_proj"), "A");
      expect([all["layers.0.mlp.up_proj"]![0], all["layers.1.mlp.up_proj"]![0]]).toEqual(["e: lora 2", "e: lora 4"]);
    }),
    gives("MOE3005", "no experts", on("experts e[0] = lora(rank: 1)\nroute softmax()")),
    gives("MOE3005", "too many", on("experts e[4097] = lora(rank: 1)\nroute softmax()")),
    gives("MOE3005", "half an expert", on("experts e[1.5] = lora(rank: 1)\nroute softmax()")),
    does("shared weights are one for all", async () => {
      const made = await site("experts e[3] = lora(rank: 2, shared: A)\nroute softmax()", { in: 4, out: 3, sample: 1, position: 2 }, numbers(1));
      expect([valuesOf(made, "e.A").length, valuesOf(made, "e.B").length]).toEqual([4 * 2, 3 * 2 * 3]);
    }),
    gives("MOE2001", "sharing what there is none of", on("experts e[3] = lora(rank: 1, shared: C)\nroute softmax()")),
    clean("sharing a list", on("experts e[3] = lora(rank: 1, shared: [A, B])\nexperts f[1] = lora(rank: 1)\nroute softmax()")),
  ],
  "R4.2": [
    does("it is added, whatever the gates", async () => {
      const made = await site("always lora(rank: 2, alpha: 2)\nexperts e[2] = nothing()\nroute softmax()", { in: 4, out: 3, sample: 1, position: 2 }, numbers(2));
      const alone = await site("always lora(rank: 2, alpha: 2)", { in: 4, out: 3, sample: 1, position: 2 }, numbers(3));
      run(alone, "output", Object.fromEntries(["x", "base.weight", "always.A", "always.B"].map((n) => [n, valuesOf(made, n)]))).forEach((v, i) => near(run(made, "output")[i]!, v));
    }),
    clean("with a name", on("always universal = lora(rank: 1)")),
    gives("MOE2013", "two of one name", on("always one = lora(rank: 1)\nalways one = lora(rank: 2)")),
  ],
  "R4.3": [
    clean("a block", on("experts e[2] = patch { gate_proj, up_proj: lora(rank: 1)  down_proj: dora(rank: 1) }\nroute softmax()", "", "", "layers.*.mlp")),
    gives("MOE3015", "on a linear", on("experts e[2] = patch { up_proj: lora(rank: 1) }\nroute softmax()")),
    gives("MOE3015", "a plain expert on a block", on("experts e[2] = lora(rank: 1)\nroute softmax()", "", "", "layers.*.mlp")),
    gives("MOE3010", "a linear that the block lacks", on("experts e[2] = patch { upp: lora(rank: 1) }\nroute softmax()", "", "", "layers.*.mlp")),
  ],
  "R4.4": [
    gives("MOE2020", "two routers", on(`${experts}route top_k(1)`)),
    gives("MOE2022", "experts without one", on("experts e[2] = lora(rank: 1)")),
    gives("MOE2023", "one without experts", on(`${lora}\nroute softmax()`)),
    ...["linear", "block", "layer", "model"].map((scope) => clean(`per ${scope}`, on(experts.trim().replace("softmax()", `softmax() per ${scope}`)))),
    gives("MOE2021", "of nothing known", on(experts.trim().replace("softmax()", "softmax() per head"))),
    does("how many routers each makes: test/std/scopes.test.ts counts them on the whole model", async () => {
      for (const [scope, count] of [["linear", 6], ["block", 2], ["layer", 2], ["model", 1]] as const) {
        const program = await checkSource(on(experts.trim().replace("softmax()", `softmax() per ${scope}`)));
        const [adapter] = program.checked.adapters;
        expect(adapter!.plan.siteCount([...adapter!.plan.sites.values()][0]!)).toBe(count);
      }
    }),
  ],
  "R4.5": [
    clean("a product", on(`${experts}balance 0.1 * 2 * importance()`)),
    gives("MOE1013", "no balance at its end", on(`${experts}balance importance() * 0.1`)),
    gives("MOE2005", "a weight that is no number", on(`${experts}balance "a" * importance()`)),
    does("it may follow the layer and the training", async () => {
      const made = await site(`${experts}balance (layer + 1) * layers * (1 - step / steps) * importance()\nbalance entropy()`, { in: 4, out: 3, sample: 2, position: 3 }, numbers(5));
      const [none, half, all] = [8, 4, 0].map((step) => run(made, "balance", { step, steps: 8 })[0]!) as [number, number, number];
      near(half - none, (all - none) / 2);
      expect(Math.abs(all - none)).toBeGreaterThan(1e-4);
    }),
    gives("MOE3022", "0", on(`${experts}balance 0 * importance()`)),
  ],
  "R4.6": [
    ...["sum", "mean", "pooled"].map((how) => clean(`${how} over sites`, on(`${experts}balance importance() ${how} over sites unmasked`))),
    gives("MOE3021", "no mask", on(`${experts}balance own()`, "balance own() {\n  (gates [sample, position, expert]) -> [] = sum(gates * gates)\n}\n")),
    clean("no mask, and it says so", on(`${experts}balance own() unmasked`, "balance own() {\n  (gates [sample, position, expert]) -> [] = sum(gates * gates)\n}\n")),
    does("unmasked counts padding", async () => {
      for (const [more, counts] of [["", false], [" unmasked", true]] as const) {
        const made = await site(`${experts}balance importance()${more}`, { in: 4, out: 3, sample: 2, position: 3 }, numbers(6));
        const some = [1, 0, 0, 1, 1, 0];
        const x = valuesOf(made, "x").map((v, i) => (some[Math.floor(i / 4)] === 0 ? v + 1 + i : v));
        expect(run(made, "balance", { mask: some, x })[0] === run(made, "balance", { mask: some })[0]).toBe(!counts);
      }
    }),
  ],
  "R4.7": [
    clean("several groups, and a kind that is no name", on(`${experts}balance localized() { x -> e, f\n "a kind" -> f }`)),
    gives("MOE2026", "a balance that needs them", on(`${experts}balance localized()`)),
    gives("MOE2028", "one that does not", on(`${experts}balance importance() { x -> e }`)),
    gives("MOE2001", "to a group that there is none of", on(`${experts}balance localized() { x -> e\n y -> g }`).replace("y -> g", "y -> f, g")),
    gives("MOE2013", "a kind twice", on(`${experts}balance localized() { x -> e\n x -> f }`)),
    gives("MOE2027", "a group to which none leads", on(`${experts}balance localized() { x -> e }`)),
  ],
  "R4.8": [
    clean("mix outputs", on(`${experts}mix outputs`)),
    clean("mix weights, for a sample as a whole", on("experts e[2] = lora(rank: 1)\nroute sentence()\nmix weights")),
    gives("MOE3024", "mix weights, for every token", on("experts e[2] = lora(rank: 1)\nroute softmax()\nmix weights")),
    gives("MOE3015", "mix weights of blocks", on("experts e[2] = patch { up_proj: lora(rank: 1) }\nroute sentence()\nmix weights", "", "", "layers.*.mlp")),
    does("one expert of the weights' means, each by itself", async () => {
      const sizes = { in: 4, out: 3, sample: 2, position: 2 };
      const made = await site("experts e[2] = lora(rank: 1, alpha: 1)\nroute sentence()\nmix weights", sizes, numbers(8));
      const [A, B, W, gates] = [valuesOf(made, "e.A"), valuesOf(made, "e.B"), valuesOf(made, "base.weight"), rows(run(made, "gates"), 2)];
      rows(valuesOf(made, "x"), 4).forEach((x, t) =>
        range(3).forEach((o) => {
          const low = x.reduce((n, v, i) => n + v * (gates[t]![0]! * A[2 * i]! + gates[t]![1]! * A[2 * i + 1]!), 0);
          near(run(made, "output")[3 * t + o]!, x.reduce((n, v, i) => n + v * W[4 * o + i]!, 0) + low * (gates[t]![0]! * B[o]! + gates[t]![1]! * B[3 + o]!));
        }),
      );
    }),
    does("unfreeze trains the base's own weights, of linears and others", async () => {
      const program = await checkSource(base + adapter("A", at("layers.0.mlp.up_proj", "unfreeze"), at("norm", "unfreeze")));
      expect(program.diagnostics).toEqual([]);
      const { module } = await compileAdapter(program, program.checked.adapters[0]!);
      expect(module.weights.filter((w) => w.trainable).flatMap((w) => w.sources.map((from) => from.tensor)).sort()).toEqual(["model.layers.0.mlp.up_proj.weight", "model.norm.weight"]);
    }),
  ],
  "R4.9": [
    clean("a value on its line", train("steps 3\n  batch 4")),
    clean("several on one line", train("steps 3  batch 4")),
    gives("MOE1002", "a value on the next line", train("steps\n  3")),
    gives("MOE2013", "an adapter twice", `${train("steps 3")}train A {\n  steps 4\n}\n`),
    gives("MOE2003", "a setting that there is none of", train("stepps 3")),
    gives("MOE2013", "a setting twice", train("steps 3  steps 4")),
  ],
  "R4.10": [
    clean("all", train('data "a.jsonl"\n  test "b.jsonl"\n  optimizer adamw(lr: 1e-3, weight_decay: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8)\n  schedule cosine(warmup: 0.1)\n  epochs 2  batch 8  accumulate 2  length 16  seed 3  clip 1')),
    ...["constant", "linear", "cosine"].map((schedule) => clean(schedule, train(`schedule ${schedule}`))),
    gives("MOE2017", "epochs and steps", train("epochs 2  steps 3")),
    gives("MOE2017", "a batch that does not divide", train("batch 5  accumulate 2")),
    ...["keep", "recompute", "0.5"].map((memory) => clean(`memory ${memory}`, train(`memory ${memory}`))),
    gives("MOE2004", "another word for memory", train("memory much")),
    gives("MOE2004", "a learning rate of 0", train("optimizer adamw(lr: 0)")),
    gives("MOE2002", "another optimizer", train("optimizer sgd(lr: 1)")),
  ],
  "R4.11": [
    merges("", "an expert that is linear in the input", lora),
    merges("MOE3031", "one that is not", "always own()", "expert own() {\n  weight l [out] = ones()\n  (y [out]) -> [out] = l * tanh(y)\n}\n"),
    merges("MOE3032", "a constant, where the linear has no bias", "always own()", "expert own() {\n  weight l [out] = ones()\n  () -> [out] = l\n}\n"),
    merges("MOE3030", "gates of every token", "experts e[2] = lora(rank: 1)\nroute softmax()"),
    merges("MOE3034", "gates of the kind", "experts e[2] = lora(rank: 1)\nroute task_softmax()", "", "kinds x, y"),
    merges("", "gates of the kind that is given", "experts e[2] = lora(rank: 1)\nroute task_softmax()", "", "kinds x, y", { kind: 1, fields: new Map() }),
    merges("MOE3033", "a patched block", "experts e[1] = patch { up_proj: lora(rank: 1) }\nroute softmax()", "", "", undefined, "layers.*.mlp"),
  ],
};
