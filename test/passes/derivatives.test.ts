import { describe, expect, it } from "vitest";
import { type Arg, type Builder, type OpName, type Type, type Value, axis, interpret, ops, scalar, tensor } from "../../src/ir/index.ts";
import { derivatives } from "../../src/passes/derivatives.ts";
import { differentiate } from "../../src/passes/differentiate.ts";
import { difference, finiteDifferences, moduleOf, numbers, randomArg, sound, weighed } from "./support.ts";

const i = axis("i", 2);
const j = axis("j", 3);
const k = axis("k", 4);
const f = (...axes: (typeof i)[]): Type => tensor("f32", axes);
const ints = (...axes: (typeof i)[]): Type => tensor("i32", axes);

/** Six rows in three groups, one of them empty. */
const counts = (b: Builder): Value => b.table([4, 0, 2], [j], "i32");
/** Three tokens j with two choices each among four. */
const moved = (b: Builder, write: (token: Value, place: Value) => Value): Value => {
  const { token, place } = b.dispatch(b.table([0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1], [j, axis("e", 4)], "bool"), "e", axis("slot", 2), axis("rows", 6));
  return write(token, place);
};

interface Case {
  readonly params: readonly Type[];
  readonly write: (b: Builder, p: readonly Value[]) => Value;
  /** Bounds of the arguments, where the op is not smooth everywhere. */
  readonly low?: number;
  readonly high?: number;
}

const unary = (op: OpName, low = -1.5, high = 1.5): Case[] => [{ params: [f(i, j)], write: (b, [x]) => b.one(op, [x!], {} as never), low, high }];
/** Equal axes, broadcasts of each side, crossed order, a scalar, and an outer product. */
const binary = (op: OpName, low = -1.5, high = 1.5): Case[] =>
  [[f(i, j), f(i, j)], [f(i, j), f(j)], [f(j), f(i, j)], [f(i, j), f(j, i)], [scalar(), f(i, j)], [f(i), f(j)]].map((params) => ({
    params,
    write: (b: Builder, [x, y]: readonly Value[]) => b.one(op, [x!, y!], {} as never),
    low,
    high,
  }));

