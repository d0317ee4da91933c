import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ModuleBuilder, axis, parseModule, printModule, tensor, verify } from "../../src/ir/index.ts";
import { anyModule } from "./random-graph.ts";

const small = `module {
  weight @mlp.A: list[2] f32[in:4, rank:2] trainable decay kaiming_uniform(a: 2.23, fan_in: 4) from [
    {tensor: "a.0", order: [in, rank]},
    {order: [rank, in], adapter: ["x", "y"], along: rank},
  ]

  /// The layer.
  fn @layer(%h: f32[sample, in:4]) -> (f32[sample]) {
    %0: f32[] = constant() {value: -inf, dtype: f32}
    %1: f32[sample, in:4] = max(%h, %0) loc("examples/lora.moe":12, 340..377, [layers, mlp])
    %2: f32[sample] = sum(%1) {axes: [in]}
    release(%0, %1)
    return %2
  }

  entry @main = @layer(input h) -> (output y)
}
`;

describe("the text form", () => {
  it("reads back to the same text", () => {
    const parsed = parseModule(small);
    expect(parsed.diagnostics).toEqual([]);
    expect(printModule(parsed.module!)).toBe(small);
    expect(parsed.module!.functions.get("layer")!.body[1]!.origin).toEqual({ file: "examples/lora.moe", line: 12, start: 340, end: 377, path: ["layers", "mlp"] });
    expect(printModule(parsed.module!, { origins: false })).not.toContain("loc(");
  });

  it("random modules verify, and print, parse, print to the same text", () => {
    fc.assert(
      fc.property(anyModule, (m) => {
        expect(verify(m)).toEqual([]);
        const text = printModule(m);
        const parsed = parseModule(text);
        expect(parsed.diagnostics).toEqual([]);
        expect(printModule(parsed.module!)).toBe(text);
        expect(verify(parsed.module!)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it("keeps numbers to the last bit", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (x) => {
        const m = new ModuleBuilder();
        m.define("f", (b) => [b.constant(x)]);
        const attributes = parseModule(printModule(m.finish())).module!.functions.get("f")!.body[0]!.attributes as { value: number };
        expect(attributes.value).toBe(x);
      }),
    );
  });

  it("quotes names that are no words", () => {
    const m = new ModuleBuilder();
    m.define("a b", (b) => [b.neg(b.param(tensor("f32", [axis("x y", 2), axis("inf", 3)]), "é"))]);
    const text = printModule(m.finish());
    expect(text).toContain('fn @"a b"(%_: f32["x y":2, inf:3])');
    expect(printModule(parseModule(text).module!)).toBe(text);
  });
});

describe("bad text", () => {
  const cases: readonly [string, string, string, string][] = [
    ["an unknown op", "sum(%1)", "summ(%1)", 'MOE4102 summ: there is no operation "summ"'],
    ["an unknown value", "sum(%1)", "sum(%9)", "MOE4102 %9: the value %9 is not made before this"],
    ["a value made twice", "%2: f32[sample] = ", "%1: f32[sample] = ", 'MOE4103 %1: there is a value "%1" already'],
    ["an unknown attribute", "{axes: [in]}", "{axis: [in]}", 'MOE4102 axis: sum has no attribute "axis"'],
    ["a missing attribute", " {axes: [in]}", "", 'MOE4101 sum: sum needs the attribute "axes"'],
    ["a bad size", "in:4, rank", "in:0, rank", 'MOE4101 0: "0" is not a size: a product of positive whole numbers and symbols was expected'],
    ["a bad dtype", "%0: f32[]", "%0: f64[]", 'MOE4101 f64: a type was expected, but found "f64"'],
    ["a signature that is not what is returned", "-> (f32[sample])", "-> (f32[])", "MOE4101 (: the function says it returns (f32[]) and returns (f32[sample])"],
    ["a strange character", "release", "§release", 'MOE4101 §: the character "§" starts no word of a graph'],
    ["an open string", '"a.0"', '"a.0', 'MOE4101 ": the character "\\"" starts no word of a graph'],
    ["a bad escape", '"a.0"', '"\\q"', 'MOE4101 "\\q": this string is not written as JSON writes strings'],
    ["text after the end", "(output y)\n}", "(output y)\n} }", 'MOE4101 }: the end of the text was expected, but found "}"'],
    ["two functions of a name", "  entry @main", "  fn @layer() -> () {\n return }\n entry @main", 'MOE4103 fn: there is a function "layer" already'],
  ];
  it.each(cases)("%s", (_, from, to, expected) => {
    const text = small.replace(from, to);
    expect(text).not.toBe(small);
    const { diagnostics } = parseModule(text, "g");
    expect(diagnostics.map((d) => `${d.code} ${text.slice(d.primary!.span.start, d.primary!.span.end)}: ${d.message}`)).toEqual([expected]);
  });

  it("random edits give diagnostics or a module, and what verify says of it, never an exception", () => {
    fc.assert(
      fc.property(fc.nat(small.length), fc.nat(30), fc.constantFrom("", "%", "{", "0", "9999999999999999", "list[0]", "f32[a:2*b", "-1", "in", '"'), (at, cut, insert) => {
        const { module, diagnostics } = parseModule(small.slice(0, at) + insert + small.slice(at + cut));
        if (module) verify(module);
        else for (const d of diagnostics) expect(d.primary).toBeDefined();
      }),
      { numRuns: 500 },
    );
  });
});
