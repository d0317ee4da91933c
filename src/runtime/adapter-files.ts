/** A saved adapter: `adapter_model.safetensors`, `moec.json`, and PEFT's `adapter_config.json` where PEFT can load it. */
import { diagnostic, fail, type Diagnostic } from "../diagnostics/index.ts";
import { joinPath, type Host } from "../formats/host.ts";
import { plain } from "../formats/json.ts";
import type { Manifest } from "../formats/manifest.ts";
import { encodeSafetensors } from "../formats/safetensors.ts";
import { decodeText, parseJsonFile } from "../formats/text.ts";
import { jsonBytes, writeAll, type OutputHost } from "./output.ts";
import { fromPeft, hasPeft, isPeftFile, peftConfig, requirePeftFit, toPeft } from "./peft.ts";
import type { Model } from "./store.ts";
import { openTensorFile } from "./tensor-file.ts";
import { adapterTensors, type TensorFile } from "./weights.ts";

export const ADAPTER_FILE = "adapter_model.safetensors";
export const MANIFEST_FILE = "moec.json";
export const PEFT_FILE = "adapter_config.json";

/**
 * Writes the adapter into a folder, in float32. Every file appears whole or not at all, the weights last: while they are
 * missing, or older than the others, loading says so or refuses what does not fit.
 */
export async function saveAdapter(host: OutputHost, folder: string, { manifest, weights, backend }: Model): Promise<void> {
  const tensors = await adapterTensors(manifest, weights, (t) => backend.read(t));
  const named = hasPeft(manifest) ? toPeft(manifest, tensors) : tensors;
  await writeAll(host, folder, [
    [MANIFEST_FILE, jsonBytes(manifest)],
    ...(hasPeft(manifest) ? [[PEFT_FILE, jsonBytes(peftConfig(manifest))] as const] : []),
    // "pt" says that matrices are in PyTorch's order; transformers refuses files that do not say so.
    [ADAPTER_FILE, encodeSafetensors(named, { format: "pt" })],
  ]);
  if (!hasPeft(manifest)) await host.removeFile(joinPath(folder, PEFT_FILE));
}

/**
 * Opens a saved adapter for a program, in moec's own layout or in PEFT's, under moec's names. Nothing of it is read yet
 * but headers. `onNotice` is told where it was saved from another text of the spec (MOE5318). DiagnosticErrors: MOE5316 no adapter there; MOE5314 and MOE5315 PEFT's configuration does not fit; what
 * is wrong with single tensors is told by `placeWeights`.
 */
export async function openAdapter(host: Host, folder: string, manifest: Manifest, onNotice?: (notice: Diagnostic) => void): Promise<TensorFile> {
  const path = joinPath(folder, ADAPTER_FILE);
  if ((await host.stat(path)) === undefined) {
    const stopped = (await host.stat(joinPath(folder, "checkpoint"))) !== undefined;
    fail("MOE5316", `${folder} holds no saved adapter: there is no ${ADAPTER_FILE}.`, stopped ? { help: "It holds the checkpoint of a run that did not end: resume that first." } : {});
  }
  const file = await openTensorFile(host, path);
  if (onNotice && (await host.stat(joinPath(folder, MANIFEST_FILE))) !== undefined) {
    const { spec, adapter } = await readManifest(host, folder);
    if (adapter !== manifest.adapter || spec?.sha256 !== manifest.spec.sha256) {
      onNotice(
        diagnostic("MOE5318", `${folder} was saved as ${adapter} from another text of ${spec?.file ?? "its spec"} than ${manifest.adapter} was compiled from.`, {
          help: "Its tensors are checked against this spec, but a changed number (an alpha, a router's setting) does not show in them.",
        }),
      );
    }
  }
  if (!isPeftFile(file)) return file;
  const configPath = joinPath(folder, PEFT_FILE);
  if ((await host.stat(configPath)) === undefined) fail("MOE5316", `${path} has PEFT's layout, but ${PEFT_FILE}, which says its rank and alpha, does not lie beside it.`);
  requirePeftFit(manifest, await readJson(host, configPath), configPath);
  return fromPeft(manifest, file);
}

/** The manifest that lies beside a saved adapter: what `eval DIR` needs to know which program and which base. MOE5316, MOE5317. */
export async function readManifest(host: Host, folder: string): Promise<Manifest> {
  const path = joinPath(folder, MANIFEST_FILE);
  if ((await host.stat(path)) === undefined) fail("MOE5316", `${folder} holds no saved adapter: there is no ${MANIFEST_FILE}.`);
  const manifest = (await readJson(host, path)) as Manifest | null;
  if (manifest?.format !== "moec/1") fail("MOE5317", `${path} has the format ${JSON.stringify(manifest?.format)}; this version reads "moec/1".`);
  return manifest;
}

/** A JSON file as a value. MOE5104 not UTF-8, MOE5105 not JSON. */
export async function readJson(host: Host, path: string): Promise<unknown> {
  return plain(parseJsonFile(decodeText(await host.readFile(path), path), path));
}
