import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import { describe, expect, it } from "vitest";

const at = (path: string) => new URL(`../../${path}`, import.meta.url);
const read = (path: string) => readFileSync(at(path), "utf8");

interface Row {
  readonly id: string;
  readonly prompt: string;
  readonly completion: string;
  readonly kind: string;
}
const rows = (name: string): Row[] =>
  read(`examples/data/${name}.jsonl`)
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);
const files = { base: rows("base"), train: rows("train"), test: rows("test") };
const everyRow = Object.values(files).flat();

describe("the examples' files are what their scripts make", () => {
  it.each(["make-data.mjs", "make-tokenizer.mjs"])("%s --check", (script) => {
    execFileSync(process.execPath, [fileURLToPath(at(`scripts/examples/${script}`)), "--check"], { stdio: "pipe" });
  });
});

describe("the examples' data", () => {
  it("has four text fields a row, and completions that bring their separator", () => {
    for (const row of everyRow) {
      expect(Object.keys(row)).toEqual(["id", "prompt", "completion", "kind"]);
      expect(row.prompt).toMatch(/\S$/);
      expect(row.completion).toMatch(/^ \S/);
    }
  });

  it("asks every prompt once, and no test prompt in training", () => {
    for (const file of Object.values(files)) {
      expect(new Set(file.map((row) => row.prompt)).size).toBe(file.length);
      expect(new Set(file.map((row) => row.id)).size).toBe(file.length);
    }
    const trained = new Set([...files.base, ...files.train].map((row) => row.prompt));
    expect(files.test.filter((row) => trained.has(row.prompt))).toEqual([]);
  });

  it("keeps the new tasks from the base, and asks the base only facts it was told another way", () => {
    expect(new Set(files.base.map((row) => row.kind))).toEqual(new Set(["world_knowledge", "reading"]));
    const told = new Set(files.base.map(fact));
    for (const row of [...files.train, ...files.test]) {
      if (row.kind === "world_knowledge") expect(told).toContain(fact(row));
      else expect(row.kind).toBe("downstream");
    }
  });

  it("tests as many facts that the adapter is not trained on as facts that it is", () => {
    const practised = new Set(files.train.map(fact));
    const asked = files.test.filter((row) => row.kind === "world_knowledge").map((row) => practised.has(fact(row)));
    expect(asked.filter((seen) => seen).length).toBe(asked.filter((seen) => !seen).length);
  });

  /** A fact's id without the number of its phrasing. */
  const fact = (row: Row) => row.id.replace(/-\d+$/, "");
});

describe("the example model's tokenizer", () => {
  const config = JSON.parse(read("examples/models/tiny-llama/config.json")) as { vocab_size: number; max_position_embeddings: number };
  const tokenizer = new Tokenizer(
    JSON.parse(read("examples/models/tiny-llama/tokenizer.json")) as object,
    JSON.parse(read("examples/models/tiny-llama/tokenizer_config.json")) as object,
  );
  const odd = ["Ünïcode 日本語 🙂\tnew\nline", "  two  spaces ", "it's 3.14", "\u0000\uffff"];

  it("gives back every text, in ids that the model has", () => {
    for (const text of [...everyRow.map((row) => row.prompt + row.completion), ...odd]) {
      const { ids } = tokenizer.encode(text);
      expect(ids[0]).toBe(1);
      expect(Math.max(...ids)).toBeLessThan(config.vocab_size);
      expect(tokenizer.decode(ids, { skip_special_tokens: true })).toBe(text);
    }
  });

  it("reads a prompt the same with and without its completion, in rows of at most 31 tokens", () => {
    for (const { prompt, completion } of everyRow) {
      const whole = tokenizer.encode(prompt + completion).ids;
      expect(whole.slice(0, tokenizer.encode(prompt).ids.length)).toEqual(tokenizer.encode(prompt).ids);
      expect(whole.length).toBeLessThanOrEqual(31);
    }
  });

  it("reads digits one by one", () => {
    expect(tokenizer.encode("Larger than 1024").tokens.slice(-4)).toEqual(["1", "0", "2", "4"]);
  });
});
