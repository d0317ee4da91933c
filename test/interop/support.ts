import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect } from "vitest";
import { library } from "../../src/cli/library.ts";
import { chooseAdapter, compileAdapter, loadProgram, printProgram } from "../../src/compiler/index.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { Adapter, type BackendName } from "../../src/runtime/index.ts";
import type { CompiledProgram } from "../../src/runtime/program.ts";
import { loadText, withModels } from "../codegen/run.ts";
import { python } from "../support/require.ts";

/** What logits are compared on. */
const texts = ["The number after 4 is", "Repeat 7: 7 7", "Paris is the capital of France.", "a"];

/** What transformers and PEFT made of the cases. */
export interface Results {
  readonly ids: readonly (readonly number[])[];
  readonly base: readonly (readonly number[])[];
  readonly cases: Readonly<Record<string, { readonly logits: readonly (readonly number[])[]; readonly merged?: readonly (readonly number[])[]; readonly [extra: string]: unknown }>>;
}
/** Runs reference.py on a folder of cases: its doc comment says what a case is. */
export function reference(folder: string, base: string, cases: readonly object[]): Results {
  writeFileSync(join(folder, "cases.json"), JSON.stringify({ base, texts, cases }));
  const done = spawnSync(python, [resolve("test/interop/reference.py"), folder], { encoding: "utf8", env: { ...process.env, HF_HUB_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error" } });
  expect(done.status, done.stderr).toBe(0);
  return JSON.parse(readFileSync(join(folder, "results.json"), "utf8")) as Results;
}

/** Our logits of the texts, a row of [position, vocabulary] each. */
export async function ourLogits(spec: string, backend: BackendName, adapterFolder?: string): Promise<{ ids: number[][]; logits: number[][] }> {
  const program = await loadProgram(new NodeHost(), spec, { library: library() });
  expect(program.diagnostics.filter((d) => d.severity === "error")).toEqual([]);
  const checked = chooseAdapter(program, undefined);
  const compiled = await compileAdapter(program, checked);
  const text = await printProgram(compiled, { types: false, format: false, runtimeImport: "moec/runtime" });
  const code = withModels((await loadText(text))[compiled.exportName] as unknown as CompiledProgram, compiled);
  const adapter = await Adapter.load(code, { base: program.basePath(checked), backend, ...(adapterFolder === undefined ? {} : { adapter: adapterFolder }) });
  const { tf } = adapter.backend;
  const tokenizer = await adapter.tokenizer;
  const all = { ids: [] as number[][], logits: [] as number[][] };
  for (const text of texts) {
    const ids = [...tokenizer.encode(text, { special: true })];
    const shape: [number, number] = [1, ids.length];
    const input = { tokens: tf.tensor2d(ids, shape, "int32"), targets: tf.zeros(shape, "int32"), lossMask: tf.zeros(shape), mask: tf.ones(shape), kind: tf.tensor1d([-1], "int32") };
    const { logits } = await adapter.model.entries.logits(adapter.model.weights, input as never);
    all.ids.push(ids);
    all.logits.push(Array.from(await adapter.backend.read(logits)));
    tf.dispose([logits, ...Object.values(input)]);
  }
  adapter.dispose();
  return all;
}

/** The greatest difference over all texts, positions and pieces. */
export function apart(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number {
  expect(a.map((row) => row.length)).toEqual(b.map((row) => row.length));
  return Math.max(...a.flatMap((row, i) => row.map((x, j) => Math.abs(x - b[i]![j]!))));
}
