import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "../../src/parser/index.ts";
import { numbers } from "../passes/support.ts";
import { differences, distance, gradients, site, TooNear, type SiteSizes } from "./support.ts";

/** Draws for one random case of a definition. */
interface Draw {
  /** A whole number from low to high. */
  readonly int: (low: number, high: number) => number;
  /** A number between, with few digits. */
  readonly real: (low: number, high: number) => number;
  readonly pick: <T>(...of: readonly T[]) => T;
  readonly sizes: SiteSizes;
  /** How many experts the site has. */
  readonly experts: number;
}

/** An application of a definition with random arguments. */
type Call = (d: Draw) => string;

const lowRank = (name: string): Call => (d) => `${name}(rank: ${d.int(1, Math.min(d.sizes.in, d.sizes.out))}, alpha: ${d.real(0.5, 4)})`;

const experts: Readonly<Record<string, Call>> = {
  lora: lowRank("lora"),
  rslora: lowRank("rslora"),
  dora: lowRank("dora"),
  moslora: lowRank("moslora"),
  ia3: () => "ia3()",
  ia3_input: () => "ia3_input()",
  nothing: () => "nothing()",
  pissa: (d) => `pissa(rank: ${d.int(1, Math.min(d.sizes.in, d.sizes.out))}, alpha: ${d.real(0.5, 4)})`,
  goat: (d) => `goat(rank: 1, of: ${d.int(1, 2)})`,
  goat_rest: (d) => `goat_rest(rank: 1, of: ${d.int(1, 2)}, share: ${d.real(0.1, 1)})`,
};

/** Routers that tell more about their site than the number of experts: the adapter's fields, and the groups. */
const fields: Readonly<Record<string, string>> = { cluster_and_universal: "field cluster[3]" };
/** Routers that look at their experts: all of one definition. */
const alike = (d: Draw): string => `experts one[${d.experts}] = lora(rank: ${d.int(1, Math.min(d.sizes.in, d.sizes.out))})`;
const universal = (d: Draw): string => `experts one[${d.experts - 1}] = lora(rank: 1)\nexperts two[1] = lora(rank: 2)`;

const routers: Readonly<Record<string, Call>> = {
  softmax: (d) => `softmax(temperature: ${d.real(0.3, 3)})`,
  top_k: (d) => `top_k(${d.int(1, d.experts)}, renormalize: ${d.pick(true, false)}, temperature: ${d.real(0.3, 3)})`,
  top_k_softmax: (d) => `top_k_softmax(${d.int(1, d.experts)})`,
  top_p: (d) => `top_p(${d.real(0.2, 0.95)}, renormalize: ${d.pick(true, false)})`,
  threshold: (d) => `threshold(at: ${d.real(0.1, 0.5)}, renormalize: ${d.pick(true, false)})`,
  // Its kinds are those that arrows name.
  task_softmax: (d) => `task_softmax(dim: ${d.int(1, 3)})\nbalance 0.1 * localized() { a -> one\nb -> two }`,
  skills: (d) => `skills(temperature: ${d.real(0.3, 3)})\nbalance 0.1 * localized() { a -> one\nb -> two }`,
  arrow: (d) => `arrow(${d.int(1, d.experts)}, temperature: ${d.real(0.3, 3)}, rounds: ${d.int(0, 6)})`,
  loss_free: (d) => `loss_free(${d.int(1, d.experts)}, scale: ${d.real(0.5, 3)})`,
  sentence: (d) => `sentence(temperature: ${d.real(0.3, 3)})`,
  switch: (d) => `switch(${d.int(1, 3)})`,
  noisy_top_k: (d) => `noisy_top_k(${d.int(1, d.experts - 1)})`,
  sparsegen: (d) => `sparsegen(hidden: ${d.int(1, 3)})`,
  cluster_and_universal: (d) => `cluster_and_universal(dim: ${d.int(1, 3)}, temperature: ${d.real(0.3, 3)})`,
  xlora: (d) => `xlora(temperature: ${d.real(0.3, 3)})`,
  adaptive_threshold: (d) => `adaptive_threshold(most: ${d.real(0.1, 0.7)})`,
};

