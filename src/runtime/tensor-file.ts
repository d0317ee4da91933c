import { DiagnosticError } from "../diagnostics/index.ts";
import { readCheckpointHeaders, readHeader } from "../formats/checkpoint.ts";
import type { Host } from "../formats/host.ts";
import type { TensorEntry } from "../formats/safetensors.ts";
import { loadTensor, notFinite } from "./files/load-tensors.ts";
import type { TensorFile } from "./weights.ts";

/** One safetensors file. Its header is read and checked now, its tensors when they are asked for. */
export async function openTensorFile(host: Host, path: string): Promise<TensorFile & { readonly metadata: Readonly<Record<string, string>> }> {
  const header = await readHeader(host, path);
  return { ...fromEntries(host, path, header.tensors), metadata: header.metadata };
}

/** A base checkpoint's tensors, from one file or from shards. NaN and infinities are refused (MOE5119) unless allowed. */
export async function openCheckpoint(host: Host, folder: string, options: { readonly allowNan?: boolean } = {}): Promise<TensorFile & { readonly config: unknown }> {
  const headers = await readCheckpointHeaders(host, folder);
  return { ...fromEntries(host, folder, headers.tensors, options.allowNan), config: headers.config };
}

function fromEntries(host: Host, path: string, entries: ReadonlyMap<string, TensorEntry>, allowNan = false): TensorFile {
  return {
    path,
    shapes: new Map([...entries.values()].map((e) => [e.name, e.shape])),
    read: async (name) => {
      const entry = entries.get(name)!;
      const data = await loadTensor(host, entry);
      const fault = allowNan ? undefined : notFinite(entry, data);
      if (fault) throw new DiagnosticError(fault);
      return data;
    },
  };
}
