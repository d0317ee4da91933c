import { writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { writeTinyGpt2 } from "../support/tiny-checkpoint.ts";
import { moec, project } from "./support.ts";

const { folder, path } = project();

const spec = `base gpt = gpt2("models/gpt2")

adapter Mixture on gpt {
  at h.*.mlp.{c_fc, c_proj} {
    experts knowledge[2] = lora(rank: 2, alpha: 8)
    experts skill[2]     = dora(rank: 2)
    route softmax()
    balance 0.1 * localized() {
      world_knowledge -> knowledge
      downstream      -> skill
    }
  }
}

train Mixture {
  data      "data/train.jsonl"
  optimizer adamw(lr: 2e-2)
  steps 12  batch 4  length 512
}
`;

describe("a mixture on GPT-2, from spec to text", () => {
  beforeAll(() => {
    writeTinyGpt2(path("models/gpt2"));
    writeFileSync(path("mixture.moe"), spec);
  });

  it("trains, and what it was trained on becomes likelier", async () => {
    const run = await moec(["train", "mixture.moe", "--backend", "wasm", "--out", "out", "--json"], { cwd: folder });
    expect(run.code, run.stderr).toBe(0);
    const losses = async (...args: string[]): Promise<number> => {
      const report = await moec(["eval", ...args, "--data", "data/train.jsonl", "--backend", "wasm", "--json"], { cwd: folder });
      expect(report.code, report.stderr).toBe(0);
      return (JSON.parse(report.stdout) as { overall: { loss: number } }).overall.loss;
    };
    expect(await losses("out")).toBeLessThan(0.9 * (await losses("mixture.moe")));
  }, 120_000);

  it("writes no further than its learned positions go", async () => {
    const run = await moec(["generate", "out", "The number after 4 is", "--max-tokens", "200", "--backend", "wasm", "--json"], { cwd: folder });
    expect(run.code, run.stderr).toBe(0);
    expect(JSON.parse(run.stdout)).toMatchObject({ stopped: "context" });
  }, 120_000);
});
