import { describe, expect, it } from "vitest";
import { type Builder, type Module, type Value, axis, interpret, listOf, numberType, tensor } from "../../src/ir/index.ts";
import { differentiate, optimize, postpone, simplify } from "../../src/passes/index.ts";
import { difference, finiteDifferences, moduleOf, numbers, randomArg, sound } from "./support.ts";

const [S, T, I, E] = [axis("s", 3), axis("t", 2000), axis("i", 4), axis("e", 2)];
const f = (...axes: (typeof S)[]) => tensor("f32", axes);
const count = 4;

/** Layers that pass `h` on, and compute terms from gates: a total, and a list. `term` is what is said of a layer's mass [s, e]. */
function layers(term: (b: Builder, mass: Value, gain: Value, shared: Value) => readonly [Value, Value]): Module {
  return moduleOf((m) => {
    m.define("layer", (b) => {
      const [i, h, shared, W, gain] = [b.param(numberType), b.param(f(S, T, I)), b.param(f(E)), b.param(f(I, E)), b.param(f(E))];
      const gates = b.softmax(b.dot(h, W, ["i"]), "e");
      const mass = b.sum(gates, ["t"]);
      const [total, listed] = term(b, mass, gain, shared);
      return [b.mul(b.tanh(h), b.add(b.mul(b.fill(i), 0.01), 1)), total, listed];
    });
    m.define("f", (b) => {
      const [h, shared, W, gain] = [b.param(f(S, T, I)), b.param(f(E)), b.param(listOf(count, f(I, E))), b.param(listOf(count, f(E)))];
      const [last, total, listed] = b.fold({ fn: "layer", count, carried: [h], shared: [shared], lists: [W, gain], summed: 1, index: true }) as [Value, Value, Value];
      return [b.add(b.sum(total, ["e"]), b.mean(last, ["s", "t", "i"])), b.element(listed, 2)];
    });
  });
}

/** The variation of the mass, weighed: with a leaf, a shared value, a layer's own, a reduction, a product, a reshape and an expand. */
const variation = (b: Builder, mass: Value, gain: Value, shared: Value): readonly [Value, Value] => {
  const centred = b.sub(mass, b.mean(mass, ["s", "e"]));
  const flat = b.reshape(b.mul(centred, gain), [axis("se", 6)]);
  const squares = b.reshape(b.mul(flat, flat), [S, E]);
  const spread = b.div(b.sum(squares, ["s"]), b.add(b.expand(b.sum(mass, ["s", "e"]), [E]), 1));
  return [b.mul(b.mul(spread, shared), b.extent([S])), b.dot(centred, b.table([1, 2, 3, 4], [E, axis("g", 2)]), ["e"])];
};

const turns = (module: Module): string[] => [...module.functions.values()].flatMap((fn) => (fn.name.startsWith("layer") ? fn.body.map((op) => op.op) : []));

function same(module: Module, made: Module): void {
  sound(made);
  const next = numbers(7);
  const args = module.functions.get("f")!.params.map((p) => randomArg(p.type, next));
  const [x, y] = [interpret(module, "f", args), interpret(made, "f", args)];
  x.forEach((v, n) => expect(difference(v, y[n]!)).toBeLessThan(1e-13));
}

describe("postpone", () => {
  it("computes after the layers what only totals and lists are made from, and is small", () => {
    const module = simplify(layers(variation));
    const made = simplify(postpone(module));
    same(module, made);
    expect(turns(made).sort()).toEqual(["constant", "constant", "add", "dot", "fill", "mul", "mul", "softmax", "sum", "tanh"].sort());
    // One packed value, the mass, and the layers' own gains.
    expect(made.functions.get("f")!.body.filter((op) => op.op === "pack")).toHaveLength(2);
    expect(made.functions.get("f")!.body.filter((op) => op.op === "unpack")).toHaveLength(1);
  });

  it("leaves what does not pay for packing", () => {
    const module = simplify(layers((b, mass) => ((total) => [total, total] as const)(b.sum(mass, ["s"]))));
    expect(turns(postpone(module))).toEqual(turns(module));
  });

  it("has gradients like any other graph", () => {
    const short = axis("t", 5);
    const module = moduleOf((m) => {
      m.define("layer", (b) => {
        const [h, W] = [b.param(f(S, short, I)), b.param(f(I, E))];
        const mass = b.sum(b.softmax(b.dot(h, W, ["i"]), "e"), ["t"]);
        const z = b.sub(mass, b.mean(mass, ["s", "e"]));
        return [b.tanh(h), b.div(b.sum(b.mul(z, z), ["s", "e"]), b.add(b.mul(b.mean(mass, ["s", "e"]), 3), 1))];
      });
      m.define("f", (b) => [b.fold({ fn: "layer", count, carried: [b.param(f(S, short, I))], lists: [b.param(listOf(count, f(I, E)))], summed: 1 })[1]!]);
    });
    const gradients = differentiate(postpone(simplify(module)), { fn: "f", of: 0, wrt: [0, 1], name: "g" }).module;
    const all = optimize(gradients, { transposeFlags: false, debug: true }).module;
    const next = numbers(3);
    const args = module.functions.get("f")!.params.map((p) => randomArg(p.type, next));
    const [, dh, dW] = interpret(all, "g", args);
    [dh!, dW!].forEach((g, at) => expect(difference(g, finiteDifferences(module, "f", args, 0, at))).toBeLessThan(1e-8));
  });
});
