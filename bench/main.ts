import { parseArgs } from "node:util";
import type { BackendName } from "../src/runtime/index.ts";
import { benchCompiler } from "./compiler.ts";
import { benchLinear, cases, profileLinear, type Case } from "./linear.ts";
import type { Measured } from "./measure.ts";
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

const row = (m: Measured): string => `${m.name.padEnd(40)} ${m.median.toFixed(1).padStart(8)} ms  (min ${m.minimum.toFixed(1)}, quartiles ${m.quartiles.map((q) => q.toFixed(1)).join("–")})`;

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

const benchmarks: Readonly<Record<string, () => Promise<void>>> = { linear, compiler };
const what = positionals[0] ?? "linear";
const run = benchmarks[what];
if (!run) {
  console.error(`there is no benchmark "${what}"; there are: ${Object.keys(benchmarks).join(", ")}`);
  process.exit(2);
}
if (values.install) installNeighbours();
await run();
