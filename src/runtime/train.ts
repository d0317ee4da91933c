import type { Scalar, Tensor2D } from "@tensorflow/tfjs-core";
import { diagnostic, fail, type Diagnostic } from "../diagnostics/index.ts";
import type { Manifest } from "../formats/manifest.ts";
import { checkVocabulary, disposeBatch, prepareBatch, upload, widthsFor, type HostBatch } from "./batch.ts";
import { BatchOrder, microBatches } from "./data/batches.ts";
import type { Example } from "./data/examples.ts";
import { differences, identityOf, type RunIdentity } from "./identity.ts";
import { readMetrics, UsageTable, type HostMetrics, type StepMetrics } from "./metrics.ts";
import type { Updated, WeightStore } from "./program.ts";
import type { Checkpoint, RunFolder } from "./run-folder.ts";
import { disposeStore, changingStore, trainableWeights, zerosLike, type Model } from "./store.ts";
import { adapterMisfits, adapterTensors, layOutForTraining, loadTensors, restoreTensors, tensorFileOf } from "./weights.ts";

export interface TrainOptions {
  readonly model: Model;
  /** What to train on: MOE5134 where there is none. */
  readonly examples: readonly Example[];
  /** Steps of the whole run, in place of the manifest's steps or epochs; of a resumed run, the checkpoint's. */
  readonly steps?: number;
  /** In place of the manifest's; of a resumed run, the checkpoint's. */
  readonly seed?: number;
  /** Where metrics and checkpoints go; nothing is written without. */
  readonly folder?: RunFolder;
  /** Goes on from the folder's checkpoint, with the numbers that the run would have given had it not stopped. */
  readonly resume?: boolean;
  /** A checkpoint after so many steps, or seconds, whichever comes first; 60 seconds where neither is given. */
  readonly checkpointEvery?: { readonly steps?: number; readonly seconds?: number };
  /** Stops after the step under way, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** Told what a user should know and need not act on. */
  readonly onNotice?: (notice: Diagnostic) => void;
}

/** How a run ended. */
export interface TrainEnd {
  /** Steps done. */
  readonly step: number;
  readonly steps: number;
  readonly stopped: "finished" | "aborted";
}

/**
 * Trains a model in place, one step for each `next()`. After every metrics object the model is exactly `step` steps
 * old, so a caller may stop, save or evaluate there. Leaving the loop early leaves a checkpoint where there is a folder.
 *
 * DiagnosticErrors: MOE5134 no examples; MOE5332 a token that the base does not have; MOE5301 a loss or gradient that is not finite (the model keeps the weights from
 * before that step); MOE5320 to MOE5322 a checkpoint that is another run's, damaged or missing; MOE5331 nothing to train.
 */
export async function* trainRun(options: TrainOptions): AsyncGenerator<StepMetrics, TrainEnd, void> {
  const { model, examples, folder, signal } = options;
  const { manifest, backend } = model;
  if (examples.length === 0) fail("MOE5134", "There are no examples to train on.");
  checkVocabulary(manifest, examples);
  if (trainableWeights(manifest).length === 0) {
    fail("MOE5331", `${manifest.adapter} has no trainable weight.`, { help: "Give it experts, or `unfreeze` a part of the base." });
  }
  const checkpoint = options.resume ? await readCheckpoint(folder) : undefined;
  const seed = options.seed ?? checkpoint?.state.seed ?? manifest.train.seed;
  const { batch, accumulate } = manifest.train;
  const order = new BatchOrder({ examples: examples.length, batch, seed });
  const steps = options.steps ?? checkpoint?.state.steps ?? (manifest.train.steps ?? order.steps(manifest.train.epochs));
  const identity = await identityOf(manifest, examples, { seed, steps });
  const widths = widthsFor(backend.name, examples.reduce((n, e) => Math.max(n, e.ids.length), manifest.train.length));
  const prepare = (step: number): HostBatch[] =>
    microBatches(order.step(step), accumulate).map((m) => prepareBatch(Array.from(m, (i) => examples[i]!), manifest, widths));

  layOutForTraining(model);
  let step = checkpoint?.state.step ?? 0;
  let moments = checkpoint ? await restore(options, checkpoint, identity) : { first: zerosLike(manifest, backend), second: zerosLike(manifest, backend) };
  let saved = checkpoint ? step : -1;
  let savedAt = performance.now();
  const save = async (): Promise<void> => {
    if (!folder || saved === step) return;
    await writeCheckpoint(folder, model, moments, { step, steps, seed, epoch: step / order.stepsPerEpoch, backend: backend.name, run: identity });
    saved = step;
    savedAt = performance.now();
  };
  // True while model and moments are those of `step`: then, whatever ends the loop, they may be saved.
  let whole = true;
  try {
    if (folder && !checkpoint) await folder.begin();
    if (folder && checkpoint) await folder.continueFrom(checkpoint.state);
    let next = step < steps ? prepare(step) : [];
    while (step < steps) {
      if (signal?.aborted) return { step, steps, stopped: "aborted" };
      const started = performance.now();
      const batches = next;
      whole = false;
      const { updated, reading } = await launch(model, moments, batches, { seed, step, steps, accumulate });
      // While the device works, the host makes the next step's batches.
      next = step + 1 < steps ? prepare(step + 1) : [];
      let values: HostMetrics;
      try {
        values = await reading;
      } catch (error) {
        dropUpdate(updated);
        throw error;
      }
      if (![values.loss, values.balance, values.norm].every(Number.isFinite)) {
        dropUpdate(updated);
        diverged(step + 1, values, { saved: folder && saved >= 0 ? saved : undefined, manifest });
      }
      const old = changingStore(manifest, model.weights);
      model.weights = { ...model.weights, ...updated.weights };
      for (const store of [old, moments.first, moments.second]) disposeStore(store);
      moments = { first: updated.moment1, second: updated.moment2 };
      step++;
      model.progress = { step, steps };
      whole = true;
      const metrics = describe(manifest, batches, values, { step, steps, epoch: step / order.stepsPerEpoch, seconds: (performance.now() - started) / 1000 });
      await folder?.record(metrics);
      if (isDue(options, step - Math.max(saved, 0), (performance.now() - savedAt) / 1000)) await save();
      yield metrics;
    }
    return { step, steps, stopped: "finished" };
  } finally {
    try {
      if (whole) await save();
    } finally {
      disposeStore(moments.first);
      disposeStore(moments.second);
    }
  }
}

