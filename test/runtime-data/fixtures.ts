import { readFileSync } from "node:fs";
import { loadTokenizer, type Tokenizer } from "../../src/runtime/data/index.ts";

/** A vocabulary of 340 tokens of the shape that Llama's has: a marked space in front, byte fallback, BOS in front. */
export function fixtureTokenizer(config: Record<string, unknown> = { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" }): Tokenizer {
  return loadTokenizer(readFileSync(new URL("./fixtures/tokenizer.json", import.meta.url), "utf8"), JSON.stringify(config));
}