const cases: { readonly [K in OpName]?: readonly Case[] } = {
  neg: unary("neg"),
  abs: [...unary("abs", 0.2), ...unary("abs", -2, -0.2)],
  exp: unary("exp"),
  log: unary("log", 0.3),
  log1p: unary("log1p", 0.3),
  sqrt: unary("sqrt", 0.3),
  rsqrt: unary("rsqrt", 0.3),
  reciprocal: unary("reciprocal", 0.5),
  square: unary("square"),
  sigmoid: unary("sigmoid"),
  tanh: unary("tanh"),
  relu: [...unary("relu", 0.1), ...unary("relu", -1, -0.1)],
  softplus: unary("softplus"),
  sin: unary("sin"),
  cos: unary("cos"),
  erf: unary("erf"),
  add: binary("add"),
  sub: binary("sub"),
  mul: [...binary("mul"), { params: [f(i, j)], write: (b, [x]) => b.mul(x!, x!) }],
  div: binary("div", 0.5),
  pow: binary("pow", 0.5),
  max: binary("max"),
  min: binary("min"),
  select: [
    { params: [f(i, j), f(j)], write: (b, [x, y]) => b.select(b.table([1, 0], [i], "bool"), x!, y!) },
    { params: [f(j), f(i)], write: (b, [x, y]) => b.select(b.table([1, 0, 0, 1, 1, 0], [i, j], "bool"), x!, y!) },
  ],
  copy: unary("copy"),
  sum: [{ params: [f(i, j, k)], write: (b, [x]) => b.sum(x!, ["k", "i"]) }],
  mean: [{ params: [f(i, j, k)], write: (b, [x]) => b.mean(x!, ["j", "i"]) }],
  reduce_max: [{ params: [f(i, j, k)], write: (b, [x]) => b.reduce_max(x!, ["j", "k"]) }],
  dot: [
    { params: [f(i, j), f(j, k)], write: (b, [x, y]) => b.dot(x!, y!, ["j"]) },
    { params: [f(j, i), f(k, j)], write: (b, [x, y]) => b.dot(x!, y!, ["j"]) },
    { params: [f(i, j, k), f(k, axis("n", 2), j)], write: (b, [x, y]) => b.dot(x!, y!, ["k", "j"]) },
    { params: [f(i, j, k), f(k, i, axis("n", 2))], write: (b, [x, y]) => b.dot(x!, y!, ["k"]) },
    { params: [f(i, j), f(j, i)], write: (b, [x, y]) => b.dot(x!, y!, ["j"]) },
    { params: [f(i, j), f(j)], write: (b, [x, y]) => b.dot(x!, y!, ["j"]) },
    { params: [f(i, j), f(k, i)], write: (b, [x, y]) => b.dot(x!, y!, []) },
  ],
  rename: [{ params: [f(i, j)], write: (b, [x]) => b.rename(x!, ["j", "i"], ["p", "q"]) }],
  transpose: [{ params: [f(i, j, k)], write: (b, [x]) => b.transpose(x!, ["k", "i", "j"]) }],
  reshape: [{ params: [f(i, j, k)], write: (b, [x]) => b.reshape(x!, [axis("p", 6), axis("q", 4)]) }],
  expand: [{ params: [f(j)], write: (b, [x]) => b.expand(x!, [i, j, k]) }, { params: [f(j, i)], write: (b, [x]) => b.expand(x!, [i, k, j]) }],
  slice: [{ params: [f(i, k)], write: (b, [x]) => b.slice(x!, "k", 1, axis("p", 2)) }],
  pad: [{ params: [f(i, j)], write: (b, [x]) => b.pad(x!, "j", 1, 2, axis("p", 6)) }],
  concat: [{ params: [f(i, j), f(i, k), f(i, axis("p", 1))], write: (b, p) => b.concat(p, ["j", "k", "p"], axis("q", 8)) }],
  reverse: [{ params: [f(i, j)], write: (b, [x]) => b.reverse(x!, "j") }],
  gather: [
    { params: [f(j, k), ints(i, axis("s", 3))], write: (b, [x, at]) => b.gather(x!, at!, "j") },
    { params: [f(k, j), ints(i)], write: (b, [x, at]) => b.gather(x!, at!, "j") },
  ],
  scatter_add: [{ params: [ints(i, axis("s", 3)), f(i, axis("s", 3), k)], write: (b, [at, x]) => b.scatter_add(at!, x!, j) }],
  spread: [{ params: [f(k, j)], write: (b, [x]) => moved(b, (token, place) => b.spread(x!, token, place)) }],
  collect: [{ params: [f(axis("rows", 6), k)], write: (b, [x]) => moved(b, (token, place) => b.collect(x!, token, place)) }],
  grouped_dot: [
    { params: [f(axis("rows", 6), k), f(k, i, j)], write: (b, [x, y]) => b.grouped_dot(x!, y!, counts(b), ["k"]) },
    { params: [f(k, axis("rows", 6), i), f(j, i, axis("n", 2), k, axis("m", 2))], write: (b, [x, y]) => b.grouped_dot(x!, y!, counts(b), ["k", "i"]) },
  ],
  grouped_outer: [{ params: [f(axis("rows", 6), k), f(i, axis("rows", 6), axis("n", 2))], write: (b, [x, y]) => b.grouped_outer(x!, y!, counts(b)) }],
  cumsum: [
    { params: [f(i, k)], write: (b, [x]) => b.cumsum(x!, "k") },
    { params: [f(k, i)], write: (b, [x]) => b.cumsum(x!, "k", { exclusive: true, reverse: true }) },
  ],
  softmax: [{ params: [f(i, j, k)], write: (b, [x]) => b.softmax(x!, "j") }],
  log_softmax: [{ params: [f(i, j, k)], write: (b, [x]) => b.log_softmax(x!, "j") }],
  pack: [{ params: [f(i, j), f(i, j)], write: (b, [x, y]) => b.pack(b.list([x!, b.mul(x!, y!)]), axis("layer", 2)) }],
  unpack: [{ params: [f(i, j)], write: (b, [x]) => ((l) => b.mul(b.element(l, 0), b.element(l, 1)))(b.unpack(x!, "j")) }],
  list: [{ params: [f(i), f(i)], write: (b, [x, y]) => b.element(b.list([x!, b.mul(x!, y!), y!]), 1) }],
  element: [{ params: [f(i), f(i)], write: (b, [x, y]) => ((l) => b.mul(b.element(l, 0), b.element(l, 2)))(b.list([x!, y!, b.add(x!, y!)])) }],
};

