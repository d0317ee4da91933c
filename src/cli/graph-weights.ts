import type { ManifestWeight } from "../formats/manifest.ts";
import type { Tensor, Weight } from "../ir/index.ts";

/** The graph's weight as the manifest has it: sizes are numbers for every weight. */
export function asManifest(w: Weight): ManifestWeight {
  const type = w.type.kind === "list" ? w.type.of : w.type;
  return {
    name: w.name,
    axes: type.axes.map((a) => a.name),
    shape: type.axes.map((a) => a.size as number),
    ...(w.type.kind === "list" ? { count: w.type.count } : {}),
    trainable: w.trainable,
    decay: w.decay,
    initializer: w.initializer,
    sources: w.sources,
  };
}

/** A weight's values as the interpreter takes them. */
export function tensorFor(weight: ManifestWeight, data: Float64Array): Tensor {
  return { dtype: "f32", axes: weight.axes.map((name, i) => ({ name, size: weight.shape[i]! })), data };
}
