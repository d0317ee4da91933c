import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import { evaluateModel } from "../../src/runtime/evaluate.ts";
import type { StepMetrics } from "../../src/runtime/metrics.ts";
import { MemoryOutput } from "../../src/runtime/output.ts";
import { RunFolder } from "../../src/runtime/run-folder.ts";
import type { Model } from "../../src/runtime/store.ts";
import { trainRun, type TrainOptions } from "../../src/runtime/train.ts";
import { codeTestBackends } from "../support/backends.ts";
import { collect, disposeModel, refused, settings, snapshot, tinyModel } from "./support.ts";
import { examples, tinyProgram, type TinyOptions } from "./tiny.ts";

/** What must not differ between two runs: everything but times. */
const numbers = (steps: readonly StepMetrics[]): unknown[] => steps.map(({ seconds: _, tokensPerSecond: __, ...rest }) => rest);

describe.each(codeTestBackends)("training on %s", (name) => {
  let backend: Backend;
  const models: Model[] = [];
  beforeAll(async () => {
    backend = await startBackend(name);
  });
  afterEach(() => models.splice(0).forEach(disposeModel));
  afterAll(async () => backend.dispose());

  async function fresh(options: TinyOptions = {}): Promise<Model> {
    const model = await tinyModel(backend, options);
    models.push(model);
    return model;
  }
  const run = (model: Model, options: Partial<TrainOptions> = {}): ReturnType<typeof trainRun> => trainRun({ model, examples: examples(), ...options });

  it("learns: the loss falls from near the uniform guess to near none", async () => {
    const model = await fresh();
    const { steps, end } = await collect(run(model, { steps: 80 }));
    expect(end).toEqual({ step: 80, steps: 80, stopped: "finished" });
    expect(steps[0]!.loss).toBeGreaterThan(1.5);
    expect(steps.at(-1)!.loss).toBeLessThan(0.3);
    const report = await evaluateModel(model, examples());
    expect(report.overall.accuracy).toBe(1);
  });

  it("runs the spec's epochs, or its steps, or the caller's", async () => {
    // 10 examples in batches of 4: 3 steps an epoch, the last of 2 examples.
    const { steps } = await collect(run(await fresh()));
    expect(steps.map((s) => s.step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(steps.map((s) => s.epoch)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => n / 3));
    // Four tokens in every example.
    expect(steps.map((s) => s.tokens)).toEqual([16, 16, 8, 16, 16, 8, 16, 16, 8]);
    expect((await collect(run(await fresh({ manifest: settings({ steps: 4 }) })))).steps.length).toBe(4);
    expect((await collect(run(await fresh(), { steps: 2 }))).steps.length).toBe(2);
  });

  it("gives metrics that fit each other", async () => {
    const { steps } = await collect(run(await fresh(), { steps: 3 }));
    for (const step of steps) {
      expect(step.total).toBeCloseTo(step.loss + step.balance, 12);
      expect(step.balance).toBeGreaterThan(0);
      expect(step.gradientNorm).toBeGreaterThan(0);
      expect(step.utilization["knowledge"]! + step.utilization["skill"]!).toBeCloseTo(1, 5);
      expect(step.tokensPerSecond).toBeCloseTo(step.tokens / step.seconds, 6);
      expect(Object.keys(step.utilizationByKind).every((k) => ["world", "task"].includes(k))).toBe(true);
    }
    // linear, warmup 0.1 of 3 steps: one step of warm-up, then down.
    expect(steps.map((s) => s.lr / 0.05)).toEqual([1, 1, 0.5].map((f) => expect.closeTo(f, 5)));
  });

  it("gives the loss that evaluation gives, before the first step and without dropout's noise", async () => {
    // The tiny model drops nothing where B is zero: the experts add nothing yet.
    const model = await fresh({ manifest: settings({ batch: 10, accumulate: 1 }) });
    const before = await evaluateModel(model, examples());
    const { steps } = await collect(run(model, { steps: 1 }));
    expect(steps[0]!.loss).toBeCloseTo(before.overall.loss, 5);
  });

  it("micro-batches add up to the whole step", async () => {
    const whole = await collect(run(await fresh({ manifest: settings({ batch: 10, accumulate: 1 }) }), { steps: 1 }));
    const parts = await collect(run(await fresh({ manifest: settings({ batch: 10, accumulate: 4 }) }), { steps: 1 }));
    // B is zero at the first step, so dropout (another draw in each micro-batch) changes no loss, only A's side of the gradient.
    expect(parts.steps[0]!.loss).toBeCloseTo(whole.steps[0]!.loss, 5);
    expect(parts.steps[0]!.tokens).toBe(whole.steps[0]!.tokens);
    expect(parts.steps[0]!.utilization["skill"]).toBeCloseTo(whole.steps[0]!.utilization["skill"]!, 5);
  });

  it("tells the program the step's scales, and no dropout draw twice", async () => {
    const calls: { draw: number; lossScale: number; balanceScale: number; seed: number }[] = [];
    await collect(run(await fresh({ onGradients: (host) => calls.push(host) }), { steps: 6 }));
    expect(new Set(calls.map((c) => c.draw)).size).toBe(calls.length);
    expect(calls.map((c) => c.draw)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    // Two targets count in every example: 4, 4 and 2 examples in a step.
    expect(calls.map((c) => Math.round(1 / c.lossScale))).toEqual([8, 8, 8, 8, 4, 4, 8, 8, 8, 8, 4, 4]);
    expect(calls.every((c) => c.balanceScale === 0.5 && c.seed === 7)).toBe(true);
  });

  it("leaves nothing on the device from step to step, nor after", async () => {
    const model = await fresh();
    const before = backend.memory().tensors;
    const counts: number[] = [];
    for await (const _ of run(model, { steps: 5 })) counts.push(backend.memory().tensors);
    // While it runs there are two moments for each of the 7 trained tensors.
    expect(counts).toEqual(counts.map(() => before + 14));
    expect(backend.memory().tensors).toBe(before);
  });

  it("a seed repeats a run exactly; another gives another", async () => {
    const one = await fresh();
    const a = numbers((await collect(run(one, { steps: 4 }))).steps);
    const two = await fresh();
    const b = numbers((await collect(run(two, { steps: 4 }))).steps);
    expect(b).toEqual(a);
    expect(await snapshot(two)).toEqual(await snapshot(one));
    const c = numbers((await collect(run(await fresh(), { steps: 4, seed: 8 }))).steps);
    expect(c).not.toEqual(a);
  });

  it("resumed, gives the numbers of a run that was never stopped", async () => {
    const whole = await fresh();
    const unbroken = await collect(run(whole, { steps: 9 }));

    const host = new MemoryOutput();
    const folder = new RunFolder(host, "out");
    const first = await fresh();
    const stop = new AbortController();
    const early: StepMetrics[] = [];
    for await (const step of run(first, { steps: 9, folder, signal: stop.signal })) {
      early.push(step);
      if (step.step === 4) stop.abort();
    }
    expect(early.length).toBe(4);

    // A new process: fresh weights of another seed, which the checkpoint replaces.
    const second = await tinyModel(backend, { seed: 123 });
    models.push(second);
    const rest = await collect(run(second, { folder, resume: true }));
    expect(rest.end).toEqual({ step: 9, steps: 9, stopped: "finished" });
    expect(numbers([...early, ...rest.steps])).toEqual(numbers(unbroken.steps));
    expect(await snapshot(second)).toEqual(await snapshot(whole));
    const lines = new TextDecoder().decode(await host.readFile("out/metrics.jsonl")).trim().split("\n").map((l) => JSON.parse(l) as StepMetrics);
    expect(numbers(lines)).toEqual(numbers(unbroken.steps));
    // Finished is finished.
    expect(await collect(run(second, { folder, resume: true }))).toEqual({ steps: [], end: { step: 9, steps: 9, stopped: "finished" } });
  });

  it("leaving the loop leaves a checkpoint of exactly that step", async () => {
    const folder = new RunFolder(new MemoryOutput(), "out");
    const model = await fresh();
    const before = backend.memory().tensors;
    for await (const step of run(model, { steps: 9, folder })) if (step.step === 3) break;
    expect((await folder.read())!.state.step).toBe(3);
    expect(backend.memory().tensors).toBe(before);
  });

  it("writes checkpoints every so many steps", async () => {
    const host = new MemoryOutput();
    const seen: number[] = [];
    const folder = new RunFolder(host, "out");
    for await (const _ of run(await fresh(), { steps: 7, folder, checkpointEvery: { steps: 3 } })) seen.push((await folder.read())?.state.step ?? 0);
    expect(seen).toEqual([0, 0, 3, 3, 3, 6, 6]);
    expect((await folder.read())!.state.step).toBe(7);
    // Older checkpoints are swept away.
    expect(await host.list("out/checkpoint")).toEqual(["moments-7.safetensors", "state.json", "weights-7.safetensors"]);
  });

  it("stops at a loss that is not finite, with the weights from before the step and the last good checkpoint", async () => {
    const folder = new RunFolder(new MemoryOutput(), "out");
    // Two micro-batches a step: draw 7 belongs to step 4.
    const model = await fresh({ poisonDraw: 7 });
    const before = backend.memory().tensors;
    const last: Record<string, number[]>[] = [];
    const work = async (): Promise<void> => {
      for await (const _ of run(model, { steps: 9, folder, checkpointEvery: { steps: 2 } })) last.push(await snapshot(model));
    };
    const [problem, ...others] = await refused(work());
    expect(others).toEqual([]);
    expect(problem!.code).toBe("MOE5301");
    expect(problem!.message).toBe("Training diverged at step 4: the loss is NaN.");
    expect(problem!.help).toMatch(/lower learning rate.*clip 1/);
    expect(problem!.notes.join(" ")).toContain("step 2");
    expect(last.length).toBe(3);
    expect(await snapshot(model)).toEqual(last[2]);
    expect((await folder.read())!.state.step).toBe(2);
    expect(backend.memory().tensors).toBe(before);
  });

  it("an abort before the first step does nothing but say so", async () => {
    const model = await fresh();
    const before = await snapshot(model);
    expect(await collect(run(model, { signal: AbortSignal.abort() }))).toEqual({ steps: [], end: { step: 0, steps: 9, stopped: "aborted" } });
    expect(await snapshot(model)).toEqual(before);
  });

  it("refuses to train on nothing, with nothing, or with tokens that the base does not have", async () => {
    expect((await refused(collect(run(await fresh(), { examples: [] })))).map((d) => d.code)).toEqual(["MOE5134"]);
    const base = tinyProgram().manifest;
    const frozen = await fresh({ manifest: { ...base, weights: base.weights.map((w) => ({ ...w, trainable: false })) } });
    expect((await refused(collect(run(frozen)))).map((d) => d.code)).toEqual(["MOE5331"]);
    const strange = [{ ids: Int32Array.from([1, 11]), completionStart: 1, row: 0 }];
    expect((await refused(collect(run(await fresh(), { examples: strange })))).map((d) => d.code)).toEqual(["MOE5332"]);
  });
});
