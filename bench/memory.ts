/**
 * Bytes that one adapted linear keeps for its backward half, and the most that a whole step holds, beyond its arguments:
 * what moec generates, against the hand-written sides of `linear`.
 *
 *     npm run bench -- memory [--backend wasm] [--experts 8] [--tokens 1024] [--in 1024] [--out 2752]
 *
 * moec's side is counted from the graph after all passes and measured too: the forward half of that graph is run alone,
 * with what the other half reads as further results. The hand-written sides are measured where their tape turns round.
 * What stands before the step (weights, the input, its cotangent) is nobody's. Buffers are counted, each once: TensorFlow.js's
 * own `memory().numBytes` counts every handle, so that a reshape seems to take room, and each of the handles that a tape keeps.
 */
import type { Scalar, Tensor } from "@tensorflow/tfjs-core";
import { keptForBackward } from "../src/compiler/plan-memory.ts";
import type { GraphFunction, Module, Op } from "../src/ir/graph.ts";
import { ancestors, makers, release } from "../src/passes/index.ts";
import { startBackend, type BackendName, type Tf } from "../src/runtime/index.ts";
import { machine } from "./measure.ts";
import { frozen, functionsOf, generated, loop, makeData, plain, settingOf, sideNames, stacked, type Between, type Generated, type LinearSizes, type Stepping } from "./sides.ts";
import { Buffers } from "./buffers.ts";
import type { Row, Rows } from "./table.ts";

/** Bytes. */
export interface Held {
  readonly name: string;
  /** Between the forward and the backward half. */
  readonly kept: number;
  /** At the fullest moment of the step, results included. */
  readonly peak: number;
}

export interface MemoryResult extends Rows {
  readonly device: string;
  readonly sizes: LinearSizes;
  readonly machine: ReturnType<typeof machine>;
  /** As the graph tells it, for moec's side. */
  readonly counted: number;
  readonly sides: readonly Held[];
}

export async function benchMemory(backendName: BackendName, sizes: LinearSizes): Promise<MemoryResult> {
  const { tf, name, device } = await startBackend(backendName);
  const buffers = new Buffers(tf);
  const data = makeData(tf, sizes);
  const ours = await generated({ tf, name }, sizes, data, "loramoe");
  const counted = keptForBackward(ours.module, ours.module.entries.get("step")!, { sample: sizes.samples, position: sizes.positions }).outside;
  const turn = new Turn(tf, buffers);
  const byHand: readonly (readonly [string, Stepping])[] = [
    [sideNames.loop, loop(tf, sizes, data, turn.between)],
    [sideNames.stacked, stacked(tf, sizes, data, turn.between)],
    [sideNames.plain, plain(tf, data, turn.between)],
  ];
  const sides: Held[] = [
    { name: sideNames.frozen, kept: 0, peak: peakOf(buffers, frozen(tf, data)) },
    { name: sideNames.moec, kept: await keptBy(tf, buffers, ours), peak: peakOf(buffers, ours) },
  ];
  for (const [side, stepping] of byHand) sides.push({ name: side, kept: turn.keptBy(stepping), peak: peakOf(buffers, stepping) });
  const row = (what: string, against: string, bytes: (h: Held) => number, rest: Pick<Row, "target" | "rival"> = {}): Row => {
    const of = (h: Held): Row["ours"] => ({ name: h.name, median: bytes(h) / 1e6 });
    const find = (wanted: string): Held => sides.find((h) => h.name === wanted)!;
    return { what: `${what}, ${settingOf(sizes)}`, unit: "MB", ours: of(find(sideNames.moec)), theirs: of(find(against)), ...rest };
  };
  const rows = [
    row("kept for backward", sideNames.loop, (h) => h.kept, { target: { least: 10 } }),
    row("kept for backward", sideNames.stacked, (h) => h.kept, { rival: true }),
    row("kept for backward", sideNames.plain, (h) => h.kept, { rival: true }),
    row("peak of a step", sideNames.frozen, (h) => h.peak),
    row("peak of a step", sideNames.loop, (h) => h.peak, { rival: true }),
    row("peak of a step", sideNames.stacked, (h) => h.peak, { rival: true }),
  ];
  return { backend: name, device, sizes, machine: machine(), counted, sides, rows };
}

/** What a step holds at its fullest moment, beyond what was there before it. */
function peakOf(buffers: Buffers, { step }: Stepping): number {
  const before = buffers.restart();
  const results = step();
  for (const t of results) t.dispose();
  return buffers.peak - before;
}

/** Looks at memory where a tape has all that it keeps, and backward has not begun. */
class Turn {
  readonly between: Between;
  readonly #buffers: Buffers;
  #bytes = 0;

  constructor(tf: Tf, buffers: Buffers) {
    this.#buffers = buffers;
    const look = tf.customGrad((loss) => ({
      value: tf.clone(loss as Tensor),
      gradFunc: (dy: Tensor) => {
        this.#bytes = buffers.bytes;
        return tf.clone(dy);
      },
    }));
    this.between = (loss) => look(loss) as Scalar;
  }

  keptBy({ step }: Stepping): number {
    const before = this.#buffers.bytes;
    for (const t of step()) t.dispose();
    return this.#bytes - before;
  }
}

/** Runs the forward half alone, and looks at what is left once it is over; the output is kept by nobody. */
async function keptBy(tf: Tf, buffers: Buffers, { module, args }: Generated): Promise<number> {
  const forward = (await functionsOf(tf, forwardHalf(module)))["step"]!;
  const before = buffers.bytes;
  const results = forward(...args);
  const outputs = module.entries.get("step")!.results.filter((r) => r.kind === "output").length;
  for (const t of results.slice(0, outputs)) t.dispose();
  const kept = buffers.bytes - before;
  for (const t of results.slice(outputs)) t.dispose();
  return kept;
}

/** The entry `step` up to its outputs, which also returns what the rest of it reads. */
export function forwardHalf(module: Module): Module {
  const entry = module.entries.get("step")!;
  const fn = module.functions.get(entry.fn)!;
  const made = makers(fn.body);
  const outputs = fn.results.filter((_, i) => entry.results[i]!.kind === "output");
  const forward: ReadonlySet<Op> = ancestors(outputs, made);
  const rest = fn.body.filter((op) => !forward.has(op) && op.op !== "release");
  const kept = new Set(rest.flatMap((op) => op.operands).filter((v) => forward.has(made.get(v)!) && !outputs.includes(v)));
  const half: GraphFunction = { ...fn, body: fn.body.filter((op) => forward.has(op)), results: [...outputs, ...kept] };
  return release({ ...module, functions: new Map([...module.functions].map(([name, f]) => [name, name === entry.fn ? half : f])) }).module;
}
