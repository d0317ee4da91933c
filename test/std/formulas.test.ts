import { describe, expect, it } from "vitest";
import { numbers } from "../passes/support.ts";
import { matrix, near, probabilities, range, rows, seeds, sizesOf, sum, times, top, type Matrix } from "./by-hand.ts";
import { run, site, valuesOf, type Site } from "./support.ts";

/**
 * The library against the formulas of the published code (the repositories and lines are in oracles/cases.json and the
 * definitions' comments), written out here with loops over tokens and experts, on other sizes than the oracles have.
 */

describe("functions that models use", () => {
  /** An expert of two vectors and a matrix, whose own output axis is `other`. */
  const own = (body: readonly string[]): string => `expert own() {
  axis other = out
  weight l [in]        = ones()
  weight m [in]        = ones()
  weight C [in, other] = zeros()
  (x [in]) -> [out] {
    ${body.join("\n    ")}
  }
}
`;
  const parts = (made: Site) => ({ base: matrix(made, "base.weight", "in"), C: matrix(made, "C", "in"), l: valuesOf(made, "l"), m: valuesOf(made, "m") });

  it("layer_norm: (x - mean) / sqrt(var + eps), scaled and shifted; gelu_new: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))", async () => {
    for (const seed of seeds) {
      const sizes = sizesOf(seed);
      const made = await site("always own()", sizes, numbers(seed), own(["h = layer_norm(x, l, m, over: in, eps: 0.01)", "rename(gelu_new(3 * h) @ C, other, to: out)"]));
      const { base, C, l, m } = parts(made);
      const y = rows(run(made, "output"), sizes.out);
      rows(valuesOf(made, "x"), sizes.in).forEach((x, t) => {
        const mean = sum(x) / x.length;
        const deviation = Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / x.length + 0.01);
        const h = x.map((v, i) => 3 * (((v - mean) / deviation) * l[i]! + m[i]!));
        const g = h.map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))));
        times(g, C).forEach((v, o) => near(y[t]![o]!, v + times(x, base)[o]!));
      });
    }
  });

  it("part: what a split axis has at one place; gather: rows by their index", async () => {
    const text = own([
      "axis three = 3",
      "axis pair = 2",
      "axis six = in",
      "axis row = 4",
      "p = split(x * l * m, in, into: [three, pair])",
      "first = sum(gather(rename(C, in, to: six), index(row), over: six), over: row)",
      "sum(part(p, three, 2) - part(p, three, 0), over: pair) * rename(first, other, to: out)",
    ]);
    for (const seed of seeds) {
      const made = await site("always own()", { ...sizesOf(seed), in: 6, out: 2 }, numbers(seed), text);
      const { base, C, l, m } = parts(made);
      const y = rows(run(made, "output"), 2);
      rows(valuesOf(made, "x"), 6).forEach((x, t) => {
        const h = x.map((v, i) => v * l[i]! * m[i]!);
        const apart = h[4]! + h[5]! - h[0]! - h[1]!;
        times(x, base).forEach((v, o) => near(y[t]![o]!, v + apart * sum(range(4).map((i) => C[i]![o]!))));
      });
    }
  });
});

