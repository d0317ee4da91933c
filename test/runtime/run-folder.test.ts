import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import { NodeOutput } from "../../src/runtime/files/node-output.ts";
import type { StepMetrics } from "../../src/runtime/metrics.ts";
import { MemoryOutput } from "../../src/runtime/output.ts";
import { RunFolder } from "../../src/runtime/run-folder.ts";
import { trainRun, type TrainOptions } from "../../src/runtime/train.ts";
import { collect, disposeModel, DyingOutput, Killed, refused, settings, snapshot, tinyModel } from "./support.ts";
import { examples, type TinyOptions } from "./tiny.ts";

const ADAPTER = "out";
const losses = (steps: readonly StepMetrics[]): number[] => steps.map((s) => s.loss);

describe("a run's folder", () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend("cpu");
  });
  afterAll(async () => backend.dispose());

  /** Runs (a part of) a training run with its files on `host`, as a process of its own would. */
  async function run(host: MemoryOutput | NodeOutput, options: Partial<TrainOptions> & { readonly program?: TinyOptions; readonly path?: string } = {}): Promise<{ steps: StepMetrics[]; weights: Record<string, number[]> }> {
    const model = await tinyModel(backend, { seed: options.resume ? 99 : 7, ...options.program });
    try {
      const folder = new RunFolder(host, options.path ?? ADAPTER);
      const { steps } = await collect(trainRun({ model, examples: examples(), steps: 5, checkpointEvery: { steps: 2 }, ...options, folder }));
      return { steps, weights: await snapshot(model) };
    } finally {
      disposeModel(model);
    }
  }

  it("survives a kill between, and within, any two file operations", async () => {
    const unbroken = await run(new MemoryOutput());
    // How many operations a whole run has; then one run for each place where it may be killed.
    const whole = new DyingOutput([]);
    await run(whole);
    expect(whole.operations).toBeGreaterThan(25);
    let resumed = 0;
    for (let at = 0; at < whole.operations; at++) {
      const host = new DyingOutput([], at);
      await expect(run(host), `operation ${at}`).rejects.toThrow(Killed);
      const left = new MemoryOutput(host.files);
      const folder = new RunFolder(left, ADAPTER);
      const checkpoint = await folder.read();
      if (checkpoint === undefined) continue; // killed before the first checkpoint
      resumed++;
      const rest = await run(left, { resume: true });
      expect(losses(rest.steps), `operation ${at}`).toEqual(losses(unbroken.steps).slice(checkpoint.state.step));
      expect(rest.weights).toEqual(unbroken.weights);
      const lines = new TextDecoder().decode(await left.readFile(`${ADAPTER}/metrics.jsonl`)).trim().split("\n").map((l) => JSON.parse(l) as StepMetrics);
      expect(losses(lines), `operation ${at}`).toEqual(losses(unbroken.steps));
      // Nothing of the killed process is left lying about.
      expect((await left.list(`${ADAPTER}/checkpoint`)).length).toBe(3);
    }
    expect(resumed).toBeGreaterThan(15);
  });

  it("survives a kill while a second run replaces a first one's checkpoints", async () => {
    const first = new MemoryOutput();
    await run(first);
    const whole = new DyingOutput(first.files);
    await run(whole, { program: { manifest: settings({ seed: 3 }) }, seed: 3 });
    for (let at = 0; at < whole.operations; at += 3) {
      const host = new DyingOutput(first.files, at);
      await expect(run(host, { program: { manifest: settings({ seed: 3 }) }, seed: 3 })).rejects.toThrow(Killed);
      // Whatever is there is a whole checkpoint of one of the two runs, never a mixture.
      const checkpoint = await new RunFolder(new MemoryOutput(host.files), ADAPTER).read();
      if (checkpoint === undefined) continue;
      expect(checkpoint.state.files.weights).toBe(`weights-${checkpoint.state.step}.safetensors`);
      await run(new MemoryOutput(host.files), { resume: true, seed: checkpoint.state.seed });
    }
  });

  it("works on a disk", async () => {
    const path = await mkdtemp(join(tmpdir(), "moec-run-"));
    try {
      const host = new NodeOutput();
      const stop = new AbortController();
      const out = join(path, "deep", "out");
      const model = await tinyModel(backend);
      const early: StepMetrics[] = [];
      for await (const step of trainRun({ model, examples: examples(), steps: 5, folder: new RunFolder(host, out), signal: stop.signal })) {
        early.push(step);
        if (step.step === 3) stop.abort();
      }
      disposeModel(model);
      const rest = await run(host, { path: out, resume: true });
      const unbroken = await run(new MemoryOutput());
      expect(losses([...early, ...rest.steps])).toEqual(losses(unbroken.steps));
      expect(rest.weights).toEqual(unbroken.weights);
    } finally {
      await rm(path, { recursive: true });
    }
  });

  describe("resuming", () => {
    const stopped = async (): Promise<MemoryOutput> => {
      const host = new MemoryOutput();
      const model = await tinyModel(backend);
      for await (const step of trainRun({ model, examples: examples(), steps: 5, folder: new RunFolder(host, ADAPTER) })) if (step.step === 2) break;
      disposeModel(model);
      return host;
    };
    const why = async (host: MemoryOutput, options: Parameters<typeof run>[1]): Promise<string> => {
      const [problem] = await refused(run(host, { resume: true, ...options }));
      expect(problem!.code).toBe("MOE5320");
      return [problem!.message, ...problem!.notes].join(" ");
    };

    it("is refused where the run would be another, saying what differs", async () => {
      const host = await stopped();
      const before = new Map(host.files);
      expect(await why(host, { seed: 8 })).toContain("seed was 7, now it is 8");
      expect(await why(host, { steps: 6 })).toContain("steps was 5, now it is 6");
      expect(await why(host, { program: { manifest: settings({ batch: 5 }) } })).toContain("batch was 4, now it is 5");
      const slower = settings({});
      expect(await why(host, { program: { manifest: { ...slower, train: { ...slower.train, optimizer: { ...slower.train.optimizer, lr: 1 } } } } })).toContain("optimizer.lr was 0.05, now it is 1");
      expect(await why(host, { examples: examples().slice(1) })).toContain("the data had 10 examples, now it has 9");
      expect(await why(host, { examples: examples().reverse() })).toContain("the data's examples");
      const other = settings({});
      expect(await why(host, { program: { manifest: { ...other, spec: { file: "tiny.moe", sha256: "1".repeat(64) } } } })).toContain("the spec's text has changed");
      expect(await why(host, { program: { manifest: { ...other, moec: "9.9.9" } } })).toContain("it was compiled by moec 0.1.0, now by 9.9.9");
      expect(await why(host, { program: { manifest: { ...other, kinds: ["task", "world"] } } })).toContain("the compiled program has changed");
      // All of it in one message, and nothing was touched.
      const both = await why(host, { seed: 8, steps: 6 });
      expect(both).toContain("seed was 7");
      expect(both).toContain("steps was 5");
      expect(host.files).toEqual(before);
    });

    it("is refused without a checkpoint", async () => {
      expect((await refused(run(new MemoryOutput(), { resume: true }))).map((d) => d.code)).toEqual(["MOE5322"]);
    });

    it.each([
      ["state.json that is no JSON", "state.json", "{"],
      ["state.json of something else", "state.json", '{"format":"other"}'],
      ["state.json with a path for a name", "state.json", JSON.stringify({ format: "moec-run/1", step: 2, steps: 5, seed: 7, run: { settings: {} }, files: { weights: "../../etc/passwd", moments: "moments-2.safetensors" } })],
      ["weights cut short", "weights-2.safetensors", "short"],
      ["moments gone", "moments-2.safetensors", undefined],
    ])("is refused where the checkpoint is damaged: %s", async (_, file, content) => {
      const host = await stopped();
      if (content === undefined) host.files.delete(`${ADAPTER}/checkpoint/${file}`);
      else await host.writeFile(`${ADAPTER}/checkpoint/${file}`, new TextEncoder().encode(content));
      expect((await refused(run(host, { resume: true }))).map((d) => d.code)).toEqual(["MOE5321"]);
    });

    it("says that another backend rounds differently", async () => {
      const host = await stopped();
      const state = JSON.parse(new TextDecoder().decode(await host.readFile(`${ADAPTER}/checkpoint/state.json`))) as object;
      await host.writeFile(`${ADAPTER}/checkpoint/state.json`, new TextEncoder().encode(JSON.stringify({ ...state, backend: "webgpu" })));
      const notices: string[] = [];
      await run(host, { resume: true, onNotice: (d) => notices.push(d.code) });
      expect(notices).toEqual(["MOE5323"]);
    });

    it("leaves other files in the folder alone", async () => {
      const host = await stopped();
      await host.writeFile(`${ADAPTER}/checkpoint/notes.txt`, new Uint8Array(1));
      await run(host, { resume: true });
      expect(await host.list(`${ADAPTER}/checkpoint`)).toContain("notes.txt");
    });
  });
});
