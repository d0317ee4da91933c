/** What a machine says of its cores. */
export interface Cores {
  /** Cores that this process may run on. */
  readonly available: number;
  /** The text of the control group's `cpu.max`: microseconds of processor time in a period, and the period. */
  readonly quota?: string;
}

/** Asks this machine. */
export function coresHere(): Cores {
  const os = process.getBuiltinModule("node:os");
  const fs = process.getBuiltinModule("node:fs");
  try {
    return { available: os.availableParallelism(), quota: fs.readFileSync("/sys/fs/cgroup/cpu.max", "utf8") };
  } catch {
    return { available: os.availableParallelism() }; // not Linux, or no control group of the second version
  }
}

/**
 * Half of the cores there are, or of a container's share of them, and at least one: two of the cores that a machine tells
 * are often one core's two threads, and a thread that finds no free core holds up all others.
 */
export function halfOf({ available, quota }: Cores): number {
  const [time, period] = (quota ?? "max").trim().split(/\s+/).map(Number);
  const share = time! > 0 && period! > 0 ? time! / period! : Infinity; // "max" is no number: no limit
  return Math.max(1, Math.floor(Math.min(available, share) / 2));
}
