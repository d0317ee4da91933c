import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { tinySpec } from "../support/tiny-checkpoint.ts";
import { execute, moec, project } from "./support.ts";
import { cli } from "../support/dist.ts";

const { folder: cwd, path } = project();

describe("check", () => {
  it("says what it understood, on stderr; the result is the exit code", async () => {
    const run = await moec(["check", "loramoe.moe"], { cwd });
    expect(run).toMatchObject({ code: 0, stdout: "" });
    expect(run.stderr).toBe("ok loramoe.moe: LoRAMoE on models/tiny: 6 adapted layers, groups knowledge (3), skill (3)\n");
    writeFileSync(path("uneven.moe"), tinySpec.replace("knowledge[3]", "knowledge[[2, 5][layer]]"));
    expect((await moec(["check", "uneven.moe"], { cwd })).stderr).toContain("groups knowledge (2 to 5), skill (3)");
  });

  it("tells every file's mistakes, each file once", async () => {
    writeFileSync(path("bad.moe"), tinySpec.replace("route softmax()", "route sofmax()"));
    const run = await moec(["check", "bad.moe", "absent.moe", "loramoe.moe", "./bad.moe"], { cwd });
    expect(run.code).toBe(1);
    expect(run.stderr.match(/error\[/g)).toHaveLength(2);
    expect(run.stderr).toMatch(/sofmax[\s\S]*softmax/);
    expect(run.stderr).toContain("absent.moe does not exist");
    expect(run.stderr).toContain("ok loramoe.moe");
    const json = await moec(["check", "--json", "bad.moe", "absent.moe", "loramoe.moe"], { cwd });
    expect(json).toMatchObject({ code: 1, stderr: "" });
    const report = JSON.parse(json.stdout) as { file: string; ok: boolean; diagnostics: { code: string; primary: { line: number; column: number } | null }[] }[];
    expect(report.map((r) => [r.file, r.ok, r.diagnostics.length])).toEqual([["bad.moe", false, 1], ["absent.moe", false, 1], ["loramoe.moe", true, 0]]);
    const line = tinySpec.split("\n").findIndex((l) => l.includes("route")) + 1;
    expect(report[0]!.diagnostics[0]!.primary).toMatchObject({ line, column: 11 });
  });

  it("a warning that the spec allows is gone from every command, and from the JSON", async () => {
    const warned = tinySpec.replace("route softmax()", "route top_k(6)");
    writeFileSync(path("warned.moe"), warned);
    writeFileSync(path("allowed.moe"), warned.replace("route", "// moec: allow MOE2040 because all six are wanted\n    route"));
    for (const command of [["check"], ["build", "-o", "out/allowed"], ["plan"]] as const) {
      const [name, ...more] = command;
      expect((await moec([name, "warned.moe", ...more], { cwd })).stderr, name).toContain("warning[MOE2040]");
      const run = await moec([name, "allowed.moe", ...more], { cwd });
      expect(run.code, name).toBe(0);
      expect(run.stderr, name).not.toContain("warning");
    }
    const json = JSON.parse((await moec(["check", "--json", "warned.moe", "allowed.moe"], { cwd })).stdout) as { warnings: number }[];
    expect(json.map((r) => r.warnings)).toEqual([1, 0]);
  });

  it("reads standard input", async () => {
    expect(await moec(["check", "-"], { cwd, input: tinySpec })).toMatchObject({ code: 0 });
    const run = await moec(["check", "-"], { cwd, input: tinySpec.replace("rank: 2", "rank: 2000") });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/--> stdin\.moe:6:/);
    const binary = await moec(["check", "-"], { cwd, input: new Uint8Array([0xff, 0xfe, 0, 1]) });
    expect(binary.code).toBe(1);
    expect(binary.stderr).toMatch(/error\[MOE5104\]: standard input/);
  });

  it("survives paths with spaces and other scripts", async () => {
    const folder = "mit Leerzeichen/データ 'q'";
    cpSync(path("models"), path(`${folder}/models`), { recursive: true });
    writeFileSync(path(`${folder}/spéc 1.moe`), tinySpec);
    const run = await moec(["check", `${folder}/spéc 1.moe`], { cwd });
    expect(run.code).toBe(0);
    const built = await moec(["build", `${folder}/spéc 1.moe`, "-o", `${folder}/out`], { cwd });
    expect(built.code).toBe(0);
    expect(built.stdout.trim().split("\n").every((p) => existsSync(path(p)))).toBe(true);
  });

  it("a reader that stops reading is no error", async () => {
    const run = await execute("/bin/sh", ["-c", `"${process.execPath}" "${cli}" explain | head -1`], { cwd });
    expect(run.stderr).toBe("");
    expect(run.stdout.split("\n")).toHaveLength(2);
  });

  it.skipIf(!existsSync("/dev/full"))("a full disk under the results is told", async () => {
    const run = await execute("/bin/sh", ["-c", `"${process.execPath}" "${cli}" explain > /dev/full`], { cwd });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/^moec: standard output cannot be written: ENOSPC\n$/);
  });
});

