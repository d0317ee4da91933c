import { describe, expect, it } from "vitest";
import type { Diagnostic } from "../../src/diagnostics/index.ts";
import { checkSource, place, spec } from "./support.ts";

const site = "layers.*.mlp.gate_proj";

/** Codes with the line of each. */
async function told(text: string, given: Parameters<typeof checkSource>[1] = {}): Promise<string[]> {
  const { diagnostics } = await checkSource(text, given);
  return diagnostics.map((d) => `${d.code} ${d.primary ? place(text, d.primary.span.start).split(":")[0] : "-"}`);
}

async function messages(text: string): Promise<string[]> {
  return (await checkSource(text)).diagnostics.map((d) => `${d.code} ${d.message}`);
}

/** The text after the first fix of its only diagnostic that has one. */
function fixed(text: string, diagnostics: readonly Diagnostic[]): string {
  const [fix] = diagnostics.flatMap((d) => d.fixes);
  return fix!.edits.reduce((t, { span, text: by }) => t.slice(0, span.start) + by + t.slice(span.end), text);
}

const much = "experts e[2] = lora(rank: 2, dropout: 0.9)";

describe("allowances: // moec: allow CODE because REASON", () => {
  it("take out the warnings of their line, above it and after it, and no others", async () => {
    expect(await told(spec(`${much}\nroute softmax()`, site))).toEqual(["MOE2040 5"]);
    expect(await told(spec(`// moec: allow MOE2040 because it is tried out\n${much}\nroute softmax()`, site))).toEqual([]);
    expect(await told(spec(`${much} // moec: allow MOE2040, because it is tried out\nroute softmax()`, site))).toEqual([]);
    const two = `// moec: allow MOE2040 because of this\nexperts a[1] = lora(rank: 2, dropout: 0.9, alpha: 900)\nexperts b[1] = lora(rank: 1, dropout: 0.9)\nroute softmax()`;
    expect(await told(spec(two, site))).toEqual(["MOE2040 7"]);
  });

  it("several speak of one line, each of its own code", async () => {
    const clauses = "experts e[2] = lora(rank: [2, 2, 2][layer], dropout: 0.9)\nroute softmax()";
    const [dropout, list] = ["// moec: allow MOE2040 because of this", "// moec: allow MOE2041 because of that"];
    expect(await told(spec(clauses, site))).toEqual(["MOE2041 5", "MOE2040 5"]);
    expect(await told(spec(`${dropout}\n${clauses}`, site))).toEqual(["MOE2041 6"]);
    expect(await told(spec(`${dropout}\n// and more\n${list}\n${clauses}`, site))).toEqual([]);
  });

  it("of what is told of a file that the spec names stand where it is named", async () => {
    const tensors = { "model.more.weight": [2] };
    const text = spec("always lora(rank: 2)", site);
    expect(await told(text, { tensors })).toEqual(["MOE3013 -"]);
    expect(await told(`// moec: allow MOE3013 because the last tensor is a leftover\n${text}`, { tensors })).toEqual([]);
    // --strict makes it an error, which nothing allows.
    expect(await told(`// moec: allow MOE3013 because the last tensor is a leftover\n${text}`, { tensors, options: { strict: true } })).toEqual(["MOE3013 -"]);
  });

  it("in an imported file hold for that file's lines", async () => {
    const adapter = (comment: string): string => `${comment}\nadapter B on b { at ${site} { ${much} route softmax() } }\n`;
    const text = `import "more.moe"\nbase b = llama("models/tiny-llama")\n`;
    const codes = async (comment: string): Promise<string[]> => (await checkSource(text, { files: { "more.moe": adapter(comment) } })).diagnostics.map((d) => `${d.code} ${d.primary!.span.file}`);
    expect(await codes("")).toEqual(["MOE2040 more.moe"]);
    expect(await codes("// moec: allow MOE2040 because it is tried out")).toEqual([]);
    // The same line of the importing file is another line.
    expect((await checkSource(text.replace("\n", "\n// moec: allow MOE2040 because it is tried out\n"), { files: { "more.moe": adapter("") } })).diagnostics.map((d) => d.code)).toEqual(["MOE2040", "MOE2046"]);
  });

  it("an error stays, and the comment that would allow it is told too", async () => {
    expect(await told(spec("// moec: allow MOE2011 because it is right elsewhere\nexperts e[2] = lora(rank: 0)\nroute softmax()", site))).toEqual(["MOE2011 6", "MOE2044 5"]);
    expect(await messages("// moec: allow MOE1022 because it is only information\nconst a = 1\n")).toEqual([expect.stringContaining("MOE2044 only warnings can be allowed")]);
  });

  it("a code that there is not is told with the nearest warning; without a reason the warning is allowed and the comment told", async () => {
    const text = spec(`// moec: allow moe2040 because it is tried out\n${much}\nroute softmax()`, site);
    const { diagnostics } = await checkSource(text);
    expect(diagnostics.map((d) => d.code)).toEqual(["MOE2040", "MOE2043"]);
    expect(await told(fixed(text, diagnostics))).toEqual([]);
    for (const end of ["", " because", " since it is tried out"]) {
      expect(await told(spec(`// moec: allow MOE2040${end}\n${much}\nroute softmax()`, site)), end).toEqual(["MOE2045 5"]);
    }
  });

  it.each([
    ["above", "// moec: allow MOE2040 because of this\nalways lora(rank: 2)", "always lora(rank: 2)"],
    ["after", "always lora(rank: 2)  // moec: allow MOE2040 because of this", "always lora(rank: 2)"],
    ["past a blank line", `// moec: allow MOE2027 because of this\n\nalways lora(rank: 2)`, "\nalways lora(rank: 2)"],
  ])("one that allows nothing is told, and the fix removes it: %s", async (_, before, after) => {
    for (const end of ["\n", "\r\n"]) {
      const text = spec(before, site).replaceAll("\n", end);
      const { diagnostics } = await checkSource(text);
      expect(diagnostics.map((d) => [d.code, d.severity])).toEqual([["MOE2046", "warning"]]);
      expect(fixed(text, diagnostics)).toBe(spec(after, site).replaceAll("\n", end));
    }
  });

  it("nothing is said of an allowance's use where the spec has errors, or other values than its own", async () => {
    const comment = "// moec: allow MOE2040 because --set may ask for it\n";
    const text = `param p: float = 0.1\n${spec(`${comment}experts e[2] = lora(rank: 2, dropout: p)\nroute softmax()`, site)}`;
    expect(await told(text)).toEqual(["MOE2046 6"]);
    expect(await told(text, { set: { p: "0.2" } })).toEqual([]);
    expect(await told(text, { set: { p: "0.9" } })).toEqual([]);
    expect(await told(text.replace("softmax()", "sofmax()"))).toEqual(["MOE2002 8"]);
  });
});

