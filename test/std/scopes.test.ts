import { describe, expect, it } from "vitest";
import type { Arg, Tensor } from "../../src/ir/index.ts";
import { spec, tinyConfig } from "../check/support.ts";
import { numbers, tensorsOf } from "../passes/support.ts";
import { cvSquared, element, range, softmax, sum, times } from "./by-hand.ts";
import { gatesIn, randomRows, runEntry, whole, type Rows, type Whole } from "./whole.ts";

/** Whose a router is: a linear's, a block's, a layer's or the whole model's. */

const settings = '\ntrain A {\n  data "train.jsonl"\n  steps 4  batch 4  length 16\n}\n';
const path = "layers.*.mlp.{gate_proj, up_proj, down_proj}";
const clauses = (per: string, reduction = ""): string => `experts e[2] = lora(rank: 1)\nexperts f[2] = lora(rank: 1)\nroute softmax() ${per}\nbalance 0.3 * importance()${reduction}`;
/** Routers of the whole model; and how many routers a clause has. */
const scopes = [["per linear", 6], ["per block", 2], ["per layer", 2], ["per model", 1]] as const;

const scalar = (a: Arg | undefined): number => (a as Tensor).data[0]!;

/** The gates' mass by expert over the real tokens. */
const mass = (gates: Tensor, rows: Rows): number[] =>
  range(4).map((expert) => sum(rows.mask.flatMap((row, sample) => row.map((m, position) => m * element(gates, { sample, position, expert })))));

describe("a router's scope", () => {
  it.each(scopes)("%s: %d routers, whose balance and use count once", async (per, routers) => {
    for (const seed of [1, 2])
      for (const reduction of ["", " mean over sites"]) {
        const of = await whole(spec(clauses(per, reduction), path) + settings, numbers(seed));
        const rows = randomRows(3, 4, numbers(30 + seed));
        const gates = gatesIn(of, rows, "p");
        expect(gates).toHaveLength(routers);
        expect(of.module.weights.filter((w) => w.name.endsWith(".router.W") || w.name === "router.W").reduce((n, w) => n + (w.type.kind === "list" ? w.type.count : 1), 0)).toBe(routers);
        const { output } = runEntry(of, "evaluate", rows);
        const terms = gates.map((g) => cvSquared(mass(g, rows)));
        expect(scalar(output["balance"])).toBeCloseTo((0.3 * sum(terms)) / (reduction === "" ? 1 : routers), 11);
        // Use: the share of a sample's mass on each group, the mean over the routers.
        range(3).forEach((sample) =>
          [0, 1].forEach((groups) => {
            const shares = gates.map((g) => sum(rows.mask[sample]!.flatMap((m, position) => [0, 1].map((e) => m * element(g, { sample, position, expert: 2 * groups + e })))) / sum(rows.mask[sample]!));
            expect(element(output["usage"] as Tensor, { sample, groups })).toBeCloseTo(sum(shares) / routers, 11);
          }),
        );
      }
  });

  it("per model and, in the first layer, per layer, it looks at the embeddings", async () => {
    for (const per of ["per layer", "per model"]) {
      const of = await whole(spec(clauses(per), path) + settings, numbers(3));
      const rows = randomRows(2, 4, numbers(33));
      const [first] = gatesIn(of, rows, "p") as [Tensor];
      const name = of.module.weights.find((w) => w.name.endsWith("router.W"))!.name;
      const W = tensorsOf(of.weight[name]!)[0]!;
      const embed = of.weight["embed_tokens"] as Tensor;
      rows.tokens.forEach((row, sample) =>
        row.forEach((token, position) => {
          const inAxis = W.axes.find((a) => a.name !== "expert")!.name;
          const vocab = embed.axes.find((a) => a.size === tinyConfig.vocab_size)!.name;
          const width = embed.axes.find((a) => a.name !== vocab)!.name;
          const x = range(tinyConfig.hidden_size).map((i) => element(embed, { [vocab]: token, [width]: i }));
          const logits = range(4).map((expert) => sum(x.map((v, i) => v * element(W, { [inAxis]: i, expert }))));
          softmax(logits).forEach((p, expert) => expect(element(first, { sample, position, expert })).toBeCloseTo(p, 11));
        }),
      );
    }
  });

  it("the linears share the gates: changing the model's one router changes what each of them adds", async () => {
    // With one linear adapted at a time, the same gates come to it.
    for (const linear of ["gate_proj", "up_proj", "down_proj"]) {
      const of = await whole(spec(clauses("per model"), `layers.1.mlp.${linear}`) + settings, numbers(4));
      const rows = randomRows(2, 4, numbers(34));
      const name = of.module.weights.find((w) => w.name.endsWith("router.W"))!.name;
      const moved: Whole = { ...of, weight: { ...of.weight, [name]: { ...(of.weight[name] as Tensor), data: (of.weight[name] as Tensor).data.map((v) => -v) } } };
      const loss = (w: Whole): readonly number[] => [...(runEntry(w, "evaluate", rows).output["loss"] as Tensor).data];
      expect(loss(moved)).not.toEqual(loss(of));
    }
  });

  it.each(["per layer", "per model"])("%s: gradients of the whole tiny model are those of finite differences", async (per) => {
    const of = await whole(spec(clauses(per), path) + settings, numbers(6));
    const rows = randomRows(2, 3, numbers(36));
    const { gradient } = runEntry(of, "gradients", rows);
    const objective = (weight: Whole["weight"]): number => scalar(runEntry({ ...of, weight }, "train", rows).output["objective"]);
    const next = numbers(66);
    expect(Object.keys(gradient).sort()).toEqual(of.module.weights.filter((w) => w.trainable).map((w) => w.name).sort());
    for (const [name, g] of Object.entries(gradient)) {
      // Along random directions, all elements and all layers of the weight at once.
      for (let n = 0; n < (name.endsWith("router.W") ? 12 : 2); n++) {
        const along = tensorsOf(of.weight[name]!).map((t) => Array.from(t.data, () => 2 * next() - 1));
        const moved = (h: number): number => {
          const tensors = tensorsOf(of.weight[name]!).map((t, l) => ({ ...t, data: Float64Array.from(t.data, (v, i) => v + h * along[l]![i]!) }));
          return objective({ ...of.weight, [name]: Array.isArray(of.weight[name]) ? tensors : tensors[0]! });
        };
        const slope = (h: number): number => (moved(h) - moved(-h)) / (2 * h);
        const expected = (4 * slope(5e-4) - slope(1e-3)) / 3;
        const found = sum(tensorsOf(g).flatMap((t, l) => Array.from(t.data, (v, i) => v * along[l]![i]!)));
        expect(Math.abs(found - expected), name).toBeLessThan(1e-7 * Math.max(1, Math.abs(expected)));
      }
    }
  });
});