describe("what is no spec is refused in one sentence", () => {
  beforeAll(() => {
    writeFileSync(path("empty.moe"), "");
    writeFileSync(path("binary.moe"), Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 89) & 0xff)));
    writeFileSync(path("huge.moe"), Buffer.alloc(5 * 2 ** 20, "x "));
    mkdirSync(path("folder.moe"));
    symlinkSync("loop.moe", path("loop.moe"));
  });

  it.each<[string, string, RegExp]>([
    ["a folder", "folder.moe", /error\[MOE5102\]: folder\.moe is a folder/],
    ["a binary file", "binary.moe", /error\[MOE5104\]/],
    ["a huge file", "huge.moe", /error\[MOE5102\].*5242880 bytes/],
    ["a link in a circle", "loop.moe", /error\[MOE5102\]/],
    ["a file that is not there", "none/at/all.moe", /error\[MOE5101\]: none\/at\/all\.moe does not exist/],
    ["a part of whose path is a file", "loramoe.moe/x.moe", /error\[MOE51/],
    ["a name that no system has", `${"n".repeat(300)}.moe`, /error\[MOE51/],
  ])("%s", async (_, file, message) => {
    for (const args of [["check", file], ["build", file, "-o", "made"], ["train", file, "--out", "made"], ["eval", file, "--data", "data/train.jsonl"]]) {
      const run = await moec(args, { cwd });
      expect(run.code).toBe(1);
      expect(run.stderr).not.toMatch(/\n\s+at /);
      // To eval a folder is an adapter's.
      if (args[0] === "eval" && file === "folder.moe") expect(run.stderr).toMatch(/error\[MOE5316\]/);
      else expect(run.stderr).toMatch(message);
      expect(existsSync(path("made"))).toBe(false);
    }
  });

  it("an empty file declares nothing", async () => {
    expect(await moec(["check", "empty.moe"], { cwd })).toMatchObject({ code: 0 });
    const run = await moec(["build", "empty.moe", "-o", "made"], { cwd });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/error\[MOE9003\]/);
  });
});

