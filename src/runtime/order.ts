import { randomUniform } from "./backends/random.ts";

/** The stream of the data's order, apart from dropout's small numbers and the names' hashes of first values. */
const ORDER = 2 ** 52 + 1;

/**
 * The order of `rows` rows in one epoch: a Fisher-Yates shuffle whose numbers are a function of (seed, epoch). Nothing
 * is carried from epoch to epoch, so a resumed run sees what an uninterrupted one would have.
 */
export function epochOrder(rows: number, seed: number, epoch: number): Int32Array {
  const order = Int32Array.from({ length: rows }, (_, i) => i);
  const draws = new Float32Array(rows * 2);
  randomUniform(draws, seed, epoch, ORDER);
  for (let i = rows - 1; i > 0; i--) {
    // 48 bits of two draws: 24 alone would favour some rows of a large file.
    const u = draws[2 * i]! + draws[2 * i + 1]! * 2 ** -24;
    const j = Math.floor(u * (i + 1));
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

/** Which rows a training step sees, and where in the run that is. */
export interface StepPlan {
  /** Whole epochs done before this step. */
  readonly epoch: number;
  /** Rows by micro-batch: at most `accumulate` of them, none empty. */
  readonly microBatches: readonly (readonly number[])[];
}

/** The steps of a run over `rows` rows. */
export class Schedule {
  readonly rows: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly seed: number;
  /** An epoch's last step takes what is left. */
  readonly stepsPerEpoch: number;
  private cached: { readonly epoch: number; readonly order: Int32Array } | undefined;

  constructor(rows: number, settings: { readonly batch: number; readonly accumulate: number; readonly seed: number }) {
    this.rows = rows;
    this.batch = settings.batch;
    this.accumulate = settings.accumulate;
    this.seed = settings.seed;
    this.stepsPerEpoch = Math.ceil(rows / settings.batch);
  }

  at(step: number): StepPlan {
    const epoch = Math.floor(step / this.stepsPerEpoch);
    if (this.cached?.epoch !== epoch) this.cached = { epoch, order: epochOrder(this.rows, this.seed, epoch) };
    const start = (step % this.stepsPerEpoch) * this.batch;
    const rows = [...this.cached.order.subarray(start, Math.min(start + this.batch, this.rows))];
    // Equal parts, so that no micro-batch needs more memory than the settings ask for.
    const size = Math.ceil(this.batch / this.accumulate);
    const microBatches: number[][] = [];
    for (let i = 0; i < rows.length; i += size) microBatches.push(rows.slice(i, i + size));
    return { epoch, microBatches };
  }
}
