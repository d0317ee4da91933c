import { fail } from "../diagnostics/index.ts";
import { checkVocabulary, disposeBatch, prepareBatch, upload, widthsFor } from "./batch.ts";
import type { Example } from "./data/examples.ts";
import { UsageTable, type Utilization } from "./metrics.ts";
import type { Model } from "./store.ts";

/** How well a model does on some examples. */
export interface Score {
  readonly samples: number;
  /** Counted targets. */
  readonly tokens: number;
  /** Mean negative log-likelihood of a counted token (nats); 0 where none counts. */
  readonly loss: number;
  /** Samples whose every counted token is the most likely one: greedy decoding gives exactly the completion. */
  readonly exact: number;
  /** exact / samples. */
  readonly accuracy: number;
}

export interface EvaluationReport<Group extends string = string, Kind extends string = string> {
  readonly overall: Score;
  /** By the data's own kinds, in the spec's order, then in that of the data. Examples without a kind are in `overall` only. */
  readonly byKind: { readonly [K in Kind | (string & {})]?: Score };
  readonly utilization: Utilization<Group>;
  /** The table of the LoRAMoE paper: how much of the gates' mass each group gets on each kind of data. */
  readonly utilizationByKind: { readonly [K in Kind | (string & {})]?: Utilization<Group> };
  /** Mean over batches of the weighted sum of all balance terms. */
  readonly balance: number;
}

export interface EvaluateOptions {
  /** Samples in a batch; the manifest's micro-batch where it is not given. */
  readonly batch?: number;
  readonly signal?: AbortSignal;
  /** Told of samples done, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Measures a model on examples, dropout off. Sums are made in float64 on the host, sample by sample, so that only
 * `balance`, which is a batch's, depends on the batch size beyond the backend's own rounding. MOE5134 where there is none, MOE5332 at a token
 * that the base does not have.
 */
export async function evaluateModel(model: Model, examples: readonly Example[], options: EvaluateOptions = {}): Promise<EvaluationReport> {
  if (examples.length === 0) fail("MOE5134", "There are no examples to evaluate on.");
  const { manifest, entries, backend } = model;
  checkVocabulary(manifest, examples);
  const { tf } = backend;
  const size = Math.max(1, options.batch ?? Math.ceil(manifest.train.batch / manifest.train.accumulate));
  const widths = widthsFor(backend.name, examples.reduce((n, e) => Math.max(n, e.ids.length), 1));
  const groups = manifest.groups.length;
  const all = new Tally();
  const kinds = [...manifest.kinds, ...examples.flatMap((e) => (e.kind === undefined ? [] : [e.kind]))];
  const usage = new UsageTable(manifest, kinds);
  const byKind = new Map<string, Tally>(kinds.map((k) => [k, new Tally()]));
  // Examples of like length share a batch, so that little of it is padding; the report does not depend on the order.
  const sorted = [...examples].sort((a, b) => a.ids.length - b.ids.length);
  // A balance whose weight changes while it is trained is reported as the last step weighs it.
  const length = manifest.train.steps ?? 1;
  const progress = model.progress ?? { step: length, steps: length };
  let balance = 0;
  let batches = 0;

  for (let start = 0; start < sorted.length; start += size) {
    options.signal?.throwIfAborted();
    const batch = prepareBatch(sorted.slice(start, start + size), manifest, widths);
    const input = upload(tf, batch);
    const result = await entries.evaluate(model.weights, input, progress);
    disposeBatch(input);
    const packed = tf.tidy(() => {
      const usage = groups > 0 ? [tf.reshape(result.usage, [batch.samples * groups])] : [];
      return tf.concat1d([result.loss, result.count, result.hits, tf.reshape(result.balance, [1]), ...usage] as never);
    });
    for (const tensor of [result.loss, result.count, result.hits, result.balance, result.usage]) tensor.dispose();
    let values: Float32Array | Int32Array;
    try {
      values = await backend.read(packed);
    } finally {
      packed.dispose();
    }
    const n = batch.samples;
    for (let s = 0; s < n; s++) {
      const kind = batch.examples[s]!.kind;
      const tallies = [all];
      if (kind !== undefined) tallies.push(byKind.get(kind)!);
      for (const tally of tallies) tally.add(values[s]!, values[n + s]!, values[2 * n + s]!);
      if (groups > 0) usage.add(kind, values, 3 * n + 1 + s * groups);
    }
    balance += values[3 * n]!;
    batches++;
    options.onProgress?.(Math.min(start + size, sorted.length), sorted.length);
  }
  return {
    overall: all.score(),
    byKind: Object.fromEntries([...byKind].filter(([, t]) => t.samples > 0).map(([k, t]) => [k, t.score()])),
    utilization: usage.overall(),
    utilizationByKind: usage.byKind(),
    balance: balance / batches,
  };
}

class Tally {
  samples = 0;
  private tokens = 0;
  private loss = 0;
  private exact = 0;

  add(loss: number, count: number, hits: number): void {
    this.samples++;
    this.tokens += count;
    this.loss += loss;
    if (count > 0 && hits === count) this.exact++;
  }

  score(): Score {
    const { samples, tokens, loss, exact } = this;
    return { samples, tokens, loss: tokens === 0 ? 0 : loss / tokens, exact, accuracy: samples === 0 ? 0 : exact / samples };
  }
}
