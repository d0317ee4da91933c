import type { ConcreteAxis, Tensor } from "../tensor.ts";
import { allocate, along, countOf, forEachRow, layOut, stridesIn } from "./strided.ts";

/** The elements of `t` gathered so that those along `axes` lie together: [kept, reduced]. */
function grouped(t: Tensor, axes: readonly string[]): { data: Tensor["data"]; kept: readonly ConcreteAxis[]; length: number } {
  const kept = t.axes.filter((a) => !axes.includes(a.name));
  const gone = t.axes.filter((a) => axes.includes(a.name));
  return { data: layOut(t, [...kept, ...gone]).data, kept, length: countOf(gone) };
}

/** Sums over axes. */
export function sumOver(t: Tensor, axes: readonly string[]): Tensor {
  const kept = t.axes.filter((a) => !axes.includes(a.name));
  const data = allocate(t.dtype, countOf(kept));
  const result: Tensor = { dtype: t.dtype, axes: kept, data };
  // The source in its own order, the result under strides that stand still along the axes summed over.
  forEachRow(t.axes.map((a) => a.size), [stridesIn(result, t.axes)], (from, offsets, length, steps) => {
    const step = steps[0]!;
    let to = offsets[0]!;
    if (step === 0) {
      let total = 0;
      for (let i = 0; i < length; i++) total += t.data[from + i]!;
      data[to]! += total;
    } else {
      for (let i = 0; i < length; i++, to += step) data[to]! += t.data[from + i]!;
    }
  });
  return result;
}

export function maxOver(t: Tensor, axes: readonly string[]): Tensor {
  const { data: source, kept, length } = grouped(t, axes);
  const data = allocate(t.dtype, countOf(kept));
  for (let row = 0; row < data.length; row++) {
    let best = source[row * length]!;
    for (let i = 1; i < length; i++) best = Math.max(best, source[row * length + i]!);
    data[row] = best;
  }
  return { dtype: t.dtype, axes: kept, data };
}

/** The lowest index of the greatest element. */
export function argmaxOver(t: Tensor, axis: string): Tensor {
  const { data: source, kept, length } = grouped(t, [axis]);
  const data = new Int32Array(countOf(kept));
  for (let row = 0; row < data.length; row++) {
    let best = 0;
    for (let i = 1; i < length; i++) if (source[row * length + i]! > source[row * length + best]!) best = i;
    data[row] = best;
  }
  return { dtype: "i32", axes: kept, data };
}

/** Calls `f` for each line along an axis, as (start, step, length) into `t.data`, and keeps the layout. */
export function mapLines(t: Tensor, axis: string, dtype: Tensor["dtype"], f: (data: Tensor["data"], start: number, step: number, length: number, out: Tensor["data"]) => void): Tensor {
  const { outer, size, inner } = along(t.axes, axis);
  const out = allocate(dtype, t.data.length);
  for (let o = 0; o < outer; o++) for (let i = 0; i < inner; i++) f(t.data, o * size * inner + i, inner, size, out);
  return { dtype, axes: t.axes, data: out };
}
