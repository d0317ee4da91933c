import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageName } from "../../src/cli/commands/init.ts";
import { validateJson } from "../../src/formats/schema.ts";
import { moec, project } from "../cli/support.ts";

const { folder: cwd, path } = project();
const made = ["package.json", "moec.config.json", "loramoe.moe", "data/train.jsonl", "data/test.jsonl", ".gitignore", "README.md"];

describe("moec init", () => {
  it("makes a project whose check says what to put where, and which then checks, builds, trains and tests", async () => {
    const run = await moec(["init", "fresh"], { cwd });
    expect(run.code).toBe(0);
    expect(run.stdout.trim().split("\n")).toEqual(made.map((f) => `fresh/${f}`));
    expect(run.stderr).toContain("npm install");
    const inside = path("fresh");
    const missing = await moec(["check"], { cwd: inside });
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(/MOE5101.*models\/base does not exist[\s\S]*config\.json, model\.safetensors and tokenizer\.json/);
    expect(missing.stderr.match(/error\[/g)).toHaveLength(1);

    cpSync(path("models/tiny"), join(inside, "models/base"), { recursive: true });
    expect(await moec(["check"], { cwd: inside })).toMatchObject({ code: 0, stderr: expect.stringContaining("ok loramoe.moe") as string });
    const built = await moec(["build"], { cwd: inside });
    expect(built.stdout.trim().split("\n")).toEqual(["build/loramoe.moe.ts", "build/loramoe.d.moe.ts", "build/loramoe.moe.json"]);
    const { scripts } = JSON.parse(readFileSync(join(inside, "package.json"), "utf8")) as { scripts: Record<string, string> };
    const script = (name: string, ...more: string[]): ReturnType<typeof moec> => moec([...scripts[name]!.split(" ").slice(1), ...more], { cwd: inside });
    expect(Object.values(scripts).every((s) => s.startsWith("moec "))).toBe(true);
    expect((await script("plan")).code).toBe(0);
    expect(await script("train", "--steps", "1", "--backend", "wasm")).toMatchObject({ code: 0, stdout: "out/LoRAMoE\n" });
    expect(await script("test", "--backend", "wasm")).toMatchObject({ code: 0, stdout: expect.stringContaining("downstream") as string });
  });

  it("writes over nothing, not even one file of many", async () => {
    mkdirSync(path("used/data"), { recursive: true });
    writeFileSync(path("used/data/train.jsonl"), "mine\n");
    const run = await moec(["init", "used", "--yes"], { cwd });
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/MOE9008.*used has data\/train\.jsonl already/);
    expect(readdirSync(path("used"))).toEqual(["data"]);
    expect(readFileSync(path("used/data/train.jsonl"), "utf8")).toBe("mine\n");
  });

  it("points at the base that it is given, seen from the project", async () => {
    const run = await moec(["init", "based", "--yes", "--base", "models/tiny", "--name", "@me/mix", "--json"], { cwd });
    expect(JSON.parse(run.stdout)).toEqual({ folder: "based", base: "../models/tiny", files: made.map((f) => `based/${f}`) });
    expect(run.stderr).toBe("");
    expect(JSON.parse(readFileSync(path("based/package.json"), "utf8"))).toMatchObject({ name: "@me/mix" });
    expect((await moec(["check"], { cwd: path("based") })).code).toBe(0);
    for (const args of [["--base", 'a"b'], ["--name", "A b"]]) expect(await moec(["init", "none", ...args], { cwd })).toMatchObject({ code: 2, stdout: "" });
    expect(existsSync(path("none"))).toBe(false);
  });

  it.each([["My Adapter", "my-adapter"], ["é!", "e"], ["日本", "my-adapter"], [".hidden", "hidden"], ["a/b/LoRA_moe.2", "lora_moe.2"]])("names the package of %s %s", (folder, name) => {
    expect(packageName(folder)).toBe(name);
  });
});

