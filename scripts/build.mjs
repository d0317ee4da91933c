// Bundles the command line, the runtime and the compiler into dist/, with type declarations.
// Chevrotain is bundled: importing it file by file would cost every start half a second.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

let esbuild;
try {
  esbuild = await import("esbuild");
} catch {
  // Installed without development dependencies (from the published package, say): dist/ is already there.
  console.error("esbuild is not installed: nothing is built");
  process.exit(existsSync("dist/cli.js") ? 0 : 1);
}

const { dependencies, peerDependencies, version } = JSON.parse(readFileSync("package.json", "utf8"));
// Built beside dist/ and put in its place at the end: whoever runs it meanwhile sees a whole one.
const out = `dist.new-${process.pid}`;
const made = `${out}/ahead`;
process.on("exit", () => rmSync(out, { recursive: true, force: true }));

const { ahead } = await import("./ahead.mjs");
// Commander is CommonJS, which cannot require Node's modules inside a bundle of ES modules. It could also start a program for a
// subcommand: ours are functions, and to load what starts programs takes 5 ms.
const commander = {
  name: "commander's modules",
  setup: (b) => {
    b.onResolve({ filter: /^node:/ }, ({ kind, path }) => (kind === "require-call" ? { path, namespace: "node" } : undefined));
    b.onLoad({ filter: /.*/, namespace: "node" }, ({ path }) => ({ contents: path === "node:child_process" ? "" : `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`, loader: "js" }));
  },
};
const { metafile } = await esbuild.build({
  metafile: true,
  plugins: [await ahead(made), commander],
  entryPoints: { cli: "src/cli/start.ts", runtime: "src/runtime/index.ts", compiler: "src/compiler/index.ts", prettier: "src/format/plugin.ts" },
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  chunkNames: "chunks/[name]-[hash]",
  // What every start needs is bundled too: finding and reading a package's files one by one takes longer than running them.
  external: [...Object.keys(dependencies), ...Object.keys(peerDependencies)].filter((name) => !["ajv", "commander", "picocolors"].includes(name)),
  define: { MOEC_VERSION: JSON.stringify(version) },
  // A quarter off what V8 must read before a command can start; names stay, so that stacks can be read.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: "none", // THIRD-PARTY.txt has the licences whole
  logLevel: "warning",
});

rmSync(made, { recursive: true });

// What was bundled comes with its licence.
const bundled = [...new Set(Object.keys(metafile.inputs).map((path) => /.*(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]))].filter(Boolean).sort();
const licences = bundled.map((name) => {
  const folder = join("node_modules", name);
  const { version: number, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((n) => /^licen[cs]e/i.test(n));
  // Chevrotain's parts lie in one repository, and its packages carry the licence of the whole.
  const text = file ? readFileSync(join(folder, file), "utf8") : readFileSync("node_modules/chevrotain/LICENSE.txt", "utf8");
  if (!file && !name.startsWith("@chevrotain/")) throw new Error(`${name} has no licence text`);
  return `${name} ${number} (${license})\n\n${text.trim()}\n`;
});
writeFileSync(join(out, "THIRD-PARTY.txt"), `This package contains parts of the following packages.\n\n${licences.join(`\n${"-".repeat(80)}\n\n`)}`);

// Declarations for users of the runtime and the compiler.
const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json", "--outDir", `${out}/types`], { stdio: "inherit" });
if (tsc.status !== 0) process.exit(tsc.status ?? 1);
// The sources import each other as .ts; what users get are .d.ts beside no source, which NodeNext finds as .js.
const rewrite = (folder) => {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) rewrite(path);
    else if (path.endsWith(".d.ts")) {
      const text = readFileSync(path, "utf8");
      writeFileSync(path, text.replace(/((?:from|import)\s*\(?\s*["']\.{1,2}\/[^"']+)\.ts(["'])/g, "$1.js$2"));
    }
  }
};
rewrite(`${out}/types`);
rmSync(`${out}/types/cli`, { recursive: true }); // a program, not a library

mkdirSync(`${out}/schemas`, { recursive: true });
for (const file of readdirSync("grammar")) if (file.endsWith(".schema.json")) cpSync(join("grammar", file), join(out, "schemas", file));

const old = `${out}.old`;
if (existsSync("dist")) renameSync("dist", old);
renameSync(out, "dist");
rmSync(old, { recursive: true, force: true });
