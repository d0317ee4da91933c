import type { Cost } from "../ir/cost.ts";

/**
 * What a machine takes, in floating-point operations of a large product: for a byte of memory moved, and for starting a kernel.
 * Only ratios count.
 */
export interface Machine {
  readonly flopsPerByte: number;
  readonly flopsPerKernel: number;
}

/**
 * Between wasm on one thread and TensorFlow on a few: a program that is built runs on either. Measured by
 * `npm run bench -- sparse` (docs/performance.md).
 */
export const anyMachine: Machine = { flopsPerByte: 10, flopsPerKernel: 1e6 };

/** Time in floating-point operations. */
export function timeOf({ flops, bytes, kernels }: Cost & { readonly kernels: number }, machine: Machine): number {
  return flops + machine.flopsPerByte * bytes + machine.flopsPerKernel * kernels;
}
