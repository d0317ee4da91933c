import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { interpret, tensorOf, type Arg } from "../../src/ir/index.ts";
import { differentiate } from "../../src/passes/index.ts";
import { numbers } from "../passes/support.ts";
import { run, site, valuesOf, type Site } from "./support.ts";

const sizes = { in: 4, out: 3, sample: 3, position: 4 };
const seeds = [1, 2, 3];
const mixture = (count: number, rest: string): string => `experts e[${count}] = lora(rank: 2, alpha: 3)\n${rest}`;

/** Gates of each token, of a site with `count` experts. */
function rows(gates: readonly number[], count: number): readonly (readonly number[])[] {
  return Array.from({ length: gates.length / count }, (_, i) => gates.slice(i * count, (i + 1) * count));
}

const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
const probabilities = (logits: readonly number[]): number[] => {
  const e = logits.map((v) => Math.exp(v - Math.max(...logits)));
  return e.map((v) => v / sum(e));
};

/** x · W of each token: what a router's softmax is of. */
function logits(of: Site, count: number): readonly (readonly number[])[] {
  const x = rows(valuesOf(of, "x"), sizes.in);
  const W = valuesOf(of, "router.W");
  const { axes } = of.args[of.param("router.W")] as { axes: readonly { name: string }[] };
  const inFirst = axes[0]!.name === "in";
  return x.map((t) => Array.from({ length: count }, (_, e) => sum(t.map((v, i) => v * (inFirst ? W[i * count + e]! : W[e * sizes.in + i]!)))));
}

describe("gates", () => {
  const whole = ["softmax()", "softmax(temperature: 0.2)", "top_k(1)", "top_k(2)", "top_k(5)", "top_k_softmax(3)", "top_p(0.6, renormalize: true)"];
  it.each(whole)("of %s sum to 1 and are not negative", async (router) => {
    for (const seed of seeds)
      for (const g of rows(run(await site(mixture(5, `route ${router}`), sizes, numbers(seed)), "gates"), 5)) {
        expect(sum(g)).toBeCloseTo(1, 12);
        expect(Math.min(...g)).toBeGreaterThanOrEqual(0);
      }
  });

  it.each(["threshold(at: 0.24)", "adaptive_threshold(most: 0.5)"])("of %s sum to 1, or to 0 where a token reaches no expert", async (router) => {
    const sums = new Set<number>();
    for (let seed = 1; seed < 12; seed++)
      for (const g of rows(run(await site(mixture(5, `route ${router}`), sizes, numbers(seed)), "gates"), 5)) {
        const total = Math.round(sum(g) * 1e12) / 1e12;
        expect([0, 1]).toContain(total);
        expect(Math.min(...g)).toBeGreaterThanOrEqual(0);
        sums.add(total);
      }
    expect(sums).toEqual(new Set([0, 1]));
  });

  it("of top_k are the k greatest probabilities, all of them where k is the number of experts", async () => {
    for (const seed of seeds)
      for (const k of [1, 2, 4]) {
        const made = await site(mixture(4, `route top_k(${k}, renormalize: false)`), sizes, numbers(seed));
        logits(made, 4).forEach((l, t) => {
          const p = probabilities(l);
          const least = [...p].sort((a, b) => b - a)[k - 1]!;
          const gates = rows(run(made, "gates"), 4)[t]!;
          p.forEach((v, e) => expect(gates[e]).toBeCloseTo(v >= least ? v : 0, 12));
        });
      }
  });

  it("with k the number of experts, top_k and top_k_softmax are softmax", async () => {
    const at = async (router: string): Promise<readonly number[]> => run(await site(mixture(4, `route ${router}`), sizes, numbers(7)), "gates");
    const softmax = await at("softmax()");
    for (const router of ["top_k(4)", "top_k_softmax(4)", "top_p(1)", "threshold(at: 0)"]) (await at(router)).forEach((g, i) => expect(g).toBeCloseTo(softmax[i]!, 12));
  });

  it("where all probabilities are equal, exactly k experts are chosen, the first ones", async () => {
    const none = new Array(sizes.in * 4).fill(0);
    const at = async (router: string): Promise<readonly number[]> => rows(run(await site(mixture(4, `route ${router}`), sizes, numbers(1)), "gates", { "router.W": none }), 4)[0]!;
    expect(await at("top_k(2)")).toEqual([0.5, 0.5, 0, 0]);
    expect(await at("top_k_softmax(3)")).toEqual([1 / 3, 1 / 3, 1 / 3, 0]);
    // As MixLoRA-dynamic counts: the first two have 0.5, which does not exceed it.
    expect(await at("top_p(0.5)")).toEqual([0.25, 0.25, 0.25, 0]);
    expect(await at("top_p(0.4)")).toEqual([0.25, 0.25, 0, 0]);
    expect(await at("threshold(at: 0.25)")).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect(await at("threshold(at: 0.26)")).toEqual([0, 0, 0, 0]);
  });

  it("of top_p are the greatest probabilities up to the first with which they exceed the mass", async () => {
    for (const seed of seeds) {
      const made = await site(mixture(5, "route top_p(0.7)"), sizes, numbers(seed));
      logits(made, 5).forEach((l, t) => {
        const p = probabilities(l);
        const order = [0, 1, 2, 3, 4].sort((a, b) => p[b]! - p[a]!);
        const kept: number[] = [];
        for (const e of order) {
          kept.push(e);
          if (sum(kept.map((i) => p[i]!)) > 0.7) break;
        }
        rows(run(made, "gates"), 5)[t]!.forEach((g, e) => expect(g).toBeCloseTo(kept.includes(e) ? p[e]! : 0, 12));
      });
    }
  });
});

