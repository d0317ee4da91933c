import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import type { Example } from "../../src/runtime/data/examples.ts";
import { evaluateModel } from "../../src/runtime/evaluate.ts";
import { generateTokens, sample, type SampleOptions } from "../../src/runtime/generate.ts";
import type { Entries } from "../../src/runtime/program.ts";
import type { Model } from "../../src/runtime/store.ts";
import { testBackends } from "../support/backends.ts";
import { collect, disposeModel, refused, tinyModel } from "./support.ts";
import { examples, manifest, tinyProgram, VOCAB } from "./tiny.ts";

/**
 * Entries whose answers can be counted by hand: each target t costs t/10 nats, targets below 5 are hit, and a sample's
 * usage of "knowledge" is a tenth of its second token.
 */
function counted(backend: Backend): Model {
  const { tf } = backend;
  const evaluate: Entries["evaluate"] = (_, input) => {
    const target = tf.cast(input.targets, "float32");
    const usage = tf.div(tf.cast(tf.slice(input.tokens, [0, 1], [-1, 1]), "float32"), 10);
    return {
      loss: tf.sum(tf.mul(tf.div(target, 10), input.lossMask), 1),
      count: tf.sum(input.lossMask, 1),
      hits: tf.sum(tf.mul(tf.cast(tf.less(target, 5), "float32"), input.lossMask), 1),
      balance: tf.scalar(0.25),
      usage: tf.concat([usage, tf.sub(1, usage)], 1) as Tensor2D,
    } as ReturnType<Entries["evaluate"]>;
  };
  return { manifest, backend, weights: {}, entries: { ...tinyProgram().create(tf), evaluate: (w, input, host) => tf.tidy(() => evaluate(w, input, host) as never) as ReturnType<Entries["evaluate"]> } };
}

const example = (ids: number[], completionStart: number, kind?: string): Example => ({ ids: Int32Array.from(ids), completionStart, row: 0, ...(kind ? { kind } : {}) });

describe.each(testBackends)("measuring on %s", (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend(name);
  });
  afterAll(async () => backend.dispose());

  it("counts as one counts by hand", async () => {
    const data = [
      example([9, 1, 2, 3], 2, "world"), // targets 2, 3: both hit
      example([9, 3, 4, 8], 2, "world"), // targets 4, 8: one hit
      example([9, 5, 1], 2, "task"), // target 1: hit
      example([9, 8, 6, 7, 9], 3, "other"), // targets 7, 9: none hit; a kind that the spec does not know
      example([9, 0, 4], 2), // no kind
    ];
    const model = counted(backend);
    const progress: number[] = [];
    const before = backend.memory().tensors;
    const report = await evaluateModel(model, data, { batch: 2, onProgress: (done) => progress.push(done) });
    expect(backend.memory().tensors).toBe(before);
    expect(progress).toEqual([2, 4, 5]);
    const score = (samples: number, tokens: number, nats: number, exact: number): unknown => ({ samples, tokens, loss: expect.closeTo(nats / tokens, 5), exact, accuracy: exact / samples });
    expect(report.overall).toEqual(score(5, 8, 0.5 + 1.2 + 0.1 + 1.6 + 0.4, 3));
    expect(Object.keys(report.byKind)).toEqual(["world", "task", "other"]);
    expect(report.byKind["world"]).toEqual(score(2, 4, 0.5 + 1.2, 1));
    expect(report.byKind["task"]).toEqual(score(1, 1, 0.1, 1));
    expect(report.byKind["other"]).toEqual(score(1, 2, 1.6, 0));
    const share = (knowledge: number): unknown => ({ knowledge: expect.closeTo(knowledge, 5), skill: expect.closeTo(1 - knowledge, 5) });
    expect(report.utilization).toEqual(share((0.1 + 0.3 + 0.5 + 0.8 + 0) / 5));
    expect(report.utilizationByKind).toEqual({ world: share(0.2), task: share(0.5), other: share(0.8) });
    expect(report.balance).toBeCloseTo(0.25, 6);
  });

  it("the batch size changes nothing", async () => {
    const model = await tinyModel(backend);
    const one = await evaluateModel(model, examples(), { batch: 1 });
    const all = await evaluateModel(model, examples(), { batch: 100 });
    expect(all.overall.loss).toBeCloseTo(one.overall.loss, 5);
    expect({ ...all.overall, loss: 0 }).toEqual({ ...one.overall, loss: 0 });
    expect(all.utilizationByKind["world"]!["skill"]).toBeCloseTo(one.utilizationByKind["world"]!["skill"]!, 5);
    disposeModel(model);
  });

  it("works without groups and kinds, and refuses no data", async () => {
    const model = { ...counted(backend), manifest: { ...manifest, groups: [], kinds: [] } };
    const { evaluate } = model.entries;
    const bare: Model = { ...model, entries: { ...model.entries, evaluate: async (w, input, host) => {
      const found = await evaluate(w, input, host);
      found.usage.dispose();
      return { ...found, usage: backend.tf.tensor2d([], [input.kind.shape[0], 0]) };
    } } };
    const report = await evaluateModel(bare, [example([9, 1, 2], 2, "any")]);
    expect(report.utilization).toEqual({});
    expect(report.utilizationByKind).toEqual({});
    expect(report.byKind["any"]!.exact).toBe(1);
    expect((await refused(evaluateModel(bare, []))).map((d) => d.code)).toEqual(["MOE5134"]);
  });
});

