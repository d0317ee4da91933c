import { cpus } from "node:os";

/** One side of a comparison: runs the work once; the promise resolves when the numbers are there. */
export interface Side {
  readonly name: string;
  readonly run: () => Promise<void>;
}

export interface Measured {
  readonly name: string;
  /** Milliseconds. */
  readonly median: number;
  readonly minimum: number;
  /** Half of the rounds lie between these. */
  readonly quartiles: readonly [number, number];
}

/** Runs all sides in turn, round after round, so that what disturbs the machine disturbs them alike. */
export async function interleave(sides: readonly Side[], rounds: number, warmup = 2): Promise<Measured[]> {
  const times = sides.map(() => [] as number[]);
  for (let round = -warmup; round < rounds; round++) {
    for (const [i, side] of sides.entries()) {
      const start = performance.now();
      await side.run();
      if (round >= 0) times[i]!.push(performance.now() - start);
    }
  }
  return sides.map((side, i) => {
    const sorted = [...times[i]!].sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
    return { name: side.name, median: at(0.5), minimum: sorted[0]!, quartiles: [at(0.25), at(0.75)] };
  });
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  readonly platform: string;
}

export function machine(): Machine {
  const all = cpus();
  return { cpu: all[0]?.model ?? "unknown", cores: all.length, node: process.version, platform: `${process.platform} ${process.arch}` };
}
