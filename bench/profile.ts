import type { Tensor } from "@tensorflow/tfjs-core";
import type { Tf } from "../src/runtime/index.ts";

/** One kernel on operands of given shapes, over all rounds. */
export interface KernelTime {
  readonly kernel: string;
  /** Shapes of its operands, "1024x32 32x2752". */
  readonly shapes: string;
  readonly calls: number;
  /** Milliseconds of one round. */
  readonly ms: number;
}

/**
 * TensorFlow.js with every function that generated code calls timed. Right for backends whose kernels have run when the
 * call returns: wasm, cpu, tfjs-node.
 */
export function profiled(tf: Tf): { readonly tf: Tf; report(rounds: number): readonly KernelTime[]; reset(): void } {
  const times = new Map<string, { calls: number; ms: number }>();
  const timed = new Proxy(tf, {
    get(target, name) {
      const found = target[name as keyof Tf] as unknown;
      if (typeof found !== "function" || typeof name !== "string") return found;
      return (...args: unknown[]): unknown => {
        const start = performance.now();
        const result = (found as (...a: unknown[]) => unknown).apply(target, args);
        const ms = performance.now() - start;
        const shapes = args.flatMap((a) => (Array.isArray(a) ? a : [a])).flatMap((a) => (isTensor(a) ? [a.shape.join("x") || "1"] : [])).join(" ");
        const entry = times.get(`${name} ${shapes}`) ?? { calls: 0, ms: 0 };
        times.set(`${name} ${shapes}`, { calls: entry.calls + 1, ms: entry.ms + ms });
        return result;
      };
    },
  });
  return {
    tf: timed,
    reset: () => times.clear(),
    report: (rounds) =>
      [...times]
        .map(([key, { calls, ms }]) => ({ kernel: key.slice(0, key.indexOf(" ")), shapes: key.slice(key.indexOf(" ") + 1), calls: calls / rounds, ms: ms / rounds }))
        .sort((a, b) => b.ms - a.ms),
  };
}

function isTensor(x: unknown): x is Tensor {
  return typeof x === "object" && x !== null && "shape" in x && "dataId" in x;
}
