import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { proveMerge, type Fixed } from "../../src/check/index.ts";
import { loadProgram, type Program } from "../../src/compiler/index.ts";
import { renderPretty } from "../../src/diagnostics/render/index.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { checkSource, library } from "./support.ts";

const free: Fixed = { fields: new Map() };

function prove(program: Program, fixed = free) {
  expect(program.diagnostics.filter((d) => d.severity === "error")).toEqual([]);
  const [adapter] = program.checked.adapters;
  return proveMerge(program.checked.context, adapter!.plan, adapter!.base.model, fixed);
}

/** Clauses on the MLP's linears; what stands above them in the adapter, and definitions below it. */
function spec(clauses: string, { top = "", more = "", path = "layers.*.mlp.*_proj" } = {}): string {
  return `base llama = llama("models/tiny-llama")\n\nadapter A on llama {\n  ${top}\n  at ${path} {\n    ${clauses}\n  }\n}\n${more}\n`;
}

async function codes(text: string, fixed = free): Promise<string[]> {
  return prove(await checkSource(text), fixed).faults.map((d) => d.code);
}

const own = (body: string, weights = ""): { more: string } => ({ more: `expert own() {\n  ${weights}\n  ${body}\n}` });

describe("what can be merged", () => {
  it.each([
    ["lora(rank: 4, dropout: 0.1)"],
    ["rslora(rank: 4)"],
    ["dora(rank: 4)"],
    ["moslora(rank: 4)"],
    ["ia3()"],
    ["ia3_input()"],
    ["pissa(rank: 2)"],
    ["goat_rest(rank: 2, of: 2)"],
    ["nothing()"],
  ])("always %s", async (call) => {
    // Something trains beside an expert without trained weights.
    expect(await codes(spec(`always ${call}\n    always other = lora(rank: 1)`))).toEqual([]);
  });

  it.each([
    ["a difference and a sum over an axis", "(x [in], W [in, out]) -> [out] = dot(x, l, over: in) - x @ W / 2", "weight l [in, out] = zeros()"],
    ["a choice that does not depend on x", "(y [out]) -> [out] = where(l > 0, y * l, -y)", "weight l [out] = ones()"],
    ["a reversal, parts and a running sum", "(y [out]) -> [out] {\n    axis half = out / 2\n    axis side = 2\n    parts = reverse(split(y, out, into: [side, half]), over: side)\n    cumsum(merge(parts, [side, half], into: out), over: out) * l\n  }", "weight l [out] = ones()"],
    ["nonlinear functions of weights alone", "(x [in], W [in, out]) -> [out] = x @ (exp(W) / sum(exp(W), over: in)) * sigmoid(l)", "weight l [out] = ones()"],
  ])("%s", async (_, body, weights) => {
    expect(await codes(spec("always own()", own(body, weights)))).toEqual([]);
  });

  it("gates that look at nothing; gates that are the only thing which is linear in x", async () => {
    expect(await codes(spec("experts e[3] = lora(rank: 2)\n    route even()", { more: "router even() {\n  weight b [expert] = zeros()\n  () -> [expert] = softmax(b, over: expert)\n}" }))).toEqual([]);
    const bias = { more: "router linear() {\n  weight V [in, expert] = zeros()\n  (x [in]) -> [expert] = x @ V\n}\nexpert own() {\n  weight b [out] = ones()\n  () -> [out] = b\n}" };
    // Each gate times a constant vector: LoRA in other words.
    expect(await codes(spec("experts e[3] = own()\n    route linear()", bias))).toEqual([]);
    expect(await codes(spec("experts e[3] = own()\n    route linear() per block", { ...bias, path: "layers.*.mlp.{gate_proj, up_proj}" }))).toEqual(["MOE3030"]);
  });

  it.each(["", "mix weights"])("one kind at a time %s", async (mix) => {
    for (const [route, needs] of [["task_softmax()", { kind: 1 }], ["skills()", { kind: 0 }], ["task_softmax() per layer", { kind: 0 }], ["task_softmax() per model", { kind: 0 }]] as const) {
      const program = await checkSource(spec(`experts e[2] = lora(rank: 2)\n    ${mix}\n    route ${route}`, { top: "kinds a, b", path: "layers.*.mlp.{gate_proj, up_proj}" }));
      const open = prove(program);
      expect(open.faults.map((d) => d.code), route).toEqual(["MOE3034"]);
      expect(open.faults[0]!.help).toBe("say which: --kind a | b");
      const closed = prove(program, { ...free, ...needs });
      expect(closed.faults, route).toEqual([]);
      expect(closed.looksAt).toEqual({ kind: true, fields: new Set() });
    }
  });

  it("one value of a field at a time", async () => {
    const program = await checkSource(spec("experts e[4] = lora(rank: 2)\n    experts all[1] = lora(rank: 2)\n    route cluster_and_universal()", { top: "field cluster[8]" }));
    expect(prove(program).faults.map((d) => [d.code, d.help])).toEqual([["MOE3034", "say which: --field cluster=NUMBER"]]);
    const closed = prove(program, { fields: new Map([["cluster", 3]]) });
    expect(closed.faults).toEqual([]);
    expect(closed.looksAt).toEqual({ kind: false, fields: new Set(["cluster"]) });
  });
});

