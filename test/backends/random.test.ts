import { describe, expect, it } from "vitest";
import { randomAtLeast, randomNormal, randomUniform, threefry2x32 } from "../../src/runtime/backends/random.ts";

const N = 1 << 20;

function uniform(seed: number, step: number, stream: number, n = N): Float32Array {
  const out = new Float32Array(n);
  randomUniform(out, seed, step, stream);
  return out;
}

/** Pearson correlation times sqrt(n): standard normal where the two are independent. */
function correlationScore(a: Float32Array, b: Float32Array, lag = 0): number {
  const n = a.length - lag;
  let [sa, sb, saa, sbb, sab] = [0, 0, 0, 0, 0];
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    const y = b[i + lag]!;
    sa += x;
    sb += y;
    saa += x * x;
    sbb += y * y;
    sab += x * y;
  }
  const covariance = sab / n - (sa / n) * (sb / n);
  return (covariance / Math.sqrt((saa / n - (sa / n) ** 2) * (sbb / n - (sb / n) ** 2))) * Math.sqrt(n);
}

/** (χ² - df) / sqrt(2 df) over equal cells: about standard normal where the numbers are uniform. */
function chiSquareScore(cells: readonly number[] | Uint32Array, total: number): number {
  const expected = total / cells.length;
  let chi = 0;
  for (const c of cells) chi += (c - expected) ** 2 / expected;
  const df = cells.length - 1;
  return (chi - df) / Math.sqrt(2 * df);
}

describe("threefry2x32", () => {
  // Random123's kat_vectors, lines "threefry2x32 20".
  it.each([
    { key: [0, 0], counter: [0, 0], result: [0x6b200159, 0x99ba4efe] },
    { key: [0xffffffff, 0xffffffff], counter: [0xffffffff, 0xffffffff], result: [0x1cb996fc, 0xbb002be7] },
    { key: [0x13198a2e, 0x03707344], counter: [0x243f6a88, 0x85a308d3], result: [0xc4923a9c, 0x483df7a0] },
  ])("gives the published vector for key $key", ({ key, counter, result }) => {
    expect(threefry2x32(key[0]!, key[1]!, counter[0]!, counter[1]!)).toEqual(result);
  });
});

describe("randomAtLeast", () => {
  it("says where the uniform numbers are at least a number", () => {
    const n = 10_000;
    const drawn = uniform(3, 4, 5, n);
    for (const least of [0, 0.05, 0.5, drawn[17]!, 0.999, 1]) {
      const out = new Uint8Array(n);
      randomAtLeast(out, least, 3, 4, 5);
      expect(Array.from(out)).toEqual(Array.from(drawn, (u) => Number(u >= least)));
    }
  });
});

