import { describe, expect, it } from "vitest";
import type { Tensor } from "../../src/ir/index.ts";
import { numbers } from "../passes/support.ts";
import { element, matrix, near, probabilities, range, rows, seeds, sigmoid, sizesOf, sum, times } from "./by-hand.ts";
import { draws, run, site, valuesOf, type Site } from "./support.ts";

/** Experts that came after `formulas.test.ts`, and Poly, whose skills are mixed before they are applied. */

/** x A B of one low-rank expert. */
const product = (x: readonly number[], made: Site, expert?: number, A = "A", B = "B"): number[] => times(times(x, matrix(made, A, "in", expert)), matrix(made, B, "rank", expert));
const add = (a: readonly number[], b: readonly number[], scale = 1): number[] => a.map((v, i) => v + scale * b[i]!);

/** Compares the site's output with what the formula adds to the frozen output of each token. */
function updates(made: Site, sizes: { readonly in: number; readonly out: number; readonly position: number }, output: readonly number[], formula: (x: readonly number[], t: number) => readonly number[]): void {
  const base = matrix(made, "base.weight", "in");
  rows(valuesOf(made, "x"), sizes.in).forEach((x, t) => add(times(x, base), formula(x, t)).forEach((v, o) => near(output[t * sizes.out + o]!, v)));
}

const zeros = (n: number): number[] => new Array<number>(n).fill(0);

describe("experts", () => {
  it("N+1 routing: the share of `nothing` leaves the layer as it is", async () => {
    for (const seed of seeds) {
      const sizes = sizesOf(seed);
      const made = await site("experts e[3] = lora(rank: 2, alpha: 3)\nexperts none[2] = nothing()\nroute softmax()", sizes, numbers(seed));
      const p = probabilities(made);
      expect(p[0]).toHaveLength(5);
      updates(made, sizes, run(made, "output"), (x, t) => range(3).reduce((y, e) => add(y, product(x, made, e, "e.A", "e.B"), 1.5 * p[t]![e]!), zeros(sizes.out)));
    }
  });

  it("LoRAMoE's dropout: a mask of its own for every expert, or one for all; the router's input is whole", async () => {
    for (const seed of seeds)
      for (const masks of ["each", "shared"]) {
        const sizes = sizesOf(seed);
        const made = await site(`experts e[3] = lora(rank: 2, alpha: 4, dropout: 0.4, masks: ${masks})\nroute softmax()`, sizes, numbers(seed), "", "", true);
        const p = probabilities(made);
        const { values, drawn } = draws(made, "output", {}, numbers(1000 + seed));
        expect(drawn.map((d) => d.axes.map((a) => a.name).sort())).toEqual([masks === "each" ? ["expert", "in", "position", "sample"] : ["in", "position", "sample"]]);
        updates(made, sizes, values, (x, t) =>
          range(3).reduce((y, e) => {
            const at = { sample: Math.floor(t / sizes.position), position: t % sizes.position, expert: e };
            const left = x.map((v, i) => (element(drawn[0]!, { ...at, in: i }) < 0.4 ? 0 : v / 0.6));
            return add(y, product(left, made, e), 2 * p[t]![e]!);
          }, zeros(sizes.out)),
        );
      }
  });

  it("LoRAMoE's dropout in two groups draws for each", async () => {
    const sizes = sizesOf(3);
    const made = await site("experts one[2] = lora(rank: 2, alpha: 2, dropout: 0.4, masks: each)\nexperts two[3] = lora(rank: 2, alpha: 6, dropout: 0.4, masks: each)\nroute softmax()", sizes, numbers(3), "", "", true);
    const p = probabilities(made);
    const { values, drawn } = draws(made, "output", {}, numbers(5));
    updates(made, sizes, values, (x, t) =>
      range(5).reduce((y, e) => {
        const [group, name, own, scale] = e < 2 ? ([0, "one", e, 1] as const) : ([1, "two", e - 2, 3] as const);
        const at = { sample: Math.floor(t / sizes.position), position: t % sizes.position, [name]: own };
        const left = x.map((v, i) => (element(drawn[group]!, { ...at, in: i }) < 0.4 ? 0 : v / 0.6));
        return add(y, product(left, made, own, `${name}.A`, `${name}.B`), scale * p[t]![e]!);
      }, zeros(sizes.out)),
    );
  });

  it("PiSSA: alpha/r (x A B - x A0 B0)", async () => {
    for (const seed of seeds) {
      const sizes = sizesOf(seed);
      const made = await site("always pissa(rank: 2, alpha: 3)", sizes, numbers(seed));
      updates(made, sizes, run(made, "output"), (x) => add(product(x, made), product(x, made, undefined, "A0", "B0"), -1).map((v) => 1.5 * v));
    }
  });

  it("GOAT: sqrt(3 eta in / r) Σ g_i x A_i B_i, less the share of what all segments started with", async () => {
    for (const seed of seeds) {
      const sizes = { ...sizesOf(seed), in: 4 + (seed % 3), out: 4 + (seed % 2) };
      const made = await site("experts e[2] = goat(rank: 2, of: 2, eta: 0.7)\nalways goat_rest(rank: 2, of: 2, eta: 0.7, share: 0.8)\nroute top_k(1)", sizes, numbers(seed));
      const scale = Math.sqrt((3 * 0.7 * sizes.in) / 2);
      const p = probabilities(made);
      const [A, B] = ["always.A", "always.B"].map((name) => made.args[made.param(name)] as Tensor) as [Tensor, Tensor];
      updates(made, sizes, run(made, "output"), (x, t) => {
        const best = p[t]![0]! >= p[t]![1]! ? 0 : 1;
        const rest = range(sizes.out).map((out) =>
          sum(range(2).flatMap((segment) => range(2).map((rank) => sum(x.map((v, i) => v * element(A, { in: i, segment, rank }))) * element(B, { segment, rank, out })))),
        );
        return add(product(x, made, best, "e.A", "e.B"), rest, -0.8).map((v) => scale * v);
      });
    }
  });
});

