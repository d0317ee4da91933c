import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Program } from "../../src/compiler/program.ts";
import { format } from "../../src/format/index.ts";
import { parseModule, printModule, verify } from "../../src/ir/index.ts";
import { lower } from "../../src/lower/index.ts";
import { optimize } from "../../src/passes/index.ts";
import { parse } from "../../src/parser/index.ts";
import { checkSource } from "./support.ts";

/** How many random specs are tried that must be right, and three times as many that may be wrong: MOEC_SPECS, else 60 in CI. */
const runs = Number(process.env["MOEC_SPECS"] ?? (process.env["CI"] ? 60 : 12));
const seed = process.env["MOEC_SEED"] === undefined ? {} : { seed: Number(process.env["MOEC_SEED"]) };

/** Paths that share no site within a list, where ranks up to 8 fit on every linear. */
const paths = [
  ["layers.*.mlp.{gate_proj, up_proj}", "layers.*.mlp.down_proj", "layers.0.self_attn.*_proj", "layers.1.self_attn.{k_proj, v_proj}"],
  ["layers.*.mlp.*_proj", "layers.*.self_attn.{q_proj, o_proj}", "layers.{0, 1}.self_attn.k_proj"],
] as const;
const disjoint = fc.constantFrom(...paths).chain((list) => fc.subarray([...list], { minLength: 1, maxLength: 2 }));
const frozen = ["norm", "layers.*.input_layernorm", "embed_tokens", "layers.1.post_attention_layernorm"];

const line = (...parts: readonly fc.Arbitrary<string>[]): fc.Arbitrary<string> => fc.tuple(...parts).map((p) => p.join(""));
const says = (text: string): fc.Arbitrary<string> => fc.constant(text);

/** How sloppy a spec is: a sound one is right by construction, the other may be wrong anywhere. */
type Care = "sound" | "sloppy";

/** Something, or in a sloppy spec now and then something that need not fit. */
function mostly(care: Care, right: fc.Arbitrary<string>, ...wrong: readonly string[]): fc.Arbitrary<string> {
  return care === "sound" ? right : fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: fc.constantFrom(...wrong) });
}

const odd = ["0", "-1", "2.5", "1e300", "rank / 0", "none", "true", '"a"', "layer", "unknown", "[1, 2]", "9007199254740993"];

const rank = (care: Care) => mostly(care, fc.constantFrom("1", "2", "3", "8", "rank", "n + 1", "layer + 1", "2 * rank", "min(4, rank)", "if layer == 0 then 2 else rank"), ...odd);
const positive = (care: Care) => mostly(care, fc.constantFrom("1", "0.5", "16", "2 * rank", "1e-3", "n"), ...odd);
const share = (care: Care) => mostly(care, fc.constantFrom("0", "0.1", "0.05 * (layer + 1)", "1 / 3"), ...odd);
const count = (care: Care) => mostly(care, fc.constantFrom("2", "3", "n", "layer + 2", "[2, 3][layer]", "[2, 4, 3][layer * 3 / layers]", "if layer < 1 then 2 else 4"), ...odd, "5000");

const expert = (care: Care, group: boolean): fc.Arbitrary<string> =>
  mostly(
    care,
    fc.oneof(
      line(fc.constantFrom("lora", "rslora", "moslora"), says("(rank: "), rank(care), says(", alpha: "), positive(care), says(", dropout: "), share(care), group ? fc.constantFrom("", "", ", shared: A", ", shared: [A]", ", shared: B") : says(""), says(")")),
      line(says("dora("), rank(care), says(")")),
      line(says("lora("), rank(care), says(", "), positive(care), says(")")),
      fc.constantFrom("ia3()", "ia3_input()", "own(gain: 2)"),
    ),
    "lora()",
    "lora(rank: 2, rank: 3)",
    "lora(rang: 2)",
    "softmax()",
    "lorra(rank: 2)",
    "ia3(2)",
  );

