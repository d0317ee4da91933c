import { describe, expect, it } from "vitest";
import { type Arg, type Module, type TensorType, axis, interpret, listOf, numberType, tensor } from "../../src/ir/index.ts";
import { differentiate } from "../../src/passes/differentiate.ts";
import { difference, finiteDifferences, moduleOf, numbers, randomArg, sound, weighed } from "./support.ts";

const i = axis("i", 2);
const j = axis("j", 3);
const k = axis("k", 3);
const f = (...axes: (typeof i)[]): TensorType => tensor("f32", axes);

function agrees(module: Module, fn: string, wrt: readonly number[], unreached: readonly number[] = []): Module {
  sound(module);
  const made = differentiate(module, { fn, of: 0, wrt, name: "g" });
  sound(made.module);
  expect(made.unreached).toEqual(unreached);
  const next = numbers(7);
  const args = module.functions.get(fn)!.params.map((p) => randomArg(p.type, next));
  const results = interpret(made.module, "g", args);
  interpret(module, fn, args).forEach((r, n) => expect(difference(results[n]!, r)).toBe(0));
  const count = module.functions.get(fn)!.results.length;
  wrt.forEach((at, n) => expect(difference(results[count + n]!, finiteDifferences(module, fn, args, 0, at))).toBeLessThan(2e-8));
  return made.module;
}

/** A layer with everything: the turn's number, two carried, two shared, two lists in, one summed, two lists out, a call. */
function layered(reverse: boolean): Module {
  return moduleOf((m) => {
    m.define("inner", (b) => {
      const [x, w] = [b.param(f(i, j), "x"), b.param(f(j, k), "w")];
      const h = b.tanh(b.dot(x, w, ["j"]));
      return [b.rename(h, ["k"], ["j"]), b.square(b.sum(h, ["k"]))];
    });
    m.define("layer", (b) => {
      const at = b.fill(b.param(numberType, "at"));
      const [x, n] = [b.param(f(i, j), "x"), b.param(f(i), "n")];
      const [scale, frozen] = [b.param(f(j), "scale"), b.param(f(j), "frozen")];
      const [w, v] = [b.param(f(j, k), "w"), b.param(f(j), "v")];
      const [h, s] = b.call("inner", [b.mul(x, b.add(b.mul(scale, frozen), at)), w]);
      const y = b.add(b.mul(h!, b.sigmoid(v)), x);
      return [y, b.add(n, b.mul(s!, 0.1)), b.sum(b.mul(y, y), ["i"]), b.mul(y, v), b.exp(b.mul(s!, -0.2))];
    });
    m.define("f", (b) => {
      const [x, scale, frozen] = [b.param(f(i, j), "x"), b.param(f(j), "scale"), b.param(f(j), "frozen")];
      const [w, v] = [b.param(listOf(3, f(j, k)), "w"), b.param(listOf(3, f(j)), "v")];
      const [y, n, total, seen, s] = b.fold({ fn: "layer", count: 3, carried: [x, b.sum(x, ["j"])], shared: [scale, frozen], lists: [w, v], summed: 1, index: true, reverse });
      const parts = [y!, n!, total!, b.element(seen!, 1), b.element(s!, 2), b.element(v, 0)].map((p) => weighed(b, p));
      return [parts.reduce((a, p) => b.add(a, p)), b.mul(y!, 2)];
    });
  });
}

