import {
  applySite,
  Assembly,
  elaborator,
  lazyBatch,
  type AdapterPlan,
  type AxisRef,
  type CheckedAdapter,
  type DataPlan,
  type ElaborationContext,
  type ModelInstance,
  type Scope,
  type SitePlan,
  type Tensor,
  type TensorOps,
} from "../check/index.ts";
import type { BlockItem } from "../parser/ast.ts";
import type { Module } from "../ir/graph.ts";
import { input, negativeLogLikelihood } from "./batch.ts";
import { GraphEmitter } from "./emitter.ts";

/**
 * What a case of tensors from elsewhere is compared with: one adapted linear, a block of the model with its linears
 * adapted, or the whole model.
 */
export type CaseShape =
  | { readonly kind: "site"; readonly plan: SitePlan; readonly in: AxisRef; readonly out: AxisRef; readonly data: DataPlan }
  | { readonly kind: "block"; readonly item: BlockItem; readonly scope: Scope; readonly model: ModelInstance; readonly adapter: AdapterPlan; readonly in: AxisRef }
  | { readonly kind: "model"; readonly adapter: CheckedAdapter };

/**
 * A module with one entry, `case`. Inputs: x, C, mask, kind (site and block), or tokens, targets, loss_mask, mask, kind
 * (model). Outputs: output (or logits), gates where one site is routed, balance, total.
 */
export interface LoweredCase {
  readonly module: Module;
  /** Index of the results in the entry's list. */
  readonly outputs: readonly string[];
}

export function lowerCase(context: ElaborationContext, shape: CaseShape): LoweredCase {
  const emitter = new GraphEmitter("case", { numbers: ["step", "steps"] });
  const e = elaborator(context, emitter, false);
  const { ops } = e;
  const sample = ops.axes.get("sample", "sample");
  const position = ops.axes.get("position", "position");
  const rows = [sample, position];
  const mask = input(emitter, "mask", "f32", rows);
  const kind = input(emitter, "kind", "i32", [sample]);
  const batch = lazyBatch(ops, (name, t) => emitter.input(name, t));
  const outputs: [string, Tensor][] = [];
  const finish = (output: Tensor, name: string, loss: Tensor, balance: Tensor | undefined, gates?: Tensor) => {
    outputs.push([name, output]);
    if (gates) outputs.push(["gates", gates]);
    const b = balance ?? ops.scalar(0);
    outputs.push(["balance", b], ["loss", loss], ["total", ops.arithmetic("add", loss, b)]);
  };
  const weighed = (output: Tensor, C: Tensor) => ops.reduce("sum", ops.arithmetic("mul", output, C), output.axes);

  if (shape.kind === "site") {
    const x = input(emitter, "x", "f32", [...rows, shape.in]);
    const C = input(emitter, "C", "f32", [...rows, shape.out]);
    const W = siteWeight(emitter, shape.in, shape.out);
    const y = ops.dot(x, W, [shape.in]);
    let first: Tensor | undefined;
    const site = applySite(e, shape.plan, { in: shape.in, out: shape.out, layer: 0, layers: 1 }, {
      x,
      y,
      W,
      mask,
      kind,
      data: shape.data,
      batch,
      // One linear has no model around it: what a first pass would give is an input, as wide as the layer's.
      firstPass: () => {
        const hidden = ops.axes.get("hidden", shape.in.size);
        return { states: first ??= input(emitter, "first_pass", "f32", [...rows, hidden]), hidden };
      },
      frozen: { tensor: () => "base.weight", order: [shape.out, shape.in] },
      statistics: true,
      filePrefix: () => "site",
      sites: 1,
    });
    const output = ops.transpose(site.output, [...rows, shape.out]);
    finish(output, "output", weighed(output, C), site.balance, site.gates ? inOrder(ops, site.gates, rows) : undefined);
  } else if (shape.kind === "block") {
    const x = input(emitter, "x", "f32", [...rows, shape.in]);
    const C = input(emitter, "C", "f32", [...rows, shape.in]);
    const assembly = new Assembly(e, shape.model, shape.adapter, { statistics: true });
    const done = ops.inside(shape.item.name.text, () => assembly.block(shape.item, shape.scope, x, { tokens: kind, mask, kind, batch }));
    const output = ops.transpose(done.output, [...rows, shape.in]);
    finish(output, "output", weighed(output, C), done.balance, done.gates.length === 1 ? inOrder(ops, done.gates[0]!, rows) : undefined);
  } else {
    const tokens = input(emitter, "tokens", "i32", rows);
    const targets = input(emitter, "targets", "i32", rows);
    const counted = input(emitter, "lossMask", "f32", rows);
    const assembly = new Assembly(e, shape.adapter.base.model, shape.adapter.plan, { statistics: true });
    const forward = assembly.forward({ tokens, mask, kind, batch });
    const logits = ops.transpose(forward.logits, [...rows, forward.vocab]);
    const nll = negativeLogLikelihood(ops, logits, forward.vocab, targets, counted);
    const mean = ops.arithmetic("div", ops.reduce("sum", nll, rows), ops.reduce("sum", counted, rows));
    finish(logits, "logits", mean, forward.balance, forward.gates ? inOrder(ops, forward.gates, rows) : undefined);
  }
  const finished = emitter.finish(outputs.map(([name, t]) => [name, t.handle] as const), ops.origin());
  const names = outputs.map(([name]) => name);
  return {
    module: {
      functions: emitter.functions,
      weights: finished.weights,
      entries: new Map([["case", finished.entry]]),
    },
    outputs: names,
  };
}

/** Gates as cases have them: samples and positions first, where the router looks at these. */
function inOrder(ops: TensorOps, gates: Tensor, rows: readonly AxisRef[]): Tensor {
  return ops.transpose(gates, [...rows.filter((a) => gates.axes.includes(a)), ...gates.axes.filter((a) => !rows.includes(a))]);
}

/** The frozen weight of a linear that stands alone, [out, in] as files have it. */
function siteWeight(emitter: GraphEmitter, from: AxisRef, to: AxisRef): Tensor {
  const axes = [to, from];
  const handle = emitter.weight({ path: ["base", "weight"], axes, trainable: false, initial: { kind: "checkpoint" }, decay: true, order: axes, tensor: () => "base.weight" });
  return { kind: "tensor", axes, dtype: "f32", handle };
}
