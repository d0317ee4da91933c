import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureDist } from "../support/dist.ts";
import { writeTinyProject } from "../support/tiny-checkpoint.ts";

/** What a user does: packs of the registry's kind, an empty project elsewhere, no repository in reach. */
const root = mkdtempSync(join(tmpdir(), "moec-package-"));
const project = join(root, "project");
const file = (name: string): string => join(project, name);
let packed: { readonly filename: string; readonly size: number; readonly files: readonly { readonly path: string }[] };

function npx(...args: string[]): string {
  return execFileSync("npx", ["--no-install", ...args], { cwd: project, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

beforeAll(() => {
  ensureDist();
  // --ignore-scripts: dist/ is there, and `prepare` would make it anew under other tests' feet.
  [packed] = JSON.parse(execFileSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", root], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })) as [typeof packed];
  mkdirSync(project);
  writeFileSync(file("package.json"), JSON.stringify({ name: "elsewhere", private: true, type: "module" }));
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", join(root, packed.filename)], { cwd: project, stdio: "ignore" });
  writeTinyProject(project);
}, 180_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("the tarball", () => {
  it("holds what is meant and nothing else", () => {
    const paths = packed.files.map((f) => f.path);
    expect([...new Set(paths.map((p) => p.split("/")[0]))].sort()).toEqual(["LICENSE", "README.md", "dist", "docs", "package.json", "scripts", "std"]);
    const within = (folder: string): string[] => [...new Set(paths.filter((p) => p.startsWith(`${folder}/`)).map((p) => p.slice(folder.length + 1).split("/")[0]!))].sort();
    expect(within("dist")).toEqual(["THIRD-PARTY.txt", "chunks", "cli.cjs", "compiler.js", "main.cjs", "prettier.js", "runtime.js", "schemas", "types"]);
    expect(within("scripts")).toEqual(["build-tfjs-node.mjs", "native"]);
    expect(within("std")).toEqual(readdirSync("std").sort());
    expect(within("docs").every((n) => n.endsWith(".md"))).toBe(true);
    expect(within("dist/schemas")).toContain("manifest.schema.json");
    for (const path of paths) expect(path).not.toMatch(/\.test\.|(^|\/)test\/|\.map$|\.tsbuildinfo$|dist\/types\/cli/);
    // Sources of ours: declarations alone.
    expect(paths.filter((p) => p.endsWith(".ts") && !p.endsWith(".d.ts"))).toEqual([]);
    expect(packed.size).toBeLessThan(2e6);
  });

  it("has the licence of everything that is bundled", () => {
    const text = readFileSync(file("node_modules/moec/dist/THIRD-PARTY.txt"), "utf8");
    for (const name of ["chevrotain", "lodash-es", "ajv"]) expect(text).toMatch(new RegExp(`^${name} [\\d.]+ \\(`, "m"));
    expect(text).toContain("Apache License");
  });

  it("an ordinary install stays under 120 MB", () => {
    const size = (path: string): number => {
      const found = statSync(path);
      return found.isDirectory() ? readdirSync(path).reduce((n, name) => n + size(join(path, name)), 0) : found.size;
    };
    expect(size(file("node_modules")) / 2 ** 20).toBeLessThan(120);
    // Optional peers are not what an ordinary install brings.
    expect(readdirSync(file("node_modules/@tensorflow")).sort()).toEqual(["tfjs-backend-cpu", "tfjs-backend-wasm", "tfjs-core"]);
  });

  it("has the script that messages name", () => {
    expect(execFileSync(process.execPath, [file("node_modules/moec/scripts/build-tfjs-node.mjs"), "--help"], { cwd: project, encoding: "utf8" })).toContain("--into DIR");
  });
});

describe("in a project elsewhere", () => {
  it("checks, builds and trains", () => {
    npx("moec", "check", "loramoe.moe");
    expect(npx("moec", "build", "loramoe.moe", "-o", "src").trim().split("\n")).toEqual(["src/loramoe.moe.ts", "src/loramoe.d.moe.ts", "src/loramoe.moe.json"]);
    expect(npx("moec", "train", "loramoe.moe", "--steps", "2", "--backend", "wasm")).toBe("out/LoRAMoE\n");
    expect(JSON.parse(npx("moec", "eval", "out/LoRAMoE", "--data", "data/train.jsonl", "--backend", "wasm", "--json"))).toMatchObject({ overall: { samples: 12 } });
  });

  const programs: Readonly<Record<string, string>> = {
    // The generated TypeScript itself …
    "main.ts": `import { LoRAMoE } from "./loramoe.moe.ts";
const run = await LoRAMoE.load({ base: "models/tiny", backend: "wasm" });
for await (const step of run.train({ data: "data/train.jsonl", steps: 2 }))
  console.log(step.loss, step.balance, step.utilization.knowledge);
await run.save("out/program");
`,
    // … or its declaration beside whatever resolves "./loramoe.moe", and both of the package's entries.
    "declared.ts": `import { LoRAMoE } from "./loramoe.moe";
import { checkText, loadProgram, type Program } from "moec";
import { startBackend, type StepMetrics } from "moec/runtime";
export const values = [LoRAMoE, checkText, loadProgram, startBackend];
export type Types = [Program, StepMetrics];
`,
  };
  const wrong = `import { LoRAMoE } from "./loramoe.moe.ts";
const run = await LoRAMoE.load({ base: "models/tiny" });
for await (const step of run.train()) console.log(step.utilization.knowlege);
`;

  it.each([
    ["typescript", "nodenext"],
    ["typescript", "bundler"],
    ["typescript5", "nodenext"],
    ["typescript5", "bundler"],
  ])("types resolve under %s, --moduleResolution %s", (compiler, resolution) => {
    if (!existsSync(file("src/loramoe.moe.ts"))) npx("moec", "build", "loramoe.moe", "-o", "src");
    for (const [name, text] of Object.entries(programs)) writeFileSync(file(`src/${name}`), text);
    const check = (files: readonly string[], more: readonly string[] = []): string[] => {
      const options = ["--strict", "--noEmit", "--target", "es2022", "--module", resolution === "nodenext" ? "nodenext" : "esnext", "--moduleResolution", resolution, "--allowImportingTsExtensions", "--allowArbitraryExtensions"];
      const run = spawnSync(process.execPath, [resolve("node_modules", compiler, "bin/tsc"), ...options, ...more, ...files], { cwd: project, encoding: "utf8" });
      return run.stdout.split("\n").filter((line) => line.includes("error TS"));
    };
    // Declarations of the package are checked too. TypeScript 7's own library clashes with those of two packages of others.
    const errors = check(Object.keys(programs).map((n) => `src/${n}`), ["--skipLibCheck", "false"]);
    expect(errors.filter((line) => !/^node_modules\/@(tensorflow|webgpu)\/|\/lib\.dom\.d\.ts\(/.test(line))).toEqual([]);
    writeFileSync(file("src/wrong.ts"), wrong);
    expect(check(["src/wrong.ts"], ["--skipLibCheck"])).toEqual([expect.stringMatching(/^src\/wrong\.ts\(3,\d+\): error TS2551: .*'knowlege'.*'knowledge'/)]);
    rmSync(file("src/wrong.ts"));
  });

  it("Node may run the generated TypeScript as it is: nothing in it but types to strip", () => {
    writeFileSync(file("src/main.ts"), programs["main.ts"]!);
    const options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--allowImportingTsExtensions", "--erasableSyntaxOnly", "--verbatimModuleSyntax", "--skipLibCheck"];
    const run = spawnSync(process.execPath, [resolve("node_modules/typescript5/bin/tsc"), ...options, "src/main.ts"], { cwd: project, encoding: "utf8" });
    expect(run.stdout).toBe("");
  });

  it("a program trains", async () => {
    writeFileSync(file("src/main.ts"), programs["main.ts"]!);
    await build({ absWorkingDir: project, entryPoints: ["src/main.ts"], outfile: file("main.js"), bundle: true, packages: "external", format: "esm", platform: "node", logLevel: "silent" });
    const lines = execFileSync(process.execPath, ["main.js"], { cwd: project, encoding: "utf8" }).trim().split("\n");
    expect(lines).toHaveLength(2);
    for (const line of lines) for (const number of line.split(" ")) expect(Number(number)).toBeGreaterThan(0);
    expect(existsSync(file("out/program/adapter_model.safetensors"))).toBe(true);
  });
});