describe("build", () => {
  it("writes three files whole, and the graph where it is asked for", async () => {
    const run = await moec(["build", "loramoe.moe", "-o", "generated/deep", "--graph", "--explain"], { cwd });
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(readdirSync(path("generated/deep")).sort()).toEqual(["loramoe.d.moe.ts", "loramoe.graph.txt", "loramoe.moe.json", "loramoe.moe.ts"]);
    expect(run.stdout).toContain("layers.mlp.down_proj  (2 layers)");
    const again = await moec(["build", "loramoe.moe", "-o", "generated/again", "--json"], { cwd });
    expect((JSON.parse(again.stdout) as { files: string[] }).files).toContain("generated/again/loramoe.moe.ts");
    for (const name of readdirSync(path("generated/again"))) expect(readFileSync(path(`generated/again/${name}`), "utf8")).toBe(readFileSync(path(`generated/deep/${name}`), "utf8"));
  });

  it("writes a model for each entry where ONNX is asked for", async () => {
    const run = await moec(["build", "loramoe.moe", "-o", "generated/onnx", "--onnx", "--json"], { cwd });
    expect(run).toMatchObject({ code: 0, stderr: "" });
    const models = ["accumulate", "evaluate", "gradients", "logits", "update"].map((entry) => `loramoe.${entry}.onnx`);
    expect(readdirSync(path("generated/onnx")).filter((n) => n.endsWith(".onnx")).sort()).toEqual(models);
    expect((JSON.parse(run.stdout) as { files: string[] }).files).toEqual(expect.arrayContaining(models.map((m) => `generated/onnx/${m}`)));
    const { spec } = JSON.parse(readFileSync(path("generated/onnx/loramoe.moe.json"), "utf8")) as { spec: { sha256: string } };
    for (const model of models) expect(readFileSync(path(`generated/onnx/${model}`)).includes(spec.sha256), model).toBe(true);
  });

  it("lays code out for a backend, and says so in it", async () => {
    expect((await moec(["build", "loramoe.moe", "-o", "generated/gpu", "--for", "tfjs-node-gpu"], { cwd })).code).toBe(0);
    expect(readFileSync(path("generated/gpu/loramoe.moe.ts"), "utf8").split("\n")[0]).toContain("laid out for tfjs-node-gpu");
    const manifest = JSON.parse(readFileSync(path("generated/gpu/loramoe.moe.json"), "utf8")) as { backend: string };
    expect(manifest.backend).toBe("tfjs-node-gpu");
    expect((await moec(["build", "loramoe.moe", "-o", "generated/no", "--for", "abacus"], { cwd })).code).toBe(2);
    const layouts = async (...to: string[]): Promise<number> => (JSON.parse((await moec(["plan", "loramoe.moe", "--json", ...to], { cwd })).stdout) as { memory: { layouts: number } }).memory.layouts;
    expect([(await layouts()) > 0, await layouts("--for", "tfjs-node-gpu")]).toEqual([true, 0]);
  });

  it("explains each place: what was rewritten, what was not and why, costs before and after", async () => {
    writeFileSync(path("explained.moe"), `base llama = llama("models/tiny")
adapter Mixed on llama {
  at layers.*.mlp.down_proj {
    experts low[2] = lora(rank: 2, dropout: 0.1)
    experts turned[2] = dora(rank: 2)
    route softmax()
  }
}
`);
    const run = await moec(["build", "explained.moe", "-o", "explained", "--explain"], { cwd });
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout).toMatch(/layers\.mlp\.down_proj {2}\(2 layers\)\n {2}operations .* → .*\n {2}bytes moved .* → .*/);
    expect(run.stdout).toContain("done  a sum (over experts) became part of a product (rule 2)");
    expect(run.stdout).toMatch(/left {2}the sum over turned stays: sub stands between it and the product, .*\(std\/dora\.moe:\d+\)/);
    expect(run.stdout).toMatch(/left {2}\d products over \w+ stay apart: one reads the input under a dropout mask {2}\(std\/lora\.moe:\d+\)/);
    expect(run.stdout).toMatch(/The most that is held at once beside weights, .*\(\d+ × \d+ tokens\):\n(?: {2}\w+ +[\d.]+ \w+ +→ +[\d.]+ \w+ +[01]\.\d\d×\n)* {2}gradients /);
    const json = await moec(["build", "explained.moe", "-o", "explained", "--explain", "--json"], { cwd });
    const { explanation } = JSON.parse(json.stdout) as { explanation: { places: { places: string[]; turns: number; rewrites: { rule: number; count: number }[]; left: { reason: string }[]; before: { flops: number; bytes: number }; after: { flops: number; bytes: number } }[]; keeps: string; batch: object; peaks: { entry: string; before: number; after: number }[]; laidOut: string[]; unreached: string[] } };
    expect(explanation.batch).toEqual({ sample: expect.any(Number), position: expect.any(Number) });
    expect(explanation.peaks.map((p) => p.entry)).toEqual(["logits", "evaluate", "gradients", "accumulate", "update"]);
    for (const p of explanation.peaks) expect(p.after).toBeLessThanOrEqual(p.before);
    expect(explanation.places.map((p) => [p.places, p.turns])).toEqual([[["layers.mlp.down_proj"], 2]]);
    const [place] = explanation.places;
    expect(place!.rewrites.map((r) => r.rule)).toEqual(expect.arrayContaining([1, 2, 6]));
    expect(place!.left.length).toBeGreaterThanOrEqual(2);
    expect(place!.after.flops).toBeLessThan(place!.before.flops);
    expect(place!.after.bytes).toBeLessThan(place!.before.bytes);
    expect(explanation.unreached).toEqual([]);
    expect(explanation.keeps).toBe("all");
    expect(explanation.laidOut).toContain("layers.*.mlp.down_proj.weight");
  });

  it("explains which tokens are sorted by expert, and why others are not", async () => {
    const spec = (name: string, experts: string, route: string): string => `
adapter ${name} on llama {
  at layers.*.mlp {
    experts ffn[${experts}] = patch { gate_proj, up_proj, down_proj: lora(rank: 2) }
    route ${route}
  }
}
`;
    writeFileSync(path("sorted.moe"), `base llama = llama("models/tiny")${spec("Few", "16", "top_k(1)")}${spec("Most", "3", "top_k(2)")}${spec("Some", "4", "threshold(at: 0.3)")}`);
    const said = async (adapter: string): Promise<string> => (await moec(["build", "sorted.moe", "-o", "sorted", "--explain", "--adapter", adapter], { cwd })).stdout;
    expect(await said("Few")).toMatch(/done {2}1 of 16 for each token along expert: tokens sorted, one product for each that has any \(operations .* → .*, bytes moved .* → .*, kernels \d+ → \d+\)/);
    expect(await said("Most")).toMatch(/left {2}every expert\w* for every token, though 2 of 3 are chosen: sorted, it would take longer \(operations .*\) {2}\(sorted\.moe:\d+\)/);
    expect(await said("Some")).toMatch(/left {2}every expert\w* for every token: some gates are 0, but no number bounds how many are not/);
  });

  it("refuses a file as the place, and an adapter that is not there", async () => {
    const file = await moec(["build", "loramoe.moe", "-o", "data/train.jsonl"], { cwd });
    expect(file.code).toBe(1);
    expect(file.stderr).toMatch(/error\[MOE5108\]: data\/train\.jsonl is a file/);
    const name = await moec(["build", "loramoe.moe", "-o", "x", "--adapter", "LoraMoE"], { cwd });
    expect(name.code).toBe(1);
    expect(name.stderr).toMatch(/error\[MOE9003\][\s\S]*did you mean "LoRAMoE"/);
  });

  it.skipIf(process.getuid?.() === 0)("says what it may not write or read", async () => {
    mkdirSync(path("locked"), { mode: 0o500 });
    const run = await moec(["build", "loramoe.moe", "-o", "locked/out"], { cwd });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/error\[MOE5108\].*permission denied/);
    writeFileSync(path("secret.moe"), tinySpec);
    chmodSync(path("secret.moe"), 0);
    expect((await moec(["check", "secret.moe"], { cwd })).stderr).toMatch(/error\[MOE5102\].*permission denied/);
  });
});

