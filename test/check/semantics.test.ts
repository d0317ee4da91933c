import { describe, expect, it } from "vitest";
import { type Arg, interpretEntry, type Tensor, verify } from "../../src/ir/index.ts";
import type { Program } from "../../src/compiler/program.ts";
import { lower, lowerCase } from "../../src/lower/index.ts";
import { numbers, randomArg, sound } from "../passes/support.ts";
import { checkSource, spec } from "./support.ts";

/** Checks, lowers and verifies; the program. */
async function fine(text: string, given: Parameters<typeof checkSource>[1] = {}): Promise<Program> {
  const program = await checkSource(text, given);
  expect(program.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([]);
  for (const adapter of program.checked.adapters) sound(lower(program.checked.context, adapter));
  return program;
}

/** What one adapted linear computes on random tensors. */
async function runSite(text: string, path = "layers.0.mlp.gate_proj", kinds: readonly string[] = []) {
  const program = await fine(text);
  const { context, adapters } = program.checked;
  const adapter = adapters[0]!;
  const plan = adapter.plan.sites.get(path)!;
  const [from, to] = adapter.base.model.nodes.find((n) => n.path.join(".") === path)!.axes;
  const { module } = lowerCase(context, { kind: "site", plan, in: from!, out: to!, data: { kinds, fields: [] } });
  expect(verify(module)).toEqual([]);
  const next = numbers(7);
  const sizes = { sample: 2, position: 3 };
  const weight: Record<string, Arg> = {};
  for (const w of module.weights) weight[w.name] = randomArg(w.type, next, -0.5, 0.5, sizes);
  const input: Record<string, Arg> = {};
  const entry = module.entries.get("case")!;
  const fn = module.functions.get(entry.fn)!;
  entry.params.forEach((binding, i) => {
    if (binding.kind === "input") input[binding.name] = randomArg(fn.params[i]!.type, next, -1, 1, sizes);
  });
  const mask = input["mask"] as Tensor;
  mask.data.forEach((_, i) => (mask.data[i] = i % 3 === 2 ? 0 : 1));
  return { output: interpretEntry(module, "case", { weight, input }).output, weight, input, from: from!.size as number, to: to!.size as number };
}

/** An element of a tensor by its indices in the order of its axes, which must be these many. */
function at(arg: Arg, ...index: readonly number[]): number {
  const t = arg as Tensor;
  if (t.axes.length !== index.length) throw new Error(`the axes are ${t.axes.map((a) => a.name).join(", ")}`);
  return t.data[t.axes.reduce((n, a, i) => n * a.size + index[i]!, 0)]!;
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

const gain = "expert gain() {\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * (l - 1)\n}\n";

describe("what a spec means", () => {
  it("always-on and routed experts of several definitions and ranks: y + Σ always + Σ_e gates_e · expert_e", async () => {
    const clauses = "always lora(rank: 3)\nexperts small[2] = lora(rank: 2, alpha: 3)\nexperts big[3] = lora(rank: 5)\nexperts scale[2] = gain()\nroute softmax(temperature: 2)";
    const { output, weight, input, from, to } = await runSite(spec(clauses, "layers.*.mlp.gate_proj", gain));
    const w = (name: string): Arg => {
      const found = weight[name];
      if (!found) throw new Error(`weights: ${Object.keys(weight).join(", ")}`);
      return found;
    };
    for (const s of range(2)) {
      for (const p of range(3)) {
        const x = range(from).map((i) => at(input["x"]!, s, p, i));
        const y = range(to).map((o) => sum(x.map((v, i) => v * at(w("base.weight"), o, i))));
        const logits = range(7).map((e) => sum(x.map((v, i) => v * at(w("router.W"), i, e))) / 2);
        const total = sum(logits.map(Math.exp));
        const gates = logits.map((l) => Math.exp(l) / total);
        const low = (name: string, rank: number, scale: number, o: number, e?: number) =>
          scale * sum(range(rank).map((r) => sum(x.map((v, i) => v * (e === undefined ? at(w(`${name}.A`), i, r) : at(w(`${name}.A`), i, e, r)))) * (e === undefined ? at(w(`${name}.B`), r, o) : at(w(`${name}.B`), e, r, o))));
        for (const o of range(to)) {
          const expected =
            y[o]! +
            low("always", 3, 2, o) +
            sum(range(2).map((e) => gates[e]! * low("small", 2, 1.5, o, e))) +
            sum(range(3).map((e) => gates[2 + e]! * low("big", 5, 2, o, e))) +
            sum(range(2).map((e) => gates[5 + e]! * y[o]! * (at(w("scale.l"), e, o) - 1)));
          expect(at(output["output"]!, s, p, o)).toBeCloseTo(expected, 12);
        }
        for (const e of range(7)) expect(at(output["gates"]!, s, p, e)).toBeCloseTo(gates[e]!, 13);
      }
    }
  });

  it("reductions take the axes that the text sees, and no others; `where` chooses element by element; `if` before", async () => {
    const own = `expert own(on: bool = true) {
  weight l [out] = ones()
  (x [in], y [out]) -> [out] {
    m = mean(x)
    size = if on then count(x) else 1
    where(y > 0, m, sum(x, over: in) / size - m + 1) * l
  }
}
`;
    const { output, weight, input, from, to } = await runSite(spec("always own()", "layers.*.mlp.gate_proj", own));
    for (const s of range(2)) for (const p of range(3)) {
      const x = range(from).map((i) => at(input["x"]!, s, p, i));
      for (const o of range(to)) {
        const y = sum(x.map((v, i) => v * at(weight["base.weight"]!, o, i)));
        expect(at(output["output"]!, s, p, o)).toBeCloseTo(y + (y > 0 ? sum(x) / from : 1) * at(weight["always.l"]!, o), 12);
      }
    }
  });

  it("a definition's axes are its own, whatever the model calls what it is given", async () => {
    // The model's hidden size is 16 too: an axis `hidden` of the definition is another one.
    const own = "expert own(hidden: int = 16) {\n  weight A [in, hidden] = zeros()\n  weight B [hidden, out] = zeros()\n  (x [in]) -> [out] = x @ A @ B\n}\n";
    const { output, weight, input, from, to } = await runSite(spec("always own()", "layers.*.mlp.gate_proj", own));
    const x = range(from).map((i) => at(input["x"]!, 1, 2, i));
    for (const o of range(to)) {
      const y = sum(x.map((v, i) => v * at(weight["base.weight"]!, o, i)));
      const update = sum(range(16).map((h) => sum(x.map((v, i) => v * at(weight["always.A"]!, i, h))) * at(weight["always.B"]!, h, o)));
      expect(at(output["output"]!, 1, 2, o)).toBeCloseTo(y + update, 12);
    }
  });

  it("a number is that number along every declared axis", async () => {
    const own = "router own() {\n  (x [in]) -> [expert] = 1 / experts\n}\n";
    const { output } = await runSite(spec("experts e[4] = lora(rank: 2)\nroute own()", "layers.*.mlp.gate_proj", own));
    expect([...new Set((output["gates"] as Tensor).data)]).toEqual([0.25]);
  });

  it("a definition in the spec takes the place of the library's", async () => {
    const own = "expert lora(rank: int) {\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l * rank\n}\n";
    const { weight } = await runSite(spec("always lora(rank: 2)", "layers.*.mlp.gate_proj", own));
    expect(Object.keys(weight).sort()).toEqual(["always.l", "base.weight"]);
  });
});

describe("what is computed when a spec is compiled", () => {
  it("counts and ranks by layer: an index with a fraction is rounded down", async () => {
    const program = await fine(spec("experts e[[2, 4][layer * 2 / layers]] = lora(rank: [1, 3][layer * 2 / layers])\nroute softmax()"));
    const sites = program.checked.adapters[0]!.plan.sites;
    const seen = [0, 1].map((layer) => sites.get(`layers.${layer}.mlp.up_proj`)!).map((plan) => [plan.experts, (plan.banks[0]!.parameters.get("rank") as { value: unknown }).value]);
    expect(seen).toEqual([[2, 1], [4, 3]]);
  });

  it.each([
    ["7 / 2", 3.5],
    ["7 % 4", 3],
    ["-7 % 4", 1],
    ["2 ^ 3 ^ 2", 512],
    ["[10, 20, 30][1.9]", 20],
    ["if 1 < 2 and not (3 == 4) then 5 else 1 / 0", 5],
    ["max(2, sqrt(9)) + min(1, 2)", 4],
  ])("const v = %s is %d", async (text, value) => {
    const program = await fine(`const v = ${text}\n`);
    expect(program.checked.context.constants.lookup("v")).toMatchObject({ kind: "const", value });
  });

  it("a param has its default, or what --set gives, among the values it may have", async () => {
    const text = `param rank: int = 4 in [1, 2, 4, 8]\nparam form: cv2 | var_over_mean = cv2\n${spec("always lora(rank: rank)")}`;
    const rank = async (set: Record<string, string>) => ((await fine(text, { set })).checked.adapters[0]!.plan.sites.get("layers.0.mlp.up_proj")!.banks[0]!.parameters.get("rank") as { value: unknown }).value;
    expect(await rank({})).toBe(4);
    expect(await rank({ rank: "8", form: "var_over_mean" })).toBe(8);
    for (const [name, value] of [["rank", "3"], ["rank", "x"], ["rank", "1e99"], ["form", "cv3"], ["rnk", "4"]] as const) {
      expect((await checkSource(text, { set: { [name]: value } })).diagnostics.map((d) => d.code)).toEqual(["MOE9002"]);
    }
  });

  it("imports what lies in the folder of the spec or below, each file once", async () => {
    const files = { "lib/ranks.moe": 'import "../spec.moe"\nimport "more/deep.moe"\nconst small = 2\n', "lib/more/deep.moe": "const large = 8\n" };
    await fine(`import "lib/ranks.moe"\n${spec("always lora(rank: small)\nalways lora(rank: large)")}`, { files });
    for (const path of ["../x.moe", "/etc/x.moe", "lib/../../x.moe", "a\\\\x.moe", "lib/ranks.txt"]) {
      expect((await checkSource(`import "${path}"\n${spec("always lora(rank: 2)")}`)).diagnostics.map((d) => d.code), path).toEqual(["MOE5103"]);
    }
  });

  it("neighbours with equal arguments share a bank, and no two banks share a name", async () => {
    const program = await fine(spec("experts a[1] = lora(rank: 2)\nexperts b[2] = lora(rank: 2)\nexperts c[1] = lora(rank: 4)\nexperts d[1] = lora(rank: 4)\nalways lora(rank: 2)\nalways lora(rank: 2)\nroute softmax()"));
    const banks = program.checked.adapters[0]!.plan.sites.get("layers.0.mlp.up_proj")!.banks;
    expect(banks.map((b) => [b.name, b.count, b.start])).toEqual([["experts", 3, 0], ["experts_2", 2, 3], ["always", 1, 0], ["always_2", 1, 0]]);
  });

  it.each([
    ["functions that double the work", `${range(40).map((i) => (i === 0 ? "fn f0(x) = x + x" : `fn f${i}(x) = f${i - 1}(x) + f${i - 1}(x)`)).join("\n")}\nexpert own() {\n  weight b [out] = zeros()\n  (y [out]) -> [out] = f39(y) * b\n}\n${spec("always own()")}`],
    ["lists that double in size", `${range(40).map((i) => (i === 0 ? "const l0 = [1, 1]" : `const l${i} = [l${i - 1}, l${i - 1}]`)).join("\n")}\n${spec("always lora(rank: 2)")}`],
  ])("is bounded: %s", async (_, text) => {
    expect((await checkSource(text)).diagnostics.map((d) => d.code)).toEqual(["MOE2012"]);
  });
});
