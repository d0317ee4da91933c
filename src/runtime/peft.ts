/**
 * PEFT's layout of a LoRA adapter (huggingface/peft 0.21, `LoraConfig` and `save_pretrained`), for adapters that PEFT
 * can express: the manifest's `peft` says so. Tensors are named
 * `base_model.model.MODULE.lora_A.weight` [r, in] and `…lora_B.weight` [out, r], and `adapter_config.json` lies beside.
 */
import { diagnostic, DiagnosticError, type Diagnostic } from "../diagnostics/index.ts";
import type { Manifest } from "../formats/manifest.ts";
import { reorder, sizesOf, type FileSlice } from "./layout.ts";
import { adapterSlices, countOf, listed, type NamedTensor, type TensorFile } from "./weights.ts";

const PREFIX = "base_model.model.";

/** How one file tensor of ours is called and laid out by PEFT. */
interface PeftTensor {
  readonly slice: FileSlice;
  readonly name: string;
  /** Our axis names in PEFT's order. */
  readonly order: readonly string[];
  readonly shape: readonly number[];
}

type PeftManifest = Manifest & { readonly peft: NonNullable<Manifest["peft"]> };

export function hasPeft(manifest: Manifest): manifest is PeftManifest {
  return manifest.peft !== undefined;
}

/** Whether a file's names are PEFT's. */
export function isPeftFile(file: TensorFile): boolean {
  for (const name of file.shapes.keys()) if (name.startsWith(PREFIX)) return true;
  return false;
}

/** The adapter's tensors by PEFT's names. Throws an Error where the manifest promises a layout that its weights do not have. */
function peftTensors(manifest: PeftManifest): PeftTensor[] {
  const sites = [...manifest.sites].sort((a, b) => b.path.length - a.path.length);
  return adapterSlices(manifest).map((slice) => {
    const site = sites.find((s) => slice.name.startsWith(`${s.path}.`));
    const factor = slice.name.slice(slice.name.lastIndexOf(".") + 1);
    const rank = rankAxis(slice, manifest.peft.rank, site);
    if (site?.module === undefined || (factor !== "A" && factor !== "B") || rank === undefined) {
      throw new Error(`the manifest says that PEFT can hold ${manifest.adapter}, but ${slice.name} is no factor of a LoRA`);
    }
    const other = slice.order.find((a) => a !== rank)!;
    const order = factor === "A" ? [rank, other] : [other, rank];
    const sizes = sizesOf(slice.weight);
    return { slice, name: `${PREFIX}${site.module}.lora_${factor}.weight`, order, shape: order.map((a) => sizes[a]!) };
  });
}

/** The axis of a factor that is the rank: the one called so, or the one that is neither of the layer's sides. */
function rankAxis({ order, weight }: FileSlice, rank: number, site: Manifest["sites"][number] | undefined): string | undefined {
  if (order.length !== 2) return undefined;
  if (order.includes("rank")) return "rank";
  const sizes = sizesOf(weight);
  const fits = order.filter((a) => sizes[a] === rank);
  return fits.length === 1 ? fits[0] : fits.find((a) => sizes[a] !== site?.in && sizes[a] !== site?.out);
}

/** The adapter's tensors under PEFT's names and in its order. */
export function toPeft(manifest: PeftManifest, tensors: readonly NamedTensor[]): NamedTensor[] {
  const byName = new Map(tensors.map((t) => [t.name, t]));
  return peftTensors(manifest).map(({ slice, name, order, shape }) => ({
    name,
    shape,
    data: reorder(byName.get(slice.name)!.data, sizesOf(slice.weight), slice.order, order),
  }));
}

/** A PEFT file seen under our names: what `placeWeights` takes. Names that are not ours are kept, for it to refuse. */
export function fromPeft(manifest: PeftManifest, file: TensorFile): TensorFile {
  const tensors = peftTensors(manifest);
  const ours = new Map(tensors.map((t) => [t.slice.name, t]));
  const theirs = new Map(tensors.map((t) => [t.name, t]));
  const shapes = new Map<string, readonly number[]>();
  for (const [name, shape] of file.shapes) {
    const known = theirs.get(name);
    // A shape of another rank of axes is shown as it is, to be refused with its own numbers.
    if (known === undefined) shapes.set(name, shape);
    else shapes.set(known.slice.name, shape.length === 2 ? known.slice.order.map((a) => shape[known.order.indexOf(a)]!) : shape);
  }
  return {
    path: file.path,
    shapes,
    read: async (name) => {
      const known = ours.get(name);
      if (known === undefined) return file.read(name);
      return reorder(await file.read(known.name), sizesOf(known.slice.weight), known.order, known.slice.order);
    },
  };
}

