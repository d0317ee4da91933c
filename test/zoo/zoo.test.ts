import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { library } from "../../src/cli/library.ts";
import { checkText, chooseAdapter, compileAdapter, fromSpec, printProgram, printTypes, type Compiled } from "../../src/compiler/index.ts";
import { format } from "../../src/format/index.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import type { BackendName } from "../../src/formats/backends.ts";
import { identityOf, type RunIdentity } from "../../src/runtime/identity.ts";
import { Adapter, startBackend, type Backend, type Row } from "../../src/runtime/index.ts";
import type { CompiledProgram } from "../../src/runtime/program.ts";
import { clean, compilers, complaints, loadText, runtimePath, scratch, withModels } from "../codegen/run.ts";
import { fastTestBackends } from "../support/backends.ts";

const host = new NodeHost();

/** Every example, those beside the zoo too. */
const files = ["examples", "examples/zoo"].flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".moe"))
    .sort()
    .map((name) => `${folder}/${name}`),
);

/** The example's text, but for the size of a step: what is tried here is whether it trains, not how well. */
function small(file: string): string {
  const text = readFileSync(file, "utf8");
  const made = text.replace(/\bbatch 16\b/, "batch 8");
  expect(made).not.toBe(text);
  return made;
}

/** Checks and compiles an example; each once for all tests. */
const compiled = new Map<string, Promise<{ readonly compiled: Compiled; readonly base: string; readonly data: string }>>();
function compile(file: string): ReturnType<typeof make> {
  let known = compiled.get(file);
  if (!known) compiled.set(file, (known = make(file)));
  return known;
}

/** An example on a backend, its code laid out for another. */
async function loaded(file: string, backend: Backend, madeFor: BackendName): Promise<Adapter> {
  const program = await checkText(host, file, small(file), { library: library() });
  const adapter = chooseAdapter(program, undefined);
  const compiled = await compileAdapter(program, adapter, madeFor);
  const text = await printProgram(compiled, { types: false, format: false, runtimeImport: runtimePath });
  expect(text).toContain(`laid out for ${madeFor}.`);
  const code = withModels((await loadText(text))[compiled.exportName] as unknown as CompiledProgram, compiled);
  return Adapter.load(code, { base: resolve(program.basePath(adapter)), backend });
}

async function make(file: string): Promise<{ readonly compiled: Compiled; readonly base: string; readonly data: string }> {
  const program = await checkText(host, file, small(file), { library: library() });
  // Not even a warning: an example shows how it is done.
  expect(program.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([]);
  const adapter = chooseAdapter(program, undefined);
  return { compiled: await compileAdapter(program, adapter), base: program.basePath(adapter), data: fromSpec(file, adapter.train.data!) };
}

describe("the examples", () => {
  it("each says in a doc comment what it is", () => {
    for (const file of files) expect(readFileSync(file, "utf8"), file).toMatch(/^\/\/\/ \S/);
  });

  it("each is laid out as the formatter does it", () => {
    for (const file of files) expect(format(readFileSync(file, "utf8"), file).text).toBe(readFileSync(file, "utf8"));
  });

  it("each has its line in the index, and the index names no other", () => {
    const named = [...readFileSync("examples/README.md", "utf8").matchAll(/\]\(((?:zoo\/)?[\w-]+\.moe)\)/g)].map((m) => `examples/${m[1]!}`);
    expect([...named].sort()).toEqual([...files].sort());
  });
});

describe("what is built of the examples", () => {
  afterAll(clean);

  it.each(compilers.slice(1))("type-checks under %s, all of them in one run", async (_, command) => {
    const folder = scratch("zoo");
    mkdirSync(folder, { recursive: true });
    const written: string[] = [];
    for (const file of files) {
      const { compiled } = await compile(file);
      const name = file.replace("examples/", "").replaceAll("/", "-");
      writeFileSync(join(folder, `${name}.ts`), await printProgram(compiled, { types: true, format: false, runtimeImport: runtimePath }));
      writeFileSync(join(folder, name.replace(/\.moe$/, ".d.moe.ts")), printTypes(compiled));
      written.push(`${name}.ts`);
    }
    expect(complaints(command, folder, written)).toBe("");
  }, 180_000);
});

describe.each(fastTestBackends)("ten steps of each example on %s", (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend(name);
  });
  afterAll(async () => backend.dispose());

  it("code laid out for any backend computes the same run", async () => {
    const file = "examples/loramoe.moe";
    const layouts = new Map<BackendName, { readonly numbers: readonly number[]; readonly copies: number; readonly identity: RunIdentity }>();
    for (const madeFor of ["wasm", "tfjs-node", "tfjs-node-gpu", "onnx"] as const) {
      const adapter = await loaded(file, backend, madeFor);
      const numbers: number[] = [];
      const rows = [1, 2, 3, 4, 5, 6, 7, 8].map((n): Row => ({ prompt: `The number after ${n} is`, completion: ` ${n + 1}`, kind: "downstream" }));
      for await (const step of adapter.train({ data: rows, steps: 3 })) numbers.push(step.loss, step.balance, step.gradientNorm);
      const { manifest } = adapter;
      layouts.set(madeFor, { numbers, copies: manifest.weights.filter((w) => w.layoutOf !== undefined).length, identity: await identityOf(manifest, [], { seed: 1, steps: 3 }) });
      adapter.dispose();
    }
    const plain = layouts.get("wasm")!;
    for (const [madeFor, { numbers, identity }] of layouts) {
      numbers.forEach((n, i) => expect(Math.abs(n - plain.numbers[i]!), madeFor).toBeLessThan(1e-4 * Math.abs(plain.numbers[i]!)));
      // So a run may go on with code for another backend.
      expect(identity).toEqual(plain.identity);
    }
    expect([...layouts.values()].map((l) => l.copies)).toEqual([8, 8, 0, 0]);
  });

  it.each(files)("%s: on eight rows, seen in each step, the loss falls, and nothing is left on the device", async (file) => {
    const { compiled, base, data } = await compile(file);
    const text = await printProgram(compiled, { types: false, format: false, runtimeImport: runtimePath });
    const code = withModels((await loadText(text))[compiled.exportName] as unknown as CompiledProgram, compiled);
    const empty = backend.memory().tensors;
    const adapter = await Adapter.load(code, { base: resolve(base), backend });
    try {
      const placed = backend.memory().tensors;
      // Facts the base knows already; tasks it has never seen.
      const rows = readFileSync(data, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as Row).filter((row) => !String(row["id"]).startsWith("fact")).slice(0, 8);
      const losses: number[] = [];
      for await (const step of adapter.train({ data: rows, steps: 10 })) {
        expect(Number.isFinite(step.total) && Number.isFinite(step.gradientNorm)).toBe(true);
        expect(step.gradientNorm).toBeGreaterThan(0);
        losses.push(step.loss);
      }
      expect(losses).toHaveLength(10);
      expect(losses[9]!).toBeLessThan(0.99 * losses[0]!);
      // Training has laid frozen matrices out for its gradients; the adapter holds them.
      const layouts = compiled.manifest.weights.reduce((n, w) => n + (w.training ? (w.count ?? 1) : 0), 0);
      expect(backend.memory().tensors).toBe(placed + layouts);
    } finally {
      adapter.dispose();
    }
    // The backend is ours and goes on: what the adapter placed is gone.
    expect(backend.memory().tensors).toBe(empty);
  });
});
