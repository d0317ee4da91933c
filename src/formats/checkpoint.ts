import { diagnostic, DiagnosticError, fail, nearest, type Diagnostic } from "../diagnostics/index.ts";
import { joinPath, notFound, type Host } from "./host.ts";
import { plain } from "./json.ts";
import { parseIndex } from "./safetensors-index.ts";
import { headerLength, parseHeader, type SafetensorsHeader, type TensorEntry } from "./safetensors.ts";
import { decodeText, parseJsonFile } from "./text.ts";

/** All that a checkpoint's folder says about itself without a weight being read. */
export interface CheckpointHeaders {
  readonly folder: string;
  readonly configFile: string;
  /** config.json, parsed, its fields not yet checked. */
  readonly config: unknown;
  readonly configText: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** The weight files' paths, in the order in which the index first names them. */
  readonly files: readonly string[];
}

/**
 * Reads `config.json` and the headers of `model.safetensors`, or of the shards of `model.safetensors.index.json`.
 * @throws DiagnosticError: missing files, faulty JSON, impossible headers, paths that leave the folder
 */
export async function readCheckpointHeaders(host: Host, folder: string): Promise<CheckpointHeaders> {
  const there = await host.stat(folder);
  if (there === undefined) notFound(folder, "a base is a folder with config.json, model.safetensors and tokenizer.json, as `hf download HuggingFaceTB/SmolLM2-135M --local-dir FOLDER` makes one");
  if (there.kind !== "directory") fail("MOE5102", `${folder} is a file, expected a checkpoint's folder`, { help: "name the folder that holds config.json" });
  const configFile = joinPath(folder, "config.json");
  if ((await host.stat(configFile))?.kind !== "file") fail("MOE5120", `${folder} has no config.json`, { help: await whatLiesThere(host, folder) });
  const configText = decodeText(await readSmall(host, configFile), configFile);
  const config = plain(parseJsonFile(configText, configFile));
  const weights = await readWeights(host, folder);
  return { folder, configFile, config, configText, ...weights };
}

/** Reads one safetensors file's header: eight bytes, then the header, nothing else. */
export async function readHeader(host: Host, file: string): Promise<SafetensorsHeader> {
  const there = await host.stat(file);
  if (there === undefined) notFound(file);
  if (there.kind !== "file") fail("MOE5102", `${file} is a folder, expected a safetensors file`);
  const length = headerLength(await host.readRange(file, 0, Math.min(8, there.size)), there.size, file);
  return parseHeader(await host.readRange(file, 0, 8 + length), there.size, file);
}

async function readWeights(host: Host, folder: string): Promise<Pick<CheckpointHeaders, "tensors" | "files">> {
  const single = joinPath(folder, "model.safetensors");
  const indexFile = joinPath(folder, "model.safetensors.index.json");
  // The order in which transformers looks: a single file wins.
  if ((await host.stat(single)) !== undefined) return { tensors: (await readHeader(host, single)).tensors, files: [single] };
  if ((await host.stat(indexFile)) === undefined)
    fail("MOE5120", `${folder} has neither model.safetensors nor model.safetensors.index.json`, { help: await whatLiesThere(host, folder) });
  const index = await parseIndex(await readSmall(host, indexFile), indexFile);
  const shards = [...new Set(Object.values(index.weight_map))];
  await refuseLinksOutside(host, folder, shards);
  const tensors = new Map<string, TensorEntry>();
  const faults: Diagnostic[] = [];
  const files: string[] = [];
  for (const shard of shards) {
    const file = joinPath(folder, shard);
    files.push(file);
    if ((await host.stat(file)) === undefined) {
      faults.push(diagnostic("MOE5121", `${indexFile} names the shard ${JSON.stringify(shard)}, which does not exist`, { help: "was the download complete?" }));
      continue;
    }
    let header: SafetensorsHeader;
    try {
      header = await readHeader(host, file);
    } catch (error) {
      if (!(error instanceof DiagnosticError)) throw error;
      faults.push(...error.diagnostics);
      continue;
    }
    for (const entry of header.tensors.values()) {
      const promised = Object.hasOwn(index.weight_map, entry.name) ? index.weight_map[entry.name] : undefined;
      const other = tensors.get(entry.name);
      if (other !== undefined) faults.push(diagnostic("MOE5116", `tensor ${JSON.stringify(entry.name)} is in ${other.file} and in ${file}`));
      else if (promised === undefined) faults.push(diagnostic("MOE5121", `${file} holds tensor ${JSON.stringify(entry.name)}, which ${indexFile} does not list`));
      else tensors.set(entry.name, entry);
    }
    for (const [name, promised] of Object.entries(index.weight_map))
      if (promised === shard && !header.tensors.has(name)) faults.push(diagnostic("MOE5121", `${indexFile} says that ${JSON.stringify(shard)} holds tensor ${JSON.stringify(name)}, but it does not`));
  }
  if (faults.length > 0) throw new DiagnosticError(faults.slice(0, 50));
  return { tensors, files };
}

/** Config and index files are small; a huge one is not read into memory. */
async function readSmall(host: Host, file: string): Promise<Uint8Array> {
  const size = (await host.stat(file))?.size ?? 0;
  const limit = 64 * 2 ** 20;
  if (size > limit) fail("MOE5102", `${file} has ${size} bytes; at most ${limit} are read`, { help: "is it the right file?" });
  return host.readFile(file);
}

/**
 * A link must not lead out of the folder either. The one layout that does so on purpose is Hugging Face's cache, whose
 * `models--x/snapshots/REV/` links to `models--x/blobs/`.
 */
export async function refuseLinksOutside(host: Host, folder: string, names: readonly string[]): Promise<void> {
  if (host.realPath === undefined) return;
  const home = await host.realPath(folder);
  const cache = /^(.*)\/snapshots\/[^/]+$/.exec(home)?.[1];
  const roots = cache === undefined ? [home] : [home, `${cache}/blobs`];
  for (const name of names) {
    const file = joinPath(folder, name);
    if ((await host.stat(file)) === undefined) continue;
    const real = await host.realPath(file);
    if (!roots.some((root) => real.startsWith(root.endsWith("/") ? root : `${root}/`)))
      fail("MOE5103", `${file} is a link that leaves the checkpoint folder`, { notes: ["nothing was opened"], help: "copy the file into the folder if you trust it" });
  }
}

async function whatLiesThere(host: Host, folder: string): Promise<string> {
  const names = (await host.list?.(folder)) ?? [];
  const torch = names.find((n) => /\.(bin|pt|pth)$/.test(n));
  if (torch !== undefined) return `${torch} is a PyTorch file: convert it with save_pretrained(..., safe_serialization=True)`;
  const near = ["config.json", "model.safetensors", "model.safetensors.index.json"].flatMap((wanted) => nearest(wanted, names, 1).map((n) => `${n} (for ${wanted}?)`));
  return near.length > 0 ? `the folder has ${near.join(", ")}` : "is it the right folder?";
}
