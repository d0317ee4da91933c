import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { BatchOrder, collate, encodeExamples, microBatches, paddedWidths, parseJsonl, type DataRow, type Example } from "../../src/runtime/data/index.ts";
import { Random } from "../../src/runtime/random.ts";
import { hasShared, shared } from "../formats/shared.ts";
import { fixtureTokenizer } from "./fixtures.ts";

const tokenizer = fixtureTokenizer();
const row = (prompt: string, completion: string, more: Partial<DataRow> = {}): DataRow => ({ prompt, completion, line: 1, extra: {}, ...more });
const one = (prompt: string, completion: string, length = 64): Example => encodeExamples([row(prompt, completion)], tokenizer, { length }).examples[0]!;
const completionText = (e: Example): string => tokenizer.decode([...e.ids.subarray(e.completionStart)]);

describe("examples", () => {
  it("are BOS, prompt, completion, EOS, tokenised as one text", () => {
    const e = one("the capital of france is", " paris");
    expect([...e.ids]).toEqual([1, ...tokenizer.encode("the capital of france is paris"), 2]);
    expect(completionText(e)).toBe("paris");
    expect(e.completionStart).toBe(1 + tokenizer.encode("the capital of france is").length);
  });
  it("a token over the seam belongs to the completion", () => {
    const e = one("the cap", "ital");
    expect([...e.ids]).toEqual([1, ...tokenizer.encode("the capital"), 2]);
    expect(tokenizer.decode([...e.ids.subarray(0, e.completionStart)]).length).toBeLessThanOrEqual("the cap".length);
    expect(e.completionStart).toBeLessThan(e.ids.length - 1);
  });
  it("an empty prompt and an empty completion", () => {
    expect(one("", "the")).toMatchObject({ completionStart: 1 });
    expect([...one("the", "").ids]).toEqual([1, ...tokenizer.encode("the"), 2]);
    expect(one("the", "").completionStart).toBe(1 + tokenizer.encode("the").length);
  });
  it("without a special token in front, the first token is never a target", () => {
    const bare = fixtureTokenizer({ add_bos_token: false, eos_token: "</s>" });
    const { examples } = encodeExamples([row("", "the capital of france")], bare, { length: 3 });
    expect(examples[0]!.ids).toHaveLength(3);
    expect(examples[0]!.completionStart).toBe(1);
  });
  it("truncate: the prompt gives way at its start, BOS and the completion stay", () => {
    const whole = one("the capital of france is", " paris");
    const { examples, diagnostics } = encodeExamples([row("the capital of france is", " paris", { line: 9 })], tokenizer, { length: whole.ids.length - 2 });
    expect([...examples[0]!.ids]).toEqual([1, ...whole.ids.subarray(3)]);
    expect(completionText(examples[0]!)).toBe("paris");
    expect(diagnostics.map((d) => [d.code, d.message])).toEqual([["MOE5141", `the data: 1 prompt shortened to fit length ${whole.ids.length - 2}: line 9`]]);
  });
  it("truncate: a completion too long alone is cut at its end, with a warning that names the line", () => {
    const { examples, diagnostics } = encodeExamples([row("the", " capital of france is paris", { line: 4 })], tokenizer, { length: 5, file: "d.jsonl" });
    const whole = one("the", " capital of france is paris");
    expect([...examples[0]!.ids]).toEqual([1, ...whole.ids.subarray(whole.completionStart, whole.completionStart + 4)]);
    expect(examples[0]!.completionStart).toBe(1);
    expect(diagnostics.map((d) => d.code)).toEqual(["MOE5142"]);
    expect(diagnostics[0]!.message).toMatch(/^d\.jsonl, line 4: the completion alone has \d+ tokens, length is 5/);
  });
  it("refuse and skip", () => {
    const rows = [row("the capital of france is", " paris", { line: 1 }), row("the", " answer", { line: 2 })];
    const refused = encodeExamples(rows, tokenizer, { length: 7, tooLong: "refuse" });
    expect(refused.diagnostics.map((d) => d.code)).toEqual(["MOE5140"]);
    expect(refused.examples.map((e) => e.row)).toEqual([1]);
    const skipped = encodeExamples(rows, tokenizer, { length: 7, tooLong: "skip" });
    expect(skipped.diagnostics.map((d) => d.code)).toEqual(["MOE5143"]);
    expect(skipped.examples.map((e) => e.row)).toEqual([1]);
  });
  it("never pass the length, and keep EOS and the completion where they fit", () => {
    const word = fc.constantFrom("the", " capital", " of", "é", "😀", "\n", " is", "x");
    const text = fc.array(word, { maxLength: 20 }).map((w) => w.join(""));
    fc.assert(
      fc.property(text, text, fc.integer({ min: 2, max: 30 }), (prompt, completion, length) => {
        const { examples } = encodeExamples([row(prompt, completion)], tokenizer, { length });
        const e = examples[0]!;
        const whole = one(prompt, completion, 10_000);
        expect(e.ids.length).toBe(Math.min(length, whole.ids.length));
        expect(e.ids[0]).toBe(1);
        const answer = whole.ids.length - whole.completionStart;
        const kept = Math.min(answer, length - 1);
        expect([...e.ids.subarray(e.completionStart)]).toEqual([...whole.ids.subarray(whole.completionStart, whole.completionStart + kept)]);
      }),
      { numRuns: 300 },
    );
  });
  it("a prompt of megabytes costs what a short one does, and keeps the same tokens", () => {
    const long = "the capital of france is rome ".repeat(200_000);
    const start = performance.now();
    const { examples } = encodeExamples([row(long, "paris")], tokenizer, { length: 64 });
    expect(performance.now() - start).toBeLessThan(2000);
    const short = encodeExamples([row(long.slice(-30 * 40), "paris")], tokenizer, { length: 64 });
    expect([...examples[0]!.ids]).toEqual([...short.examples[0]!.ids]);
    for (const [tooLong, code] of [["refuse", "MOE5140"], ["skip", "MOE5143"]] as const)
      expect(encodeExamples([row(long, "paris")], tokenizer, { length: 64, tooLong }).diagnostics.map((d) => d.code)).toEqual([code]);
  });
  it.skipIf(!hasShared)("the row of 5 MB of data/bad is truncated or refused, as configured", () => {
    const { rows } = parseJsonl(new Uint8Array(readFileSync(`${shared}/data/bad/09-long-line-5mb.jsonl`)), "x");
    const { examples, diagnostics } = encodeExamples(rows, tokenizer, { length: 128 });
    expect(examples).toHaveLength(3);
    expect(examples[1]!.ids).toHaveLength(128);
    expect(diagnostics).toHaveLength(1);
    expect(encodeExamples(rows, tokenizer, { length: 128, tooLong: "refuse" }).diagnostics.map((d) => d.message)).toEqual([expect.stringMatching(/^the data, line 2: the row has more than 127 tokens/)]);
  });
});

