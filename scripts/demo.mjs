// The example from end to end, with the commands that a user would type: check, build, train, evaluate before and after.
import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const spec = "examples/loramoe.moe";
const data = "examples/data/test.jsonl";
const out = "out/demo";
const backend = process.argv[2] ?? "wasm";

/** Runs `moec …` as typed; returns its standard output. */
function moec(args, { capture = false } = {}) {
  console.error(`\n\x1b[1m$ npx moec ${args.filter((a) => a !== "--json").join(" ")}\x1b[0m`);
  const run = spawnSync(process.execPath, ["dist/cli.cjs", ...args], { encoding: "utf8", stdio: ["ignore", capture ? "pipe" : "inherit", "inherit"] });
  if (run.status !== 0) {
    console.error(`\nthe demo stops here: moec ended with ${run.status ?? run.signal}`);
    process.exit(run.status ?? 1);
  }
  return run.stdout;
}

if (!existsSync("dist/cli.cjs")) spawnSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" });
rmSync(out, { recursive: true, force: true });
const started = Date.now();

moec(["check", spec]);
moec(["build", spec, "-o", `${out}/build`]);
const before = JSON.parse(moec(["eval", spec, "--data", data, "--backend", backend, "--json"], { capture: true }));
moec(["train", spec, "--out", `${out}/adapter`, "--backend", backend]);
const after = JSON.parse(moec(["eval", `${out}/adapter`, "--data", data, "--backend", backend, "--json"], { capture: true }));

const percent = (x) => `${(100 * x).toFixed(1)} %`.padStart(8);
console.log(`\nExact matches on ${data} (rows that neither training saw as they stand):\n`);
console.log(`${"".padEnd(18)}${"rows".padStart(6)}${"before".padStart(10)}${"after".padStart(10)}`);
for (const [kind, score] of Object.entries(after.byKind)) {
  const was = before.byKind[kind];
  console.log(`${kind.padEnd(18)}${String(score.samples).padStart(6)}  ${percent(was.accuracy)}  ${percent(score.accuracy)}`);
}
const groups = Object.keys(after.utilization);
console.log("\nHow much weight each group of experts gets on each kind of data:\n");
console.log(`${"".padEnd(18)}${groups.map((g) => g.padStart(12)).join("")}`);
for (const [kind, shares] of Object.entries(after.utilizationByKind)) {
  console.log(`${kind.padEnd(18)}${groups.map((g) => percent(shares[g]).padStart(12)).join("")}`);
}
console.log(`\nThe adapter lies in ${out}/adapter, the generated code in ${out}/build. (${Math.round((Date.now() - started) / 1000)} s)`);
console.log(`Ask it something:  npx moec generate ${out}/adapter "The capital of France is"`);