interface Moments {
  readonly first: WeightStore;
  readonly second: WeightStore;
}

/** Starts the work of one step and the read of its numbers. Old weights and moments stay, in case the step is no good. */
async function launch(
  { manifest, entries, backend, weights }: Model,
  moments: Moments,
  batches: readonly HostBatch[],
  host: { readonly seed: number; readonly step: number; readonly steps: number; readonly accumulate: number },
): Promise<{ readonly updated: Updated; readonly reading: Promise<HostMetrics> }> {
  const { tf } = backend;
  const counted = batches.reduce((n, b) => n + b.counted, 0);
  const usage: Tensor2D[] = [];
  let gradients: WeightStore | undefined;
  let loss: Scalar | undefined;
  let balance: Scalar | undefined;
  const plus = (a: Scalar | undefined, b: Scalar): Scalar => {
    if (a === undefined) return b;
    const sum = tf.add(a, b) as Scalar;
    a.dispose();
    b.dispose();
    return sum;
  };
  for (const [i, batch] of batches.entries()) {
    const input = upload(tf, batch);
    const part = await entries.gradients(weights, input, {
      seed: host.seed,
      draw: host.step * host.accumulate + i,
      lossScale: counted === 0 ? 0 : 1 / counted,
      balanceScale: 1 / batches.length,
      step: host.step,
      steps: host.steps,
    });
    disposeBatch(input);
    loss = plus(loss, part.loss);
    balance = plus(balance, part.balance);
    usage.push(part.usage);
    if (gradients === undefined) gradients = part.gradients;
    else {
      const sum = await entries.accumulate(gradients, part.gradients);
      disposeStore(gradients);
      disposeStore(part.gradients);
      gradients = sum;
    }
  }
  const updated = await entries.update(changingStore(manifest, weights), gradients!, moments.first, moments.second, { step: host.step, steps: host.steps });
  disposeStore(gradients!);
  return { updated, reading: readMetrics(backend, { loss: loss!, balance: balance!, lr: updated.lr, norm: updated.norm, usage }) };
}

/** Frees the results of a step that is given up (its scalars went with the reading). */
function dropUpdate(updated: Updated): void {
  for (const store of [updated.weights, updated.moment1, updated.moment2]) disposeStore(store);
}

function describe(
  manifest: Manifest,
  batches: readonly HostBatch[],
  values: HostMetrics,
  at: { readonly step: number; readonly steps: number; readonly epoch: number; readonly seconds: number },
): StepMetrics {
  const table = new UsageTable(manifest);
  const samples = batches.flatMap((b) => b.examples);
  samples.forEach(({ kind }, s) => table.add(kind, values.usage, s * manifest.groups.length));
  const tokens = batches.reduce((n, b) => n + b.real, 0);
  return {
    step: at.step,
    steps: at.steps,
    epoch: at.epoch,
    loss: values.loss,
    balance: values.balance,
    total: values.loss + values.balance,
    lr: values.lr,
    gradientNorm: values.norm,
    tokens,
    seconds: at.seconds,
    tokensPerSecond: tokens / Math.max(at.seconds, 1e-9),
    utilization: table.overall(),
    utilizationByKind: table.byKind(),
  };
}

