import type { Diagnostic } from "../diagnostics/index.ts";
import { GraphError } from "../ir/errors.ts";
import type { Entry, Module } from "../ir/graph.ts";
import type { Sizes } from "../ir/size.ts";
import { verify } from "../ir/verify.ts";
import { removeDead } from "./dead.ts";
import { type DispatchOptions, dispatch } from "./dispatch.ts";
import { type DifferentiateOptions, differentiate } from "./differentiate.ts";
import { layout } from "./layout.ts";
import { type UpdateSettings, addOptimizer } from "./optimizer.ts";
import { postpone } from "./postpone.ts";
import { type ReleaseReport, release } from "./release.ts";
import { type ScheduleReport, schedule } from "./schedule.ts";
import { simplify } from "./simplify.ts";
import type { StackedFrom } from "./explain.ts";
import { stack } from "./stack.ts";
import { mergeRows } from "./views.ts";

export { removeDead } from "./dead.ts";
export { type DispatchOptions, type DispatchReport, type Dispatched, dispatch } from "./dispatch.ts";
export { derivatives, type DerivativeRow } from "./derivatives.ts";
export { type DifferentiateOptions, type Differentiated, differentiate } from "./differentiate.ts";
export { type Left, type PlaceExplanation, type StackedFrom, explainStacking, ruleTexts } from "./explain.ts";
export { hoist } from "./hoist.ts";
export { type Machine, type Work, machines } from "./machine.ts";
export { type LayoutOptions, layout } from "./layout.ts";
export { type UpdateSettings, addOptimizer, scheduleFactor } from "./optimizer.ts";
export { postpone } from "./postpone.ts";
export { type ReleaseReport, type Released, release } from "./release.ts";
export { type ScheduleReport, type Scheduled, schedule } from "./schedule.ts";
export type { LaidOut } from "./settle.ts";
export { type SimplifyOptions, simplify } from "./simplify.ts";
export type { StackReport, StackRule } from "./rewrite.ts";
export { mergeRows } from "./views.ts";
export { ancestors, makers, nominalSymbol } from "./tools.ts";
export { type StackOptions, type Stacked, stack } from "./stack.ts";

export interface OptimizeOptions {
  /** Makes the entries `accumulate` and `update`, where something is trainable. */
  readonly train?: UpdateSettings;
  /** What a product's transpose flag costs (`LayoutOptions`). */
  readonly transposeFlags: number | false;
  /** Sizes of symbols, where some are known, for the costs that passes weigh. */
  readonly sizes?: Sizes;
  /** The batch for which tokens may be sorted, and ops are put into an order that holds little. */
  readonly batch?: Sizes;
  /** Where tokens are sorted by the experts they chose: by default where that costs less. */
  readonly dispatch?: DispatchOptions["dispatch"];
  /** The machine whose time that is (`machines`); wasm's by default. */
  readonly machine?: DispatchOptions["machine"];
  /** What backward makes again rather than keep; by default what is cheap to make. */
  readonly recompute?: DifferentiateOptions["recompute"];
  /** Verifies the module after every pass; a fault is a GraphError that names the pass. */
  readonly debug?: boolean;
  /** Sees the module after every pass. */
  readonly trace?: (pass: string, module: Module) => void;
}

export interface Reports {
  readonly stack: StackedFrom;
  /** Trainable weights on which the objective does not depend. */
  readonly unreached: readonly string[];
  /** Frozen weights that are held in another order than the spec's. */
  readonly hoisted: readonly string[];
  readonly schedule: readonly ScheduleReport[];
  readonly release: readonly ReleaseReport[];
}

/**
 * All passes in their order: postpone, dispatch, stack, differentiate (so that backward is born stacked), simplify, lay out,
 * merge rows, schedule, release.
 * The entry `train`, if there is one, becomes `gradients` (`gradientsEntry`).
 */
export function optimize(module: Module, options: OptimizeOptions): { readonly module: Module; readonly reports: Reports } {
  const step = (pass: string, made: Module, released = false): Module => {
    options.trace?.(pass, made);
    if (options.debug) sound(pass, verify(made, { released }));
    return made;
  };
  const sizes = options.sizes ?? {};
  const batch = options.batch ?? sizes;
  // Before differentiation too: what is computed once for all layers is not kept for each.
  const simple = step("postpone", postpone(step("simplify", simplify(module)), sizes));
  const sorted = dispatch(simple, { sizes: batch, dispatch: options.dispatch, machine: options.machine });
  step("dispatch", sorted.module);
  const stacked = stack(sorted.module, { sizes });
  step("stack", stacked.module);
  const { module: trained, unreached } = gradientsEntry(stacked.module, { sizes, ...(options.recompute ? { recompute: options.recompute } : {}) });
  step("differentiate", trained);
  const whole = options.train && trained.weights.some((w) => w.trainable) ? step("optimizer", addOptimizer(trained, options.train)) : trained;
  const again = step("simplify", simplify(whole, { dropStops: true }));
  const laidOut = layout(again, { transposeFlags: options.transposeFlags, sizes });
  step("layout", laidOut.module);
  const merged = step("merge rows", mergeRows(laidOut.module));
  const tidy = step("simplify", simplify(merged, { dropStops: true }));
  const scheduled = schedule(tidy, batch);
  step("schedule", scheduled.module);
  const released = release(scheduled.module, batch);
  step("release", released.module, true);
  return { module: released.module, reports: { stack: { before: simple, after: stacked.module, report: stacked.report, dispatch: sorted.report }, unreached, hoisted: laidOut.hoisted, schedule: scheduled.report, release: released.report } };
}

function sound(pass: string, faults: readonly Diagnostic[]): void {
  if (faults.length > 0) throw new GraphError(`the pass "${pass}" broke the module:\n${faults.map((d) => d.message).join("\n")}`);
}

/**
 * Replaces the entry `train`, whose output `objective` is the scalar to differentiate, by `gradients`: the same params,
 * the other outputs, and then the gradient of every trainable weight bound in `train`.
 */
export function gradientsEntry(module: Module, options: Pick<DifferentiateOptions, "recompute" | "sizes"> = {}): { readonly module: Module; readonly unreached: readonly string[] } {
  const train = module.entries.get("train");
  if (!train) return { module, unreached: [] };
  const of = train.results.findIndex((r) => r.kind === "output" && r.name === "objective");
  if (of < 0) throw new GraphError('the entry "train" has no output "objective"');
  const trainable = new Set(module.weights.filter((w) => w.trainable).map((w) => w.name));
  const wrt = train.params.flatMap((p, i) => (p.kind === "weight" && trainable.has(p.weight) ? [i] : []));
  const names = wrt.map((i) => (train.params[i] as { readonly weight: string }).weight);
  const made = differentiate(module, { fn: train.fn, of, wrt, name: "gradients", ...options });
  const fn = made.module.functions.get("gradients")!;
  const functions = new Map(made.module.functions);
  functions.set("gradients", { ...fn, results: fn.results.filter((_, j) => j !== of) });
  const entry: Entry = {
    fn: "gradients",
    params: train.params,
    results: [...train.results.filter((_, j) => j !== of), ...names.map((weight) => ({ kind: "gradient", weight }) as const)],
  };
  const entries = new Map([...made.module.entries].map(([name, e]) => (name === "train" ? (["gradients", entry] as const) : ([name, e] as const))));
  return { module: removeDead({ ...made.module, functions, entries }), unreached: made.unreached.map((i) => names[wrt.indexOf(i)]!) };
}
