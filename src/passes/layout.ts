import { Builder } from "../ir/builder.ts";
import { GraphError } from "../ir/errors.ts";
import type { Axis, Binding, Entry, GraphFunction, Module, Type, Value, Weight } from "../ir/graph.ts";
import { alignedAxes } from "../ir/ops/row.ts";
import { elementwise } from "../ir/ops/elementwise.ts";
import { type Sizes, divideSizes, equalSizes, multiplySizes } from "../ir/size.ts";
import { axis, describeType, isList, isTensor } from "../ir/types.ts";
import { removeDead, rootsOf } from "./dead.ts";
import { type AnyOp, axesOf, elementsOf, freeName, functionOf, listTypeOf, mapped, namesOf, opsOf, sameNames, tensorOf } from "./tools.ts";
import { type Order, chooseProduct, hintsOf, orderOf } from "./orders.ts";
import { type LaidOut, settle } from "./settle.ts";

export interface LayoutOptions {
  /**
   * What reading an operand transposed, by a flag, costs a product of the target's, in passes over the operand; false: no
   * flags, transposes are made first.
   */
  readonly transposeFlags: number | false;
  /** Sizes of symbols, where some are known; others are taken as 32 each. */
  readonly sizes?: Sizes;
}

/**
 * Chooses an axis order for every value and writes what a positional tensor library needs:
 *
 * - every `dot` on canonical matrices, [batch?, m, k] × [batch?, k, n], each part one axis, merged by reshapes of
 *   adjacent axes; operands are swapped where that moves fewer elements;
 * - elementwise operands whose order is a subsequence of the result's;
 * - softmax, log_softmax and is_top on the last axis, gather on the first;
 * - no transpose of a frozen weight: a weight of the other order takes its place, laid out once.
 *
 * The order of values inside functions is free and follows what is cheap; entries keep their params and results.
 * Functions are laid out for the orders they are run with, so one that is run with two orders becomes two.
 */
export function layout(module: Module, options: LayoutOptions): LaidOut {
  const run = new Run(module, options);
  const weights = new Map(module.weights.map((w) => [w.name, w]));
  const variants: { weight: Weight; of: string }[] = [];
  const entries = new Map<string, Entry>();
  const done = new Map<string, Binding[]>();
  for (const name of rootsOf(module)) {
    const entry = [...module.entries.values()].find((e) => e.fn === name);
    const fn = functionOf(module.functions, name);
    const frozen = fn.params.map((_, i) => {
      const binding = entry?.params[i];
      const weight = binding?.kind === "weight" ? weights.get(binding.weight) : undefined;
      return weight?.trainable === false && !weight.state;
    });
    const made = run.function(fn, fn.params.map((p) => p.type), frozen, fn.results.map((v) => orderOf(v.type)), name);
    const added = made.extras.map((extra): Binding => {
      const binding = entry!.params[extra.param]!;
      if (binding.kind !== "weight") throw new GraphError("only a weight can be laid out at load");
      const weight = weights.get(binding.weight)!;
      const type = permuted(weight.type, extra.order);
      const known = variants.find((v) => v.of === weight.name && describeType(v.weight.type) === describeType(type));
      if (known) return { kind: "weight", weight: known.weight.name };
      const variant: Weight = { ...weight, name: `${weight.name}.${extra.order.join("_")}`, type, layoutOf: weight.name };
      variants.push({ weight: variant, of: weight.name });
      return { kind: "weight", weight: variant.name };
    });
    done.set(name, added);
  }
  for (const [name, entry] of module.entries) entries.set(name, { ...entry, params: [...entry.params, ...done.get(entry.fn)!] });
  const cleaned = removeDead({ functions: run.functions, weights: [...module.weights, ...variants.map((v) => v.weight)], entries });
  return settle(cleaned, variants);
}

function permuted<T extends Type>(type: T, order: Order): T {
  if (isList(type)) return { ...type, of: permuted(type.of, order) };
  if (!isTensor(type)) return type;
  return { ...type, axes: order.map((name) => type.axes.find((a) => a.name === name)!) };
}

/** A function laid out for the types of its params. */
interface Made {
  readonly name: string;
  /** Frozen params that are wanted in another order as well; the new params stand last, or last of the shared ones. */
  readonly extras: readonly { readonly param: number; readonly order: Order }[];
}

/** What starting a kernel costs, in elements that another could have moved meanwhile. */
const kernelStart = 2 ** 15;

