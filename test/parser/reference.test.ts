import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { catalogue } from "../../src/diagnostics/index.ts";
import { format } from "../../src/format/index.ts";
import { parse } from "../../src/parser/index.ts";
import { reservedWords } from "../../src/parser/tokens.ts";
import { root } from "./support.ts";

const text = readFileSync(join(root, "grammar/reference.md"), "utf8");
const rules = [...text.matchAll(/^- \*\*(R\d+\.\d+)\*\* /gm)].map((m) => m[1]!);

describe("the reference", () => {
  it("numbers its rules in order, each once, under the heading of its number", () => {
    expect(rules.length).toBeGreaterThan(40);
    expect(new Set(rules).size).toBe(rules.length);
    const order = (r: string): number => Number(r.slice(1).split(".")[0]) * 1000 + Number(r.split(".")[1]);
    expect([...rules].sort((a, b) => order(a) - order(b))).toEqual(rules);
    for (const part of text.split(/^## /m).slice(1)) {
      const heading = part.split(" ")[0]!;
      for (const [, rule] of part.matchAll(/^- \*\*(R\d+)\./gm)) expect(rule).toBe(heading);
    }
  });

  it("names codes that there are", () => {
    const named = new Set([...text.matchAll(/MOE\d{4}/g)].map((m) => m[0]));
    expect([...named].filter((code) => !(code in catalogue))).toEqual([]);
  });

  it("names every reserved word", () => {
    expect(text).toContain(`\`${reservedWords.join(" ")}\``);
  });

  it.each([...text.matchAll(/```moe\n([\s\S]*?)```/g)].map((m, i) => [i, m[1]!] as const))("its example %i parses and is formatted", (_i, example) => {
    expect(parse(example, "reference.moe").diagnostics).toEqual([]);
    expect(format(example, "reference.moe").text).toBe(example);
  });

  it("rules that tests cite are there", () => {
    const cited = new Set<string>();
    for (const room of readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })) {
      if (!room.endsWith(".test.ts") || room.endsWith("reference.test.ts")) continue;
      for (const [rule] of readFileSync(join(root, "test", room), "utf8").matchAll(/\bR\d+\.\d+\b/g)) cited.add(rule);
    }
    expect([...cited].filter((rule) => !rules.includes(rule))).toEqual([]);
  });
});
