import { Builder } from "../ir/builder.ts";
import { GraphError } from "../ir/errors.ts";
import { bindingName, type Binding, type Entry, type GraphFunction, type ListType, type Module, type TensorType, type Value, type Weight } from "../ir/graph.ts";
import { describeType, numberType, scalar } from "../ir/types.ts";
import type { OptimizerSettings, ScheduleSettings, TrainSettings } from "../formats/manifest.ts";
import { JoinedWeights } from "./joined.ts";
import { freeName, functionOf } from "./tools.ts";

/** The parts of the `train` block that the optimizer is made from. */
export type UpdateSettings = Pick<TrainSettings, "optimizer" | "schedule" | "clip">;

/** What torch.nn.utils.clip_grad_norm_ adds to the norm before dividing. */
const clipEpsilon = 1e-6;

/**
 * Relative slack before rounding up `warmup * steps`: the product is made in float32, where 0.03 * 100 may lie just
 * above 3. A share that is truly above a whole number by less than this counts as the whole number.
 */
const roundingSlack = 5e-7;

/**
 * Adds the entries of a step's second half to a module with trainable weights:
 *
 * - `accumulate`: gradients, and statistics of states' updates, of two micro-batches to their sum, weight by weight.
 * - `update`: weights, gradients, first and second moments and the host numbers `step` (from 0) and `steps` to new
 *   weights and moments, with outputs `lr` (used in this step) and `norm` (of all gradients, before clipping). States go on as
 *   the entry `advance` says, which becomes a part of it.
 *
 * Small weights are updated as one vector (`joined.ts`); a large list by a fold, with one function for each type of tensor.
 */
export function addOptimizer(module: Module, settings: UpdateSettings): Module {
  const trainable = module.weights.filter((w) => w.trainable);
  if (trainable.length === 0) throw new GraphError("there is nothing to train: the module has no trainable weight");
  const functions = new Map(module.functions);
  const entries = new Map(module.entries);
  const advance = entries.get("advance");
  entries.delete("advance");
  const sums = [...bound("gradient", trainable).map((binding, i): Sum => ({ binding, type: trainable[i]!.type })), ...statisticsOf(module)];
  entries.set("accumulate", accumulateEntry(functions, sums));
  entries.set("update", updateEntry(functions, trainable, settings, advance));
  return { ...module, functions, entries };
}

/** What micro-batches add up: gradients, and the statistics of states' updates. */
interface Sum {
  readonly binding: Binding;
  readonly type: TensorType | ListType;
}

function statisticsOf(module: Module): Sum[] {
  const entry = module.entries.get("gradients");
  const results = entry ? functionOf(module.functions, entry.fn).results : [];
  return (entry?.results ?? []).flatMap((binding, i): Sum[] => (binding.kind === "statistic" ? [{ binding, type: results[i]!.type as TensorType | ListType }] : []));
}

/** Functions that work on one tensor, made once for each type. */
class PerType {
  readonly #functions: Map<string, GraphFunction>;
  readonly #name: string;
  readonly #write: (b: Builder, type: TensorType) => readonly Value[];
  readonly #known = new Map<string, string>();

  constructor(functions: Map<string, GraphFunction>, name: string, write: (b: Builder, type: TensorType) => readonly Value[]) {
    this.#functions = functions;
    this.#name = name;
    this.#write = write;
  }

