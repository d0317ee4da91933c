import type { Manifest, ManifestWeight } from "../formats/manifest.ts";
import type { Module, Weight } from "../ir/graph.ts";
import { CodegenError } from "./errors.ts";
import type { ProgramInfo } from "./info.ts";

/** The manifest of a module: what `X.moe.json` holds. Throws CodegenError where a weight's size is not a number. */
export function manifestOf(module: Pick<Module, "weights">, info: ProgramInfo): Manifest {
  return {
    format: "moec/1",
    moec: info.moec,
    adapter: info.adapter,
    backend: info.backend,
    spec: { file: info.spec.file, sha256: info.spec.sha256 },
    base: info.base,
    groups: info.groups,
    kinds: info.kinds,
    ...(info.fields ? { fields: info.fields } : {}),
    sites: info.sites,
    weights: module.weights.map(manifestWeight),
    train: info.train,
    ...(info.peft ? { peft: info.peft } : {}),
  };
}

function manifestWeight(weight: Weight): ManifestWeight {
  const { type } = weight;
  const one = type.kind === "list" ? type.of : type;
  return {
    name: weight.name,
    axes: one.axes.map((a) => a.name),
    shape: one.axes.map(({ name, size }) => {
      if (typeof size !== "number") throw new CodegenError(`the weight ${weight.name} has no fixed size along ${name}`);
      return size;
    }),
    ...(type.kind === "list" ? { count: type.count } : {}),
    trainable: weight.trainable,
    ...(weight.state ? { state: true } : {}),
    decay: weight.decay,
    initializer: weight.initializer,
    sources: weight.sources,
    ...(weight.layoutOf === undefined ? {} : { layoutOf: weight.layoutOf }),
  };
}

/** The text of `X.moe.json`. */
export function printManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