describe("expect: what a definition's author thinks probably wrong", () => {
  const own = (items: string): string => `router own(k: int = 1, form: a | b = a) {\n${items}\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] = softmax(x @ W * k, over: expert)\n}\n`;
  const using = (items: string, call = "own()"): string => spec(`experts e[2] = lora(rank: 2)\nexperts f[1] = lora(rank: 2)\nroute ${call}`, site, own(items));

  it("is a warning where the definition is applied, with the values of the condition", async () => {
    const text = using('  expect k < experts - 1 and form == b, "so it reads"');
    const { diagnostics } = await checkSource(text);
    expect(diagnostics.map((d) => [d.code, d.severity, d.message, text.slice(d.primary!.span.start, d.primary!.span.end), d.notes])).toEqual([
      ["MOE2040", "warning", 'own expects k < experts - 1 and form == b, and here k = 1, experts = 3, form = "a"', "own()", ["so it reads"]],
    ]);
    expect(await messages(using("  expect k < experts - 1 and form == b", "own(form: b)"))).toEqual([]);
  });

  it("two that do not hold are two warnings; the same at every site is one", async () => {
    expect(await messages(using("  expect k > 1\n  expect k > 2"))).toEqual(["MOE2040 own expects k > 1, and here k = 1", "MOE2040 own expects k > 2, and here k = 1"]);
  });

  it("stands beside require, in bodies and in functions, and may be a name", async () => {
    const fn = "fn half(x, n: int) {\n  expect n % 2 == 0\n  x / n\n}\n";
    const router = "router own(expect: int = 3) {\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] {\n    expect groups > 1\n    expect = half(x @ W, n: expect)\n    softmax(expect, over: expert)\n  }\n}\n";
    expect(await messages(spec("experts e[2] = lora(rank: 2)\nroute own()", site, fn + router.replaceAll("expect:", "size:").replace("n: expect", "n: size")))).toEqual([
      "MOE2040 own expects groups > 1, and here groups = 1",
      "MOE2040 half expects n % 2 == 0, and here n = 3",
    ]);
  });

  it("has a condition that is true or false, known when the spec is compiled", async () => {
    expect(await messages(using("  expect k"))).toEqual(["MOE2005 `expect` needs true or false"]);
    expect(await messages(using("  expect W > 1"))).toEqual([expect.stringMatching(/^MOE2001 /)]);
  });

  it("holds for models: told where the base is declared", async () => {
    const model = 'model own(config) {\n  config {\n    vocab_size: int\n    hidden_size: int\n  }\n  expect config.vocab_size > 100, "small"\n  axis vocab = config.vocab_size\n  axis hidden = config.hidden_size\n  weight E [vocab, hidden] from "model.embed_tokens.weight"\n  (tokens [position]) -> [position, vocab] = sum(E, over: hidden) * tokens\n}\n';
    const text = `${model}base b = own("models/tiny-llama")\n`;
    // The checkpoint's other tensors are told beside it.
    expect(await told(text)).toEqual(["MOE2040 12", "MOE3013 -"]);
  });
});

