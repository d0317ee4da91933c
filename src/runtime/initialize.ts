import type { ManifestWeight } from "../formats/manifest.ts";
import { randomNormal, randomUniform } from "./backends/random.ts";
import { product } from "./layout.ts";
import { orthogonalise } from "./singular.ts";

/** The step under which first values are drawn: no step of a run, so that no dropout mask repeats them. */
const INITIAL = Number.MAX_SAFE_INTEGER;

/**
 * The first values of one file tensor of a shape, in the file's order.
 *
 * They depend on the seed and the tensor's own name and on nothing else: adding a weight, or storing weights stacked,
 * changes no other number. "checkpoint" has no first values of its own and is a caller's bug here.
 */
export function initialValues(initializer: ManifestWeight["initializer"], shape: readonly number[], seed: number, name: string): Float32Array {
  const length = product(shape);
  const out = new Float32Array(length);
  switch (initializer.kind) {
    case "zeros":
      return out;
    case "ones":
      return out.fill(1);
    case "constant":
      return out.fill(initializer.value);
    case "normal":
      randomNormal(out, seed, INITIAL, streamOf(name));
      for (let i = 0; i < length; i++) out[i] = out[i]! * initializer.std;
      return out;
    case "uniform":
      return uniform(out, initializer.bound, seed, name);
    case "kaiming_uniform":
      // He et al. 2015 with the gain of a leaky ReLU of slope a, as torch.nn.init.kaiming_uniform_ (mode fan_in).
      return uniform(out, Math.sqrt(6 / ((1 + initializer.a ** 2) * initializer.fanIn)), seed, name);
    case "orthogonal":
      randomNormal(out, seed, INITIAL, streamOf(name));
      orthogonalise(out, shape[0] ?? 1, length / Math.max(1, shape[0] ?? 1), initializer.gain);
      return out;
    case "base_norm":
    case "singular":
    case "checkpoint":
      throw new Error(`${name} comes from a checkpoint and has no first values of its own`);
  }
}

function uniform(out: Float32Array, bound: number, seed: number, name: string): Float32Array {
  randomUniform(out, seed, INITIAL, streamOf(name));
  for (let i = 0; i < out.length; i++) out[i] = (2 * out[i]! - 1) * bound;
  return out;
}

/** A stream number from a name: 53 bits of two FNV-1a hashes over its UTF-16 units, the second from another offset. */
export function streamOf(name: string): number {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  for (let i = 0; i < name.length; i++) {
    a = Math.imul(a ^ name.charCodeAt(i), 0x01000193);
    b = Math.imul(b ^ name.charCodeAt(i), 0x01000193);
    b ^= b >>> 15;
  }
  return (a >>> 0) + ((b >>> 11) & 0x1fffff) * 0x100000000;
}
