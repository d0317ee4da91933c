import { fail } from "../../../diagnostics/index.ts";

/** What a machine says of its cores. */
export interface Cores {
  /** Cores that this process may run on. */
  readonly available: number;
  /** The text of the control group's `cpu.max`: microseconds of processor time in a period, and the period. */
  readonly quota?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** How a backend's threads are counted. */
interface Rule {
  /** The variable that says how many there are to be. */
  readonly variable: string;
  /** The most that there can be, and why. */
  readonly most: number;
  readonly why?: string;
  /** The most that are taken without being asked for. */
  readonly wanted: number;
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
 * How many threads wasm runs on: what MOEC_WASM_THREADS says, else half of the cores there are, or of a container's share of
 * them, up to four (TensorFlow.js's products gain little beyond). MOE5205 where the variable holds no number of threads.
 */
export function wasmThreads(env: Environment, cores: Cores): number {
  // tfjs-backend-wasm's pool is made with eight workers, and the thread that calls counts as one of them.
  return threads({ variable: "MOEC_WASM_THREADS", most: 8, why: "TensorFlow.js's WebAssembly has room for eight threads.", wanted: 4 }, env, cores);
}

/** How many threads ONNX Runtime computes on: what MOEC_ONNX_THREADS says, else half of the cores. MOE5205 as above. */
export function onnxThreads(env: Environment, cores: Cores): number {
  return threads({ variable: "MOEC_ONNX_THREADS", most: 1024, wanted: Infinity }, env, cores);
}

/**
 * Half, as TensorFlow.js itself does it: two of the cores that a machine tells are often one core's two threads, and a
 * thread that finds no free core holds up every kernel (docs/backends.md has what that costs).
 */
function threads({ variable, most, why, wanted }: Rule, env: Environment, { available, quota }: Cores): number {
  const asked = env[variable];
  if (asked !== undefined && asked !== "") {
    const count = Number(asked);
    if (/^\d+$/.test(asked) && count >= 1 && count <= most) return count;
    fail("MOE5205", `${variable} is ${JSON.stringify(asked)}: expected a whole number from 1 to ${most}.`, {
      ...(why === undefined ? {} : { notes: [why] }),
      help: `Without the variable moec takes half of the cores${wanted === 4 ? ", at most four" : ""}.`,
    });
  }
  const [time, period] = (quota ?? "max").trim().split(/\s+/).map(Number);
  const share = time! > 0 && period! > 0 ? time! / period! : Infinity; // "max" is no number: no limit
  return Math.max(1, Math.min(wanted, Math.floor(Math.min(available, share) / 2)));
}
