import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadTokenizer, type Tokenizer } from "../../src/runtime/data/index.ts";
import { hasShared, refusal, shared } from "../formats/shared.ts";
import { fixtureTokenizer } from "./fixtures.ts";

interface Expected {
  readonly encode: readonly (readonly [text: string, ids: readonly number[], decoded: string])[];
  readonly decode: readonly (readonly [ids: readonly number[], decoded: string])[];
}
/** What Hugging Face's Rust tokenizers 0.23.2 make of texts with spaces, accents, CJK, emoji, and of damaged byte runs. */
const expected = JSON.parse(readFileSync(new URL("./fixtures/tokenizer-expected.json", import.meta.url), "utf8")) as Record<"own" | "stories260k", Expected>;
const stories = (): Tokenizer => {
  const read = (name: string): string => readFileSync(`${shared}/models/stories260k/${name}`, "utf8");
  return loadTokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
};

function agrees(tokenizer: Tokenizer, { encode, decode }: Expected): void {
  expect(encode.length + decode.length).toBeGreaterThan(80);
  for (const [text, ids, decoded] of encode) {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(decoded);
  }
  for (const [ids, decoded] of decode) expect(tokenizer.decode(ids)).toBe(decoded);
}

describe("tokenizer", () => {
  it("agrees with the Rust tokenizers on a small vocabulary with byte fallback", () => {
    agrees(fixtureTokenizer(), expected.own);
  });
  it.skipIf(!hasShared)("agrees with the Rust tokenizers on stories260k", () => {
    agrees(stories(), expected.stories260k);
  });
  it.skipIf(!hasShared)("gives the ids that the model's README lists", () => {
    const t = stories();
    expect(t.encode("Once upon a time, there was a little girl named Lily.", { special: true })).toEqual([1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426]);
    expect(t).toMatchObject({ bos: 1, eos: 2, unk: 0, size: 512, prefix: [1] });
    expect(t.pad).toBeUndefined();
  });
  it("takes special tokens from the configuration, as strings or objects", () => {
    expect(fixtureTokenizer({ bos_token: { content: "<s>" }, eos_token: "</s>", pad_token: "<unk>" })).toMatchObject({ bos: 1, eos: 2, pad: 0, unk: 0, prefix: [1] });
    expect(fixtureTokenizer({ bos_token: "<s>", add_bos_token: false }).prefix).toEqual([]);
    expect(fixtureTokenizer({}).eos).toBeUndefined();
    expect(fixtureTokenizer().encode("", { special: true })).toEqual([1]);
  });
  it("leaves special tokens out of a text unless they are asked for", () => {
    const t = fixtureTokenizer();
    const ids = [1, ...t.encode("the capital"), 2];
    expect(t.decode(ids)).toBe("the capital");
    expect(t.decode(ids, { special: true })).toMatch(/^<s>.*<\/s>$/);
    expect(t.decode([])).toBe("");
  });
  it.each([
    ["{", "MOE5105"],
    ["[]", "MOE5150"],
    ["{}", "MOE5150"],
    ['{"model": {}}', "MOE5150"],
    ['{"model": {"type": "BPE"}}', "MOE5150"],
    ['{"model": {"type": "BPE", "vocab": {}, "merges": []}, "normalizer": {"type": "Unknown"}}', "MOE5150"],
    ['{"model": {"type": "WordLevel2", "vocab": 3}}', "MOE5150"],
  ])("refuses %s with a diagnostic", async (text, code) => {
    expect((await refusal(() => loadTokenizer(text))).map((d) => d.code)).toEqual([code]);
  });
  it("refuses a special token that the vocabulary lacks", async () => {
    expect((await refusal(() => fixtureTokenizer({ eos_token: "<|end|>" }))).map((d) => d.code)).toEqual(["MOE5151"]);
  });
});