describe("eval and generate on what is no adapter", () => {
  it.each<[string, () => void, RegExp]>([
    ["an empty folder", () => mkdirSync(path("a0")), /MOE5316.*no run\.json/],
    ["a run.json that is no JSON", () => put("a1", "{"), /MOE51\d\d|MOE5317/],
    ["a run.json of something else", () => put("a2", "[]"), /MOE5317/],
    ["a run.json that points outside", () => put("a3", JSON.stringify({ format: "moec-spec/1", spec: "../../loramoe.moe", adapter: "LoRAMoE", base: "../models/tiny" })), /MOE5317/],
    ["a run.json without its spec", () => put("a4", JSON.stringify({ format: "moec-spec/1", spec: "x.moe", adapter: "LoRAMoE", base: "../models/tiny" })), /MOE5101.*a4\/spec\/x\.moe/],
  ])("%s", async (_, make, message) => {
    make();
    const name = readdirSync(cwd).filter((n) => /^a\d$/.test(n)).sort().at(-1)!;
    const run = await moec(["eval", name, "--data", "data/train.jsonl", "--backend", "wasm"], { cwd });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(message);
  });

  function put(name: string, text: string): void {
    mkdirSync(path(name));
    writeFileSync(path(`${name}/run.json`), text);
  }
});

describe("a machine reads", () => {
  it("one JSON value on stdout and one on stderr, whatever happens", async () => {
    for (const args of [["build", "absent.moe", "-o", "x"], ["train", "absent.moe"], ["eval", "absent", "--data", "x"], ["generate", "absent", "x"], ["verify", "absent.moe", "--tensors", "x"], ["explain", "MOE0"]]) {
      const run = await moec([...args, "--json"], { cwd });
      expect(run).toMatchObject({ code: 1, stdout: "" });
      expect(JSON.parse(run.stderr)).toMatchObject({ version: 1, errors: 1 });
    }
  });
});
