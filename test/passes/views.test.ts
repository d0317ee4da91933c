import { describe, expect, it } from "vitest";
import { type Arg, type Builder, type Module, type Value, axis, interpret, tensor } from "../../src/ir/index.ts";
import { layout, mergeRows, simplify } from "../../src/passes/index.ts";
import { difference, moduleOf, numbers, randomArg, sound } from "./support.ts";

const [S, P, I, E, R, O] = [axis("sample"), axis("position"), axis("i", 6), axis("e", 2), axis("r", 3), axis("o", 5)];
const f32 = (...axes: (typeof S)[]) => tensor("f32", axes);

/** Reshapes before and after the pass; the numbers are the same. */
function reshapes(write: (b: Builder, x: Value) => readonly Value[]): readonly [number, number] {
  const module = moduleOf((m) => m.define("f", (b) => write(b, b.param(f32(S, P, I)))));
  const before = simplify(layout(module, { transposeFlags: false }).module);
  const after = simplify(mergeRows(before));
  sound(after);
  const next = numbers(2);
  const sizes = { sample: 2, position: 4 };
  const args = module.functions.get("f")!.params.map((p): Arg => randomArg(p.type, next, -1, 1, sizes));
  const [x, y] = [interpret(before, "f", args), interpret(after, "f", args)];
  x.forEach((v, i) => expect(difference(v, y[i]!)).toBe(0));
  const count = (m: Module): number => m.functions.get("f")!.body.filter((op) => op.op === "reshape").length;
  return [count(before), count(after)];
}

describe("merged rows", () => {
  it("go from product to product: only what comes in, what goes out and what has axes of its own is reshaped", () => {
    const [before, after] = reshapes((b, x) => {
      const gates = b.softmax(b.dot(x, b.param(f32(I, E)), ["i"]), "e");
      const h = b.mul(b.mul(b.dot(x, b.param(f32(I, E, R)), ["i"]), 2), gates);
      const y = b.add(b.dot(x, b.param(f32(I, O)), ["i"]), b.dot(h, b.param(f32(E, R, O)), ["e", "r"]));
      return [b.add(b.sigmoid(y), b.param(f32(O)))];
    });
    // After: x, A and B as matrices, h as [rows, e, r] and back, the result. Before: the gates, and each summand, too.
    expect([before, after]).toEqual([8, 6]);
  });

  it("stay split where another operand has the axes of its own, and where the op works along one", () => {
    const kept = (write: (b: Builder, y: Value) => Value): void => {
      const [before, after] = reshapes((b, x) => [write(b, b.dot(x, b.param(f32(I, O)), ["i"]))]);
      expect(after).toBe(before);
    };
    kept((b, y) => b.mul(y, b.param(f32(S, P, O))));
    kept((b, y) => b.mul(y, b.param(f32(S))));
    kept((b, y) => b.sum(y, ["position"]));
    kept((b, y) => b.cumsum(y, "position"));
    kept((b, y) => b.slice(b.softmax(b.mul(y, b.param(f32(P))), "o"), "o", 1, axis("part", 2)));
  });
});
