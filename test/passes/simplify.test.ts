import { describe, expect, it } from "vitest";
import { type Builder, type Module, type Value, axis, interpret, listOf, numberType, tensor } from "../../src/ir/index.ts";
import { simplify } from "../../src/passes/index.ts";
import { difference, moduleOf, numbers, randomArg, sound } from "./support.ts";

const i = axis("i", 2);
const j = axis("j", 3);
const f = (...axes: (typeof i)[]) => tensor("f32", axes);

function simplified(module: Module, fn = "f", options = {}): Module {
  sound(module);
  const made = simplify(module, options);
  sound(made);
  const next = numbers(4);
  const args = module.functions.get(fn)!.params.map((p) => randomArg(p.type, next));
  const [x, y] = [interpret(module, fn, args), interpret(made, fn, args)];
  x.forEach((v, n) => expect(difference(v, y[n]!)).toBeLessThan(1e-14));
  return made;
}

/** The ops that are left of a function of x and y. */
function left(write: (b: Builder, x: Value, y: Value) => readonly Value[], options = {}): string {
  const module = moduleOf((m) => m.define("f", (b) => write(b, b.param(f(i, j)), b.param(f(j)))));
  return simplified(module, "f", options).functions.get("f")!.body.map((op) => op.op).join(" ");
}

describe("simplify", () => {
  it("removes identities", () => {
    expect(left((b, x) => [b.tanh(b.mul(b.add(x, 0), 1))])).toBe("tanh");
    expect(left((b, x) => [b.tanh(b.neg(b.neg(b.div(b.sub(x, 0), 1))))])).toBe("tanh");
    expect(left((b, x) => [b.tanh(b.pow(x, 1)), b.pow(x, 2)])).toBe("tanh square");
    expect(left((b, x, y) => [b.add(x, b.neg(y)), b.sub(x, b.neg(y))])).toBe("sub add");
    expect(left((b, x) => [b.tanh(b.transpose(b.transpose(x, ["j", "i"]), ["i", "j"]))])).toBe("tanh");
    expect(left((b, x) => [b.reshape(b.reshape(x, [axis("p", 6)]), [axis("q", 3), axis("r", 2)])])).toBe("reshape");
    expect(left((b, x) => [b.tanh(b.rename(b.rename(x, ["i", "j"], ["p", "q"]), ["q", "p"], ["j", "i"]))])).toBe("tanh");
    expect(left((b, x) => [b.tanh(b.element(b.list([x, b.sin(x)]), 0))])).toBe("tanh");
  });

  it("does not take an identity where it would change a type", () => {
    expect(left((b, _, y) => [b.add(y, b.expand(0, [i, j]))])).toBe("constant expand add");
    expect(left((b, x, y) => [b.mul(y, b.expand(1, [i, j])), x])).toBe("constant expand mul copy");
  });

  it("folds constants and scales, drops expands that broadcasting makes", () => {
    expect(left((b, x) => [b.mul(x, b.sqrt(b.add(b.constant(3), 6)))])).toBe("constant mul");
    expect(left((b, x) => [b.mul(b.mul(x, 2), 3)])).toBe("constant mul");
    expect(left((b, x, y) => [b.mul(x, b.expand(y, [i, j]))])).toBe("mul");
    // What is no number is left for run time.
    expect(left((b, x) => [b.select(b.lt(x, 100), x, b.log(b.constant(-1)))])).toContain("log");
  });

  it("removes repetitions and what nothing reads, but never merges results", () => {
    expect(left((b, x) => { b.exp(x); return [b.add(b.tanh(x), b.tanh(x))]; })).toBe("tanh add");
    expect(left((b, x) => [b.tanh(x), b.tanh(x)])).toBe("tanh copy");
    expect(left((b, x) => [b.cast(b.lt(x, Infinity), "f32"), b.cast(b.lt(x, -Infinity), "f32")])).toBe("constant lt cast constant lt cast");
  });

  it("keeps stops unless told", () => {
    expect(left((b, x) => [b.tanh(b.stop(x))])).toBe("stop tanh");
    expect(left((b, x) => [b.tanh(b.stop(x))], { dropStops: true })).toBe("tanh");
  });

  /** A fold with an unread carried value, list, shared value, sum and number, and with work that depends on shared values alone. */
  const wasteful = moduleOf((m) => {
    m.define("turn", (b) => {
      b.param(numberType, "index");
      const [x, dead, s, unread] = [b.param(f(i, j), "x"), b.param(f(j), "dead"), b.param(f(j), "s"), b.param(f(j), "unread")];
      const [w, v] = [b.param(f(j), "w"), b.param(f(j), "v")];
      const invariant = b.cos(b.mul(s, b.index(j, "f32")));
      return [b.tanh(b.mul(b.add(x, w), invariant)), b.add(dead, v), b.sum(b.mul(x, unread), ["i"]), b.sin(x)];
    });
    m.define("f", (b) => {
      const [x, d, s] = [b.param(f(i, j)), b.param(f(j)), b.param(f(j))];
      const [w, v] = [b.param(listOf(4, f(j))), b.param(listOf(4, f(j)))];
      const [y] = b.fold({ fn: "turn", count: 4, carried: [x, d], shared: [s, d], lists: [w, v], summed: 1, index: true });
      return [y!];
    });
  });

  it("narrows a fold to what is read, and computes invariants once", () => {
    const made = simplified(wasteful);
    const turn = made.functions.get("turn")!;
    expect(turn.params.map((p) => p.type)).toEqual([f(i, j), f(j), f(j)]);
    expect(turn.body.map((op) => op.op)).toEqual(["add", "mul", "tanh"]);
    const fold = made.functions.get("f")!.body.find((op) => op.op === "fold")!;
    expect(fold.attributes).toEqual({ fn: "turn", count: 4, carried: 1, shared: 1, summed: 0, index: false, reverse: false });
    expect(made.functions.get("f")!.body.map((op) => op.op)).toEqual(["index", "mul", "cos", "fold"]);
    expect(made.functions.get("f")!.params.length).toBe(5);
  });

  it("changes nothing the second time", () => {
    const once = simplify(wasteful);
    const shape = (m: Module): unknown => [...m.functions.values()].map((fn) => [fn.name, fn.params.length, fn.body.map((op) => op.op)]);
    expect(shape(simplify(once))).toEqual(shape(once));
  });
});
