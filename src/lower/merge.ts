import { elaborateSite, elaborator, type AxisRef, type ElaborationContext, type Fixed, type MergeSite, type Tensor } from "../check/index.ts";
import type { Module } from "../ir/graph.ts";
import { GraphEmitter } from "./emitter.ts";
import { UnitEmitter } from "./unit.ts";

/** The name of the one entry of a lowered merge, and of its one output. */
export const mergeEntry = "merge";

/**
 * A merged linear as a graph of its weights, for one sample of one position. `unit`: what the site computes of the unit
 * matrix, f(I) [sample, position, row, out], a row for each place of its input; `zero`: f(0) [sample, position, out], what it
 * adds whatever the input is.
 */
export function lowerMerge(context: ElaborationContext, site: MergeSite, fixed: Fixed, at: "unit" | "zero"): Module {
  const graph = new GraphEmitter(mergeEntry);
  const { axes } = context;
  const sample = axes.get("sample", "sample");
  const position = axes.get("position", "position");
  const tokens = [sample, position];
  const { place } = site;
  // The unit vectors are no positions: how many there are is known. No definition sees their axis.
  const row = axes.get("row", place.in.size, new Set([place.in.name, place.out.name]));
  const rows = at === "unit" ? [...tokens, row] : tokens;
  const unit = new UnitEmitter(graph, [...rows, place.in], row, place.in);
  const e = elaborator(context, at === "unit" ? unit : graph, false);
  const { ops } = e;
  const same = (value: number, along: readonly AxisRef[], dtype: "f32" | "i32" = "f32"): Tensor => ops.expand(ops.emit("constant", [], { value, dtype }, [], dtype), along);
  const frozen = (name: string, of: readonly AxisRef[], tensor: string, order: readonly AxisRef[]): Tensor => ({
    kind: "tensor",
    axes: of,
    dtype: "f32",
    handle: graph.weight({ path: [name], axes: of, trainable: false, initial: { kind: "checkpoint" }, decay: true, order, tensor: () => tensor }),
  });

  return ops.at(site.plan.at.span, (): Module => {
    const x: Tensor = at === "unit" ? { kind: "tensor", axes: unit.axes, dtype: "f32", handle: unit.unit } : same(0, [...rows, place.in]);
    const W = frozen("weight", [place.in, place.out], site.weight.name, site.weight.axes);
    const product = ops.dot(x, W, [place.in]);
    const y = site.bias ? ops.arithmetic("add", product, frozen("bias", [place.out], site.bias.name, site.bias.axes)) : product;
    const beside = (axis: AxisRef): Tensor => same(0, [...tokens, axis]);
    const hidden = axes.get("hidden", 1);
    const input: Parameters<typeof elaborateSite>[2] = {
      x,
      y,
      W,
      mask: same(1, tokens),
      kind: same(fixed.kind ?? -1, [sample], "i32"),
      data: site.data,
      // The proof has shown that the result depends on none of what is not fixed.
      batch: { prompt: () => same(1, tokens), field: (f) => same(fixed.fields.get(f.name) ?? 0, [sample], f.values === undefined ? "f32" : "i32") },
      firstPass: () => ({ states: beside(hidden), hidden }),
      statistics: false,
      sites: 1,
    };
    const { apply } = elaborateSite(e, site, input, beside);
    const output = ops.transpose(apply(site.plan.banks), [...rows, place.out]);
    const finished = graph.finish([["output", output.handle]], ops.origin());
    return { functions: graph.functions, weights: finished.weights, entries: new Map([[mergeEntry, finished.entry]]) };
  });
}
