import { bindingName, type Binding } from "./graph.ts";
import type { GraphFunction, Initializer, Module, Type, Weight } from "./graph.ts";
import { describeType, sameType, sameUpToLayout } from "./types.ts";
import type { Report } from "./verify.ts";

/** C-weights. */
export function verifyWeights(module: Module, report: Report): void {
  const byName = new Map<string, Weight>();
  for (const w of module.weights) {
    if (byName.has(w.name)) report.global("C-weights", `there are two weights @${w.name}`);
    byName.set(w.name, w);
  }
  for (const w of module.weights) {
    const type = w.type.kind === "list" ? w.type.of : w.type;
    const layers = w.type.kind === "list" ? w.type.count : 1;
    const say = (message: string): void => report.global("C-weights", `@${w.name}: ${message}`);
    if (w.state && w.trainable) say("a state is not trained");
    if (!type.axes.every((a) => typeof a.size === "number")) say(`its sizes must be numbers, not ${describeType(w.type)}`);
    if (w.sources.length !== layers) say(`${layers} source${layers === 1 ? "" : "s"} expected, ${w.sources.length} found`);
    const axes = type.axes.map((a) => a.name).sort();
    for (const source of w.sources) {
      const along = source.adapter?.along;
      if (along !== undefined && !axes.includes(along)) say(`its adapter's tensors are slices along ${along}, which it lacks`);
      const named = [...source.order].sort().join("\n");
      // A sliced weight's order may be that of one slice, or of the whole.
      if (named !== axes.join("\n") && named !== axes.filter((a) => a !== along).join("\n")) say(`the file's order [${source.order.join(", ")}] does not name its axes`);
      if (along === undefined && (source.adapter?.names.length ?? 1) !== 1) say("several adapter tensors need an axis that they are slices along");
      const stacked = type.axes.find((a) => a.name === along);
      if (stacked && typeof stacked.size === "number" && source.adapter!.names.length !== stacked.size) say(`${stacked.size} adapter tensors expected, ${source.adapter!.names.length} found`);
      if (w.initializer.kind === "checkpoint" && source.tensor === undefined) say("it starts from the checkpoint, but a source names no tensor there");
    }
    const problem = badInitializer(w.initializer);
    if (problem) say(problem);
    if (w.layoutOf === undefined) continue;
    const original = byName.get(w.layoutOf);
    const of = original && (original.type.kind === "list" ? original.type.of : original.type);
    if (!original || !of) say(`it is a layout of @${w.layoutOf}, which is not there`);
    else if (original.layoutOf !== undefined) say(`it is a layout of @${w.layoutOf}, which is a layout itself`);
    else if (original.type.kind !== w.type.kind || !sameUpToLayout(of, type) || (original.type.kind === "list" && original.type.count !== layers)) say(`it is a layout of @${w.layoutOf}, whose type is ${describeType(original.type)}`);
  }
}

function badInitializer(initializer: Initializer): string | undefined {
  switch (initializer.kind) {
    case "normal":
      return initializer.std >= 0 ? undefined : "a standard deviation is at least 0";
    case "uniform":
      return initializer.bound >= 0 ? undefined : "a bound is at least 0";
    case "constant":
      return Number.isNaN(initializer.value) ? "a constant is a number" : undefined;
    case "orthogonal":
      return Number.isFinite(initializer.gain) ? undefined : "a gain is a number";
    case "singular":
      return initializer.scale >= 0 && [...initializer.firsts, ...initializer.steps].every((n) => Number.isSafeInteger(n) && n >= 0) ? undefined : "singular vectors are numbered from 0";
    case "kaiming_uniform":
      return initializer.fanIn > 0 && Number.isFinite(initializer.a) ? undefined : "kaiming_uniform needs a positive fan-in";
    default:
      return undefined;
  }
}

/** C-entries. */
export function verifyEntries(module: Module, report: Report): void {
  const weights = new Map(module.weights.map((w) => [w.name, w]));
  for (const [name, entry] of module.entries) {
    const say = (message: string): void => report.global("C-entries", `entry @${name}: ${message}`);
    const fn: GraphFunction | undefined = module.functions.get(entry.fn);
    if (!fn) {
      say(`there is no function @${entry.fn}`);
      continue;
    }
    if (entry.params.length !== fn.params.length) say(`@${fn.name} has ${fn.params.length} params, ${entry.params.length} are bound`);
    if (entry.results.length !== fn.results.length) say(`@${fn.name} has ${fn.results.length} results, ${entry.results.length} are bound`);
    const check = (binding: Binding, type: Type): void => {
      if (binding.kind === "input") return;
      const weight = weights.get(binding.weight);
      if (!weight) say(`there is no weight @${binding.weight}`);
      else if (binding.kind === "statistic") {
        // Its type is its own: whatever the update sums over the batch.
        if (!weight.state) say(`a statistic of @${weight.name}, which is no state`);
      }
      else if (!sameType(weight.type, type)) say(`the ${binding.kind} of @${weight.name} is ${describeType(type)}, the weight ${describeType(weight.type)}`);
      else if (binding.kind !== "weight" && !weight.trainable) say(`the ${binding.kind} of @${weight.name}, which is not trainable`);
    };
    const seen = new Set<string>();
    const once = (side: string, kind: string, bound: string): void => {
      const key = JSON.stringify([side, kind, bound]);
      if (seen.has(key)) say(`the ${kind} "${bound}" is bound to two ${side}`);
      seen.add(key);
    };
    entry.params.forEach((binding, i) => {
      const param = fn.params[i];
      if (!param) return;
      const half = entry.params.length / 2;
      // `accumulate` adds two stores of gradients: those of the first, then those of the second.
      const side = name === "accumulate" && (binding.kind === "gradient" || binding.kind === "statistic") && i >= half ? "params of the second half" : "params";
      once(side, binding.kind, bindingName(binding));
      check(binding, param.type);
    });
    entry.results.forEach((binding, i) => {
      const result = fn.results[i];
      if (!result) return;
      once("results", binding.kind, bindingName(binding));
      if (binding.kind === "input") say(`the result ${i} is bound to an input`);
      else if (binding.kind !== "output") check(binding, result.type);
    });
  }
}