const aligned = new Set(Object.keys(elementwise));

class Run {
  readonly functions = new Map<string, GraphFunction>();
  readonly options: LayoutOptions;
  readonly #module: Module;
  readonly #known = new Map<string, Made>();

  constructor(module: Module, options: LayoutOptions) {
    this.#module = module;
    this.options = options;
  }

  source(name: string): GraphFunction {
    return functionOf(this.#module.functions, name);
  }

  /** `shared`: where a fold's extra tensor params go. */
  function(fn: GraphFunction, types: readonly Type[], frozen: readonly boolean[], wanted: readonly (Order | undefined)[], root?: string, shared?: number): Made {
    const key = JSON.stringify([fn.name, types.map(describeType), frozen, wanted, root ?? null, shared ?? null]);
    const known = this.#known.get(key);
    if (known) return known;
    const name = root ?? (this.#module.functions.has(fn.name) && !this.functions.has(fn.name) && !rootsOf(this.#module).has(fn.name) ? fn.name : freeName(new Map([...this.#module.functions, ...this.functions]), fn.name));
    // Reserved while its callees are made.
    this.functions.set(name, fn);
    const writer = new Writer(this, fn, name, types, frozen, wanted);
    const { made, extras } = writer.write();
    const params = [...made.params];
    const own = fn.params.length;
    if (shared !== undefined) {
      // Tensors among the extras are shared by all turns: they stand before the lists' elements.
      const tensors = extras.flatMap((e, i) => (e.param < shared ? [params[own + i]!] : []));
      const rest = params.filter((p) => !tensors.includes(p));
      params.splice(0, params.length, ...rest.slice(0, shared), ...tensors, ...rest.slice(shared));
    }
    this.functions.set(name, { ...made, params });
    const result: Made = { name, extras };
    this.#known.set(key, result);
    return result;
  }
}

/** Writes one function in chosen orders. */
class Writer {
  readonly #run: Run;
  readonly #fn: GraphFunction;
  readonly #b: Builder;
  readonly #wanted: readonly (Order | undefined)[];
  /** The value in the order in which it was made. */
  readonly #map = new Map<Value, Value>();
  /** The same values in other orders and shapes, by a key of both. */
  readonly #again = new Map<Value, Map<string, Value>>();
  readonly #frozen = new Map<Value, number>();
  readonly #extras: { param: number; order: Order }[] = [];
  readonly #hints: ReadonlyMap<Value, Order>;

  constructor(run: Run, fn: GraphFunction, name: string, types: readonly Type[], frozen: readonly boolean[], wanted: readonly (Order | undefined)[]) {
    this.#run = run;
    this.#fn = fn;
    this.#wanted = wanted;
    this.#b = new Builder(name, run.functions, fn.doc);
    fn.params.forEach((p, i) => {
      const param = this.#b.param(types[i]!, p.name);
      this.#map.set(p, param);
      if (frozen[i]) this.#frozen.set(param, i);
    });
    this.#hints = hintsOf(fn, wanted);
  }

  write(): { readonly made: GraphFunction; readonly extras: readonly { param: number; order: Order }[] } {
    for (const op of opsOf(this.#fn)) this.#b.at(op.origin, () => this.#op(op));
    const results = this.#fn.results.map((v, j) => this.#as(mapped(this.#map, v), this.#wanted[j]));
    return { made: this.#b.finish(results), extras: this.#extras };
  }

  #set(op: AnyOp, value: Value): void {
    value.name = op.results[0]!.name;
    this.#map.set(op.results[0]!, value);
  }

  #now(v: Value): Value {
    return mapped(this.#map, v);
  }

  /** A value in an order: itself, one made before, another layout of a frozen weight, or a transpose. */
  #as(v: Value, order: Order | undefined): Value {
    const now = orderOf(v.type);
    if (!order || !now || sameNames(now, order)) return v;
    return this.#once(v, `as ${JSON.stringify(order)}`, () => {
      const param = this.#frozen.get(v);
      if (param !== undefined) {
        this.#extras.push({ param, order });
        const laid = this.#b.param(permuted(v.type, order), v.name);
        this.#frozen.set(laid, param);
        return laid;
      }
      if (isList(v.type)) return this.#transposeList(v, order);
      // Only axes of one element move: the data stay.
      const long = (names: Order): Order => names.filter((n) => axesOf(v).find((a) => a.name === n)!.size !== 1);
      if (sameNames(long(now), long(order))) return this.#b.reshape(v, permuted(tensorOf(v), order).axes);
      return this.#transpose(v, now, order);
    });
  }

  /** A transpose with as few axes as it can have: axes that stay neighbours move as one (libraries are fast on matrices). */
  #transpose(v: Value, now: Order, order: Order): Value {
    const groups: string[][] = [];
    for (const name of order) {
      const last = groups.at(-1);
      if (last && now.indexOf(name) === now.indexOf(last.at(-1)!) + 1) last.push(name);
      else groups.push([name]);
    }
    if (groups.length === order.length) return this.#b.transpose(v, order);
    const merged = groups.map((group) => merge(axesOf(v), group, ""));
    const before = [...merged].sort((p, q) => now.indexOf(groups[merged.indexOf(p)]![0]!) - now.indexOf(groups[merged.indexOf(q)]![0]!));
    const moved = this.#b.transpose(this.#matrix(v, before), merged.map((a) => a.name));
    return this.#matrix(moved, permuted(tensorOf(v), order).axes);
  }

