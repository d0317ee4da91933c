import { Builder } from "../ir/builder.ts";
import type { GraphFunction, Module, OpName, Value } from "../ir/graph.ts";
import { interpret, type Tensor } from "../ir/interpret.ts";
import { isTensor, sameAxes, sameType } from "../ir/types.ts";
import { removeDead } from "./dead.ts";
import { hoist } from "./hoist.ts";
import { type AnyOp, axesOf, calleesFirst, cloneParams, mapped, makers, namesOf, opsOf, sameNames, tensorOf, withFunctions } from "./tools.ts";

export interface SimplifyOptions {
  /** Drops `stop`s: right only where nothing is differentiated afterwards. */
  readonly dropStops?: boolean;
}

/** Rounds until nothing changes; real graphs settle in two or three. */
const rounds = 8;

/**
 * The same module with less to do: constants folded, identities (x*1, x+0, neg neg, transposes of transposes, reshapes
 * of reshapes, expands that broadcasting makes anyway) and repetitions removed, what nothing reads removed (through
 * calls and folds), and what a fold computes from shared values alone computed once before it.
 */
export function simplify(module: Module, options: SimplifyOptions = {}): Module {
  let now = module;
  for (let round = 0; round < rounds; round++) {
    const before = now;
    const functions = new Map<string, GraphFunction>();
    for (const fn of calleesFirst(now.functions)) functions.set(fn.name, local(fn, functions, options));
    now = hoist(removeDead(withFunctions(now, functions)));
    if (size(now) === size(before)) break;
  }
  return now;
}

/** What shrinks from round to round: ops, params and results; hoisting moves ops out of folds, so those weigh their turns. */
function size(module: Module): string {
  return [...module.functions.values()].map((fn) => `${fn.name} ${fn.params.length} ${fn.results.length} ${fn.body.map((op) => op.op).join(" ")}`).join("\n");
}

/** One function, op by op: each op is replaced by what it is known to equal. */
function local(fn: GraphFunction, functions: ReadonlyMap<string, GraphFunction>, options: SimplifyOptions): GraphFunction {
  const b = new Builder(fn.name, functions, fn.doc);
  const map = new Map<Value, Value>();
  cloneParams(b, fn, map);
  const seen = new Map<string, readonly Value[]>();
  const ids = new Map<Value, number>();
  const id = (v: Value): number => {
    if (!ids.has(v)) ids.set(v, ids.size);
    return ids.get(v)!;
  };
  const rewriter = new Rewriter(b, options);
  for (const op of opsOf(fn)) {
    if (op.op === "release") continue;
    b.at(op.origin, () => {
      const operands = op.operands.map((v) => mapped(map, v));
      const equal = rewriter.equal(op, operands);
      const result = op.results[0];
      if (equal && result) {
        if (!equal.name) equal.name = result.name;
        map.set(result, equal);
        return;
      }
      // The whole attributes make the key; JSON has no word for infinities, and -0 must stay apart from 0.
      const key = JSON.stringify([op.op, operands.map(id), op.attributes], (_, v: unknown) => (typeof v === "number" && (!Number.isFinite(v) || Object.is(v, -0)) ? `number ${Object.is(v, -0) ? "-0" : v}` : v));
      const results = seen.get(key) ?? b.op(op.op, operands, op.attributes as never, op.results.map((v) => v.name));
      seen.set(key, results);
      op.results.forEach((v, i) => map.set(v, results[i]!));
    });
  }
  return b.finish(fn.results.map((v) => mapped(map, v)));
}

/** Ops of scalars that are worth computing now. */
const foldable: ReadonlySet<OpName> = new Set<OpName>([
  "neg", "abs", "sign", "exp", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "square", "sigmoid", "tanh", "relu", "softplus", "sin", "cos", "floor", "erf",
  "add", "sub", "mul", "div", "pow", "max", "min", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "select", "cast",
]);

const broadcasting: ReadonlySet<OpName> = new Set<OpName>(["add", "sub", "mul", "div", "pow", "max", "min", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "select"]);

class Rewriter {
  readonly #b: Builder;
  readonly #options: SimplifyOptions;
  #read = 0;
  #made = new Map<Value, AnyOp>();

  constructor(b: Builder, options: SimplifyOptions) {
    this.#b = b;
    this.#options = options;
  }

  /** The op that made a value of the new function. */
  #maker(v: Value): AnyOp | undefined {
    for (; this.#read < this.#b.body.length; this.#read++) for (const [k, op] of makers([this.#b.body[this.#read]!])) this.#made.set(k, op);
    return this.#made.get(v);
  }

