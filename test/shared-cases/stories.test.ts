import { readFileSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { parseJsonl } from "../../src/runtime/data/index.ts";
import { project } from "../cli/support.ts";
import { fastTestBackends } from "../support/backends.ts";
import { available } from "../support/require.ts";
import { fine, inShared } from "./support.ts";

const hasShared = await available("shared");
const { folder, path } = project();
afterEach(() => rmSync(path("out"), { recursive: true, force: true }));

/** The example as it is, on a model and data that it was not written for: nothing changes but paths. */
const example = resolve("examples/loramoe.moe");
const base = ["--base", inShared("models/stories260k")];

describe("stories260k, a Llama that was trained elsewhere", () => {
  it.skipIf(!hasShared).each(fastTestBackends)("continues greedily as its README says, on %s", async (backend) => {
    // The README quotes the text whole, with the prompt.
    const readme = readFileSync(inShared("models/stories260k/README.md"), "utf8");
    const [, quoted] = /Greedy continuation, 60 new tokens[^\n]*\n\n((?:> [^\n]*\n)+)/.exec(readme)!;
    const text = quoted!.split("\n").filter((l) => l !== "").map((l) => l.slice(2)).join("\n");
    const run = await fine(folder, ["generate", example, "Once upon a time", "--max-tokens", "60", "--backend", backend, ...base, "--json"]);
    const result = JSON.parse(run.stdout) as { prompt: string; text: string; tokens: number[] };
    expect(result.tokens).toHaveLength(60);
    expect((result.prompt + result.text).trimEnd()).toBe(text);
  });

  const mapped = /^(countries|loramoe_tiny|arc_easy)/;
  it.skipIf(!hasShared).each(["arc_easy.train", "countries", "loramoe_tiny.train", "sst2.train", "subj.train", "trec.train"])("trains on %s", async (name) => {
    const run = await fine(folder, ["train", example, ...base, "--data", inShared(`data/${name}.jsonl`), "--steps", "5", "--backend", "wasm", "--out", "out", "--json"]);
    const { step, last } = JSON.parse(run.stdout) as { step: number; last: { loss: number; balance: number } };
    expect(step).toBe(5);
    // A text of 512 pieces guessed blindly costs ln 512 = 6.2 nats a piece; what answers a question unseen may cost more.
    expect(last.loss).toBeGreaterThan(0);
    expect(last.loss).toBeLessThan(12);
    expect(last.balance).toBeGreaterThan(0);
    const codes = [...run.stderr.matchAll(/MOE\d{4}/g)].map((m) => m[0]);
    expect(codes.includes("MOE5147"), "one warning where no kind is mapped").toBe(!mapped.test(name));
  });

  it.skipIf(!hasShared).each(["arc_easy.test", "loramoe_tiny.test", "sst2.test", "subj.test", "trec.test"])("would train on %s: its rows are sound, its kinds mapped or told of once", (name) => {
    const { rows, diagnostics } = parseJsonl(readFileSync(inShared(`data/${name}.jsonl`)), name, { knownKinds: ["world_knowledge", "downstream"] });
    expect(rows).toHaveLength(readFileSync(inShared(`data/${name}.jsonl`), "utf8").trimEnd().split("\n").length);
    expect(diagnostics.map((d) => d.code)).toEqual(mapped.test(name) ? [] : ["MOE5147"]);
  });
});