/** Ops tested in functions.test.ts. */
const functions: readonly OpName[] = ["call", "fold"];

describe("derivatives", () => {
  it("has a case here for every op with a derivative", () => {
    const missing = (Object.keys(ops) as OpName[]).filter((op) => derivatives[op] !== "none" && !cases[op] && !functions.includes(op));
    expect(missing).toEqual([]);
  });

  for (const [op, list] of Object.entries(cases))
    list.forEach((c, n) =>
      it(`${op} ${n}: every operand's agrees with central differences`, () => {
        const module = moduleOf((m) => m.define("f", (b) => [weighed(b, c.write(b, c.params.map((t) => b.param(t))))]));
        const wrt = c.params.flatMap((t, at) => (t.kind === "tensor" && t.dtype === "f32" ? [at] : []));
        const { module: made, unreached } = differentiate(module, { fn: "f", of: 0, wrt, name: "g" });
        sound(made);
        if (op !== "select") expect(unreached).toEqual([]);
        const next = numbers(n + op.length * 100);
        const args = c.params.map((t) => randomArg(t, next, c.low, c.high));
        const results = interpret(made, "g", args);
        expect(difference(results[0]!, interpret(module, "f", args)[0]!)).toBe(0);
        wrt.forEach((at, r) => expect(difference(results[1 + r]!, finiteDifferences(module, "f", args, 0, at))).toBeLessThan(2e-8));
      }));

  const gradientOf = (write: (b: Builder, x: Value) => Value, values: readonly number[]): readonly number[] => {
    const axes = [axis("i", values.length)];
    const module = moduleOf((m) => m.define("f", (b) => [b.sum(write(b, b.param(tensor("f32", axes))), ["i"])]));
    const arg: Arg = { dtype: "f32", axes: [{ name: "i", size: values.length }], data: Float64Array.from(values) };
    const made = differentiate(module, { fn: "f", of: 0, wrt: [0], name: "g" }).module;
    return [...(interpret(made, "g", [arg])[1] as { data: Float64Array }).data].map((v) => v + 0);
  };

  it("shares ties evenly, as torch.maximum, torch.minimum and torch.amax do", () => {
    expect(gradientOf((b, x) => b.max(x, 1), [0, 1, 2])).toEqual([0, 0.5, 1]);
    expect(gradientOf((b, x) => b.min(x, 1), [0, 1, 2])).toEqual([1, 0.5, 0]);
    expect(gradientOf((b, x) => b.expand(b.reduce_max(x, ["i"]), [axis("i", 4)]), [3, 1, 3, 3])).toEqual([4 / 3, 0, 4 / 3, 4 / 3]);
  });

  it("is PyTorch's at the edges of relu, abs and pow", () => {
    expect(gradientOf((b, x) => b.relu(x), [-1, 0, 1])).toEqual([0, 0, 1]);
    expect(gradientOf((b, x) => b.abs(x), [-1, 0, 1])).toEqual([-1, 0, 1]);
    expect(gradientOf((b, x) => b.pow(x, 0), [0, 2])).toEqual([0, 0]);
    expect(gradientOf((b, x) => b.pow(b.table([0, 2], [axis("i", 2)]), x), [2, 1])).toEqual([0, 2 * Math.log(2)]);
  });

  it("cuts the gradient at stop, and at what is not continuous", () => {
    expect(gradientOf((b, x) => b.mul(b.stop(x), x), [2, 3])).toEqual([2, 3]);
    const module = moduleOf((m) => m.define("f", (b) => ((x) => [b.sum(b.cast(b.is_top(x, "i", 1), "f32"), ["i"])])(b.param(f(i)))));
    const { module: made, unreached } = differentiate(module, { fn: "f", of: 0, wrt: [0], name: "g" });
    expect(unreached).toEqual([0]);
    sound(made);
    const arg = randomArg(f(i), numbers(1));
    expect([...(interpret(made, "g", [arg])[1] as { data: Float64Array }).data]).toEqual([0, 0]);
  });
});
