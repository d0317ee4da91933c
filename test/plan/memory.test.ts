import { describe, expect, it } from "vitest";
import { chooseAdapter, compileAdapter, type Compiled } from "../../src/compiler/index.ts";
import { release } from "../../src/passes/index.ts";
import { checkSource, renderAll, spec } from "../check/support.ts";

const clauses = "experts e[2] = lora(rank: 2)\nroute softmax()";

async function compiled(setting: string): Promise<Compiled> {
  const program = await checkSource(spec(clauses, undefined, `train A {\n  batch 8  accumulate 2  length 64\n  ${setting}\n}\n`));
  expect(renderAll(program)).toEqual([]);
  return compileAdapter(program, chooseAdapter(program, undefined));
}

/** The peak of a micro-batch of 4 samples of 64 tokens, in bytes. */
const peakOf = ({ module }: Compiled): number => release(module, { sample: 4, position: 64 }).report.find((r) => r.fn === module.entries.get("gradients")!.fn)!.peakBytes;

describe("train { memory … }", () => {
  it("keeps all where nothing is said, and computes layers again where that is asked for", async () => {
    const [nothing, keep, again] = await Promise.all([compiled(""), compiled("memory keep"), compiled("memory recompute")]);
    expect([nothing, keep, again].map((c) => c.explanation.keeps)).toEqual(["all", "all", "layers"]);
    expect(peakOf(keep)).toBe(peakOf(nothing));
    expect(peakOf(again)).toBeLessThan(peakOf(keep));
    expect([nothing, keep, again].map((c) => c.manifest.train.memory)).toEqual([undefined, "keep", "recompute"]);
  });

  it("takes what fits a budget of GiB, at the spec's batch and length", async () => {
    const peak = peakOf(await compiled("")) / 2 ** 30;
    const [fits, not] = await Promise.all([compiled(`memory ${peak + 1e-6}`), compiled(`memory ${peak - 1e-6}`)]);
    expect([fits, not].map((c) => c.explanation.keeps)).toEqual(["all", "layers"]);
  });

  it("is one of two words, or a number above 0", async () => {
    const said = async (setting: string): Promise<string[]> => (await checkSource(spec(clauses, undefined, `train A { ${setting} }`))).diagnostics.map((d) => `${d.code} ${d.message}`);
    expect(await said("memory recompte")).toEqual(['MOE2004 memory is keep, recompute, or a number of GiB; this is "recompte"']);
    expect(await said("memory 0")).toEqual(["MOE2004 memory, in GiB, is a number above 0, this is 0"]);
  });
});