describe("a mixture", () => {
  it("of one expert under softmax is that expert, to the last bit", async () => {
    for (const seed of seeds) {
      const one = await site("experts e[1] = lora(rank: 2, alpha: 3)\nroute softmax()", sizes, numbers(seed));
      const plain = await site("always lora(rank: 2, alpha: 3)", sizes, numbers(99));
      const same = run(plain, "output", Object.fromEntries(["x", "base.weight", "A", "B"].map((n) => [n, valuesOf(one, n)])));
      expect(run(one, "output")).toEqual(same);
    }
  });

  it("gives what the base gives where no token reaches an expert", async () => {
    const made = await site(mixture(4, "route threshold(at: 0.99)"), sizes, numbers(3));
    const base = await site("always ia3()", sizes, numbers(4));
    const frozen = run(base, "output", { x: valuesOf(made, "x"), "base.weight": valuesOf(made, "base.weight"), l: new Array(sizes.out).fill(1) });
    expect(run(made, "output")).toEqual(frozen);
  });

  it("of (IA)³ vectors scales by their mean under the gates, as MoV does", async () => {
    const made = await site("experts v[3] = ia3()\nroute softmax()", sizes, numbers(5));
    const base = await site("always ia3()", sizes, numbers(4));
    const y = rows(run(base, "output", { x: valuesOf(made, "x"), "base.weight": valuesOf(made, "base.weight"), l: new Array(sizes.out).fill(1) }), sizes.out);
    const l = rows(valuesOf(made, "l"), sizes.out);
    const gates = rows(run(made, "gates"), 3);
    rows(run(made, "output"), sizes.out).forEach((row, t) => row.forEach((v, o) => expect(v).toBeCloseTo(y[t]![o]! * sum(gates[t]!.map((g, e) => g * l[e]![o]!)), 12)));
  });
});

