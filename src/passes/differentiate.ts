import { Builder } from "../ir/builder.ts";
import { GraphError } from "../ir/errors.ts";
import type { GraphFunction, Module, Op, OpName, TensorType, Value } from "../ir/graph.ts";
import type { Sizes } from "../ir/size.ts";
import { describeType, isList, isTensor } from "../ir/types.ts";
import { Activity, type Seeds, continuous, seedsOf } from "./activity.ts";
import { fitTo, ruleOf, zeros } from "./derivatives.ts";
import { cheapestToKeep } from "./keep.ts";
import { type AnyOp, cloneOp, cloneParams, freeName, functionOf, listTypeOf, mapped, nominalBytes, opsOf } from "./tools.ts";

/** What to differentiate. */
export interface DifferentiateOptions {
  readonly fn: string;
  /** The result to differentiate: an f32 scalar. */
  readonly of: number;
  /** The params whose gradients are asked for: f32 tensors, or lists of them. */
  readonly wrt: readonly number[];
  /** The new function's name. */
  readonly name: string;
  /**
   * What the backward half of a fold makes again rather than keep: by default what costs a pass over the elements at
   * most; with "layers" all that a turn computes, so that little more than its carried values is kept.
   */
  readonly recompute?: "cheap" | "layers";
  /** Sizes of symbols, where some are known, for what keeping costs; others are taken as 32 each. */
  readonly sizes?: Sizes;
}

export interface Differentiated {
  readonly module: Module;
  /** Those of `wrt` on which the result does not depend: their gradients are zeros. */
  readonly unreached: readonly number[];
}

/**
 * Adds a function `name` with `fn`'s params, whose results are `fn`'s results and then the gradient of result `of` with
 * respect to each param of `wrt`, laid out as the param.
 *
 * Reverse mode, function by function. A function g that is called (or folded) becomes `g_forward`, which also returns
 * what its backward half reads, and `g_backward`, from cotangents of g's results to cotangents of its params. Only
 * values that depend on `wrt` and reach the result have cotangents, so a frozen weight never gets one, and what only
 * its gradient would have read is never kept. Of what backward reads, the fewest bytes are kept from which the rest can
 * be made again cheaply (`keep.ts`).
 *
 * Run before the layout pass: products with transpose flags have no derivative here.
 */
export function differentiate(module: Module, options: DifferentiateOptions): Differentiated {
  const fn = functionOf(module.functions, options.fn);
  const target = fn.results[options.of];
  if (!target || !isTensor(target.type) || target.type.dtype !== "f32" || target.type.axes.length > 0)
    throw new GraphError(`result ${options.of} of @${options.fn} is no f32 scalar: only a scalar is differentiated`);
  const wanted = fn.params.map((_, i) => options.wrt.includes(i));
  for (const i of options.wrt) {
    const p = fn.params[i];
    if (!p || !continuous(p)) throw new GraphError(`param ${i} of @${options.fn} is no f32 tensor or list: it has no gradient`);
  }
  if (module.functions.has(options.name)) throw new GraphError(`there is a function @${options.name} already`, "C-functions");
  const engine = new Engine(module.functions, options);
  const seeded = fn.results.map((_, j) => j === options.of);
  const b = new Builder(options.name, engine.functions, fn.doc);
  const joint = engine.joint(b, fn, wanted, seeded, () => b.constant(1));
  const gradients = options.wrt.map((i) => joint.gradient(fn.params[i]!));
  engine.functions.set(options.name, b.finish([...fn.results.map((v) => mapped(joint.map, v)), ...gradients]));
  const summary = new Activity(module.functions).summary(options.fn)[options.of]!;
  return { module: { ...module, functions: engine.functions }, unreached: options.wrt.filter((i) => !summary[i]) };
}

/** Ops that move or repeat numbers without arithmetic, and leaves. */
const remade: ReadonlySet<OpName> = new Set<OpName>([
  "constant", "table", "index", "fill", "extent", "one_hot", "reshape", "transpose", "rename", "copy", "expand", "cast", "stop", "reverse", "element", "concat",
]);

