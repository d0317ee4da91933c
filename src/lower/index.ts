import { Assembly, batchTensors, batchValue, elaborator, StateEmitter, updatesOf, type CheckedAdapter, type ElaborationContext, type Tensor } from "../check/index.ts";
import type { Entry, GraphFunction, Module, Weight } from "../ir/graph.ts";
import { input, negativeLogLikelihood } from "./batch.ts";
import { GraphEmitter } from "./emitter.ts";

export { GraphEmitter } from "./emitter.ts";
export { lowerMerge, mergeEntry } from "./merge.ts";
export { lowerCase, type CaseShape, type LoweredCase } from "./case.ts";

/** Which numbers an entry takes from the host, beside tensors. */
const numbers = { logits: [], evaluate: [], train: ["seed", "draw", "lossScale", "balanceScale"] } as const;

/** Those that only some programs ask for: weights of balances that change while training goes on. */
const optional = { logits: [], evaluate: ["step", "steps"], train: ["step", "steps"] } as const;

/**
 * The graph of an adapter on its base: entries `logits`, `evaluate` and `train` (see `runtime/program`), and `advance` where
 * routers have states. The passes make `gradients` of `train` and add the optimizer, which takes `advance` in.
 */
export function lower(context: ElaborationContext, adapter: CheckedAdapter): Module {
  const functions = new Map<string, GraphFunction>();
  const weights = new Map<string, Weight>();
  const entries = new Map<string, Entry>();
  for (const entry of ["logits", "evaluate", "train"] as const) {
    const emitter = new GraphEmitter(entry, { numbers: optional[entry], ...(entry === "train" ? { states: "statistics" } : {}) });
    const e = elaborator(context, emitter, entry === "train");
    const { ops } = e;
    const declared = adapter.declaration.span;
    const outputs = ops.at(declared, () => {
      const batch = batchTensors(ops, (name, t) => emitter.input(name, { kind: "tensor", dtype: t.dtype, axes: t.axes }));
      const targets = entry === "logits" ? undefined : input(emitter, "targets", "i32", batch.tokens.axes);
      const lossMask = entry === "logits" ? undefined : input(emitter, "lossMask", "f32", batch.tokens.axes);
      for (const name of numbers[entry]) emitter.input(name, { kind: "number" });
      const assembly = new Assembly(e, adapter.base.model, adapter.plan, { statistics: entry !== "logits" });
      const forward = assembly.forward(batch);
      const order = [...batch.tokens.axes, forward.vocab];
      if (entry === "logits") return [["logits", ops.transpose(forward.logits, order).handle]] as const;
      const [sample, position] = batch.tokens.axes as readonly [(typeof batch.tokens.axes)[0], (typeof batch.tokens.axes)[0]];
      const nll = negativeLogLikelihood(ops, forward.logits, forward.vocab, targets!, lossMask!);
      const balance = forward.balance ?? ops.scalar(0);
      const groups = ops.axes.get("groups", Math.max(1, adapter.plan.groups.length));
      const usage = forward.usage ? ops.transpose(forward.usage, [sample, groups]) : ops.expand(ops.scalar(0), [sample, groups]);
      if (entry === "evaluate") {
        const best = ops.emit("argmax", [forward.logits], { axis: forward.vocab.name }, forward.logits.axes.filter((a) => a !== forward.vocab), "i32");
        const hit = ops.arithmetic("mul", ops.cast(ops.compare("eq", best, targets!), "f32"), lossMask!);
        return [
          ["loss", ops.reduce("sum", nll, [position]).handle],
          ["count", ops.reduce("sum", lossMask!, [position]).handle],
          ["hits", ops.reduce("sum", hit, [position]).handle],
          ["balance", balance.handle],
          ["usage", usage.handle],
        ] as const;
      }
      const scaled = (t: Tensor, name: string) => ops.arithmetic("mul", t, ops.hostNumber(name));
      const loss = scaled(ops.reduce("sum", nll, [sample, position]), "lossScale");
      const weighted = scaled(balance, "balanceScale");
      return [
        ["objective", ops.arithmetic("add", loss, weighted).handle],
        ["loss", loss.handle],
        ["balance", weighted.handle],
        ["usage", usage.handle],
      ] as const;
    });
    const finished = emitter.finish(outputs, ops.at(declared, () => ops.origin()));
    for (const [name, fn] of emitter.functions) functions.set(name, fn);
    for (const w of finished.weights) weights.set(w.name, w);
    entries.set(entry, finished.entry);
  }
  if ([...adapter.plan.sites.values()].some((plan) => updatesOf(plan).length > 0)) {
    const { entry, emitter } = advance(context, adapter);
    for (const [name, fn] of emitter.functions) functions.set(name, fn);
    entries.set("advance", entry);
  }
  return { functions, weights: [...weights.values()], entries };
}

/** The entry `advance`: states and the totals of their statistics over a step, to the states' next values. */
function advance(context: ElaborationContext, adapter: CheckedAdapter): { readonly entry: Entry; readonly emitter: GraphEmitter } {
  const emitter = new GraphEmitter("advance", { states: "next" });
  const e = elaborator(context, new StateEmitter(emitter), false);
  const at = adapter.declaration.span;
  e.ops.at(at, () => new Assembly(e, adapter.base.model, adapter.plan, { statistics: false }).forward(batchTensors(e.ops, () => batchValue)));
  return { entry: emitter.finish([], e.ops.at(at, () => e.ops.origin())).entry, emitter };
}