const balances: Readonly<Record<string, string>> = {
  "localized()": "softmax()",
  "load_balancing()": "top_k(2)",
  "load_balancing(shares: k)": "top_k(2)",
  "margin_balancing()": "adaptive_threshold(most: 0.3)",
  "importance()": "softmax()",
  "even_usage()": "softmax()",
  "z_loss()": "softmax()",
  "entropy()": "softmax()",
};
const arrows = (balance: string): string => (balance.startsWith("localized") ? " { a -> e\nb -> f }" : "");
const balanced = (balance: string, more: string): string =>
  `experts e[2] = lora(rank: 1)\nexperts f[2] = lora(rank: 1)\nroute ${balances[balance]!}\nbalance ${balance}${more}${arrows(balance)}`;

describe("balances", () => {
  /** x with other numbers at every position that the mask leaves out. */
  function changed(of: Site): number[] {
    const mask = valuesOf(of, "mask");
    return valuesOf(of, "x").map((v, i) => (mask[Math.floor(i / sizes.in)] === 0 ? v + 3 * Math.sin(i + 1) : v));
  }

  it.each(Object.keys(balances))("%s does not look at padding, unless it is told to", async (balance) => {
    let padded = 0;
    for (const seed of seeds) {
      const masked = await site(balanced(balance, ""), sizes, numbers(seed));
      expect(run(masked, "balance", { x: changed(masked) })).toEqual(run(masked, "balance"));
      if (valuesOf(masked, "mask").every((m) => m === 1)) continue;
      padded++;
      const unmasked = await site(balanced(balance, " unmasked"), sizes, numbers(seed));
      expect(run(unmasked, "balance", { x: changed(unmasked) })).not.toEqual(run(unmasked, "balance"));
    }
    expect(padded).toBeGreaterThan(0);
  });

  it.each(Object.keys(balances))("%s, unmasked, is what it is where nothing is padding", async (balance) => {
    const masked = await site(balanced(balance, ""), sizes, numbers(8));
    const unmasked = await site(balanced(balance, " unmasked"), sizes, numbers(8));
    const all = { mask: new Array(sizes.sample * sizes.position).fill(1) };
    expect(run(unmasked, "balance", all)[0]).toBeCloseTo(run(masked, "balance", all)[0]!, 12);
  });

  it("are least where experts are used alike", async () => {
    const even = new Array(sizes.in * 4).fill(0);
    const at = async (balance: string): Promise<number> => run(await site(balanced(balance, ""), sizes, numbers(2)), "balance", { "router.W": even })[0]!;
    expect(await at("importance()")).toBeCloseTo(0, 12);
    expect(await at("even_usage()")).toBeCloseTo(0, 12);
    expect(await at("entropy()")).toBeCloseTo(-Math.log(4), 8);
    // E · Σ f · P with P = 1 / E is the sum of f, whatever f is.
    expect(await at("load_balancing()")).toBeCloseTo(1, 12);
    expect(await at("load_balancing(shares: k)")).toBeCloseTo(2, 12);
    expect(await at("z_loss()")).toBeCloseTo(Math.log(4) ** 2, 12);
  });
});