describe("what cannot", () => {
  it.each([
    ["softmax()", "the token"],
    ["top_k(1)", "the token"],
    ["softmax() per block", "the token"],
    ["switch(capacity: 8)", "the token"],
    ["sentence()", "the prompt"],
    ["xlora() per model", "the token"],
    ["loss_free(1)", "the token"],
  ])("experts behind %s: the gates depend on %s", async (route, what) => {
    const program = await checkSource(spec(`experts e[2] = lora(rank: 2)\n    route ${route}`, { path: "layers.*.mlp.{gate_proj, up_proj}" }));
    const [fault, ...more] = prove(program).faults;
    expect(more).toEqual([]);
    expect(fault!.code).toBe("MOE3030");
    expect(fault!.message).toContain(`gates depend on ${what}`);
    const { start, end } = fault!.primary!.span;
    expect(program.text.slice(start, end)).toBe(route.replace(/ per \w+$/, ""));
  });

  it("gates that depend on the place of a token, or on the kind and the token", async () => {
    const more = "router early() {\n  weight b [expert] = zeros()\n  (mask [position]) -> [position, expert] = softmax(b * (index(position) < 4), over: expert)\n}\nrouter both() {\n  weight V [in, expert] = zeros()\n  weight b [kind, expert] = zeros()\n  (x [in], kind [kind]) -> [expert] = softmax(x @ V + kind @ b, over: expert)\n}";
    const faults = prove(await checkSource(spec("experts e[2] = lora(rank: 2)\n    route early()", { more, top: "kinds a, b" }))).faults;
    expect(faults.map((d) => d.code)).toEqual(["MOE3030"]);
    expect(faults[0]!.message).toContain("where in the text a token stands");
    expect(await codes(spec("experts e[2] = lora(rank: 2)\n    route both()", { more, top: "kinds a, b" }), { ...free, kind: 0 })).toEqual(["MOE3030"]);
  });

  it.each([
    ["relu", "(x [in]) -> [out] = relu(x @ A) @ B", "`relu` of what depends on x"],
    ["silu of the library", "(x [in]) -> [out] = silu(x @ A) @ B", "`sigmoid` of what depends on x"],
    ["a product", "(x [in], y [out]) -> [out] = y * (x @ A @ B)", "the product of two values that depend on x"],
    ["a contraction of two", "(x [in]) -> [out] {\n    h = x @ A\n    (h @ h) * sum(B, over: rank)\n  }", "the product of two values that depend on x"],
    ["a division", "(x [in], y [out]) -> [out] = (x @ A @ B) / (y + 1)", "a division by what depends on x"],
    ["a choice", "(x [in]) -> [out] = where(x @ A @ B > 0, x @ A @ B, 0)", "`gt` of what depends on x"],
    ["a norm", "(x [in]) -> [out] = greatest(x) * sum(B, over: rank) + x @ A @ B", "`reduce_max` of what depends on x"],
    ["a square", "(x [in]) -> [out] = ((x @ A) ^ 2) @ B", "`pow` of what depends on x"],
  ])("an expert with %s", async (_, body, why) => {
    const program = await checkSource(spec("always bent()", { more: `expert bent() {\n  axis rank = 4\n  weight A [in, rank] = zeros()\n  weight B [rank, out] = ones()\n  ${body}\n}` }));
    const [fault, ...more] = prove(program).faults;
    expect(more).toEqual([]);
    expect(fault!.code).toBe("MOE3031");
    expect(fault!.secondary.map((s) => s.text)).toEqual([why]);
    const { start, end } = fault!.primary!.span;
    expect(program.text.slice(start, end)).toBe("bent()");
  });

  it("a constant, where the linear has no bias", async () => {
    const text = spec("always own()", own("(x [in]) -> [out] = x @ A + b", "weight A [in, out] = zeros()\n  weight b [out] = zeros()"));
    expect(await codes(text)).toEqual(["MOE3032"]);
  });

  it("a block that is an expert, whatever its gates", async () => {
    const more = "router even() {\n  () -> [expert] = 1 / experts\n}";
    expect(await codes(spec("experts e[2] = patch { gate_proj, down_proj: lora(rank: 2) }\n    route even()", { more, path: "layers.*.mlp" }))).toEqual(["MOE3033"]);
  });

  it("each mistake once, whatever the number of its sites; those of two clauses both", async () => {
    const text = `base llama = llama("models/tiny-llama")\n\nadapter A on llama {\n  at layers.*.mlp.*_proj {\n    experts e[2] = lora(rank: 2)\n    route softmax()\n  }\n  at layers.*.self_attn.*_proj { always bent() }\n}\n\nexpert bent() {\n  weight A [in, out] = zeros()\n  (x [in]) -> [out] = tanh(x @ A)\n}\n`;
    const program = await checkSource(text);
    const { faults } = prove(program);
    expect(faults.map((d) => d.code)).toEqual(["MOE3030", "MOE3031"]);
    expect(renderPretty(faults, program.texts, { color: false })).toMatchInlineSnapshot(`
      "error[MOE3030]: softmax's gates depend on the token: each token has weights of its own, and a merged checkpoint has one set
       --> spec.moe:6:11
        |
      6 |     route softmax()
        |           ^^^^^^^^^
       ::: std/softmax.moe:8:14
        |
      8 |     p      = softmax(logits, over: expert)
        |              ----------------------------- \`softmax\` of what depends on x
        |
        = help: keep the adapter beside the base: \`moec eval\` and \`moec generate\` take its folder as it is. Gates that depend on the kind of data or on a field alone can be merged, for one of them at a time

      error[MOE3031]: bent is not linear in the layer's input: no matrix does what it does
        --> spec.moe:8:41
         |
       8 |   at layers.*.self_attn.*_proj { always bent() }
         |                                         ^^^^^^
      ...
      13 |   (x [in]) -> [out] = tanh(x @ A)
         |                       ----------- \`tanh\` of what depends on x
         |
         = help: keep the adapter beside the base: \`moec eval\` and \`moec generate\` take its folder as it is
      "
    `);
  });
});