describe("routers and mixtures", () => {
  it.each([1, 2, 3, 5])("MoLA with k = %d of 5: y = W x + alpha/r Σ g_i B_i A_i x, g the k greatest made to sum to 1", async (k) => {
    for (const seed of seeds) {
      const sizes = sizesOf(seed);
      const made = await site(`experts e[5] = lora(rank: 2, alpha: 5)\nroute top_k(${k})`, sizes, numbers(seed));
      const base = matrix(made, "base.weight", "in");
      const y = rows(run(made, "output"), sizes.out);
      const p = probabilities(made);
      rows(valuesOf(made, "x"), sizes.in).forEach((x, t) => {
        const chosen = top(p[t]!, k);
        const mass = sum([...chosen].map((e) => p[t]![e]!));
        const want = times(x, base);
        for (const e of chosen) {
          const update = times(times(x, matrix(made, "A", "in", e)), matrix(made, "B", "rank", e));
          update.forEach((v, o) => (want[o]! += (5 / 2) * (p[t]![e]! / mass) * v));
        }
        want.forEach((v, o) => near(y[t]![o]!, v));
      });
    }
  });

  it("AdaMoLE: what exceeds tau = most · sigmoid(w x + b), made to sum to 1, or nothing; its balance is E Σ f · mean(p - tau)", async () => {
    let none = 0;
    for (const seed of seeds)
      for (const most of [0.2, 0.45, 0.9]) {
        const sizes = sizesOf(seed);
        const made = await site(`experts e[4] = lora(rank: 1)\nroute adaptive_threshold(most: ${most})\nbalance margin_balancing() unmasked`, sizes, numbers(seed));
        const w = valuesOf(made, "threshold_weight");
        const [b] = valuesOf(made, "threshold_bias") as [number];
        const gates = rows(run(made, "gates"), 4);
        const margins = probabilities(made).map((p, t) => {
          const x = rows(valuesOf(made, "x"), sizes.in)[t]!;
          const tau = most / (1 + Math.exp(-(sum(x.map((v, i) => v * w[i]!)) + b)));
          return p.map((v) => v - tau);
        });
        margins.forEach((m, t) => {
          const kept = m.map((v) => Math.max(v, 0));
          if (sum(kept) === 0) none++;
          kept.forEach((v, e) => near(gates[t]![e]!, sum(kept) === 0 ? 0 : v / sum(kept)));
        });
        const T = margins.length;
        const balance = 4 * sum(range(4).map((e) => (sum(margins.map((m) => Number(m[e]! >= 0))) / T) * (sum(margins.map((m) => m[e]!)) / T)));
        near(run(made, "balance")[0]!, balance);
      }
    expect(none).toBeGreaterThan(0);
  });

  it("DoRA: magnitude / ‖W + s A B‖ · (W + s A B) x, the norm over the inputs of each output", async () => {
    for (const seed of seeds) {
      const sizes = sizesOf(seed);
      const made = await site("always dora(rank: 2, alpha: 3)", sizes, numbers(seed));
      const [W, A, B, m] = [matrix(made, "base.weight", "in"), matrix(made, "A", "in"), matrix(made, "B", "rank"), valuesOf(made, "magnitude")] as const;
      const turned = W.map((row, i) => times(A[i]!, B).map((v, o) => row[o]! + 1.5 * v));
      const norm = range(sizes.out).map((o) => Math.hypot(...turned.map((row) => row[o]!)));
      rows(run(made, "output"), sizes.out).forEach((y, t) => times(rows(valuesOf(made, "x"), sizes.in)[t]!, turned).forEach((v, o) => near(y[o]!, (m[o]! / norm[o]!) * v)));
    }
  });

  it("rsLoRA, MoSLoRA and (IA)³", async () => {
    for (const seed of seeds) {
      const sizes = sizesOf(seed);
      const check = async (clause: string, update: (made: Site, x: readonly number[], y: readonly number[]) => readonly number[]): Promise<void> => {
        const made = await site(`always ${clause}`, sizes, numbers(seed));
        const base = matrix(made, "base.weight", "in");
        const y = rows(run(made, "output"), sizes.out);
        rows(valuesOf(made, "x"), sizes.in).forEach((x, t) => {
          const frozen = times(x, base);
          update(made, x, frozen).forEach((v, o) => near(y[t]![o]!, frozen[o]! + v));
        });
      };
      await check("rslora(rank: 2, alpha: 3)", (m, x) => times(times(x, matrix(m, "A", "in")), matrix(m, "B", "rank")).map((v) => (3 / Math.sqrt(2)) * v));
      await check("moslora(rank: 2, alpha: 3)", (m, x) => times(times(times(x, matrix(m, "A", "in")), matrix(m, "core", "rank")), matrix(m, "B", "mixed")).map((v) => 1.5 * v));
      await check("ia3()", (m, _, y) => y.map((v, o) => v * (valuesOf(m, "l")[o]! - 1)));
      await check("ia3_input()", (m, x) => times(x.map((v, i) => v * (valuesOf(m, "l")[i]! - 1)), matrix(m, "base.weight", "in")));
    }
  });
});