describe("groups: how many a router or a balance weighs", () => {
  it("is a number of the site, in conditions, defaults and bodies", async () => {
    const router = "router even(of: int = groups) {\n  require of == groups\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] = softmax(x @ W, over: expert) * of / groups\n}\nbalance own() {\n  require groups == 3\n  (gates [sample, position, expert], mask [sample, position]) -> [] = sum(gates * mask) / groups\n}\n";
    const clauses = "experts a[1] = lora(rank: 2)\nexperts b[2] = lora(rank: 2)\nexperts c[1] = ia3()\nalways lora(rank: 2)\nroute even()\nbalance own()";
    expect(await messages(spec(clauses, site, router))).toEqual([]);
    expect(await messages(spec(clauses.replace("experts c[1] = ia3()\n", ""), site, router))).toEqual(["MOE2011 own requires groups == 3, and here groups = 2"]);
  });

  it("is not known where a group is at fault, and is not a definition's own name", async () => {
    const expecting = "router own() {\n  require groups == 1\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] = softmax(x @ W, over: expert)\n}\n";
    expect(await told(spec("experts a[1] = lora(rank: 2)\nexperts b[none] = lora(rank: 2)\nroute own()", site, expecting))).toEqual(["MOE2001 6"]);
    expect(await messages(spec("experts a[1] = lora(rank: 2)\nroute own()", site, expecting.replace("own()", "own(groups: int = 2)")))).toEqual([expect.stringMatching(/^MOE2013 "groups" is given by the site/)]);
  });
});

