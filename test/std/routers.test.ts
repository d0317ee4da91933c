import { describe, expect, it } from "vitest";
import { numbers } from "../passes/support.ts";
import { cvSquared, element, erf, greatest, matrix, near, probabilities, range, rows, seeds, sigmoid, sizesOf, softmax, softplus, sum, times, top } from "./by-hand.ts";
import { draws, run, site, valuesOf, type Site } from "./support.ts";

/** Routers that came after `formulas.test.ts`, against the published formulas. */

const four = "experts e[4] = lora(rank: 1)";
const places = (seed: number): { readonly s: number; readonly p: number; readonly t: number }[] => {
  const { sample, position } = sizesOf(seed);
  return range(sample).flatMap((s) => range(position).map((p) => ({ s, p, t: s * position + p })));
};
/** Logits x W of each token. */
const logits = (made: Site, name = "router.W"): number[][] => {
  const W = matrix(made, name, "in");
  return rows(valuesOf(made, "x"), W.length).map((x) => times(x, W));
};
const gatesOf = (made: Site, experts: number): readonly (readonly number[])[] => rows(run(made, "gates"), experts);

describe("routers of a whole sample", () => {
  it("sentence: softmax of the prompt's mean input, the same for every token", async () => {
    for (const seed of seeds) {
      const sizes = sizesOf(seed);
      const made = await site(`${four}\nroute sentence(temperature: 0.6)`, sizes, numbers(seed));
      const [prompt, x, W] = [valuesOf(made, "prompt"), rows(valuesOf(made, "x"), sizes.in), matrix(made, "router.W", "in")];
      const gates = gatesOf(made, 4);
      for (const { s, t } of places(seed)) {
        const asked = range(sizes.position).map((p) => s * sizes.position + p).filter((q) => prompt[q] === 1);
        const meaning = range(sizes.in).map((i) => sum(asked.map((q) => x[q]![i]!)) / asked.length);
        softmax(times(meaning, W).map((v) => v / 0.6)).forEach((v, e) => near(gates[t]![e]!, v));
      }
    }
  });

  it("a sample without a prompt is routed alike everywhere", async () => {
    const made = await site(`${four}\nroute sentence()`, sizesOf(2), numbers(2));
    for (const v of run(made, "gates", { prompt: new Array(valuesOf(made, "prompt").length).fill(0) })) near(v, 1 / 4);
  });

  it("MoCLE: the most probable of the first group for the sample's cluster, the universal expert what is left of 1", async () => {
    for (const seed of seeds) {
      const made = await site("experts e[3] = lora(rank: 1)\nexperts all[1] = lora(rank: 1)\nroute cluster_and_universal(dim: 2, temperature: 0.5)", sizesOf(seed), numbers(seed), "", "field cluster[3]");
      const [embedding, W] = [matrix(made, "router.embedding", "cluster"), matrix(made, "router.W", "dim")];
      const gates = gatesOf(made, 4);
      for (const { s, t } of places(seed)) {
        const p = softmax(times(embedding[valuesOf(made, "fields.cluster")[s]!]!, W).slice(0, 3).map((v) => v / 0.5));
        const most = Math.max(...p);
        p.forEach((v, e) => near(gates[t]![e]!, v === most ? v : 0));
        near(gates[t]![3]!, 1 - most);
      }
    }
  });
});