describe.each(testBackends)("generating on %s", (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend(name);
  });
  afterAll(async () => backend.dispose());

  /** After token t comes t + 1 with logit 2, t + 2 with logit 1; the shapes it was asked for are kept. */
  function counter(): { model: Model; shapes: number[][] } {
    const { tf } = backend;
    const shapes: number[][] = [];
    const logits: Entries["logits"] = (_, { tokens, mask }) => {
      shapes.push([...tokens.shape]);
      expect(mask.shape).toEqual(tokens.shape);
      return tf.tidy(() => {
        const after = (n: number): Tensor => tf.cast(tf.oneHot(tf.cast(tf.mod(tf.add(tokens, n), VOCAB), "int32"), VOCAB), "float32");
        return { logits: tf.add(tf.mul(after(1), 2), after(2)) } as never;
      });
    };
    return { model: { manifest, backend, weights: {}, entries: { ...tinyProgram().create(tf), logits } }, shapes };
  }
  const run = async (prompt: number[], options: SampleOptions): Promise<{ tokens: number[]; end: string }> => {
    const before = backend.memory().tensors;
    const { model } = counter();
    const { steps, end } = await collect(generateTokens(model, prompt, options));
    model.entries.dispose();
    expect(backend.memory().tensors).toBe(before);
    return { tokens: steps, end };
  };

  it("takes the most likely token until one of the stop tokens, the limit, or the context's end", async () => {
    expect(await run([1], { stop: [5, 0] })).toEqual({ tokens: [2, 3, 4], end: "stop" });
    expect(await run([9], { stop: [5, 0] })).toEqual({ tokens: [10], end: "stop" });
    expect(await run([1, 2], { maxTokens: 2 })).toEqual({ tokens: [3, 4], end: "length" });
    const full = await run([0, 1, 2], {});
    expect(full.end).toBe("context");
    expect(full.tokens.length).toBe(16 - 3);
  });

  it("samples by the seed", async () => {
    const options = { temperature: 1, maxTokens: 13, seed: 5 };
    const one = await run([0], options);
    expect(await run([0], options)).toEqual(one);
    expect((await run([0], { ...options, seed: 6 })).tokens).not.toEqual(one.tokens);
    // With so small a nucleus only the likeliest token is left.
    expect((await run([0], { ...options, topP: 0.01 })).tokens).toEqual((await run([0], { maxTokens: 13 })).tokens);
  });

  it("asks WebGPU for few shapes, and the others for no padding", async () => {
    const { model, shapes } = counter();
    await collect(generateTokens({ ...model, backend: { ...backend, name: "webgpu" } }, [1], { maxTokens: 12 }));
    expect(new Set(shapes.map((s) => s[1])).size).toBe(1);
    shapes.length = 0;
    await collect(generateTokens({ ...model, backend: { ...backend, name: "wasm" } }, [1], { maxTokens: 4 }));
    expect(shapes).toEqual([[1, 1], [1, 2], [1, 3], [1, 4]]);
    model.entries.dispose();
  });

  it("refuses a prompt that leaves no room, or has nothing", async () => {
    const { model } = counter();
    expect((await refused(collect(generateTokens(model, new Array<number>(16).fill(1))))).map((d) => d.code)).toEqual(["MOE5330"]);
    expect((await refused(collect(generateTokens(model, [])))).map((d) => d.code)).toEqual(["MOE5335"]);
    expect((await refused(collect(generateTokens(model, [1, 10_000])))).map((d) => d.code)).toEqual(["MOE5332"]);
    await expect(collect(generateTokens(model, [1], { temperature: -1 }))).rejects.toThrow(RangeError);
    expect(await collect(generateTokens(model, [1], { signal: AbortSignal.abort() }))).toEqual({ steps: [], end: "aborted" });
    model.entries.dispose();
  });
});

describe("sampling", () => {
  const scores = Float32Array.from([1, 3, 2, -1]);
  const frequencies = (temperature: number, topP: number): number[] => {
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 10_000; i++) counts[sample(scores, temperature, topP, (i + 0.5) / 10_000)]!++;
    return counts.map((c) => c / 10_000);
  };
  it("has the probabilities of softmax(scores / temperature)", () => {
    for (const temperature of [0.5, 1, 2]) {
      const weights = [...scores].map((s) => Math.exp(s / temperature));
      const total = weights.reduce((a, b) => a + b, 0);
      frequencies(temperature, 1).forEach((f, i) => expect(f).toBeCloseTo(weights[i]! / total, 3));
    }
  });
  it("keeps the fewest tokens that reach topP", () => {
    // softmax of the scores: 0.089, 0.657, 0.242, 0.012; the two likeliest have 0.899.
    expect(frequencies(1, 0.6)).toEqual([0, 1, 0, 0]);
    const two = frequencies(1, 0.7);
    expect([two[0], two[3]]).toEqual([0, 0]);
    expect(two[1]!).toBeCloseTo(1 / (1 + Math.exp(-1)), 3);
    expect(frequencies(1, 0.95)[3]).toBe(0);
  });
});
