import { randomAtLeast, randomNormal, randomUniform } from "./backends/random.ts";

/** Layers of a module are fewer than this: the interpreter's `LAYERS_PER_STREAM`, so that both draw the same numbers. */
const LAYERS_PER_STREAM = 4096;

/** Counter-based numbers on the host, row major: a function of (seed, step, stream, layer) alone. */
export function randomValues(distribution: "uniform" | "normal", seed: number, step: number, layer: number, stream: number, shape: readonly number[]): Float32Array {
  const values = new Float32Array(shape.reduce((n, size) => n * size, 1));
  (distribution === "uniform" ? randomUniform : randomNormal)(values, seed, step, stream * LAYERS_PER_STREAM + layer);
  return values;
}

/** One byte for each uniform number that `randomValues` would give: 1 where it is at least `least`, else 0. */
export function chanceValues(least: number, seed: number, step: number, layer: number, stream: number, shape: readonly number[]): Uint8Array {
  const values = new Uint8Array(shape.reduce((n, size) => n * size, 1));
  randomAtLeast(values, least, seed, step, stream * LAYERS_PER_STREAM + layer);
  return values;
}