  /** The number that a scalar, or a tensor of one number repeated, is known to be. */
  #number(v: Value | undefined): number | undefined {
    const op = v && this.#maker(v);
    if (op?.op === "constant") return op.attributes.value;
    if (op?.op === "expand") return this.#number(op.operands[0]);
    return undefined;
  }

  /** A value that the op's only result equals, with the same type; undefined where the op must stay as it is. */
  equal(op: AnyOp, operands: readonly Value[]): Value | undefined {
    const found = this.#try(op, operands);
    return found && sameType(found.type, op.results[0]!.type) ? found : undefined;
  }

  #try(op: AnyOp, operands: readonly Value[]): Value | undefined {
    const b = this.#b;
    const [x, y] = operands as readonly [Value, Value];
    const from = (v: Value): AnyOp | undefined => this.#maker(v);
    const folded = this.#fold(op, operands);
    if (folded) return folded;
    const narrow = this.#narrow(op, operands);
    if (narrow) return narrow;
    switch (op.op) {
      case "constant":
        return b.constant(op.attributes.value, op.attributes.dtype);
      case "copy":
        return x;
      case "cast": {
        const inner = from(x);
        const { dtype } = op.attributes;
        return inner?.op === "index" && dtype !== "bool" ? b.one("index", [], { ...inner.attributes, dtype }) : undefined;
      }
      case "stop":
        return this.#options.dropStops ? x : undefined;
      case "neg": {
        const inner = from(x);
        return inner?.op === "neg" ? inner.operands[0] : undefined;
      }
      case "not": {
        const inner = from(x);
        return inner?.op === "not" ? inner.operands[0] : undefined;
      }
      case "add": {
        if (this.#number(y) === 0 && this.#covers(x, op)) return x;
        if (this.#number(x) === 0 && this.#covers(y, op)) return y;
        const [left, right] = [from(x), from(y)];
        if (right?.op === "neg") return this.#retyped(op, b.sub(x, right.operands[0]!));
        if (left?.op === "neg") return this.#retyped(op, b.sub(y, left.operands[0]!));
        return this.#tiled(x, y);
      }
      case "sub": {
        if (this.#number(y) === 0 && this.#covers(x, op)) return x;
        if (this.#number(x) === 0 && this.#covers(y, op)) return b.neg(y);
        const right = from(y);
        return right?.op === "neg" ? this.#retyped(op, b.add(x, right.operands[0]!)) : undefined;
      }
      case "mul":
        if (this.#number(y) === 1 && this.#covers(x, op)) return x;
        if (this.#number(x) === 1 && this.#covers(y, op)) return y;
        if (this.#number(y) === -1 && this.#covers(x, op)) return b.neg(x);
        if (this.#number(x) === -1 && this.#covers(y, op)) return b.neg(y);
        return this.#scales(op, x, y);
      case "div":
        return this.#number(y) === 1 && this.#covers(x, op) ? x : undefined;
      case "pow":
        if (this.#number(y) === 1 && this.#covers(x, op)) return x;
        return this.#number(y) === 2 && this.#covers(x, op) ? b.square(x) : undefined;
      case "transpose": {
        if (sameNames(namesOf(x), op.attributes.order)) return x;
        const inner = from(x);
        if (inner?.op !== "transpose") return undefined;
        const source = inner.operands[0]!;
        return sameNames(namesOf(source), op.attributes.order) ? source : b.transpose(source, op.attributes.order);
      }
      case "reshape": {
        if (sameAxes(axesOf(x), op.attributes.axes)) return x;
        const inner = from(x);
        if (inner?.op !== "reshape") return undefined;
        const source = inner.operands[0]!;
        return sameAxes(axesOf(source), op.attributes.axes) ? source : b.reshape(source, op.attributes.axes);
      }
      case "rename": {
        const inner = from(x);
        const result = axesOf(op.results[0]!);
        if (sameAxes(axesOf(x), result)) return x;
        if (inner?.op !== "rename") return undefined;
        const source = inner.operands[0]!;
        if (sameAxes(axesOf(source), result)) return source;
        const moved = namesOf(source).flatMap((n, i) => (n === result[i]!.name ? [] : [[n, result[i]!.name] as const]));
        return b.rename(source, moved.map(([n]) => n), moved.map(([, n]) => n));
      }
      case "expand": {
        if (sameAxes(axesOf(x), op.attributes.axes)) return x;
        const inner = from(x);
        return inner?.op === "expand" ? b.expand(inner.operands[0]!, op.attributes.axes) : undefined;
      }
      case "slice": {
        const inner = from(x);
        const { axis, start, as } = op.attributes;
        return inner?.op === "slice" && inner.attributes.as.name === axis ? b.slice(inner.operands[0]!, inner.attributes.axis, inner.attributes.start + start, as) : undefined;
      }
      case "concat": {
        const { axes, as } = op.attributes;
        const parts = operands.flatMap((v, i) => {
          const inner = from(v);
          return inner?.op === "concat" && inner.attributes.as.name === axes[i] ? inner.operands.map((part, k) => [part, inner.attributes.axes[k]!] as const) : [[v, axes[i]!] as const];
        });
        return parts.length > operands.length ? b.concat(parts.map(([part]) => part), parts.map(([, name]) => name), as) : undefined;
      }
      case "ge": {
        const draw = from(x);
        const least = this.#number(y);
        if (draw?.op !== "random" || draw.attributes.distribution !== "uniform" || least === undefined) return undefined;
        const { stream, axes } = draw.attributes;
        return b.one("chance", draw.operands, { stream, axes, least });
      }
      case "select": {
        const [condition, p, q] = operands as readonly [Value, Value, Value];
        const known = this.#number(condition);
        const chosen = known === undefined ? undefined : known ? p : q;
        if (chosen && this.#covers(chosen, op)) return chosen;
        return p === q && this.#covers(p, op) ? p : undefined;
      }
      case "element": {
        const inner = from(x);
        return inner?.op === "list" ? inner.operands[op.attributes.at] : undefined;
      }
      default:
        return undefined;
    }
  }

  /** Whether a value is of the op's own result type, so that it can stand for it. */
  #covers(v: Value, op: AnyOp): boolean {
    return sameType(v.type, op.results[0]!.type);
  }

  /** A rewritten elementwise value where broadcasting gave it the type that is wanted. */
  #retyped(op: AnyOp, v: Value): Value | undefined {
    return this.#covers(v, op) ? v : undefined;
  }

  /**
   * A sum of pads that tile an axis without gaps: the parts one after the other. What comes back to a value that was
   * split is such a sum.
   */
  #tiled(x: Value, y: Value): Value | undefined {
    const pads: (AnyOp & { op: "pad" })[] = [];
    const collect = (v: Value): boolean => {
      const op = this.#maker(v);
      if (op?.op === "add") return op.operands.every(collect);
      if (op?.op !== "pad") return false;
      pads.push(op);
      return true;
    };
    if (![x, y].every(collect)) return undefined;
    const { as } = pads[0]!.attributes;
    pads.sort((p, q) => p.attributes.before - q.attributes.before);
    let end = 0;
    for (const { attributes } of pads) {
      if (attributes.as.name !== as.name || attributes.before !== end) return undefined;
      end = Number(as.size) - attributes.after;
    }
    return end === as.size ? this.#b.concat(pads.map((p) => p.operands[0]!), pads.map((p) => p.attributes.axis), as) : undefined;
  }

  /** (x * c) * d with literals: one product with c*d. */
  #scales(op: AnyOp, x: Value, y: Value): Value | undefined {
    const b = this.#b;
    for (const [p, q] of [[x, y], [y, x]] as const) {
      const inner = this.#maker(p);
      const d = this.#number(q);
      if (d === undefined || tensorOf(q).axes.length > 0 || inner?.op !== "mul") continue;
      for (const at of [0, 1]) {
        const c = inner.operands[at]!;
        const value = this.#number(c);
        if (value !== undefined && tensorOf(c).axes.length === 0 && Number.isFinite(value * d)) return this.#retyped(op, b.mul(inner.operands[1 - at]!, b.constant(value * d)));
      }
    }
    return undefined;
  }

  /** Scalars of constants alone, by the reference interpreter; NaN is left for run time. */
  #fold(op: AnyOp, operands: readonly Value[]): Value | undefined {
    const result = op.results[0];
    if (!result || !foldable.has(op.op) || !isTensor(result.type) || result.type.axes.length > 0) return undefined;
    const values = operands.map((v) => this.#number(v));
    if (values.some((v) => v === undefined)) return undefined;
    const inner = new Builder("fold");
    const made = inner.one(op.op, operands.map((v, i) => inner.constant(values[i]!, tensorOf(v).dtype)), op.attributes as never);
    const fn = inner.finish([made]);
    const [out] = interpret({ functions: new Map([["fold", fn]]), weights: [], entries: new Map() }, "fold", []) as readonly [Tensor];
    const value = out.data[0]!;
    return Number.isNaN(value) ? undefined : this.#b.constant(value, out.dtype);
  }

  /** An operand that was expanded only to meet another that has the axes anyway: broadcasting does it for nothing. */
  #narrow(op: AnyOp, operands: readonly Value[]): Value | undefined {
    if (!broadcasting.has(op.op)) return undefined;
    for (const [at, v] of operands.entries()) {
      const inner = this.#maker(v);
      if (inner?.op !== "expand") continue;
      const others = operands.filter((_, i) => i !== at);
      if (!namesOf(v).every((n) => others.some((o) => namesOf(o).includes(n)))) continue;
      const tried = operands.map((o, i) => (i === at ? inner.operands[0]! : o));
      const widest = tried.reduce((a, o) => (axesOf(o).length > axesOf(a).length ? o : a));
      // The result's order is the widest operand's: only where that is the order it has now.
      if (!sameAxes(axesOf(widest), axesOf(op.results[0]!))) continue;
      return this.#b.one(op.op, tried, op.attributes as never);
    }
    return undefined;
  }
}
