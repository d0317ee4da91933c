import { describe, expect, it } from "vitest";
import { randomNormal } from "../../src/runtime/backends/random.ts";
import { orthogonalise, singularTriplets } from "../../src/runtime/singular.ts";

/** `count` orthonormal vectors of n numbers. */
function basis(count: number, n: number, stream: number): Float32Array {
  const q = new Float32Array(count * n);
  randomNormal(q, 3, 0, stream);
  orthogonalise(q, count, n, 1);
  return q;
}

/** A matrix whose singular triplets are known beforehand: Σ values[k] · u_k v_kᵀ. */
function known(rows: number, columns: number, values: readonly number[]): { readonly W: Float32Array; readonly u: Float32Array; readonly v: Float32Array } {
  const u = basis(values.length, rows, 1);
  const v = basis(values.length, columns, 2);
  const W = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (const [k, s] of values.entries()) sum += s * u[k * rows + i]! * v[k * columns + j]!;
      W[i * columns + j] = sum;
    }
  return { W, u, v };
}

const overlap = (a: ArrayLike<number>, b: ArrayLike<number>, n: number, k: number): number => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += a[k * n + i]! * b[k * n + i]!;
  return Math.abs(sum);
};

const falling = (n: number): number[] => Array.from({ length: n }, (_, k) => 10 * 0.8 ** k);

describe("singular triplets", () => {
  it.each([
    ["wide", 24, 40, falling(24), 24],
    ["tall", 40, 24, falling(24), 24],
    ["square", 16, 16, falling(16), 5],
    // Large enough for the iteration on a subspace.
    ["wide, a few of many", 280, 320, falling(280), 6],
    ["tall, a few of many", 320, 280, falling(280), 6],
  ] as const)("%s: those that the matrix was made of", (_, rows, columns, values, count) => {
    const { W, u, v } = known(rows, columns, values);
    const found = singularTriplets(W, rows, columns, count);
    for (let k = 0; k < count; k++) {
      // The matrix is rounded to float32, so small values are known to the rounding of the greatest.
      expect(Math.abs(found.values[k]! - values[k]!), `value ${k}`).toBeLessThan(2e-6 * values[0]!);
      if (values[k]! < 1e-2 * values[0]!) continue;
      expect(overlap(found.left, u, rows, k), `left ${k}`).toBeGreaterThan(1 - 1e-5);
      expect(overlap(found.right, v, columns, k), `right ${k}`).toBeGreaterThan(1 - 1e-5);
    }
  });

  it("multiply back to the matrix, with signs fixed by the greatest entry", () => {
    const { W } = known(12, 9, falling(9));
    const found = singularTriplets(W, 12, 9, 9);
    for (let i = 0; i < 12; i++)
      for (let j = 0; j < 9; j++) {
        let sum = 0;
        for (let k = 0; k < 9; k++) sum += found.values[k]! * found.left[k * 12 + i]! * found.right[k * 9 + j]!;
        expect(sum).toBeCloseTo(W[i * 9 + j]!, 5);
      }
    for (let k = 0; k < 9; k++) {
      const left = [...found.left.subarray(k * 12, (k + 1) * 12)];
      expect(left.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a))).toBeGreaterThan(0);
    }
  });

  it("of a matrix of rank 1 and of zeros are finite", () => {
    expect([...singularTriplets(new Float32Array(12), 3, 4, 3).right].every(Number.isFinite)).toBe(true);
    const { values } = singularTriplets(Float32Array.from({ length: 12 }, (_, i) => (1 + (i % 4)) * (1 + Math.floor(i / 4))), 3, 4, 3);
    expect(values[0]).toBeCloseTo(Math.sqrt(14) * Math.sqrt(30), 6);
    expect(values[1]).toBeLessThan(1e-6);
  });
});

it.each([[6, 10], [10, 6], [7, 7]])("orthogonal first values: %i × %i", (rows, columns) => {
  const Q = new Float32Array(rows * columns);
  randomNormal(Q, 1, 0, 0);
  orthogonalise(Q, rows, columns, 2);
  const [m, at] = rows <= columns ? [rows, (a: number, i: number) => Q[a * columns + i]!] : [columns, (a: number, i: number) => Q[i * columns + a]!];
  for (let a = 0; a < m; a++)
    for (let b = 0; b < m; b++) {
      let sum = 0;
      for (let i = 0; i < Math.max(rows, columns); i++) sum += at(a, i) * at(b, i);
      expect(sum).toBeCloseTo(a === b ? 4 : 0, 5);
    }
});
