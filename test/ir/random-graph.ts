import fc from "fast-check";
import type { Axis, Module, OpName, Value } from "../../src/ir/index.ts";
import { ModuleBuilder, axis, isTensor, listOf, numberType, tensor } from "../../src/ir/index.ts";

const axes: readonly Axis[] = [axis("sample"), axis("position"), axis("in", 4), axis("e 1", 2), axis("q", "2*sample")];
const unary: readonly OpName[] = ["neg", "exp", "relu", "square", "stop", "copy", "erf"];
const binary: readonly OpName[] = ["add", "sub", "mul", "max", "pow"];
const names = fc.constantFrom("", "h", "x", "x_1", "a b", "0", "é");

/** Whole modules that the builder accepts: two functions, a fold, a weight, an entry, origins. */
export const anyModule: fc.Arbitrary<Module> = fc
  .record({
    shapes: fc.array(fc.subarray([...axes]), { minLength: 1, maxLength: 3 }),
    steps: fc.array(fc.record({ pick: fc.nat(), other: fc.nat(), op: fc.nat(), name: names, number: fc.double({ noNaN: true }), origin: fc.boolean() }), { maxLength: 15 }),
    doc: fc.option(fc.constantFrom("One line.", "Two\n\nparagraphs, {}%@"), { nil: undefined }),
  })
  .map(({ shapes, steps, doc }) => {
    const m = new ModuleBuilder();
    m.define("turn", (b) => {
      const i = b.param(numberType, "i");
      const h = b.param(tensor("f32", [axis("in", 4)]), "h");
      const w = b.param(tensor("f32", [axis("in", 4)]), "w");
      const next = b.mul(b.add(h, w), b.fill(i));
      return [next, b.sum(next, ["in"]), h];
    });
    m.define(
      "f.main",
      (b) => {
        const values: Value[] = shapes.map((s) => b.param(tensor("f32", s), "x"));
        const list = b.param(listOf(3, tensor("f32", [axis("in", 4)])), "w");
        const [last, total, kept] = b.fold({ fn: "turn", count: 3, carried: [b.element(list, 0)], lists: [list], summed: 1, index: true }) as [Value, Value, Value];
        values.push(last, total);
        for (const step of steps) {
          const x = values[step.pick % values.length]!;
          const y = values[step.other % values.length]!;
          const origin = step.origin ? { file: "a \"b\".moe", start: step.op, end: step.op + 1, line: 3, path: ["layers", "x y"] } : undefined;
          const made = b.at(origin, () => {
            const choice = step.op % 5;
            if (choice === 0) return b.one(unary[step.other % unary.length] as "neg", [x], {}, step.name);
            if (choice === 1) return b.one(binary[step.op % binary.length] as "add", [x, y], {}, step.name);
            if (choice === 2 && isTensor(x.type) && x.type.axes.length > 0) return b.sum(x, [x.type.axes[0]!.name]);
            if (choice === 3 && isTensor(x.type) && isTensor(y.type)) return b.dot(x, y, x.type.axes.map((a) => a.name).filter((n) => isTensor(y.type) && y.type.axes.some((q) => q.name === n)));
            return b.mul(x, step.number);
          });
          values.push(made);
        }
        return [...values, kept];
      },
      doc,
    );
    m.weight({ name: "layers.w", type: listOf(3, tensor("f32", [axis("in", 4)])), trainable: true, decay: false, initializer: { kind: "kaiming_uniform", a: Math.sqrt(5), fanIn: 4 }, sources: [0, 1, 2].map((l) => ({ tensor: `model.layers.${l}."w"`, order: ["in"], adapter: { names: [0, 1, 2, 3].map((k) => `w${l}.${k}`), along: "in" } })) });
    m.entry("main", { fn: "f.main", params: [...shapes.map((_, i) => ({ kind: "input" as const, name: `x${i}` })), { kind: "weight", weight: "layers.w" }], results: m.functions.get("f.main")!.results.map((_, i) => ({ kind: "output" as const, name: `y${i}` })) });
    return m.finish();
  });