describe("batches", () => {
  it("pad on the right, shift targets by one and count completion targets only", () => {
    const batch = collate(
      [
        { ids: Int32Array.of(1, 10, 11, 12, 2), completionStart: 3, kind: "b", row: 7 },
        { ids: Int32Array.of(1, 20, 2), completionStart: 1, kind: "z", row: 3 },
      ],
      { kinds: ["a", "b"], pad: 9, widths: [4, 6] },
    );
    expect(batch).toMatchObject({ samples: 2, positions: 6, counted: 4 });
    expect([...batch.tokens]).toEqual([1, 10, 11, 12, 2, 9, 1, 20, 2, 9, 9, 9]);
    expect([...batch.targets]).toEqual([10, 11, 12, 2, 9, 9, 20, 2, 9, 9, 9, 9]);
    expect([...batch.lossMask]).toEqual([0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]);
    expect([...batch.mask]).toEqual([1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0]);
    expect([...batch.kinds]).toEqual([1, -1]);
    expect([...batch.rows]).toEqual([7, 3]);
  });
  it("are as wide as their longest example where no widths are given", () => {
    expect(collate([one("the", " capital")]).positions).toBe(one("the", " capital").ids.length);
    expect(paddedWidths(40)).toEqual([16, 32, 40]);
  });
  it("a counted target is a token of the completion, whatever the rows", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.string()), { minLength: 1, maxLength: 4 }), (pairs) => {
        const { examples } = encodeExamples(pairs.map(([p, c]) => row(p, c)), tokenizer, { length: 32 });
        const b = collate(examples);
        let counted = 0;
        examples.forEach((e, s) => {
          const at = s * b.positions;
          const learned = [...b.targets.subarray(at, at + b.positions)].filter((_, i) => b.lossMask[at + i] === 1);
          expect(learned).toEqual([...e.ids.subarray(e.completionStart)]);
          counted += learned.length;
        });
        expect(b.counted).toBe(counted);
      }),
    );
  });
});

