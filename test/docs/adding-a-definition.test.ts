import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { verify } from "../../src/ir/index.ts";
import { lower } from "../../src/lower/index.ts";
import { checkSource } from "../check/support.ts";

const doc = readFileSync("docs/adding-a-definition.md", "utf8");
const blocks = [...doc.matchAll(/^```(?:moe|text (MOE\d{4}))\n([\s\S]*?)^```$/gm)].map((m) => ({ line: doc.slice(0, m.index).split("\n").length, code: m[1], text: m[2]! }));

describe("docs/adding-a-definition.md", () => {
  it("has examples, sound ones and faulty ones", () => {
    expect(blocks.filter((b) => b.code === undefined).length).toBeGreaterThanOrEqual(3);
    expect(blocks.filter((b) => b.code !== undefined).length).toBeGreaterThanOrEqual(3);
  });

  it.each(blocks)("the example at line $line", async ({ text, code }) => {
    const program = await checkSource(text);
    expect(program.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual(code === undefined ? [] : [expect.stringMatching(new RegExp(`^${code} `))]);
    for (const adapter of program.checked.adapters) expect(verify(lower(program.checked.context, adapter))).toEqual([]);
  });

  it("the tensors lie where it says", async () => {
    const program = await checkSource(blocks[0]!.text);
    const names = lower(program.checked.context, program.checked.adapters[0]!).weights.flatMap((w) => w.sources.flatMap((s) => s.adapter?.names ?? []));
    for (const name of ["layers.0.mlp.gate_proj.e.0.A", "layers.0.mlp.gate_proj.router.W"]) {
      expect(doc).toContain(name);
      expect(names).toContain(name);
    }
  });
});
