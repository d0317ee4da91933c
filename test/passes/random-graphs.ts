import fc from "fast-check";
import { type Axis, type Builder, type Module, ModuleBuilder, type TensorType, type Value, axis, isTensor, listOf, tensor } from "../../src/ir/index.ts";
import { numbers, weighed } from "./support.ts";

const pool: readonly Axis[] = [axis("a", 2), axis("b", 3), axis("c", 2), axis("d", 1)];
const unary = ["neg", "sigmoid", "tanh", "sin", "square", "relu", "softplus", "abs", "copy", "stop"] as const;
const binary = ["add", "sub", "mul", "max", "min"] as const;

/** Random axes in random order. */
function someAxes(next: () => number): Axis[] {
  const axes = pool.filter(() => next() < 0.6);
  return axes.map((a) => [next(), a] as const).sort((x, y) => x[0] - y[0]).map(([, a]) => a);
}

/** One random op on random values of the pool; undefined where the draw fits none. */
function grow(b: Builder, values: readonly Value[], next: () => number): Value | undefined {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  // Mostly the newest value, so that most of what is made reaches the results.
  const x = next() < 0.6 ? values.at(-1)! : pick(values);
  const y = pick(values);
  const names = (v: Value): string[] => (isTensor(v.type) ? v.type.axes.map((a) => a.name) : []);
  const shuffled = (list: string[]): string[] => list.map((n) => [next(), n] as const).sort((p, q) => p[0] - q[0]).map(([, n]) => n);
  const axes = (x.type as TensorType).axes;
  switch (Math.floor(next() * 18)) {
    case 0:
    case 1:
      return b.one(pick(unary), [x], {});
    case 2:
    case 3:
    case 4:
      return b.one(pick(binary), [x, y], {});
    case 5:
    case 6:
    case 7: {
      // A partner that shares an axis, another value where there is one: products are what most passes are about.
      const partners = values.filter((v) => v !== x && names(v).some((n) => names(x).includes(n)));
      if (partners.length === 0) return undefined;
      const other = pick(partners);
      const shared = shuffled(names(x).filter((n) => names(other).includes(n)));
      return b.mul(b.dot(x, other, shared.filter((_, i) => i === 0 || next() < 0.4)), 0.5);
    }
    case 8:
      return names(x).length ? b.sum(x, [pick(names(x))]) : undefined;
    case 9:
      return names(x).length ? b.mean(x, [pick(names(x))]) : undefined;
    case 10:
      return b.transpose(x, shuffled(names(x)));
    case 11:
      return names(x).length ? b.softmax(x, pick(names(x))) : undefined;
    case 12: {
      // Merge, work and split again: the merged axis' name tells its parts.
      if (axes.length < 2) return undefined;
      const at = Math.floor(next() * (axes.length - 1));
      const [p, q] = [axes[at]!, axes[at + 1]!];
      const merged = axis(`${p.name}${q.name}`, Number(p.size) * Number(q.size));
      const wide = b.reshape(x, [...axes.slice(0, at), merged, ...axes.slice(at + 2)]);
      return b.reshape(b.tanh(wide), axes);
    }
    case 13:
      return b.expand(x, [...pool.filter((a) => !names(x).includes(a.name) && next() < 0.5), ...axes]);
    case 14:
      return b.mul(x, pick([1, 0.5, -1, 2]));
    case 15: {
      const n = names(x)[0];
      if (n === undefined) return undefined;
      return b.add(b.cumsum(x, n, { exclusive: next() < 0.5, reverse: next() < 0.5 }), b.reverse(x, n));
    }
    case 16: {
      // Few of the e for each token, by mask, softmax over masked scores, or choice, of products that need not be linear.
      const [T, E, R, O] = pool.map((a) => [next(), a] as const).sort((p, q) => p[0] - q[0]).map(([, a]) => a) as [Axis, Axis, Axis, Axis];
      const made = (list: Axis[], phase: number): Value => b.table(Array.from({ length: list.reduce((n, a) => n * Number(a.size), 1) }, (_, k) => Math.sin(phase + k * k)), list);
      const tokens = next() < 0.5 ? [T] : [T, axis("t2", 2)];
      const scores = b.mul(made([E, ...tokens], 3), b.add(b.sigmoid(b.sum(x, names(x))), 1));
      const top = b.is_top(scores, E.name, 1 + Math.floor(next() * Number(E.size)));
      const gate = pick([
        (): Value => b.mul(b.softmax(scores, E.name), b.cast(top, "f32")),
        (): Value => b.softmax(b.select(top, scores, -1e9), E.name),
        (): Value => b.select(top, b.tanh(scores), 0),
        (): Value => ((kept) => b.div(kept, b.sum(kept, [E.name])))(b.mul(b.cast(top, "f32"), b.exp(scores))),
      ])();
      const h = b.dot(b.mul(made([R, ...tokens], 1), b.sum(x, names(x))), made([R, E, O], 2), [R.name]);
      const bent = pick([(): Value => h, (): Value => b.tanh(b.add(h, made([...tokens, O], 4))), (): Value => b.mul(b.sigmoid(h), made([O, E], 5)), (): Value => b.softmax(h, O.name)])();
      return b.sum(b.sum(b.mul(bent, gate), [E.name]), tokens.slice(1).map((a) => a.name));
    }
    default: {
      // Σe g·((x·A)·B): what the stacking pass is about.
      const [T, E, R, O] = pool.map((a) => [next(), a] as const).sort((p, q) => p[0] - q[0]).map(([, a]) => a) as [Axis, Axis, Axis, Axis];
      const made = (list: Axis[], phase: number): Value => b.table(Array.from({ length: list.reduce((n, a) => n * Number(a.size), 1) }, (_, k) => Math.sin(phase + k)), list);
      const h = b.mul(made([T, E, R], 1), b.sum(x, names(x)));
      const o = b.dot(h, made([R, E, O], 2), [R.name]);
      return b.sum(b.mul(b.div(o, 3), b.softmax(made([E, T], 3), E.name)), [E.name]);
    }
  }
}

