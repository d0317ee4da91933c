import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { interpretEntry, tensorOf, type Arg, type Tensor } from "../../src/ir/index.ts";
import { compileAdapter, printProgram } from "../../src/compiler/index.ts";
import { saveAdapter, openAdapter, ADAPTER_FILE } from "../../src/runtime/adapter-files.ts";
import { startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import type { Example } from "../../src/runtime/data/examples.ts";
import { evaluateModel } from "../../src/runtime/evaluate.ts";
import { MemoryOutput } from "../../src/runtime/output.ts";
import { entriesOn } from "../../src/runtime/onnx.ts";
import type { CompiledProgram } from "../../src/runtime/program.ts";
import { RunFolder } from "../../src/runtime/run-folder.ts";
import type { Model } from "../../src/runtime/store.ts";
import { trainRun } from "../../src/runtime/train.ts";
import { placeWeights, tensorFileOf } from "../../src/runtime/weights.ts";
import { baseFolder, checkSource, llamaShapes, spec } from "../check/support.ts";
import { loadText, runtimePath, withModels } from "../codegen/run.ts";
import { numbers, tensorsOf } from "../passes/support.ts";
import { collect, disposeModel, snapshot } from "../runtime/support.ts";
import { fastTestBackends } from "../support/backends.ts";
import { element, range, sum } from "./by-hand.ts";
import { gatesIn, part, randomRows, runEntry, whole, type Rows, type Whole } from "./whole.ts";

/** States: what a router keeps from step to step outside the gradient, from the text to the files. */

const rate = 0.01;
const experts = 4;
const text = `${spec(`experts e[${experts}] = lora(rank: 1)\nroute loss_free(1, rate: ${rate})`, "layers.*.mlp.{gate_proj, up_proj}")}\ntrain A {\n  data "train.jsonl"\n  optimizer adamw(lr: 0.01)\n  steps 4  batch 4  accumulate 2  length 16\n}\n`;
const sites = ["gate_proj", "up_proj"].map((linear) => `layers.*.mlp.${linear}.router.bias`);

/** One step as training makes it: gradients of each micro-batch, added up, and the update. The states' next values, by site and layer. */
function step(of: Whole, batches: readonly Rows[]): number[][][] {
  const zeros = (a: Arg): Arg => (Array.isArray(a) ? (a as readonly Tensor[]).map((t) => zeros(t) as Tensor) : { ...(a as Tensor), data: (a as Tensor).data.map(() => 0) });
  const parts = batches.map((b) => runEntry(of, "gradients", b));
  const entry = of.module.entries.get("accumulate")!;
  const added = parts.slice(1).reduce(
    (total, p) => {
      const args = [total, p].flatMap((side) => entry.params.slice(0, entry.params.length / 2).map((binding) => (binding.kind === "statistic" ? side.statistic[`${binding.weight}#${binding.at}`]! : side.gradient[(binding as { weight: string }).weight]!)));
      return interpretPart(of, args);
    },
    { gradient: parts[0]!.gradient, statistic: parts[0]!.statistic },
  );
  const moments = Object.fromEntries(Object.entries(added.gradient).map(([name, g]) => [name, zeros(g)]));
  const out = interpretEntry(of.module, "update", { weight: of.weight, gradient: added.gradient, statistic: added.statistic, moment1: moments, moment2: moments, input: { step: 0, steps: 4 } });
  return sites.map((name) => tensorsOf(out.weight[name]!).map((t) => [...t.data]));
}

/** The entry `accumulate`, whose params name each gradient twice. */
function interpretPart(of: Whole, args: readonly Arg[]): { gradient: Record<string, Arg>; statistic: Record<string, Arg> } {
  const entry = of.module.entries.get("accumulate")!;
  const fn = { ...of.module, entries: new Map([["once", { ...entry, params: entry.params.map((_, i) => ({ kind: "input", name: String(i) }) as const) }]]) };
  const out = interpretEntry(fn, "once", { input: Object.fromEntries(args.map((a, i) => [String(i), a])) });
  return { gradient: out.gradient, statistic: out.statistic };
}

/** How many real tokens of some rows go to each expert, by site and layer: counted on the gates. */
function loads(of: Whole, rows: Rows): number[][][] {
  const gates = gatesIn(of, rows);
  expect(gates).toHaveLength(4);
  // The layers come one after the other, and in each its two sites.
  return [0, 1].map((site) =>
    [0, 1].map((layer) =>
      range(experts).map((expert) => sum(rows.mask.flatMap((row, sample) => row.map((m, position) => m * Number(element(gates[2 * layer + site]!, { sample, position, expert }) > 0))))),
    ),
  );
}

const biases = (of: Whole): number[][][] => sites.map((name) => tensorsOf(of.weight[name]!).map((t) => [...t.data]));

describe("lowering", () => {
  it("gives the statistics with the gradients, and the rest to the update; what is no training has neither", async () => {
    const { module } = await whole(text, numbers(1));
    const kinds = (entry: string, side: "params" | "results"): Set<string> => new Set(module.entries.get(entry)![side].map((b) => b.kind));
    const statistics = sites.map((weight) => ({ kind: "statistic", weight, at: 0 }));
    expect(module.entries.get("gradients")!.results.filter((b) => b.kind === "statistic")).toEqual(statistics);
    expect(module.entries.get("update")!.params.filter((b) => b.kind === "statistic")).toEqual(statistics);
    expect(module.entries.get("advance")!.results).toEqual(sites.map((weight) => ({ kind: "weight", weight })));
    expect(module.entries.get("update")!.results.filter((b) => b.kind === "weight").map((b) => (b as { weight: string }).weight)).toEqual(expect.arrayContaining(sites));
    expect(module.weights.filter((w) => w.state).map((w) => [w.name, w.trainable])).toEqual(sites.map((name) => [name, false]));
    for (const entry of ["logits", "evaluate"]) expect(kinds(entry, "results")).toEqual(new Set(["output"]));
    // A state has no gradient and no moments.
    for (const [entry, side] of [["gradients", "results"], ["update", "params"]] as const)
      for (const b of module.entries.get(entry)![side]) if (b.kind === "gradient" || b.kind === "moment1") expect(sites).not.toContain(b.weight);
  });
});

describe("loss-free balancing: b + rate · sign(mean load - load), once a step", () => {
  it.each([1, 2, 3])("by the loads of every site and layer by itself (seed %d)", async (seed) => {
    const of = await whole(text, numbers(seed));
    const rows = randomRows(3, 5, numbers(10 + seed));
    const next = step(of, [rows]);
    const [before, load] = [biases(of), loads(of, rows)];
    const all = sum(rows.mask.flat());
    load.forEach((layers, site) =>
      layers.forEach((counts, layer) => {
        // k = 1: every real token goes to one expert.
        expect(sum(counts)).toBe(all);
        counts.forEach((n, e) => expect(next[site]![layer]![e]).toBeCloseTo(before[site]![layer]![e]! + rate * Math.sign(all / experts - n), 12));
      }),
    );
    // Nowhere alike: a layer that took another's loads would be seen.
    expect(new Set(load.flat().map((c) => c.join())).size).toBeGreaterThan(2);
  });

  it("is the same for one batch and for its micro-batches, where signs of parts would add up to something else", async () => {
    let apart = 0;
    for (const seed of [1, 2, 3]) {
      const of = await whole(text, numbers(seed));
      const rows = randomRows(4, 5, numbers(20 + seed));
      const micro = [part(rows, 0, 1), part(rows, 1, 2), part(rows, 2, 4)];
      expect(step(of, micro)).toEqual(step(of, [rows]));
      expect(step(of, [part(rows, 0, 3), part(rows, 3, 4)])).toEqual(step(of, [rows]));
      const signs = (r: Rows): number[] => loads(of, r).flat(2).map((n) => Math.sign(sum(r.mask.flat()) / experts - n));
      const once = signs(rows);
      const added = micro.map(signs).reduce((a, b) => a.map((v, i) => v + b[i]!));
      if (added.some((v, i) => v !== once[i])) apart++;
    }
    expect(apart).toBeGreaterThan(0);
  });

  it("goes on from the state that there is: with a great bias on one expert all tokens go there, and it falls", async () => {
    const of = await whole(text, numbers(4));
    const bias = tensorOf({ expert: experts }, [0, 5, 0, 0]);
    const made: Whole = { ...of, weight: { ...of.weight, ...Object.fromEntries(sites.map((s) => [s, [bias, bias]])) } };
    const next = step(made, [randomRows(2, 4, numbers(5))]);
    for (const after of next.flat()) expect(after.map((v) => Math.round(v * 1e9) / 1e9)).toEqual([rate, 5 - rate, rate, rate]);
  });
});

describe.each(fastTestBackends)("states on %s", (name) => {
  let backend: Backend;
  let compiled: CompiledProgram;
  const models: Model[] = [];
  beforeAll(async () => {
    backend = await startBackend(name);
    const program = await checkSource(text);
    const made = await compileAdapter(program, program.checked.adapters[0]!);
    compiled = withModels((await loadText(await printProgram(made, { types: false, format: false, runtimeImport: runtimePath })) as unknown as Record<string, CompiledProgram>)[made.exportName]!, made);
  });
  afterAll(async () => {
    models.forEach(disposeModel);
    await backend.dispose();
  });

  const base = (() => {
    const next = numbers(77);
    return tensorFileOf(baseFolder, Object.entries(llamaShapes()).map(([tensor, shape]) => ({ name: tensor, shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next() - 0.5) })));
  })();
  async function fresh(seed: number, adapter?: Parameters<typeof placeWeights>[0]["adapter"]): Promise<Model> {
    const weights = await placeWeights({ manifest: compiled.manifest, backend, base, seed, ...(adapter ? { adapter } : {}) });
    const model: Model = { manifest: compiled.manifest, entries: entriesOn(backend, compiled), backend, weights };
    models.push(model);
    return model;
  }
  const examples = (() => {
    const next = numbers(8);
    return range(8).map((row): Example => ({ ids: Int32Array.from({ length: 4 + (row % 4) }, () => Math.floor(next() * 32)), completionStart: 2, row }));
  })();
  const states = async (model: Model): Promise<Record<string, number[]>> => Object.fromEntries(Object.entries(await snapshot(model)).filter(([tensor]) => tensor.endsWith(".router.bias")));

  it("start as the text says, move by the rate at most, and evaluation leaves them", async () => {
    const model = await fresh(1);
    const before = await states(model);
    expect(Object.keys(before).sort()).toEqual([0, 1].flatMap((layer) => ["gate_proj", "up_proj"].map((linear) => `layers.${layer}.mlp.${linear}.router.bias`)));
    for (const b of Object.values(before)) expect(b).toEqual([0, 0, 0, 0]);
    await evaluateModel(model, examples);
    expect(await states(model)).toEqual(before);
    await collect(trainRun({ model, examples, steps: 3 }));
    const after = await states(model);
    for (const b of Object.values(after)) {
      expect(b.some((v) => v !== 0)).toBe(true);
      for (const v of b) {
        expect(Math.abs(v / rate - Math.round(v / rate))).toBeLessThan(1e-5);
        expect(Math.abs(v)).toBeLessThan(3.001 * rate);
      }
    }
    expect(new Set(Object.values(after).map((b) => b.join())).size).toBeGreaterThan(1);
    await evaluateModel(model, examples);
    expect(await states(model)).toEqual(after);
  });

  it("lie in a saved adapter, and are there when it is loaded", async () => {
    const model = await fresh(1);
    await collect(trainRun({ model, examples, steps: 3 }));
    const host = new MemoryOutput([]);
    await saveAdapter(host, "out", model);
    const loaded = await fresh(2, await openAdapter(host, "out", model.manifest));
    expect(await states(loaded)).toEqual(await states(model));
    expect(await snapshot(loaded)).toEqual(await snapshot(model));
    const again = new MemoryOutput([]);
    await saveAdapter(again, "out", loaded);
    expect(await again.readFile(`out/${ADAPTER_FILE}`)).toEqual(await host.readFile(`out/${ADAPTER_FILE}`));
    // It routes as the trained one does.
    const score = async (of: Model): Promise<number> => (await evaluateModel(of, examples)).overall.loss;
    expect(await score(loaded)).toBe(await score(model));
  });

  it("a resumed run gives the very bytes of one that was never stopped", async () => {
    const unbroken = await fresh(1);
    await collect(trainRun({ model: unbroken, examples, steps: 6 }));
    const folder = new RunFolder(new MemoryOutput([]), "out");
    const first = await fresh(1);
    const stop = new AbortController();
    for await (const s of trainRun({ model: first, examples, steps: 6, folder, signal: stop.signal })) if (s.step === 3) stop.abort();
    const second = await fresh(123);
    await collect(trainRun({ model: second, examples, folder, resume: true }));
    expect(await states(second)).not.toEqual(await states(first));
    const bytes = async (model: Model): Promise<Uint8Array> => {
      const host = new MemoryOutput([]);
      await saveAdapter(host, "out", model);
      return host.readFile(`out/${ADAPTER_FILE}`);
    };
    expect(await bytes(second)).toEqual(await bytes(unbroken));
  });
});