describe("moec.config.json", () => {
  const config = (folder: string, value: unknown): string => {
    mkdirSync(path(folder), { recursive: true });
    writeFileSync(path(`${folder}/moec.config.json`), typeof value === "string" ? value : JSON.stringify(value, null, 2));
    return path(folder);
  };
  const spec = (folder: string, name: string, base: string): void => {
    mkdirSync(path(folder), { recursive: true });
    writeFileSync(path(`${folder}/${name}`), `base b = llama("${base}")\nadapter A on b { at layers.*.mlp.down_proj { always lora(rank: 2) } }\n`);
  };

  it("is what its schema says, which is a schema", async () => {
    const schema = JSON.parse(readFileSync("grammar/config.schema.json", "utf8")) as { properties: Record<string, { description: string }> };
    expect(Object.keys(schema.properties)).toEqual(["$schema", "specs", "out", "base", "backend"]);
    for (const p of Object.values(schema.properties)) expect(p.description).toMatch(/\.$/);
    const text = '{"specs": ["a.moe"], "out": "o"}';
    expect(await validateJson(schema, JSON.parse(text), text, "c")).toEqual([]);
  });

  it("names specs, folder and base; found from a folder below, too", async () => {
    const inside = config("several", { specs: ["one.moe", "more/two.moe"], out: "made", base: "../models/tiny", backend: "wasm" });
    spec("several", "one.moe", "nowhere");
    spec("several/more", "two.moe", "nowhere");
    const below = path("several/more");
    const checked = await moec(["check"], { cwd: below });
    expect(checked.code).toBe(0);
    expect(checked.stderr).toMatch(/ok \.\.\/one\.moe[\s\S]*ok two\.moe/);
    const built = JSON.parse((await moec(["build", "--json"], { cwd: below })).stdout) as { files: string[] }[];
    expect(built.map((b) => b.files[0])).toEqual(["../made/one.moe.ts", "../made/two.moe.ts"]);
    expect(existsSync(join(inside, "made/two.moe.json"))).toBe(true);
    // What the command line says counts.
    const over = await moec(["check", "one.moe", "--base", "elsewhere"], { cwd: inside });
    expect(over.stderr).toContain("elsewhere does not exist");
    // A spec outside the project is not the project's.
    spec(".", "outside.moe", "nowhere");
    expect((await moec(["check", "../outside.moe"], { cwd: inside })).stderr).toContain("nowhere does not exist");
    expect((await moec(["plan", "one.moe"], { cwd: inside })).stdout).toContain("on ../models/tiny");
  });

  it.each([
    ["a key that is none", { spec: ["a.moe"] }, /MOE5107[\s\S]*did you mean "specs"/],
    ["a backend that is none", { backend: "wsam" }, /MOE5106[\s\S]*did you mean "wasm"/],
    ["a spec outside", { specs: ["../a.moe"] }, /MOE5103[\s\S]*goes up/],
    ["no JSON", "{specs}", /MOE5105/],
    ["no object", "[]", /MOE5106/],
  ])("tells of %s", async (name, value, message) => {
    const run = await moec(["check"], { cwd: config(`bad/${name}`, value) });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(message);
    expect(run.stderr).toMatch(/--> moec\.config\.json:\d+:\d+/);
  });

  it("is missed where nothing says what to do", async () => {
    const run = await moec(["check"], { cwd });
    expect(run.code).toBe(2);
    expect(run.stderr).toMatch(/MOE9001.*missing required argument "files"/);
  });

  it("refuses two specs that would be one file", async () => {
    const inside = config("same", { specs: ["a/x.moe", "b/x.moe"], out: "made", base: "../models/tiny" });
    for (const f of ["a", "b"]) spec(`same/${f}`, "x.moe", "nowhere");
    const run = await moec(["build"], { cwd: inside });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/MOE5108.*made\/x\.moe\.ts/);
    expect(existsSync(join(inside, "made"))).toBe(false);
  });
});
