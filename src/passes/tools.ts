import { GraphError } from "../ir/errors.ts";
import type { Axis, GraphFunction, ListType, Module, Op, OpAttributes, OpName, TensorType, Value } from "../ir/graph.ts";
import type { Builder } from "../ir/builder.ts";
import { evaluateSize, symbolsOf, type Sizes } from "../ir/size.ts";
import { axisNames, isList, isTensor } from "../ir/types.ts";

/** An op seen as a union over its kinds, so that `op.op === "dot"` also narrows the attributes. */
export type AnyOp = { [K in OpName]: Op<K> }[OpName];

/** The body of a function as narrowable ops. */
export function opsOf(fn: Pick<GraphFunction, "body">): readonly AnyOp[] {
  return fn.body as readonly AnyOp[];
}

/** A function of the module. Throws GraphError where there is none of that name. */
export function functionOf(functions: ReadonlyMap<string, GraphFunction>, name: string): GraphFunction {
  const fn = functions.get(name);
  if (!fn) throw new GraphError(`there is no function @${name}`);
  return fn;
}

/** The function that an op runs, if it runs one. */
export function calleeOf(op: Op): string | undefined {
  const any = op as AnyOp;
  return any.op === "call" || any.op === "fold" ? any.attributes.fn : undefined;
}

/** The functions, every callee before its callers. Throws GraphError where they call each other in a circle. */
export function calleesFirst(functions: ReadonlyMap<string, GraphFunction>): readonly GraphFunction[] {
  const done = new Set<string>();
  const open = new Set<string>();
  const order: GraphFunction[] = [];
  const visit = (name: string): void => {
    if (done.has(name)) return;
    if (open.has(name)) throw new GraphError(`@${name} calls itself`);
    open.add(name);
    const fn = functionOf(functions, name);
    for (const op of fn.body) {
      const callee = calleeOf(op);
      if (callee !== undefined) visit(callee);
    }
    done.add(name);
    order.push(fn);
  };
  for (const name of functions.keys()) visit(name);
  return order;
}

/** The module with other bodies for its functions, in the order that they had. */
export function withFunctions(module: Module, functions: ReadonlyMap<string, GraphFunction>): Module {
  return { ...module, functions: new Map([...module.functions.keys()].map((name) => [name, functions.get(name)!])) };
}

/** Whether an op draws random numbers. */
export function isDraw(op: AnyOp): boolean {
  return op.op === "random" || op.op === "chance";
}

/** A name that no function has: `wanted`, else with the first number that makes it free. */
export function freeName(functions: ReadonlyMap<string, unknown>, wanted: string): string {
  if (!functions.has(wanted)) return wanted;
  for (let i = 2; ; i++) if (!functions.has(`${wanted}_${i}`)) return `${wanted}_${i}`;
}

/** A value's type where only a tensor can stand. */
export function tensorOf(v: Value): TensorType {
  if (!isTensor(v.type)) throw new GraphError(`"${v.name}" is a ${v.type.kind} where a tensor was expected`);
  return v.type;
}

/** A value's type where only a list can stand. */
export function listTypeOf(v: Value): ListType {
  if (!isList(v.type)) throw new GraphError(`"${v.name}" is a ${v.type.kind} where a list was expected`);
  return v.type;
}

export function axesOf(v: Value): readonly Axis[] {
  return tensorOf(v).axes;
}

/** The names of a tensor value's axes, in layout order. */
export function namesOf(v: Value): readonly string[] {
  return axisNames(tensorOf(v));
}

export function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

/** v laid out in `order`; v itself where it is already. */
export function ordered(b: Builder, v: Value, order: readonly string[]): Value {
  return sameNames(namesOf(v), order) ? v : b.transpose(v, order);
}

/** What stands for `v`. Throws GraphError for a value that was not made before its use. */
export function mapped(map: ReadonlyMap<Value, Value>, v: Value): Value {
  const found = map.get(v);
  if (!found) throw new GraphError(`"${v.name}" is used before it is made`);
  return found;
}

/** Writes `op` again over mapped operands, and maps its results. */
export function cloneOp(b: Builder, op: Op, map: Map<Value, Value>): readonly Value[] {
  const results = b.at(op.origin, () =>
    b.op(op.op, op.operands.map((v) => mapped(map, v)), op.attributes as OpAttributes[OpName], op.results.map((v) => v.name)));
  op.results.forEach((v, i) => map.set(v, results[i]!));
  return results;
}

/** New params like those of `fn`, mapped. */
export function cloneParams(b: Builder, fn: GraphFunction, map: Map<Value, Value>): void {
  for (const p of fn.params) map.set(p, b.param(p.type, p.name));
}

/** How often each value is used, standing as a result of the function included. */
export function useCounts(fn: Pick<GraphFunction, "body" | "results">): Map<Value, number> {
  const counts = new Map<Value, number>();
  const use = (v: Value): void => void counts.set(v, (counts.get(v) ?? 0) + 1);
  for (const op of fn.body) op.operands.forEach(use);
  fn.results.forEach(use);
  return counts;
}

/** The op that makes each value of a body. */
export function makers(body: readonly Op[]): Map<Value, AnyOp> {
  const made = new Map<Value, AnyOp>();
  for (const op of body as readonly AnyOp[]) for (const v of op.results) made.set(v, op);
  return made;
}

/** All ops that values come from, by who makes what. */
export function ancestors(values: readonly Value[], made: ReadonlyMap<Value, AnyOp>): Set<AnyOp> {
  const found = new Set<AnyOp>();
  const open = [...values];
  for (let v = open.pop(); v; v = open.pop()) {
    const op = made.get(v);
    if (!op || found.has(op)) continue;
    found.add(op);
    open.push(...op.operands);
  }
  return found;
}

/** What a size is taken for where a pass weighs costs and its symbol is only known when a batch arrives. */
export const nominalSymbol = 32;

/** The number of elements of a tensor or of a list's tensors together, unknown symbols taken as `nominalSymbol`. */
export function elementsOf(type: Value["type"], sizes: Sizes = {}): number {
  if (type.kind === "number") return 0;
  if (type.kind === "list") return type.count * elementsOf(type.of, sizes);
  return type.axes.reduce((n, a) => n * nominalSize(a.size, sizes), 1);
}

/** Bytes of a tensor or of a list's tensors together, unknown symbols taken as `nominalSymbol`. */
export function nominalBytes(type: Value["type"], sizes: Sizes = {}): number {
  const of = isList(type) ? type.of : type;
  return elementsOf(type, sizes) * (isTensor(of) && of.dtype === "bool" ? 1 : 4);
}

/** A size as a number, unknown symbols taken as `nominalSymbol`. */
export function nominalSize(size: Axis["size"], sizes: Sizes = {}): number {
  const known: Record<string, number> = { ...sizes };
  for (const symbol of symbolsOf(size)) if (!Object.hasOwn(known, symbol)) known[symbol] = nominalSymbol;
  return evaluateSize(size, known);
}
