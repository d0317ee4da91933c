import type { CheckedAdapter } from "../check/index.ts";
import { manifestOf, onnxEntriesOf, printDeclarations, printOnnx, printTfjs, exportNames, type TfjsOptions } from "../codegen/index.ts";
import { everyBackend, flagCosts, type BackendName } from "../formats/backends.ts";
import type { Manifest, TrainSettings } from "../formats/manifest.ts";
import type { OnnxEntry } from "../formats/onnx.ts";
import { printModule, type Module } from "../ir/index.ts";
import type { Sizes } from "../ir/size.ts";
import { lower } from "../lower/index.ts";
import { explainStacking, nominalSymbol, machines, optimize, type PlaceExplanation } from "../passes/index.ts";
import { programInfo } from "./info.ts";
import type { Program } from "./program.ts";

/** An adapter, compiled: its graph after all passes, and its manifest. */
export interface Compiled {
  readonly module: Module;
  readonly manifest: Manifest;
  /** Doc comment of the adapter. */
  readonly doc?: string;
  /** The identifier under which generated code exports it. */
  readonly exportName: string;
  /** What the passes made of it. */
  readonly explanation: Explanation;
}

/**
 * Lowers and optimises a checked adapter, laid out for a backend; the code is right on every other. What is wrong from here
 * on is our bug: it throws plain errors.
 */
export async function compileAdapter(program: Program, adapter: CheckedAdapter, backend: BackendName = everyBackend): Promise<Compiled> {
  const lowered = lower(program.checked.context, adapter);
  const batch = batchOf(adapter.train);
  const { module, reports, keeps } = optimizeForTraining(lowered, adapter.train, backend, batch);
  const info = await programInfo(program, adapter, lowered.weights);
  const manifest = manifestOf(module, { ...info, backend });
  return {
    module,
    manifest,
    explanation: {
      tokens: nominalSymbol * nominalSymbol,
      places: explainStacking(reports.stack, "train", placesOf(lowered)),
      keeps,
      batch,
      peaks: [...module.entries].map(([entry, { fn }]) => {
        const { before, after } = reports.schedule.find((r) => r.fn === fn)!;
        return { entry, before, after };
      }),
      laidOut: reports.hoisted,
      unreached: reports.unreached,
    },
    exportName: exportNames([adapter.name])[0]!,
    ...(info.doc === undefined ? {} : { doc: info.doc }),
  };
}

/** What a step keeps for its backward half: all that it reads, or what goes into each layer, which is computed again. */
export type Keeps = "all" | "layers";

/** The micro-batch of the spec's settings. */
function batchOf(train: TrainSettings): { readonly sample: number; readonly position: number } {
  return { sample: Math.ceil(train.batch / train.accumulate), position: train.length };
}

/**
 * All passes, with as much kept for backward as the spec's `memory` allows. A budget is compared with the peak of what a
 * micro-batch makes, at the spec's batch and length or the `sizes` given.
 */
export function optimizeForTraining(
  lowered: Module,
  train: TrainSettings,
  backend: BackendName,
  sizes: Sizes = batchOf(train),
): ReturnType<typeof optimize> & { readonly keeps: Keeps } {
  const options = { train, transposeFlags: flagCosts[backend], machine: machines[backend], batch: sizes };
  const again = (): ReturnType<typeof optimizeForTraining> => ({ ...optimize(lowered, { ...options, recompute: "layers" }), keeps: "layers" });
  if (train.memory === "recompute") return again();
  const all = { ...optimize(lowered, options), keeps: "all" as const };
  const gradients = all.module.entries.get("gradients");
  if (typeof train.memory !== "number" || !gradients) return all;
  const held = all.reports.release.find((r) => r.fn === gradients.fn)!.peakBytes;
  return held <= train.memory * 2 ** 30 ? all : again();
}

/** What the passes did, for `moec build --explain`. Costs are of one forward run, for a nominal batch. */
export interface Explanation {
  /** Tokens of the nominal batch. */
  readonly tokens: number;
  readonly places: readonly PlaceExplanation[];
  readonly keeps: Keeps;
  /** The micro-batch for which bytes are counted. */
  readonly batch: { readonly sample: number; readonly position: number };
  /** The most bytes that each entry holds at once, weights and arguments not counted: in the order of the text, and as the ops are ordered now. */
  readonly peaks: readonly { readonly entry: string; readonly before: number; readonly after: number }[];
  /** Frozen weights that are held in another order too, laid out at load. */
  readonly laidOut: readonly string[];
  /** Trainable weights that no gradient reaches. */
  readonly unreached: readonly string[];
}

/** The adapted places, as the paths of their ops begin: a trainable weight's name without the layers, its group and itself. */
function placesOf(module: Module): readonly string[] {
  const names = module.weights.filter((w) => w.trainable).map((w) => {
    const parts = w.name.split(".");
    return [...parts.slice(0, 1), ...parts.slice(w.type.kind === "list" ? 2 : 1, -2)].join(".");
  });
  return [...new Set(names)];
}

/** The training graph over TensorFlow.js: `X.moe.ts`, or the same as plain JavaScript. */
export function printProgram(compiled: Compiled, options: Pick<TfjsOptions, "types" | "format" | "runtimeImport" | "form">): Promise<string> {
  return printTfjs([compiled], options);
}

/** `X.ENTRY.onnx`: an entry as a model of ONNX, for whatever samples and positions. */
export function printOnnxEntry(compiled: Compiled, entry: OnnxEntry): Uint8Array {
  return printOnnx(compiled, entry);
}

/** The entries of a program that there are models of. */
export function onnxEntriesIn({ module }: Compiled): readonly OnnxEntry[] {
  return onnxEntriesOf(module);
}

/** `X.d.moe.ts`: literal types of groups, kinds, weights and shapes. */
export function printTypes(compiled: Compiled): string {
  return printDeclarations([compiled]);
}

/** The graph after all passes, as text. */
export function printGraph(compiled: Compiled): string {
  return printModule(compiled.module);
}
