/**
 *     npm run bench                      the table: linear, memory, growth, step and sparse on every usable backend
 *     npm run bench -- --quick           the same at small sizes, into build/bench/results
 *     npm run bench -- onnx              one adapted linear on ONNX Runtime beside wasm
 *     npm run bench -- NAME [options]    one benchmark; the heads of the files beside this one list the options
 *
 * wasm and ONNX Runtime run on one thread, whatever machine this is, unless MOEC_WASM_THREADS or MOEC_ONNX_THREADS says
 * otherwise: ratios stay comparable.
 */
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import type { BackendName } from "../src/runtime/index.ts";
import { benchAll, tabled } from "./all.ts";
import { benchCompiler } from "./compiler.ts";
import { benchGrowth, fullGrowth, quickGrowth, type GrowthSizes } from "./growth.ts";
import { benchLinear, profileLinear } from "./linear.ts";
import { machine, type Measured } from "./measure.ts";
import { benchMemory } from "./memory.ts";
import { benchOnnxLinear } from "./onnx/linear.ts";
import { installNeighbours } from "./neighbours.ts";
import { bars, curves, describe, report, type Bar } from "./report.ts";
import { cases, settingOf, type Case, type LinearSizes } from "./sides.ts";
import { benchSparse, fullSparse, quickSparse, sparseCurves, type SparseSizes } from "./sparse.ts";
import { benchStep, settings } from "./step.ts";
import { printTable, type Rows } from "./table.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: "string" },
    experts: { type: "string" },
    layers: { type: "string" },
    model: { type: "string" },
    rank: { type: "string" },
    rounds: { type: "string" },
    tokens: { type: "string" },
    in: { type: "string" },
    out: { type: "string" },
    case: { type: "string", default: "loramoe" },
    alone: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    results: { type: "string" },
    rows: { type: "string" },
    lines: { type: "string", default: "10,100,1000,10000" },
    install: { type: "boolean", default: false },
  },
});

process.env["MOEC_WASM_THREADS"] ||= "1";
process.env["MOEC_ONNX_THREADS"] ||= "1";
const backend = (values.backend ?? "wasm") as BackendName;
const { quick } = values;
/** Quick numbers are no results: they do not overwrite any. */
const folder = values.results ?? (quick ? "build/bench/results" : "bench/results");

function rounds(full: number): number {
  return Number(values.rounds ?? (quick ? 3 : full));
}

function linearSizes(): LinearSizes {
  const first = (list: string | undefined, otherwise: number): number => (list === undefined ? otherwise : Number(list.split(",")[0]));
  const tokens = first(values.tokens, quick ? 256 : 1024);
  return { samples: 8, positions: tokens / 8, in: Number(values.in ?? (quick ? 256 : 1024)), out: Number(values.out ?? (quick ? 688 : 2752)), experts: first(values.experts, 8), rank: first(values.rank, 4) };
}

const row = (m: Measured): string => `${m.name.padEnd(40)} ${m.median.toFixed(m.median < 1 ? 3 : 1).padStart(8)} ms  (min ${m.minimum.toFixed(1)}, quartiles ${m.quartiles.map((q) => q.toFixed(1)).join("–")}, processor ${m.cpu.toFixed(1)})`;

/** The lines above a benchmark's numbers. */
function head(result: Rows & { readonly device: string; readonly machine: ReturnType<typeof machine> }, setting: string): void {
  console.log(`\n${describe(result.machine)}, load ${loadavg()[0]!.toFixed(1)}; ${result.backend}: ${result.device}\n${setting}\n`);
}

/** Hands the rows to the table, where one is being made; else prints them. */
function tell({ backend, rows }: Rows): void {
  if (values.rows !== undefined) writeFileSync(values.rows, JSON.stringify({ backend, rows }));
  else console.log(`\n${printTable([{ backend, rows }], { targets: !quick })}`);
}

async function linear(): Promise<void> {
  const which = values.case as Case;
  if (!Object.hasOwn(cases, which)) {
    console.error(`there is no case "${which}"; there are: ${Object.keys(cases).join(", ")}`);
    process.exit(2);
  }
  const sizes = linearSizes();
  const turns = rounds(11);
  if (values.profile) {
    const kernels = await profileLinear(backend, sizes, turns, which);
    for (const k of kernels) console.log(`${k.ms.toFixed(2).padStart(9)} ms  ${k.kernel.padEnd(12)} ${k.shapes}${k.calls === 1 ? "" : `  (${k.calls} times)`}`);
    console.log(`${kernels.reduce((n, k) => n + k.ms, 0).toFixed(2).padStart(9)} ms  in all`);
    return;
  }
  const result = await benchLinear(backend, sizes, turns, which, !values.alone);
  const setting = `${settingOf(sizes)}, ${which}; forward and backward with the input's gradient; ${turns} interleaved rounds`;
  head(result, setting);
  for (const s of result.sides) console.log(`${row(s)}  ${s.toFrozen.toFixed(2)}× the frozen layer, ${s.cpuToFrozen.toFixed(2)}× in processor time`);
  tell(result);
  const picture = bars({ title: `One adapted linear on ${result.backend}\n${setting}`, bars: result.sides.map((s) => ({ ...s, group: result.device })) });
  await report(folder, `linear-${which === "loramoe" ? "" : `${which}-`}${result.backend}-E${sizes.experts}`, result, picture);
}

