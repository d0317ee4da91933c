import { describe, expect, it } from "vitest";
import { Builder, GraphError, ModuleBuilder, type Module, axis, interpret, interpretEntry, listOf, numberType, randomStream, scalar, tensor, tensorOf } from "../../src/ir/index.ts";
import type { Tensor, Value } from "../../src/ir/index.ts";

/** A module of one function called f. */
function moduleOf(write: (b: Builder) => readonly Value[]): Module {
  const m = new ModuleBuilder();
  m.define("f", write);
  return m.finish();
}

const numbers = (t: unknown): number[] => Array.from((t as Tensor).data);
const x23 = tensor("f32", [axis("a", 2), axis("b", 3)]);

describe("sizes", () => {
  it("are learnt from the arguments, products after their factors", () => {
    const m = moduleOf((b) => {
      b.param(tensor("f32", [axis("both", "position*sample")]), "x");
      b.param(tensor("f32", [axis("sample")]), "y");
      return [b.extent([axis("position"), axis("sample")]), b.extent([axis("position")])];
    });
    const out = interpret(m, "f", [tensorOf({ both: 6 }, [1, 2, 3, 4, 5, 6]), tensorOf({ sample: 2 }, [0, 0])]);
    expect(out.map(numbers)).toEqual([[6], [3]]);
  });

  it("must agree", () => {
    const m = moduleOf((b) => {
      const x = b.param(tensor("f32", [axis("sample")]), "x");
      const y = b.param(tensor("f32", [axis("sample")]), "y");
      return [b.add(x, y)];
    });
    expect(() => interpret(m, "f", [tensorOf({ sample: 2 }, [1, 2]), tensorOf({ sample: 3 }, [1, 2, 3])])).toThrow(/sample in argument 1 \("y"\) of @f is 3 long/);
  });

  it("a wrong kind, dtype, order or count of arguments is told", () => {
    const m = moduleOf((b) => [b.neg(b.param(x23, "x"))]);
    expect(() => interpret(m, "f", [])).toThrow(/takes 1 arguments, not 0/);
    expect(() => interpret(m, "f", [3])).toThrow(/must be a tensor/);
    expect(() => interpret(m, "f", [tensorOf({ b: 3, a: 2 }, [1, 2, 3, 4, 5, 6])])).toThrow(/must be f32\[a:2, b:3\]/);
    expect(() => interpret(m, "f", [tensorOf({ a: 2, b: 3 }, [1, 2, 3, 4, 5, 6], "i32")])).toThrow(/must be f32/);
    expect(() => interpret(m, "g", [])).toThrow(GraphError);
  });
});

describe("fold", () => {
  /** h' = h*w + i; total += h; kept h'. */
  function folded(reverse: boolean): Module {
    const m = new ModuleBuilder();
    m.define("turn", (b) => {
      const i = b.param(numberType, "i");
      const h = b.param(scalar(), "h");
      const s = b.param(scalar(), "s");
      const w = b.param(scalar(), "w");
      const next = b.add(b.mul(b.mul(h, w), s), b.fill(i));
      return [next, h, next];
    });
    m.define("f", (b) => {
      const h = b.param(scalar(), "h");
      const s = b.param(scalar(), "s");
      const w = b.param(listOf(3, scalar()), "w");
      return b.fold({ fn: "turn", count: 3, carried: [h], shared: [s], lists: [w], summed: 1, index: true, reverse });
    });
    return m.finish();
  }
  const args = [tensorOf({}, [1]), tensorOf({}, [2]), [tensorOf({}, [1]), tensorOf({}, [2]), tensorOf({}, [3])]];

  it("carries forward, sums and lists", () => {
    // h: 1 → 1·1·2+0 = 2 → 2·2·2+1 = 9 → 9·3·2+2 = 56
    const [last, total, kept] = interpret(folded(false), "f", args);
    expect(numbers(last)).toEqual([56]);
    expect(numbers(total)).toEqual([1 + 2 + 9]);
    expect((kept as readonly Tensor[]).map(numbers)).toEqual([[2], [9], [56]]);
  });

  it("in reverse takes lists from the end and indexes results by the turn's number", () => {
    // i=2: 1·3·2+2 = 8; i=1: 8·2·2+1 = 33; i=0: 33·1·2+0 = 66
    const [last, total, kept] = interpret(folded(true), "f", args);
    expect(numbers(last)).toEqual([66]);
    expect(numbers(total)).toEqual([1 + 8 + 33]);
    expect((kept as readonly Tensor[]).map(numbers)).toEqual([[66], [33], [8]]);
  });
});

describe("call and entries", () => {
  it("a called function returns in order; entries go by binding", () => {
    const m = new ModuleBuilder();
    m.define("swap", (b) => {
      const x = b.param(scalar(), "x");
      const y = b.param(scalar(), "y");
      return [y, x];
    });
    m.define("main", (b) => {
      const w = b.param(scalar(), "w");
      const x = b.param(scalar(), "x");
      const [p, q] = b.call("swap", [w, x]) as [Value, Value];
      return [b.sub(p, q), b.mul(p, 10)];
    });
    m.entry("gradients", { fn: "main", params: [{ kind: "weight", weight: "A" }, { kind: "input", name: "x" }], results: [{ kind: "gradient", weight: "A" }, { kind: "output", name: "loss" }] });
    const out = interpretEntry(m.finish(), "gradients", { weight: { A: tensorOf({}, [3]) }, input: { x: tensorOf({}, [5]) } });
    expect(numbers(out.gradient["A"])).toEqual([2]);
    expect(numbers(out.output["loss"])).toEqual([50]);
    expect(() => interpretEntry(m.finish(), "gradients", { weight: {}, input: {} })).toThrow(/needs the weight "A"/);
  });
});

describe("random", () => {
  it("asks the source for seed, step and the layer's stream", () => {
    const asked: unknown[] = [];
    const source = (name: string) => (out: Float32Array, seed: number, step: number, stream: number) => {
      asked.push([name, seed, step, stream, out.length]);
      out.set([0.5, 0.25]);
    };
    const m = moduleOf((b) => {
      const [seed, step, layer] = [b.param(numberType, "seed"), b.param(numberType, "step"), b.param(numberType, "layer")];
      return [b.random(seed, step, layer, 7, [axis("a", 2)]), b.random(seed, step, layer, 8, [axis("a", 2)], "normal"), b.chance(seed, step, layer, 9, [axis("a", 2)], 0.5)];
    });
    const [u, , likely] = interpret(m, "f", [11, 12, 3], { random: { uniform: source("u"), normal: source("n") } });
    expect(numbers(u)).toEqual([0.5, 0.25]);
    expect(numbers(likely)).toEqual([1, 0]);
    expect(asked).toEqual([["u", 11, 12, randomStream(7, 3), 2], ["n", 11, 12, randomStream(8, 3), 2], ["u", 11, 12, randomStream(9, 3), 2]]);
    expect(() => interpret(m, "f", [11, 12, 3])).toThrow(/source of random numbers/);
  });
});
