import { Builder } from "../ir/builder.ts";
import type { GraphFunction, Module, Value } from "../ir/graph.ts";
import { type AnyOp, calleeOf, calleesFirst, cloneOp, functionOf, mapped, opsOf } from "./tools.ts";

/**
 * Removes what no result of an entry depends on: ops, params and results of functions that only other functions run
 * (with the operands and results of every call and fold), and functions that nothing runs. Functions that no other
 * runs keep their signature; where there are entries, only those of the entries stay.
 *
 * Callees stand before their callers in what it returns.
 *
 * A fold's carried value stays as a whole (operand, param, result) while any of them is read from outside its own turn.
 */
export function removeDead(module: Module): Module {
  const roots = rootsOf(module);
  const live = new Liveness(module.functions, roots);
  const functions = new Map<string, GraphFunction>();
  for (const fn of calleesFirst(module.functions)) {
    if (!live.runs(fn.name)) continue;
    const root = roots.has(fn.name);
    const b = new Builder(fn.name, functions, fn.doc);
    const map = new Map<Value, Value>();
    for (const p of fn.params) if (root || live.has(p)) map.set(p, b.param(p.type, p.name));
    for (const op of opsOf(fn)) {
      if (op.op === "release" || !op.results.some((v) => live.has(v))) continue;
      b.at(op.origin, () => {
        if (op.op === "call" || op.op === "fold") rerun(b, op, live, functionOf(module.functions, op.attributes.fn), map);
        else cloneOp(b, op, map);
      });
    }
    functions.set(fn.name, b.finish(fn.results.filter((_, j) => root || live.result(fn.name, j)).map((v) => mapped(map, v))));
  }
  return { ...module, functions };
}

/** The functions whose signature is the host's: those of the entries, or, without entries, those that no other runs. */
export function rootsOf(module: Module): ReadonlySet<string> {
  if (module.entries.size > 0) return new Set([...module.entries.values()].map((e) => e.fn));
  const run = new Set([...module.functions.values()].flatMap((fn) => fn.body.map(calleeOf)));
  return new Set([...module.functions.keys()].filter((name) => !run.has(name)));
}

/** A call or fold with what is left of its function's params and results. */
function rerun(b: Builder, op: AnyOp & { op: "call" | "fold" }, live: Liveness, fn: GraphFunction, map: Map<Value, Value>): void {
  const shift = op.op === "fold" && op.attributes.index ? 1 : 0;
  const stays = op.operands.map((_, i) => live.has(fn.params[i + shift]!));
  const operands = op.operands.filter((_, i) => stays[i]).map((v) => mapped(map, v));
  const kept = op.results.filter((_, j) => live.result(fn.name, j));
  const names = kept.map((v) => v.name);
  const count = (flags: readonly boolean[], from: number, size: number): number => flags.slice(from, from + size).filter(Boolean).length;
  const results = fn.results.map((_, j) => live.result(fn.name, j));
  const made =
    op.op === "call"
      ? b.op("call", operands, op.attributes, names)
      : b.op("fold", operands, {
          ...op.attributes,
          carried: count(stays, 0, op.attributes.carried),
          shared: count(stays, op.attributes.carried, op.attributes.shared),
          summed: count(results, op.attributes.carried, op.attributes.summed),
          index: op.attributes.index && live.has(fn.params[0]!),
        }, names);
  kept.forEach((v, i) => map.set(v, made[i]!));
}

/** What the roots' results depend on, over all functions at once. */
class Liveness {
  readonly #functions: ReadonlyMap<string, GraphFunction>;
  readonly #values = new Set<Value>();
  readonly #results = new Map<string, Set<number>>();
  readonly #makers = new Map<Value, { readonly op: AnyOp; readonly at: number }>();
  /** Every run of a function that has a live result. */
  readonly #runs = new Map<string, Set<AnyOp & { op: "call" | "fold" }>>();
  readonly #params = new Map<Value, { readonly fn: string; readonly at: number }>();
  readonly #work: (() => void)[] = [];

  constructor(functions: ReadonlyMap<string, GraphFunction>, roots: ReadonlySet<string>) {
    this.#functions = functions;
    for (const fn of functions.values()) {
      fn.params.forEach((p, at) => this.#params.set(p, { fn: fn.name, at }));
      for (const op of opsOf(fn)) op.results.forEach((v, at) => this.#makers.set(v, { op, at }));
    }
    for (const name of roots) {
      const fn = functionOf(functions, name);
      this.#results.set(name, new Set());
      fn.results.forEach((_, j) => this.#markResult(name, j));
    }
    for (let next = this.#work.pop(); next; next = this.#work.pop()) next();
  }

  has(v: Value): boolean {
    return this.#values.has(v);
  }

  result(fn: string, j: number): boolean {
    return this.#results.get(fn)?.has(j) ?? false;
  }

  runs(fn: string): boolean {
    return this.#results.has(fn);
  }

  #markResult(fn: string, j: number): void {
    const set = this.#results.get(fn) ?? new Set<number>();
    this.#results.set(fn, set);
    if (set.has(j)) return;
    set.add(j);
    const { results } = functionOf(this.#functions, fn);
    this.#mark(results[j]!);
    // Where a fold carries this result, its param stays too; and other runs of the function keep the result.
    for (const op of this.#runs.get(fn) ?? []) this.#tie(op, j);
  }

  /** Keeps operand, param and result of a carried value together. */
  #tie(op: AnyOp & { op: "call" | "fold" }, j: number): void {
    if (op.op !== "fold" || j >= op.attributes.carried) return;
    const fn = functionOf(this.#functions, op.attributes.fn);
    this.#mark(fn.params[j + (op.attributes.index ? 1 : 0)]!);
    this.#mark(op.operands[j]!);
  }

  #mark(v: Value): void {
    if (this.#values.has(v)) return;
    this.#values.add(v);
    this.#work.push(() => {
      const made = this.#makers.get(v);
      if (made) {
        if (made.op.op === "call" || made.op.op === "fold") this.#markRun(made.op, made.at);
        else made.op.operands.forEach((x) => this.#mark(x));
      }
      const param = this.#params.get(v);
      if (param) for (const op of this.#runs.get(param.fn) ?? []) this.#markOperand(op, param.at);
    });
  }

  #markRun(op: AnyOp & { op: "call" | "fold" }, result: number): void {
    const name = op.attributes.fn;
    const runs = this.#runs.get(name) ?? new Set();
    this.#runs.set(name, runs);
    if (!runs.has(op)) {
      runs.add(op);
      const fn = functionOf(this.#functions, name);
      fn.params.forEach((p, at) => {
        if (this.#values.has(p)) this.#markOperand(op, at);
      });
      for (const j of this.#results.get(name) ?? []) this.#tie(op, j);
    }
    this.#markResult(name, result);
  }

  #markOperand(op: AnyOp & { op: "call" | "fold" }, param: number): void {
    const at = param - (op.op === "fold" && op.attributes.index ? 1 : 0);
    if (at < 0) return;
    this.#mark(op.operands[at]!);
    // A carried param that is read is what the turn before returned.
    if (op.op === "fold" && at < op.attributes.carried) this.#markResult(op.attributes.fn, at);
  }
}
