/**
 * A whole training step of a model that has examples/loramoe.moe's adapter on it, against the base alone: forward and the
 * loss's gradient taken back to the first layer's input, by the same passes and the same printer, with nothing trained.
 *
 *     npm run bench -- step [--backend wasm] [--rounds 5] [--model tiny-llama]
 *
 * The models are examples/models/tiny-llama, with the batch of its spec, and a Llama of 60M parameters with random weights.
 * The base's side is given the embeddings: it has nothing to do before its first layer. moec's is a step as `moec train`
 * runs it: the batch brought to the device, forward with dropout and balance, backward, AdamW, metrics read, and the next
 * batch prepared meanwhile. Tokens are random and rows as long as the batch is wide; no time depends on their values.
 */
import { readFileSync } from "node:fs";
import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { library } from "../src/cli/library.ts";
import { runText } from "../src/cli/load.ts";
import { checkText, chooseAdapter, compileAdapter, printOnnxEntry, printProgram } from "../src/compiler/index.ts";
import { prepareBatch, upload } from "../src/runtime/batch.ts";
import { entriesOn } from "../src/runtime/onnx.ts";
import type { Example } from "../src/runtime/data/examples.ts";
import { NodeHost } from "../src/runtime/files/index.ts";
import { disposeStore, layOutForTraining, openCheckpoint, placeWeights, startBackend, trainRun, type Backend, type BackendName, type Model, type TensorFile } from "../src/runtime/index.ts";
import type { CompiledProgram, WeightStore } from "../src/runtime/program.ts";
import { Costs } from "../src/ir/cost.ts";
import type { Module, Weight } from "../src/ir/graph.ts";
import { compileBase, firstInput } from "./base.ts";
import { interleave, machine, type Measured, type Side } from "./measure.ts";
import { llama60m, parametersOf, randomLlama, writeLlama, type LlamaSizes } from "./models.ts";
import { amount, sideOf, type Row, type Rows } from "./table.ts";

/** What is trained in a race: a checkpoint's folder, its numbers, and the batch. */
export interface Setting {
  readonly name: string;
  readonly base: string;
  readonly tensors: TensorFile;
  readonly samples: number;
  readonly positions: number;
}

export const stepNames = { base: "base, forward and backward", gradients: "moec, forward and backward", step: "moec, whole step" } as const;

export interface StepResult extends Rows {
  readonly device: string;
  readonly machine: ReturnType<typeof machine>;
  readonly models: readonly {
    readonly name: string;
    readonly samples: number;
    readonly positions: number;
    readonly sides: readonly Measured[];
    /** Of moec's whole steps. */
    readonly tokensPerSecond: number;
    /** Loss before the first step: the base's and, with an adapter that adds nothing yet, moec's. */
    readonly losses: readonly [number, number];
    /** How many times the base's floating-point operations moec's forward and backward have, as the graphs tell. */
    readonly operations: number;
    /** Calls of TensorFlow.js's kernels that a run of each side makes. */
    readonly kernels: readonly number[];
  }[];
}

/** The example's spec on another base. */
const spec = "examples/loramoe.moe";

export async function programFor(base: string): ReturnType<typeof checkText> {
  const program = await checkText(new NodeHost(), spec, readFileSync(spec, "utf8"), { library: library(), base });
  const [wrong] = program.diagnostics.filter((d) => d.severity === "error");
  if (wrong) throw new Error(`${spec} on ${base}: ${wrong.message}`);
  return program;
}

/** A model with random numbers in a folder that holds its header. */
export function randomSetting(name: string, sizes: LlamaSizes, samples: number, positions: number): Setting {
  const folder = `build/bench/models/${name}`;
  writeLlama(folder, sizes);
  return { name, base: folder, tensors: randomLlama(folder, sizes), samples, positions };
}

export async function settings(quick: boolean): Promise<readonly Setting[]> {
  const tiny = "examples/models/tiny-llama";
  const millions = `${(parametersOf(llama60m) / 1e6).toFixed(0)}M`;
  return [
    { name: "tiny-llama", base: tiny, tensors: await openCheckpoint(new NodeHost(), tiny), samples: 16, positions: 32 },
    randomSetting(`llama-${millions}`, llama60m, quick ? 1 : 2, 128),
  ];
}

/** The sides of one model's race, and the losses with which they begin. */
export interface Raced {
  readonly sides: readonly Side[];
  readonly losses: readonly [number, number];
  readonly operations: number;
  readonly kernels: readonly number[];
  /** Frees what the sides hold. */
  dispose(): Promise<void>;
}

