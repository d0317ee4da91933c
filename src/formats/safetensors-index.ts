import { diagnostic, DiagnosticError, type Diagnostic } from "../diagnostics/index.ts";
import { plain } from "./json.ts";
import { validateJson, type JsonSchema } from "./schema.ts";
import { decodeText, parseJsonFile } from "./text.ts";

/** `model.safetensors.index.json`: which shard holds which tensor. */
export interface SafetensorsIndex {
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Tensor name to file name, all inside the index's folder. */
  readonly weight_map: Readonly<Record<string, string>>;
}

export const indexSchema: JsonSchema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "model.safetensors.index.json",
  type: "object",
  required: ["weight_map"],
  properties: {
    metadata: { type: "object" },
    weight_map: { type: "object", minProperties: 1, additionalProperties: { type: "string", minLength: 1 } },
  },
};

/** Parses an index and refuses every name that could leave the folder; nothing is opened. */
export async function parseIndex(bytes: Uint8Array, file: string): Promise<SafetensorsIndex> {
  const text = decodeText(bytes, file);
  const root = parseJsonFile(text, file);
  const value = plain(root);
  const faults = await validateJson(indexSchema, value, text, file);
  if (faults.length > 0) throw new DiagnosticError(faults);
  const index = value as SafetensorsIndex;
  const outside = new Map<string, { reason: string; tensors: string[] }>();
  for (const [tensor, shard] of Object.entries(index.weight_map)) {
    const reason = whyOutside(shard);
    if (reason === undefined) continue;
    const known = outside.get(shard);
    if (known === undefined) outside.set(shard, { reason, tensors: [tensor] });
    else known.tensors.push(tensor);
  }
  const escapes: Diagnostic[] = [...outside].slice(0, 20).map(([shard, { reason, tensors }]) => {
    const start = text.indexOf(JSON.stringify(shard));
    return diagnostic("MOE5103", `${file} sends ${tensors.length === 1 ? `tensor ${JSON.stringify(tensors[0])}` : `${tensors.length} tensors`} to ${JSON.stringify(shard.slice(0, 200))}, which leaves the checkpoint folder: ${reason}`, {
      ...(start < 0 ? {} : { at: { file, start, end: start + JSON.stringify(shard).length } }),
      notes: ["nothing was opened"],
      help: "a shard's name must be a plain file name; get the checkpoint from a source you trust",
    });
  });
  if (escapes.length > 0) throw new DiagnosticError(escapes);
  return index;
}

/** Why a file name out of an untrusted file must not be joined to a folder, whatever the system; undefined where it may. */
export function whyOutside(name: string): string | undefined {
  if (name === "") return "the name is empty";
  if (name.includes("\0")) return "the name holds a NUL character";
  if (name.includes("\\")) return "the name holds a backslash";
  if (name.startsWith("/")) return "the path is absolute";
  if (/^[A-Za-z]:/.test(name)) return "the name begins with a drive letter";
  if (name.split("/").some((part) => part === "..")) return 'the path goes up with ".."';
  if (name.split("/").some((part) => part === "." || part === "")) return 'the path has an empty or "." part';
  return undefined;
}
