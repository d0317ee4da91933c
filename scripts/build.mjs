// Bundles the command line, the runtime and the compiler into dist/, with type declarations.
// Chevrotain is bundled: importing it file by file would cost every start half a second.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
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
  process.exit(existsSync("dist/cli.cjs") ? 0 : 1);
}

const { dependencies, peerDependencies, version } = JSON.parse(readFileSync("package.json", "utf8"));
// Built beside dist/ and put in its place at the end: whoever runs it meanwhile sees a whole one.
const out = `dist.new-${process.pid}`;
const made = `${out}/ahead`;
process.on("exit", () => rmSync(out, { recursive: true, force: true }));

const { ahead } = await import("./ahead.mjs");
// Commander can start a program for a subcommand: ours are functions, and to load what starts programs takes 5 ms.
const commander = {
  name: "commander without programs",
  setup: (b) => {
    b.onResolve({ filter: /^node:child_process$/ }, ({ importer, path }) => (/[\\/]commander[\\/]/.test(importer) ? { path, namespace: "nothing" } : undefined));
    b.onLoad({ filter: /.*/, namespace: "nothing" }, () => ({ contents: "" }));
  },
};
const options = {
  metafile: true,
  plugins: [await ahead(made)],
  bundle: true,
  platform: "node",
  target: "node20.19",
  // What every start needs is bundled too: finding and reading a package's files one by one takes longer than running them.
  external: [...Object.keys(dependencies), ...Object.keys(peerDependencies)].filter((name) => !["ajv", "commander", "picocolors"].includes(name)),
  define: { MOEC_VERSION: JSON.stringify(version) },
  // A quarter off what V8 must read before a command can start; names stay, so that stacks can be read.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: "none", // THIRD-PARTY.txt has the licences whole
  logLevel: "warning",
};
// A script from kept code cannot import: what starts it does (src/cli/start.ts).
const imports = {
  name: "imports by what starts the script",
  setup: (b) => b.onLoad({ filter: /[\\/]backends[\\/]node[\\/]import\.ts$/ }, () => ({ contents: "const given = importModule; export { given as importModule };" })),
};
// For programs: modules, which bundlers and browsers take apart.
const library = await esbuild.build({
  ...options,
  entryPoints: { runtime: "src/runtime/index.ts", compiler: "src/compiler/index.ts", prettier: "src/format/plugin.ts" },
  outdir: out,
  splitting: true,
  format: "esm",
  chunkNames: "chunks/[name]-[hash]",
});
// The command line: one script, whose compiled code V8 can keep from run to run, and what starts it (src/cli/start.ts).
const program = join(out, "main.cjs");
const script = { ...options, outExtension: { ".js": ".cjs" }, outdir: out, format: "cjs" };
const { metafile } = await esbuild.build({ ...script, plugins: [...options.plugins, commander, imports], supported: { "dynamic-import": false }, entryPoints: { main: "src/cli/main.ts" }, define: { ...options.define, "import.meta.url": "address" }, banner: { js: 'const address=require("node:url").pathToFileURL(__filename).href;' } });
const build = createHash("sha256").update(readFileSync(program)).digest("hex").slice(0, 12);
await esbuild.build({ ...script, entryPoints: { cli: "src/cli/start.ts" }, define: { ...options.define, MOEC_BUILD: JSON.stringify(build) } });

rmSync(made, { recursive: true });

// What was bundled comes with its licence.
const bundled = [...new Set([metafile, library.metafile].flatMap(({ inputs }) => Object.keys(inputs)).map((path) => /.*(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]))].filter(Boolean).sort();
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
