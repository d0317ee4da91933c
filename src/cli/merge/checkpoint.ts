import { diagnostic, DiagnosticError, fail } from "../../diagnostics/index.ts";
import { readCheckpointHeaders, refuseLinksOutside, type CheckpointHeaders } from "../../formats/checkpoint.ts";
import { decodeFloat32, decodeFloat64, encodeElements, type NumericDtype } from "../../formats/dtype.ts";
import { joinPath, type Host } from "../../formats/host.ts";
import type { TensorEntry } from "../../formats/safetensors.ts";
import { notFinite, writeFolderAtomically, type Content } from "../../runtime/files/index.ts";

/** Tensors of a checkpoint that get other values, by name: the values in the file's order, made when they are written. */
export type Changes = ReadonlyMap<string, () => Promise<ArrayLike<number>>>;

/** What goes with a model's weights: its configuration, its tokenizer in all the forms that there are, its licence. */
const companions: readonly RegExp[] = [
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template)\.json$/,
  /^(vocab|merges)\.txt$/,
  /^(tokenizer|spiece|sentencepiece\.bpe)\.model$/,
  /^chat_template\.jinja$/,
  /^model\.safetensors\.index\.json$/,
  /^(LICEN[CS]E|NOTICE|USE_POLICY)(\.\w+)?$/i,
];

const floats: ReadonlySet<string> = new Set<NumericDtype>(["F64", "F32", "F16", "BF16"]);

/** A checkpoint's headers, and its tensors in float64. */
export async function openBase(host: Host, folder: string): Promise<CheckpointHeaders & { readonly read: (name: string) => Promise<Float64Array> }> {
  const headers = await readCheckpointHeaders(host, folder);
  return { ...headers, read: async (name) => decodeFloat64(headers.tensors.get(name)!.dtype, await bytesAt(host, headers.tensors.get(name)!)) };
}

async function bytesAt(host: Host, { file, begin, end }: Pick<TensorEntry, "file" | "begin" | "end">): Promise<Uint8Array> {
  const bytes = await host.readRange(file, begin, end);
  if (bytes.length !== end - begin) fail("MOE5114", `${file} became shorter while it was read`);
  return bytes;
}

/** Refuses a change that the tensor's dtype could only hold as other numbers. MOE5351 */
export function requireFloats(base: CheckpointHeaders, names: Iterable<string>): void {
  const faults = [...names].flatMap((name) => {
    const { dtype, file } = base.tensors.get(name)!;
    return floats.has(dtype) ? [] : [diagnostic("MOE5351", `${file}: tensor "${name}" is ${dtype}: a merged weight cannot be written in it`)];
  });
  if (faults.length > 0) throw new DiagnosticError(faults.slice(0, 20));
}

/**
 * Writes the checkpoint with some tensors changed, as one folder that is there whole or not at all. The files' headers, and
 * every tensor that does not change, are copied byte for byte. Returns the files' names. Where `signal` stops it, it rejects with its reason, and leaves nothing. MOE5350
 */
export async function writeChanged(host: Host, base: CheckpointHeaders, changes: Changes, out: string, signal: AbortSignal): Promise<readonly string[]> {
  const names = ((await host.list?.(base.folder)) ?? []).filter((n) => companions.some((c) => c.test(n)));
  await refuseLinksOutside(host, base.folder, names);
  const files = new Map<string, Content>();
  for (const file of base.files) {
    const { size } = (await host.stat(file))!;
    const changed = [...base.tensors.values()].filter((t) => t.file === file && changes.has(t.name));
    files.set(nameIn(base.folder, file), rewritten(host, file, size, changed, changes, signal));
  }
  for (const name of names) {
    const file = joinPath(base.folder, name);
    const found = await host.stat(file);
    // A single file of weights wins over an index, which then is of other files.
    if (found?.kind !== "file" || (name === "model.safetensors.index.json" && files.has("model.safetensors"))) continue;
    files.set(name, await host.readFile(file));
  }
  await writeFolderAtomically(out, files);
  return [...files.keys()];
}

/** A file's name below the checkpoint's folder. */
function nameIn(folder: string, file: string): string {
  return file.slice(joinPath(folder, "x").length - 1);
}

/** Bytes that are copied at a time. */
const pieceBytes = 16 * 2 ** 20;

async function* rewritten(host: Host, file: string, size: number, changed: readonly TensorEntry[], changes: Changes, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let at = 0;
  const copyTo = async function* (end: number): AsyncGenerator<Uint8Array> {
    for (; at < end; at = Math.min(at + pieceBytes, end)) {
      signal.throwIfAborted();
      yield await bytesAt(host, { file, begin: at, end: Math.min(at + pieceBytes, end) });
    }
  };
  for (const entry of [...changed].sort((a, b) => a.begin - b.begin)) {
    yield* copyTo(entry.begin);
    signal.throwIfAborted();
    yield encoded(entry, await changes.get(entry.name)!());
    at = entry.end;
  }
  yield* copyTo(size);
}

/** Values rounded to the entry's dtype, to nearest, ties to even. */
function encoded(entry: TensorEntry, values: ArrayLike<number>): Uint8Array {
  const bytes = encodeElements(entry.dtype as NumericDtype, values);
  if (bytes.length !== entry.end - entry.begin) throw new Error(`${entry.name} has ${entry.end - entry.begin} bytes and was given ${bytes.length}`);
  // As it will be read: what rounds to infinity shows.
  const fault = notFinite(entry, decodeFloat32(entry.dtype, bytes));
  if (fault) fail("MOE5350", `merged, ${fault.message.slice(fault.message.indexOf("tensor"))}`, { notes: ["nothing was written"] });
  return bytes;
}
