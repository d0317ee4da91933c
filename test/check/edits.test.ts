import fc from "fast-check";
import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { verify } from "../../src/ir/index.ts";
import { lower } from "../../src/lower/index.ts";
import { checkSource, type Given } from "./support.ts";

/** Words, numbers, strings and single characters, with the blanks between them. */
function tokensOf(text: string): string[] {
  return text.match(/\s+|\/\/[^\n]*|"[^"\n]*"|[A-Za-z_][A-Za-z_0-9]*|[0-9.]+(?:e-?[0-9]+)?|->|==|!=|<=|>=|\*\*|./gs) ?? [];
}

const sources = [
  ...["examples", "examples/zoo"].flatMap((folder) => readdirSync(folder).filter((n) => n.endsWith(".moe")).map((n) => `${folder}/${n}`)),
  ...readdirSync("std").filter((n) => n.endsWith(".moe")).map((n) => `std/${n}`),
];

/** Two groups of experts and a router. */
const experts = (expert: string, router = "softmax()"): string => `experts e[2] = ${expert}\n    experts f[1] = ${expert}\n    route ${router}`;

/** Texts to damage: the examples, and the library's definitions used by a spec that redefines them. */
const texts = sources.map((path) => {
  const text = readFileSync(path, "utf8").replace('"../models/', '"models/');
  const use = {
    "std/lora.moe": "always lora(rank: 2)",
    "std/dora.moe": experts("dora(rank: 2)"),
    "std/ia3.moe": experts("ia3()"),
    "std/softmax.moe": experts("lora(rank: 2)"),
    "std/top_k.moe": experts("lora(rank: 2, shared: A)", "top_k(2)"),
    "std/threshold.moe": experts("lora(rank: 2)"),
    "std/load_balancing.moe": `${experts("lora(rank: 2)", "top_k(1)")}\n    balance 0.1 * load_balancing()`,
    "std/z_loss.moe": `${experts("lora(rank: 2)")}\n    balance 0.1 * z_loss()`,
    "std/localized.moe": `${experts("lora(rank: 2)")}\n    balance 0.1 * localized(form: var_over_mean) { a -> e b -> f }`,
  }[path];
  return `${text}\n${path.startsWith("std/") ? `base b = llama("models/tiny-llama")\nadapter A on b {\n  at layers.*.mlp.*_proj {\n    ${use ?? "always lora(rank: 2)"}\n  }\n}\n` : ""}`;
});

/** The zoo's ranks want a wider model than the tests' own. */
const given = sources.map((path): Given =>
  path.startsWith("examples/zoo/") ? { config: { hidden_size: 64, intermediate_size: 96, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 32 } } : {},
);

/** How many damaged texts are tried: MOEC_EDITS, else 10,000 in CI. */
const edits = Number(process.env["MOEC_EDITS"] ?? (process.env["CI"] ? 10_000 : 1_000));

const vocabulary = [
  "(", ")", "[", "]", "{", "}", ",", ":", "=", "->", "@", "*", "/", "-", "%", "^", ".", "==", "<", "and", "not", "if", "then", "else", "in", "out", "x", "y", "W", "expert", "rank",
  "sample", "position", "layer", "0", "-1", "1e308", "9007199254740991", "0.5", "4", '"a"', "true", "none", "sum", "softmax", "lora", "index", "split", "gather", "over", "axis", "weight",
  "experts", "route", "balance", "unfreeze", "always", "at", "**", "llama", "config", "fn", "let", "require", "toString", "__proto__", "constructor",
];

interface Edit {
  readonly source: number;
  readonly edits: readonly { readonly at: number; readonly what: "delete" | "replace" | "insert" | "swap" | "copy"; readonly word: string; readonly from: number }[];
}

const edit: fc.Arbitrary<Edit> = fc.record({
  source: fc.nat(texts.length - 1),
  edits: fc.array(
    fc.record({ at: fc.nat(100_000), what: fc.constantFrom("delete", "replace", "insert", "swap", "copy"), word: fc.constantFrom(...vocabulary), from: fc.nat(100_000) }),
    { minLength: 1, maxLength: 3 },
  ),
});

const solid = /\S/;

function damaged({ source, edits }: Edit): string {
  const tokens = tokensOf(texts[source]!);
  for (const { at, what, word, from } of edits) {
    const places = tokens.flatMap((t, i) => (solid.test(t) && !t.startsWith("//") ? [i] : []));
    const i = places[at % places.length];
    const j = places[from % places.length];
    if (i === undefined || j === undefined) break;
    if (what === "delete") tokens[i] = " ";
    else if (what === "replace") tokens[i] = word;
    else if (what === "insert") tokens.splice(i, 0, ` ${word} `);
    else if (what === "copy") tokens[i] = tokens[j]!;
    else [tokens[i], tokens[j]] = [tokens[j]!, tokens[i]!];
  }
  return tokens.join("");
}

describe("checking a damaged text", () => {
  it("the texts themselves are fine", async () => {
    for (const [i, text] of texts.entries()) expect((await checkSource(text, given[i])).diagnostics.map((d) => d.message), sources[i]).toEqual([]);
  });

  it("never throws, says where each fault lies, and what it finds sound becomes a sound graph", async () => {
    await fc.assert(
      fc.asyncProperty(edit, async (e) => {
        const text = damaged(e);
        const started = performance.now();
        const program = await checkSource(text, given[e.source]);
        // Most take a millisecond; what takes seconds grows with something that a text can make large.
        if (performance.now() - started > 10_000) throw new Error(`checking took ${performance.now() - started} ms`);
        for (const d of program.diagnostics) {
          const span = d.primary?.span;
          if (!span) continue;
          const length = program.texts.get(span.file)?.length ?? Infinity;
          if (!(0 <= span.start && span.start <= span.end && span.end <= length)) throw new Error(`${d.code} ${d.message}: ${span.start}-${span.end} of ${length}`);
        }
        // What is said to be sound is whole: every adapter came out.
        const names = program.checked.definitions.adapters.size;
        if (program.diagnostics.some((d) => d.severity === "error")) return;
        if (program.checked.adapters.length !== names) throw new Error("an adapter is missing, and nothing is said");
        for (const adapter of program.checked.adapters) {
          const faults = verify(lower(program.checked.context, adapter));
          if (faults.length) throw new Error(`${faults[0]!.message}\n${text}`);
        }
      }),
      { numRuns: edits, ...(process.env["MOEC_SEED"] ? { seed: Number(process.env["MOEC_SEED"]) } : {}) },
    );
  }, 60_000 + 40 * edits);
});
