import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Adapter, MemoryOutput, readManifest, startBackend, type Backend, type LoadOptions, type StepMetrics } from "../../src/runtime/index.ts";
import { codeTestBackends } from "../support/backends.ts";
import { collect, refused, snapshot } from "./support.ts";
import { baseFolder, manifest, tinyProgram, VOCAB, type TinyOptions } from "./tiny.ts";

// Ids 0 to 8 are the letters a to i, 9 begins a text, 10 ends it.
const letters = "abcdefghi";
const vocabulary = Object.fromEntries([...letters].map((l, i) => [l, i]));
const tokenizer = {
  version: "1.0",
  added_tokens: [9, 10].map((id) => ({ id, content: id === 9 ? "<s>" : "</s>", special: true, single_word: false, lstrip: false, rstrip: false, normalized: false })),
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: "Fuse" },
  model: { type: "BPE", vocab: { ...vocabulary, "<s>": 9, "</s>": 10 }, merges: [], unk_token: null },
};
const tokenizerConfig = { bos_token: "<s>", eos_token: "</s>", add_bos_token: true };

// The tiny model's task in letters: after s comes the letter five further on, then the end.
const rows = Array.from({ length: 10 }, (_, i) => ({ prompt: letters[i % 4]!, completion: letters[(i % 4) + 5]!, kind: i % 2 === 0 ? "world" : "task", id: i }));
const jsonl = rows.map((r) => `${JSON.stringify(r)}\n`).join("");

const files = (): [string, Uint8Array | string][] => [
  ...baseFolder(),
  ["models/stack/tokenizer.json", JSON.stringify(tokenizer)],
  ["models/stack/tokenizer_config.json", JSON.stringify(tokenizerConfig)],
  ["data/train.jsonl", jsonl],
];

