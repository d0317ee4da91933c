import { describe, expect, it } from "vitest";
import { interpretEntry, type Arg, type Module, type Tensor } from "../../src/ir/index.ts";
import { lower } from "../../src/lower/index.ts";
import { gradientsEntry } from "../../src/passes/index.ts";
import { numbers, randomArg, sound, tensorsOf } from "../passes/support.ts";
import { checkSource, renderAll, spec } from "./support.ts";

const sizes = { sample: 2, position: 3 };

/** The whole tiny model with an adapter, and random arguments of its entry `train`. */
async function whole(clauses: string, more = "", path?: string) {
  const program = await checkSource(spec(clauses, path, more));
  expect(renderAll(program)).toEqual([]);
  const lowered = lower(program.checked.context, program.checked.adapters[0]!);
  sound(lowered);
  const { module } = gradientsEntry(lowered);
  sound(module);
  const entry = module.entries.get("gradients")!;
  const fn = module.functions.get(entry.fn)!;
  const next = numbers(11);
  const weight: Record<string, Arg> = {};
  const input: Record<string, Arg> = {};
  entry.params.forEach((binding, i) => {
    const { type } = fn.params[i]!;
    if (binding.kind === "weight") weight[binding.weight] = randomArg(type, next, -0.4, 0.4, sizes);
    else if (binding.kind === "input") input[binding.name] = type.kind === "number" ? 1 : randomArg(type, next, 0, 1, sizes);
  });
  (input["mask"] as Tensor).data.forEach((_, i, all) => (all[i] = i === 5 ? 0 : 1));
  (input["kind"] as Tensor | undefined)?.data.forEach((_, i, all) => (all[i] = i - 1));
  return { module, weight, input };
}

const balanceOf = (of: { module: Module; weight: Record<string, Arg>; input: Record<string, Arg> }, weight = of.weight): number =>
  (interpretEntry(of.module, "gradients", { weight, input: of.input }).output["balance"] as Tensor).data[0]!;

const experts = "experts a[2] = lora(rank: 2)\nexperts b[1] = lora(rank: 1)\nroute softmax()";
/** Linear in what it sees: the share of the first expert. */
const first = "balance share() {\n  (gates [sample, position, expert], mask [sample, position]) -> [] = sum(gates * mask * (index(expert) == 0)) / sum(mask)\n}";
/** Of every site the first expert's share; its square is not linear. */
const squared = "balance squared() {\n  (gates [sample, position, expert], mask [sample, position]) -> [] {\n    share = sum(gates * mask * (index(expert) == 0)) / sum(mask)\n    share * share\n  }\n}";

describe("balances pooled over sites", () => {
  it("count all sites' tokens as one site's: of what is linear that is the mean over sites", async () => {
    const pooled = await whole(`${experts}\nbalance share() pooled over sites`, first);
    const mean = await whole(`${experts}\nbalance share() mean over sites`, first);
    expect(balanceOf(pooled)).toBeCloseTo(balanceOf(mean), 12);
    expect(balanceOf(pooled)).toBeGreaterThan(0.05);
  });

  it("are no mean of the sites' terms where they are not linear, but the term of the mean", async () => {
    const pooled = await whole(`${experts}\nbalance squared() pooled over sites`, squared);
    const mean = await whole(`${experts}\nbalance squared() mean over sites`, squared);
    const share = balanceOf(await whole(`${experts}\nbalance share() mean over sites`, first));
    expect(balanceOf(pooled)).toBeCloseTo(share ** 2, 12);
    expect(Math.abs(balanceOf(mean) - share ** 2)).toBeGreaterThan(1e-6);
  });

  it("of one site are that site's own", async () => {
    const one = "layers.1.mlp.up_proj";
    const arrows = " { x -> a\ny -> b }";
    for (const term of ["load_balancing()", "importance()", `localized(delta: 0.3)`]) {
      const map = term.startsWith("localized") ? arrows : "";
      const pooled = await whole(`${experts}\nbalance 2 * ${term} pooled over sites${map}`, "", one);
      const own = await whole(`${experts}\nbalance 2 * ${term}${map}`, "", one);
      expect(balanceOf(pooled), term).toBeCloseTo(balanceOf(own), 12);
    }
  });

  it.each(["load_balancing(shares: k)", "importance()", "localized(delta: 0.3, pull: away)", "z_loss()"])("%s has the gradients of its differences", async (term) => {
    const map = term.startsWith("localized") ? " { x -> a\ny -> b }" : "";
    const made = await whole(`${experts}\nbalance 3 * ${term} pooled over sites${map}`);
    // Only the balance counts here.
    made.input["lossScale"] = 0;
    const { gradient } = interpretEntry(made.module, "gradients", { weight: made.weight, input: made.input });
    const routers = Object.keys(gradient).filter((name) => name.endsWith("router.W"));
    expect(routers.length).toBeGreaterThan(0);
    for (const name of routers) {
      tensorsOf(gradient[name]!).forEach((g, layer) => {
        for (let i = 0; i < g.data.length; i += 7) {
          const at = (h: number): number =>
            balanceOf(made, { ...made.weight, [name]: tensorsOf(made.weight[name]!).map((t, l) => (l === layer ? { ...t, data: Float64Array.from(t.data, (v, k) => (k === i ? v + h : v)) } : t)) });
          expect((at(1e-5) - at(-1e-5)) / 2e-5, `${name}[${layer}][${i}]`).toBeCloseTo(g.data[i]!, 6);
        }
      });
    }
  });
});
