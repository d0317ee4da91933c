import { describe, expect, it } from "vitest";
import { type Builder, type Module, ModuleBuilder, type Origin, type Value, axis, numberType, tensor } from "../../src/ir/index.ts";
import { type DispatchOptions, dispatch, explainStacking, simplify, stack, type PlaceExplanation } from "../../src/passes/index.ts";

const [T, I, O, E, R] = [axis("t", 512), axis("i", 64), axis("o", 96), axis("e", 4), axis("r", 4)];
const f32 = (...axes: (typeof T)[]) => tensor("f32", axes);
const at = (line: number, ...path: string[]): Origin => ({ file: "a.moe", start: 0, end: 1, line, path });

/** Two linears of one input, "block.one" and "block.two", each a router and experts whose output `bend` may bend. */
function module(bend: (b: Builder, y: Value) => Value, input: (b: Builder, x: Value, draw: () => Value) => Value, choose = (b: Builder, scores: Value): Value => b.softmax(scores, "e")): Module {
  const m = new ModuleBuilder();
  m.define("f", (b) => {
    const x = b.param(f32(T, I), "x");
    const numbers = ["seed", "step", "draw"].map((n) => b.param(numberType, n)) as [Value, Value, Value];
    const results = ["one", "two"].map((name, stream) => {
      const [W, A, B] = [b.param(f32(I, E)), b.param(f32(I, E, R)), b.param(f32(E, R, O))];
      const gates = b.at(at(1, "block", name, "router"), () => choose(b, b.dot(x, W, ["i"])));
      return b.at(at(2, "block", name, "experts"), () => {
        const seen = input(b, x, () => b.random(...numbers, stream, [T, I]));
        return b.sum(b.mul(bend(b, b.dot(b.dot(seen, A, ["i"]), B, ["r"])), gates), ["e"]);
      });
    });
    return results;
  });
  m.entry("train", { fn: "f", params: ["x", "seed", "step", "draw", "W", "A", "B", "W2", "A2", "B2"].map((name) => ({ kind: "input", name }) as const), results: ["one", "two"].map((name) => ({ kind: "output", name }) as const) });
  return m.finish();
}

function explained(source: Module, options: DispatchOptions = {}): readonly PlaceExplanation[] {
  const before = simplify(source);
  const sorted = dispatch(before, options);
  const { module: after, report } = stack(sorted.module);
  return explainStacking({ before, after, report, dispatch: sorted.report }, "train", ["block.one", "block.two"]);
}

describe("what stacking says of its work", () => {
  it("places that a rewrite joined are one, with its costs; nothing is left", () => {
    const places = explained(module((_, y) => y, (_, x) => x));
    expect(places.map((p) => [p.places, p.turns, p.left])).toEqual([[["block.one", "block.two"], 1, []]]);
    expect(places[0]!.rewrites).toEqual([{ rule: 1, count: 2 }, { rule: 2, count: 2 }, { rule: 5, count: 1 }]);
    expect(places[0]!.after.flops).toBeLessThan(places[0]!.before.flops);
    // Four outputs of experts are no longer made, nor read twice, nor the input three times more.
    expect(places[0]!.before.bytes - places[0]!.after.bytes).toBeGreaterThan(4 * (2 * 3 * 512 * 4 * 96 + 3 * 512 * 64));
  });

  it("an expert that is not linear in its rank: the sum over experts stays, and it says what stands in the way", () => {
    const places = explained(module((b, y) => b.at(at(7, "block", "one", "experts"), () => b.tanh(y)), (_, x) => x));
    const left = places.flatMap((p) => p.left);
    expect(left.map((l) => l.reason)).toEqual(["the sum over e stays: tanh stands between it and the product, which is not linear in what the product sums over"]);
    expect(left[0]!.origin?.line).toBe(7);
    expect(places[0]!.rewrites.map((r) => r.rule)).toEqual([5]);
  });

  it("an input under a dropout mask: the router's product stays apart from the experts'", () => {
    const places = explained(module((_, y) => y, (b, x, draw) => b.mul(x, b.cast(b.lt(draw(), 0.9), "f32"))));
    for (const p of places) expect(p.left.map((l) => l.reason)).toContain("2 products over i stay apart: one reads the input under a dropout mask");
  });

  it("says of each place whether tokens are sorted by expert, what was weighed, and why not where no number bounds the gates", () => {
    const top = (b: Builder, scores: Value): Value => b.softmax(b.select(b.is_top(scores, "e", 1), scores, -1e9), "e");
    const bent = (b: Builder, y: Value): Value => b.at(at(7, "block", "one", "experts"), () => b.tanh(y));
    const [place] = explained(module(bent, (_, x) => x, top), { dispatch: "always" });
    expect(place!.dispatch.map(({ axis: name, of, k, sorted, origin }) => ({ name, of, k, sorted, line: origin?.line }))).toEqual(Array(2).fill({ name: "e", of: 4, k: 1, sorted: true, line: 2 }));
    const [{ before, after }] = place!.dispatch as readonly [PlaceExplanation["dispatch"][number]];
    expect(after!.flops).toBeLessThan(before!.flops / 3);
    expect(place!.after.flops).toBeLessThan(place!.before.flops);
    expect(explained(module(bent, (_, x) => x, top), { dispatch: "never" }).flatMap((p) => p.dispatch)).toEqual([]);
    const threshold = explained(module(bent, (_, x) => x, (b, scores) => b.mul(scores, b.cast(b.gt(scores, 0.5), "f32"))), { dispatch: "always" });
    expect(threshold.flatMap((p) => p.dispatch).map(({ k, sorted, before: work }) => ({ k, sorted, work }))).toEqual(Array(2).fill({ k: undefined, sorted: false, work: undefined }));
  });

  it("one mask for each expert: one product for each", () => {
    const source = module((_, y) => y, (b, x, draw) => {
      const mask = b.cast(b.lt(b.mul(draw(), b.add(b.index(E, "f32"), 1)), 0.9), "f32");
      return b.mul(x, mask);
    });
    const left = explained(source).flatMap((p) => p.left.map((l) => l.reason));
    expect(left).toContain("one product for each e: each has a dropout mask of its own");
  });
});