/** A balance, and a router that gives what it asks for. */
const balances: Readonly<Record<string, { readonly call: Call; readonly router: Call }>> = {
  localized: {
    call: (d) => `localized(delta: ${d.real(0, 0.45)}${d.pick("", ", strength: [0.5, 2]")}, form: ${d.pick("cv2", "var_over_mean")}, pull: ${d.pick("toward", "away")})`,
    router: (d) => d.pick(routers["softmax"]!, routers["top_k"]!)(d),
  },
  load_balancing: { call: (d) => `load_balancing(shares: ${d.pick("one", "k")})`, router: (d) => d.pick(routers["top_k"]!, routers["top_p"]!, routers["threshold"]!)(d) },
  margin_balancing: { call: () => "margin_balancing()", router: routers["adaptive_threshold"]! },
  importance: { call: () => "importance()", router: (d) => d.pick(routers["softmax"]!, routers["top_k"]!)(d) },
  importance_and_load: { call: () => "importance_and_load()", router: routers["noisy_top_k"]! },
  even_usage: { call: () => "even_usage()", router: routers["softmax"]! },
  z_loss: { call: () => "z_loss()", router: (d) => d.pick(routers["softmax"]!, routers["top_k"]!)(d) },
  entropy: { call: () => "entropy()", router: routers["softmax"]! },
  sparsity_control: { call: (d) => `sparsity_control(k: ${d.int(1, d.experts - 1)})`, router: routers["sparsegen"]! },
};

function draw(next: () => number): Draw {
  const int = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  const pick = <T>(...of: readonly T[]): T => of[int(0, of.length - 1)]!;
  const real = (low: number, high: number): number => Number((low + (high - low) * next()).toPrecision(3));
  return { int, real, pick, sizes: { in: int(2, 5), out: int(2, 5), sample: int(1, 3), position: int(1, 4) }, experts: int(2, 5) };
}

/** The names that the library defines, by kind. */
const defined = { expert: new Set<string>(), router: new Set<string>(), balance: new Set<string>() };
for (const file of readdirSync("std").filter((n) => n.endsWith(".moe")))
  for (const d of parse(readFileSync(`std/${file}`, "utf8"), `std/${file}`).declarations) if (d.kind === "expert" || d.kind === "router" || d.kind === "balance") defined[d.kind].add(d.name.text);

/**
 * Compares the gradients of the loss, and of the balance where there is one, with differences. Arguments too near to a
 * tie or a threshold are drawn again.
 */
async function compare(clauses: (d: Draw) => string, seed: number, outputs: readonly string[], data = ""): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const next = numbers(1000 * seed + attempt);
    const d = draw(next);
    const text = clauses(d);
    const made = await site(text, d.sizes, next, "", data);
    try {
      for (const output of outputs) {
        const found = distance(gradients(made, output), differences(made, output));
        if (!(found < 1e-7)) throw new Error(`the gradient of ${output} is off by ${found} (${JSON.stringify(d.sizes)})\n${text}`);
      }
      return;
    } catch (e) {
      if (!(e instanceof TooNear)) throw e;
    }
  }
  throw new Error("fifty draws, and all too near to a tie or a threshold");
}

const seeds = [1, 2, 3, 4];
/** Two groups, so that a bank's part of the gates is taken too. */
const groups = (d: Draw, expert: string): string => {
  const first = d.int(1, d.experts - 1);
  return `experts one[${first}] = ${expert}\nexperts two[${d.experts - first}] = lora(rank: ${d.int(1, 2)})`;
};

describe("gradients of the library's definitions against differences", () => {
  it("each definition in std/ has a case here", () => {
    expect(new Set(Object.keys(experts))).toEqual(defined.expert);
    expect(new Set(Object.keys(routers))).toEqual(defined.router);
    expect(new Set(Object.keys(balances))).toEqual(defined.balance);
  });

  it.each(Object.keys(experts))("expert %s, alone", async (name) => {
    for (const seed of seeds) await compare((d) => `always ${experts[name]!(d)}`, seed, ["total"]);
  });

  it.each(Object.keys(experts))("expert %s, mixed with others", async (name) => {
    for (const seed of seeds) await compare((d) => `${groups(d, experts[name]!(d))}\nroute softmax()`, seed, ["total"]);
  });

  it("experts that share their first factor", async () => {
    for (const seed of seeds) await compare((d) => `experts e[${d.experts}] = ${experts["lora"]!(d).replace(")", ", shared: A)")}\nroute softmax()`, seed, ["total"]);
  });

  it.each(Object.keys(routers))("router %s", async (name) => {
    for (const seed of seeds) await compare((d) => `${name === "arrow" ? alike(d) : name in fields ? universal(d) : groups(d, experts["lora"]!(d))}\nroute ${routers[name]!(d)}`, seed, ["total"], fields[name]);
  });

  it.each(Object.keys(balances))("balance %s", async (name) => {
    const { call, router } = balances[name]!;
    const arrows = name === "localized" ? " { a -> one\nb -> two }" : "";
    for (const seed of seeds) await compare((d) => `${groups(d, "lora(rank: 1)")}\nroute ${router(d)}\nbalance ${call(d)}${seed % 2 === 0 ? " unmasked" : ""}${arrows}`, seed, ["balance", "total"]);
  });
});
