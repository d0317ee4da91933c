import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { crossProduct, nameOf } from "../../src/cli/sweep/combinations.ts";
import { moec, project } from "../cli/support.ts";
import { tinyRows, tinySpec } from "../support/tiny-checkpoint.ts";

describe("combinations", () => {
  it("are the cross product, the last name fastest", () => {
    const sets = crossProduct(new Map([["a", ["1", "2"]], ["b", ["x", "y"]]]), false);
    expect(sets.map(nameOf)).toEqual(["a=1,b=x", "a=1,b=y", "a=2,b=x", "a=2,b=y"]);
  });

  it("are at most 200 unless all are wanted", () => {
    const over = (n: number): Map<string, string[]> => new Map([["a", Array.from({ length: n }, (_, i) => String(i))], ["b", ["x", "y"]]]);
    expect(crossProduct(over(100), false)).toHaveLength(200);
    expect(() => crossProduct(over(101), false)).toThrow(/202 combinations/);
    expect(crossProduct(over(101), true)).toHaveLength(202);
    expect(() => crossProduct(new Map(["a", "b", "c"].map((n) => [n, over(100).get("a")!])), true)).toThrow(/1000000 combinations/);
  });

  it("have names that are one folder's, and distinct", () => {
    const values = ["../../x", "a/b", "a_b", "a%2Fb", ".", "*", 'q"', "x,y=2", "ä"];
    const names = values.map((v) => nameOf(new Map([["p", v]])));
    expect(new Set(names).size).toBe(values.length);
    for (const name of names) expect(name).toMatch(/^p=[^/\\*"<>:|?]*$/);
  });
});

describe("moec sweep", () => {
  const { folder: cwd, path } = project();
  const spec = tinySpec
    .replace("/// Six", "param rank: int = 2 in [1, 2, 4]\nparam k: int = 1\n\n/// Six")
    .replaceAll("lora(rank: 2", "lora(rank: rank")
    .replace("route softmax()", "route top_k(k)")
    .replace('"data/train.jsonl"', '"data/train.jsonl"\n  test "data/test.jsonl"');
  const write = (): void => {
    writeFileSync(path("sweep.moe"), spec);
    writeFileSync(path("data/test.jsonl"), tinyRows);
  };

  it("plans every combination, and says which the checker refuses", async () => {
    write();
    const run = await moec(["sweep", "sweep.moe", "--over", "rank=1,4", "--over", "k=2,7", "--json"], { cwd });
    expect(run.code).toBe(0);
    const report = JSON.parse(run.stdout) as { over: object; combinations: { set: Record<string, string>; trainable?: { parameters: number }; refused?: { code: string }[] }[] };
    expect(report.over).toEqual({ rank: ["1", "4"], k: ["2", "7"] });
    expect(report.combinations.map((c) => c.set)).toEqual([{ rank: "1", k: "2" }, { rank: "1", k: "7" }, { rank: "4", k: "2" }, { rank: "4", k: "7" }]);
    expect(report.combinations.map((c) => c.refused !== undefined)).toEqual([false, true, false, true]);
    // Six experts with [16, r] and [r, 24], and the router, on three linears of two layers.
    const parameters = (r: number): number => 2 * 3 * 6 * r * (16 + 24) + 2 * 6 * (16 + 16 + 24);
    expect(report.combinations[0]!.trainable!.parameters).toBe(parameters(1));
    expect(report.combinations[2]!.trainable!.parameters).toBe(parameters(4));
    const table = await moec(["sweep", "sweep.moe", "--over", "rank=1,4", "--over", "k=2,7"], { cwd });
    expect(table.stdout.split("\n")[0]).toMatch(/^rank  k  trainable +of base/);
    expect(table.stdout).toMatch(/refused:\n {2}rank=1,k=7: MOE\d{4} /);
    expect(table.stderr).toContain("2 of 4 combinations are refused");
    expect(existsSync(path("out"))).toBe(false);
  });

  it.each([
    ["a param that is none", ["--over", "rnk=1,2"], 1, /MOE9002.*--over rnk[\s\S]*did you mean "rank"/],
    ["a value that is not allowed", ["--over", "rank=1,3"], 1, /MOE9002.*--over rank=3: rank is one of 1, 2, 4/],
    ["no values", ["--over", "rank="], 2, /MOE9001/],
    ["a name twice", ["--over", "rank=1", "--over", "rank=2"], 2, /listed twice/],
    ["a name in both", ["--over", "rank=1", "--set", "rank=2"], 2, /by --set and by --over/],
    ["nothing possible", ["--over", "k=7,8"], 1, /k <= experts|at most|experts/],
  ])("refuses %s", async (_, args, code, message) => {
    write();
    const run = await moec(["sweep", "sweep.moe", ...args], { cwd });
    expect(run).toMatchObject({ code, stdout: "" });
    expect(run.stderr).toMatch(message);
  });

  it("trains and tests each; what is finished is not run again, what was stopped goes on", async () => {
    write();
    const args = ["sweep", "sweep.moe", "--over", "rank=1,2", "--train", "--steps", "4", "--backend", "wasm", "-o", "swept", "--json"];
    type Report = { combinations: { outcome?: { steps: number; seconds: number; trainingLoss: number; test: { overall: { loss: number }; byKind: object } } }[] };
    const first = JSON.parse((await moec(args, { cwd })).stdout) as Report;
    expect(first.combinations.map((c) => c.outcome?.steps)).toEqual([4, 4]);
    expect(Object.keys(first.combinations[0]!.outcome!.test.byKind)).toEqual(["world_knowledge", "downstream"]);
    expect(JSON.parse(readFileSync(path("swept/sweep.json"), "utf8"))).toEqual(first);
    const metrics = readFileSync(path("swept/rank=1/metrics.jsonl"), "utf8").trim().split("\n").map((l) => JSON.parse(l) as { loss: number });
    expect(first.combinations[0]!.outcome!.trainingLoss).toBe(metrics.at(-1)!.loss);
    // The same adapter, tested by itself.
    const evaluated = JSON.parse((await moec(["eval", "swept/rank=1", "--data", "data/test.jsonl", "--backend", "wasm", "--json"], { cwd })).stdout) as { overall: { loss: number } };
    expect(evaluated.overall.loss).toBeCloseTo(first.combinations[0]!.outcome!.test.overall.loss, 6);

    // Finished ones are told to the digit, their seconds too; one more is run.
    const second = JSON.parse((await moec(args.map((a) => (a === "rank=1,2" ? "rank=1,2,4" : a)), { cwd })).stdout) as Report;
    expect(second.combinations.slice(0, 2)).toEqual(first.combinations);
    expect(second.combinations[2]!.outcome!.steps).toBe(4);

    const other = await moec(args.map((a) => (a === "4" ? "3" : a)), { cwd });
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("MOE9007");
    expect(other.stderr).toContain("steps differs");
  });

  it("Ctrl-C ends after the step under way; the same command goes on to the same numbers", async () => {
    write();
    const args = (out: string): string[] => ["sweep", "sweep.moe", "--over", "rank=1", "--train", "--steps", "20", "--backend", "wasm", "-o", out];
    let sent = false;
    const stopped = await moec(args("stopped"), {
      cwd,
      watch: (child, said) => {
        if (!sent && said.includes("step 1/20")) sent = child.kill("SIGINT");
      },
    });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toContain("the same command goes on");
    expect(existsSync(join(path("stopped"), "rank=1", "checkpoint", "state.json"))).toBe(true);
    const again = await moec([...args("stopped"), "--json"], { cwd });
    const whole = await moec([...args("whole"), "--json"], { cwd });
    const outcome = (text: string): { trainingLoss: number; test: object } => (JSON.parse(text) as { combinations: { outcome: { trainingLoss: number; test: object } }[] }).combinations[0]!.outcome;
    expect(outcome(again.stdout).trainingLoss).toBe(outcome(whole.stdout).trainingLoss);
    expect(outcome(again.stdout).test).toEqual(outcome(whole.stdout).test);
    rmSync(path("stopped"), { recursive: true });
  });

  it("needs test data before it trains", async () => {
    writeFileSync(path("sweep.moe"), spec.replace('test "data/test.jsonl"', ""));
    const run = await moec(["sweep", "sweep.moe", "--over", "rank=1", "--train", "-o", "none"], { cwd });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/MOE5333[\s\S]*test "data\/test.jsonl"/);
    expect(existsSync(path("none/rank=1"))).toBe(false);
  });
});
