import type { ElaborationContext, Fixed, MergeSite } from "../../check/index.ts";
import { interpretEntry, tensorOf, type Arg, type Module, type Tensor } from "../../ir/index.ts";
import { lowerMerge, mergeEntry } from "../../lower/index.ts";
import { simplify, stack } from "../../passes/index.ts";
import { assemble, reorder, slicesOf, type FileSlice } from "../../runtime/layout.ts";
import { asManifest, tensorFor } from "../graph-weights.ts";

/** Values of a tensor of the base or of the adapter, in the file's order. */
export type ReadTensor = (slice: FileSlice) => Promise<Float64Array>;

/** What one linear and all that is put on it come to, computed from its spec's text in float64. */
export interface Merged {
  /** The matrix, in the file's order. */
  readonly weight: () => Promise<Float64Array>;
  /** What is added whatever the input is; of a linear that has a bias. */
  readonly bias: () => Promise<Float64Array>;
}

/**
 * The site is f(x) = x M + c. So c = f(0), and the rows of M are f of the unit vectors, less c. One linear is in memory at
 * a time, and only while it is asked for.
 */
export function mergedLinear(context: ElaborationContext, site: MergeSite, fixed: Fixed, read: ReadTensor): Merged {
  const size = site.place.in.size as number;
  const width = site.place.out.size as number;
  const bias = async (): Promise<Float64Array> => (await run(lowerMerge(context, site, fixed, "zero"), size, read)).data as Float64Array;
  return {
    bias,
    weight: async () => {
      const rows = await run(lowerMerge(context, site, fixed, "unit"), size, read);
      const matrix = rows.data as Float64Array;
      if (site.bias) {
        const constant = await bias();
        for (let i = 0; i < matrix.length; i++) matrix[i] = matrix[i]! - constant[i % width]!;
      }
      const { weight, place } = site;
      return reorder(matrix, { in: size, out: width }, ["in", "out"], weight.axes.map((a) => (a === place.in ? "in" : "out")));
    },
  };
}

/** Runs a lowered merge of a linear with inputs of this size in the reference interpreter. */
async function run(lowered: Module, size: number, read: ReadTensor): Promise<Tensor> {
  // Experts are stacked, so that no product is made for each of them.
  const module = stack(simplify(lowered)).module;
  const weights = new Map(module.weights.map((w) => [w.name, asManifest(w)]));
  const weight: Record<string, Arg> = {};
  const input: Record<string, Arg> = {};
  for (const binding of module.entries.get(mergeEntry)!.params) {
    if (binding.kind === "weight") {
      const found = weights.get(binding.weight)!;
      const slices = slicesOf(found);
      const parts: Float64Array[] = [];
      for (const slice of slices) parts.push(await read(slice));
      weight[binding.weight] = tensorFor(found, assemble(slices, parts));
    } else if (binding.kind === "input") input[binding.name] = unitMatrix(size, module);
  }
  return interpretEntry(module, mergeEntry, { weight, input }, { sizes: { sample: 1, position: 1 } }).output["output"] as Tensor;
}

/** The unit matrix as the entry wants it: rows and columns are the last of its axes. */
function unitMatrix(size: number, module: Module): Tensor {
  const entry = module.entries.get(mergeEntry)!;
  const { type } = module.functions.get(entry.fn)!.params[entry.params.findIndex((b) => b.kind === "input")]!;
  if (type.kind !== "tensor") throw new Error("the unit matrix is a tensor");
  const values = new Float64Array(size * size);
  for (let i = 0; i < size; i++) values[i * size + i] = 1;
  return tensorOf(Object.fromEntries(type.axes.map((a) => [a.name, typeof a.size === "number" ? a.size : 1])), values);
}
