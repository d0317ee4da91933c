// Bundles the benchmarks and runs them: node scripts/bench.mjs linear --backend wasm
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
// TensorFlow.js registers its gradients in a module that Node cannot load by itself; its engine is shared all the same.
const gradients = {
  name: "tfjs-gradients",
  setup: (b) => b.onResolve({ filter: /register_all_gradients/ }, () => ({ path: fileURLToPath(new URL("../node_modules/@tensorflow/tfjs-core/dist/register_all_gradients.js", import.meta.url)) })),
};
await build({ plugins: [gradients], entryPoints: ["bench/main.ts"], outfile: "build/bench/main.mjs", bundle: true, format: "esm", platform: "node", packages: "external", logLevel: "warning" });
const { status, signal } = spawnSync(process.execPath, ["build/bench/main.mjs", ...process.argv.slice(2)], { stdio: "inherit" });
if (signal) console.error(`the benchmark was ended by ${signal}`);
process.exit(status ?? 1);
