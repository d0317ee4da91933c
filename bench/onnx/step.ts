/**
 * A whole training step of a spec's model (gradients of one micro-batch, then the update) on ONNX Runtime beside wasm. What
 * training changes goes in and comes out in every step; sizes are fixed, so this is one batch that is trained on again.
 */
import { chooseAdapter, compileAdapter, printProgram } from "../../src/compiler/index.ts";
import { library } from "../../src/cli/library.ts";
import { readProgram } from "../../src/cli/input.ts";
import { runText } from "../../src/cli/load.ts";
import { bindingName, interpretEntry, tensorOf, type Arg, type Binding, type EntryInputs, type Module, type Tensor, type Type } from "../../src/ir/index.ts";
import { evaluateSize } from "../../src/ir/size.ts";
import { Adapter, disposeStore, layOutForTraining, randomNormal, randomUniform, startBackend, tensorsOf, type CompiledProgram, type Model, type WeightStore } from "../../src/runtime/index.ts";
import { disposeBatch, upload } from "../../src/runtime/batch.ts";
import type { Batch } from "../../src/runtime/data/batches.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { changingStore, zerosLike } from "../../src/runtime/store.ts";
import { interleave, machine, type Measured, type Side } from "../measure.ts";
import { difference, onnxEntry, type Numbers, type OnnxEntry } from "./entry.ts";
import { resultsOf, type Feeds, type Ort } from "./runtime.ts";

export interface OnnxStep {
  readonly spec: string;
  readonly samples: number;
  readonly positions: number;
  readonly machine: ReturnType<typeof machine>;
  /** Greatest relative difference of a gradient from the float64 interpreter's, for a small batch. */
  readonly error: number;
  readonly modelBytes: number;
  /** Nodes of both graphs by kind: the operations that a target must have. */
  readonly nodes: Readonly<Record<string, number>>;
  readonly sessionMs: number;
  /** The loss after all rounds, on wasm and on ONNX Runtime: both have trained as long. */
  readonly losses: readonly [number, number];
  readonly sides: readonly Measured[];
}

const host = { seed: 3, draw: 5, lossScale: 1 / 256, balanceScale: 1, step: 5, steps: 300 };

/** A batch of whole rows: what the model makes of its tokens does not matter here, only that all sides have the same. */
function batchOf(samples: number, positions: number, vocabulary: number, kinds: number): Batch {
  const ids = (shift: number): Int32Array => Int32Array.from({ length: samples * positions }, (_, i) => ((i + shift) * 7919) % vocabulary);
  const late = Float32Array.from({ length: samples * positions }, (_, i) => Number(i % positions >= positions / 2));
  return {
    samples, positions, tokens: ids(0), targets: ids(1), lossMask: late, mask: new Float32Array(samples * positions).fill(1), prompt: late.map((l) => 1 - l),
    kinds: Int32Array.from({ length: samples }, (_, i) => i % Math.max(1, kinds)), fields: {}, counted: (samples * positions) / 2,
  } as Batch;
}

/** What bindings stand for: weights from the model, inputs from the batch and the host. */
function values(module: Module, model: Model, batch: Batch): (binding: Binding) => number | Numbers | readonly Numbers[] {
  const read = new Map<string, readonly Numbers[]>();
  return (binding) => {
    const name = bindingName(binding);
    if (binding.kind === "input") {
      const { kinds, ...named } = batch;
      const found = name === "kind" ? kinds : ({ ...named, ...host } as unknown as Record<string, number | Numbers>)[name];
      if (found === undefined) throw new Error(`no input ${name}`);
      return found;
    }
    const weight = module.weights.find((w) => w.name === name)!;
    const stored = tensorsOf(model.weights[name]!);
    if (!read.has(name)) read.set(name, stored.map((t) => t.dataSync().slice() as Numbers));
    const data = read.get(name)!;
    // Moments and gradients start from nothing, each with arrays of its own.
    const own = binding.kind === "weight" ? data : data.map((d) => new Float32Array(d.length));
    return weight.type.kind === "list" ? own : own[0]!;
  };
}

/** The gradients of ONNX Runtime against the interpreter's, for a batch that it can do. */
async function check(ort: Ort, module: Module, model: Model): Promise<number> {
  const batch = batchOf(2, 6, model.manifest.base.vocabulary, model.manifest.kinds.length);
  const sizes = { sample: 2, position: 6 };
  const value = values(module, model, batch);
  const fn = module.functions.get("gradients")!;
  const entry = module.entries.get("gradients")!;
  const inputs: Record<string, Record<string, Arg>> = {};
  entry.params.forEach((binding, i) => {
    const one = (type: Type, data: number | Numbers): Arg => {
      if (type.kind !== "tensor") return data as number;
      return tensorOf(Object.fromEntries(type.axes.map((a) => [a.name, evaluateSize(a.size, sizes)])), data as Numbers, type.dtype);
    };
    const { type } = fn.params[i]!;
    const given = value(binding);
    const arg = type.kind === "list" ? (given as readonly Numbers[]).map((d) => one(type.of, d) as Tensor) : one(type, given as number | Numbers);
    (inputs[binding.kind] ??= {})[bindingName(binding)] = arg;
  });
  const want = interpretEntry(module, "gradients", inputs as EntryInputs, { sizes, random: { uniform: randomUniform, normal: randomNormal } });
  const made = await onnxEntry(ort, module, "gradients", { sizes, threads: 1, value });
  const got = await made.run();
  const pairs = entry.results.flatMap((binding, i) => {
    const found = want[binding.kind][bindingName(binding)]!;
    return (Array.isArray(found) ? (found as readonly Tensor[]) : [found as Tensor]).map((t, at) => [got[made.outputs[i]![at]!]!.data, t.data] as const);
  });
  await made.session.release();
  return difference(pairs.map((p) => p[0]), pairs.map((p) => p[1]));
}

