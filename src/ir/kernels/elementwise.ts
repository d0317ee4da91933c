import type { DType } from "../graph.ts";
import type { ConcreteAxis, Tensor } from "../tensor.ts";
import { allocate, countOf, forEachRow, stridesIn } from "./strided.ts";

export function mapOne(t: Tensor, dtype: DType, f: (x: number) => number): Tensor {
  const data = allocate(dtype, t.data.length);
  const source = t.data;
  for (let i = 0; i < data.length; i++) data[i] = f(source[i]!);
  return { dtype, axes: t.axes, data };
}

/** f over two tensors aligned by name, laid out as `axes`. */
export function mapTwo(a: Tensor, b: Tensor, axes: readonly ConcreteAxis[], dtype: DType, f: (x: number, y: number) => number): Tensor {
  const data = allocate(dtype, countOf(axes));
  const x = a.data;
  const y = b.data;
  forEachRow(axes.map((q) => q.size), [stridesIn(a, axes), stridesIn(b, axes)], (out, offsets, length, steps) => {
    let i = offsets[0]!;
    let j = offsets[1]!;
    const di = steps[0]!;
    const dj = steps[1]!;
    for (let k = 0; k < length; k++, i += di, j += dj) data[out + k] = f(x[i]!, y[j]!);
  });
  return { dtype, axes, data };
}

/** a where the condition holds, b elsewhere. */
export function selectOf(condition: Tensor, a: Tensor, b: Tensor, axes: readonly ConcreteAxis[]): Tensor {
  const data = allocate(a.dtype, countOf(axes));
  const strides = [stridesIn(condition, axes), stridesIn(a, axes), stridesIn(b, axes)];
  forEachRow(axes.map((q) => q.size), strides, (out, offsets, length, steps) => {
    const [c, x, y] = offsets as [number, number, number];
    const [dc, dx, dy] = steps as [number, number, number];
    for (let k = 0; k < length; k++) data[out + k] = condition.data[c + k * dc] ? a.data[x + k * dx]! : b.data[y + k * dy]!;
  });
  return { dtype: a.dtype, axes, data };
}

/**
 * The error function, to float64's precision: the Maclaurin series of erf(x) = 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!
 * (Abramowitz and Stegun 7.1.6) below 2.5, the continued fraction of erfc (7.1.14) above.
 */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= (2 * z * z) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum;
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

/** log(1 + exp(x)) without overflow. */
export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

export function sigmoid(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
