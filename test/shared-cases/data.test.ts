import { rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { project } from "../cli/support.ts";
import { available } from "../support/require.ts";
import { fine, inShared, refused, smallSpec } from "./support.ts";

const hasShared = await available("shared");
const { folder, path } = project();
beforeAll(() => writeFileSync(path("small.moe"), smallSpec));
afterEach(() => rmSync(path("out"), { recursive: true, force: true }));

const train = (name: string, ...more: string[]): string[] => ["train", "small.moe", "--base", "models/tiny", "--data", inShared(`data/bad/${name}.jsonl`), "--backend", "wasm", "--out", "out", ...more];

/** Errors and warnings, as "CODE place", in the order in which they are told. */
const told = (stderr: string): string[] => [...stderr.matchAll(/^(?:error|warning)\[(MOE\d+)\]: \S+?(?:, (line \d+(?:, (?:byte )?column \d+)?(?: \(file offset \d+\))?))?(?:: | is )/gm)].map((m) => [m[1], m[2]].filter(Boolean).join(" "));

/** What the folder's README says a good tool says: places, and words. */
const bad: readonly (readonly [name: string, told: readonly string[], said: readonly RegExp[]])[] = [
  ["01-invalid-json-line-7", ["MOE5130 line 7, column 16"], [/expected "," or "}"/]],
  ["02-missing-completion", ["MOE5131 line 3", "MOE5131 line 8, column 134"], [/missing key "completion"/, /did you mean "completion"\?/]],
  ["03-kind-wrong-type", ["MOE5132 line 4, column 152", "MOE5132 line 6, column 151", "MOE5132 line 9, column 125"], [/found number/, /found array/, /found null/]],
  ["04-unknown-kind", ["MOE5133 line 5, column 101", "MOE5133 line 8, column 148"], [/known are "world_knowledge", "sentiment", "downstream"/, /did you mean "world_knowledge"\?/, /did you mean "sentiment"\?/]],
  ["05-empty", ["MOE5134"], [/0 bytes/, /at least one row/]],
  ["08-latin1-bytes", ["MOE5135 line 6, byte column 57 (file offset 681)"], [/not UTF-8/, /Latin-1/]],
  ["10-truncated-last-line", ["MOE5137 line 10, column 90"], [/inside a string/, /interrupted write/]],
  ["11-duplicate-ids", ["MOE5138 line 5, column 8", "MOE5139 line 9, column 8"], [/same row as line 4/, /already used at line 2, with different content/]],
  ["12-nul-byte", ["MOE5136 line 5, byte column 32 (file offset 537)"], [/NUL byte/, /UTF-16\?/]],
];

describe("faulty data", () => {
  it.skipIf(!hasShared).each(bad)("%s is refused, and nothing is written", async (name, places, said) => {
    const stderr = await refused(folder, train(name));
    expect(told(stderr)).toEqual(places);
    for (const part of said) expect(stderr).toMatch(part);
  });

  it.skipIf(!hasShared).each(["06-utf8-bom", "07-crlf-valid", "09-long-line-5mb"])("%s trains", async (name) => {
    const { stderr } = await fine(folder, train(name));
    expect(stderr).not.toMatch(/error|warning/);
    expect(stderr.length).toBeLessThan(2000);
    // Long prompts lose their beginning, and that is said.
    if (name.startsWith("09")) expect(stderr).toMatch(/info\[MOE5141\].*1 prompt shortened.*line 2/);
    expect(await readdir(path("out"))).toEqual(expect.arrayContaining(["adapter_model.safetensors", "moec.json", "run.json"]));
  });
});