describe("randomUniform", () => {
  it("lies in [0, 1) with the mean and the variance of the uniform distribution", () => {
    const x = uniform(1, 0, 0);
    let [sum, squares, low, high] = [0, 0, 1, 0];
    for (const v of x) {
      sum += v;
      squares += v * v;
      if (v < low) low = v;
      if (v > high) high = v;
    }
    const mean = sum / N;
    expect(low).toBeGreaterThanOrEqual(0);
    expect(low).toBeLessThan(1e-4);
    expect(high).toBeLessThan(1);
    expect(high).toBeGreaterThan(1 - 1e-4);
    // Standard errors: mean sqrt(1/12/N), variance sqrt(1/180/N); 4.5 of them is one run in 150,000.
    expect(Math.abs(mean - 0.5)).toBeLessThan(4.5 * Math.sqrt(1 / 12 / N));
    expect(Math.abs(squares / N - mean * mean - 1 / 12)).toBeLessThan(4.5 * Math.sqrt(1 / 180 / N));
  });

  it("fills equal cells equally, by its high bits and by its low bits, in one and in two dimensions", () => {
    for (const [seed, step, stream] of [[1, 0, 0], [1, 1, 0], [1, 0, 1], [2 ** 40, 12345, 678]] as const) {
      const x = uniform(seed, step, stream);
      const top = new Uint32Array(1024);
      const bottom = new Uint32Array(1024);
      const pairs = new Uint32Array(64 * 64);
      for (let i = 0; i < N; i++) {
        const word = x[i]! * 2 ** 24;
        top[word >>> 14]!++;
        bottom[word & 1023]!++;
        if (i % 2 === 1) pairs[(x[i - 1]! * 64 | 0) * 64 + (x[i]! * 64 | 0)]!++;
      }
      expect(Math.abs(chiSquareScore(top, N))).toBeLessThan(4.5);
      expect(Math.abs(chiSquareScore(bottom, N))).toBeLessThan(4.5);
      expect(Math.abs(chiSquareScore(pairs, N / 2))).toBeLessThan(4.5);
    }
  });

  it("has no correlation between neighbours, nor at lags where rows of a matrix meet", () => {
    const x = uniform(7, 3, 2);
    for (const lag of [1, 2, 3, 4, 8, 64, 128, 512, 1024, 1376, 4096]) expect(Math.abs(correlationScore(x, x, lag))).toBeLessThan(4.5);
  });

  it("makes runs of dropped numbers as long as independence has them", () => {
    // Of a mask with probability p, runs of length ≥ k start at a place with probability (1 - p) p^k.
    const x = uniform(11, 0, 0);
    const p = 0.05;
    let starts = 0;
    for (let i = 1; i + 1 < N; i++) if (x[i - 1]! >= p && x[i]! < p && x[i + 1]! < p) starts++;
    const expected = N * (1 - p) * p * p;
    expect(Math.abs(starts - expected)).toBeLessThan(4.5 * Math.sqrt(expected));
  });

  it("gives unrelated numbers for neighbouring seeds, steps and streams", () => {
    const at = [uniform(1, 5, 9), uniform(2, 5, 9), uniform(1, 6, 9), uniform(1, 5, 10), uniform(1 + 2 ** 32, 5, 9), uniform(1, 5 + 2 ** 32, 9), uniform(5, 1, 9)];
    for (let i = 0; i < at.length; i++) {
      for (let j = i + 1; j < at.length; j++) {
        for (const lag of [0, 1]) expect(Math.abs(correlationScore(at[i]!, at[j]!, lag))).toBeLessThan(4.5);
      }
    }
  });

  it("spreads the first number of a thousand steps and of a thousand streams evenly", () => {
    const cells = [new Uint32Array(32), new Uint32Array(32)];
    for (let k = 0; k < 4096; k++) {
      cells[0]![uniform(3, k, 0, 1)[0]! * 32 | 0]!++;
      cells[1]![uniform(3, 0, k, 1)[0]! * 32 | 0]!++;
    }
    for (const c of cells) expect(Math.abs(chiSquareScore(c, 4096))).toBeLessThan(4.5);
  });

  it("is stateless: the same arguments, the same bits, whole or in blocks", () => {
    const whole = uniform(42, 7, 3, 1000);
    expect(uniform(42, 7, 3, 1000)).toEqual(whole);
    const block = new Float32Array(400);
    randomUniform(block, 42, 7, 3, 600);
    expect(block).toEqual(whole.subarray(600));
  });

  it("keeps its numbers: a checkpoint that is resumed years later draws what it would have drawn", () => {
    expect(Array.from(uniform(1, 2, 3, 4), (v) => v * 2 ** 24)).toEqual([393846,13597213,10697769,8154518]);
  });

  it.each([-1, 0.5, Number.NaN, 2 ** 53])("refuses %s as a seed, step or stream", (bad) => {
    const out = new Float32Array(1);
    expect(() => randomUniform(out, bad, 0, 0)).toThrow(RangeError);
    expect(() => randomUniform(out, 0, bad, 0)).toThrow(RangeError);
    expect(() => randomUniform(out, 0, 0, bad)).toThrow(RangeError);
  });
});

describe("randomNormal", () => {
  it("has the moments of the standard normal distribution", () => {
    const x = new Float32Array(N);
    randomNormal(x, 1, 0, 0);
    const moments = [0, 0, 0, 0];
    for (const v of x) for (let k = 0; k < 4; k++) moments[k]! += v ** (k + 1) / N;
    // Variances of the sample moments: 1, 2, 15, 96 over N.
    [0, 1, 0, 3].forEach((expected, k) => expect(Math.abs(moments[k]! - expected)).toBeLessThan(4.5 * Math.sqrt([1, 2, 15, 96][k]! / N)));
  });

  it("has the tails of the standard normal distribution", () => {
    const x = new Float32Array(N);
    randomNormal(x, 2, 0, 0);
    // P(|z| > 1), > 2, > 3, > 4 of the standard normal.
    for (const [bound, p] of [[1, 0.3173105], [2, 0.0455003], [3, 0.0026998], [4, 6.3342e-5]] as const) {
      let count = 0;
      for (const v of x) if (Math.abs(v) > bound) count++;
      expect(Math.abs(count - N * p)).toBeLessThan(4.5 * Math.sqrt(N * p * (1 - p)));
    }
  });

  it("has independent neighbours, though they come in pairs", () => {
    const x = new Float32Array(N);
    randomNormal(x, 3, 0, 0);
    for (const lag of [1, 2, 3]) expect(Math.abs(correlationScore(x, x, lag))).toBeLessThan(4.5);
    const squares = x.map((v) => v * v);
    expect(Math.abs(correlationScore(squares, squares, 1))).toBeLessThan(4.5);
  });

  it("is stateless, in blocks and for an odd length too", () => {
    const whole = new Float32Array(101);
    randomNormal(whole, 5, 1, 1);
    const block = new Float32Array(41);
    randomNormal(block, 5, 1, 1, 60);
    expect(block).toEqual(whole.subarray(60));
    expect(() => randomNormal(block, 5, 1, 1, 61)).toThrow(RangeError);
  });
});
