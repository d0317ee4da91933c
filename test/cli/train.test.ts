import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { execute, moec, project, type Run } from "./support.ts";
import { cli } from "../support/dist.ts";
import { tinySpec } from "../support/tiny-checkpoint.ts";

const { folder: cwd, path } = project();
const wasm = ["--backend", "wasm"];
const weights = (folder: string): Buffer => readFileSync(path(`${folder}/adapter_model.safetensors`));
const steps = (folder: string): number[] => readFileSync(path(`${folder}/metrics.jsonl`), "utf8").trim().split("\n").map((l) => (JSON.parse(l) as { step: number }).step);

/** A run that nothing disturbed: 60 steps, dropout on. */
const unbroken = "out/unbroken";
const long = ["--steps", "60", "--checkpoint-every", "2", ...wasm];

beforeAll(async () => {
  const run = await moec(["train", "loramoe.moe", ...long, "--out", unbroken], { cwd });
  expect(run.code).toBe(0);
}, 60_000);

describe("train", () => {
  it("leaves an adapter, its spec and its metrics, and says where", async () => {
    const run = await moec(["train", "loramoe.moe", ...wasm], { cwd });
    expect(run).toMatchObject({ code: 0, stdout: "out/LoRAMoE\n" });
    expect(readdirSync(path("out/LoRAMoE")).sort()).toEqual(["adapter_model.safetensors", "checkpoint", "metrics.jsonl", "moec.json", "run.json", "spec"]);
    expect(steps("out/LoRAMoE")).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(run.stderr).toMatch(/^step 1\/8 {2}loss \d+\.\d+ {2}balance \d+\.\d+ {2}\d+ tokens\/s {2}\d+ s left$/m);
    expect(run.stderr).toMatch(/^step 8\/8 .* 0 s left$/m);
    expect(run.stderr).not.toContain("\x1b");
  });

  it("tells a machine the end of it", async () => {
    const run = await moec(["train", "loramoe.moe", "--steps", "2", "--out", "out/json", "--json", ...wasm], { cwd });
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(run.stdout)).toMatchObject({ out: "out/json", step: 2, steps: 2, stopped: "finished", last: { step: 2, utilization: { knowledge: expect.any(Number) as number } } });
  });

  it("is the same for a seed, and another for another", async () => {
    for (const [out, seed] of [["s5", "5"], ["t5", "5"], ["s6", "6"]] as const) await moec(["train", "loramoe.moe", "--steps", "2", "--seed", seed, "--out", `out/${out}`, ...wasm], { cwd });
    expect(weights("out/s5").equals(weights("out/t5"))).toBe(true);
    expect(weights("out/s5").equals(weights("out/s6"))).toBe(false);
  });

  it("shows a warning once", async () => {
    // A prompt that must be shortened.
    writeFileSync(path("data/long.jsonl"), JSON.stringify({ prompt: "word ".repeat(60), completion: " end", kind: "downstream" }) + "\n");
    const run = await moec(["train", "loramoe.moe", "--data", "data/long.jsonl", "--steps", "1", "--out", "out/warned", ...wasm], { cwd });
    expect(run.code).toBe(0);
    expect(run.stderr.match(/^warning\[|^info\[/gm)).toHaveLength(1);
  });

  it.each<[string, string[], RegExp]>([
    ["data that are not there", ["--data", "data/none.jsonl"], /error\[MOE5101\]: data\/none\.jsonl/],
    ["data that are no rows", ["--data", "models/tiny/model.safetensors"], /error\[MOE51/],
    ["data that are a folder", ["--data", "data"], /error\[MOE5102\]/],
    ["a place that is a file", ["--out", "loramoe.moe"], /error\[MOE5108\]: loramoe\.moe is a file/],
    ["a base that is none", ["--base", "data"], /error\[MOE51/],
    ["an adapter that is none", ["--adapter", "Lora"], /error\[MOE9003\]/],
    ["a param that is none", ["--set", "rank=4"], /error\[MOE9002\]/],
    ["nothing to resume", ["--resume", "out/none"], /error\[MOE5322\]/],
  ])("refuses %s and leaves nothing behind", async (_, args, message) => {
    const before = readdirSync(path("out")).sort();
    const run = await moec(["train", "loramoe.moe", ...(args[0] === "--out" || args[0] === "--resume" ? [] : ["--out", "out/refused"]), ...args, ...wasm], { cwd });
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(message);
    expect(readdirSync(path("out")).sort()).toEqual(before);
  });
});

/** Trains, and sends a signal when so many steps have been written down. */
function interrupted(args: readonly string[], out: string, signal: NodeJS.Signals, atStep: number): Promise<Run> {
  let timer: NodeJS.Timeout | undefined;
  return moec(["train", ...args], {
    cwd,
    watch: (child, said) => {
      if (!said.includes("step ")) return;
      timer ??= setInterval(() => {
        if (done(out) < atStep && child.exitCode === null && child.signalCode === null) return;
        clearInterval(timer);
        child.kill(signal);
      }, 1);
    },
  });
}

function done(out: string): number {
  try {
    return readFileSync(path(`${out}/metrics.jsonl`), "utf8").split("\n").length - 1;
  } catch {
    return 0;
  }
}

describe("a run that stops", () => {
  it.each(["SIGINT", "SIGTERM"] as const)("on %s ends after its step, says how to go on, and goes on to the very same adapter", async (signal) => {
    const out = `out/${signal} 1`;
    const stopped = await interrupted(["loramoe.moe", ...long, "--out", out], out, signal, 3);
    expect(stopped.code).toBe(signal === "SIGINT" ? 130 : 143);
    expect(stopped.stdout).toBe("");
    const [, step, command] = /stopped after step (\d+) of 60; go on with:\n {2}(moec .*)\n/.exec(stopped.stderr)!;
    expect(command).toBe(`moec train loramoe.moe --resume '${out}' --backend wasm`);
    expect(existsSync(path(`${out}/adapter_model.safetensors`))).toBe(false);
    expect((await moec(["eval", out, "--data", "data/train.jsonl", ...wasm], { cwd })).stderr).toMatch(/error\[MOE5316\]/);

    // To begin anew there would throw the run away.
    const anew = await moec(["train", "loramoe.moe", "--out", out, ...wasm], { cwd });
    expect(anew.code).toBe(1);
    expect(anew.stderr).toMatch(new RegExp(`error\\[MOE9005\\].*after step ${step} of 60`));

    // The line is for a shell.
    const resumed = await execute("/bin/sh", ["-c", `moec() { "${process.execPath}" "${cli}" "$@"; }; ${command}`], { cwd });
    expect(resumed).toMatchObject({ code: 0, stdout: `${out}\n` });
    expect(weights(out).equals(weights(unbroken))).toBe(true);
    expect(steps(out)).toEqual(steps(unbroken));
  });

  it("on a second Ctrl-C ends at once", async () => {
    let sent = 0;
    const run = await moec(["train", "loramoe.moe", ...long, "--steps", "100000", "--out", "out/twice"], {
      cwd,
      watch: (child, said) => {
        if (sent === 0 && said.includes("step 1/")) child.kill("SIGINT"), sent++;
        else if (sent === 1 && said.includes("stopping after")) child.kill("SIGINT"), sent++;
      },
    });
    expect(run.code).toBe(130);
  });

  it("killed at any moment can be resumed to the very same adapter", async () => {
    const out = "out/killed";
    let next = ["--out", out];
    for (const after of [1, 9, 14, 23, 31]) {
      const killed = await interrupted(["loramoe.moe", ...long, ...next], out, "SIGKILL", after);
      expect(killed.code).toBe("SIGKILL");
      // Before the first checkpoint there is nothing to go on with, and the run begins anew.
      next = existsSync(path(`${out}/checkpoint/state.json`)) ? ["--resume", out] : ["--out", out];
    }
    expect(next[0]).toBe("--resume");
    expect((await moec(["train", "loramoe.moe", ...long, ...next], { cwd })).code).toBe(0);
    expect(weights(out).equals(weights(unbroken))).toBe(true);
    expect(steps(out)).toEqual(steps(unbroken));
    expect(readdirSync(path(`${out}/checkpoint`)).sort()).toEqual(["moments-60.safetensors", "state.json", "weights-60.safetensors"]);
  });

  it("is not resumed as another run", async () => {
    const out = "out/other";
    await interrupted(["loramoe.moe", ...long, "--out", out], out, "SIGINT", 2);
    const state = readFileSync(path(`${out}/checkpoint/state.json`));
    writeFileSync(path("other.moe"), tinySpec.replace("delta: 0.1", "delta: 0.2"));
    for (const [args, what] of [
      [["other.moe"], /the spec's text has changed/],
      [["loramoe.moe", "--seed", "4"], /seed was 3, now it is 4/],
      [["loramoe.moe", "--steps", "61"], /steps was 60, now it is 61/],
      [["loramoe.moe", "--data", "data/long.jsonl"], /the data had 12 examples, now it has/],
    ] as const) {
      const run = await moec(["train", ...args, "--resume", out, ...wasm], { cwd });
      expect(run.code).toBe(1);
      expect(run.stderr).toMatch(/error\[MOE5320\]/);
      expect(run.stderr).toMatch(what);
      expect(readFileSync(path(`${out}/checkpoint/state.json`)).equals(state)).toBe(true);
    }
    const anew = await moec(["train", "other.moe", "--out", out, "--restart", "--steps", "1", ...wasm], { cwd });
    expect(anew.code).toBe(0);
  });
});

describe("eval and generate", () => {
  it("report by kind and by group", async () => {
    const run = await moec(["eval", unbroken, "--data", "data/train.jsonl", ...wasm], { cwd });
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/^kind +rows +loss +exact\nworld_knowledge +6 +\d\.\d{3} +[\d.]+ %\ndownstream +6 /);
    expect(run.stdout).toMatch(/share of the gates +knowledge +skill\nworld_knowledge +[\d.]+ % +[\d.]+ %\n/);
    const json = JSON.parse((await moec(["eval", unbroken, "--data", "data/train.jsonl", "--json", ...wasm], { cwd })).stdout) as { overall: { samples: number; loss: number }; utilization: Record<string, number> };
    expect(json.overall.samples).toBe(12);
    expect(json.utilization["knowledge"]! + json.utilization["skill"]!).toBeCloseTo(1, 5);
    // The untrained adapter is the base.
    const base = JSON.parse((await moec(["eval", "loramoe.moe", "--data", "data/train.jsonl", "--json", ...wasm], { cwd })).stdout) as typeof json;
    expect(json.overall.loss).toBeLessThan(0.8 * base.overall.loss);
  });

  it("find a base that no longer lies where it did with --base", async () => {
    cpSync(path(unbroken), path("moved/far/away"), { recursive: true });
    const lost = await moec(["eval", "moved/far/away", "--data", "data/train.jsonl", ...wasm], { cwd });
    expect(lost.code).toBe(1);
    expect(lost.stderr).toMatch(/error\[MOE51\d\d\].*models\/tiny/);
    const found = await moec(["eval", "moved/far/away", "--data", "data/train.jsonl", "--base", "models/tiny", ...wasm], { cwd });
    expect(found.code).toBe(0);
    rmSync(path("moved"), { recursive: true });
  });

  it("continues a text, the same each time, from an argument or from standard input", async () => {
    const ask = ["The number after 2 is", "--max-tokens", "4", ...wasm];
    const [one, two, piped, json] = await Promise.all([
      moec(["generate", unbroken, ...ask], { cwd }),
      moec(["generate", unbroken, ...ask], { cwd }),
      moec(["generate", unbroken, "-", ...ask.slice(1)], { cwd, input: ask[0]! }),
      moec(["generate", unbroken, ...ask, "--json"], { cwd }),
    ]);
    expect(one.stdout.startsWith("The number after 2 is")).toBe(true);
    expect(two.stdout).toBe(one.stdout);
    expect(piped.stdout).toBe(one.stdout);
    const { prompt, text } = JSON.parse(json.stdout) as { prompt: string; text: string };
    expect(`${prompt}${text}\n`).toBe(one.stdout);
    const kind = await moec(["generate", unbroken, "x", "--kind", "downstraem", ...wasm], { cwd });
    expect(kind).toMatchObject({ code: 1, stdout: "" });
    expect(kind.stderr).toContain('did you mean "downstream"?');
  });
});

// util-linux's `script` runs a command on a terminal of its own.
const terminal = existsSync("/usr/bin/script");

describe.skipIf(!terminal)("on a terminal", () => {
  const onTerminal = (args: string): Promise<Run> => execute("/usr/bin/script", ["-qec", `stty cols 120; "${process.execPath}" "${cli}" ${args}`, "/dev/null"], { cwd, env: { TERM: "xterm-256color" } });

  it("there is a bar, with colours, and the cursor comes back", async () => {
    const run = await onTerminal("train loramoe.moe --steps 6 --out out/bar --backend wasm");
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/█+░* 6\/6 {2}loss \d\.\d{4} {2}balance 0\.\d{4} {2}\d+ tokens\/s {2}0 s left/);
    expect(run.stdout.lastIndexOf("\x1b[?25h")).toBeGreaterThan(run.stdout.lastIndexOf("\x1b[?25l"));
    expect(run.stdout).toContain("\x1b[32mdone");
  });
});
