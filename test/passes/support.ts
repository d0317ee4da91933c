import { expect } from "vitest";
import { type Arg, type InterpretOptions, type Module, ModuleBuilder, type Tensor, type Type, type Value, interpret, verify } from "../../src/ir/index.ts";
import type { Builder } from "../../src/ir/index.ts";

/** A repeatable source of numbers in [0, 1) (mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export type Sizes = Readonly<Record<string, number>>;

/** A random argument of a type: f32 in [low, high), i32 in 0..3, bool either. */
export function randomArg(type: Type, next: () => number, low = -1.5, high = 1.5, sizes: Sizes = {}): Arg {
  if (type.kind === "number") return Math.floor(next() * 10);
  if (type.kind === "list") return Array.from({ length: type.count }, () => randomArg(type.of, next, low, high, sizes) as Tensor);
  const axes = type.axes.map((a) => ({ name: a.name, size: typeof a.size === "number" ? a.size : sizes[a.size]! }));
  const count = axes.reduce((n, a) => n * a.size, 1);
  const draw = type.dtype === "f32" ? () => low + (high - low) * next() : type.dtype === "i32" ? () => Math.floor(next() * 3) : () => (next() < 0.5 ? 0 : 1);
  const plain = Array.from({ length: count }, draw);
  return { dtype: type.dtype, axes, data: type.dtype === "f32" ? Float64Array.from(plain) : type.dtype === "i32" ? Int32Array.from(plain) : Uint8Array.from(plain) };
}

/** No fault found by the verifier. */
export function sound(module: Module): void {
  expect(verify(module).map((d) => d.message)).toEqual([]);
}

export function tensorsOf(arg: Arg): readonly Tensor[] {
  return typeof arg === "number" ? [] : Array.isArray(arg) ? (arg as readonly Tensor[]) : [arg as Tensor];
}

/** The greatest difference of two arguments' numbers, relative to the greatest of them or 1. Axis order must agree. */
export function difference(a: Arg, b: Arg): number {
  const x = tensorsOf(a);
  const y = tensorsOf(b);
  expect(x.length).toBe(y.length);
  let worst = 0;
  let scale = 1;
  x.forEach((t, i) => {
    expect(y[i]!.axes).toEqual(t.axes);
    expect(y[i]!.dtype).toBe(t.dtype);
    t.data.forEach((v, k) => {
      const w = y[i]!.data[k]!;
      if (Number.isNaN(v) || Number.isNaN(w)) throw new Error("a number is not one");
      worst = Math.max(worst, Math.abs(v - w));
      scale = Math.max(scale, Math.abs(v), Math.abs(w));
    });
  });
  return worst / scale;
}

/**
 * Gradients of scalar result `of` by central differences in float64: (f(x+h) - f(x-h)) / 2h, extrapolated once
 * (Richardson), error O(h^4).
 */
export function finiteDifferences(module: Module, fn: string, args: readonly Arg[], of: number, wrt: number, h = 1e-3, options: InterpretOptions = {}): Arg {
  const at = (list: number, k: number, step: number): number => {
    const moved = args.map((a, i) => {
      if (i !== wrt) return a;
      const tensors = tensorsOf(a).map((t, n) => (n === list ? { ...t, data: Float64Array.from(t.data, (v, m) => (m === k ? v + step : v)) } : t));
      return Array.isArray(a) ? tensors : tensors[0]!;
    });
    return (interpret(module, fn, moved, options)[of] as Tensor).data[0]!;
  };
  const slope = (list: number, k: number, step: number): number => (at(list, k, step) - at(list, k, -step)) / (2 * step);
  const grads = tensorsOf(args[wrt]!).map((t, n) => ({
    ...t,
    data: Float64Array.from(t.data, (_, k) => (4 * slope(n, k, h / 2) - slope(n, k, h)) / 3),
  }));
  return Array.isArray(args[wrt]) ? grads : grads[0]!;
}

/** A module of functions and no entries. */
export function moduleOf(write: (m: ModuleBuilder) => void): Module {
  const m = new ModuleBuilder();
  write(m);
  return m.finish();
}

/** A scalar that weighs every element of v differently, so that no gradient cancels: sum of sin(1 + k) v_k. */
export function weighed(b: Builder, v: Value): Value {
  if (v.type.kind !== "tensor") throw new Error("a tensor was expected");
  const axes = v.type.axes;
  if (axes.length === 0) return b.mul(v, 0.7);
  const count = axes.reduce((n, a) => n * Number(a.size), 1);
  const table = b.table(Array.from({ length: count }, (_, k) => Math.sin(1 + k)), axes);
  return b.sum(b.mul(v, table), axes.map((a) => a.name));
}