function isDue({ checkpointEvery }: TrainOptions, steps: number, seconds: number): boolean {
  const every = checkpointEvery ?? { seconds: 60 };
  return (every.steps !== undefined && steps >= every.steps) || (every.seconds !== undefined && seconds >= every.seconds);
}

function diverged(step: number, { loss, balance, norm, lr }: HostMetrics, { saved, manifest }: { readonly saved: number | undefined; readonly manifest: Manifest }): never {
  const what = !Number.isFinite(loss) ? `the loss is ${loss}` : !Number.isFinite(balance) ? `the balance loss is ${balance}` : `the gradient's norm is ${norm}`;
  const tries = [
    `a lower learning rate (it was ${Number(lr.toPrecision(3))} here)`,
    ...(manifest.train.schedule.warmup === 0 ? ["a warm-up"] : []),
    ...(manifest.train.clip === 0 ? ["clip 1"] : []),
  ];
  return fail("MOE5301", `Training diverged at step ${step}: ${what}.`, {
    notes: [
      "The weights are those from before that step.",
      ...(saved !== undefined && saved > 0 ? [`The last checkpoint is that of step ${saved}.`] : []),
    ],
    help: `Try ${tries.join(", or ")}.`,
  });
}

async function readCheckpoint(folder: RunFolder | undefined): Promise<Checkpoint> {
  const checkpoint = await folder?.read();
  if (checkpoint) return checkpoint;
  return fail("MOE5322", folder ? `${folder.path} holds no checkpoint to resume from.` : "There is no folder to resume from.", {
    help: "Start the run without resuming: checkpoints are written as it goes.",
  });
}

/** Puts a checkpoint's weights into the model and its moments on the device, once it is known to be of this very run. */
async function restore({ model, folder, onNotice }: TrainOptions, { state, weights, moments }: Checkpoint, identity: RunIdentity): Promise<Moments> {
  const { manifest, backend } = model;
  const differing = differences(state.run, identity);
  if (differing.length > 0) {
    fail("MOE5320", `The checkpoint in ${folder!.path} is of another run: ${differing[0]}.`, {
      notes: differing.slice(1).map((d) => `Also, ${d}.`),
      help: "Resume with what the run began with, or start a new one in another folder.",
    });
  }
  const trainable = trainableWeights(manifest);
  const slicesMissing = [
    ...adapterMisfits(manifest, weights),
    ...["moment1.", "moment2."].flatMap((prefix) => momentMisfits(manifest, moments, prefix)),
  ];
  if (slicesMissing.length > 0) fail("MOE5321", `The checkpoint in ${folder!.path} is damaged: ${slicesMissing[0]!.message}`);
  if (state.backend !== backend.name) {
    onNotice?.(diagnostic("MOE5323", `The run was on ${state.backend} and goes on on ${backend.name}: its numbers will agree with an unbroken run's to rounding only.`));
  }
  model.weights = await restoreTensors(manifest, model.weights, backend, weights);
  const first = await loadTensors(trainable, backend, moments, "moment1.");
  try {
    return { first, second: await loadTensors(trainable, backend, moments, "moment2.") };
  } catch (error) {
    disposeStore(first);
    throw error;
  }
}

function momentMisfits(manifest: Manifest, file: Checkpoint["moments"], prefix: string): Diagnostic[] {
  const shapes = new Map([...file.shapes].filter(([name]) => name.startsWith(prefix)).map(([name, shape]) => [name.slice(prefix.length), shape]));
  return adapterMisfits({ ...manifest, weights: manifest.weights.filter((w) => w.trainable) }, { ...tensorFileOf(file.path, []), shapes });
}

async function writeCheckpoint(folder: RunFolder, { manifest, backend, weights }: Model, moments: Moments, state: Parameters<RunFolder["write"]>[0]): Promise<void> {
  const read = (t: Parameters<typeof backend.read>[0]): ReturnType<typeof backend.read> => backend.read(t);
  const trainable = (w: Manifest["weights"][number]): boolean => w.trainable;
  const named = await Promise.all(
    (["first", "second"] as const).map(async (which, i) =>
      (await adapterTensors(manifest, moments[which], read, trainable)).map((t) => ({ ...t, name: `moment${i + 1}.${t.name}` })),
    ),
  );
  await folder.write(state, await adapterTensors(manifest, weights, read), named.flat());
}
