import type { SiteInput } from "./adapt.ts";
import type { ElaborationContext } from "./context.ts";
import type { DataPlan, SitePlace } from "./plan.ts";
import type { Handle, Tensor } from "./values.ts";

/**
 * What a site is given, without a model around it: for proofs and warnings that look at one site by itself. `handle` says
 * what the emitter knows a tensor by; it gets the tensor's name and axes.
 */
export function standIn(context: ElaborationContext, place: SitePlace, data: DataPlan, handle: (name: string, axes: Tensor["axes"]) => Handle): SiteInput {
  const sample = context.axes.get("sample", "sample");
  const position = context.axes.get("position", "position");
  const hidden = context.axes.get("hidden", 64);
  const make = (name: string, axes: Tensor["axes"], dtype: Tensor["dtype"] = "f32"): Tensor => ({ kind: "tensor", axes, dtype, handle: handle(name, axes) });
  return {
    x: make("x", [sample, position, place.in]),
    y: make("y", [sample, position, place.out]),
    W: make("W", [place.in, place.out]),
    mask: make("mask", [sample, position]),
    kind: make("kind", [sample], "i32"),
    data,
    batch: {
      prompt: () => make("prompt", [sample, position]),
      field: (f) => make(f.name, [sample], f.values === undefined ? "f32" : "i32"),
    },
    firstPass: () => ({ states: make("first_pass", [sample, position, hidden]), hidden }),
    frozen: { tensor: () => "site.weight", order: [place.out, place.in] },
    statistics: true,
    filePrefix: () => "site",
    sites: 1,
  };
}
