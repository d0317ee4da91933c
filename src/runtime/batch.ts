import { fail } from "../diagnostics/index.ts";
import type { Manifest } from "../formats/manifest.ts";
import type { BackendName } from "./backends/types.ts";
import { collate, type Batch } from "./data/batches.ts";
import type { Example } from "./data/examples.ts";
import type { BatchInput, Tf } from "./program.ts";

/** One micro-batch on the host: padded numbers, and the examples they were made of. */
export interface HostBatch extends Batch {
  readonly examples: readonly Example[];
  /** Real tokens, over all samples. */
  readonly real: number;
}

/** Pads examples to one of `widths`, or to the longest of them, with what the manifest's routers and balances look at. */
export function prepareBatch(examples: readonly Example[], { kinds, fields = [] }: Pick<Manifest, "kinds" | "fields">, widths: readonly number[]): HostBatch {
  return { ...collate(examples, { kinds, fields, widths }), examples, real: examples.reduce((n, e) => n + e.ids.length, 0) };
}

/** Puts a batch on the device. The caller disposes it. */
export function upload(tf: Tf, batch: Batch): BatchInput {
  const shape: [number, number] = [batch.samples, batch.positions];
  return {
    tokens: tf.tensor2d(batch.tokens, shape, "int32"),
    targets: tf.tensor2d(batch.targets, shape, "int32"),
    lossMask: tf.tensor2d(batch.lossMask, shape, "float32"),
    mask: tf.tensor2d(batch.mask, shape, "float32"),
    prompt: tf.tensor2d(batch.prompt, shape, "float32"),
    kind: tf.tensor1d(batch.kinds, "int32"),
    fields: Object.fromEntries(Object.entries(batch.fields).map(([name, column]) => [name, tf.tensor1d(column, column instanceof Int32Array ? "int32" : "float32")])),
  };
}

export function disposeBatch(input: BatchInput): void {
  for (const tensor of [input.tokens, input.targets, input.lossMask, input.mask, input.prompt, input.kind, ...Object.values(input.fields)]) tensor.dispose();
}

/**
 * The widths a batch may have on a backend. WebGPU compiles kernels for every new shape, so it gets few: powers of two
 * up to `longest`. The others take any length as it comes, and none of it is padding.
 */
export function widthsFor(backend: BackendName, longest: number): number[] {
  if (backend !== "webgpu") return [];
  const widths: number[] = [];
  for (let w = 16; w < longest; w *= 2) widths.push(w);
  return [...widths, longest];
}

/** MOE5332 at a token id that the embedding does not have: some backends would read past its rows and say nothing. */
export function checkVocabulary(manifest: Manifest, examples: readonly Example[]): void {
  for (const { ids, row } of examples) {
    const bad = ids.find((id) => id < 0 || id >= manifest.base.vocabulary);
    if (bad !== undefined) fail("MOE5332", `Row ${row + 1} of the data holds the token ${bad}; the base knows 0 to ${manifest.base.vocabulary - 1}.`);
  }
}