describe("routers of tokens", () => {
  it("Switch: the most probable expert while it has room, in the order of positions; padding takes no room", async () => {
    let overflowed = 0;
    for (const seed of [...seeds, 7, 11, 15])
      for (const capacity of [1, 2]) {
        const sizes = { ...sizesOf(seed), position: 5 };
        const made = await site(`experts e[3] = lora(rank: 1)\nroute switch(${capacity})`, sizes, numbers(seed));
        const [p, mask, gates] = [probabilities(made), valuesOf(made, "mask"), gatesOf(made, 3)];
        for (const s of range(sizes.sample)) {
          const room = [capacity, capacity, capacity];
          for (const q of range(sizes.position)) {
            const t = s * sizes.position + q;
            const [best] = top(p[t]!, 1) as unknown as [number];
            const goes = mask[t] === 1 && room[best]! > 0;
            if (goes) room[best]!--;
            else if (mask[t] === 1) overflowed++;
            p[t]!.forEach((v, e) => near(gates[t]![e]!, goes && e === best ? v : 0));
          }
        }
      }
    expect(overflowed).toBeGreaterThan(0);
  });

  it.each([[1, false], [2, false], [1, true], [2, true], [3, true]])("noisy top-k with k = %d, training %s: gates, and the load of each expert", async (k, training) => {
    for (const seed of seeds)
      for (const unmasked of ["", " unmasked"]) {
        const made = await site(`${four}\nroute noisy_top_k(${k})\nbalance importance_and_load()${unmasked}`, sizesOf(seed), numbers(seed), "", "", training);
        const { values: flat, drawn } = draws(made, "gates", {}, numbers(70 + seed));
        const { values: [balance] } = draws(made, "balance", {}, numbers(70 + seed));
        expect(drawn).toHaveLength(training ? 1 : 0);
        const gates = rows(flat, 4);
        const mask = valuesOf(made, "mask");
        const [clean, wide] = [logits(made), logits(made, "router.W_noise")];
        const importance = [0, 0, 0, 0];
        const load = [0, 0, 0, 0];
        for (const { s, p, t } of places(seed)) {
          const spread = wide[t]!.map((v) => softplus(v) + 0.01);
          const H = clean[t]!.map((v, e) => v + (training ? element(drawn[0]!, { sample: s, position: p, expert: e }) * spread[e]! : 0));
          const chosen = top(H, k);
          const whole = sum([...chosen].map((e) => Math.exp(H[e]!)));
          H.forEach((h, e) => {
            near(gates[t]![e]!, chosen.has(e) ? Math.exp(h) / whole : 0);
            // The k-th greatest of the others: what this one has to exceed.
            const bar = greatest(H.filter((_, o) => o !== e), k);
            const again = 0.5 * (1 + erf((clean[t]![e]! - bar) / spread[e]! / Math.SQRT2));
            const counts = unmasked === "" ? mask[t]! : 1;
            importance[e]! += counts * gates[t]![e]!;
            load[e]! += counts * again;
          });
        }
        near(balance!, cvSquared(importance) + cvSquared(load));
      }
  });

  /** λ of LD-MoLE: a network with one hidden layer, log sigmoid, and 1 - eps. */
  function lambda(made: Site, x: readonly number[]): number {
    const hidden = times(x, matrix(made, "router.narrow", "in")).map((v, h) => Math.max(0, v + valuesOf(made, "threshold")[h]!));
    const m = sum(hidden.map((v, h) => v * valuesOf(made, "lift")[h]!)) + valuesOf(made, "offset")[0]!;
    return Math.log(sigmoid(m)) + 1 - 0.01;
  }

  it("sparsegen, as LD-MoLE computes it: sorted logits, the last k with 1 - λ + k u_k > u_1 + … + u_k, and the threshold from these", async () => {
    const left = new Set<number>();
    for (const seed of seeds)
      for (const stretch of [0.5, 4]) {
        const made = await site(`experts e[5] = lora(rank: 1)\nroute sparsegen(hidden: 3)`, sizesOf(seed), numbers(seed));
        const W = valuesOf(made, "router.W").map((v) => stretch * v);
        const gates = rows(run(made, "gates", { "router.W": W }), 5);
        logits(made).forEach((row, t) => {
          const u = row.map((v) => stretch * v);
          const l = lambda(made, rows(valuesOf(made, "x"), sizesOf(seed).in)[t]!);
          const sorted = [...u].sort((a, b) => b - a);
          const fits = range(5).filter((k) => 1 - l + (k + 1) * sorted[k]! > sum(sorted.slice(0, k + 1)));
          const tau = (sum(fits.map((k) => sorted[k]!)) - 1 + l) / fits.length;
          left.add(fits.length);
          u.forEach((v, e) => near(gates[t]![e]!, Math.max(v - tau, 0) / (1 - l)));
          near(sum(gates[t]!), 1);
        });
      }
    // Tokens with few experts, and with all of them.
    expect(Math.min(...left)).toBeLessThan(3);
    expect(Math.max(...left)).toBe(5);
  });

  it("sparsity_control: how far λ lies below the least value that leaves k experts", async () => {
    let active = 0;
    for (const seed of seeds)
      for (const k of [1, 2, 3])
        for (const unmasked of ["", " unmasked"]) {
          const made = await site(`${four}\nroute sparsegen(hidden: 3)\nbalance sparsity_control(k: ${k})${unmasked}`, sizesOf(seed), numbers(seed));
          const x = rows(valuesOf(made, "x"), sizesOf(seed).in);
          const counted = x.map((_, t) => t).filter((t) => unmasked !== "" || valuesOf(made, "mask")[t] === 1);
          const gaps = counted.map((t) => {
            const u = [...logits(made)[t]!].sort((a, b) => b - a);
            const lower = 1 - (sum(u.slice(0, k)) - k * u[k]!);
            return Math.max(0, lower - lambda(made, x[t]!));
          });
          active += gaps.filter((g) => g > 0).length;
          near(run(made, "balance")[0]!, sum(gaps) / counted.length);
        }
    expect(active).toBeGreaterThan(0);
  });

  it.each([1, 2, 3])("DeepSeek-V3 with k = %d: the bias counts in the choice alone", async (k) => {
    let moved = 0;
    for (const seed of seeds) {
      const made = await site(`${four}\nroute loss_free(${k}, scale: 2.5)`, sizesOf(seed), numbers(seed));
      const bias = valuesOf(made, "router.bias");
      expect(bias.some((v) => v !== 0)).toBe(true);
      const gates = gatesOf(made, 4);
      logits(made).forEach((row, t) => {
        const score = row.map(sigmoid);
        const chosen = top(score.map((v, e) => v + bias[e]!), k);
        if ([...chosen].some((e) => !top(score, k).has(e))) moved++;
        const whole = sum([...chosen].map((e) => score[e]!)) + 1e-20;
        score.forEach((v, e) => near(gates[t]![e]!, chosen.has(e) ? (2.5 * v) / whole : 0));
      });
    }
    expect(moved).toBeGreaterThan(0);
  });

  it("X-LoRA with one layer: softmax of a linear classifier of the first pass's hidden states, at each token", async () => {
    for (const seed of seeds) {
      const sizes = sizesOf(seed);
      const made = await site(`${four}\nroute xlora(temperature: 0.8)`, sizes, numbers(seed));
      const [states, W, bias] = [rows(valuesOf(made, "first_pass"), sizes.in), matrix(made, "router.W", "hidden"), valuesOf(made, "router.bias")];
      gatesOf(made, 4).forEach((g, t) => softmax(times(states[t]!, W).map((v, e) => (v + bias[e]!) / 0.8)).forEach((v, e) => near(g[e]!, v)));
      // The layer's own input has no say.
      expect(run(made, "gates", { x: valuesOf(made, "x").map((v) => v + 1) })).toEqual(run(made, "gates"));
    }
  });
});

