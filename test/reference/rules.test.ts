import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Case } from "./cases.ts";
import { definitions } from "./definitions.ts";
import { expressions } from "./expressions.ts";
import { sitesAndClauses } from "./sites.ts";
import { text } from "./text.ts";

/** Every numbered rule of grammar/reference.md, tried out: texts that are right, texts with the mistake it names, and values. */

const reference = readFileSync("grammar/reference.md", "utf8");
const rules = new Map([...reference.matchAll(/^- \*\*(R\d+\.\d+)\*\* ([^]*?)(?=\n- \*\*R|\n\n|\n$)/gm)].map((m) => [m[1]!, m[2]!]));
const cases = new Map<string, readonly Case[]>([text, sitesAndClauses, definitions, expressions].flatMap((part) => Object.entries(part)));

describe("the reference and its cases", () => {
  it("every rule has a case, and every case is of a rule", () => {
    expect([...cases.keys()].sort()).toEqual([...rules.keys()].sort());
    for (const [rule, of] of cases) expect(of.length, rule).toBeGreaterThan(0);
  });

  it("every code that a rule names is given by a case of that rule", () => {
    const missing = [...rules].flatMap(([rule, says]) => {
      const tried = cases.get(rule)!.map((c) => c.name).join(" ");
      return [...says.matchAll(/MOE\d{4}/g)].map((m) => m[0]).filter((code) => !tried.includes(code)).map((code) => `${rule}: ${code}`);
    });
    expect(missing).toEqual([]);
  });
});

describe.each([...cases])("%s", (_, all) => {
  it.each(all.map((c) => [c.name, c] as const))("%s", async (_name, c) => {
    await c.run();
  });
});
