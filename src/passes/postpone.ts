import { Builder } from "../ir/builder.ts";
import type { Axis, GraphFunction, Module, OpName, Value } from "../ir/graph.ts";
import { elementwise } from "../ir/ops/elementwise.ts";
import { axis, isTensor } from "../ir/types.ts";
import type { Sizes } from "../ir/size.ts";
import { type AnyOp, axesOf, calleeOf, calleesFirst, cloneOp, cloneParams, elementsOf, freeName, functionOf, makers, mapped, namesOf, opsOf, ordered, tensorOf } from "./tools.ts";

/** Tensors of no more elements are computed faster than the kernel that computes them is started. */
const small = 2 ** 12;

/** Leaves that are the same in every turn: who reads them makes them, in the turns and after. */
const leaves: ReadonlySet<OpName> = new Set<OpName>(["constant", "table", "index", "extent"]);

/** Ops that do to every layer what they do to one, where the layer is one more axis. */
const mappable: ReadonlySet<string> = new Set<string>([
  ...Object.keys(elementwise), "cast", "stop", "copy", "sum", "mean", "reduce_max", "dot", "rename", "transpose", "reshape", "expand", "slice", "pad", "reverse", "softmax", "log_softmax", "argmax", "is_top", "cumsum",
]);

/**
 * What a fold computes for its totals and lists alone, not for the next turn, is computed after it for all layers at once,
 * where it is small: the balance of a router's gates, say, on [layer, sample, expert]. Axes have names, so the layer is
 * one more of them and an op is written as it was. Before differentiation, so that backward is born so too.
 */
export function postpone(module: Module, sizes: Sizes = {}): Module {
  const functions = new Map(module.functions);
  const runs = new Map<string, number>();
  for (const fn of module.functions.values()) {
    for (const op of fn.body) {
      const callee = calleeOf(op);
      if (callee !== undefined) runs.set(callee, (runs.get(callee) ?? 0) + 1);
    }
  }
  for (const fn of calleesFirst(module.functions)) {
    const plans = new Map(opsOf(fn).flatMap((op) => (op.op === "fold" ? [[op, planOf(functionOf(functions, op.attributes.fn), op, sizes)] as const] : [])));
    if (![...plans.values()].some((plan) => plan)) continue;
    const b = new Builder(fn.name, functions, fn.doc);
    const map = new Map<Value, Value>();
    cloneParams(b, fn, map);
    for (const op of opsOf(fn)) {
      const plan = op.op === "fold" ? plans.get(op) : undefined;
      if (op.op === "fold" && plan) b.at(op.origin, () => new Split(b, op, functionOf(functions, op.attributes.fn), plan, functions, map).write((runs.get(op.attributes.fn) ?? 0) > 1));
      else cloneOp(b, op, map);
    }
    functions.set(fn.name, b.finish(fn.results.map((v) => mapped(map, v))));
  }
  return { ...module, functions };
}

/** What of a fold's function is computed after it, and from what. */
interface Plan {
  readonly later: ReadonlySet<AnyOp>;
  /** Values that the turns still make, and the later ops read. */
  readonly cuts: readonly Value[];
}

function planOf(body: GraphFunction, fold: AnyOp & { op: "fold" }, sizes: Sizes): Plan | undefined {
  const { carried, shared, index, count } = fold.attributes;
  const isSmall = (v: Value): boolean => isTensor(v.type) && elementsOf(v.type, sizes) <= small;
  // The state of a turn is at hand in it alone.
  const state = new Set(body.params.slice(0, carried + (index ? 1 : 0)));
  const needed = new Set<Value>(body.results.slice(0, carried));
  const later = new Set<AnyOp>();
  for (const op of [...opsOf(body)].reverse()) {
    const may = mappable.has(op.op) && op.operands.every((v) => isSmall(v) && !state.has(v));
    if (may && op.results.every((v) => isSmall(v) && !needed.has(v))) later.add(op);
    else op.operands.forEach((v) => needed.add(v));
  }
  const made = makers(body.body);
  const lists = new Set(body.params.slice((index ? 1 : 0) + carried + shared));
  const read = [...new Set([...later].flatMap((op) => op.operands))];
  const cuts = read.filter((v) => made.has(v) && !later.has(made.get(v)!) && !leaves.has(made.get(v)!.op));
  const packed = [...cuts, ...read.filter((v) => lists.has(v))];
  // Not every backend packs other dtypes. Packing and, in backward, unpacking are kernels too.
  const worthwhile = packed.length > 0 && packed.every((v) => tensorOf(v).dtype === "f32") && later.size * (count - 1) > 2 * packed.length + count;
  return worthwhile ? { later, cuts } : undefined;
}