  #once(v: Value, key: string, make: () => Value): Value {
    const known = this.#again.get(v) ?? new Map<string, Value>();
    this.#again.set(v, known);
    const found = known.get(key) ?? make();
    known.set(key, found);
    return found;
  }

  /** What `#as` would cost, in elements moved: nothing where the order is at hand, next to nothing for a frozen weight. */
  #price(v: Value, order: Order): number {
    const now = orderOf(v.type)!;
    if (sameNames(now, order) || this.#again.get(v)?.has(`as ${JSON.stringify(order)}`)) return 0;
    return this.#frozen.has(v) ? 1e-3 * this.#elements(v) : this.#moved(v);
  }

  #elements(v: Value): number {
    return elementsOf(v.type, this.#run.options.sizes);
  }

  /** What transposing a value costs, in elements moved. Its start counts only where a flag could take its place. */
  #moved(v: Value): number {
    return this.#elements(v) + (this.#run.options.transposeFlags === false ? 0 : kernelStart);
  }

  #transposeList(v: Value, order: Order): Value {
    const { count, of } = listTypeOf(v);
    const name = freeName(this.#run.functions, "transpose_each");
    const inner = new Builder(name, this.#run.functions);
    this.#run.functions.set(name, inner.finish([inner.transpose(inner.param(of), order)]));
    return this.#b.fold({ fn: name, count, lists: [v] })[0]!;
  }

  #op(op: AnyOp): void {
    const b = this.#b;
    if (aligned.has(op.op) && op.operands.every((v) => isTensor(v.type))) return this.#set(op, this.#elementwise(op));
    const x = op.operands[0] ? this.#now(op.operands[0]) : undefined;
    switch (op.op) {
      case "transpose":
        // Orders are free: what needs this one asks for it.
        return void this.#map.set(op.results[0]!, x!);
      case "dot":
        return this.#set(op, op.attributes.transposeA || op.attributes.transposeB ? b.one("dot", op.operands.map((v) => this.#as(this.#now(v), namesOf(v))), op.attributes) : this.#dot(op));
      case "softmax":
      case "log_softmax":
      case "is_top": {
        const last = [...namesOf(x!).filter((n) => n !== op.attributes.axis), op.attributes.axis];
        return this.#set(op, b.one(op.op, [this.#as(x!, last)], op.attributes as never));
      }
      case "reshape":
        return this.#set(op, this.#reshape(op));
      case "expand":
        return this.#set(op, this.#expand(op));
      case "concat": {
        const order = namesOf(x!);
        const own = op.attributes.axes;
        const parts = op.operands.map((v, i) => this.#as(this.#now(v), order.map((n) => (n === own[0] ? own[i]! : n))));
        return this.#set(op, b.one("concat", parts, op.attributes));
      }
      case "gather": {
        const rows = [op.attributes.axis, ...namesOf(x!).filter((n) => n !== op.attributes.axis)];
        return this.#set(op, b.one("gather", [this.#as(x!, rows), this.#now(op.operands[1]!)], op.attributes));
      }
      case "scatter_add": {
        const updates = this.#now(op.operands[1]!);
        const first = namesOf(x!);
        return this.#set(op, b.one("scatter_add", [x!, this.#as(updates, [...first, ...namesOf(updates).filter((n) => !first.includes(n))])], op.attributes));
      }
      case "dispatch": {
        const order = [...namesOf(x!).filter((n) => n !== op.attributes.axis), op.attributes.axis];
        const results = b.op("dispatch", [this.#as(x!, order)], op.attributes, op.results.map((v) => v.name));
        return op.results.forEach((v, i) => this.#map.set(v, results[i]!));
      }
      case "spread":
      case "collect": {
        const [token, place] = [this.#now(op.operands[1]!), this.#now(op.operands[2]!)];
        const first = op.op === "collect" ? namesOf(token)[0]! : namesOf(place)[1]!;
        return this.#set(op, b[op.op](this.#as(x!, [first, ...namesOf(x!).filter((n) => n !== first)]), token, place));
      }
      case "grouped_dot":
        return this.#set(op, this.#groupedDot(op));
      case "grouped_outer":
        return this.#set(op, this.#groupedOuter(op));
      case "list": {
        const order = this.#hints.get(op.results[0]!) ?? namesOf(x!);
        return this.#set(op, b.list(op.operands.map((v) => this.#as(this.#now(v), order))));
      }
      case "release":
        throw new GraphError("releases are placed after the layout");
      case "call":
      case "fold":
        return this.#runs(op);
      default: {
        const results = b.op(op.op, op.operands.map((v) => this.#now(v)), op.attributes as never, op.results.map((v) => v.name));
        op.results.forEach((v, i) => this.#map.set(v, results[i]!));
      }
    }
  }

  /** The result's order is that of a full operand for which the others move the fewest elements. */
  #align(operands: readonly Value[], hint: Order | undefined): readonly Value[] {
    const types = operands.map(tensorOf);
    const axes = alignedAxes(types);
    const full = operands.filter((v) => axesOf(v).length === axes.length).map(namesOf);
    const orders = full.length ? [...full, ...(hint && full.some((o) => o.length === hint.length) ? [hint] : [])] : [axes.map((a) => a.name)];
    const size = elementsOf({ kind: "tensor", dtype: "f32", axes }, this.#run.options.sizes);
    const cost = (order: Order): number =>
      operands.reduce((n, v) => n + (isSubsequence(namesOf(v), order) ? 0 : this.#price(v, order.filter((name) => namesOf(v).includes(name)))), 0) +
      (hint && !sameNames(hint, order) ? size : 0);
    const best = orders.reduce((a, o) => (cost(o) < cost(a) ? o : a));
    return operands.map((v) => (isSubsequence(namesOf(v), best) ? v : this.#as(v, best.filter((name) => namesOf(v).includes(name)))));
  }

  #elementwise(op: AnyOp): Value {
    return this.#b.one(op.op, this.#align(op.operands.map((v) => this.#now(v)), this.#hints.get(op.results[0]!)), op.attributes as never);
  }

  #dot(op: AnyOp & { op: "dot" }): Value {
    const b = this.#b;
    const [x, y] = [this.#now(op.operands[0]!), this.#now(op.operands[1]!)];
    const { over } = op.attributes;
    // Where no user asks for an order, the one it was written in: tokens first, as most of what it meets.
    const hint = this.#hints.get(op.results[0]!) ?? namesOf(op.results[0]!);
    const [nx, ny] = [namesOf(x), namesOf(y)];
    const alone = nx.every((n) => ny.includes(n)) && ny.every((n) => nx.includes(n));
    if (over.length === 0 || alone) {
      const [p, q] = this.#align([x, y], undefined);
      return b.sum(b.mul(p!, q!), over);
    }
    const best = chooseProduct(nx, ny, over, hint, {
      flags: this.#run.options.transposeFlags,
      price: (side, order) => this.#price(side === 0 ? x : y, order),
      size: (side) => this.#elements(side === 0 ? x : y),
      result: this.#moved(op.results[0]!),
    });
    const [l, r] = best.swap ? [y, x] : [x, y];
    const axes = [...axesOf(x), ...axesOf(y)];
    const named = (names: Order): Axis[] => names.map((n) => axes.find((a) => a.name === n)!);
    const batch = best.batch.length ? [merge(axes, best.batch, "")] : [];
    const [m, k, n] = [merge(axes, best.rows, "unit.m"), merge(axes, best.contracted, ""), merge(axes, best.columns, "unit.n")];
    const left = this.#matrix(this.#as(l, best.left.order), [...batch, ...(best.left.flag ? [k, m] : [m, k])]);
    const right = this.#matrix(this.#as(r, best.right.order), [...batch, ...(best.right.flag ? [n, k] : [k, n])]);
    const flags = { ...(best.left.flag ? { transposeA: true } : {}), ...(best.right.flag ? { transposeB: true } : {}) };
    const product = b.dot(left, right, [k.name], flags);
    return this.#matrix(product, named([...best.batch, ...best.rows, ...best.columns]));
  }

  /** Rows and contracted axes, groups and matrices, each part one axis. */
  #groupedDot(op: AnyOp & { op: "grouped_dot" }): Value {
    const [x, y, count] = op.operands.map((v) => this.#now(v)) as [Value, Value, Value];
    const { over } = op.attributes;
    const group = namesOf(count)[0]!;
    const rows = namesOf(x).filter((n) => !over.includes(n));
    const columns = namesOf(y).filter((n) => n !== group && !over.includes(n));
    const orders = [x, y].map((v) => namesOf(v).filter((n) => over.includes(n)));
    // Matrices are transposed one by one, those of groups with rows, so that their order costs nothing here.
    const flagged = (inner: Order): boolean => this.#price(y, [group, ...inner, ...columns]) > 0 && this.#price(y, [group, ...columns, ...inner]) === 0;
    const cost = (inner: Order): number => this.#price(x, [...rows, ...inner]) + (flagged(inner) ? 0 : this.#price(y, [group, ...inner, ...columns]));
    const inner = cost(orders[1]!) < cost(orders[0]!) ? orders[1]! : orders[0]!;
    const flag = flagged(inner);
    const axes = [...axesOf(x), ...axesOf(y)];
    const [m, k, g, n] = [rows, inner, [group], columns].map((names) => merge(axes, names, "")) as [Axis, Axis, Axis, Axis];
    const left = this.#matrix(this.#as(x, [...rows, ...inner]), [m, k]);
    const right = flag ? this.#matrix(this.#as(y, [group, ...columns, ...inner]), [g, n, k]) : this.#matrix(this.#as(y, [group, ...inner, ...columns]), [g, k, n]);
    const product = this.#b.grouped_dot(left, right, count, [k.name], flag ? { transposeB: true } : {});
    return this.#matrix(product, [m, ...columns.map((name) => axes.find((a) => a.name === name)!)]);
  }

  /** Rows first in both; the smaller operand left, since it is the one that is transposed. */
  #groupedOuter(op: AnyOp & { op: "grouped_outer" }): Value {
    const [x, y, count] = op.operands.map((v) => this.#now(v)) as [Value, Value, Value];
    const { sizes } = this.#run.options;
    const [l, r] = elementsOf(y.type, sizes) < elementsOf(x.type, sizes) ? [y, x] : [x, y];
    const row = axesOf(l).find((a) => namesOf(r).includes(a.name))!;
    const own = (v: Value): Order => namesOf(v).filter((n) => n !== row.name);
    const matrix = (v: Value): Value => this.#matrix(this.#as(v, [row.name, ...own(v)]), [row, merge(axesOf(v), own(v), "")]);
    const product = this.#b.grouped_outer(matrix(l), matrix(r), count);
    return this.#matrix(product, [axesOf(count)[0]!, ...[l, r].flatMap((v) => own(v).map((n) => axesOf(v).find((a) => a.name === n)!))]);
  }

  /** A reshape that keeps the elements' order; the value itself where the axes are these. */
  #matrix(v: Value, axes: readonly Axis[]): Value {
    if (sameNames(namesOf(v), axes.map((a) => a.name))) return v;
    return this.#once(v, `reshape ${JSON.stringify(axes)}`, () => this.#b.reshape(v, axes));
  }

  /** Groups of axes that split or merge among themselves keep their place wherever the operand has them together. */
  #reshape(op: AnyOp & { op: "reshape" }): Value {
    const x = this.#now(op.operands[0]!);
    const declared = axesOf(op.operands[0]!);
    const groups = segments(declared, op.attributes.axes);
    const now = namesOf(x);
    const place = (g: { from: readonly Axis[] }): number => (g.from.length ? now.indexOf(g.from[0]!.name) : now.length);
    const sorted = [...groups].sort((g, h) => place(g) - place(h));
    if (sameNames(sorted.flatMap((g) => g.from.map((a) => a.name)), now)) return this.#b.reshape(x, sorted.flatMap((g) => g.to));
    return this.#b.reshape(this.#as(x, declared.map((a) => a.name)), op.attributes.axes);
  }

  #expand(op: AnyOp & { op: "expand" }): Value {
    const x = this.#now(op.operands[0]!);
    const hint = this.#hints.get(op.results[0]!);
    const wanted = hint ? hint.map((n) => op.attributes.axes.find((a) => a.name === n)!) : op.attributes.axes;
    const own = [...axesOf(x)];
    const names = namesOf(x);
    // The operand's axes in the operand's order, at the places where the wanted order has any of them.
    return this.#b.expand(x, wanted.map((a) => (names.includes(a.name) ? own.shift()! : a)));
  }

  #runs(op: AnyOp & { op: "call" | "fold" }): void {
    const source = this.#run.source(op.attributes.fn);
    const fold = op.op === "fold" ? op.attributes : undefined;
    const shift = fold?.index ? 1 : 0;
    const carried = fold?.carried ?? 0;
    const operands = op.operands.map((v, i) => (i < carried ? this.#as(this.#now(v), orderOf(source.params[i + shift]!.type)) : this.#now(v)));
    const whole = carried + (fold?.shared ?? op.operands.length);
    const types: Type[] = operands.map((v, i) => (i < whole || !isList(v.type) ? v.type : v.type.of));
    if (shift) types.unshift(source.params[0]!.type);
    const frozen = operands.map((v, i) => i >= carried && this.#frozen.has(v));
    if (shift) frozen.unshift(false);
    const ends = new Set(this.#fn.results);
    const wanted = op.results.map((v, j) => (j < carried ? orderOf(source.params[j + shift]!.type) : ends.has(v) ? this.#hints.get(v) : undefined));
    const made = this.#run.function(source, types, frozen, wanted, undefined, fold ? shift + whole : undefined);
    const extra = made.extras.map((e) => ({ list: fold !== undefined && e.param >= shift + whole, value: this.#as(operands[e.param - shift]!, e.order) }));
    const names = op.results.map((v) => v.name);
    const tensors = extra.filter((e) => !e.list).map((e) => e.value);
    const results = fold
      ? this.#b.op("fold", [...operands.slice(0, whole), ...tensors, ...operands.slice(whole), ...extra.filter((e) => e.list).map((e) => e.value)], { ...fold, fn: made.name, shared: fold.shared + tensors.length }, names)
      : this.#b.op("call", [...operands, ...tensors], { fn: made.name }, names);
    op.results.forEach((v, i) => this.#map.set(v, results[i]!));
  }
}

/** Adjacent axes as one, under a name that tells its parts; no axes: one of a single element. */
function merge(axes: readonly Axis[], names: Order, unit: string): Axis {
  const parts = names.map((n) => axes.find((a) => a.name === n)!);
  if (parts.length === 0) return axis(unit, 1);
  return parts.length === 1 ? parts[0]! : axis(names.join("."), multiplySizes(...parts.map((a) => a.size)));
}

function isSubsequence(part: Order, whole: Order): boolean {
  let at = 0;
  for (const name of whole) if (at < part.length && part[at] === name) at++;
  return at === part.length;
}

/** The finest groups of adjacent axes that hold equally many elements before and after. */
function segments(from: readonly Axis[], to: readonly Axis[]): readonly { readonly from: readonly Axis[]; readonly to: readonly Axis[] }[] {
  const groups: { from: Axis[]; to: Axis[] }[] = [];
  let i = 0;
  let j = 0;
  while (i < from.length && j < to.length) {
    const group = { from: [from[i++]!], to: [to[j++]!] };
    const size = (axes: readonly Axis[]): Axis["size"] => multiplySizes(...axes.map((a) => a.size));
    while (!equalSizes(size(group.from), size(group.to))) {
      if (j < to.length && (i >= from.length || divideSizes(size(group.from), size(group.to)) !== undefined)) group.to.push(to[j++]!);
      else if (i < from.length) group.from.push(from[i++]!);
      else break;
    }
    groups.push(group);
  }
  // What is left on one side are axes of one element.
  if (i < from.length || j < to.length) {
    const last = groups.at(-1);
    if (!last) return [{ from, to }];
    last.from.push(...from.slice(i));
    last.to.push(...to.slice(j));
  }
  return groups;
}
