import { describe, expect, it } from "vitest";
import { testBackends } from "../support/backends.ts";
import { available } from "../support/require.ts";
import { caseOf, specOf, verifyCase } from "./run.ts";

const hasShared = await available("shared");

/**
 * Published code's own numbers (their origin: oracles/cases.json beside the repository): how many of a case's tensors are
 * outputs and gradients, so that a comparison that quietly went missing is a failure, and the spec, where several cases
 * have one.
 */
type Case = readonly [name: string, compared: number, spec: string];
const layers: readonly Case[] = ([
  ["loramoe", 32],
  ["loramoe_no_types", 18],
  ["loramoe_delta03", 32],
  ["loramoe_mlp", 83, "loramoe"],
  ["hydralora", 10],
  ["mola", 24],
  ["mola_top1", 24],
  ["adamole", 28],
  ["adamole_tau06", 28],
  ["mixlora", 56],
  ["mixlora_compat_nomask", 56],
  ["moelora", 14],
  ["moelora_shared", 14, "moelora"],
  ["peft_lora", 5],
  ["peft_rslora", 5],
  ["peft_dora", 6],
  ["peft_ia3", 4],
  ["peft_ia3_feedforward", 4],
] as const).map(([name, compared, spec]) => [name, compared, spec ?? name]);
const models: readonly Case[] = ([
  ["llama_tiny", 23],
  ["llama_tiny_lora_mlp", 14],
  ["llama_tiny_loramoe", 160],
  ["xlora_tiny_llama", 5],
] as const).map(([name, compared]) => [name, compared, name]);

/** Specs in which a token's experts are a number. */
const chosen: ReadonlySet<string> = new Set(["mola", "mola_top1", "mixlora", "mixlora_compat_nomask"]);

/** In a case, but no result: PEFT reports the norm that its gradient does not go through. */
const unused: Readonly<Record<string, readonly string[]>> = { peft_dora: ["weight_norm"] };

/**
 * With one expert chosen and gates made to sum to 1, the gate is 1 whatever the router says: the task's part of the
 * router's gradient is zero but for rounding, of numbers of magnitude 10. That gradient is compared absolutely.
 */
const withoutTaskGradient: Readonly<Record<string, string>> = { mola_top1: "grad.router.weight" };

describe.each([...layers, ...models])("%s", (name, compared, spec) => {
  it.skipIf(!hasShared)("in float64: a relative error of at most 1e-9", async () => {
    const report = await verifyCase(await specOf(spec), await caseOf(name, "f64"), "interpreter", 1e-9);
    expect(report.comparisons.filter((c) => !c.ok)).toEqual([]);
    expect(report.comparisons).toHaveLength(compared);
    expect(report.unused).toEqual(unused[name] ?? []);
  });

  it.skipIf(!hasShared || !chosen.has(spec))("in float64, tokens sorted by expert: at most 1e-9", async () => {
    const report = await verifyCase(await specOf(spec), await caseOf(name, "f64"), "interpreter", 1e-9, { dispatch: "always" });
    expect(report.comparisons.filter((c) => !c.ok)).toEqual([]);
    expect(report.comparisons).toHaveLength(compared);
  });

  it.skipIf(!hasShared || !chosen.has(spec)).each(testBackends)("in float32, tokens sorted by expert, on %s: at most 1e-4", async (backend) => {
    const report = await verifyCase(await specOf(spec), await caseOf(name, "f32"), backend, 1e-4, { dispatch: "always" });
    expect(report.comparisons.filter((c) => !c.ok && !(withoutTaskGradient[name] === c.name && c.difference <= 1e-5))).toEqual([]);
    expect(report.comparisons).toHaveLength(compared);
  });

  it.skipIf(!hasShared).each(testBackends)("in float32 on %s: at most 1e-4", async (backend) => {
    const report = await verifyCase(await specOf(spec), await caseOf(name, "f32"), backend, 1e-4);
    expect(report.comparisons.filter((c) => !c.ok && !(withoutTaskGradient[name] === c.name && c.difference <= 1e-5))).toEqual([]);
    expect(report.comparisons).toHaveLength(compared);
  });
});
