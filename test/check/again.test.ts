import { describe, expect, it } from "vitest";
import { compileAdapter, chooseAdapter, printProgram } from "../../src/compiler/index.ts";
import { checkSource, spec } from "./support.ts";

const said = async (text: string, set?: Readonly<Record<string, string>>): Promise<string[]> => (await checkSource(text, set ? { set } : {})).diagnostics.map((d) => d.code);

/** An expert of which the second factor is used, or not. */
const own = (result: string): string => `expert own() {\n  weight M [in, out] = zeros()\n  weight N [in, out] = zeros()\n  (x [in]) -> [out] = ${result}\n}\n`;

describe("a text that is checked again", () => {
  it("is told what became wrong in a definition that an adapter applies", async () => {
    const text = (result: string): string => spec("always own()", "layers.*.mlp.up_proj", own(result));
    for (const [result, codes] of [["x @ M + x @ N", []], ["x @ M", ["MOE3020"]], ["x @ M + x @ N", []], ["x @ M", ["MOE3020"]]] as const) expect(await said(text(result))).toEqual(codes);
  });

  it("is told what became wrong in a function that a definition calls", async () => {
    const text = (value: string): string => spec("always own()", "layers.*.mlp.up_proj", `${own("both(x @ M, x @ N)")}fn both(a, b) = ${value}\n`);
    for (const [value, codes] of [["a + b", []], ["a + 0 * stop(b)", ["MOE3020"]], ["a + b", []]] as const) expect(await said(text(value))).toEqual(codes);
  });

  it("is told what a param's value makes wrong", async () => {
    const text = spec("experts e[2] = lora(rank: 2)\nroute sentence()\nbalance weight * importance()", undefined, "param weight: float = 0.1\n");
    expect(await said(text)).toEqual([]);
    expect(await said(text, { weight: "0" })).toEqual(["MOE3022"]);
    expect(await said(text)).toEqual([]);
  });

  it("is told what became wrong in the adapter that a variant varies", async () => {
    const text = (weight: string): string => spec(`experts e[2] = lora(rank: 2)\nroute softmax()\nbalance ${weight} * importance()`, "layers.*.mlp.up_proj", "adapter B = A with {\n  at layers.*.mlp.down_proj { always lora(rank: 2) }\n}\n");
    for (const [weight, codes] of [["0.1", []], ["0", ["MOE3022"]], ["0.1", []]] as const) expect(await said(text(weight))).toEqual(codes);
  });

  it("is warned each time", async () => {
    const text = spec("experts e[2] = lora(rank: 2)\nmix weights\nroute softmax()");
    expect(await said(text)).toEqual(["MOE3024"]);
    expect(await said(`// moved\n${text}`)).toEqual(["MOE3024"]);
  });

  it("is compiled with the lines that it has now", async () => {
    const text = spec("always own()", "layers.*.mlp.up_proj", own("x @ M + x @ N"));
    const lineIn = async (t: string): Promise<string | undefined> => {
      const program = await checkSource(t);
      const compiled = await compileAdapter(program, chooseAdapter(program, undefined));
      return /\/\/ spec\.moe:(\d+)/.exec(await printProgram(compiled, { types: false, format: false, runtimeImport: "x" }))?.[1];
    };
    const first = Number(await lineIn(text));
    expect(first).toBeGreaterThan(0);
    expect(Number(await lineIn(`// one\n// two\n// three\n${text}`))).toBe(first + 3);
  });
});