/** The inputs of an entry that are a binding's. */
function inputsOf(module: Module, name: string, made: OnnxEntry, kind: Binding["kind"]): ReadonlyMap<string, readonly string[]> {
  return new Map(module.entries.get(name)!.params.flatMap((b, i) => (b.kind === kind ? [[bindingName(b), made.inputs[i]!] as const] : [])));
}

function outputsOf(module: Module, name: string, made: OnnxEntry, kind: Binding["kind"]): ReadonlyMap<string, readonly string[]> {
  return new Map(module.entries.get(name)!.results.flatMap((b, i) => (b.kind === kind ? [[bindingName(b), made.outputs[i]!] as const] : [])));
}

/** One step on ONNX Runtime: results of one run are the inputs of the next, without a copy. */
async function onnxSide(ort: Ort, module: Module, model: Model, batch: Batch, threads: number) {
  const sizes = { sample: batch.samples, position: batch.positions };
  const value = values(module, model, batch);
  const gradients = await onnxEntry(ort, module, "gradients", { sizes, threads, value });
  const update = await onnxEntry(ort, module, "update", { sizes, threads, value });
  const into = resultsOf(ort, gradients.session);
  // The update may not write where it reads: two sets of results take turns.
  const turns = [resultsOf(ort, update.session), resultsOf(ort, update.session)];
  const links = (to: OnnxEntry, name: string, kind: Binding["kind"], from: ReadonlyMap<string, readonly string[]>): (readonly [string, string])[] =>
    [...inputsOf(module, name, to, kind)].flatMap(([weight, inputs]) => inputs.flatMap((input, at) => (from.has(weight) ? [[input, from.get(weight)![at]!] as const] : [])));
  const gradientLinks = links(update, "update", "gradient", outputsOf(module, "gradients", gradients, "gradient"));
  const stateLinks = (["weight", "moment1", "moment2"] as const).flatMap((kind) => links(update, "update", kind, outputsOf(module, "update", update, kind)));
  const weightLinks = links(gradients, "gradients", "weight", outputsOf(module, "update", update, "weight"));
  let turn = 0;
  const run = async (): Promise<Feeds> => {
    const made = await gradients.run(into);
    for (const [input, output] of gradientLinks) update.feeds[input] = into[output]!;
    const results = turns[turn++ % 2]!;
    await update.run(results);
    for (const [input, output] of stateLinks) update.feeds[input] = results[output]!;
    for (const [input, output] of weightLinks) gradients.feeds[input] = results[output]!;
    return made;
  };
  return { run, gradients, update };
}

export async function benchOnnxStep(ort: Ort, spec: string, samples: number, positions: number, rounds: number): Promise<OnnxStep> {
  const program = await readProgram(new NodeHost(), spec, { library: library() });
  const chosen = chooseAdapter(program, undefined);
  const compiled = await compileAdapter(program, chosen);
  const { module } = compiled;
  const code = runText(await printProgram(compiled, { types: false, format: false, form: "function" }))[compiled.exportName] as CompiledProgram;
  const backend = await startBackend("wasm");
  const { tf } = backend;
  const { model } = await Adapter.load(code, { base: program.basePath(chosen), backend });
  layOutForTraining(model);
  const error = await check(ort, module, model);
  const batch = batchOf(samples, positions, model.manifest.base.vocabulary, model.manifest.kinds.length);

  const [one, two] = [await onnxSide(ort, module, model, batch, 1), await onnxSide(ort, module, model, batch, 2)];
  let moments: readonly [WeightStore, WeightStore] = [zerosLike(model.manifest, backend), zerosLike(model.manifest, backend)];
  let weights = model.weights;
  const losses: [number, number] = [0, 0];
  const wasm: Side = {
    name: "wasm",
    run: async () => {
      const input = upload(tf, batch);
      const made = model.entries.gradients(weights, input, host);
      const updated = model.entries.update(changingStore(model.manifest, weights), made.gradients, ...moments, host);
      losses[0] = (await backend.read(made.loss))[0]!;
      await backend.read(updated.norm);
      for (const store of [changingStore(model.manifest, weights), ...moments, made.gradients]) disposeStore(store);
      for (const t of [made.loss, made.balance, made.usage, updated.lr, updated.norm]) t.dispose();
      disposeBatch(input);
      weights = { ...weights, ...updated.weights };
      moments = [updated.moment1, updated.moment2];
    },
  };
  const loss = module.entries.get("gradients")!.results.findIndex((r) => r.kind === "output" && r.name === "loss");
  const onnx = (name: string, { run, gradients }: typeof one): Side => ({ name, run: async () => void (losses[1] = (await run())[gradients.outputs[loss]![0]!]!.data[0]!) });
  const sides = await interleave([wasm, onnx("ONNX Runtime, 1 thread", one), onnx("ONNX Runtime, 2 threads", two)], rounds);
  const nodes: Record<string, number> = {};
  for (const { counts } of [one.gradients, one.update]) for (const [kind, n] of counts) nodes[kind] = (nodes[kind] ?? 0) + n;
  return { spec, samples, positions, machine: machine(), error, modelBytes: one.gradients.bytes.length + one.update.bytes.length, nodes, sessionMs: one.gradients.sessionMs + one.update.sessionMs, losses, sides };
}
