import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { randomNormal } from "./backends/random.ts";

/** Some singular triplets of a matrix W [rows, columns], numbered from the greatest value. */
export interface Triplets {
  /** Singular values, by number. */
  readonly values: Float64Array;
  /** The left vector of number k: `left[k * rows + i]`. */
  readonly left: Float64Array;
  /** The right vector of number k: `right[k * columns + j]`. */
  readonly right: Float64Array;
}

/** Up to this size of the smaller side the whole spectrum is computed: iterating would hardly be cheaper. */
const wholeUpTo = 256;

/** Rounds of subspace iteration, and vectors carried beyond those asked for (Halko, Martinsson and Tropp 2011). */
const rounds = 8;
const extra = 16;

/**
 * The first `count` singular triplets of a row-major matrix, in float64. Signs are such that the entry of the left vector
 * that is greatest in size is positive, so that two computations give the same vectors.
 *
 * From the eigenvectors of the smaller Gram matrix: values far below the greatest are good to eight digits, which is what
 * first values of weights need. Where few triplets of a large matrix are asked for, from a subspace that is iterated
 * towards them.
 */
export function singularTriplets(W: Float32Array, rows: number, columns: number, count: number): Triplets {
  const wide = rows <= columns;
  const n = Math.min(rows, columns);
  const small = n <= wholeUpTo || 4 * (count + extra) > n ? wholeBasis(W, rows, columns, wide) : leadingBasis(W, rows, columns, wide, count);
  return complete(W, rows, columns, wide, small, count);
}

/** Orthonormal vectors of the smaller side, [vector, n], by falling singular value. */
interface Basis {
  readonly vectors: Float64Array;
}

function wholeBasis(W: Float32Array, rows: number, columns: number, wide: boolean): Basis {
  const n = Math.min(rows, columns);
  const gram = new Float64Array(n * n);
  if (wide) {
    for (let i = 0; i < n; i++)
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let k = 0; k < columns; k++) sum += W[i * columns + k]! * W[j * columns + k]!;
        gram[i * n + j] = gram[j * n + i] = sum;
      }
  } else {
    for (let r = 0; r < rows; r++)
      for (let i = 0; i < n; i++) {
        const x = W[r * columns + i]!;
        for (let j = 0; j < n; j++) gram[i * n + j] = gram[i * n + j]! + x * W[r * columns + j]!;
      }
  }
  return { vectors: eigenvectors(gram, n) };
}

/** The subspace of the greatest singular values, and in it the vectors themselves. */
function leadingBasis(W: Float32Array, rows: number, columns: number, wide: boolean, count: number): Basis {
  const n = Math.min(rows, columns);
  const m = count + extra;
  const start = new Float32Array(m * n);
  randomNormal(start, 0, 0, 0);
  let Q = orthonormal(Float64Array.from(start), m, n);
  const across = (q: Float64Array): Float64Array => (wide ? timesRows(q, W, m, rows, columns) : timesColumns(q, W, m, rows, columns));
  const back = (y: Float64Array): Float64Array => (wide ? timesColumns(y, W, m, rows, columns) : timesRows(y, W, m, rows, columns));
  for (let round = 0; round < rounds; round++) Q = orthonormal(back(across(Q)), m, n);
  // W W^T (or W^T W) seen in the subspace: its eigenvectors turn Q into singular vectors.
  const Y = across(Q);
  const width = Y.length / m;
  const projected = new Float64Array(m * m);
  for (let a = 0; a < m; a++) for (let b = 0; b < m; b++) projected[a * m + b] = dot(Y, a * width, Y, b * width, width);
  const turn = eigenvectors(projected, m);
  const vectors = new Float64Array(m * n);
  for (let a = 0; a < m; a++) for (let b = 0; b < m; b++) axpy(turn[a * m + b]!, Q, b * n, vectors, a * n, n);
  return { vectors };
}

