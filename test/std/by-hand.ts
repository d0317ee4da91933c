import { expect } from "vitest";
import type { Tensor } from "../../src/ir/index.ts";
import { valuesOf, type Site, type SiteSizes } from "./support.ts";

/** What formulas are written out with by hand: loops over plain numbers, and nothing of the compiler's. */

export type Matrix = readonly (readonly number[])[];

export const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
export const rows = (data: readonly number[], width: number): Matrix => range(data.length / width).map((i) => data.slice(i * width, (i + 1) * width));

/** Whether an axis is what the text calls so: one of another size has a number behind its name. */
const called = (axis: string, name: string): boolean => axis.replace(/_\d+$/, "") === name;

/**
 * A weight with two axes as a matrix, whichever lies first; of one expert where experts are stacked: along `expert`, or
 * along an axis called as their group where there are other groups of experts.
 */
export function matrix(of: Site, name: string, rowAxis: string, expert?: number): Matrix {
  const t = of.args[of.param(name)] as Tensor;
  const strides = t.axes.map((_, i) => t.axes.slice(i + 1).reduce((n, a) => n * a.size, 1));
  const row = t.axes.findIndex((a) => called(a.name, rowAxis));
  const stacked = expert === undefined ? -1 : t.axes.findIndex((a) => called(a.name, "expert") || called(a.name, name.split(".")[0]!));
  const column = t.axes.findIndex((_, i) => i !== row && i !== stacked);
  return range(t.axes[row]!.size).map((i) => range(t.axes[column]!.size).map((j) => t.data[i * strides[row]! + j * strides[column]! + (stacked < 0 ? 0 : expert! * strides[stacked]!)]!));
}

/** v · M, M's rows along v. */
export const times = (v: readonly number[], M: Matrix): number[] => range(M[0]!.length).map((j) => sum(v.map((x, i) => x * M[i]![j]!)));

export function softmax(logits: readonly number[]): number[] {
  const e = logits.map((v) => Math.exp(v - Math.max(...logits)));
  return e.map((v) => v / sum(e));
}

export const sizesOf = (seed: number): SiteSizes => ({ in: 3 + (seed % 4), out: 2 + (seed % 3), sample: 1 + (seed % 3), position: 2 + (seed % 4) });
export const seeds = [1, 2, 3, 4, 5, 6];

export const near = (actual: number, expected: number): void => expect(actual).toBeCloseTo(expected, 11);

/** An element by the names of its axes, whatever their order. */
export function element(t: Tensor, at: Readonly<Record<string, number>>): number {
  return t.data[t.axes.reduce((n, a) => n * a.size + at[a.name]!, 0)]!;
}

export const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));
/** The error function by a series of positive terms: 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (1 · 3 · … · (2n+1)). */
export function erf(x: number): number {
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > 1e-18; n++) total += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}
export const softplus = (v: number): number => Math.log(1 + Math.exp(v));
/** Of numbers in falling order: the k-th, counted from 1. */
export const greatest = (of: readonly number[], k: number): number => [...of].sort((a, b) => b - a)[k - 1]!;
/** Squared coefficient of variation, with the unbiased variance (the authors' code of LoRAMoE). */
export function cvSquared(of: readonly number[]): number {
  const mean = sum(of) / of.length;
  return sum(of.map((v) => (v - mean) ** 2)) / (of.length - 1) / (mean * mean + 1e-10);
}

/** Experts chosen per token: the k of the greatest probability. */
export const top = (p: readonly number[], k: number): Set<number> => new Set(range(p.length).sort((a, b) => p[b]! - p[a]!).slice(0, k));

/** Probabilities of each token. */
export function probabilities(of: Site): Matrix {
  const W = matrix(of, "router.W", "in");
  return rows(valuesOf(of, "x"), W.length).map((x) => softmax(times(x, W)));
}