/** One pass over the elements: cheaper than a pass that keeps and one that reads. */
const cheap: ReadonlySet<OpName> = new Set<OpName>([
  "neg", "abs", "sign", "relu", "square", "add", "sub", "mul", "max", "min", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "select",
]);

/** Where a param or result of a function stands in a fold: before, in or after the turns. For a call all is "shared". */
type Place = "index" | "carried" | "shared" | "list";
const places: readonly Place[] = ["index", "carried", "shared", "list"];

/** What an argument of a backward function is. `of` numbers params, results, or the values kept. */
interface Need {
  readonly place: Place;
  readonly from: "param" | "result" | "kept" | "cotangent";
  readonly of: number;
}

/** The two halves of a function, for one pattern of active params and seeded results. */
interface Halves {
  readonly forward: string;
  readonly backward: string;
  /** The backward function's arguments, in order. */
  readonly needs: readonly Need[];
  /** The params whose cotangents it returns, in order. */
  readonly wanted: readonly number[];
}

/** Forward and backward written into one builder. */
interface Joint {
  readonly map: Map<Value, Value>;
  /** How many ops of the builder's body are forward. */
  readonly forwardOps: number;
  /** The cotangent of one of the original function's values; zeros where nothing came back. */
  gradient(v: Value): Value;
}

class Engine {
  readonly functions: Map<string, GraphFunction>;
  readonly #activity: Activity;
  readonly #halves = new Map<string, Halves>();
  readonly #adders = new Map<string, string>();

  readonly #options: Pick<DifferentiateOptions, "recompute" | "sizes">;

  constructor(functions: ReadonlyMap<string, GraphFunction>, options: Pick<DifferentiateOptions, "recompute" | "sizes">) {
    this.#options = options;
    this.functions = new Map(functions);
    this.#activity = new Activity(functions);
  }

  /** Writes `fn` and then its adjoint into `b`. `seed` gives the cotangent of a seeded result. */
  joint(b: Builder, fn: GraphFunction, params: readonly boolean[], seeded: readonly boolean[], seed: (result: Value, j: number) => Value): Joint {
    const map = new Map<Value, Value>();
    cloneParams(b, fn, map);
    const active = this.#activity.activeValues(fn, params, seeded);
    const run = new Map<Op, { readonly halves: Halves; readonly seeds: Seeds; readonly results: readonly Value[] }>();
    for (const op of opsOf(fn)) {
      if (op.op === "release") throw new GraphError(`@${fn.name} has releases: they are placed after differentiation`);
      if ((op.op === "call" || op.op === "fold") && op.results.some((v) => active.has(v))) {
        const seeds = seedsOf(op, this.#activity, active);
        const halves = this.#split(op, seeds);
        const operands = op.operands.map((v) => mapped(map, v));
        const names = op.results.map((v) => v.name);
        const results = b.at(op.origin, () =>
          op.op === "call"
            ? b.op("call", operands, { fn: halves.forward }, names)
            : b.op("fold", operands, { ...op.attributes, fn: halves.forward }, names));
        op.results.forEach((v, i) => map.set(v, results[i]!));
        run.set(op, { halves, seeds, results });
      } else cloneOp(b, op, map);
    }
    const forwardOps = b.body.length;
    const cotangents = new Cotangents(b, active, (of) => this.#adder(of));
    fn.results.forEach((v, j) => {
      if (seeded[j]) cotangents.add(v, seed(mapped(map, v), j));
    });
    for (const op of [...opsOf(fn)].reverse()) {
      if (!op.results.some((v) => cotangents.has(v))) continue;
      b.at(op.origin, () => {
        const ran = run.get(op);
        if (ran && (op.op === "call" || op.op === "fold")) this.#backward(b, op, ran, map, cotangents);
        else this.#adjoint(b, op, map, cotangents);
      });
    }
    return { map, forwardOps, gradient: (v) => cotangents.get(v) ?? zeros(b, v.type) };
  }

  /** The name of a function that adds two tensors of a type. */
  #adder(of: TensorType): string {
    const key = describeType(of);
    const known = this.#adders.get(key);
    if (known) return known;
    const b = new Builder(freeName(this.functions, "add_elements"), this.functions);
    this.functions.set(b.name, b.finish([b.add(b.param(of), b.param(of))]));
    this.#adders.set(key, b.name);
    return b.name;
  }

  /** The adjoint of an op that has a row in the table, or that makes or reads a list. */
  #adjoint(b: Builder, op: AnyOp, map: ReadonlyMap<Value, Value>, cotangents: Cotangents): void {
    if (op.op === "element") return cotangents.addElement(op.operands[0]!, op.attributes.at, cotangents.get(op.results[0]!)!);
    const dy = cotangents.get(op.results[0]!);
    if (!dy) return;
    if (op.op === "list") return op.operands.forEach((v, at) => cotangents.active(v) && cotangents.add(v, b.element(dy, at)));
    if (op.op === "dot" && (op.attributes.transposeA || op.attributes.transposeB)) throw new GraphError("a product with transpose flags has no derivative: differentiate before the layout pass");
    op.operands.forEach((v, at) => {
      const rule = ruleOf(op.op, at);
      if (!rule || !cotangents.active(v)) return;
      const g = rule({ b, operands: op.operands.map((x) => mapped(map, x)), y: mapped(map, op.results[0]!), dy, attributes: op.attributes, at });
      cotangents.add(v, isTensor(v.type) ? fitTo(b, g, v.type) : g);
    });
  }