describe("what the library expects", () => {
  const three = "experts a[1] = lora(rank: 2)\nexperts b[1] = lora(rank: 2)\nexperts c[1] = lora(rank: 2)\nroute softmax()\n";
  const arrows = "{ x -> a  y -> b  z -> c }";
  const one = "experts e[1] = lora(rank: 2)\n";

  it.each([
    ["localized, away, three groups", `${three}balance 0.1 * localized(pull: away) ${arrows}`, 'pull = "away", groups = 3'],
    ["load balancing of one expert", `${one}route softmax()\nbalance load_balancing()`, "experts = 1"],
    ["AdaMoLE's balance of one expert", `${one}route adaptive_threshold()\nbalance margin_balancing()`, "experts = 1"],
    ["entropy of one expert", `${one}route softmax()\nbalance entropy()`, "experts = 1"],
    ["TeamLoRA's usage of one expert", `${one}route softmax()\nbalance even_usage()`, "experts = 1"],
    ["z-loss of one expert", `${one}route softmax()\nbalance z_loss()`, "experts = 1"],
    ["top-k of all", `${three.replace("softmax()", "top_k(3)")}`, "k = 3, experts = 3"],
    ["top-k of all, selection first", `${three.replace("softmax()", "top_k_softmax(3)")}`, "k = 3, experts = 3"],
    ["alpha", "always lora(rank: 2, alpha: 129)", "alpha = 129, rank = 2"],
    ["alpha of rsLoRA", "always rslora(rank: 4, alpha: 129)", "alpha = 129, rank = 4"],
    ["alpha of MoSLoRA", "always moslora(rank: 2, alpha: 129)", "alpha = 129, rank = 2"],
    ["alpha of DoRA", "always dora(rank: 2, alpha: 129)", "alpha = 129, rank = 2"],
    ["dropout", "always lora(rank: 2, dropout: 0.51)", "dropout = 0.51"],
    ["dropout of rsLoRA", "always rslora(rank: 2, dropout: 0.51)", "dropout = 0.51"],
  ])("%s", async (_, clauses, values) => {
    expect(await messages(spec(clauses, site))).toEqual([expect.stringMatching(new RegExp(`^MOE2040 .*, and here ${values}$`))]);
  });

  it.each([
    ["localized, toward, three groups", `${three}balance 0.1 * localized() ${arrows}`],
    ["localized, away, two groups", `experts a[1] = lora(rank: 2)\nexperts b[1] = lora(rank: 2)\nroute softmax()\nbalance 0.1 * localized(pull: away) { x -> a  y -> b }`],
    ["one expert without a balance", `${one}route softmax()`],
    ["all but one", three.replace("softmax()", "top_k(2)")],
    ["half dropped, 64 times", "always lora(rank: 2, dropout: 0.5, alpha: 128)"],
  ])("nothing of %s", async (_, clauses) => {
    expect(await messages(spec(clauses, site))).toEqual([]);
  });
});

describe("a router on dropped-out input", () => {
  const router = (body: string): string => `fn thin(x, p: float) = drop(x, p)\nrouter own(p: float = 0.1) {\n  weight W [in, expert] = zeros()\n  (x [in]) -> [expert] {\n    ${body.split("; ").join("\n    ")}\n  }\n}\n`;
  const clauses = "experts e[2] = lora(rank: 2, dropout: 0.1)\nroute own()";

  it.each([
    ["the logits", "softmax(drop(x, p) @ W, over: expert)"],
    ["by a name and a function", "seen = thin(x, p: p); softmax(seen @ W, over: expert)"],
    ["the choice alone", "l = x @ W; softmax(l, over: expert) * is_top(stop(drop(x, p)) @ W, 1, over: expert)"],
    ["the gates", "drop(softmax(x @ W, over: expert), p)"],
  ])("is told: %s", async (_, body) => {
    expect(await told(spec(clauses, site, router(body)))).toEqual(["MOE2042 6"]);
    expect(await told(spec(clauses.replace("own()", "own() per block"), site, router(body)))).toEqual(["MOE2042 6"]);
    expect(await told(spec(clauses.replace("own()", "own(p: 0)"), site, router(body)))).toEqual([]);
    expect(await told(spec(clauses.replace("route", "// moec: allow MOE2042 because it is tried out\nroute"), site, router(body)))).toEqual([]);
  });

  it("not where only a balance sees it, nor where the experts drop", async () => {
    const noisy = router("l = x @ W; noisy = drop(l, p); softmax(l, over: expert)");
    const balance = "balance own() {\n  (noisy [sample, position, expert], mask [sample, position]) -> [] = sum(noisy * mask)\n}\n";
    expect(await messages(spec(`${clauses}\nbalance own()`, site, noisy + balance))).toEqual([]);
  });

  it("each application is told, where it stands", async () => {
    const text = `base b = llama("models/tiny-llama")\n\nadapter A on b {\n  at layers.0.mlp.gate_proj { experts e[2] = ia3() route own() }\n  at layers.1.mlp.gate_proj { experts e[2] = ia3() route own(p: 0) }\n  at layers.*.mlp.up_proj { experts e[2] = ia3() route own(p: 0.2) }\n}\n${router("softmax(drop(x, p) @ W, over: expert)")}`;
    expect(await told(text)).toEqual(["MOE2042 4", "MOE2042 6"]);
  });
});

