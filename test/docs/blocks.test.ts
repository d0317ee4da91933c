import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, normalize } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkSpecimen } from "../../src/cli/specimen.ts";
import { renderPretty } from "../../src/diagnostics/render/index.ts";
import { cli, ensureDist } from "../support/dist.ts";
import { tinyRows, writeTinyCheckpoint, writeTinyProject } from "../support/tiny-checkpoint.ts";
import { blocksOf } from "./blocks.ts";

const files = ["README.md", "CONTRIBUTING.md", ...readdirSync("docs").filter((n) => n.endsWith(".md")).map((n) => `docs/${n}`)];
/** Its blocks show mistakes too, and have a test of their own. */
const elsewhere = "docs/adding-a-definition.md";
const blocks = files.filter((f) => f !== elsewhere).flatMap(blocksOf);
const where = (b: { readonly file: string; readonly line: number }): string => `${b.file}:${b.line}`;
const of = (language: string) => blocks.filter((b) => b.language === language).map((b) => [where(b), b] as const);

/** The project that commands and programs of the documentation run in, with small stand-ins for what they name. */
const project = mkdtempSync(join(tmpdir(), "moec-docs-"));
/** Ignored by git, and inside the package, so that programs find `moec` by its own name; one level deep, as docs/ is. */
const scratch = "build";
const mine = (name: string): string => join(scratch, `docs-${process.pid}-${name}`);

beforeAll(() => {
  ensureDist();
  mkdirSync(scratch, { recursive: true });
  writeTinyProject(project);
  // The guide's spec has a param.
  writeFileSync(join(project, "loramoe.moe"), `param rank: int = 2 in [1, 2, 4, 8]\n\n${readFileSync(join(project, "loramoe.moe"), "utf8").replaceAll("rank: 2", "rank: rank")}`);
  // The guide's second spec, the one that is merged, as it stands there.
  const merged = blocks.find((b) => b.language === "moe" && b.text.includes("adapter LoRA on"))!;
  writeFileSync(join(project, "lora.moe"), merged.text.replace("models/tiny-llama", "models/tiny"));
  mkdirSync(join(project, "examples/data"), { recursive: true });
  cpSync("examples/loramoe.moe", join(project, "examples/loramoe.moe"));
  writeTinyCheckpoint(join(project, "examples/models/tiny-llama"));
  for (const name of ["train", "test"]) writeFileSync(join(project, `examples/data/${name}.jsonl`), tinyRows);
}, 120_000);
afterAll(() => {
  rmSync(project, { recursive: true, force: true });
  for (const name of readdirSync(scratch)) if (name.startsWith(`docs-${process.pid}-`)) rmSync(join(scratch, name), { recursive: true });
});

it("every block is of a language that is looked at here, or says that it is text", () => {
  const known = ["moe", "ts", "sh", "diff", "jsonl", "text", ""];
  expect(blocks.filter((b) => !known.includes(b.language)).map(where)).toEqual([]);
  expect(of("moe").length).toBeGreaterThan(0);
  expect(of("ts").length).toBeGreaterThan(0);
  expect(of("sh").length).toBeGreaterThan(0);
});

it("every link leads to a file", () => {
  for (const file of files) {
    // What stands in a fence is code, whose brackets lead nowhere.
    for (const [, target] of readFileSync(file, "utf8").replace(/^```[\s\S]*?^```$/gm, "").matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (/^https?:/.test(target!)) continue;
      expect(existsSync(normalize(join(dirname(file), target!))), `${file} links to ${target}`).toBe(true);
    }
  }
});

describe("specs", () => {
  it.each(of("moe"))("%s", async (_, block) => {
    const { diagnostics, texts } = await checkSpecimen(block.text);
    expect(renderPretty(diagnostics, texts, { color: false })).toBe("");
  });
});

describe("commands", () => {
  // In the order in which they stand: later ones use what earlier ones made.
  it.each(of("sh"))("%s", (_, block) => {
    for (const line of block.text.trim().split("\n")) {
      const command = /^npx moec (.*)$/.exec(line)?.[1];
      expect(command, line).toBeDefined();
      // Everything as it stands, on the backend that is everywhere; training alone is cut short.
      const short = command!.startsWith("train") && !command!.includes("--steps") ? " --steps 3" : "";
      const backend = /^(train|eval|generate)/.test(command!) ? " --backend wasm" : "";
      const run = spawnSync("/bin/sh", ["-c", `"${process.execPath}" "${cli}" ${command}${short}${backend}`], { cwd: project, encoding: "utf8" });
      expect(`${run.stderr}\nexit ${run.status}`, line).toMatch(/exit 0$/);
    }
  });
});

describe("programs", () => {
  it("compile under --strict, against the package's own types", () => {
    expect(spawnSync(process.execPath, [cli, "build", join(project, "loramoe.moe"), "-o", scratch]).status).toBe(0);
    const names = of("ts").map(([, b], i) => {
      const name = mine(`${i}.ts`);
      writeFileSync(name, `${b.text}\nexport {};\n`);
      return [name, b] as const;
    });
    const options = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2023", "--module", "nodenext", "--allowImportingTsExtensions", "--skipLibCheck", "--types", "node"];
    const run = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "--ignoreConfig", ...options, ...names.map(([n]) => n)], { encoding: "utf8" });
    expect(run.stdout + run.stderr).toBe("");
  });

  const programs = of("ts").filter(([, b]) => b.text.includes(".load("));
  it.each(programs)("%s runs", async (_, block) => {
    const entry = mine("main.ts");
    writeFileSync(entry, block.text);
    execFileSync(process.execPath, [cli, "build", join(project, "loramoe.moe"), "-o", scratch]);
    const outfile = mine("main.mjs");
    await build({ entryPoints: [entry], outfile, bundle: true, packages: "external", format: "esm", platform: "node", logLevel: "silent" });
    const run = spawnSync(process.execPath, [join(process.cwd(), outfile)], { cwd: project, encoding: "utf8" });
    expect(`${run.stderr}\nexit ${run.status}`).toMatch(/exit 0$/);
    expect(run.stdout.trim().split("\n").length).toBeGreaterThan(2);
  });
});

describe("rows of data", () => {
  it.each(of("jsonl"))("%s", (_, block) => {
    const file = `${basename(block.file)}-${block.line}.jsonl`;
    writeFileSync(join(project, file), block.text);
    const run = spawnSync(process.execPath, [cli, "eval", "loramoe.moe", "--data", file, "--backend", "wasm", "--json"], { cwd: project, encoding: "utf8" });
    expect(run.status, run.stderr).toBe(0);
    expect((JSON.parse(run.stdout) as { overall: { samples: number } }).overall.samples).toBe(block.text.trim().split("\n").length);
  });
});

describe("diffs are of what the files hold now", () => {
  it.each(of("diff"))("%s", (_, block) => {
    let file: string | undefined;
    for (const line of block.text.split("\n")) {
      const named = /^\+\+\+ (.+)$/.exec(line);
      if (named) file = readFileSync(named[1]!, "utf8");
      else if (/^[+ ]/.test(line)) expect(file?.split("\n"), where(block)).toContain(line.slice(1));
    }
    expect(file).toBeDefined();
  });
});