describe.each(codeTestBackends)("an adapter on %s", (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend(name);
  });
  afterAll(async () => backend.dispose());

  type Groups = "knowledge" | "skill";
  type Kinds = "world" | "task";
  const load = (host: MemoryOutput, options: Partial<LoadOptions> = {}, program: TinyOptions = {}): Promise<Adapter<Groups, Kinds>> =>
    Adapter.load<Groups, Kinds>(tinyProgram(program), { base: "models/stack", backend, host, ...options });

  it("loads, trains, evaluates, generates, saves, and loads what it saved", async () => {
    const host = new MemoryOutput(files());
    const before = backend.memory().tensors;
    const run = await load(host);
    expect((await run.evaluate({ data: "data/train.jsonl" })).overall.accuracy).toBe(0);
    let last: StepMetrics<Groups, Kinds> | undefined;
    for await (const step of run.train({ data: "data/train.jsonl", steps: 80 })) last = step;
    expect(last!.loss).toBeLessThan(0.3);
    // Names are literal types.
    expect(last!.utilization.knowledge + last!.utilization.skill).toBeCloseTo(1, 4);
    const report = await run.evaluate({ data: rows });
    expect(report.overall).toMatchObject({ samples: 10, accuracy: 1 });
    expect(report.byKind.world!.samples).toBe(5);

    const pieces: string[] = [];
    expect(await run.generate("c", { onText: (piece) => pieces.push(piece) })).toEqual({ text: "h", tokens: [7], stopped: "stop" });
    expect(pieces).toEqual(["h"]);

    await run.save("out");
    expect([...host.files.keys()].filter((f) => f.startsWith("out/"))).toEqual(["out/moec.json", "out/adapter_model.safetensors"]);
    expect(await readManifest(host, "out")).toEqual(manifest);
    const again = await load(host, { adapter: "out", seed: 1234 });
    expect(await snapshot(again.model)).toEqual(await snapshot(run.model));
    expect((await again.evaluate({ data: rows })).overall).toEqual(report.overall);
    const notices: string[] = [];
    const onNotice: LoadOptions["onNotice"] = (d) => notices.push(d.code);
    (await load(host, { adapter: "out", onNotice })).dispose();
    expect(notices).toEqual([]);
    (await load(host, { adapter: "out", onNotice }, { manifest: { ...manifest, spec: { file: "tiny.moe", sha256: "1".repeat(64) } } })).dispose();
    expect(notices).toEqual(["MOE5318"]);
    run.dispose();
    run.dispose();
    again.dispose();
    expect(backend.memory().tensors).toBe(before);
    await expect(run.evaluate({ data: rows })).rejects.toThrow("disposed");
  });

  it("resumes a run by its folder", async () => {
    const host = new MemoryOutput(files());
    const numbers = (steps: readonly StepMetrics[]): number[] => steps.map((s) => s.loss);
    const whole = await load(host);
    const unbroken = await collect(whole.train({ data: rows, steps: 6 }));
    const first = await load(host);
    const early: StepMetrics[] = [];
    for await (const step of first.train({ data: rows, steps: 6, out: "run" })) {
      early.push(step);
      if (step.step === 2) break;
    }
    const second = await load(host);
    const rest = await collect(second.train({ data: rows, out: "run", resume: true }));
    expect(numbers([...early, ...rest.steps])).toEqual(numbers(unbroken.steps));
    expect(await snapshot(second.model)).toEqual(await snapshot(whole.model));
    for (const adapter of [whole, first, second]) adapter.dispose();
  });

  it("trains once at a time, and is not pulled away while it does", async () => {
    const run = await load(new MemoryOutput(files()));
    const training = run.train({ data: rows, steps: 3 });
    await training.next();
    await expect(run.train({ data: rows }).next()).rejects.toThrow("training already");
    expect(() => run.dispose()).toThrow("while it trains");
    await collect(training);
    run.dispose();
  });

  it("refuses files that are not right before anything is placed", async () => {
    const before = backend.memory().tensors;
    const codes = async (host: MemoryOutput, options: Partial<LoadOptions> = {}): Promise<string[]> => (await refused(load(host, options))).map((d) => d.code);
    expect(await codes(new MemoryOutput())).toEqual(["MOE5101"]);
    const other = new MemoryOutput(files());
    other.files.set("models/stack/config.json", new TextEncoder().encode(JSON.stringify({ vocab_size: VOCAB, hidden_size: 8 })));
    const [problem] = await refused(load(other));
    expect(problem!.code).toBe("MOE5334");
    expect(problem!.message).toBe("models/stack/config.json: hidden_size is 8, and the spec was compiled for 6.");
    expect(await codes(new MemoryOutput(files()), { adapter: "nowhere" })).toEqual(["MOE5316"]);
    const future = new MemoryOutput([["out/moec.json", '{"format":"moec/9"}']]);
    expect((await refused(readManifest(future, "out"))).map((d) => d.code)).toEqual(["MOE5317"]);
    expect(backend.memory().tensors).toBe(before);
  });

  it("refuses data that is not right, all of it at once, and can go on", async () => {
    const host = new MemoryOutput(files());
    const run = await load(host);
    expect((await refused(collect(run.train()))).map((d) => d.code)).toEqual(["MOE5333"]);
    expect((await refused(collect(run.train({ data: "data/none.jsonl" })))).map((d) => d.code)).toEqual(["MOE5101"]);
    expect((await refused(collect(run.train({ data: [] })))).map((d) => d.code)).toEqual(["MOE5134"]);
    const bad = [{ prompt: "a", completion: "b", kind: "wolrd" }, { prompt: "a", completion: 3 }, rows[0]!];
    expect((await refused(collect(run.train({ data: bad })))).map((d) => d.code).sort()).toEqual(["MOE5132", "MOE5133"]);
    // Measuring takes any kind.
    expect(Object.keys((await run.evaluate({ data: [{ prompt: "a", completion: "f", kind: "new" }] })).byKind)).toEqual(["new"]);
    const notices: string[] = [];
    await collect(run.train({ data: [...rows, { prompt: "abcdefghiabcdefghi", completion: "f" }], steps: 1, onNotice: (d) => notices.push(d.code) }));
    expect(notices).toContain("MOE5141");
    run.dispose();
  });
});

describe("an adapter on Node's disk", () => {
  it("needs no host", async () => {
    const folder = await mkdtemp(join(tmpdir(), "moec-adapter-"));
    try {
      const { NodeOutput } = await import("../../src/runtime/files/node-output.ts");
      const disk = new NodeOutput();
      for (const [path, content] of files()) {
        await disk.makeFolder(join(folder, path, ".."));
        await disk.writeFile(join(folder, path), typeof content === "string" ? new TextEncoder().encode(content) : content);
      }
      const run = await Adapter.load(tinyProgram(), { base: join(folder, "models/stack"), backend: "cpu" });
      await collect(run.train({ data: join(folder, "data/train.jsonl"), steps: 2, out: join(folder, "out") }));
      await run.save(join(folder, "out"));
      expect((await readdir(join(folder, "out"))).sort()).toEqual(["adapter_model.safetensors", "checkpoint", "metrics.jsonl", "moec.json"]);
      expect((await readFile(join(folder, "out/metrics.jsonl"), "utf8")).trim().split("\n").length).toBe(2);
      run.dispose();
      await run.backend.dispose();
      expect(existsSync(join(folder, "out/adapter_model.safetensors.part"))).toBe(false);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
