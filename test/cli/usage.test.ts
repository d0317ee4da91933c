import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { catalogue } from "../../src/diagnostics/index.ts";
import { moec, project } from "./support.ts";

const { folder: cwd } = project();
const commands = ["check", "build", "train", "eval", "generate", "verify", "explain", "doctor"];

describe("help", () => {
  it("lists every command on stdout where it is asked for, and on stderr where nothing is", async () => {
    const [asked, nothing] = await Promise.all([moec(["--help"], { cwd }), moec([], { cwd })]);
    expect(asked.code).toBe(0);
    expect(asked.stderr).toBe("");
    for (const name of commands) expect(asked.stdout).toMatch(new RegExp(`^  ${name} `, "m"));
    expect(nothing.code).toBe(2);
    expect(nothing.stdout).toBe("");
    expect(nothing.stderr).toBe(asked.stdout);
  });

  it.each(commands)("%s --help says what it takes, the global options too", async (name) => {
    const run = await moec([name, "--help"], { cwd });
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout).toMatch(new RegExp(`^Usage: moec ${name}`));
    expect(run.stdout).toContain("--json");
  });

  it("--version is that of package.json", async () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
    expect(await moec(["--version"], { cwd })).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

describe("wrong usage ends with 2 and one diagnostic", () => {
  it.each<[string, string[], RegExp, RegExp]>([
    ["a misspelt command", ["chekc"], /unknown command "chekc"/, /did you mean "check"\?/],
    ["a misspelt command of help", ["help", "trian"], /unknown command "trian"/, /did you mean "train"\?/],
    ["a misspelt option", ["train", "a.moe", "--stpes", "3"], /unknown option "--stpes"/, /did you mean "--steps"\?/],
    ["a misspelt choice", ["train", "a.moe", "--backend", "wsam"], /argument "wsam" is invalid/, /did you mean "wasm"\?/],
    ["another choice altogether", ["train", "a.moe", "--backend", "tpu-pod"], /argument "tpu-pod" is invalid/, /tfjs-node-gpu, onnx, tfjs-node, webgpu, wasm, cpu/],
    ["a missing argument", ["check"], /missing required argument "files"/, /moec check --help/],
    ["a missing option", ["build", "a.moe"], /"-o, --out <folder>" not specified/, /moec build --help/],
    ["an argument too many", ["doctor", "me"], /too many arguments/, /moec doctor --help/],
    ["steps that are none", ["train", "a.moe", "--steps", "0"], /whole number of at least 1/, /moec train --help/],
    ["steps in another notation", ["train", "a.moe", "--steps", "1e3"], /whole number of at least 1/, /moec train --help/],
    ["a seed below 0", ["train", "a.moe", "--seed", "-1"], /whole number of at least 0/, /moec train --help/],
    ["a probability above 1", ["generate", "a", "b", "--top-p", "1.5"], /from 0 to 1/, /moec generate --help/],
    ["an assignment without a name", ["check", "a.moe", "--set", "=4"], /name=value/, /moec check --help/],
    ["an empty path", ["check", ""], /empty/, /moec check --help/],
    ["two places for a run", ["train", "a.moe", "--resume", "a", "--out", "b"], /cannot be used with/, /moec train --help/],
  ])("%s", async (_, args, message, help) => {
    const run = await moec(args, { cwd });
    expect(run.code).toBe(2);
    expect(run.stdout).toBe("");
    expect(run.stderr).toMatch(/^error\[MOE9001\]: /);
    expect(run.stderr).toMatch(message);
    expect(run.stderr).toMatch(help);
    expect(run.stderr.match(/error\[/g)).toHaveLength(1);
  });

  it("is JSON where a machine reads", async () => {
    const run = await moec(["trian", "--json"], { cwd });
    expect(run.code).toBe(2);
    expect(JSON.parse(run.stderr)).toMatchObject({ version: 1, errors: 1, diagnostics: [{ code: "MOE9001", help: 'did you mean "train"?' }] });
  });
});

describe("explain", () => {
  it("lists every code once", async () => {
    const run = await moec(["explain"], { cwd });
    expect(run.stdout.trim().split("\n").map((l) => l.slice(0, 7))).toEqual(Object.keys(catalogue));
    const json = await moec(["explain", "--json"], { cwd });
    expect(JSON.parse(json.stdout)).toHaveLength(Object.keys(catalogue).length);
  });

  it("shows a text that is refused, how that looks, and the text repaired", async () => {
    for (const code of ["MOE1001", "moe1001", "1001"]) {
      const run = await moec(["explain", code], { cwd });
      expect(run.code).toBe(0);
      expect(run.stdout).toMatch(/^MOE1001: /);
      expect(run.stdout).toMatch(/This is refused:[\s\S]*error\[MOE1001\][\s\S]*This is fine:/);
      expect(Math.max(...run.stdout.split("\n").map((l) => l.length))).toBeLessThan(120);
    }
  });

  it("does not know other codes", async () => {
    const run = await moec(["explain", "MOE10001"], { cwd });
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/error\[MOE9004\].*"MOE10001"[\s\S]*did you mean "MOE1001"/);
  });
});

describe("doctor", () => {
  it("has a line and a reason for every backend, and wasm works anywhere", async () => {
    const run = await moec(["doctor", "--json"], { cwd });
    expect(run.code).toBe(0);
    const { auto, backends } = JSON.parse(run.stdout) as { auto: string; backends: { name: string; usable: boolean; reason?: string }[] };
    expect(backends.map((b) => b.name)).toEqual(["tfjs-node-gpu", "onnx", "tfjs-node", "webgpu", "wasm", "cpu"]);
    expect(backends.find((b) => b.name === "wasm")).toMatchObject({ usable: true });
    for (const b of backends) if (!b.usable) expect(b.reason).toBeTruthy();
    expect(backends.find((b) => b.name === auto)?.usable).toBe(true);
  });
});

describe("colours", () => {
  const red = /\x1b\[31/;
  it.each<[string, Record<string, string>, string[], boolean]>([
    ["none in a pipe", {}, [], false],
    ["where FORCE_COLOR asks", { FORCE_COLOR: "1" }, [], true],
    ["not for FORCE_COLOR=0", { FORCE_COLOR: "0" }, [], false],
    ["not against NO_COLOR", { FORCE_COLOR: "1", NO_COLOR: "1" }, [], false],
    ["not against --no-color", { FORCE_COLOR: "1" }, ["--no-color"], false],
  ])("%s", async (_, env, options, coloured) => {
    const run = await moec(["check", "nothing.moe", ...options], { cwd, env });
    expect(red.test(run.stderr)).toBe(coloured);
  });
});