describe("balances", () => {
  /** A site with a balance, and what its formula is of, over the real tokens or over all. */
  async function balanced(router: string, balance: string, seed: number): Promise<{ readonly made: Site; readonly value: number; readonly p: Matrix; readonly gates: Matrix; readonly logits: Matrix; readonly T: number }> {
    const made = await site(`experts e[2] = lora(rank: 1)\nexperts f[3] = lora(rank: 1)\nroute ${router}\nbalance ${balance}`, sizesOf(seed), numbers(seed));
    const mask = valuesOf(made, "mask");
    const real = <T>(of: readonly T[]): T[] => of.filter((_, t) => balance.includes("unmasked") || mask[t] === 1);
    const p = real(probabilities(made));
    const logits = real(rows(valuesOf(made, "x"), sizesOf(seed).in).map((x) => times(x, matrix(made, "router.W", "in"))));
    return { made, value: run(made, "balance")[0]!, p, gates: real(rows(run(made, "gates"), 5)), logits, T: p.length };
  }
  const mean = (of: Matrix, e: number): number => sum(of.map((row) => row[e]!)) / of.length;
  const both = ["", " unmasked"];

  it.each([1, 2, 5])("load balancing with k = %d: E Σ f · P, f of the assignments (MoLA) or of the tokens (Mixtral, MixLoRA)", async (k) => {
    for (const seed of seeds)
      for (const more of both)
        for (const [shares, divisor] of [["one", k], ["k", 1]] as const) {
          const { value, p } = await balanced(`top_k(${k})`, `load_balancing(shares: ${shares})${more}`, seed);
          const chosen = p.map((row) => range(5).map((e) => Number(top(row, k).has(e))));
          near(value, 5 * sum(range(5).map((e) => (mean(chosen, e) / divisor) * mean(p, e))));
        }
  });

  it("importance: CV² of the experts' mass; TeamLoRA's usage; entropy; z-loss", async () => {
    for (const seed of seeds)
      for (const more of both) {
        const importance = await balanced("top_k(2)", `importance()${more}`, seed);
        const mass = range(5).map((e) => sum(importance.gates.map((g) => g[e]!)));
        const m = sum(mass) / 5;
        near(importance.value, sum(mass.map((v) => (v - m) ** 2)) / 4 / (m * m + 1e-10));
        const usage = await balanced("softmax()", `even_usage()${more}`, seed);
        near(usage.value, sum(range(5).map((e) => (mean(usage.gates, e) - 1 / 5) ** 2)) / 5);
        const entropy = await balanced("softmax()", `entropy()${more}`, seed);
        near(entropy.value, sum(range(5).map((e) => mean(entropy.gates, e) * Math.log(mean(entropy.gates, e) + 1e-10))));
        const z = await balanced("softmax()", `z_loss()${more}`, seed);
        near(z.value, sum(z.logits.map((l) => Math.log(sum(l.map(Math.exp))) ** 2)) / z.T);
      }
  });

  it("localized: Var / Mean² or Var / Mean of the weighed importance, unbiased, over samples and experts", async () => {
    for (const seed of seeds)
      for (const more of both)
        for (const pull of ["away", "toward"])
          for (const form of ["cv2", "var_over_mean"]) {
            const sizes = sizesOf(seed);
            const arrows = "{ a -> one\n b -> two\n c -> one, two }";
            const made = await site(`experts one[1] = lora(rank: 1)\nexperts two[3] = lora(rank: 1)\nroute softmax()\nbalance localized(delta: 0.25, pull: ${pull}, form: ${form})${more} ${arrows}`, sizes, numbers(seed));
            const gates = rows(run(made, "gates"), 4);
            const mask = valuesOf(made, "mask");
            const groups: readonly (readonly number[])[] = [[0], [1, 2, 3], [0, 1, 2, 3]];
            const z = valuesOf(made, "kind").flatMap((kind, s) =>
              range(4).map((e) => {
                const q = sum(range(sizes.position).map((t) => gates[s * sizes.position + t]![e]! * (more === "" ? mask[s * sizes.position + t]! : 1)));
                const matches = groups[kind]?.includes(e) ?? false;
                return q * (matches === (pull === "away") ? 1.25 : 0.75);
              }),
            );
            const m = sum(z) / z.length;
            const variance = sum(z.map((v) => (v - m) ** 2)) / (z.length - 1);
            near(run(made, "balance")[0]!, variance / (form === "cv2" ? m * m + 1e-10 : m + 1e-10));
          }
  });
});