function fill(b: Builder, values: Value[], next: () => number, count: number): void {
  for (let k = 0; k < count; k++) {
    const made = grow(b, values, next);
    if (made && isTensor(made.type)) values.push(made);
  }
}

/** A random module: `f` (root, scalar first result) calls `inner` and folds `turn`; all f32, well conditioned. */
export function randomModule(seed: number, size: number): Module {
  const next = numbers(seed);
  const m = new ModuleBuilder();
  const types = [0, 1, 2].map(() => tensor("f32", someAxes(next)));
  const [carried, shared, list] = types as [TensorType, TensorType, TensorType];
  const matched = (b: Builder, values: readonly Value[], type: TensorType): Value => {
    const base = values[values.length - 1]!;
    const scalarOf = b.tanh(weighed(b, base));
    const own = [...values].reverse().find((v) => isTensor(v.type) && v.type.axes.length === type.axes.length && v.type.axes.every((a) => type.axes.some((q) => q.name === a.name)));
    const value = own ? b.transpose(b.tanh(own), type.axes.map((a) => a.name)) : b.expand(scalarOf, type.axes);
    return b.add(value, b.mul(scalarOf, 0.1));
  };
  m.define("inner", (b) => {
    const values = [b.param(shared, "p"), b.param(list, "q")];
    fill(b, values, next, size);
    return [b.tanh(values.at(-1)!), values.at(-2)!];
  });
  m.define("turn", (b) => {
    const values = [b.param(carried, "x"), b.param(shared, "s")];
    b.param(shared, "unread");
    values.push(b.param(list, "w"));
    values.push(...b.call("inner", [values[1]!, values[2]!]));
    fill(b, values, next, size);
    return [matched(b, values, carried), b.tanh(values.at(-1)!), b.tanh(values.at(-2)!), b.sigmoid(values[1]!)];
  });
  m.define("f", (b) => {
    const [x, s, w] = [b.param(carried, "x"), b.param(shared, "s"), b.param(listOf(2, list), "w")];
    const reverse = next() < 0.5;
    const [y, total, seen] = b.fold({ fn: "turn", count: 2, carried: [x], shared: [s, s], lists: [w], summed: 1, reverse });
    const values = [x, s, y!, total!, b.element(seen!, 1), b.element(w, 0)];
    fill(b, values, next, size);
    const last = values.slice(-3).map((v) => weighed(b, b.tanh(v))).reduce((p, q) => b.add(p, q));
    return [last, b.tanh(values.at(-1)!), seen!];
  });
  return m.finish();
}

export const modules = fc.record({ seed: fc.integer({ min: 0, max: 2 ** 31 }), size: fc.integer({ min: 1, max: 9 }) });
