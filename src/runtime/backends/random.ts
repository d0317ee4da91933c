/**
 * Counter-based random numbers: a number is a function of (seed, step, stream, index) and of nothing else.
 *
 * There is no generator to carry around, so a run that is resumed at step 7 draws what an uninterrupted run drew at step
 * 7, and a mask can be drawn again in the backward pass instead of being kept. The arithmetic is 32-bit integers and one
 * exact scaling, so every backend, the reference interpreter and the browser get the same bits.
 *
 * Two parts:
 * - The key of a (seed, step, stream) is made with Threefry-2x32-20 (Salmon et al. 2011, "Parallel random numbers: as
 *   easy as 1, 2, 3"), a reduced block cipher: neighbouring steps and streams get unrelated keys.
 * - The number at an index is a keyed 32-bit permutation of the index: the three multiply/xor-shift rounds of "triple32"
 *   (Wellons, hash prospector; exact bias 0.0209) with one key word before each round. Threefry per number would be
 *   six times dearer, and these numbers decide dropout masks and first weights, not secrets.
 *
 * This file imports nothing, so that any room may be handed its functions.
 */

const INJECT = 0x1bd11bda; // Threefish's key-schedule constant, C240 of Skein 1.3, low word

/**
 * Threefry-2x32 with 20 rounds: encrypts the counter (c0, c1) under the key (k0, k1). All words are unsigned 32-bit; so
 * are the two that are returned. Checked against the known-answer vectors of the Random123 distribution.
 */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number): [number, number] {
  const keys = [k0, k1, (INJECT ^ k0 ^ k1) | 0] as const;
  let x = (c0 + k0) | 0;
  let y = (c1 + k1) | 0;
  for (let group = 1; group <= 5; group++) {
    const rotations = group % 2 === 1 ? ROTATIONS_ODD : ROTATIONS_EVEN;
    for (const r of rotations) {
      x = (x + y) | 0;
      y = ((y << r) | (y >>> (32 - r))) ^ x;
    }
    x = (x + keys[group % 3]!) | 0;
    y = (y + keys[(group + 1) % 3]! + group) | 0;
  }
  return [x >>> 0, y >>> 0];
}

const ROTATIONS_ODD = [13, 15, 26, 6] as const;
const ROTATIONS_EVEN = [17, 29, 16, 24] as const;

/** The three key words of one (seed, step, stream). */
function keyOf(seed: number, step: number, stream: number): readonly [number, number, number] {
  natural(seed, "seed");
  natural(step, "step");
  natural(stream, "stream");
  const [a, b] = threefry2x32(low(seed), high(seed), low(step), high(step));
  const [k0, k1] = threefry2x32(a, b, low(stream), high(stream));
  // One more block for the third word. Its counter cannot be another stream's: high(stream) stays below 2^21.
  const [k2] = threefry2x32(a, b, low(stream), high(stream) + 0x80000000);
  return [k0 | 0, k1 | 0, k2 | 0];
}

const low = (n: number): number => n >>> 0;
const high = (n: number): number => Math.floor(n / 0x100000000);

function natural(n: number, what: string): void {
  if (!Number.isSafeInteger(n) || n < 0) throw new RangeError(`the ${what} of a random draw must be a whole number from 0 to 2^53 - 1, not ${n}`);
}

/**
 * Fills `out` with numbers uniform in [0, 1): multiples of 2^-24, so each is exact in float32 and 1 never occurs.
 *
 * `seed`, `step` and `stream` are whole numbers from 0 to 2^53 - 1 (else a RangeError). `stream` tells apart the draws
 * of one step: a dropout site, a weight's initial value. `offset` is the index of `out[0]`: filling [0, n) at once or in
 * blocks gives the same numbers. One stream holds 2^32 of them.
 */
export function randomUniform(out: Float32Array, seed: number, step: number, stream: number, offset = 0): void {
  const [k0, k1, k2] = keyOf(seed, step, stream);
  const n = out.length;
  for (let i = 0; i < n; i++) {
    // The rounds are written out here and in `bits`: a call per number costs as much as the rounds themselves.
    let x = (offset + i) ^ k0;
    x = Math.imul(x ^ (x >>> 17), 0xed5ad4bb) + k1;
    x = Math.imul(x ^ (x >>> 11), 0xac4c1b51) ^ k2;
    x = Math.imul(x ^ (x >>> 15), 0x31848bab);
    out[i] = ((x ^ (x >>> 14)) >>> 8) * 5.9604644775390625e-8; // 2^-24
  }
}

/** Fills `out` with 1 where the number that `randomUniform` gives there is at least `least`, else 0. */
export function randomAtLeast(out: Uint8Array, least: number, seed: number, step: number, stream: number): void {
  const [k0, k1, k2] = keyOf(seed, step, stream);
  // Numbers are multiples of 2^-24: the comparison is one of whole numbers.
  const whole = Math.ceil(least * 0x1000000);
  const n = out.length;
  for (let i = 0; i < n; i++) {
    let x = i ^ k0;
    x = Math.imul(x ^ (x >>> 17), 0xed5ad4bb) + k1;
    x = Math.imul(x ^ (x >>> 11), 0xac4c1b51) ^ k2;
    x = Math.imul(x ^ (x >>> 15), 0x31848bab);
    out[i] = (x ^ (x >>> 14)) >>> 8 >= whole ? 1 : 0;
  }
}

/** The 32 random bits at one index, before they become a fraction. */
function bits(index: number, k0: number, k1: number, k2: number): number {
  let x = index ^ k0;
  x = Math.imul(x ^ (x >>> 17), 0xed5ad4bb) + k1;
  x = Math.imul(x ^ (x >>> 11), 0xac4c1b51) ^ k2;
  x = Math.imul(x ^ (x >>> 15), 0x31848bab);
  return (x ^ (x >>> 14)) >>> 0;
}

/**
 * Fills `out` with numbers of the standard normal distribution (mean 0, variance 1), by Box and Muller's transform of
 * two uniform numbers of 32 bits: values reach ±6.66. Arguments as for `randomUniform`; `offset` must be even, since
 * numbers come in pairs (else a RangeError). The logarithm and the sine are the engine's: engines that round them
 * differently may differ in a float32's last bit.
 */
export function randomNormal(out: Float32Array, seed: number, step: number, stream: number, offset = 0): void {
  if (offset % 2 !== 0) throw new RangeError(`the offset of a normal draw must be even, not ${offset}`);
  const [k0, k1, k2] = keyOf(seed, step, stream);
  const n = out.length;
  for (let i = 0; i < n; i += 2) {
    // (bits + 0.5) / 2^32 lies strictly between 0 and 1: the logarithm is finite.
    const u = (bits(offset + i, k0, k1, k2) + 0.5) * 2.3283064365386963e-10;
    const angle = bits(offset + i + 1, k0, k1, k2) * (2 * Math.PI * 2.3283064365386963e-10);
    const radius = Math.sqrt(-2 * Math.log(u));
    out[i] = radius * Math.cos(angle);
    if (i + 1 < n) out[i + 1] = radius * Math.sin(angle);
  }
}