/** From one side's vectors the values and the other side's. */
function complete(W: Float32Array, rows: number, columns: number, wide: boolean, { vectors }: Basis, count: number): Triplets {
  const n = Math.min(rows, columns);
  const own = vectors.slice(0, count * n);
  const other = wide ? timesRows(own, W, count, rows, columns) : timesColumns(own, W, count, rows, columns);
  const width = other.length / count;
  const values = new Float64Array(count);
  for (let k = 0; k < count; k++) {
    const value = Math.sqrt(dot(other, k * width, other, k * width, width));
    values[k] = value;
    for (let i = 0; i < width; i++) other[k * width + i] = value > 0 ? other[k * width + i]! / value : 0;
  }
  const [left, right] = wide ? [own, other] : [other, own];
  for (let k = 0; k < count; k++) {
    let greatest = 0;
    for (let i = 0; i < rows; i++) if (Math.abs(left[k * rows + i]!) > Math.abs(greatest)) greatest = left[k * rows + i]!;
    if (greatest >= 0) continue;
    for (let i = 0; i < rows; i++) left[k * rows + i] = -left[k * rows + i]!;
    for (let j = 0; j < columns; j++) right[k * columns + j] = -right[k * columns + j]!;
  }
  return { values, left, right };
}

/** q [m, rows] · W [rows, columns]. */
function timesRows(q: Float64Array, W: Float32Array, m: number, rows: number, columns: number): Float64Array {
  const out = new Float64Array(m * columns);
  for (let r = 0; r < rows; r++)
    for (let a = 0; a < m; a++) {
      const x = q[a * rows + r]!;
      const at = a * columns;
      for (let c = 0; c < columns; c++) out[at + c] = out[at + c]! + x * W[r * columns + c]!;
    }
  return out;
}

/** q [m, columns] · Wᵀ [columns, rows]. */
function timesColumns(q: Float64Array, W: Float32Array, m: number, rows: number, columns: number): Float64Array {
  const out = new Float64Array(m * rows);
  for (let r = 0; r < rows; r++)
    for (let a = 0; a < m; a++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += q[a * columns + c]! * W[r * columns + c]!;
      out[a * rows + r] = sum;
    }
  return out;
}

/** Gram–Schmidt over m vectors of n numbers, twice, so that what is left of earlier ones is rounding. */
function orthonormal(vectors: Float64Array, m: number, n: number): Float64Array {
  for (let a = 0; a < m; a++) {
    for (let pass = 0; pass < 2; pass++) for (let b = 0; b < a; b++) axpy(-dot(vectors, a * n, vectors, b * n, n), vectors, b * n, vectors, a * n, n);
    const length = Math.sqrt(dot(vectors, a * n, vectors, a * n, n));
    for (let i = 0; i < n; i++) vectors[a * n + i] = length > 0 ? vectors[a * n + i]! / length : 0;
  }
  return vectors;
}

/** Eigenvectors of a symmetric matrix, [vector, n], by falling eigenvalue. */
function eigenvectors(symmetric: Float64Array, n: number): Float64Array {
  const rows = Array.from({ length: n }, (_, i) => symmetric.slice(i * n, (i + 1) * n));
  const found = new EigenvalueDecomposition(new Matrix(rows as unknown as number[][]), { assumeSymmetric: true });
  const { eigenvectorMatrix, realEigenvalues } = found;
  const order = realEigenvalues.map((_, i) => i).sort((a, b) => realEigenvalues[b]! - realEigenvalues[a]!);
  const out = new Float64Array(n * n);
  order.forEach((column, k) => {
    for (let i = 0; i < n; i++) out[k * n + i] = eigenvectorMatrix.get(i, column);
  });
  return out;
}

function dot(a: Float64Array, from: number, b: Float64Array, at: number, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += a[from + i]! * b[at + i]!;
  return sum;
}

/** y += scale · x, over n numbers. */
function axpy(scale: number, x: Float64Array, from: number, y: Float64Array, at: number, n: number): void {
  for (let i = 0; i < n; i++) y[at + i] = y[at + i]! + scale * x[from + i]!;
}

/**
 * A random matrix with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al. 2014), as
 * torch.nn.init.orthogonal_: from the normal numbers in `out` [rows, columns], which it takes the place of.
 */
export function orthogonalise(out: Float32Array, rows: number, columns: number, gain: number): void {
  const m = Math.min(rows, columns);
  const n = Math.max(rows, columns);
  const vectors = new Float64Array(m * n);
  const at = (a: number, i: number): number => (rows <= columns ? a * columns + i : i * columns + a);
  for (let a = 0; a < m; a++) for (let i = 0; i < n; i++) vectors[a * n + i] = out[at(a, i)]!;
  orthonormal(vectors, m, n);
  for (let a = 0; a < m; a++) for (let i = 0; i < n; i++) out[at(a, i)] = gain * vectors[a * n + i]!;
}