describe("Poly (PEFT): x (Σ z_i A_i) (Σ z_i B_i) / r", () => {
  const of = (seed: number, training: boolean, temperature = 1): Promise<Site> =>
    site(`experts e[3] = lora(rank: 2, alpha: 1)\nroute skills(temperature: ${temperature})\nmix weights`, { ...sizesOf(seed), sample: 4 }, numbers(seed), "", "kinds a, b", training);

  /** The skills' weights averaged, then applied. */
  function mixed(made: Site, x: readonly number[], z: readonly number[]): number[] {
    const blend = (name: string, axis: string): number[][] =>
      matrix(made, name, axis, 0).map((row, i) => row.map((_, j) => sum(z.map((v, e) => v * matrix(made, name, axis, e)[i]![j]!))));
    return times(times(x, blend("A", "in")), blend("B", "rank")).map((v) => v / 2);
  }

  /** Logits of a sample's kind; a sample of no kind has none, and every skill alike. */
  function logits(made: Site, sample: number): number[] {
    const kind = valuesOf(made, "kind")[sample]!;
    return kind < 0 ? zeros(3) : [...matrix(made, "router.chosen", "kind")[kind]!];
  }

  it("in evaluation z are the probabilities, made to sum to 1", async () => {
    for (const seed of seeds) {
      const sizes = { ...sizesOf(seed), sample: 4 };
      const made = await of(seed, false, 0.7);
      updates(made, sizes, run(made, "output"), (x, t) => {
        const p = logits(made, Math.floor(t / sizes.position)).map((l) => sigmoid(l / 0.7));
        return mixed(made, x, p.map((v) => v / (sum(p) + 1e-12)));
      });
    }
  });

  it("in training they are relaxed Bernoulli draws, one for each sample and skill", async () => {
    for (const seed of seeds) {
      const sizes = { ...sizesOf(seed), sample: 4 };
      const made = await of(seed, true, 0.5);
      const { values, drawn } = draws(made, "output", {}, numbers(50 + seed));
      expect(drawn.map((d) => d.axes.map((a) => `${a.name} ${a.size}`))).toEqual([["sample 4", "expert 3"]]);
      updates(made, sizes, values, (x, t) => {
        const sample = Math.floor(t / sizes.position);
        const p = logits(made, sample).map((l, e) => {
          const u = element(drawn[0]!, { sample, expert: e });
          return sigmoid((l + Math.log(u) - Math.log(1 - u)) / 0.5);
        });
        return mixed(made, x, p.map((v) => v / (sum(p) + 1e-12)));
      });
    }
  });

  it("is not what mixing the skills' outputs gives", async () => {
    const made = await of(2, false);
    const outputs = await site("experts e[3] = lora(rank: 2, alpha: 1)\nroute skills()", { ...sizesOf(2), sample: 4 }, numbers(2), "", "kinds a, b");
    const given = Object.fromEntries(["x", "mask", "kind", "base.weight", "A", "B", "router.chosen"].map((n) => [n, valuesOf(made, n)]));
    const [a, b] = [run(made, "output"), run(outputs, "output", given)];
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]!)))).toBeGreaterThan(1e-3);
  });
});
