import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ValidateFunction } from "ajv";
import { build, type Plugin } from "esbuild";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { configSchema } from "../../src/check/index.ts";
import { codeFolder, keepCode, readCode } from "../../src/cli/compiled-code.ts";
import { library } from "../../src/cli/library.ts";
import { checkText } from "../../src/compiler/index.ts";
import { indexSchema } from "../../src/formats/safetensors-index.ts";
import { unpack, type PackedFile } from "../../src/compiler/packed.ts";
import { parse } from "../../src/parser/index.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { cli, ensureDist } from "../support/dist.ts";

/** What `scripts/ahead.mjs` put into dist/: its own chunk, by the name of the source that it replaces. */
async function shipped<T>(name: string): Promise<T> {
  const [file, ...more] = readdirSync("dist/chunks").filter((f) => f.startsWith(`${name}-`));
  expect(more).toEqual([]);
  return (await import(/* @vite-ignore */ pathToFileURL(resolve("dist/chunks", file!)).href)) as T;
}

/** The parser with its grammar analysed ahead of time, as it is bundled. */
async function bundledParse(): Promise<typeof parse> {
  const folder = mkdtempSync("build-ahead-");
  try {
    const { ahead } = (await import(/* @vite-ignore */ pathToFileURL(resolve("scripts/ahead.mjs")).href)) as { ahead: (folder: string) => Promise<Plugin> };
    const plugins = [await ahead(join(folder, "made"))];
    await build({ stdin: { contents: 'export { parse } from "./src/parser/index.ts"; export { adopt } from "./src/parser/analysis.ts";', resolveDir: "." }, plugins, outfile: join(root, "parser.mjs"), bundle: true, format: "esm", platform: "node", logLevel: "warning" });
  } finally {
    rmSync(folder, { recursive: true });
  }
  const made = (await import(/* @vite-ignore */ pathToFileURL(join(root, "parser.mjs")).href)) as { parse: typeof parse; adopt: unknown };
  expect(made.adopt).toBeTypeOf("function");
  return made.parse;
}