/** Writes a fold, and after it what was postponed. */
class Split {
  readonly #b: Builder;
  readonly #fold: AnyOp & { op: "fold" };
  readonly #body: GraphFunction;
  readonly #plan: Plan;
  readonly #functions: Map<string, GraphFunction>;
  readonly #map: Map<Value, Value>;
  readonly #layers: Axis;
  /** The body's values after the fold; those that differ between layers have the layers' axis first. */
  readonly #after = new Map<Value, Value>();

  constructor(b: Builder, fold: AnyOp & { op: "fold" }, body: GraphFunction, plan: Plan, functions: Map<string, GraphFunction>, map: Map<Value, Value>) {
    this.#b = b;
    this.#fold = fold;
    this.#body = body;
    this.#plan = plan;
    this.#functions = functions;
    this.#map = map;
    this.#layers = axis(`layer.${fold.attributes.count}`, fold.attributes.count);
  }

  /** `sharing`: others run the function, too. */
  write(sharing: boolean): void {
    const { carried, summed, shared, index } = this.#fold.attributes;
    const made = new Set([...this.#plan.later].flatMap((op) => op.results));
    const { results, params } = this.#body;
    const stays = results.map((v, j) => j < carried || !made.has(v));
    const staying = results.flatMap((v, j) => (stays[j] ? [{ v, j }] : []));
    const name = sharing ? freeName(this.#functions, `${this.#body.name}_turn`) : this.#body.name;
    const inner = new Builder(name, this.#functions, this.#body.doc);
    const within = new Map<Value, Value>();
    cloneParams(inner, this.#body, within);
    for (const op of opsOf(this.#body)) if (!this.#plan.later.has(op)) cloneOp(inner, op, within);
    const taken = new Set(staying.map(({ v }) => v));
    const cut = this.#plan.cuts.map((v) => (taken.has(v) ? inner.copy(mapped(within, v)) : mapped(within, v)));
    this.#functions.set(name, inner.finish([...staying.map(({ v }) => mapped(within, v)), ...cut]));

    const operands = this.#fold.operands.map((v) => mapped(this.#map, v));
    const attributes = { ...this.#fold.attributes, fn: name, summed: staying.filter(({ j }) => j >= carried && j < carried + summed).length };
    const out = this.#b.op("fold", operands, attributes, [...staying.map(({ j }) => this.#fold.results[j]!.name), ...this.#plan.cuts.map((v) => v.name)]);
    staying.forEach(({ j }, k) => this.#map.set(this.#fold.results[j]!, out[k]!));
    this.#plan.cuts.forEach((v, k) => this.#after.set(v, this.#pack(v, out[staying.length + k]!)));
    const first = (index ? 1 : 0) + carried;
    params.slice(first).forEach((p, i) => {
      const operand = operands[carried + i]!;
      if (i < shared) this.#after.set(p, operand);
      else if ([...this.#plan.later].some((op) => op.operands.includes(p))) this.#after.set(p, this.#pack(p, operand));
    });
    const read = new Set([...this.#plan.later].flatMap((op) => op.operands));
    for (const op of opsOf(this.#body)) {
      if (this.#plan.later.has(op)) this.#b.at(op.origin, () => this.#mapped(op));
      else if (leaves.has(op.op) && op.results.some((v) => read.has(v))) cloneOp(this.#b, op, this.#after);
    }
    results.forEach((v, j) => {
      if (stays[j]) return;
      const value = this.#layered(v);
      this.#map.set(this.#fold.results[j]!, j < carried + summed ? this.#b.sum(value, [this.#layers.name]) : this.#b.unpack(value, this.#layers.name));
    });
  }

  #pack(v: Value, list: Value): Value {
    return this.#b.named(v.name, this.#b.pack(list, this.#layers));
  }

  #has(v: Value): boolean {
    return isTensor(v.type) && namesOf(v).includes(this.#layers.name);
  }

  /** The value with the layers' axis first, whether or not it differs between them. */
  #layered(v: Value): Value {
    const now = mapped(this.#after, v);
    return this.#has(now) ? now : this.#b.expand(now, [this.#layers, ...axesOf(now)]);
  }

  #mapped(op: AnyOp): void {
    const result = op.results[0]!;
    const operands = op.operands.map((v) => mapped(this.#after, v));
    if (!operands.some((v) => this.#has(v))) return void cloneOp(this.#b, op, this.#after);
    const made = this.#b.one(op.op, operands, this.#attributes(op) as never, result.name);
    this.#after.set(result, ordered(this.#b, made, [this.#layers.name, ...tensorOf(result).axes.map((a) => a.name)]));
  }

  /** Where an op lists all axes of its result, the layers' is one of them. */
  #attributes(op: AnyOp): object {
    const { attributes } = op as { readonly attributes: { readonly axes?: readonly Axis[]; readonly order?: readonly string[] } };
    if (op.op === "reshape" || op.op === "expand") return { ...attributes, axes: [this.#layers, ...attributes.axes!] };
    if (op.op === "transpose") return { ...attributes, order: [this.#layers.name, ...attributes.order!] };
    return attributes;
  }
}