/** Routers by what a balance may ask of them. */
const routers = (care: Care): Readonly<Record<"dense" | "sparse" | "margin", fc.Arbitrary<string>>> => ({
  dense: mostly(care, fc.oneof(says("softmax()"), line(says("softmax(temperature: "), positive(care), says(")"))), "softmx()", "softmax(k: 2)", "lora(rank: 2)"),
  sparse: mostly(
    care,
    fc.constantFrom("top_k(1)", "top_k(2)", "top_k(2, renormalize: false)", "top_k_softmax(k: 2)", "top_p(0.8)", "threshold(at: 1 / 4)", "threshold(at: 0.2, renormalize: n > 2)"),
    "top_k(50)",
    "top_k(0)",
    "top_k(1.5)",
    "top_p(2)",
    "threshold()",
  ),
  margin: fc.constantFrom("adaptive_threshold()", "adaptive_threshold(most: 0.4)"),
});

const weight = (care: Care) => mostly(care, fc.constantFrom("", "0.1 * ", "1e-3 * ", "1 / n * ", "rank * ", "0.1 / (layer + 1) * "), "0 * ", "none * ", '"a" * ');
const ending = fc.constantFrom("", "", " sum over sites", " mean over sites", " unmasked", " mean over sites unmasked");

function balance(care: Care, router: "dense" | "sparse" | "margin", arrows: string): fc.Arbitrary<string> {
  const call = {
    dense: fc.constantFrom("importance()", "even_usage()", "entropy()", "z_loss()", "load_balancing()"),
    sparse: fc.constantFrom("load_balancing()", "load_balancing(shares: k)", "importance()"),
    margin: says("margin_balancing()"),
  }[router];
  const localized = line(
    weight(care),
    says("localized(delta: "),
    share(care),
    fc.constantFrom("", ", pull: away", ", form: var_over_mean, pull: toward"),
    says(")"),
    ending,
    mostly(care, says(` { ${arrows} }`), "", " { a -> nobody }", " { }", " { a -> }"),
  );
  return fc.oneof(localized, line(weight(care), mostly(care, call, "margin_balancing()", "localised()", "importance(2)", "lora()"), ending));
}

/** What an `at` clause holds: groups of experts, a router, balances, and what is always on. */
function routed(care: Care, mayShare: boolean): fc.Arbitrary<string> {
  const groups = mostly(care, fc.shuffledSubarray(["knowledge", "skill", "tone", "lora", "x"], { minLength: 1, maxLength: 3 }).map((g) => g.join()), "router", "knowledge,knowledge", "balance,skill");
  return fc.tuple(groups, fc.constantFrom("dense" as const, "sparse" as const, "margin" as const)).chain(([names, kind]) => {
    const list = names.split(",");
    const arrows = [...list.map((g, i) => (i === 1 ? `"kind ${i}" -> ${g}` : `kind_${i} -> ${g}`)), ...(list.length > 1 ? [`both -> ${list[0]}, ${list.at(-1)}`] : [])].join(" ");
    const parts = [
      ...list.map((g) => line(says(`experts ${g}[`), count(care), says("] = "), expert(care, true))),
      line(says("route "), routers(care)[kind], mostly(care, fc.constantFrom("", "", " per linear", mayShare ? " per block" : ""), " per block", " per thing")),
      fc.oneof(says(""), line(says("balance "), balance(care, kind, arrows)), line(says("balance "), balance(care, kind, arrows), says("\n    balance "), balance(care, kind, arrows))),
      fc.oneof(says(""), line(says("always "), expert(care, false)), line(says("always common = "), expert(care, false))),
    ];
    const all = care === "sound" ? fc.tuple(...parts).map((p) => [...p]) : fc.tuple(fc.tuple(...parts), fc.shuffledSubarray(parts.map((_, i) => i), { minLength: parts.length - 1 })).map(([p, order]) => order.map((i) => p[i]!));
    return all.map((lines) => lines.filter((l) => l !== "").join("\n    "));
  });
}