  /** The backward half of a call, or of a fold: a fold in the other direction. */
  #backward(
    b: Builder,
    op: AnyOp & { op: "call" | "fold" },
    ran: { readonly halves: Halves; readonly seeds: Seeds; readonly results: readonly Value[] },
    map: ReadonlyMap<Value, Value>,
    cotangents: Cotangents,
  ): void {
    const { halves, results } = ran;
    const shift = op.op === "fold" && op.attributes.index ? 1 : 0;
    const values = halves.needs
      .filter((n) => n.place !== "index")
      .map((n): Value => {
        if (n.from === "param") return mapped(map, op.operands[n.of - shift]!);
        if (n.from === "result") return results[n.of]!;
        if (n.from === "kept") return results[op.results.length + n.of]!;
        return cotangents.get(op.results[n.of]!) ?? zeros(b, op.results[n.of]!.type);
      });
    const count = (place: Place): number => halves.needs.filter((n) => n.place === place).length;
    const gradients =
      op.op === "call"
        ? b.call(halves.backward, values)
        : b.op("fold", values, {
            fn: halves.backward,
            count: op.attributes.count,
            carried: count("carried"),
            shared: count("shared"),
            summed: halves.wanted.filter((i) => i - shift >= op.attributes.carried && i - shift < op.attributes.carried + op.attributes.shared).length,
            index: count("index") > 0,
            reverse: !op.attributes.reverse,
          });
    halves.wanted.forEach((i, k) => {
      const v = op.operands[i - shift]!;
      if (cotangents.active(v)) cotangents.add(v, gradients[k]!);
    });
  }

  /** `g_forward` and `g_backward` of the function that `op` runs. Made once for each pattern. */
  #split(op: AnyOp & { op: "call" | "fold" }, seeds: Seeds): Halves {
    const fn = functionOf(this.functions, op.attributes.fn);
    const fold = op.op === "fold" ? op.attributes : undefined;
    const params = fold?.index ? [false, ...seeds.operands] : seeds.operands;
    const key = JSON.stringify([fn.name, params, seeds.results, fold ? [fold.carried, fold.shared, fold.summed, fold.index] : null]);
    const known = this.#halves.get(key);
    if (known) return known;
    if (fold && op.operands.some((v, i) => i >= fold.carried && i < fold.carried + fold.shared && seeds.operands[i] && isList(v.type)))
      throw new GraphError(`a list shared by all turns of @${fn.name} has no gradient: give each turn its element`);

    const shift = fold?.index ? 1 : 0;
    const paramPlace = (i: number): Place => (!fold ? "shared" : i < shift ? "index" : i - shift < fold.carried ? "carried" : i - shift < fold.carried + fold.shared ? "shared" : "list");
    const resultPlace = (j: number): Place => (!fold ? "shared" : j < fold.carried ? "carried" : j < fold.carried + fold.summed ? "shared" : "list");
    const keptPlace: Place = fold ? "list" : "shared";

    const b = new Builder(fn.name, this.functions, fn.doc);
    const seedParams = new Map<Value, number>();
    const joint = this.joint(b, fn, params, seeds.results, (v, j) => {
      const cotangent = b.param(v.type, v.name && `d_${v.name}`);
      seedParams.set(cotangent, j);
      return cotangent;
    });
    const wanted = params.flatMap((yes, i) => (yes ? [i] : []));
    const gradients = wanted.map((i) => joint.gradient(fn.params[i]!));
    const forward = b.body.slice(0, joint.forwardOps);
    const paramAt = new Map(fn.params.map((p, i) => [mapped(joint.map, p), i]));
    const resultAt = new Map(fn.results.map((v, j) => [mapped(joint.map, v), j]));
    const forwardMaker = new Map<Value, Op>(forward.flatMap((o) => o.results.map((v) => [v, o] as const)));

    // What backward reads of forward: made again, or given.
    const backward = live(b.body.slice(joint.forwardOps), gradients);
    const free = (v: Value): boolean => {
      const at = paramAt.get(v);
      return at !== undefined && paramPlace(at) !== "carried";
    };
    const everything = fold !== undefined && this.#options.recompute === "layers";
    // A list inside a fold cannot be kept for each turn: what made it runs again.
    const listed = (v: Value): boolean => fold !== undefined && isList(v.type);
    const keep = cheapestToKeep({
      reads: [...backward.flatMap((o) => o.operands), ...gradients].filter((v) => forwardMaker.has(v) || paramAt.has(v)),
      maker: (v) => forwardMaker.get(v),
      free,
      again: (o) => everything || remade.has(o.op) || cheap.has(o.op) || o.results.some(listed),
      // A result that the fold collects anyway is at hand.
      cost: (v) => (resultPlace(resultAt.get(v) ?? -1) === keptPlace && resultAt.has(v) ? 0 : listed(v) ? Infinity : nominalBytes(v.type, this.#options.sizes)),
    });
    const again = new Set<Op>();
    const given = new Map<Value, Need>();
    const kept: Value[] = [];
    const want = (v: Value): void => {
      const at = paramAt.get(v);
      const maker = forwardMaker.get(v);
      if (given.has(v) || seedParams.has(v) || (at === undefined && !maker)) return;
      if (at !== undefined && free(v)) given.set(v, { place: paramPlace(at), from: "param", of: at });
      else if (maker && !keep.has(v)) {
        if (again.has(maker)) return;
        again.add(maker);
        maker.operands.forEach(want);
      } else {
        const j = resultAt.get(v);
        if (j !== undefined && resultPlace(j) === keptPlace) given.set(v, { place: keptPlace, from: "result", of: j });
        else given.set(v, { place: keptPlace, from: "kept", of: kept.push(v) - 1 });
      }
    };
    for (const o of backward) o.operands.forEach(want);
    gradients.forEach(want);

    const arguments_ = [...given, ...[...seedParams].map(([v, j]) => [v, { place: resultPlace(j), from: "cotangent", of: j } as Need] as const)];
    const sorted = places.flatMap((place) => arguments_.filter(([, n]) => n.place === place).sort(([, x], [, y]) => (place === "carried" ? x.of - y.of : 0)));

    const halves: Halves = {
      forward: this.#forward(fn, forward, joint.map, kept),
      backward: freeName(this.functions, `${fn.name}_backward`),
      needs: sorted.map(([, n]) => n),
      wanted,
    };
    const back = new Builder(halves.backward, this.functions, fn.doc);
    const map = new Map<Value, Value>(sorted.map(([v]) => [v, back.param(v.type, v.name)]));
    // What is made again is made right before its first use, so that it does not live longer than it must.
    const remake = (v: Value): void => {
      const maker = forwardMaker.get(v);
      if (map.has(v) || !maker || !again.has(maker)) return;
      maker.operands.forEach(remake);
      cloneOp(back, maker, map);
    };
    for (const o of backward) {
      o.operands.forEach(remake);
      cloneOp(back, o, map);
    }
    gradients.forEach(remake);
    this.functions.set(halves.backward, back.finish(gradients.map((v) => mapped(map, v))));
    this.#halves.set(key, halves);
    return halves;
  }

  /** The function with what to keep as further results; the function itself where nothing is and no call in it changed. */
  #forward(fn: GraphFunction, body: readonly Op[], from: ReadonlyMap<Value, Value>, kept: readonly Value[]): string {
    const same = body.every((op, i) => op.op === fn.body[i]!.op && JSON.stringify(op.attributes) === JSON.stringify(fn.body[i]!.attributes));
    if (kept.length === 0 && same) return fn.name;
    const name = freeName(this.functions, `${fn.name}_forward`);
    const b = new Builder(name, this.functions, fn.doc);
    const map = new Map<Value, Value>();
    for (const p of fn.params) map.set(mapped(from, p), b.param(p.type, p.name));
    for (const op of body) cloneOp(b, op, map);
    this.functions.set(name, b.finish([...fn.results.map((v) => mapped(map, mapped(from, v))), ...kept.map((v) => mapped(map, v))]));
    return name;
  }
}