describe("X-LoRA on the whole model", () => {
  it("looks at the base's own last hidden states: those of a pass in which the experts do nothing", async () => {
    const of = await whole(spec("experts e[4] = lora(rank: 1)\nroute xlora() per model", path) + settings, numbers(7));
    const rows = randomRows(2, 4, numbers(37));
    // The head is the embedding's transpose, so logits give the hidden states back: least squares by the normal equations.
    const still = Object.fromEntries(Object.entries(of.weight).map(([name, a]) => [name, name.endsWith(".B") ? tensorsOf(a).map((t) => ({ ...t, data: t.data.map(() => 0) })) : a]));
    const logits = runEntry({ ...of, weight: still }, "logits", rows).output["logits"] as Tensor;
    const embed = of.weight["embed_tokens"] as Tensor;
    const [vocab, width] = embed.axes.map((a) => a.name) as [string, string];
    const E = range(tinyConfig.vocab_size).map((v) => range(tinyConfig.hidden_size).map((i) => element(embed, { [vocab]: v, [width]: i })));
    const [gates, ...others] = gatesIn(of, rows, "p");
    expect(others).toEqual([]);
    const name = of.module.weights.find((w) => w.name.endsWith("router.W"))!.name;
    const W = of.weight[name] as Tensor;
    const inAxis = W.axes.find((a) => a.name !== "expert")!.name;
    const table = range(tinyConfig.hidden_size).map((i) => range(4).map((expert) => element(W, { [inAxis]: i, expert })));
    const bias = of.weight[name.replace(/W$/, "bias")] as Tensor;
    rows.tokens.forEach((row, sample) =>
      row.forEach((_, position) => {
        const l = range(tinyConfig.vocab_size).map((v) => element(logits, { sample, position, [logits.axes[2]!.name]: v }));
        const h = solve(E, l);
        softmax(times(h, table).map((v, e) => v + bias.data[e]!)).forEach((p, expert) => expect(element(gates!, { sample, position, expert })).toBeCloseTo(p, 9));
      }),
    );
  });
});

/** The h with E h = l, where there is one: (Eᵀ E) h = Eᵀ l by elimination. */
function solve(E: readonly (readonly number[])[], l: readonly number[]): number[] {
  const n = E[0]!.length;
  const M = range(n).map((i) => [...range(n).map((j) => sum(E.map((row) => row[i]! * row[j]!))), sum(E.map((row, v) => row[i]! * l[v]!))]);
  for (let c = 0; c < n; c++) {
    const pivot = range(n).slice(c).reduce((a, b) => (Math.abs(M[b]![c]!) > Math.abs(M[a]![c]!) ? b : a), c);
    [M[c], M[pivot]] = [M[pivot]!, M[c]!];
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const factor = M[r]![c]! / M[c]![c]!;
      for (let k = c; k <= n; k++) M[r]![k]! -= factor * M[c]![k]!;
    }
  }
  return M.map((row, i) => row[n]! / row[i]!);
}