/** Only one clause of a block may have its linears share a router. */
function at(care: Care, path: string, mayShare: boolean): fc.Arbitrary<string> {
  const clauses = fc.oneof({ weight: 4, arbitrary: routed(care, mayShare) }, { weight: 1, arbitrary: line(says("always "), expert(care, false)) });
  return line(says("  at "), mostly(care, says(path), "layers.*.mlp.gate_prj", "layers.7.mlp.*", "layers.*.mlp.{gate_proj, gate}", "**", "norm", "layers.*.mlp"), says(" {\n    "), clauses, says("\n  }\n"));
}

const unfrozen = fc.subarray(frozen, { maxLength: 2 }).map((all) => all.map((p) => `  at ${p} { unfreeze }\n`).join(""));

function train(care: Care): fc.Arbitrary<string> {
  const setting = (name: string, value: fc.Arbitrary<string>) => fc.oneof(says(""), line(says(`  ${name} `), value, says("\n")));
  return fc.oneof(
    says(""),
    line(
      says("train Random {\n"),
      setting("data", says('"train.jsonl"')),
      setting("optimizer", line(says("adamw(lr: "), positive(care), says(", weight_decay: 0)"))),
      setting("schedule", fc.constantFrom("cosine(warmup: 0.1)", "linear()", "constant()")),
      setting("steps", mostly(care, fc.constantFrom("3", "10 * n"), ...odd)),
      setting("batch", mostly(care, fc.constantFrom("4", "8"), ...odd)),
      setting("clip", mostly(care, fc.constantFrom("0", "1"), ...odd)),
      says("}\n"),
    ),
  );
}

/** Experts that are the whole MLP, on paths that nothing else is on. */
function patched(care: Care): fc.Arbitrary<string> {
  const entry = line(mostly(care, fc.constantFrom("gate_proj, up_proj, down_proj", "down_proj", "gate_proj, up_proj"), "gate", "gate_proj, gate_proj"), says(": "), expert(care, false));
  return line(
    says("  at layers.*.mlp {\n    experts ffn["),
    count(care),
    says("] = patch { "),
    entry,
    says(" }\n    route "),
    routers(care).sparse,
    fc.constantFrom("", "\n    balance 0.01 * load_balancing(shares: k)"),
    says("\n  }\n"),
  );
}

/** A spec of one adapter on the tests' tiny Llama. */
function specs(care: Care): fc.Arbitrary<string> {
  return disjoint.chain((chosen) =>
    line(
      says('/// A random spec.\nbase b = llama("models/tiny-llama")\n\n'),
      line(says("param rank: int = "), mostly(care, fc.constantFrom("1", "3"), ...odd), fc.constantFrom("", " in [1, 2, 3]"), says("\nconst n = "), mostly(care, fc.constantFrom("2", "1 + 1", "[2, 3][1]"), ...odd), says("\n")),
      says("\nexpert own(gain: float) {\n  weight v [out] = constant(0.5)\n  (x [in], W [in, out]) -> [out] = gain * v * (x @ W)\n}\n"),
      says("\nadapter Random on b {\n"),
      ...chosen.map((path, i) => at(care, path, i === 0)),
      chosen.some((path) => path.includes("mlp")) ? says("") : fc.oneof(says(""), patched(care)),
      care === "sound" ? says("") : fc.oneof({ weight: 6, arbitrary: says("") }, { weight: 1, arbitrary: at(care, "layers.*.mlp.*_proj", true) }),
      unfrozen,
      says("}\n"),
      train(care),
      variant(care, chosen[0]!),
    ),
  );
}

/** Another adapter that differs from the first in a router, in what is always on, or in what is unfrozen. */
function variant(care: Care, path: string): fc.Arbitrary<string> {
  const change = mostly(
    care,
    fc.oneof(line(says(`at ${path} { always added = `), expert(care, false), says(" }")), fc.constantFrom(...frozen).map((p) => `at ${p} { unfreeze }`)),
    `at ${path} { route top_k(1) }`,
    `at ${path} { balance importance() }`,
    "at layers.*.mlp.nothing { unfreeze }",
  );
  return fc.oneof({ weight: 2, arbitrary: says("") }, { weight: 1, arbitrary: line(says("\nadapter Varied = "), mostly(care, says("Random"), "Varied", "Nobody"), says(" with {\n  "), change, says("\n}\n")) });
}

