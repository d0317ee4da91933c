/**
 * xoshiro128** 1.1 (Blackman and Vigna 2018): 32-bit integer arithmetic only, so every JavaScript engine gives the same
 * sequence. Its state is filled by a splitmix32 walk over the given words, so neighbouring seeds give unrelated sequences.
 * For the order of data; not for secrets.
 */
export class Random {
  private readonly state: Uint32Array;

  /** One sequence for each list of integers, (seed, epoch) say. Each word counts with its low 53 bits. */
  constructor(...words: readonly number[]) {
    let hash = 0x9e3779b9;
    for (const word of words) for (const half of [word >>> 0, Math.floor(word / 2 ** 32) >>> 0]) hash = mix((hash ^ half) + 0x9e3779b9);
    this.state = Uint32Array.from({ length: 4 }, () => mix((hash = (hash + 0x9e3779b9) | 0)));
    if (this.state.every((x) => x === 0)) this.state[0] = 1; // the one state that xoshiro cannot leave
  }

  /** Uniform on the integers [0, 2^32). */
  next(): number {
    const s = this.state;
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotate(s[3]!, 11);
    return result;
  }

  /** Uniform on the integers [0, bound), 1 <= bound <= 2^32, without modulo bias (rejection). */
  below(bound: number): number {
    const limit = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const x = this.next();
      if (x < limit) return x % bound;
    }
  }

  /** Shuffles in place (Fisher and Yates). */
  shuffle<T extends { [index: number]: number; readonly length: number }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const kept = items[i]!;
      items[i] = items[j]!;
      items[j] = kept;
    }
    return items;
  }
}

/** The finalizer of splitmix32, which is MurmurHash3's fmix32 (Appleby): a bijection of 32 bits. */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}