export async function race(backend: Backend, setting: Setting): Promise<Raced> {
  const { tf } = backend;
  const program = await programFor(setting.base);
  const adapter = chooseAdapter(program, undefined);
  const compiled = await compileAdapter(program, adapter, backend.name);
  const code = runText(await printProgram(compiled, { types: false, format: false, form: "function" }))[compiled.exportName] as CompiledProgram;
  const manifest = { ...code.manifest, train: { ...code.manifest.train, batch: setting.samples, accumulate: 1, length: setting.positions } };
  const placed = await placeWeights({ manifest, backend, base: setting.tensors, seed: 1 });
  const model: Model = { manifest, entries: entriesOn(backend, { ...code, onnx: async (entry) => printOnnxEntry(compiled, entry) }), backend, weights: placed };
  layOutForTraining(model);
  const { weights } = model;
  const examples = randomExamples(setting, manifest.base.vocabulary, manifest.kinds);
  const batch = prepareBatch(examples, manifest, []);
  const input = upload(tf, batch);
  const host = { seed: 1, draw: 0, lossScale: 1 / batch.counted, balanceScale: 1, step: 0, steps: 1 };

  const base = await compileBase(program.checked.context, adapter, backend.name);
  const baseEntries = entriesOn(backend, base.program);
  const embedded = await embeddings(backend, setting, input.tokens);
  const own: Tensor[] = [];
  const ofBase: WeightStore = Object.fromEntries(base.module.weights.map((w) => [w.name, w.name === firstInput ? embedded : inLayout(tf, w, compiled.module.weights, weights, own)]));

  const once = async (entries: typeof model.entries, store: WeightStore): Promise<number> => {
    const made = await entries.gradients(store, input, host);
    const [loss] = await backend.read(made.loss);
    disposeStore(made.gradients);
    for (const t of [made.loss, made.balance, made.usage]) t.dispose();
    return loss!;
  };
  const run = trainRun({ model, examples, steps: 1_000_000 });
  const losses = [await once(baseEntries, ofBase), await once(model.entries, model.weights)] as const;
  if (!(Math.abs(losses[0] - losses[1]) < 1e-4 * Math.abs(losses[0]))) throw new Error(`${setting.name}: the base's loss is ${losses[0]}, and with an adapter that adds nothing yet it is ${losses[1]}`);
  const flops = (module: Module): number => new Costs(module, { sample: setting.samples, position: setting.positions }).fn("gradients").flops;
  const sides: readonly Side[] = [
    { name: stepNames.base, run: async () => void (await once(baseEntries, ofBase)) },
    { name: stepNames.gradients, run: async () => void (await once(model.entries, model.weights)) },
    { name: stepNames.step, run: async () => void (await run.next()) },
  ];
  const kernels: number[] = [];
  for (const side of sides) kernels.push(await kernelsOf(tf, side));
  return {
    losses,
    operations: flops(compiled.module) / flops(base.module),
    kernels,
    sides,
    dispose: async () => {
      await run.return({ step: 0, steps: 0, stopped: "aborted" });
      disposeStore(model.weights);
      for (const t of [embedded, ...own, input.tokens, input.targets, input.lossMask, input.mask, input.prompt, input.kind]) t.dispose();
      model.entries.dispose();
      baseEntries.dispose();
    },
  };
}

/** A frozen weight as the base wants it: the adapted model's own tensors, or `own` ones where that holds it in another layout. */
function inLayout({ transpose }: Backend["tf"], wanted: Weight, all: readonly Weight[], store: WeightStore, own: Tensor[]): WeightStore[string] {
  const axes = (w: Weight): readonly string[] => (w.type.kind === "list" ? w.type.of : w.type).axes.map((a) => a.name);
  const root = (w: Weight): string => w.layoutOf ?? w.name;
  const order = axes(wanted);
  const family = all.filter((w) => root(w) === root(wanted));
  const same = family.find((w) => axes(w).join() === order.join());
  if (same) return store[same.name]!;
  const other = family[0];
  if (!other) throw new Error(`the base has a weight "${wanted.name}" that the adapted model lacks`);
  const laidOut = (t: Tensor): Tensor => {
    const made = transpose(t, order.map((a) => axes(other).indexOf(a)));
    own.push(made);
    return made;
  };
  const held = store[other.name]!;
  return Array.isArray(held) ? (held as readonly Tensor[]).map(laidOut) : laidOut(held as Tensor);
}

/** How many kernels a run starts. */
async function kernelsOf(tf: Backend["tf"], { run }: Side): Promise<number> {
  const engine = tf.engine() as unknown as { runKernelFunc: (params: object) => unknown };
  const { runKernelFunc } = engine;
  let calls = 0;
  engine.runKernelFunc = (params) => {
    calls++;
    return runKernelFunc.call(engine, params);
  };
  try {
    await run();
  } finally {
    engine.runKernelFunc = runKernelFunc;
  }
  return calls;
}

/** Rows of random tokens, every one of which counts; kinds take turns. */
function randomExamples({ samples, positions }: Setting, vocabulary: number, kinds: readonly string[]): Example[] {
  let state = 1;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
  return Array.from({ length: samples }, (_, row) => ({
    ids: Int32Array.from({ length: positions }, () => Math.floor((next() / 2 ** 32) * vocabulary)),
    completionStart: 1,
    row,
    ...(kinds.length ? { kind: kinds[row % kinds.length]! } : {}),
  }));
}

/** What goes into the first layer: the rows of the embedding that the tokens name. */
async function embeddings({ tf }: Backend, { tensors }: Setting, tokens: Tensor2D): Promise<Tensor> {
  const name = "model.embed_tokens.weight";
  const data = await tensors.read(name);
  const [rows, width] = tensors.shapes.get(name) as readonly [number, number];
  return tf.tidy(() => tf.gather(tf.tensor2d(data, [rows, width]), tokens));
}

export async function benchStep(backendName: BackendName, rounds: number, all: readonly Setting[]): Promise<StepResult> {
  const backend = await startBackend(backendName);
  const models: StepResult["models"][number][] = [];
  const rows: Row[] = [];
  for (const setting of all) {
    const { name, samples, positions } = setting;
    const { sides, losses, operations, kernels, dispose } = await race(backend, setting);
    const measured = await interleave(sides, rounds, 1);
    await dispose();
    const step = sideOf(measured, stepNames.step);
    models.push({ name, samples, positions, sides: measured, tokensPerSecond: (samples * positions) / (step.median / 1000), losses, operations, kernels });
    const theirs = amount(sideOf(measured, stepNames.base));
    const what = `${name}, ${samples} × ${positions} tokens`;
    rows.push({ what: `training step, ${what}`, unit: "ms", ours: amount(step), theirs, target: { most: 1.25 } });
    rows.push({ what: `forward and backward, ${what}`, unit: "ms", ours: amount(sideOf(measured, stepNames.gradients)), theirs });
  }
  return { backend: backend.name, device: backend.device, machine: machine(), models, rows };
}