  /** Runs it on a weight's tensor, or on each layer's. `summed`: its results are totals over the layers. */
  run(b: Builder, weight: { readonly type: TensorType | ListType }, each: readonly Value[], shared: readonly Value[], summed = 0): readonly Value[] {
    const type = weight.type.kind === "list" ? weight.type.of : weight.type;
    const key = describeType(type);
    let fn = this.#known.get(key);
    if (fn === undefined) {
      fn = freeName(this.#functions, this.#name);
      const inner = new Builder(fn, this.#functions);
      this.#functions.set(fn, inner.finish(this.#write(inner, type)));
      this.#known.set(key, fn);
    }
    if (weight.type.kind === "list") return b.fold({ fn, count: weight.type.count, shared, lists: each, summed });
    return b.call(fn, [...shared, ...each]);
  }
}

function accumulateEntry(functions: Map<string, GraphFunction>, sums: readonly Sum[]): Entry {
  const adders = new PerType(functions, "accumulate_one", (inner, type) => [inner.add(inner.param(type, "a"), inner.param(type, "b"))]);
  const fn = freeName(functions, "accumulate");
  const b = new Builder(fn, functions, "Sums the gradients of two micro-batches.");
  const [first, second] = ["a", "b"].map((side) => sums.map((s) => b.param(s.type, `${bindingName(s.binding)}.${side}`)));
  functions.set(fn, b.finish(sums.map((s, i) => adders.run(b, s, [first![i]!, second![i]!], [])[0]!)));
  const bindings = sums.map((s) => s.binding);
  return { fn, params: [...bindings, ...bindings], results: bindings };
}

function updateEntry(functions: Map<string, GraphFunction>, weights: readonly Weight[], settings: UpdateSettings, advance: Entry | undefined): Entry {
  const squares = new PerType(functions, "square_sum", (b, type) => {
    const g = b.param(type, "gradient");
    return [b.sum(b.square(g), type.axes.map((a) => a.name))];
  });
  const decayed = new PerType(functions, "adamw", (b, type) => adamw(b, type, settings.optimizer, true));
  const plain = new PerType(functions, "adam", (b, type) => adamw(b, type, settings.optimizer, false));

  const fn = freeName(functions, "update");
  const b = new Builder(fn, functions, "One step of AdamW.");
  const params = (what: string): Map<Weight, Value> => new Map(weights.map((w) => [w, b.param(w.type, `${w.name}.${what}`)]));
  const given = ["weight", "gradient", "moment1", "moment2"].map(params);
  const step = b.fill(b.param(numberType, "step"));
  const steps = b.fill(b.param(numberType, "steps"));

  const decays = (w: Weight): boolean => w.decay && settings.optimizer.weightDecay !== 0;
  const joined = new JoinedWeights(weights, (w) => (decays(w) ? "decayed" : "plain"));
  const parts = joined.parts.map((part) => ({ ...part, each: given.map((values) => joined.join(b, part, values)) }));
  const total = parts.map((part) => squares.run(b, part, [part.each[1]!], [], 1)[0]!).reduce((x, y) => b.add(x, y));
  const norm = b.named("norm", b.sqrt(total));
  const clip = settings.clip > 0 ? b.min(b.div(settings.clip, b.add(norm, clipEpsilon)), 1) : b.constant(1);
  const lr = b.named("lr", b.mul(scheduleFactor(b, settings.schedule, step, steps), settings.optimizer.lr));
  const { beta1, beta2 } = settings.optimizer;
  const count = b.add(step, 1);
  const rate = b.div(lr, biasCorrection(b, beta1, count));
  const root = b.sqrt(biasCorrection(b, beta2, count));

  // The new weights, first and second moments, by weight.
  const made = [0, 1, 2].map(() => new Map<Weight, Value>());
  for (const part of parts) {
    const out = decays(part.weights[0]!) ? decayed.run(b, part, part.each, [clip, rate, root, lr]) : plain.run(b, part, part.each, [clip, rate, root]);
    out.forEach((v, k) => joined.split(b, part, v).forEach((own, i) => made[k]!.set(part.weights[i]!, own)));
  }
  // States go on by their own text, on the totals of the step's statistics.
  const states = advance ? b.call(advance.fn, functionOf(functions, advance.fn).params.map((p) => b.param(p.type, p.name))) : [];
  functions.set(fn, b.finish([...made.flatMap((of) => weights.map((w) => of.get(w)!)), lr, norm, ...states]));
  return {
    fn,
    params: [
      ...(["weight", "gradient", "moment1", "moment2"] as const).flatMap((kind) => bound(kind, weights)),
      { kind: "input", name: "step" },
      { kind: "input", name: "steps" },
      ...(advance?.params ?? []),
    ],
    results: [...(["weight", "moment1", "moment2"] as const).flatMap((kind) => bound(kind, weights)), { kind: "output", name: "lr" }, { kind: "output", name: "norm" }, ...(advance?.results ?? [])],
  };
}

function bound(kind: "weight" | "gradient" | "moment1" | "moment2", weights: readonly Weight[]): readonly Binding[] {
  return weights.map((w) => ({ kind, weight: w.name }));
}

/**
 * One tensor's step, as torch.optim.AdamW's single-tensor path:
 *
 *     p ← p (1 - lr·λ);  m ← m + (1-β1)(g - m);  v ← β2 v + (1-β2) g²
 *     p ← p - lr/(1-β1^t) · m / (sqrt(v)/sqrt(1-β2^t) + ε)
 *
 * Params: clip, rate = lr/(1-β1^t), root = sqrt(1-β2^t), lr where it decays; then p, g, m, v.
 */
function adamw(b: Builder, type: TensorType, o: OptimizerSettings, decays: boolean): readonly Value[] {
  const [clip, rate, root] = ["clip", "rate", "root"].map((name) => b.param(scalar(), name)) as [Value, Value, Value];
  const lr = decays ? b.param(scalar(), "lr") : undefined;
  const [p, raw, m, v] = ["weight", "gradient", "moment1", "moment2"].map((name) => b.param(type, name)) as [Value, Value, Value, Value];
  const g = b.mul(raw, clip);
  const m1 = b.named("moment1", b.add(m, b.mul(b.sub(g, m), 1 - o.beta1)));
  const v1 = b.named("moment2", b.add(b.mul(v, o.beta2), b.mul(b.square(g), 1 - o.beta2)));
  const kept = lr ? b.mul(p, b.sub(1, b.mul(lr, o.weightDecay))) : p;
  const next = b.sub(kept, b.mul(b.div(m1, b.add(b.div(b.sqrt(v1), root), o.eps)), rate));
  return [b.named("weight", next), m1, v1];
}

/**
 * 1 - β^t, written as -2T/(1-T) with T = tanh(t·ln β / 2): in float32 the difference 1 - 0.999 alone would lose four
 * digits, this loses none.
 */
function biasCorrection(b: Builder, beta: number, count: Value): Value {
  if (beta === 0) return b.constant(1);
  const t = b.tanh(b.mul(count, Math.log(beta) / 2));
  return b.div(b.mul(t, -2), b.sub(1, t));
}

/**
 * Factor of the learning rate in the update numbered `step` (from 0) of `steps`, as transformers'
 * get_{constant,linear,cosine}_schedule_with_warmup with ceil(warmup·steps) warmup steps:
 *
 *     step < w:  step / max(1, w)
 *     constant:  1
 *     linear:    max(0, (steps - step) / max(1, steps - w))
 *     cosine:    max(0, (1 + cos(π (step - w) / max(1, steps - w))) / 2)
 */
export function scheduleFactor(b: Builder, schedule: ScheduleSettings, step: Value, steps: Value): Value {
  const share = b.mul(steps, schedule.warmup * (1 - roundingSlack));
  const warmup = b.neg(b.floor(b.neg(share)));
  const after = b.max(b.sub(steps, warmup), 1);
  const then = ((): Value => {
    switch (schedule.name) {
      case "constant":
        return b.constant(1);
      case "linear":
        return b.max(b.div(b.sub(steps, step), after), 0);
      case "cosine":
        return b.max(b.mul(b.add(b.cos(b.mul(b.div(b.sub(step, warmup), after), Math.PI)), 1), 0.5), 0);
    }
  })();
  return schedule.warmup === 0 ? then : b.select(b.lt(step, warmup), b.div(step, b.max(warmup, 1)), then);
}
