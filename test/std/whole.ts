import { expect } from "vitest";
import type { TrainSettings } from "../../src/formats/manifest.ts";
import { interpretEntry, tensorOf, type Arg, type EntryOutputs, type Module, type Tensor } from "../../src/ir/index.ts";
import { lower } from "../../src/lower/index.ts";
import { addOptimizer, gradientsEntry } from "../../src/passes/index.ts";
import { randomNormal, randomUniform } from "../../src/runtime/backends/random.ts";
import { checkSource, tinyConfig } from "../check/support.ts";
import { randomArg, sound } from "../passes/support.ts";

/** The whole tiny model with an adapter, in the interpreter: its weights, and batches for it. */
export interface Whole {
  readonly module: Module;
  readonly settings: TrainSettings;
  /** By name: one tensor, or one a layer. */
  readonly weight: Readonly<Record<string, Arg>>;
}

/** Lowers a spec without errors and warnings, `prepare`d before it is differentiated; entries `gradients`, `accumulate` and `update` beside those of lowering. */
export async function whole(text: string, next: () => number, prepare = (module: Module): Module => module): Promise<Whole> {
  const program = await checkSource(text);
  expect(program.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([]);
  const [adapter] = program.checked.adapters;
  const lowered = prepare(lower(program.checked.context, adapter!));
  const trained = addOptimizer(gradientsEntry(lowered).module, adapter!.train);
  sound(trained);
  // The entry `train` stays: differences are taken of its objective.
  const module: Module = { ...trained, functions: new Map([...lowered.functions, ...trained.functions]), entries: new Map([...lowered.entries, ...trained.entries]) };
  const weight = Object.fromEntries(module.weights.map((w) => [w.name, randomArg(w.type, next, -0.6, 0.6)]));
  return { module, settings: adapter!.train, weight };
}

/** What a batch holds, sample by sample. */
export interface Rows {
  readonly tokens: readonly (readonly number[])[];
  readonly mask: readonly (readonly number[])[];
}

/** Random rows of `position` places, of which the last may be padding. */
export function randomRows(sample: number, position: number, next: () => number): Rows {
  const tokens = Array.from({ length: sample }, () => Array.from({ length: position }, () => Math.floor(next() * tinyConfig.vocab_size)));
  const mask = tokens.map((row) => {
    const real = 2 + Math.floor(next() * (position - 1));
    return row.map((_, p) => Number(p < real));
  });
  return { tokens, mask };
}

export const part = ({ tokens, mask }: Rows, from: number, to: number): Rows => ({ tokens: tokens.slice(from, to), mask: mask.slice(from, to) });

/** Runs an entry on rows; every token but the first is a target. */
export function runEntry(of: Whole, entry: string, rows: Rows, more: Readonly<Record<string, Arg>> = {}, trace?: (name: string, value: Tensor) => void): EntryOutputs {
  const sizes = { sample: rows.tokens.length, position: rows.tokens[0]!.length };
  const flat = (of: readonly (readonly number[])[], dtype: "f32" | "i32" = "f32"): Tensor => tensorOf(sizes, of.flat(), dtype);
  const targets = rows.tokens.map((row) => [...row.slice(1), 0]);
  const counted = rows.mask.map((row) => [...row.slice(1), 0]);
  const input: Record<string, Arg> = {
    tokens: flat(rows.tokens, "i32"),
    targets: flat(targets, "i32"),
    mask: flat(rows.mask),
    lossMask: flat(counted),
    kind: tensorOf({ sample: sizes.sample }, rows.tokens.map((_, s) => s % 2), "i32"),
    prompt: flat(rows.tokens.map((row) => row.map((_, p) => Number(p < 2)))),
    seed: 1,
    draw: 0,
    lossScale: 1,
    balanceScale: 1,
    step: 0,
    steps: 10,
    ...more,
  };
  return interpretEntry(of.module, entry, { weight: of.weight, input }, {
    random: { uniform: randomUniform, normal: randomNormal },
    trace: (_, value, result) => {
      if (value.type.kind === "tensor") trace?.(value.name, result as Tensor);
    },
  });
}

/**
 * The gates of every router, in the order of the model, [sample, position, expert] each; from evaluation. They are known by
 * their name in the graph: what the router's text calls its result, else "gates".
 */
export function gatesIn(of: Whole, rows: Rows, called = "gates"): readonly Tensor[] {
  const found: Tensor[] = [];
  runEntry(of, "evaluate", rows, {}, (name, value) => {
    if (name === called) found.push(value);
  });
  return found;
}
