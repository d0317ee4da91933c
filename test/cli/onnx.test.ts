import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { available } from "../support/require.ts";
import { moec, project } from "./support.ts";

const hasOnnx = await available("onnx");
const { folder: cwd, path } = project();
const on = ["--backend", "onnx"];

describe.skipIf(!hasOnnx)("on ONNX Runtime", () => {
  it("an adapter is trained in two parts, measured and asked", async () => {
    const train = ["train", "loramoe.moe", "--steps", "6", ...on];
    expect((await moec([...train, "--out", "out/whole"], { cwd })).code).toBe(0);
    // A run that is stopped is one whose checkpoint is of an earlier step.
    const stopped = await moec([...train, "--out", "out/parts", "--checkpoint-every", "2"], {
      cwd,
      watch: (child, said) => {
        if (said.includes("step 2/6") && child.exitCode === null) child.kill("SIGINT");
      },
    });
    if (stopped.code !== 0) expect((await moec(["train", "loramoe.moe", "--resume", "out/parts", ...on], { cwd })).code).toBe(0);
    expect(readFileSync(path("out/parts/adapter_model.safetensors")).equals(readFileSync(path("out/whole/adapter_model.safetensors")))).toBe(true);
    expect((JSON.parse(readFileSync(path("out/whole/moec.json"), "utf8")) as { backend: string }).backend).toBe("onnx");

    const [ours, theirs] = await Promise.all([on, ["--backend", "wasm"]].map(async (backend) => {
      const report = await moec(["eval", "out/whole", "--data", "data/train.jsonl", "--json", ...backend], { cwd });
      const text = await moec(["generate", "out/whole", "The number after 3 is", "--max-tokens", "8", "--json", ...backend], { cwd });
      expect([report.code, text.code], report.stderr + text.stderr).toEqual([0, 0]);
      return { loss: (JSON.parse(report.stdout) as { overall: { loss: number } }).overall.loss, tokens: (JSON.parse(text.stdout) as { tokens: number[] }).tokens };
    }));
    expect(ours!.loss).toBeCloseTo(theirs!.loss, 5);
    expect(ours!.tokens).toEqual(theirs!.tokens);
  }, 120_000);

  it("is what auto takes on a CPU, and doctor says on how many threads", async () => {
    const run = await moec(["doctor", "--json"], { cwd, env: { MOEC_ONNX_THREADS: "2" } });
    const { auto, backends } = JSON.parse(run.stdout) as { auto: string; backends: { name: string; usable: boolean; device?: string }[] };
    expect(backends.find((b) => b.name === "onnx")).toMatchObject({ usable: true, device: "CPU, ONNX Runtime, 2 threads" });
    if (!backends.find((b) => b.name === "tfjs-node-gpu")!.usable) expect(auto).toBe("onnx");
    expect((await moec(["doctor"], { cwd, env: { MOEC_ONNX_THREADS: "two" } })).stderr).toContain("error[MOE5205]: MOEC_ONNX_THREADS is \"two\"");
  }, 120_000);
});
