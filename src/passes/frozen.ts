import type { GraphFunction, Module, Value } from "../ir/graph.ts";
import { functionOf, isDraw, opsOf } from "./tools.ts";

/** Which params and results of a function are frozen. */
export interface FrozenSignature {
  readonly params: readonly boolean[];
  readonly results: readonly boolean[];
}

/**
 * For each function, what of its signature follows from frozen weights and literals alone, whatever a batch holds and
 * however far training is: what could be made once, at load. A param is frozen where it is in all runs of the function.
 */
export function frozenSignatures(module: Module): ReadonlyMap<string, FrozenSignature> {
  const trainable = new Map(module.weights.map((w) => [w.name, w.trainable]));
  /** What depends on anything else; grows until nothing is added. */
  const live = new Set<Value>();
  const run = new Set<string>();
  for (const fn of module.functions.values()) for (const op of opsOf(fn)) if (op.op === "call" || op.op === "fold") run.add(op.attributes.fn);
  const entries = new Map([...module.entries.values()].map((e) => [e.fn, e]));
  for (const fn of module.functions.values()) {
    const entry = entries.get(fn.name);
    if (!entry && run.has(fn.name)) continue;
    fn.params.forEach((p, i) => {
      const binding = entry?.params[i];
      if (binding?.kind !== "weight" || trainable.get(binding.weight) !== false) live.add(p);
    });
  }
  for (let before = -1; before !== live.size; ) {
    before = live.size;
    for (const fn of module.functions.values()) {
      for (const op of opsOf(fn)) {
        if (op.op !== "call" && op.op !== "fold") {
          if (op.operands.some((v) => live.has(v)) || isDraw(op)) op.results.forEach((v) => live.add(v));
          continue;
        }
        const body = functionOf(module.functions, op.attributes.fn);
        const carried = op.op === "fold" ? op.attributes.carried : 0;
        const shift = op.op === "fold" && op.attributes.index ? 1 : 0;
        if (shift) live.add(body.params[0]!);
        op.operands.forEach((v, i) => {
          if (live.has(v) || (i < carried && live.has(body.results[i]!))) live.add(body.params[i + shift]!);
        });
        op.results.forEach((v, j) => {
          if (live.has(body.results[j]!) || (j < carried && live.has(op.operands[j]!))) live.add(v);
        });
      }
    }
  }
  const frozen = (values: readonly Value[]): boolean[] => values.map((v) => !live.has(v));
  return new Map([...module.functions.values()].map((fn) => [fn.name, { params: frozen(fn.params), results: frozen(fn.results) }]));
}

/** The frozen values of a function, by its signature and those of the functions that it runs. */
export function frozenValues(fn: GraphFunction, signatures: ReadonlyMap<string, FrozenSignature>): ReadonlySet<Value> {
  const frozen = new Set<Value>(fn.params.filter((_, i) => signatures.get(fn.name)?.params[i]));
  for (const op of opsOf(fn)) {
    const callee = op.op === "call" || op.op === "fold" ? signatures.get(op.attributes.fn) : undefined;
    op.results.forEach((v, j) => {
      if (callee ? callee.results[j] : !isDraw(op) && op.operands.every((x) => frozen.has(x))) frozen.add(v);
    });
  }
  return frozen;
}
