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
  /** Milliseconds of processor time, all threads, user and system: what a busy machine disturbs least. Median. */
  readonly cpu: number;
}

/** Runs all sides in turn, round after round, so that what disturbs the machine disturbs them alike. */
export async function interleave(sides: readonly Side[], rounds: number, warmup = 2): Promise<Measured[]> {
  const times = sides.map(() => [] as number[]);
  const cpus = sides.map(() => [] as number[]);
  for (let round = -warmup; round < rounds; round++) {
    for (const [i, side] of sides.entries()) {
      const [start, used] = [performance.now(), process.cpuUsage()];
      await side.run();
      const [ms, { user, system }] = [performance.now() - start, process.cpuUsage(used)];
      if (round < 0) continue;
      times[i]!.push(ms);
      cpus[i]!.push((user + system) / 1000);
    }
  }
  return sides.map((side, i) => {
    const sorted = [...times[i]!].sort((a, b) => a - b);
    const at = (share: number, of = sorted): number => of[Math.min(of.length - 1, Math.floor(share * of.length))]!;
    return { cpu: at(0.5, [...cpus[i]!].sort((a, b) => a - b)), name: side.name, median: at(0.5), minimum: sorted[0]!, quartiles: [at(0.25), at(0.75)] };
  });
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  readonly platform: string;
  /** Threads that wasm runs on. */
  readonly wasmThreads: number;
}

export function machine(): Machine {
  const all = cpus();
  return { cpu: all[0]?.model ?? "unknown", cores: all.length, node: process.version, platform: `${process.platform} ${process.arch}`, wasmThreads: Number(process.env["MOEC_WASM_THREADS"] ?? 1) };
}