/** What a spec without errors promises: every adapter comes out, and its graph stays whole all the way. */
function whole(program: Program, text: string): void {
  const { adapters, definitions, context } = program.checked;
  expect(adapters.length, text).toBe(definitions.adapters.size);
  for (const adapter of adapters) {
    const module = lower(context, adapter);
    expect(verify(module).map((d) => `${d.message}\n${text}`)).toEqual([]);
    const { module: fast } = optimize(module, { train: adapter.train, transposeFlags: false, dispatch: text.length % 2 === 0 ? "always" : "by cost", debug: true });
    for (const [m, released] of [[module, false], [fast, true]] as const) {
      const printed = printModule(m);
      const back = parseModule(printed);
      expect(back.diagnostics.map((d) => d.message)).toEqual([]);
      expect(verify(back.module!, { released })).toEqual([]);
      expect(printModule(back.module!)).toBe(printed);
    }
  }
}

const errors = (program: Program): string[] => program.diagnostics.filter((d) => d.severity === "error").map((d) => `${d.code} ${d.message}`);

describe("a router per block", () => {
  const clause = (path: string, count: string): string => `  at ${path} {\n    experts e[${count}] = lora(rank: 1)\n    route softmax() per block\n  }\n`;
  const adapter = (...clauses: readonly string[]): string => `base b = llama("models/tiny-llama")\nadapter A on b {\n${clauses.join("")}}\n`;

  it("is one for the block, of one clause, over as many experts on each linear", async () => {
    const codes = async (text: string): Promise<string[]> => (await checkSource(text)).diagnostics.map((d) => d.code);
    expect(await codes(adapter(clause("layers.*.mlp.*_proj", "2"), clause("layers.*.self_attn.*_proj", "3")))).toEqual([]);
    expect(await codes(adapter(clause("layers.*.mlp.{gate_proj, up_proj}", "2"), clause("layers.*.mlp.down_proj", "3")))).toEqual(["MOE2020"]);
    expect(await codes(adapter(clause("layers.*.mlp.*_proj", "out / 8")))).toEqual(["MOE3005"]);
  });
});

describe("random specs", () => {
  it("right by construction: no error, and a graph that is sound after every pass, prints and parses back", async () => {
    await fc.assert(
      fc.asyncProperty(specs("sound"), async (text) => {
        const program = await checkSource(text);
        expect(errors(program), text).toEqual([]);
        whole(program, text);
        // Laid out anew it is the same spec, and laying it out again changes nothing.
        const tidy = format(text, "spec.moe").text!;
        expect(format(tidy, "spec.moe").text).toBe(tidy);
        expect((await checkSource(tidy)).diagnostics.map((d) => d.message)).toEqual(program.diagnostics.map((d) => d.message));
      }),
      { numRuns: runs, ...seed },
    );
  }, 60_000 + 2000 * runs);

  it("right or wrong: never an exception; what is wrong is said once at a place, what is not is a sound graph", async () => {
    let [right, wrong] = [0, 0];
    await fc.assert(
      fc.asyncProperty(specs("sloppy"), async (text) => {
        expect(parse(text, "spec.moe").declarations.length, text).toBeGreaterThan(3);
        const program = await checkSource(text);
        const found = program.diagnostics.map((d) => `${d.code} ${d.primary?.span.file}:${d.primary?.span.start}-${d.primary?.span.end} ${d.message}`);
        expect(new Set(found).size, `${found.join("\n")}\n${text}`).toBe(found.length);
        if (errors(program).length > 0) {
          wrong++;
          for (const d of program.diagnostics) expect(d.primary, `${d.code} ${d.message}\n${text}`).toBeDefined();
        } else {
          right++;
          whole(program, text);
        }
      }),
      { numRuns: 3 * runs, ...seed },
    );
    // The generator makes both, or half of this says nothing.
    expect(Math.min(right, wrong)).toBeGreaterThan(0);
  }, 60_000 + 3000 * runs);
});
