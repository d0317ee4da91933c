import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { library } from "../../src/cli/library.ts";
import { chooseAdapter, compileAdapter, loadProgram, onnxEntriesIn, printOnnxEntry, printProgram, type Compiled } from "../../src/compiler/index.ts";
import { onnxFileName } from "../../src/formats/onnx.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { Adapter, adapterTensors, startBackend, type Backend, type StepMetrics } from "../../src/runtime/index.ts";
import type { CompiledProgram } from "../../src/runtime/program.ts";
import { loadText, runtimePath, withModels } from "../codegen/run.ts";
import { available } from "../support/require.ts";
import { writeTinyProject } from "../support/tiny-checkpoint.ts";
import { collect, refused } from "./support.ts";

const hasOnnx = await available("onnx");

/** A whole adapter with dropout, balance and two micro-batches a step, on a base of two layers. */
describe.skipIf(!hasOnnx)("a program on ONNX Runtime", () => {
  const folder = mkdtempSync(join(tmpdir(), "moec-onnx-"));
  const data = join(folder, "data/train.jsonl");
  /** For wasm and for ONNX Runtime: each as the command line lays it out. */
  const compiled: Record<string, Compiled> = {};
  const code: Record<string, CompiledProgram> = {};
  let onnx: Backend;
  let wasm: Backend;
  const load = (backend: Backend, over: object = {}): Promise<Adapter> => Adapter.load(withModels(code[backend.name]!, compiled[backend.name]!), { base: join(folder, "models/tiny"), backend, ...over });

  beforeAll(async () => {
    writeTinyProject(folder);
    const spec = join(folder, "loramoe.moe");
    writeFileSync(spec, readFileSync(spec, "utf8").replace("batch 4", "batch 4 accumulate 2"));
    const program = await loadProgram(new NodeHost(), spec, { library: library() });
    expect(program.diagnostics).toEqual([]);
    for (const name of ["wasm", "onnx"] as const) {
      const made = (compiled[name] = await compileAdapter(program, chooseAdapter(program, undefined), name));
      code[name] = (await loadText(await printProgram(made, { types: false, format: false, runtimeImport: runtimePath })))[made.exportName] as unknown as CompiledProgram;
    }
    // One copy of each frozen matrix will do.
    expect(compiled["onnx"]!.manifest.weights.filter((w) => w.layoutOf !== undefined)).toEqual([]);
    wasm = await startBackend("wasm");
    onnx = await startBackend("onnx");
  });
  afterAll(async () => {
    await onnx?.dispose();
    await wasm?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The engine has one active backend: whose turn it is must be said. */
  const turn = async (backend: Backend): Promise<Backend> => {
    await backend.tf.setBackend(backend.name === "onnx" ? "cpu" : backend.name);
    return backend;
  };

  const weightsOf = async (adapter: Adapter): Promise<number[][]> => {
    const tensors = await adapterTensors(adapter.manifest, adapter.model.weights, (t) => adapter.backend.read(t));
    return tensors.map((t) => Array.from(t.data));
  };

  /** Ten steps: their metrics, what came of the weights, and a continuation. */
  async function tenSteps(backend: Backend): Promise<{ steps: readonly StepMetrics[]; weights: number[][]; tokens: readonly number[]; loss: number }> {
    await turn(backend);
    const adapter = await load(backend);
    const { steps } = await collect(adapter.train({ data, steps: 10 }));
    const { tokens } = await adapter.generate("The number after 3 is", { maxTokens: 12, kind: "world_knowledge" });
    const report = await adapter.evaluate({ data });
    const weights = await weightsOf(adapter);
    adapter.dispose();
    return { steps, weights, tokens, loss: report.overall.loss };
  }

  it("trains, measures and generates as on wasm", async () => {
    const theirs = await tenSteps(wasm);
    const ours = await tenSteps(onnx);
    ours.steps.forEach((step, i) => {
      const other = theirs.steps[i]!;
      for (const key of ["loss", "balance", "lr", "gradientNorm"] as const) expect(Math.abs(step[key] - other[key]), `${key} of step ${i + 1}`).toBeLessThanOrEqual(1e-5 * Math.abs(other[key]));
      expect(step.utilization["skill"]).toBeCloseTo(other.utilization["skill"]!, 5);
    });
    expect(ours.steps).toHaveLength(10);
    ours.weights.forEach((weight, i) => {
      const scale = Math.max(...theirs.weights[i]!.map(Math.abs));
      expect(Math.max(...weight.map((v, k) => Math.abs(v - theirs.weights[i]![k]!)))).toBeLessThan(1e-3 * scale);
    });
    expect(ours.loss).toBeCloseTo(theirs.loss, 5);
    expect(ours.tokens).toHaveLength(12);
    expect(ours.tokens).toEqual(theirs.tokens);
  });

  it("goes on from a checkpoint bit for bit", async () => {
    await turn(onnx);
    const whole = await load(onnx);
    const unbroken = await collect(whole.train({ data, steps: 8 }));
    const first = await load(onnx);
    const out = join(folder, "out");
    for await (const step of first.train({ data, steps: 8, out })) if (step.step === 3) break;
    first.dispose();
    const second = await load(onnx);
    const rest = await collect(second.train({ data, out, resume: true }));
    expect(rest.steps.map((s) => [s.step, s.loss, s.gradientNorm])).toEqual(unbroken.steps.slice(3).map((s) => [s.step, s.loss, s.gradientNorm]));
    expect(await weightsOf(second)).toEqual(await weightsOf(whole));
    whole.dispose();
    second.dispose();
  });

  it("holds nothing but what it was given and has made", async () => {
    await turn(onnx);
    const empty = onnx.memory().tensors;
    const adapter = await load(onnx);
    const placed = onnx.memory().tensors;
    await collect(adapter.train({ data, steps: 2 }));
    await adapter.evaluate({ data });
    await adapter.generate("The", { maxTokens: 2 });
    expect(onnx.memory().tensors).toBe(placed);
    adapter.dispose();
    expect(onnx.memory().tensors).toBe(empty);
  });

  it("runs the files that `moec build --onnx` writes, and says what to do where there are none", async () => {
    await turn(onnx);
    for (const entry of onnxEntriesIn(compiled["onnx"]!)) writeFileSync(join(folder, onnxFileName("loramoe", entry)), printOnnxEntry(compiled["onnx"]!, entry));
    const made = await load(onnx);
    const read = await Adapter.load(code["onnx"]!, { base: join(folder, "models/tiny"), backend: onnx, onnx: folder });
    const steps = async (adapter: Adapter): Promise<number[]> => (await collect(adapter.train({ data, steps: 2 }))).steps.map((s) => s.loss);
    expect(await steps(read)).toEqual(await steps(made));
    made.dispose();
    read.dispose();
    const { manifest } = code["onnx"]!;
    const changed = { ...code["onnx"]!, manifest: { ...manifest, spec: { ...manifest.spec, sha256: "0".repeat(64) } } };
    const stale = await Adapter.load(changed, { base: join(folder, "models/tiny"), backend: onnx, onnx: folder });
    expect((await refused(collect(stale.train({ data, steps: 1 })))).map((d) => d.code)).toEqual(["MOE5207"]);
    stale.dispose();
    expect((await refused(Adapter.load(code["onnx"]!, { base: join(folder, "models/tiny"), backend: onnx }))).map((d) => d.code)).toEqual(["MOE5206"]);
  });
});
