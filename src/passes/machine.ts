import type { BackendName } from "../formats/backends.ts";
import type { Cost } from "../ir/cost.ts";

/**
 * What a backend takes, in floating-point operations of a large product: for a byte of memory moved, and for starting a kernel.
 * Only ratios count.
 */
export interface Machine {
  readonly flopsPerByte: number;
  readonly flopsPerKernel: number;
}

/** What an op takes beside its operations and bytes: the kernels that are started for it. */
export type Work = Cost & { readonly kernels: number };

/**
 * By backend, fitted to where the faster form changes in `npm run bench -- sparse` on two CPU cores (docs/performance.md).
 * null: tokens are not sorted. WebGPU cannot be read in the midst of a step, so that its sorted form would have all the
 * operations of the dense one, for each of a token's choices; on a GPU by TensorFlow nothing is measured.
 */
export const machines = {
  wasm: { flopsPerByte: 10, flopsPerKernel: 1e6 },
  cpu: { flopsPerByte: 0.5, flopsPerKernel: 3e4 },
  "tfjs-node": { flopsPerByte: 11, flopsPerKernel: 4e6 },
  "tfjs-node-gpu": null,
  onnx: { flopsPerByte: 8, flopsPerKernel: 1e6 },
  webgpu: null,
} as const satisfies Readonly<Record<BackendName, Machine | null>>;

/** Time in floating-point operations. */
export function timeOf({ flops, bytes, kernels }: Work, machine: Machine): number {
  return flops + machine.flopsPerByte * bytes + machine.flopsPerKernel * kernels;
}