describe("differentiation of functions", () => {
  it("calls: shared parts of one function called twice", () => {
    const module = moduleOf((m) => {
      m.define("square_of_sum", (b) => ((x, y) => [b.square(b.add(x, y)), x])(b.param(f(i)), b.param(f(i, j))));
      m.define("f", (b) => {
        const [x, y] = [b.param(f(i)), b.param(f(i, j))];
        const [s, copy] = b.call("square_of_sum", [x, y]);
        const [t] = b.call("square_of_sum", [b.mul(copy!, 2), s!]);
        return [b.add(weighed(b, t!), weighed(b, s!))];
      });
    });
    agrees(module, "f", [0, 1]);
    agrees(module, "f", [1]);
  });

  for (const reverse of [false, true]) {
    it(`folds${reverse ? " in reverse" : ""}: index, carried, shared, summed, lists, a call inside`, () => {
      agrees(layered(reverse), "f", [0, 1, 2, 3, 4]);
    });
    it(`folds${reverse ? " in reverse" : ""}: a frozen operand's gradient is nowhere`, () => {
      const all = agrees(layered(reverse), "f", [0, 1, 2, 3, 4]);
      const some = agrees(layered(reverse), "f", [1, 4]);
      const dots = (m: Module): number => [...m.functions.values()].flatMap((fn) => fn.body).filter((op) => op.op === "dot").length;
      // inner and inner_forward have one dot each; backward has one for x and one for w, or only one for x.
      expect([dots(all), dots(some)]).toEqual([4, 3]);
    });
  }

  it("keeps a product's input only where its weight has a gradient", () => {
    const module = moduleOf((m) => {
      m.define("turn", (b) => ((x, w) => [b.rename(b.tanh(b.dot(x, w, ["j"])), ["k"], ["j"])])(b.param(f(i, j)), b.param(f(j, k))));
      m.define("f", (b) => [weighed(b, b.fold({ fn: "turn", count: 3, carried: [b.param(f(i, j))], lists: [b.param(listOf(3, f(j, k)))] })[0]!)]);
    });
    const kept = (wrt: number[]): number => agrees(module, "f", wrt).functions.get("turn_forward")!.results.length - 1;
    expect([kept([0]), kept([1]), kept([0, 1])]).toEqual([1, 2, 2]);
  });

  it("makes again what follows cheaply from what is kept", () => {
    const module = moduleOf((m) => {
      // silu(a) * c: a, sigmoid(a) and c are kept, a * sigmoid(a) is not.
      m.define("turn", (b) => ((x, w) => { const a = b.mul(x, w); const c = b.sin(x); return [b.mul(b.mul(a, b.sigmoid(a)), c)]; })(b.param(f(i, j)), b.param(f(j))));
      m.define("f", (b) => [weighed(b, b.fold({ fn: "turn", count: 2, carried: [b.param(f(i, j))], lists: [b.param(listOf(2, f(j)))] })[0]!)]);
    });
    const made = agrees(module, "f", [0, 1]);
    // x (a is x * w), sigmoid(a), sin(x).
    expect(made.functions.get("turn_forward")!.results.length - 1).toBe(3);
  });

  it("a draw in each turn is kept, not drawn again", () => {
    const module = moduleOf((m) => {
      m.define("turn", (b) => {
        const layer = b.param(numberType, "layer");
        const [x, seed, step, w] = [b.param(f(i, j), "x"), b.param(numberType, "seed"), b.param(numberType, "step"), b.param(f(j), "w")];
        const mask = b.mul(b.cast(b.lt(b.random(seed, step, layer, 1, [i, j]), 0.5), "f32"), 2);
        return [b.tanh(b.mul(b.mul(x, mask), w))];
      });
      m.define("f", (b) => {
        const [x, seed, step, w] = [b.param(f(i, j)), b.param(numberType), b.param(numberType), b.param(listOf(2, f(j)))];
        return [weighed(b, b.fold({ fn: "turn", count: 2, carried: [x], shared: [seed, step], lists: [w], index: true })[0]!)];
      });
    });
    const made = differentiate(module, { fn: "f", of: 0, wrt: [0, 3], name: "g" }).module;
    sound(made);
    expect(made.functions.get("turn_backward")!.body.some((op) => op.op === "random")).toBe(false);
    const draw = (out: Float32Array, seed: number, step: number, stream: number): void => {
      const next = numbers(seed * 1000 + step * 100 + stream);
      for (let k = 0; k < out.length; k++) out[k] = next();
    };
    const random = { uniform: draw, normal: draw };
    const next = numbers(9);
    const args = module.functions.get("f")!.params.map((p) => randomArg(p.type, next));
    const results = interpret(made, "g", args, { random });
    [0, 3].forEach((at, n) => expect(difference(results[1 + n]!, finiteDifferences(module, "f", args, 0, at, 1e-3, { random }))).toBeLessThan(2e-8));
  });

  it("a carried value that is overwritten, and one that nothing reads", () => {
    const module = moduleOf((m) => {
      m.define("turn", (b) => {
        const [x, y, z, w] = [b.param(f(i)), b.param(f(i)), b.param(f(i)), b.param(f(i))];
        return [b.mul(y, w), b.mul(x, x), b.add(z, w)];
      });
      m.define("f", (b) => {
        const [x, y, z, w] = [b.param(f(i)), b.param(f(i)), b.param(f(i)), b.param(listOf(3, f(i)))];
        const [p] = b.fold({ fn: "turn", count: 3, carried: [x, y, z], lists: [w] });
        return [weighed(b, p!)];
      });
    });
    agrees(module, "f", [0, 1, 2, 3], [2]);
    agrees(module, "f", [3]);
    const made = agrees(module, "f", [2], [2]);
    expect(made.functions.has("turn_backward")).toBe(false);
  });

  it("a fold inside a fold: the inner one runs again in backward", () => {
    const module = moduleOf((m) => {
      m.define("step", (b) => ((x, w) => [b.tanh(b.mul(x, w)), b.square(x)])(b.param(f(i)), b.param(f(i))));
      m.define("outer", (b) => {
        const [x, v, w] = [b.param(f(i)), b.param(listOf(2, f(i))), b.param(f(i))];
        const [y, squares] = b.fold({ fn: "step", count: 2, carried: [b.mul(x, w)], lists: [v] });
        return [b.add(y!, b.element(squares!, 1))];
      });
      m.define("f", (b) => {
        const [x, v, w] = [b.param(f(i)), b.param(listOf(2, f(i))), b.param(listOf(3, f(i)))];
        return [weighed(b, b.fold({ fn: "outer", count: 3, carried: [x], shared: [v.type.kind === "list" ? v : x], lists: [w] })[0]!)];
      });
    });
    sound(module);
    expect(() => differentiate(module, { fn: "f", of: 0, wrt: [1], name: "g" })).toThrow(/a list shared by all turns/);
    agrees(module, "f", [0, 2]);
  });

  it("a list used by two folds and by elements", () => {
    const module = moduleOf((m) => {
      m.define("turn", (b) => ((x, w, v) => [b.sin(b.add(b.mul(x, w), v))])(b.param(f(i)), b.param(f(i)), b.param(f(i))));
      m.define("f", (b) => {
        const [x, w] = [b.param(f(i)), b.param(listOf(3, f(i)))];
        const [y] = b.fold({ fn: "turn", count: 3, carried: [x], lists: [w, w] });
        const [z] = b.fold({ fn: "turn", count: 3, carried: [y!], lists: [w, b.list([x, b.element(w, 2), y!])], reverse: true });
        return [b.add(weighed(b, z!), weighed(b, b.element(w, 1)))];
      });
    });
    agrees(module, "f", [0, 1]);
  });

  it("keeps no more than x, the stacked product and the gates' product for a mixture of rank-1 updates", () => {
    const T = axis("t", 5);
    const module = moduleOf((m) => {
      m.define("site", (b) => {
        const [x, W, A, B, g] = [b.param(f(T, j), "x"), b.param(f(j, axis("o", 3)), "W"), b.param(f(j, axis("e", 2), axis("r", 2)), "A"), b.param(f(axis("e", 2), axis("r", 2), axis("o", 3)), "B"), b.param(f(T, axis("e", 2)), "g")];
        const h = b.dot(x, A, ["j"]);
        const u = b.dot(b.mul(h, g), B, ["e", "r"]);
        return [b.rename(b.add(b.dot(x, W, ["j"]), u), ["o"], ["j"])];
      });
      m.define("f", (b) => {
        const lists = [f(j, axis("o", 3)), f(j, axis("e", 2), axis("r", 2)), f(axis("e", 2), axis("r", 2), axis("o", 3))].map((t) => b.param(listOf(2, t)));
        const [x, g] = [b.param(f(T, j)), b.param(f(T, axis("e", 2)))];
        return [weighed(b, b.fold({ fn: "site", count: 2, carried: [x], shared: [], lists: [...lists, b.list([g, g])] })[0]!)];
      });
    });
    const made = differentiate(module, { fn: "f", of: 0, wrt: [1, 2], name: "g" }).module;
    sound(made);
    const forward = made.functions.get("site_forward")!;
    const kept = forward.results.slice(1).map((v) => (v.type.kind === "tensor" ? v.type.axes.map((a) => a.name).join(",") : ""));
    // x for A's gradient, and h*g for B's; h alone would only be wanted for the gates' gradient.
    expect(kept.sort()).toEqual(["t,e,r", "t,j"]);
    // x's through W and through A, A's, h*g's, B's; none for W.
    expect(made.functions.get("site_backward")!.body.filter((op) => op.op === "dot").length).toBe(5);
    const next = numbers(3);
    const args: readonly Arg[] = module.functions.get("f")!.params.map((p) => randomArg(p.type, next));
    const results = interpret(made, "g", args);
    [1, 2].forEach((at, n) => expect(difference(results[1 + n]!, finiteDifferences(module, "f", args, 0, at))).toBeLessThan(2e-8));
  });
});
