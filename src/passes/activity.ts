import type { GraphFunction, Op, OpAttributes, Value } from "../ir/graph.ts";
import { isList, isTensor } from "../ir/types.ts";
import { ruleOf } from "./derivatives.ts";
import { type AnyOp, functionOf } from "./tools.ts";

/** `matrix[result][operand]`: whether a gradient goes from that result to that operand. */
export type Dependence = readonly (readonly boolean[])[];

/** Whether a value can have a gradient at all: f32 tensors and lists of them. */
export function continuous(v: Value): boolean {
  return (isTensor(v.type) && v.type.dtype === "f32") || (isList(v.type) && v.type.of.dtype === "f32");
}

/**
 * Which results depend on which operands, differentiably: the static side of reverse mode. Functions are summarised
 * once; a fold is the closure of its function over the carried values.
 */
export class Activity {
  readonly #functions: ReadonlyMap<string, GraphFunction>;
  readonly #summaries = new Map<string, Dependence>();

  constructor(functions: ReadonlyMap<string, GraphFunction>) {
    this.#functions = functions;
  }

  /** The dependence of a function's results on its params. */
  summary(name: string): Dependence {
    const known = this.#summaries.get(name);
    if (known) return known;
    const fn = functionOf(this.#functions, name);
    const reached = new Map<Value, Set<number>>();
    fn.params.forEach((p, i) => reached.set(p, new Set(continuous(p) ? [i] : [])));
    for (const op of fn.body) {
      const matrix = this.of(op);
      op.results.forEach((v, j) => {
        const set = new Set<number>();
        op.operands.forEach((x, i) => {
          if (matrix[j]![i]) for (const p of reached.get(x) ?? []) set.add(p);
        });
        reached.set(v, set);
      });
    }
    const made = fn.results.map((v) => fn.params.map((_, i) => reached.get(v)?.has(i) ?? false));
    this.#summaries.set(name, made);
    return made;
  }

  /** The dependence of one op's results on its operands. */
  of(raw: Op): Dependence {
    const op = raw as AnyOp;
    if (op.op === "call") return this.summary(op.attributes.fn);
    if (op.op === "fold") return foldDependence(this.summary(op.attributes.fn), op.attributes, op.operands.length);
    if (op.op === "list" || op.op === "element") return op.results.map((v) => op.operands.map((x) => continuous(v) && continuous(x)));
    return op.results.map((v) => op.operands.map((x, i) => continuous(v) && continuous(x) && ruleOf(op.op, i) !== null));
  }

  /** Values of `fn` that depend on an active param and reach a seeded result: the only ones with a cotangent. */
  activeValues(fn: GraphFunction, params: readonly boolean[], seeded: readonly boolean[]): Set<Value> {
    const dependent = new Set<Value>(fn.params.filter((p, i) => params[i] && continuous(p)));
    for (const op of fn.body) {
      const matrix = this.of(op);
      op.results.forEach((v, j) => {
        if (op.operands.some((x, i) => matrix[j]![i] && dependent.has(x))) dependent.add(v);
      });
    }
    const active = new Set<Value>(fn.results.filter((v, j) => seeded[j] && dependent.has(v)));
    for (const op of [...fn.body].reverse()) {
      const matrix = this.of(op);
      op.operands.forEach((x, i) => {
        if (dependent.has(x) && op.results.some((v, j) => active.has(v) && matrix[j]![i])) active.add(x);
      });
    }
    return active;
  }
}

/** What of a call or fold has a cotangent: results seeded, operands (in the op's own numbering) wanted. */
export interface Seeds {
  readonly operands: readonly boolean[];
  readonly results: readonly boolean[];
}

/** For a call or fold of which some values are active. A fold's carried value has a cotangent on both sides or on none. */
export function seedsOf(op: AnyOp & { op: "call" | "fold" }, activity: Activity, active: ReadonlySet<Value>): Seeds {
  const matrix = activity.of(op);
  const carried = op.op === "fold" ? op.attributes.carried : 0;
  const operands = op.operands.map((x, i) => active.has(x) && op.results.some((v, j) => active.has(v) && matrix[j]![i]));
  const results = op.results.map((v, j) => active.has(v) && op.operands.some((_, i) => operands[i] && matrix[j]![i]));
  if (op.op === "fold" && carried > 0) {
    const turn = bodyOf(activity.summary(op.attributes.fn), op.attributes);
    const through = closure(turn, carried);
    for (let k = 0; k < carried; k++) {
      // Carried value k at some turn: does a wanted operand reach it, and does it reach a seeded result?
      const reached = through[k]!.some((yes, m) => (yes || m === k) && (operands[m] || turn[m]!.some((d, i) => i >= carried && d && operands[i])));
      const reaches = turn.some((row, j) => results[j] && (j < carried ? j === k || through[j]![k] : row.some((d, m) => m < carried && d && (m === k || through[m]![k]))));
      operands[k] = results[k] = reached && reaches;
    }
  }
  return { operands, results };
}

/** The function's own dependence without the index param, so that params are numbered as the fold's operands. */
function bodyOf(summary: Dependence, a: OpAttributes["fold"]): Dependence {
  return a.index ? summary.map((row) => row.slice(1)) : summary;
}

function foldDependence(summary: Dependence, a: OpAttributes["fold"], operands: number): Dependence {
  const turn = bodyOf(summary, a);
  const through = closure(turn, a.carried);
  return turn.map((row, j) =>
    Array.from({ length: operands }, (_, i) => {
      const direct = (k: number): boolean => turn[k]?.[i] ?? false;
      if (j < a.carried) return i < a.carried ? through[j]![i]! : direct(j) || through[j]!.some((yes, k) => yes && direct(k));
      // A summed value or a list's element sees the carried values of its own turn, which earlier turns made.
      const seen = row.slice(0, a.carried).flatMap((d, k) => (d ? [k] : []));
      if (i < a.carried) return seen.some((k) => k === i || through[k]![i]);
      return direct(j) || seen.some((k) => direct(k) || through[k]!.some((yes, m) => yes && direct(m)));
    }));
}

/** Carried result j depends on carried operand k after one turn or more. */
function closure(turn: Dependence, carried: number): boolean[][] {
  const reach = Array.from({ length: carried }, (_, j) => Array.from({ length: carried }, (_, k) => turn[j]?.[k] ?? false));
  for (let m = 0; m < carried; m++)
    for (let j = 0; j < carried; j++) for (let k = 0; k < carried; k++) if (reach[j]![m] && reach[m]![k]) reach[j]![k] = true;
  return reach;
}
