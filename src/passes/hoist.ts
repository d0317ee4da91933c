import { Builder } from "../ir/builder.ts";
import type { GraphFunction, Module, OpName, Value } from "../ir/graph.ts";
import { type AnyOp, calleesFirst, cloneOp, cloneParams, freeName, functionOf, mapped, opsOf } from "./tools.ts";

/** Cheaper to make each turn than to keep over all of them. */
const cheap: ReadonlySet<OpName> = new Set<OpName>(["constant", "table", "index", "extent", "fill", "expand", "copy", "list", "element"]);

/**
 * Loop-invariant code motion: what a fold's function computes from shared params and literals alone is computed once,
 * before the fold, and given to it as a further shared value. The function is copied for the fold where others run it too.
 */
export function hoist(module: Module): Module {
  const functions = new Map(module.functions);
  const runs = new Map<string, number>();
  for (const fn of module.functions.values())
    for (const op of opsOf(fn)) if (op.op === "call" || op.op === "fold") runs.set(op.attributes.fn, (runs.get(op.attributes.fn) ?? 0) + 1);
  let moved = false;
  // Callees first, so that a function that is itself a turn of another fold is done before it is given more params.
  for (const fn of calleesFirst(module.functions)) {
    if (!opsOf(fn).some((op) => op.op === "fold" && invariantOps(functionOf(functions, op.attributes.fn), op).length > 0)) continue;
    moved = true;
    const b = new Builder(fn.name, functions, fn.doc);
    const map = new Map<Value, Value>();
    cloneParams(b, fn, map);
    for (const op of opsOf(fn)) {
      const body = op.op === "fold" ? functionOf(functions, op.attributes.fn) : undefined;
      const ops = op.op === "fold" && body ? invariantOps(body, op) : [];
      if (op.op !== "fold" || !body || ops.length === 0) {
        cloneOp(b, op, map);
        continue;
      }
      b.at(op.origin, () => outside(b, op, body, ops, functions, (runs.get(body.name) ?? 0) > 1, map));
    }
    functions.set(fn.name, b.finish(fn.results.map((v) => mapped(map, v))));
  }
  return moved ? { ...module, functions } : module;
}

/** The ops to move: not cheap, of shared params, literals and each other only. With them, the leaves they need. */
function invariantOps(body: GraphFunction, fold: AnyOp & { op: "fold" }): readonly AnyOp[] {
  const { carried, shared, index } = fold.attributes;
  const first = carried + (index ? 1 : 0);
  const invariant = new Set<Value>(body.params.slice(first, first + shared));
  const found = opsOf(body).filter((op) => {
    if (op.op === "release" || !op.operands.every((v) => invariant.has(v))) return false;
    op.results.forEach((v) => invariant.add(v));
    return true;
  });
  return found.some((op) => !cheap.has(op.op)) ? found : [];
}

function outside(
  b: Builder,
  op: AnyOp & { op: "fold" },
  body: GraphFunction,
  ops: readonly AnyOp[],
  functions: Map<string, GraphFunction>,
  shared: boolean,
  map: Map<Value, Value>,
): void {
  const { carried, index } = op.attributes;
  const first = carried + (index ? 1 : 0);
  const last = first + op.attributes.shared;
  const moved = new Set(ops);
  // What stays in the function: cheap ops, where something that stays reads them. What they and others read from the moved ones is given.
  const movedValues = new Map(ops.flatMap((o) => o.results.map((v) => [v, o] as const)));
  const stays = new Set<AnyOp>();
  const given: Value[] = [];
  const want = (v: Value): void => {
    const maker = movedValues.get(v);
    if (!maker || stays.has(maker) || given.includes(v)) return;
    if (cheap.has(maker.op)) {
      stays.add(maker);
      maker.operands.forEach(want);
    } else given.push(v);
  };
  for (const o of opsOf(body)) if (!moved.has(o)) o.operands.forEach(want);
  body.results.forEach(want);

  const outer = new Map<Value, Value>(body.params.slice(first, last).map((p, i) => [p, mapped(map, op.operands[carried + i]!)]));
  const needed = new Set<Value>(given);
  for (const o of [...ops].reverse()) if (o.results.some((v) => needed.has(v))) o.operands.forEach((v) => needed.add(v));
  for (const o of ops) if (o.results.some((v) => needed.has(v))) cloneOp(b, o, outer);

  const name = shared ? freeName(functions, `${body.name}_turn`) : body.name;
  const inner = new Builder(name, functions, body.doc);
  const within = new Map<Value, Value>();
  for (const p of body.params.slice(0, last)) within.set(p, inner.param(p.type, p.name));
  for (const v of given) within.set(v, inner.param(v.type, v.name));
  for (const p of body.params.slice(last)) within.set(p, inner.param(p.type, p.name));
  for (const o of opsOf(body)) if (!moved.has(o) || stays.has(o)) cloneOp(inner, o, within);
  functions.set(name, inner.finish(body.results.map((v) => mapped(within, v))));

  const operands = op.operands.map((v) => mapped(map, v));
  const at = carried + op.attributes.shared;
  const results = b.op(
    "fold",
    [...operands.slice(0, at), ...given.map((v) => mapped(outer, v)), ...operands.slice(at)],
    { ...op.attributes, fn: name, shared: op.attributes.shared + given.length },
    op.results.map((v) => v.name),
  );
  op.results.forEach((v, i) => map.set(v, results[i]!));
}