describe("the zoo", () => {
  it("each example: what a merge says; nothing where it can be done", async () => {
    const found: Record<string, string> = {};
    for (const name of readdirSync("examples/zoo").filter((n) => n.endsWith(".moe"))) {
      const program = await loadProgram(new NodeHost(), `examples/zoo/${name}`, { library });
      found[name.replace(".moe", "")] = prove(program).faults.map((d) => d.code).join(" ");
    }
    expect(found).toMatchObject({
      adamole: "MOE3030",
      deepseek: "MOE3030",
      dora: "",
      goat: "MOE3030",
      hydralora: "MOE3030",
      ia3: "",
      "ld-mole": "MOE3030",
      "llava-mole": "MOE3030",
      lora: "",
      "loramoe-as-shipped": "MOE3030",
      "loramoe-paper": "MOE3030",
      milora: "",
      mixlora: "MOE3033",
      mocle: "MOE3034",
      moelora: "MOE3034",
      mola: "MOE3030",
      moslora: "",
      mov: "MOE3030 MOE3030",
      "noisy-top-k": "MOE3030",
      pissa: "",
      poly: "MOE3034",
      rslora: "",
      sentence: "MOE3030",
      sft: "",
      switch: "MOE3030",
      teamlora: "MOE3030",
      "three-by-three": "MOE3030",
      xlora: "MOE3030",
    });
  });
});
