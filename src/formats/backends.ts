/** The backends, fastest first: the order in which `auto` tries them (measured in docs/backends.md). */
export const backendNames = ["tfjs-node-gpu", "onnx", "tfjs-node", "webgpu", "wasm", "cpu"] as const;

export type BackendName = (typeof backendNames)[number];

/**
 * What it costs a product to read an operand transposed, by a flag, in passes over the operand that transpose it first;
 * false where flags are never used. It decides how code for a backend is laid out, and nothing else: all code runs on all
 * backends.
 *
 * - wasm's product is ten times slower with a flag, and cpu's kernel has nothing to gain.
 * - TensorFlow on the CPU packs a flagged operand with strides: 1.2 to 5 nanoseconds an element where transposing takes 1
 *   to 1.5. So flags serve small operands, whose transpose would mostly be the start of a kernel, and frozen matrices lie
 *   there in both layouts.
 * - WebGPU's kernel loads single numbers instead of vectors of four where the right operand is flagged.
 * - cuBLAS takes either layout as it is, and ONNX Runtime packs either as fast: one copy of each frozen matrix will do.
 */
export const flagCosts: { readonly [B in BackendName]: number | false } = {
  "tfjs-node-gpu": 0,
  onnx: 0,
  "tfjs-node": 1.5,
  webgpu: 1.5,
  wasm: false,
  cpu: false,
};

/** What code is laid out for where nobody says: it runs well on every backend. */
export const everyBackend: BackendName = "wasm";
