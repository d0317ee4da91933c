import type { BatchInput, Tf } from "./program.ts";

/** One row of data as token ids: the prompt's, then the completion's, of which alone the loss counts. */
export interface TokenRow {
  readonly tokens: readonly number[] | Int32Array;
  /** How many of `tokens` are prompt. */
  readonly prompt: number;
  /** As the data says it. */
  readonly kind?: string;
}

/** Padded rows on the host, ready for a device. Two-dimensional parts are row major, [samples, positions]. */
export interface HostBatch {
  readonly samples: number;
  readonly positions: number;
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
  readonly lossMask: Float32Array;
  readonly mask: Float32Array;
  /** [samples]: index into the manifest's kinds, or -1. */
  readonly kind: Int32Array;
  /** [samples]: as the data says it. */
  readonly kinds: readonly (string | undefined)[];
  /** Targets that count in the loss, over all samples. */
  readonly counted: number;
  /** Real tokens, over all samples. */
  readonly real: number;
}

/**
 * Pads rows to the longest of them (`padded` may round that length up, for backends that compile a kernel for each
 * shape). A row of n tokens fills n - 1 positions: the last token is only ever a target.
 */
export function collate(rows: readonly TokenRow[], kinds: readonly string[], padded: (positions: number) => number = (n) => n): HostBatch {
  const samples = rows.length;
  const positions = padded(Math.max(1, ...rows.map((r) => r.tokens.length - 1)));
  const size = samples * positions;
  const tokens = new Int32Array(size);
  const targets = new Int32Array(size);
  const lossMask = new Float32Array(size);
  const mask = new Float32Array(size);
  let counted = 0;
  let real = 0;
  rows.forEach((row, s) => {
    const last = row.tokens.length - 1;
    for (let p = 0; p < last; p++) {
      const at = s * positions + p;
      tokens[at] = row.tokens[p]!;
      targets[at] = row.tokens[p + 1]!;
      mask[at] = 1;
      real++;
      // The target is token p + 1, which is the completion's from index `prompt` on.
      if (p + 1 >= row.prompt) {
        lossMask[at] = 1;
        counted++;
      }
    }
  });
  return {
    samples,
    positions,
    tokens,
    targets,
    lossMask,
    mask,
    kind: Int32Array.from(rows, (r) => (r.kind === undefined ? -1 : kinds.indexOf(r.kind))),
    kinds: rows.map((r) => r.kind),
    counted,
    real,
  };
}

/** Puts a batch on the device. The caller disposes it. */
export function upload(tf: Tf, batch: HostBatch): BatchInput {
  const shape: [number, number] = [batch.samples, batch.positions];
  return {
    tokens: tf.tensor2d(batch.tokens, shape, "int32"),
    targets: tf.tensor2d(batch.targets, shape, "int32"),
    lossMask: tf.tensor2d(batch.lossMask, shape, "float32"),
    mask: tf.tensor2d(batch.mask, shape, "float32"),
    kind: tf.tensor1d(batch.kind, "int32"),
  };
}

export function disposeBatch(input: BatchInput): void {
  for (const tensor of [input.tokens, input.targets, input.lossMask, input.mask, input.kind]) tensor.dispose();
}

/**
 * How a backend wants lengths rounded: WebGPU compiles a kernel for every new shape, so it gets powers of two (at most
 * `longest`); the others take any length as it comes.
 */
export function paddingFor(backend: string, longest: number): (positions: number) => number {
  if (backend !== "webgpu") return (n) => n;
  return (n) => Math.max(n, Math.min(longest, 2 ** Math.ceil(Math.log2(Math.max(n, 16)))));
}
