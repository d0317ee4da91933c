import { readFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { textmate } from "../../src/parser/textmate.ts";
import { keywords, reservedWords } from "../../src/parser/tokens.ts";
import { corpus, root } from "./support.ts";

interface Rule {
  readonly name?: string;
  readonly match?: string;
  readonly begin?: string;
  readonly end?: string;
  readonly captures?: Readonly<Record<string, { readonly name?: string }>>;
  readonly patterns?: readonly Rule[];
  readonly include?: string;
}

const grammar = textmate() as { readonly patterns: readonly Rule[]; readonly repository: Readonly<Record<string, Rule>> };

/** The rules that match one line, in order: what an editor tries at each place. */
function flat(rules: readonly Rule[]): Rule[] {
  return rules.flatMap((r) => (r.include ? flat([grammar.repository[r.include.slice(1)]!]) : r.patterns ? flat(r.patterns) : [r]));
}

const rules = flat(grammar.patterns).map((rule) => ({ rule, expression: new RegExp(rule.match ?? `${rule.begin}.*?${rule.end}`, "dg") }));

/** The scope of each piece of a line: the earliest match wins, then the first rule, as in TextMate. */
function scopes(line: string): { text: string; scope: string }[] {
  const found: { text: string; scope: string }[] = [];
  for (let at = 0; at < line.length; ) {
    let best: { rule: Rule; match: RegExpExecArray } | undefined;
    for (const { rule, expression } of rules) {
      expression.lastIndex = at;
      const match = expression.exec(line);
      if (match && match[0] !== "" && (!best || match.index < best.match.index)) best = { rule, match };
    }
    if (!best) break;
    const { rule, match } = best;
    if (rule.name) found.push({ text: match[0], scope: rule.name });
    else for (const [i, capture] of Object.entries(rule.captures ?? {})) if (match[Number(i)]) found.push({ text: match[Number(i)]!, scope: capture.name ?? "string.quoted.double.moe" });
    at = match.index + match[0].length;
  }
  return found;
}

const words = (line: string): string[] => scopes(line).filter((s) => s.scope.startsWith("keyword") && /^[a-z ]+$/.test(s.text)).map((s) => s.text);

describe("the TextMate grammar", () => {
  it.each<[string, string[]]>([
    ['import "./common.moe"', ["import"]],
    ["param rank: int = 4 in [1, 2]", ["param", "in"]],
    ["adapter B = A with {", ["adapter", "with"]],
    ["adapter A on llama { at ** { unfreeze } }", ["adapter", "on", "at", "unfreeze"]],
    ["    experts ffn[8] = patch { gate_proj: lora(rank: 4) }", ["experts", "patch"]],
    ["    always shared = lora(rank: 8)", ["always"]],
    ["    route top_k(2) per block", ["route", "per"]],
    ["    balance 0.1 * localized() mean over sites unmasked {", ["balance", "mean over sites", "unmasked"]],
    ["    balance load_balancing() pooled over sites", ["balance", "pooled over sites"]],
    ["    mix weights", ["mix", "weights"]],
    ["  frozen V [in] = W", ["frozen"]],
    ["  state b [expert] = zeros()", ["state"]],
    ["  update b = b + 1", ["update"]],
    ['  linear q [hidden, query] bias x from "y" when not z', ["linear", "bias", "from", "when", "not"]],
    ['  linear q [hidden, query] stored [hidden, query] from "y" or ".z"', ["linear", "stored", "from", "or"]],
    ['  unused "a", ".b" when unused', ["unused", "when"]],
    ["  require 1 <= rank and rank <= in", ["require", "and"]],
    ["  expect 2 <= experts", ["expect"]],
    ["    expect = a * expect", []],
    ["  block layers[n](h [hidden]) -> [hidden] {", ["block"]],
    ["  config {", ["config"]],
    ["    if a or b then sum(x, over: in) else mean(x)", ["if", "or", "then", "else"]],
    ["    weight = state * patch", []],
    ["  (x [in], weight [sites]) -> [on] = when(from, over: axis)", []],
  ])("%s", (line, expected) => {
    expect(words(line)).toEqual(expected);
  });

  it("colours literals, comments, names", () => {
    expect(scopes('const a = 1e-3 // x "y"').map((s) => s.scope)).toEqual(["keyword.declaration.moe", "entity.name.type.moe", "keyword.operator.moe", "constant.numeric.moe", "comment.line.double-slash.moe"]);
    expect(scopes('  f("a // b", true, k: int) /* c */ /// d').map((s) => s.text)).toEqual(["f", "(", '"a // b"', ",", "true", ",", "k", ":", "int", ")", "/* c */", "/// d"]);
  });

  it("every word of the token table is coloured somewhere", () => {
    const source = JSON.stringify(grammar.repository).replaceAll(String.raw`\\b`, " ");
    for (const word of [...keywords, ...reservedWords]) expect(source).toMatch(new RegExp(`\\b${word}\\b`));
  });

  it("no sign in the library and the examples is left without a scope", () => {
    for (const { text } of corpus()) {
      for (const line of text.split("\n")) {
        const rest = scopes(line).reduce((l, s) => l.replace(s.text, " "), line);
        expect(rest).toMatch(/^[\w\s]*$/);
      }
    }
  });
});

describe("generated files", () => {
  it("are what the parser says; run scripts/grammar.mjs", () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, "scripts/grammar.mjs"), "--check"], { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });

  it("the railroad page needs nothing from elsewhere and has a place for each rule", () => {
    const page = readFileSync(join(root, "grammar/railroad.html"), "utf8");
    expect(page).not.toMatch(/<script|<link|@import|url\(|src=|https?:/);
    const targets = new Set([...page.matchAll(/href="#(\w+)"/g)].map((m) => m[1]!));
    const places = new Set([...page.matchAll(/<section id="(\w+)"/g)].map((m) => m[1]!));
    expect([...targets].filter((t) => !places.has(t))).toEqual([]);
  });
});
