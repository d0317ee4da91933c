import { diagnostic, DiagnosticError, didYouMean, fail, type Diagnostic } from "../../diagnostics/index.ts";
import { bytesOf, decodeFloat32, isNumeric } from "../../formats/dtype.ts";
import type { Host } from "../../formats/host.ts";
import { elementsOf, type TensorEntry } from "../../formats/safetensors.ts";

export interface LoadedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Row-major, widened to float32. */
  readonly data: Float32Array;
}

/** One piece of a tensor's bytes in memory at a time, beside its float32 result. */
const pieceBytes = 16 * 2 ** 20;

/**
 * Reads tensors one after the other, in the order of `names`, so that one at a time need be in memory.
 * NaN and infinities are refused unless `nan` is "allow". After the first such tensor the others are still looked at but
 * not returned, so that one run tells all that are bad.
 * @throws DiagnosticError: a name that is not there, a dtype that cannot be read, NaN, a file that became shorter
 */
export async function* loadTensors(
  host: Host,
  checkpoint: { readonly tensors: ReadonlyMap<string, TensorEntry> },
  names: Iterable<string>,
  options: { readonly nan?: "refuse" | "allow" } = {},
): AsyncGenerator<LoadedTensor> {
  const entries = [...names].map((name) => {
    const entry = checkpoint.tensors.get(name);
    if (entry !== undefined) return entry;
    const guess = didYouMean(name, checkpoint.tensors.keys());
    return fail("MOE5118", `the checkpoint has no tensor ${JSON.stringify(name)}`, guess === undefined ? {} : { help: guess });
  });
  const faults: Diagnostic[] = [];
  for (const entry of entries) {
    const data = await loadTensor(host, entry);
    const fault = options.nan === "allow" ? undefined : notFinite(entry, data);
    if (fault !== undefined) faults.push(fault);
    if (faults.length === 0) yield { name: entry.name, shape: entry.shape, data };
    if (faults.length === 50) break;
  }
  if (faults.length > 0) throw new DiagnosticError(faults);
}

/** Reads one tensor, whatever its values. */
export async function loadTensor(host: Host, entry: TensorEntry): Promise<Float32Array> {
  if (!isNumeric(entry.dtype)) fail("MOE5117", `${entry.file}: tensor ${JSON.stringify(entry.name)} has dtype ${entry.dtype}, which cannot be read as numbers`);
  const size = bytesOf(entry.dtype);
  const data = new Float32Array((entry.end - entry.begin) / size);
  for (let at = entry.begin; at < entry.end; at += pieceBytes) {
    const end = Math.min(at + pieceBytes, entry.end);
    const bytes = await host.readRange(entry.file, at, end);
    if (bytes.length !== end - at) fail("MOE5114", `${entry.file} became shorter while it was read, at tensor ${JSON.stringify(entry.name)}`);
    decodeFloat32(entry.dtype, bytes, data, (at - entry.begin) / size);
  }
  return data;
}

/** The diagnostic for a tensor with NaN or infinities: how many of each, and the first one's index. */
export function notFinite(entry: Pick<TensorEntry, "name" | "shape" | "file" | "dtype">, data: Float32Array): Diagnostic | undefined {
  let nan = 0;
  let infinite = 0;
  let first = -1;
  for (let i = 0; i < data.length; i++) {
    const x = data[i]!;
    if (x - x === 0) continue; // finite: the fast way
    if (first < 0) first = i;
    if (x !== x) nan++;
    else infinite++;
  }
  if (first < 0) return undefined;
  const counts = [...(nan > 0 ? [`${nan} NaN`] : []), ...(infinite > 0 ? [`${infinite} infinite`] : [])].join(" and ");
  const value = data[first]! > 0 ? "+Inf" : data[first]! < 0 ? "-Inf" : "NaN";
  const notes = entry.dtype === "F64" && infinite > 0 ? ["the file holds float64; a value beyond float32's range becomes infinite"] : [];
  return diagnostic("MOE5119", `${entry.file}: tensor ${JSON.stringify(entry.name)} holds ${counts} among ${elementsOf(entry.shape)} values, first ${value} at [${unravel(first, entry.shape).join(", ")}]`, { notes });
}

function unravel(index: number, shape: readonly number[]): number[] {
  const result: number[] = [];
  for (const size of shape.toReversed()) {
    result.unshift(index % size);
    index = Math.floor(index / size);
  }
  return result;
}