/** `adapter_config.json` as PEFT reads it; what is absent has PEFT's defaults. */
export function peftConfig({ peft, base }: PeftManifest): Record<string, unknown> {
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: base.path,
    inference_mode: true,
    r: peft.rank,
    lora_alpha: peft.alpha,
    lora_dropout: peft.dropout,
    target_modules: [...peft.targets],
    bias: "none",
    fan_in_fan_out: peft.fanInFanOut,
    init_lora_weights: true,
    layers_to_transform: null,
    modules_to_save: null,
    rank_pattern: {},
    alpha_pattern: {},
    use_dora: false,
    use_rslora: peft.rslora,
  };
}

/** What keeps a PEFT adapter from being this one, by its configuration; empty where it fits. Its tensors are checked apart. */
export function peftMisfits(manifest: Manifest, config: unknown, path: string): Diagnostic[] {
  if (typeof config !== "object" || config === null || Array.isArray(config)) return [diagnostic("MOE5106", `${path} must be a JSON object.`)];
  const given = config as Record<string, unknown>;
  const unsupported = (what: string): Diagnostic => diagnostic("MOE5315", `${path}: ${what}.`);
  if (given["peft_type"] !== "LORA") return [unsupported(`peft_type is ${JSON.stringify(given["peft_type"])}, and only "LORA" can be loaded`)];
  if (!hasPeft(manifest)) {
    return [diagnostic("MOE5315", `${path} is of a PEFT LoRA adapter, and ${manifest.adapter} is no plain LoRA.`, { help: "Load it with a spec that has `always lora(…)` on the same modules, and nothing else." })];
  }
  const faults: Diagnostic[] = [];
  const { peft, adapter } = manifest;
  // Each of these changes what the tensors mean; the value beside is the one that does not.
  const plainOnly = { use_dora: false, bias: "none", lora_bias: false, layer_replication: null, modules_to_save: null, target_parameters: null, trainable_token_indices: null, use_bdlora: null, use_qalora: false, megatron_config: null };
  for (const [key, plain] of Object.entries(plainOnly)) {
    const value = given[key] ?? plain;
    const empty = Array.isArray(value) && value.length === 0;
    if (value !== plain && !(plain === null && empty)) faults.push(unsupported(`${key} is ${JSON.stringify(value)}, and only ${JSON.stringify(plain)} can be loaded`));
  }
  // PEFT sets it right by the kind of module, whatever the file says; where ours is false nothing can be right but false.
  if (given["fan_in_fan_out"] === true && !peft.fanInFanOut) faults.push(unsupported("fan_in_fan_out is true, and the base's matrices lie the other way round"));
  for (const key of ["rank_pattern", "alpha_pattern"]) {
    if (Object.keys((given[key] as object | null | undefined) ?? {}).length > 0) faults.push(unsupported(`${key} gives modules values of their own`));
  }
  const differs = (key: string, found: unknown, wanted: unknown): void => {
    if (found !== wanted) faults.push(diagnostic("MOE5314", `${path}: ${key} is ${JSON.stringify(found)}, and ${adapter} has ${JSON.stringify(wanted)}.`));
  };
  differs("r", given["r"], peft.rank);
  differs("lora_alpha", given["lora_alpha"], peft.alpha);
  differs("use_rslora", given["use_rslora"] ?? false, peft.rslora);
  const targets = given["target_modules"];
  // A pattern (a string) is PEFT's business: the tensors say which modules it matched.
  if (Array.isArray(targets)) {
    const last = (t: unknown): string => String(t).split(".").at(-1)!;
    const theirs = new Set(targets.map(last));
    const ours = new Set(peft.targets.map(last));
    const missing = [...ours].filter((t) => !theirs.has(t));
    const extra = [...theirs].filter((t) => !ours.has(t));
    const parts = [
      ...(missing.length > 0 ? [`it lacks ${listed(missing)}`] : []),
      ...(extra.length > 0 ? [`${adapter} does not adapt ${listed(extra)}`] : []),
    ];
    if (parts.length > 0) faults.push(diagnostic("MOE5314", `${path}: target_modules names ${countOf(targets.length, "module")}; ${parts.join(", and ")}.`));
  }
  return faults;
}

/** Throws what `peftMisfits` finds. */
export function requirePeftFit(manifest: Manifest, config: unknown, path: string): asserts manifest is PeftManifest {
  const faults = peftMisfits(manifest, config, path);
  if (faults.length > 0) throw new DiagnosticError(faults);
}
