import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Costs, GraphError, ModuleBuilder, axis, divideSizes, equalSizes, evaluateSize, isCanonicalSize, multiplySizes, parseSize, printSize, solveSize, symbolsOf, tensor } from "../../src/ir/index.ts";

const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom("a", "b", "sample")), { maxLength: 4 }).map((f) => multiplySizes(...f));
const env = { a: 3, b: 5, sample: 7 };

describe("sizes", () => {
  it("have one canonical form", () => {
    expect(parseSize("position*2*sample*3")).toBe("6*position*sample");
    expect(parseSize("2*3")).toBe(6);
    expect(parseSize("1*n")).toBe("n");
    expect([parseSize(""), parseSize("n-1"), parseSize("0*n"), parseSize("-2"), parseSize("1.5")]).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(isCanonicalSize("b*a")).toBe(false);
    expect(isCanonicalSize("6")).toBe(false);
    expect(equalSizes("b*a", "a*b")).toBe(true);
    expect(symbolsOf("2*a*a*b")).toEqual(["a", "b"]);
  });

  it("multiplying, dividing, evaluating agree with numbers", () => {
    fc.assert(
      fc.property(sizes, sizes, (p, q) => {
        const product = multiplySizes(p, q);
        expect(isCanonicalSize(product)).toBe(true);
        expect(evaluateSize(product, env)).toBe(evaluateSize(p, env) * evaluateSize(q, env));
        expect(divideSizes(product, q)).toBe(p);
        expect(parseSize(printSize(product))).toBe(product);
      }),
    );
    expect(divideSizes("6*a", "4")).toBeUndefined();
    expect(divideSizes("6*a", "b")).toBeUndefined();
    expect(() => evaluateSize("nowhere", env)).toThrow(GraphError);
    expect(() => multiplySizes(2 ** 40, 2 ** 40)).toThrow(/too large/);
  });

  it("are solved for one unknown", () => {
    expect(solveSize("2*a", 6, {})).toEqual(["a", 3]);
    expect(solveSize("2*a", 7, {})).toBe("wrong");
    expect(solveSize("a*b", 15, { a: 3 })).toEqual(["b", 5]);
    expect(solveSize("a*b", 15, {})).toBe("open");
    expect(solveSize("a*b", 15, env)).toBe("known");
    expect(solveSize(4, 5, {})).toBe("wrong");
  });
});

describe("costs", () => {
  it("of a product and of a fold", () => {
    const m = new ModuleBuilder();
    const h = tensor("f32", [axis("sample"), axis("in", 4)]);
    m.define("turn", (b) => [b.rename(b.dot(b.param(h), b.param(tensor("f32", [axis("in", 4), axis("out", 4)])), ["in"]), ["out"], ["in"])]);
    m.define("f", (b) => b.fold({ fn: "turn", count: 3, carried: [b.param(h)], shared: [b.param(tensor("f32", [axis("in", 4), axis("out", 4)]))] }));
    const costs = new Costs(m.finish(), { sample: 10 });
    // 2·10·4·4 operations; reads 40 and 16 numbers and writes 40, of 4 bytes; the rename moves nothing.
    expect(costs.fn("turn")).toEqual({ flops: 320, bytes: 384 });
    expect(costs.fn("f")).toEqual({ flops: 960, bytes: 1152 });
  });
});