describe("the order of data", () => {
  const plan = { examples: 23, batch: 4, seed: 5 };
  it("sees every example once an epoch, in another order each time", () => {
    const order = new BatchOrder(plan);
    expect(order.stepsPerEpoch).toBe(6);
    const epoch = (n: number): number[] => Array.from({ length: 6 }, (_, i) => [...order.step(n * 6 + i)]).flat();
    for (const n of [0, 1, 2]) expect(epoch(n).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 23 }, (_, i) => i));
    expect(epoch(0)).not.toEqual(epoch(1));
    expect(order.step(5)).toHaveLength(3);
    expect(order.steps(1.5)).toBe(9);
    expect(order.steps(3)).toBe(18);
  });
  it("is a function of seed and step alone", () => {
    const straight = new BatchOrder(plan);
    const steps = Array.from({ length: 20 }, (_, i) => [...straight.step(i)]);
    for (const i of [19, 0, 7, 13]) expect([...new BatchOrder(plan).step(i)]).toEqual(steps[i]);
    expect([...new BatchOrder({ ...plan, seed: 6 }).step(0)]).not.toEqual(steps[0]);
  });
  it("groups examples of similar length, and still sees each once", () => {
    const lengths = Array.from({ length: 1003 }, (_, i) => (i * 7919) % 200);
    const order = new BatchOrder({ examples: 1003, batch: 8, seed: 1, groupBy: lengths });
    const steps = Array.from({ length: order.stepsPerEpoch }, (_, i) => [...order.step(i)]);
    expect(steps.flat().toSorted((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
    expect(steps.slice(0, -1).every((s) => s.length === 8)).toBe(true);
    expect(steps.at(-1)).toHaveLength(3);
    const spread = (all: number[][]): number => all.reduce((n, s) => n + Math.max(...s.map((i) => lengths[i]!)) - Math.min(...s.map((i) => lengths[i]!)), 0);
    const plain = new BatchOrder({ examples: 1003, batch: 8, seed: 1 });
    expect(spread(steps)).toBeLessThan(spread(steps.map((_, i) => [...plain.step(i)])) / 4);
  });
  it("micro-batches split a step evenly", () => {
    expect(microBatches(Int32Array.of(1, 2, 3, 4, 5, 6, 7), 3).map((m) => [...m])).toEqual([[1, 2], [3, 4], [5, 6, 7]]);
    expect(microBatches(Int32Array.of(1, 2), 4).map((m) => [...m])).toEqual([[1], [2]]);
  });
});

describe("random numbers", () => {
  it("are those of xoshiro128** 1.1", () => {
    // From the authors' C source with the state 1, 2, 3, 4.
    const random = new Random(0);
    (random as unknown as { state: Uint32Array }).state.set([1, 2, 3, 4]);
    expect(Array.from({ length: 5 }, () => random.next())).toEqual([11520, 0, 5927040, 70819200, 2031721883]);
  });
  it("are uniform below a bound", () => {
    const random = new Random(3, 4);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 70_000; i++) counts[random.below(7)]!++;
    const chi2 = counts.reduce((s, c) => s + (c - 10_000) ** 2 / 10_000, 0);
    expect(chi2).toBeLessThan(22.5); // 6 degrees of freedom, p = 0.001
  });
  it("of neighbouring seeds and epochs have nothing in common", () => {
    const firsts = new Set([0, 1, 2, 3].flatMap((s) => [0, 1, 2, 3].map((e) => new Random(s, e).next())));
    expect(firsts.size).toBe(16);
  });
});
