import type { DType } from "../graph.ts";
import type { ConcreteAxis, Data, Tensor } from "../tensor.ts";

/** Zeroed elements of a dtype. */
export function allocate(dtype: DType, count: number): Data {
  return dtype === "f32" ? new Float64Array(count) : dtype === "i32" ? new Int32Array(count) : new Uint8Array(count);
}

export function countOf(axes: readonly ConcreteAxis[]): number {
  let n = 1;
  for (const a of axes) n *= a.size;
  return n;
}

/** For each of `axes`: how far apart its neighbours lie in `t`; 0 along axes that `t` lacks. */
export function stridesIn(t: Tensor, axes: readonly ConcreteAxis[]): number[] {
  const own = new Map<string, number>();
  let stride = 1;
  for (let i = t.axes.length - 1; i >= 0; i--) {
    own.set(t.axes[i]!.name, stride);
    stride *= t.axes[i]!.size;
  }
  return axes.map((a) => own.get(a.name) ?? 0);
}

/**
 * Visits a space of `sizes` row by row: `visit(out, offsets, length, steps)` stands for `length` elements, whose first
 * lies at `out` in row-major order and at `offsets[i]` of operand i, which goes on in steps of `steps[i]`. Neighbouring
 * axes that every operand holds contiguously are visited as one, so rows are long.
 */
export function forEachRow(
  sizes: readonly number[],
  strides: readonly (readonly number[])[],
  visit: (out: number, offsets: readonly number[], length: number, steps: readonly number[]) => void,
): void {
  // Unit axes vanish; an axis joins the one before it where no operand jumps between them.
  const joined: number[] = [];
  const steps: number[][] = strides.map(() => []);
  for (let i = 0; i < sizes.length; i++) {
    const size = sizes[i]!;
    if (size === 1) continue;
    const last = joined.length - 1;
    if (last >= 0 && strides.every((s, k) => steps[k]![last] === s[i]! * size)) {
      joined[last]! *= size;
      strides.forEach((s, k) => (steps[k]![last] = s[i]!));
    } else {
      joined.push(size);
      strides.forEach((s, k) => steps[k]!.push(s[i]!));
    }
  }
  const length = joined.pop() ?? 1;
  const inner = steps.map((s) => s.pop() ?? 0);
  const offsets = strides.map(() => 0);
  const counter = joined.map(() => 0);
  let rows = 1;
  for (const size of joined) rows *= size;
  for (let row = 0; row < rows; row++) {
    visit(row * length, offsets, length, inner);
    for (let axis = joined.length - 1; axis >= 0; axis--) {
      const wrapped = ++counter[axis]! === joined[axis]!;
      for (let k = 0; k < offsets.length; k++) {
        const step = steps[k]![axis]!;
        offsets[k]! += wrapped ? -step * (joined[axis]! - 1) : step;
      }
      if (!wrapped) break;
      counter[axis] = 0;
    }
  }
}

/** `t` laid out as `axes` (which hold all of its own), repeated along those it lacks; `t` itself where nothing moves. */
export function layOut(t: Tensor, axes: readonly ConcreteAxis[]): Tensor {
  if (t.axes.length === axes.length && t.axes.every((a, i) => a.name === axes[i]!.name)) return t;
  const data = allocate(t.dtype, countOf(axes));
  const source = t.data;
  forEachRow(
    axes.map((a) => a.size),
    [stridesIn(t, axes)],
    (out, offsets, length, steps) => {
      let from = offsets[0]!;
      const step = steps[0]!;
      for (let i = 0; i < length; i++, from += step) data[out + i] = source[from]!;
    },
  );
  return { dtype: t.dtype, axes, data };
}

/** A tensor as [outer, axis, inner]: what ops along one axis loop over. */
export function along(axes: readonly ConcreteAxis[], name: string): { outer: number; size: number; inner: number; at: number } {
  const at = axes.findIndex((a) => a.name === name);
  return { outer: countOf(axes.slice(0, at)), size: axes[at]!.size, inner: countOf(axes.slice(at + 1)), at };
}