const root = mkdtempSync(join(tmpdir(), "moec-ahead-"));
beforeAll(ensureDist, 120_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("what is made when the package is built", () => {
  it("the library's trees are those that the parser makes", async () => {
    const { trees } = await shipped<{ trees: readonly PackedFile[] }>("trees");
    expect(trees.map((t) => t.path)).toEqual([...library().keys()]);
    for (const packed of trees) {
      const text = library().get(packed.path)!;
      expect(unpack(structuredClone(packed), text)).toStrictEqual({ ...parse(text, packed.path), comments: [] });
      // A package whose library somebody has changed reads what is there.
      expect(unpack(structuredClone(packed), `${text} `)).toBeUndefined();
    }
  });

  it("the grammar's analysis reads every text as Chevrotain's does, whole and damaged", async () => {
    const bundled = await bundledParse();
    const texts = ["std", "examples", "examples/bad"].flatMap((folder) => readdirSync(folder).filter((n) => n.endsWith(".moe")).map((n) => readFileSync(join(folder, n), "utf8")));
    expect(texts.length).toBeGreaterThan(30);
    for (const text of texts) expect(bundled(text, "a.moe")).toStrictEqual(parse(text, "a.moe"));
    const pieces = [...new Set(texts.flatMap((text) => text.match(/\w+|\s+|[^\w\s]+/g)!))];
    const damaged = fc.record({ text: fc.constantFrom(...texts), at: fc.nat(), length: fc.nat(40), piece: fc.constantFrom(...pieces) });
    fc.assert(
      fc.property(damaged, ({ text, at, length, piece }) => {
        const start = at % text.length;
        const broken = text.slice(0, start) + piece + text.slice(start + length);
        expect(bundled(broken, "a.moe")).toStrictEqual(parse(broken, "a.moe"));
      }),
      { numRuns: 500 },
    );
  });

  it("there is a validator for each fixed schema and each model of the library", async () => {
    const { validators } = await shipped<{ validators: ReadonlyMap<string, ValidateFunction> }>("validators");
    const models = [...library()].flatMap(([path, text]) => parse(text, path).declarations).filter((d) => d.kind === "model");
    expect(models.length).toBeGreaterThan(0);
    const schemas = [JSON.parse(readFileSync("grammar/config.schema.json", "utf8")) as object, indexSchema, ...models.map(configSchema)];
    expect([...validators.keys()]).toEqual(schemas.map((s) => JSON.stringify(s)));
  });

  it("says of a wrong configuration what ajv says when it compiles at run time", async () => {
    const model = join(root, "model");
    cpSync("examples/models/tiny-llama", model, { recursive: true });
    const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as Record<string, unknown>;
    const { hidden_size: _, ...rest } = config;
    const wrong = { ...rest, num_hidden_layers: "two", vocab_size: -1, rms_norm_eps: [] };
    writeFileSync(join(model, "config.json"), JSON.stringify(wrong, null, 2));
    const text = 'base b = llama("model")\nadapter A on b { at ** { experts e[2] = lora(rank: 2)  route softmax() } }\n';
    writeFileSync(join(root, "spec.moe"), text);
    const fromSources = await checkText(new NodeHost(), join(root, "spec.moe"), text, { library: library() });
    const codes = fromSources.diagnostics.map((d) => d.code);
    expect(codes).toEqual(["MOE5106", "MOE5106", "MOE5106", "MOE5106"]);
    const run = spawnSync(process.execPath, [cli, "check", "--json", join(root, "spec.moe")], { encoding: "utf8" });
    expect(run.status).toBe(1);
    const [report] = JSON.parse(run.stdout) as [{ diagnostics: { code: string; message: string }[] }];
    expect(report.diagnostics.map((d) => [d.code, d.message])).toEqual(fromSources.diagnostics.map((d) => [d.code, d.message]));
  });
});

describe.skipIf(process.platform === "win32")("where compiled code is kept", () => {
  const caches = (name: string, mode: number): string => {
    const path = join(root, name);
    mkdirSync(path);
    chmodSync(path, mode);
    return path;
  };

  it("in the user's folder for caches, which is made for the user alone", () => {
    const own = caches("own", 0o755);
    expect(codeFolder({ XDG_CACHE_HOME: own })).toBe(join(own, "moec"));
  });

  it("nowhere where anybody else may write", () => {
    expect(codeFolder({ XDG_CACHE_HOME: caches("open", 0o777) })).toBeUndefined();
    const inside = caches("inside", 0o755);
    mkdirSync(join(inside, "moec"));
    chmodSync(join(inside, "moec"), 0o775);
    expect(codeFolder({ XDG_CACHE_HOME: inside })).toBeUndefined();
  });

  it("nowhere for a user who has no home", () => {
    const none = (): string => {
      throw new Error("uv_os_homedir returned ENOENT");
    };
    expect(codeFolder({}, none)).toBeUndefined();
  });

  it("not behind a link, and not where no folder can be made", () => {
    const linked = caches("linked", 0o755);
    symlinkSync(caches("elsewhere", 0o755), join(linked, "moec"));
    expect(codeFolder({ XDG_CACHE_HOME: linked })).toBeUndefined();
    writeFileSync(join(root, "file"), "");
    expect(codeFolder({ XDG_CACHE_HOME: join(root, "file") })).toBeUndefined();
  });
});

describe("compiled code that is kept", () => {
  const code = { data: new Uint8Array([1, 2, 3, 4, 5]), bytecode: 70_000 };

  it("is read as it was written", () => {
    const file = join(root, "kept.code");
    keepCode(file, code);
    const read = readCode(file)!;
    expect([...read.data]).toEqual([...code.data]);
    expect(read.bytecode).toBe(70_000);
    expect(readdirSync(root).filter((n) => n.startsWith("kept.code"))).toEqual(["kept.code"]);
    if (process.platform !== "win32") expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it("is not taken where a byte is wrong or missing, or where there is none", () => {
    const file = join(root, "damaged.code");
    keepCode(file, code);
    const bytes = readFileSync(file);
    for (let i = 0; i < bytes.length; i++) {
      writeFileSync(file, bytes.map((b, at) => (at === i ? b ^ 1 : b)));
      expect(readCode(file)).toBeUndefined();
      writeFileSync(file, bytes.subarray(0, i));
      expect(readCode(file)).toBeUndefined();
    }
    expect(readCode(join(root, "none.code"))).toBeUndefined();
    expect(readCode(root)).toBeUndefined();
  });

  it("leaves a folder bounded, and other files alone", () => {
    const folder = join(root, "many");
    mkdirSync(folder);
    writeFileSync(join(folder, "mine.txt"), "");
    for (let i = 0; i < 40; i++) keepCode(join(folder, `c${i}.code`), code);
    const names = readdirSync(folder);
    expect(names).toContain("mine.txt");
    expect(names).toContain("c39.code");
    expect(names).toHaveLength(33);
  });

  it("is made by the first run of a command, used by the next, and never asked for", () => {
    const caches = join(root, "caches");
    mkdirSync(caches, { mode: 0o755 });
    const env = { ...process.env, ...(process.platform === "win32" ? { LOCALAPPDATA: caches } : { XDG_CACHE_HOME: caches }), NODE_DISABLE_COMPILE_CACHE: undefined };
    const check = (more: NodeJS.ProcessEnv = {}): string => {
      const run = spawnSync(process.execPath, [cli, "check", "examples/loramoe.moe"], { encoding: "utf8", env: { ...env, ...more } });
      expect(run.status).toBe(0);
      return run.stdout + run.stderr;
    };
    const files = (): string[] => (existsSync(join(caches, "moec")) ? readdirSync(join(caches, "moec")) : []);
    const first = check({ NODE_DISABLE_COMPILE_CACHE: "1" });
    expect(files()).toEqual([]);
    expect(check()).toBe(first);
    const [name, ...more] = files();
    expect([name?.startsWith("check-"), more]).toEqual([true, []]);
    const file = join(caches, "moec", name!);
    const before = readFileSync(file);
    expect(check()).toBe(first);
    // Nothing was compiled that was not in it: it stays as it is.
    expect(readFileSync(file).equals(before)).toBe(true);
    // Damaged, it is made again.
    writeFileSync(file, before.subarray(0, before.length >> 1));
    expect(check()).toBe(first);
    expect(readCode(file)).toBeDefined();
  });
});