describe("a list by layer", () => {
  it("that is too short or too long is compared with the layers", async () => {
    expect(await messages(spec("always lora(rank: [2][layer])", site))).toEqual(["MOE2009 the list has 1 entry and the model 2 layers: there is none for layer 1, counted from 0"]);
    expect(await messages(spec("always lora(rank: [2, 4, 6][layer])", site))).toEqual(["MOE2041 the list has 3 entries and the model 2 layers: its last ones are never looked at"]);
    expect(await messages(spec("always lora(rank: [2, 4][layer])", site))).toEqual([]);
  });

  it("only where the index is the layer itself: sites of some layers need entries for these", async () => {
    expect(await messages(spec("always lora(rank: [2][layer])", "layers.0.mlp.gate_proj"))).toEqual([]);
    expect(await messages(spec("always lora(rank: [2, 4, 6, 8][layer * 4 / layers])", site))).toEqual([]);
    expect(await messages(spec("always lora(rank: [2, 4][layer + 1])", site))).toEqual(["MOE2009 the list has 2 entries, counted from 0; this asks for number 2"]);
  });
});

describe("balances", () => {
  const experts = "experts a[2] = lora(rank: 2)\nexperts b[2] = lora(rank: 2)\n";

  it("one that is written twice is counted twice, whatever the weights", async () => {
    const twice = (first: string, second: string): Promise<string[]> => told(spec(`${experts}route top_k(2)\nbalance 0.1 * ${first}\nbalance 0.2 * ${second}`, site));
    expect(await twice("load_balancing()", "load_balancing(shares: one)")).toEqual(["MOE2047 9"]);
    expect(await twice("load_balancing()", "load_balancing() mean over sites")).toEqual(["MOE2047 9"]);
    expect(await twice("load_balancing()", "load_balancing(shares: k)")).toEqual([]);
    expect(await twice("load_balancing()", "importance()")).toEqual([]);
    expect(await twice("load_balancing()", "load_balancing() unmasked")).toEqual([]);
    expect(await twice("localized() { x -> a  y -> b }", "localized() { y -> b  x -> a }")).toEqual(["MOE2047 9"]);
    expect(await twice("localized() { x -> a  y -> b }", "localized() { x -> b  y -> a }")).toEqual([]);
  });

  it("one that no weight of the router learns from is told", async () => {
    const fixed = "router fixed() {\n  (x [in]) -> [expert] = softmax(index(expert) * mean(x), over: expert)\n}\n";
    expect(await told(spec(`${experts}route fixed()\nbalance importance()`, site, fixed))).toEqual(["MOE3025 8"]);
    expect(await told(spec(`${experts}route softmax()\nbalance importance()`, site))).toEqual([]);
    // With weight 0 that is said, and enough.
    expect(await told(spec(`${experts}route fixed()\nbalance 0 * importance()`, site, fixed))).toEqual(["MOE3022 8"]);
    const stopped = "balance own() {\n  (p [sample, position, expert], mask [sample, position]) -> [] = sum(stop(p) * mask)\n}\n";
    expect(await told(spec(`${experts}route softmax() per block\nbalance own()\nbalance importance()`, site, stopped))).toEqual(["MOE3025 8"]);
  });
});
