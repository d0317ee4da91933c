import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bars } from "../../bench/report.ts";
import { interleave } from "../../bench/measure.ts";
import { printTable, ratioOf, type Row } from "../../bench/table.ts";
import type { GrowthResult } from "../../bench/growth.ts";
import type { LinearResult } from "../../bench/linear.ts";
import type { MemoryResult } from "../../bench/memory.ts";
import type { SparseResult } from "../../bench/sparse.ts";
import type { StepResult } from "../../bench/step.ts";
import { ensureDist } from "../support/dist.ts";

beforeAll(ensureDist, 120_000);

/** What the benchmark says and writes at sizes that take no time. No time is asserted here. */
describe("npm run bench", () => {
  const folder = mkdtempSync(join(tmpdir(), "moec-bench-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const result = <T>(name: string): T => JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as T;
  let said = "";

  beforeAll(() => {
    const tiny = ["--backend", "wasm", "--rounds", "1", "--experts", "4,8", "--tokens", "16,32", "--in", "24", "--out", "40", "--layers", "2,3", "--model", "tiny-llama", "--results", folder];
    const run = spawnSync(process.execPath, ["scripts/bench.mjs", ...tiny], { encoding: "utf8" });
    said = run.stdout;
    expect(run.status, run.stderr).toBe(0);
  }, 240_000);

  it("prints one table with a row for each comparison", () => {
    const rows = said.slice(said.lastIndexOf("| what")).split("\n").filter((line) => line.startsWith("| ")).map((line) => line.split("|").map((cell) => cell.trim()));
    expect(rows.slice(1).map(([, what, , , against]) => `${what!.split(",")[0]}: ${against}`)).toEqual([
      "one linear: frozen linear, explicit",
      "one linear: loop over experts, tfjs gradients",
      "one linear: stacked by hand, tfjs gradients",
      "one linear: plain LoRA, tfjs gradients",
      "kept for backward: loop over experts, tfjs gradients",
      "kept for backward: stacked by hand, tfjs gradients",
      "kept for backward: plain LoRA, tfjs gradients",
      "peak of a step: frozen linear, explicit",
      "peak of a step: loop over experts, tfjs gradients",
      "peak of a step: stacked by hand, tfjs gradients",
      "experts of one linear: itself, E = 4",
      "experts of one linear: itself, E = 4",
      "tokens through one linear: itself, T = 16",
      "tokens through one linear: itself, T = 16",
      "compiling a model: moec build: itself, layers = 2",
      "a step of a narrow model: moec: itself, layers = 2",
      "a step of a narrow model: base: itself, layers = 2",
      "training step: base, forward and backward",
      "forward and backward: base, forward and backward",
      ...[1, 2].flatMap((k) => [4, 16, 64].map(() => `top-${k} of 8 experts of one linear: moec, tokens sorted`)),
      "top-2 of 8 feed-forward blocks: moec, tokens sorted",
    ]);
    expect(rows.slice(1).every(([, , backend]) => backend === "wasm")).toBe(true);
  });

  it("says by name what is skipped", () => {
    for (const name of ["tfjs-node-gpu", "onnx", "tfjs-node", "webgpu", "cpu"]) expect(said).toContain(`skipped: ${name}: `);
    expect(said).toContain("skipped: compiler: ");
  });

  it("races sides that compute the same gradients", () => {
    const linear = result<LinearResult>("linear-wasm-E4");
    expect(linear.disagreement).toBeLessThan(1e-5);
    expect(linear.sides.map((s) => s.name)).toHaveLength(5);
  });

  it("measures what the graph says is kept", () => {
    const memory = result<MemoryResult>("memory-wasm-E4");
    const kept = new Map(memory.sides.map((s) => [s.name, s.kept]));
    // For each of 16 tokens the first factors' products, these weighted by the gates, and the gates: 4 experts of rank 4.
    expect(kept.get("moec")).toBe(4 * 16 * (16 + 16 + 4));
    // The graph counts the scale, 2, which generated code makes once for all steps.
    expect(memory.counted).toBe(kept.get("moec")! + 4);
    for (const side of memory.sides) expect(side.peak).toBeGreaterThanOrEqual(side.kept);
  });

  it("has a point for each size", () => {
    const growth = result<GrowthResult>("growth-wasm");
    expect(growth.families.map((f) => f.curves.map((c) => c.points.map((p) => p.x)))).toEqual([
      [[4, 8], [4, 8]],
      [[16, 32], [16, 32]],
      [[2, 3], [2, 3]],
      [[2, 3], [2, 3]],
    ]);
  });

  it("races both forms of sparse dispatch, at every size, and says which one the pass takes", () => {
    const { points } = result<SparseResult>("sparse-wasm");
    expect(points.map((p) => `${p.what} ${p.chosen} ${p.rank} ${p.experts}`)).toEqual([
      ...[1, 2].flatMap((k) => [4, 16, 64].flatMap((r) => [4, 8].map((e) => `linear ${k} ${r} ${e}`))),
      ...[4, 8].map((e) => `block 2 16 ${e}`),
    ]);
    // Sixteen tokens are too few to sort.
    expect(new Set(points.map((p) => p.takes))).toEqual(new Set(["dense"]));
  });

  it("begins both sides of a step with the loss of the base", () => {
    const [tiny] = result<StepResult>("step-wasm").models;
    const [base, moec] = tiny!.losses;
    expect(moec / base).toBeCloseTo(1, 5);
    // A model that was trained on other text, and knows nothing of random tokens: worse than a guess among 1024.
    expect(base).toBeGreaterThan(Math.log(1024));
    // Six experts of rank 4 and three routers on a width of 128.
    expect(tiny!.operations).toBeGreaterThan(1);
    expect(tiny!.operations).toBeLessThan(1.5);
  });
});

it("knows whether a target is met", () => {
  const row = (ours: number, theirs: number, target: Row["target"]): Row => ({ what: "x", unit: "ms", ours: { name: "moec", median: ours }, theirs: { name: "other", median: theirs }, target });
  expect(ratioOf(row(10, 100, { least: 10 }))).toMatchObject({ ratio: 10, met: true });
  expect(ratioOf(row(10, 99, { least: 10 }))).toMatchObject({ met: false });
  expect(ratioOf(row(115, 100, { most: 1.15 }))).toMatchObject({ met: true });
  expect(ratioOf(row(116, 100, { most: 1.15 }))).toMatchObject({ met: false });
  expect(printTable([{ backend: "wasm", rows: [row(10, 99, { least: 10 })] }])).toContain("missed");
});

it("takes turns, and leaves the warm-up out", async () => {
  const order: string[] = [];
  const side = (name: string): { readonly name: string; readonly run: () => Promise<void> } => ({ name, run: async () => void order.push(name) });
  const measured = await interleave([side("a"), side("b")], 2, 1);
  expect(order).toEqual(["a", "b", "a", "b", "a", "b"]);
  expect(measured.map((m) => m.name)).toEqual(["a", "b"]);
});

it("gives each group an axis of its own where asked", () => {
  const all = [{ name: "moec", group: "one", median: 1 }, { name: "moec", group: "two", median: 1000 }];
  const ends = (chart: object): number[] => JSON.stringify(chart).match(/"domain":\[0,[\d.]+/g)!.map((text) => Number(text.slice(12)));
  expect(new Set(ends(bars({ title: "t", bars: all, scales: "own" })))).toEqual(new Set([1.1, 1100]));
  expect(new Set(ends(bars({ title: "t", bars: all })))).toEqual(new Set([1100]));
});
