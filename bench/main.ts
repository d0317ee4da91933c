import { parseArgs } from "node:util";
import type { BackendName } from "../src/runtime/index.ts";
import { benchCompiler } from "./compiler.ts";
import { benchLinear, cases, profileLinear, type Case } from "./linear.ts";
import type { Measured } from "./measure.ts";
import { benchOnnxLinear } from "./onnx/linear.ts";
import { benchPassing } from "./onnx/overhead.ts";
import { installOnnxRuntime, onnxRuntime } from "./onnx/runtime.ts";
import { benchOnnxStep } from "./onnx/step.ts";
import { installNeighbours } from "./neighbours.ts";
import { describe, report, type Bar } from "./report.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: "string", default: "wasm" },
    experts: { type: "string", default: "8" },
    rank: { type: "string", default: "4" },
    rounds: { type: "string", default: "11" },
    tokens: { type: "string", default: "1024" },
    in: { type: "string", default: "1024" },
    out: { type: "string", default: "2752" },
    case: { type: "string", default: "loramoe" },
    alone: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    lines: { type: "string", default: "10,100,1000,10000" },
    install: { type: "boolean", default: false },
  },
});

const row = (m: Measured): string => `${m.name.padEnd(40)} ${m.median.toFixed(m.median < 1 ? 3 : 1).padStart(8)} ms  (min ${m.minimum.toFixed(1)}, quartiles ${m.quartiles.map((q) => q.toFixed(1)).join("–")})`;

async function linear(): Promise<void> {
  const which = values.case as Case;
  if (!Object.hasOwn(cases, which)) {
    console.error(`there is no case "${which}"; there are: ${Object.keys(cases).join(", ")}`);
    process.exit(2);
  }
  const tokens = Number(values.tokens);
  const sizes = { samples: 8, positions: tokens / 8, in: Number(values.in), out: Number(values.out), experts: Number(values.experts), rank: Number(values.rank) };
  if (values.profile) {
    const kernels = await profileLinear(values.backend as BackendName, sizes, Number(values.rounds), which);
    for (const k of kernels) console.log(`${k.ms.toFixed(2).padStart(9)} ms  ${k.kernel.padEnd(12)} ${k.shapes}${k.calls === 1 ? "" : `  (${k.calls} times)`}`);
    console.log(`${kernels.reduce((n, k) => n + k.ms, 0).toFixed(2).padStart(9)} ms  in all`);
    return;
  }
  const result = await benchLinear(values.backend as BackendName, sizes, Number(values.rounds), which, !values.alone);
  const setting = `T=${tokens}, ${sizes.in}→${sizes.out}, E=${sizes.experts}, r=${sizes.rank}, ${which}; forward and backward with the input's gradient; ${values.rounds} interleaved rounds`;
  console.log(`${describe(result.machine)}; ${result.backend}: ${result.device}\n${setting}\n`);
  for (const s of result.sides) console.log(`${row(s)}  ${s.toFrozen.toFixed(2)}× the frozen layer, ${s.cpuToFrozen.toFixed(2)}× in processor time`);
  if (result.sides.length > 2) {
    const by = (name: string): number => result.sides.find((s) => s.name.startsWith(name))!.median;
    console.log(`\nmoec is ${(by("loop") / by("moec")).toFixed(2)}× as fast as the loop and ${(by("stacked") / by("moec")).toFixed(2)}× as fast as stacking by hand under tfjs gradients`);
  }
  await report(`linear-${which === "loramoe" ? "" : `${which}-`}${result.backend}-E${sizes.experts}`, result, { title: `One adapted linear on ${result.backend}\n${setting}`, bars: result.sides.map((s) => ({ ...s, group: result.device })) });
}

async function compiler(): Promise<void> {
  const result = await benchCompiler(values.lines.split(",").map(Number), Number(values.rounds));
  console.log(`\n${describe(result.machine)}; ${result.rounds} interleaved rounds\n\nprocesses, 100 lines`);
  for (const p of result.processes) console.log(`${row(p)}  ${p.beyondNode.toFixed(1)} ms beyond Node`);
  const bars: Bar[] = result.processes.map((p) => ({ ...p, group: "a process, 100 lines" }));
  for (const { lines, sides } of result.inProcess) {
    const group = `in process, ${lines.toLocaleString("en")} lines`;
    console.log(`\n${group}`);
    for (const side of sides) console.log(row(side));
    bars.push(...sides.map((side) => ({ ...side, group })));
  }
  await report("compiler", result, { title: "The compiler next to others, on files of equal length", bars, logarithmic: true });
}

async function onnx(): Promise<void> {
  const ort = onnxRuntime();
  if (!ort) return;
  const sizes = { samples: 8, positions: Number(values.tokens) / 8, in: Number(values.in), out: Number(values.out), experts: Number(values.experts), rank: Number(values.rank) };
  const rounds = Number(values.rounds);
  const layer = await benchOnnxLinear(ort, sizes, rounds);
  const step = await benchOnnxStep(ort, "examples/loramoe.moe", 16, 32, rounds);
  const passing = [await benchPassing(ort, 1, 1, rounds), await benchPassing(ort, 100, 32 * 1024, rounds), await benchPassing(ort, 1, 1024 * 2752, rounds)];
  const print = (title: string, sides: readonly Measured[]): void => {
    console.log(`\n${title}`);
    for (const m of sides) console.log(`${row(m)}  ${m.cpu.toFixed(1)} ms of processor time`);
  };
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
  console.log(`${describe(layer.machine)}; ${rounds} interleaved rounds`);
  print(`one adapted linear, T=${values.tokens}, ${sizes.in}→${sizes.out}, E=${sizes.experts}, r=${sizes.rank}`, layer.sides);
  console.log(`relative error ${layer.error.toExponential(1)} to the interpreter, ${layer.errorToWasm.toExponential(1)} to wasm; session ${layer.sessionMs.toFixed(0)} ms, file ${megabytes(layer.modelBytes)}`);
  console.log(`the process grows by ${megabytes(layer.memory.session)} for the session and ${megabytes(layer.memory.run)} for its first run; by ${megabytes(layer.memory.wasm)} for the first run on wasm`);
  print(`a training step of ${step.spec}, ${step.samples} × ${step.positions} tokens`, step.sides);
  console.log(`relative error ${step.error.toExponential(1)} to the interpreter; sessions ${step.sessionMs.toFixed(0)} ms, files ${megabytes(step.modelBytes)}; loss after all rounds ${step.losses.join(" and ")}`);
  for (const p of passing) print(`a call that passes ${p.tensors} tensors of ${p.elements} elements in and out`, p.sides);
  const bars = (group: string, sides: readonly Measured[]): Bar[] => sides.map((s) => ({ ...s, group }));
  await report("onnx", { layer, step, passing }, { title: "ONNX Runtime beside wasm", bars: [...bars("one adapted linear", layer.sides), ...bars(`a step of ${step.spec}`, step.sides)], logarithmic: true });
}

const benchmarks: Readonly<Record<string, () => Promise<void>>> = { linear, compiler, onnx };
const what = positionals[0] ?? "linear";
const run = benchmarks[what];
if (!run) {
  console.error(`there is no benchmark "${what}"; there are: ${Object.keys(benchmarks).join(", ")}`);
  process.exit(2);
}
if (values.install) (what === "onnx" ? installOnnxRuntime : installNeighbours)();
await run();
