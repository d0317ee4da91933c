import type { ManifestField } from "../../formats/manifest.ts";
import { Random } from "../random.ts";
import type { Example } from "./examples.ts";

/** One padded batch in memory, row-major [sample, position]; what it is for says `BatchInput` of the runtime's contract. */
export interface Batch {
  readonly samples: number;
  readonly positions: number;
  /** Token ids; `pad` where there is none. */
  readonly tokens: Int32Array;
  /** The id that follows each token; `pad` where none does. */
  readonly targets: Int32Array;
  /** 1 where the target is a token of the completion, EOS included; else 0. */
  readonly lossMask: Float32Array;
  /** 1 at real tokens, 0 at padding. */
  readonly mask: Float32Array;
  /** 1 at the tokens before the completion, 0 elsewhere. */
  readonly prompt: Float32Array;
  /** [sample] each, by name: whole numbers where a field has so many values. */
  readonly fields: Readonly<Record<string, Int32Array | Float32Array>>;
  /** [sample]: index into the kinds; -1 where the example's kind is none of them. */
  readonly kinds: Int32Array;
  /** Index of each sample's row in the data. */
  readonly rows: Int32Array;
  /** How many targets count: the sum of `lossMask`. */
  readonly counted: number;
}

export interface CollateOptions {
  readonly kinds?: readonly string[];
  /** The fields that every example has. */
  readonly fields?: readonly ManifestField[];
  /** The id at padding (default 0). It is masked everywhere, so any id of the vocabulary will do. */
  readonly pad?: number;
  /** Widths a batch may have, ascending; a batch gets the least that fits its longest example. Default: exactly that. */
  readonly widths?: readonly number[];
}

/**
 * Pads examples on the right to one width. The last token of an example is in `tokens` too, without a target, as in the
 * trainers that this is compared with: masks and statistics over tokens count it.
 */
export function collate(examples: readonly Example[], options: CollateOptions = {}): Batch {
  const { kinds = [], fields = [], pad = 0, widths = [] } = options;
  const longest = examples.reduce((n, e) => Math.max(n, e.ids.length), 1);
  const positions = widths.find((w) => w >= longest) ?? longest;
  const samples = examples.length;
  const tokens = new Int32Array(samples * positions).fill(pad);
  const targets = new Int32Array(samples * positions).fill(pad);
  const lossMask = new Float32Array(samples * positions);
  const mask = new Float32Array(samples * positions);
  const prompt = new Float32Array(samples * positions);
  let counted = 0;
  examples.forEach(({ ids, completionStart }, s) => {
    const at = s * positions;
    tokens.set(ids, at);
    targets.set(ids.subarray(1), at);
    mask.fill(1, at, at + ids.length);
    const first = Math.max(1, completionStart);
    prompt.fill(1, at, at + Math.min(first, ids.length));
    lossMask.fill(1, at + first - 1, at + Math.max(first, ids.length) - 1);
    counted += Math.max(0, ids.length - first);
  });
  const kindIndexes = Int32Array.from(examples, (e) => (e.kind === undefined ? -1 : kinds.indexOf(e.kind)));
  const columns = fields.map(({ name, values }) => {
    const column = examples.map((e) => e.fields?.[name] ?? Number.NaN);
    return [name, values === undefined ? Float32Array.from(column) : Int32Array.from(column)] as const;
  });
  return { samples, positions, tokens, targets, lossMask, mask, prompt, fields: Object.fromEntries(columns), kinds: kindIndexes, rows: Int32Array.from(examples, (e) => e.row), counted };
}

/** Multiples of `step` up to `length`, and `length`: few widths, so that a backend compiles few shapes. */
export function paddedWidths(length: number, step = 16): number[] {
  const widths: number[] = [];
  for (let w = step; w < length; w += step) widths.push(w);
  return [...widths, length];
}

export interface Plan {
  /** Number of examples; at least 1. */
  readonly examples: number;
  /** Examples in one step; the last step of an epoch may have fewer. */
  readonly batch: number;
  readonly seed: number;
  /**
   * Lengths of the examples: steps then hold examples of similar length, which saves padding. Every 50 batches of the
   * shuffled order are sorted by length among themselves, and the batches shuffled again (transformers' group_by_length).
   */
  readonly groupBy?: ArrayLike<number>;
}

/**
 * Which examples each step sees: a function of the plan and the step's number alone, so a run that resumes at a step goes
 * on as if it had not stopped. Each epoch sees every example once, in an order of its own.
 */
export class BatchOrder {
  readonly stepsPerEpoch: number;
  private readonly plan: Plan;
  private kept: { readonly epoch: number; readonly steps: readonly Int32Array[] } | undefined;

  constructor(plan: Plan) {
    this.plan = plan;
    this.stepsPerEpoch = Math.ceil(plan.examples / plan.batch);
  }

  /** Steps in so many epochs; a fraction of an epoch rounds up to a whole step. */
  steps(epochs: number): number {
    return Math.ceil(epochs * this.stepsPerEpoch - 1e-9);
  }

  /** Indexes of the examples of a step, from 0. */
  step(step: number): Int32Array {
    const epoch = Math.floor(step / this.stepsPerEpoch);
    if (this.kept?.epoch !== epoch) this.kept = { epoch, steps: this.order(epoch) };
    return this.kept.steps[step % this.stepsPerEpoch]!;
  }

  private order(epoch: number): Int32Array[] {
    const { examples, batch, seed, groupBy } = this.plan;
    const random = new Random(seed, epoch);
    const all = random.shuffle(Int32Array.from({ length: examples }, (_, i) => i));
    if (groupBy !== undefined)
      for (let i = 0; i < examples; i += 50 * batch) all.subarray(i, i + 50 * batch).sort((a, b) => groupBy[b]! - groupBy[a]! || a - b);
    const steps: Int32Array[] = [];
    for (let i = 0; i < examples; i += batch) steps.push(all.subarray(i, i + batch));
    if (groupBy === undefined) return steps;
    // The short step, if there is one, stays last.
    const order = random.shuffle(Array.from({ length: Math.floor(examples / batch) }, (_, i) => i));
    return steps.map((own, i) => (i < order.length ? steps[order[i]!]! : own));
  }
}

/** Splits a step's examples into at most `pieces` micro-batches whose sizes differ by at most one; none is empty. */
export function microBatches(step: Int32Array, pieces: number): Int32Array[] {
  const count = Math.max(1, Math.min(pieces, step.length));
  return Array.from({ length: count }, (_, i) => step.subarray(Math.floor((i * step.length) / count), Math.floor(((i + 1) * step.length) / count)));
}
