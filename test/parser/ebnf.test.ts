import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ebnf } from "../../src/parser/ebnf.ts";
import { root } from "./support.ts";

it("grammar/moe.ebnf is what the parser says; run scripts/grammar.mjs", () => {
  expect(readFileSync(join(root, "grammar/moe.ebnf"), "utf8")).toBe(ebnf());
});

it("every rule that is used is defined, and every rule but the first is used", () => {
  const text = ebnf().replace(/\(\*[\s\S]*?\*\)/g, "").replace(/\?.*\?/g, "").replace(/"[^"]*"/g, "");
  const defined = [...text.matchAll(/^(\w+) =/gm)].map((m) => m[1]!);
  const used = new Set([...text.replace(/^\w+ =/gm, "").matchAll(/\w+/g)].map((m) => m[0]));
  expect([...used].filter((name) => !defined.includes(name))).toEqual([]);
  expect(defined.filter((name) => !used.has(name))).toEqual(["file"]);
});