async function memory(): Promise<void> {
  const result = await benchMemory(backend, linearSizes());
  const setting = `${settingOf(result.sizes)}; bytes beyond the arguments of a step`;
  head(result, setting);
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(2).padStart(8)} MB`;
  for (const s of result.sides) console.log(`${s.name.padEnd(40)} ${mb(s.kept)} kept for backward, ${mb(s.peak)} at the peak`);
  console.log(`${"moec, counted from the graph".padEnd(40)} ${mb(result.counted)}`);
  tell(result);
  const all: Bar[] = (["kept", "peak"] as const).flatMap((what) =>
    result.sides.map((s) => ({ name: s.name, group: { kept: "kept between forward and backward", peak: "at the peak of a step" }[what], median: s[what] / 1e6 })),
  );
  await report(folder, `memory-${result.backend}-E${result.sizes.experts}`, result, bars({ title: `Memory of one adapted linear on ${result.backend}\n${setting}`, bars: all, unit: "megabytes" }));
}

function growthSizes(): GrowthSizes {
  const sizes = quick ? quickGrowth : fullGrowth;
  const list = (given: string | undefined, otherwise: readonly number[]): readonly number[] => given?.split(",").map(Number) ?? otherwise;
  const { in: from, out: to } = linearSizes();
  return { experts: list(values.experts, sizes.experts), tokens: list(values.tokens, sizes.tokens), layers: list(values.layers, sizes.layers), in: from, out: to };
}

async function growth(): Promise<void> {
  const turns = rounds(5);
  const result = await benchGrowth(backend, growthSizes(), turns);
  head(result, `one linear ${result.sizes.in}→${result.sizes.out}, r=4; a narrow Llama; ${turns} interleaved rounds (3 over experts)`);
  for (const { title, axis, curves } of result.families) {
    console.log(title);
    for (const { name, points } of curves) console.log(`  ${name.padEnd(36)} ${points.map((p) => `${axis} ${p.x}: ${p.median.toFixed(1)}`).join("  ")}`);
  }
  if (result.loopTooLarge.length > 0) console.log(`left out: the loop at E = ${result.loopTooLarge.join(", ")}, for which ${result.backend} has no room`);
  tell(result);
  const picture = curves(`How time grows, on ${result.backend}\none linear ${result.sizes.in}→${result.sizes.out}, r=4; a narrow Llama; ${turns} interleaved rounds`, result.families);
  await report(folder, `growth-${result.backend}`, result, picture);
}

async function sparse(): Promise<void> {
  const sizes = quick ? quickSparse : fullSparse;
  const list = (given: string | undefined, otherwise: readonly number[]): readonly number[] => given?.split(",").map(Number) ?? otherwise;
  const { samples, positions, in: from, out: to } = linearSizes();
  const turns = rounds(5);
  const asked: SparseSizes = { tokens: samples * positions, in: from, out: to, experts: list(values.experts, sizes.experts), ranks: list(values.rank, sizes.ranks), chosen: sizes.chosen };
  const result = await benchSparse(backend, asked, turns);
  const setting = `${asked.tokens} tokens, ${from}→${to}: router, top-k gates and LoRA experts of one linear; ${turns} interleaved rounds`;
  head(result, setting);
  for (const p of result.points) {
    const times = (a: number, b: number): string => `${(a / b).toFixed(2).padStart(5)}×`;
    const sides = (["dense", "sorted"] as const).map((side) => `${side} ${p[side].median.toFixed(1).padStart(7)} ms${p.takes === side ? " *" : "  "}`).join("  ");
    console.log(`${p.what.padEnd(6)}  top-${p.chosen}  r=${String(p.rank).padStart(2)}  E=${String(p.experts).padStart(2)}  ${sides}  dense to sorted ${times(p.dense.median, p.sorted.median)}, ${times(p.dense.cpu, p.sorted.cpu)} in processor time`);
  }
  console.log(`* what the pass takes; slower than the other, by the clock and in processor time: ${result.misjudged.map((m) => `${m.setting} (${m.times.toFixed(2)}×, ${m.cpu.toFixed(2)}×)`).join("; ") || "none"}`);
  tell(result);
  await report(folder, `sparse-${result.backend}`, result, curves(`Tokens sorted by expert, on ${result.backend}\n${setting}`, sparseCurves(result)));
}

async function step(): Promise<void> {
  const turns = rounds(5);
  const all = await settings(quick);
  const chosen = all.filter((s) => values.model === undefined || s.name === values.model);
  if (chosen.length === 0) {
    console.error(`there is no model "${values.model}"; there are: ${all.map((s) => s.name).join(", ")}`);
    process.exit(2);
  }
  const result = await benchStep(backend, turns, chosen);
  const setting = `examples/loramoe.moe: six LoRA experts on each projection of each MLP; ${turns} interleaved rounds`;
  head(result, setting);
  const drawn: Bar[] = [];
  for (const m of result.models) {
    const group = `${m.name}, ${m.samples} × ${m.positions} tokens`;
    console.log(`${group}: ${m.tokensPerSecond.toFixed(0)} tokens a second; moec's forward and backward have ${m.operations.toFixed(2)}× the base's operations`);
    for (const [i, s] of m.sides.entries()) console.log(`  ${row(s)}  ${m.kernels[i]} kernels`);
    drawn.push(...m.sides.map((s) => ({ ...s, group })));
  }
  tell(result);
  await report(folder, `step-${result.backend}`, result, bars({ title: `A training step on ${result.backend}\n${setting}`, bars: drawn, scales: "own" }));
}

async function compiler(): Promise<void> {
  const result = await benchCompiler(values.lines.split(",").map(Number), rounds(11));
  console.log(`\n${describe(result.machine)}; ${result.rounds} interleaved rounds\n\nprocesses, 100 lines`);
  for (const p of result.processes) console.log(`${row(p)}  ${p.beyondNode.toFixed(1)} ms beyond Node`);
  const all: Bar[] = result.processes.map((p) => ({ ...p, group: "a process, 100 lines" }));
  for (const { lines, sides } of result.inProcess) {
    const group = `in process, ${lines.toLocaleString("en")} lines`;
    console.log(`\n${group}`);
    for (const side of sides) console.log(row(side));
    all.push(...sides.map((side) => ({ ...side, group })));
  }
  await report(folder, "compiler", result, bars({ title: "The compiler next to others, on files of equal length", bars: all, scales: "logarithmic" }));
}

/** One adapted linear on ONNX Runtime beside wasm. */
async function onnx(): Promise<void> {
  const turns = rounds(11);
  const experts = (values.experts ?? (quick ? "1,8" : "1,8,64")).split(",").map(Number);
  const result = await benchOnnxLinear({ ...linearSizes(), experts: 8 }, experts, turns);
  console.log(`\n${describe(result.machine)}, load ${loadavg()[0]!.toFixed(1)}; ONNX Runtime beside wasm; ${turns} interleaved rounds\none adapted linear, ${settingOf(result.sizes)}, forward and backward`);
  for (const side of [...result.sides, ...result.experts]) console.log(row(side));
  console.log(`relative error ${result.error.toExponential(1)} to the interpreter; a session takes ${result.sessionMs.toFixed(0)} ms, its file ${(result.modelBytes / 1e3).toFixed(0)} kB`);
  const drawn: Bar[] = [...result.sides.map((side) => ({ ...side, group: "one adapted linear" })), ...result.experts.map((side) => ({ ...side, group: "moec on one thread, by experts" }))];
  await report(folder, "onnx", result, bars({ title: `One adapted linear on ONNX Runtime beside wasm\n${settingOf(result.sizes)}`, bars: drawn, scales: "own" }));
}

/** The table's benchmarks in processes of their own, and what they tell. Where sizes are lists, one linear has the first. */
async function table(): Promise<void> {
  const passed = ["rounds", "experts", "tokens", "in", "out", "layers", "model", "results"] as const;
  const options = [...(quick ? ["--quick"] : []), ...passed.flatMap((o) => (values[o] === undefined ? [] : [`--${o}`, values[o]]))];
  const started = performance.now();
  const load = loadavg()[0]!;
  const { parts, skipped } = await benchAll(values.backend, options);
  console.log(`\n${describe(machine())}, load ${load.toFixed(1)} before; medians, and the quartiles in brackets\n\n${printTable(parts, { targets: !quick })}\n`);
  for (const what of [...skipped, "compiler: it has a command of its own, npm run bench -- compiler"]) console.log(`skipped: ${what}`);
  console.log(`${((performance.now() - started) / 1000).toFixed(0)} seconds`);
  await report(folder, "table", { machine: machine(), load, skipped, parts });
}

const benchmarks: Readonly<Record<string, () => Promise<void>>> = { linear, memory, growth, step, sparse, compiler, onnx };
const what = positionals[0];
const run = what === undefined ? table : benchmarks[what];
if (!run) {
  console.error(`there is no benchmark "${what}"; there are: ${Object.keys(benchmarks).join(", ")}; without a name ${tabled.join(", ")} make a table`);
  process.exit(2);
}
if (values.install) installNeighbours();
await run();