/** The ops on which the values depend. */
function live(body: readonly Op[], values: readonly Value[]): readonly Op[] {
  const used = new Set(values);
  return [...body]
    .reverse()
    .filter((op) => {
      if (!op.results.some((v) => used.has(v))) return false;
      op.operands.forEach((v) => used.add(v));
      return true;
    })
    .reverse();
}

/** Cotangents that have come back so far, by the original function's values. Only active values have one. */
class Cotangents {
  readonly #b: Builder;
  readonly #active: ReadonlySet<Value>;
  readonly #adder: (of: TensorType) => string;
  readonly #sums = new Map<Value, Value>();
  /** Cotangents of single elements of a list. */
  readonly #elements = new Map<Value, Map<number, Value>>();

  constructor(b: Builder, active: ReadonlySet<Value>, adder: (of: TensorType) => string) {
    this.#b = b;
    this.#active = active;
    this.#adder = adder;
  }

  active(v: Value): boolean {
    return this.#active.has(v);
  }

  has(v: Value): boolean {
    return this.#sums.has(v) || this.#elements.has(v);
  }

  add(v: Value, g: Value): void {
    const before = this.#sums.get(v);
    this.#sums.set(v, !before ? g : isList(v.type) ? this.#addLists(before, g) : this.#b.add(before, g));
  }

  addElement(list: Value, at: number, g: Value): void {
    if (!this.active(list)) return;
    const elements = this.#elements.get(list) ?? new Map<number, Value>();
    const before = elements.get(at);
    elements.set(at, before ? this.#b.add(before, g) : g);
    this.#elements.set(list, elements);
  }

  get(v: Value): Value | undefined {
    const elements = this.#elements.get(v);
    if (elements) {
      this.#elements.delete(v);
      const { count, of } = listTypeOf(v);
      this.add(v, this.#b.list(Array.from({ length: count }, (_, at) => elements.get(at) ?? zeros(this.#b, of))));
    }
    return this.#sums.get(v);
  }

  /** Sums two lists, layer by layer. */
  #addLists(x: Value, y: Value): Value {
    const { count, of } = listTypeOf(x);
    return this.#b.fold({ fn: this.#adder(of), count, lists: [x, y] })[0]!;
  }
}