describe("balances", () => {
  it("localized with a strength for each group: delta times it on that group's experts", async () => {
    for (const seed of seeds)
      for (const pull of ["away", "toward"]) {
        const sizes = sizesOf(seed);
        const made = await site(`experts one[1] = lora(rank: 1)\nexperts two[3] = lora(rank: 1)\nroute softmax()\nbalance localized(delta: 0.2, pull: ${pull}, strength: [0.5, 3]) { a -> one\n b -> two }`, sizes, numbers(seed));
        const [gates, mask] = [gatesOf(made, 4), valuesOf(made, "mask")];
        const z = valuesOf(made, "kind").flatMap((kind, s) =>
          range(4).map((e) => {
            const delta = 0.2 * (e === 0 ? 0.5 : 3);
            const matches = kind === (e === 0 ? 0 : 1);
            const q = sum(range(sizes.position).map((p) => gates[s * sizes.position + p]![e]! * mask[s * sizes.position + p]!));
            return q * (matches === (pull === "away") ? 1 + delta : 1 - delta);
          }),
        );
        near(run(made, "balance")[0]!, cvSquared(z));
      }
  });

  it("a weight that follows the training: importance, more and more, and entropy, less and less", async () => {
    const made = await site(`${four}\nroute softmax()\nbalance 0.1 * (step / steps) * importance()\nbalance (if 2 > 1 then max(0, 1 - 2 * step / steps) else 0) * entropy()`, sizesOf(3), numbers(3));
    const [one, two] = await Promise.all(["importance()", "entropy()"].map(async (b) => {
      const alone = await site(`${four}\nroute softmax()\nbalance ${b}`, sizesOf(3), numbers(99));
      return run(alone, "balance", Object.fromEntries(["x", "mask", "router.W"].map((n) => [n, valuesOf(made, n)])))[0]!;
    }));
    for (const step of [0, 10, 25, 40]) near(run(made, "balance", { step, steps: 40 })[0]!, 0.1 * (step / 40) * one! + Math.max(0, 1 - (2 * step) / 40) * two!);
    expect(Math.abs(one!)).toBeGreaterThan(1e-3);
    expect(Math.abs(two!)).toBeGreaterThan(1e-3);
  });
});
