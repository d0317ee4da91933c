import { writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { project } from "../cli/support.ts";
import { available } from "../support/require.ts";
import { fine, inShared, refused, smallSpec } from "./support.ts";

const hasShared = await available("shared");
const { folder, path } = project();
beforeAll(() => writeFileSync(path("small.moe"), smallSpec));

const check = (name: string, ...more: string[]): string[] => ["check", "small.moe", "--base", inShared(`checkpoints/${name}`), ...more];

/** What the folder's README says a good tool says. */
const faulty: readonly (readonly [name: string, code: string, said: readonly RegExp[]])[] = [
  ["header-length-beyond-file", "MOE5110", [/model\.safetensors/, /\b11001\b/, /\b11000\b/, /download interrupted/]],
  ["header-length-100mb", "MOE5110", [/\b104857600\b/, /\b116\b/, /\b100000000\b/]],
  ["header-not-json", "MOE5111", [/not JSON/, /header byte 69\b/]],
  ["overlapping-offsets", "MOE5113", [/model\.layers\.0\.mlp\.gate_proj\.weight/, /model\.layers\.0\.mlp\.up_proj\.weight/, /5248 to 6784/]],
  ["dtype-size-mismatch", "MOE5115", [/model\.layers\.0\.self_attn\.k_proj\.weight/, /\b512\b/, /\b256\b/, /F16/]],
  ["shape-mismatch-config", "MOE3012", [/model\.layers\.0\.mlp\.down_proj\.weight/, /\[24, 16\]/, /16[^\n]*24/, /transposed/]],
  ["missing-tensor", "MOE3011", [/checkpoints\/missing-tensor has no tensor/, /model\.layers\.0\.self_attn\.k_proj\.weight/]],
  ["index-outside-folder", "MOE5103", [/\.\.\/\.\.\/etc\/passwd/, /leaves the checkpoint folder/, /nothing was opened/]],
];

describe("faulty checkpoints", () => {
  it.skipIf(!hasShared).each(faulty)("%s is refused with %s", async (name, code, said) => {
    const stderr = await refused(folder, check(name));
    expect([...stderr.matchAll(/^error\[(MOE\d+)\]/gm)].map((m) => m[1])).toEqual([code]);
    for (const part of said) expect(stderr).toMatch(part);
  });

  it.skipIf(!hasShared)("extra-tensor: a warning that names it, an error where strict", async () => {
    const { stderr } = await fine(folder, check("extra-tensor"));
    expect(stderr).toMatch(/^warning\[MOE3013\].*model\.layers\.0\.self_attn\.q_norm\.weight/m);
    expect(await refused(folder, check("extra-tensor", "--strict"))).toMatch(/^error\[MOE3013\].*model\.layers\.0\.self_attn\.q_norm\.weight/m);
  });

  it.skipIf(!hasShared)("nan-values: headers are fine; whoever reads the weights is told tensor, count and first index, unless NaN is allowed", async () => {
    await fine(folder, check("nan-values"));
    const base = ["--base", inShared("checkpoints/nan-values"), "--backend", "wasm"];
    writeFileSync(path("rows.jsonl"), '{"prompt": "a", "completion": "b"}\n');
    for (const command of [["train", "small.moe", "--data", "rows.jsonl", "--out", "out"], ["eval", "small.moe", "--data", "rows.jsonl"], ["generate", "small.moe", "a"]]) {
      expect(await refused(folder, [...command, ...base])).toMatch(/^error\[MOE5119\].*"model\.layers\.0\.mlp\.up_proj\.weight" holds 2 NaN.*\[3, 5\]/m);
    }
  });
});

it.skipIf(!hasShared).each(["bf16-valid", "f16-valid", "sharded-valid"])("%s is sound", async (name) => {
  expect((await fine(folder, check(name))).stderr).not.toMatch(/error|warning/);
});
