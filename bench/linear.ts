/**
 * One adapted linear layer, forward and backward with the input's gradient: what moec generates, against what a good user
 * writes by hand in TensorFlow.js, against the frozen layer alone. All sides in one process, interleaved.
 *
 *     npm run bench -- linear [--backend wasm] [--experts 8] [--rounds 15] [--tokens 1024] [--in 1024] [--out 2752]
 *     npm run bench -- linear --case groups     other mixtures of the same sum of ranks, beside the frozen layer alone
 *     npm run bench -- linear --alone           without the hand-written sides, which are slow
 *     npm run bench -- linear --profile         the kernels of a step, and the time in each
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import { startBackend, type Backend, type BackendName } from "../src/runtime/index.ts";
import { interleave, machine, type Measured, type Side } from "./measure.ts";
import { profiled, type KernelTime } from "./profile.ts";
import { disagreement, frozen, generated, loop, makeData, plain, settingOf, sideNames, stacked, type Case, type LinearSizes, type Stepping } from "./sides.ts";
import { amount, sideOf, type Row, type Rows } from "./table.ts";

export interface LinearResult extends Rows {
  readonly case: Case;
  readonly device: string;
  readonly sizes: LinearSizes;
  readonly machine: ReturnType<typeof machine>;
  /** How far the gradients of moec and of the hand-written mixtures are apart, where these run. */
  readonly disagreement?: number;
  readonly sides: readonly (Measured & { readonly toFrozen: number; readonly cpuToFrozen: number })[];
}

/** What the benchmark must show (of the native and the wasm backend there are numbers; others are only measured). */
const targets: Readonly<Partial<Record<BackendName, { readonly loop: number; readonly stacked: number }>>> = { "tfjs-node": { loop: 3.5, stacked: 1.2 }, wasm: { loop: 8, stacked: 7 } };

/** Sums of a thousand float32 products in another order differ by some 1e-6 of the greatest. */
const tolerance = 1e-4;

/** A side of a race: its step, and one small read, so that everything before it has been computed. */
export function racing(backend: Backend, name: string, { step }: Stepping): Side {
  const { tf } = backend;
  return {
    name,
    run: async () => {
      const results: Tensor[] = step();
      const last = results[0]!;
      const one = tf.tidy(() => tf.slice(tf.reshape(last, [last.size]), 0, 1));
      await backend.read(one);
      for (const t of [...results, one]) t.dispose();
    },
  };
}

/** Where a step's time goes, kernel by kernel. */
export async function profileLinear(backendName: BackendName, sizes: LinearSizes, rounds: number, which: Case): Promise<readonly KernelTime[]> {
  const { tf, name } = await startBackend(backendName);
  const data = makeData(tf, sizes);
  const timed = profiled(tf);
  const { step } = await generated({ tf: timed.tf, name }, sizes, data, which);
  for (let round = -2; round < rounds; round++) {
    if (round === 0) timed.reset();
    for (const t of step()) t.dispose();
  }
  return timed.report(rounds);
}

export async function benchLinear(backendName: BackendName, sizes: LinearSizes, rounds: number, which: Case, others = true): Promise<LinearResult> {
  const backend = await startBackend(backendName);
  const { tf } = backend;
  const data = makeData(tf, sizes);
  const byHand = which === "loramoe" && others;
  const ours = await generated(backend, sizes, data, which);
  const looped = loop(tf, sizes, data);
  const joined = stacked(tf, sizes, data);
  const apart = byHand ? await disagreement(backend, sizes, ours, [looped, joined]) : undefined;
  if (apart !== undefined && !(apart < tolerance)) throw new Error(`the gradients of the sides differ by ${apart} of the greatest: they do not compute the same`);
  const sides = [
    racing(backend, sideNames.frozen, frozen(tf, data)),
    racing(backend, sideNames.moec, ours),
    ...(byHand ? [racing(backend, sideNames.loop, looped), racing(backend, sideNames.stacked, joined), racing(backend, sideNames.plain, plain(tf, data))] : []),
  ];
  const measured = await interleave(sides, rounds);
  const limit = sideOf(measured, sideNames.frozen);
  const what = `one linear, ${settingOf(sizes)}${which === "loramoe" ? "" : `, ${which}`}`;
  const against = (name: string, rest: Pick<Row, "target" | "rival"> = { rival: true }): Row => ({ what, unit: "ms", ours: amount(sideOf(measured, sideNames.moec)), theirs: amount(sideOf(measured, name)), ...rest });
  const least = (of: number | undefined): Pick<Row, "target" | "rival"> => (of === undefined ? { rival: true } : { target: { least: of } });
  const wanted = targets[backendName];
  return {
    case: which,
    backend: backend.name,
    device: backend.device,
    sizes,
    machine: machine(),
    ...(apart === undefined ? {} : { disagreement: apart }),
    sides: measured.map((m) => ({ ...m, toFrozen: m.median / limit.median, cpuToFrozen: m.cpu / limit.cpu })),
    rows: [
      against(sideNames.frozen, { target: { most: 1.15 } }),
      ...(byHand ? [against(sideNames.loop, least(wanted?.loop)), against(sideNames.stacked, least(wanted?.stacked)), against(sideNames.plain)] : []),
    ],
  };
}
