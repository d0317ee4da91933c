import type { ConcreteAxis, Tensor } from "../tensor.ts";
import { countOf, layOut } from "./strided.ts";

/** Rows of b that one turn of the loop keeps in the cache: 64 rows of up to 512 float64 are a quarter of a megabyte. */
const BLOCK = 64;

/**
 * Sum over `over` of a*b, as one matrix product for each element of the batch axes: a becomes [batch, m, k], b becomes
 * [batch, k, n], and the result [batch, m, n] is laid out as the op's contract has it.
 */
export function dotOf(a: Tensor, b: Tensor, over: readonly string[]): Tensor {
  const inB = new Set(b.axes.map((q) => q.name));
  const inA = new Set(a.axes.map((q) => q.name));
  const batch = a.axes.filter((q) => inB.has(q.name) && !over.includes(q.name));
  const contracted = a.axes.filter((q) => over.includes(q.name));
  const own = a.axes.filter((q) => !inB.has(q.name));
  const other = b.axes.filter((q) => !inA.has(q.name));
  const x = layOut(a, [...batch, ...own, ...contracted]).data as Float64Array;
  const y = layOut(b, [...batch, ...contracted, ...other]).data as Float64Array;
  const batches = countOf(batch);
  const m = countOf(own);
  const k = countOf(contracted);
  const n = countOf(other);
  const axes: ConcreteAxis[] = [...batch, ...own, ...other];
  const data = new Float64Array(batches * m * n);
  for (let t = 0; t < batches; t++) multiply(x, t * m * k, y, t * k * n, data, t * m * n, m, k, n);
  return { dtype: "f32", axes, data };
}

function multiply(x: Float64Array, x0: number, y: Float64Array, y0: number, out: Float64Array, out0: number, m: number, k: number, n: number): void {
  if (n === 1) {
    for (let i = 0; i < m; i++) {
      let total = 0;
      for (let p = 0; p < k; p++) total += x[x0 + i * k + p]! * y[y0 + p]!;
      out[out0 + i] = total;
    }
    return;
  }
  for (let from = 0; from < k; from += BLOCK) {
    const to = Math.min(from + BLOCK, k);
    for (let i = 0; i < m; i++) {
      const row = out0 + i * n;
      for (let p = from; p < to; p++) {
        const factor = x[x0 + i * k + p]!;
        const line = y0 + p * n;
        for (let j = 0; j < n; j++) out[row + j]! += factor * y[line + j]!;
      }
    }
  }
}