describe("the localized constraint alone", () => {
  /**
   * Gradient descent on gates that nothing else holds: a router whose input tells the samples apart. One sample a group,
   * of the kinds given. Returns, for each sample, the share of the mass on each group.
   */
  async function shares(groups: readonly number[], balance: string, arrowsText: string, ofKind = groups.map((_, i) => i)): Promise<readonly (readonly number[])[]> {
    const count = sum(groups);
    const kinds = groups.length;
    const here = { in: kinds, out: 2, sample: kinds, position: 3 };
    const text = `${groups.map((n, i) => `experts g${i}[${n}] = lora(rank: 1)`).join("\n")}\nroute softmax()\nbalance ${balance} { ${arrowsText} }`;
    const made = await site(text, here, numbers(1));
    const module = differentiate(made.module, { fn: "case", of: made.outputs.indexOf("balance"), wrt: [made.param("router.W")], name: "gradient" }).module;
    const x = Float64Array.from({ length: kinds * 3 * kinds }, (_, i) => (Math.floor(i / (3 * kinds)) === i % kinds ? 1 : 0));
    const args: Arg[] = [...made.args];
    args[made.param("x")] = tensorOf({ sample: kinds, position: 3, in: kinds }, x);
    args[made.param("mask")] = tensorOf({ sample: kinds, position: 3 }, new Array(3 * kinds).fill(1));
    args[made.param("kind")] = tensorOf({ sample: kinds }, ofKind, "i32");
    const at = made.param("router.W");
    for (let step = 0; step < 600; step++) {
      const W = args[at] as ReturnType<typeof tensorOf>;
      const g = interpret(module, "gradient", args).at(-1) as ReturnType<typeof tensorOf>;
      args[at] = { ...W, data: Float64Array.from(W.data, (v, i) => v - 2 * g.data[i]!) };
    }
    const gates = rows([...(interpret(made.module, "case", args)[made.outputs.indexOf("gates")] as ReturnType<typeof tensorOf>).data], count);
    return Array.from({ length: kinds }, (_, k) => {
      let start = 0;
      return groups.map((n) => sum(gates[3 * k]!.slice(start, (start += n))));
    });
  }

  const two = "a -> g0\nb -> g1";

  it("by the literal factor gives a sample's own group less: 45 to 55 with delta 0.1, 35 to 65 with 0.3", async () => {
    for (const [delta, own] of [[0.1, 0.45], [0.3, 0.35]] as const)
      for (const form of ["cv2", "var_over_mean"]) {
        const [a, b] = (await shares([3, 3], `localized(delta: ${delta}, pull: away, form: ${form})`, two)) as [number[], number[]];
        expect(a[0]).toBeCloseTo(own, 4);
        expect(b[1]).toBeCloseTo(own, 4);
      }
  });

  it("toward gives it more", async () => {
    const [a, b] = (await shares([3, 3], "localized(delta: 0.1)", two)) as [number[], number[]];
    expect(a[0]).toBeCloseTo(0.55, 4);
    expect(b[1]).toBeCloseTo(0.55, 4);
  });

  it("with groups of other sizes the share is that of equal weighed mass", async () => {
    // Each expert's mass goes as 1 / its factor: n / (1 + s) on the sample's own group, n / (1 - s) on the other.
    for (const [pull, s] of [["away", 0.2], ["toward", -0.2]] as const) {
      const [own, other] = [1 / (1 + s), 3 / (1 - s)];
      for (const found of await shares([1, 3], `localized(delta: 0.2, pull: ${pull})`, two, [0, 0])) expect(found[0]).toBeCloseTo(own / (own + other), 4);
    }
  });

  it("with three groups toward still means toward: each kind has most on its own", async () => {
    const found = await shares([2, 2, 2], "localized(delta: 0.2)", "a -> g0\nb -> g1\nc -> g2");
    found.forEach((s, kind) => {
      const [own, ...others] = [s[kind]!, ...s.filter((_, g) => g !== kind)];
      // 1 / (1 - 0.2) against 1 / (1 + 0.2) on each of the two others.
      expect(own).toBeCloseTo(1.25 / (1.25 + 2 / 1.2), 3);
      for (const other of others) expect(own!).toBeGreaterThan(other);
    });
  });

  it("does not tell kinds that no arrow names from each other", () => {
    fc.assert(
      fc.asyncProperty(fc.nat(1000), async (seed) => {
        const made = await site("experts e[2] = lora(rank: 1)\nexperts f[2] = lora(rank: 1)\nroute softmax()\nbalance localized(delta: 0.3) { a -> e\nb -> f }", sizes, numbers(seed));
        const unknown = run(made, "balance", { kind: [-1, -1, -1] });
        const plain = run(await site("experts e[2] = lora(rank: 1)\nexperts f[2] = lora(rank: 1)\nroute softmax()\nbalance localized(delta: 0) { a -> e\nb -> f }", sizes, numbers(seed)), "balance");
        // Every entry is weighed alike, and the squared coefficient of variation does not see a common factor.
        expect(unknown[0]).toBeCloseTo(plain[0]!, 8);
      }),
      { numRuns: 5 },
    );
  });
});
