import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { BackendName } from "../src/runtime/index.ts";
import { benchLinear } from "./linear.ts";

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
  },
});

const what = positionals[0] ?? "linear";
if (what !== "linear") {
  console.error(`there is no benchmark "${what}"; there is: linear`);
  process.exit(2);
}
const tokens = Number(values.tokens);
const sizes = { samples: 8, positions: tokens / 8, in: Number(values.in), out: Number(values.out), experts: Number(values.experts), rank: Number(values.rank) };
const result = await benchLinear(values.backend as BackendName, sizes, Number(values.rounds));
console.log(`${result.machine.cpu}, ${result.machine.cores} cores, Node ${result.machine.node}; ${result.backend}: ${result.device}`);
console.log(`T=${tokens}, ${sizes.in}→${sizes.out}, E=${sizes.experts}, r=${sizes.rank}; forward and backward with the input's gradient; ${values.rounds} interleaved rounds\n`);
for (const s of result.sides) {
  console.log(`${s.name.padEnd(36)} ${s.median.toFixed(1).padStart(8)} ms  (min ${s.minimum.toFixed(1)}, quartiles ${s.quartiles.map((q) => q.toFixed(1)).join("–")})  ${s.toFrozen.toFixed(2)}× the frozen layer`);
}
const by = (name: string): number => result.sides.find((s) => s.name.startsWith(name))!.median;
console.log(`\nmoec is ${(by("loop") / by("moec")).toFixed(2)}× as fast as the loop and ${(by("stacked") / by("moec")).toFixed(2)}× as fast as stacking by hand under tfjs gradients`);
mkdirSync("bench/results", { recursive: true });
writeFileSync(`bench/results/linear-${result.backend}-E${sizes.experts}.json`, `${JSON.stringify(result, null, 2)}\n`);
