import { describe, expect, it } from "vitest";
import type { OpAttributes, OpName, Tensor, Value } from "../../src/ir/index.ts";
import { Builder, GraphError, ModuleBuilder, axis, interpret, listOf, numberType, opGroups, ops, tensor, tensorOf } from "../../src/ir/index.ts";

const covered = new Set<OpName>();

/** Runs one op on tensors (their own shapes as types); numbers are host numbers. */
function run<K extends OpName>(op: K, inputs: readonly (Tensor | number | readonly Tensor[])[], attributes: OpAttributes[K]): Tensor {
  return all(op, inputs, attributes)[0]!;
}
function all<K extends OpName>(op: K, inputs: readonly (Tensor | number | readonly Tensor[])[], attributes: OpAttributes[K]): readonly Tensor[] {
  covered.add(op);
  const m = new ModuleBuilder();
  m.define("f", (b) => {
    const typeOf = (t: Tensor) => tensor(t.dtype, t.axes);
    const params = inputs.map((t) => b.param(typeof t === "number" ? numberType : "data" in t ? typeOf(t) : listOf(t.length, typeOf(t[0]!))));
    return b.op(op, params, attributes);
  });
  return interpret(m.finish(), "f", inputs) as readonly Tensor[];
}
const show = (t: Tensor): string => `${t.dtype}[${t.axes.map((a) => `${a.name}:${a.size}`).join(", ")}] ${Array.from(t.data).join(" ")}`;
const x = tensorOf({ a: 2, b: 3 }, [1, 2, 3, 4, 5, 6]);

describe("leaves", () => {
  it("constant, table, index, extent, fill", () => {
    expect(show(run("constant", [], { value: 2.5, dtype: "f32" }))).toBe("f32[] 2.5");
    expect(show(run("table", [], { values: [1, 0], axes: [axis("a", 2)], dtype: "bool" }))).toBe("bool[a:2] 1 0");
    expect(show(run("index", [], { axis: axis("a", 3), dtype: "i32" }))).toBe("i32[a:3] 0 1 2");
    expect(show(run("extent", [], { axes: [axis("a", 3), axis("b", 5)] }))).toBe("f32[] 15");
    expect(show(run("fill", [7.5], {}))).toBe("f32[] 7.5");
    for (const op of ["random", "chance"] as const) covered.add(op); // interpret.test.ts
  });
});

describe("elementwise", () => {
  const point = tensorOf({ a: 3 }, [-1.5, 0, 0.5]);
  const close = (t: Tensor, expected: readonly number[]): void => expected.forEach((v, i) => expect(t.data[i]).toBeCloseTo(v, 13));
  // Values from tables of the functions (Abramowitz and Stegun for erf), to 15 digits.
  const unary: readonly [OpName, readonly number[], readonly number[]][] = [
    ["neg", [-1.5, 0.5], [1.5, -0.5]],
    ["abs", [-1.5, 0.5], [1.5, 0.5]],
    ["sign", [-1.5, 0, 0.5], [-1, 0, 1]],
    ["exp", [0, 1, -1], [1, 2.718281828459045, 0.367879441171442]],
    ["log", [1, 2], [0, 0.693147180559945]],
    ["log1p", [0, 1, 1e-12], [0, 0.693147180559945, 1e-12]],
    ["sqrt", [4, 2], [2, 1.414213562373095]],
    ["rsqrt", [4, 2], [0.5, 0.707106781186548]],
    ["reciprocal", [4, -0.5], [0.25, -2]],
    ["square", [-3, 0.5], [9, 0.25]],
    ["sigmoid", [0, 1, -800], [0.5, 0.731058578630005, 0]],
    ["tanh", [0, 1], [0, 0.761594155955765]],
    ["relu", [-1, 2], [0, 2]],
    ["softplus", [0, 800, -800], [0.693147180559945, 800, 0]],
    ["sin", [0, 1], [0, 0.841470984807897]],
    ["cos", [0, 1], [1, 0.54030230586814]],
    ["floor", [-1.5, 1.5], [-2, 1]],
    ["erf", [0, 0.5, 1, 2, 3, -1], [0, 0.520499877813047, 0.842700792949715, 0.995322265018953, 0.999977909503001, -0.842700792949715]],
  ];
  it.each(unary)("%s", (op, inputs, expected) => close(run(op as "neg", [tensorOf({ a: inputs.length }, inputs)], {}), expected));

  const binary: readonly [OpName, number, number, number][] = [
    ["add", 2, 3, 5], ["sub", 2, 3, -1], ["mul", 2, 3, 6], ["div", 3, 2, 1.5], ["pow", 2, 3, 8], ["max", 2, 3, 3], ["min", 2, 3, 2],
    ["lt", 2, 3, 1], ["lt", 3, 3, 0], ["le", 3, 3, 1], ["le", 4, 3, 0], ["gt", 4, 3, 1], ["gt", 3, 3, 0], ["ge", 3, 3, 1], ["ge", 2, 3, 0], ["eq", 3, 3, 1], ["eq", 2, 3, 0], ["ne", 2, 3, 1], ["ne", 3, 3, 0],
  ];
  it.each(binary)("%s(%d, %d) = %d", (op, p, q, expected) => expect(Array.from(run(op as "add", [tensorOf({}, [p]), tensorOf({}, [q])], {}).data)).toEqual([expected]));

  it("not, and, or", () => {
    const p = tensorOf({ a: 4 }, [0, 0, 1, 1], "bool");
    const q = tensorOf({ a: 4 }, [0, 1, 0, 1], "bool");
    expect(show(run("not", [p], {}))).toBe("bool[a:4] 1 1 0 0");
    expect(show(run("and", [p, q], {}))).toBe("bool[a:4] 0 0 0 1");
    expect(show(run("or", [p, q], {}))).toBe("bool[a:4] 0 1 1 1");
  });

  it("aligns by name: the widest first, then what it lacks", () => {
    const row = tensorOf({ b: 3 }, [10, 20, 30]);
    expect(show(run("add", [row, x], {}))).toBe("f32[a:2, b:3] 11 22 33 14 25 36");
    // Equal axes in another order: laid out as the first.
    const turned = tensorOf({ b: 3, a: 2 }, [1, 4, 2, 5, 3, 6]);
    expect(show(run("sub", [x, turned], {}))).toBe("f32[a:2, b:3] 0 0 0 0 0 0");
    expect(show(run("mul", [tensorOf({ a: 2 }, [1, 2]), row], {}))).toBe("f32[a:2, b:3] 10 20 30 20 40 60");
  });

  it("select, cast, stop, copy", () => {
    expect(show(run("select", [tensorOf({ a: 2 }, [1, 0], "bool"), x, tensorOf({}, [9])], {}))).toBe("f32[a:2, b:3] 1 2 3 9 9 9");
    expect(show(run("cast", [point], { dtype: "i32" }))).toBe("i32[a:3] -1 0 0");
    expect(show(run("cast", [point], { dtype: "bool" }))).toBe("bool[a:3] 1 0 1");
    expect(show(run("cast", [tensorOf({ a: 2 }, [-3, 2], "i32")], { dtype: "f32" }))).toBe("f32[a:2] -3 2");
    expect(show(run("stop", [point], {}))).toBe(show(point));
    expect(show(run("copy", [point], {}))).toBe(show(point));
  });
});

describe("reductions and products", () => {
  it("sum, mean, reduce_max over any axes", () => {
    expect(show(run("sum", [x], { axes: ["a"] }))).toBe("f32[b:3] 5 7 9");
    expect(show(run("sum", [x], { axes: ["b"] }))).toBe("f32[a:2] 6 15");
    expect(show(run("sum", [x], { axes: ["b", "a"] }))).toBe("f32[] 21");
    expect(show(run("mean", [x], { axes: ["b"] }))).toBe("f32[a:2] 2 5");
    expect(show(run("reduce_max", [x], { axes: ["a"] }))).toBe("f32[b:3] 4 5 6");
    const t = tensorOf({ p: 2, q: 2, r: 2 }, [1, 2, 3, 4, 5, 6, 7, 8]);
    expect(show(run("sum", [t], { axes: ["p", "r"] }))).toBe("f32[q:2] 14 22");
  });

  it("dot equals the sum over every index, whatever the order of axes", () => {
    const sizes: Record<string, number> = { t: 2, m: 3, n: 2, k: 4, l: 70 };
    const make = (names: readonly string[], seed: number): Tensor => {
      const axes = Object.fromEntries(names.map((name) => [name, sizes[name]!]));
      const count = names.reduce((c, name) => c * sizes[name]!, 1);
      return tensorOf(axes, Array.from({ length: count }, (_, i) => ((i * 7 + seed * 3) % 11) - 5));
    };
    const at = (t: Tensor, where: Record<string, number>): number => t.data[t.axes.reduce((o, q) => o * q.size + where[q.name]!, 0)]!;
    for (const [left, right, over] of [
      [["t", "m", "k"], ["t", "k", "n"], ["k"]],
      [["k", "m", "t"], ["n", "t", "k"], ["k"]],
      [["m", "k", "l"], ["l", "n", "k"], ["l", "k"]],
      [["m", "l"], ["l"], ["l"]],
      [["m"], ["n"], []],
      [["t", "m"], ["t", "m"], []],
    ] as const) {
      const [p, q] = [make(left, 1), make(right, 2)];
      const out = run("dot", [p, q], { over });
      const names = [...left.filter((v) => (right as readonly string[]).includes(v) && !(over as readonly string[]).includes(v)), ...left.filter((v) => !(right as readonly string[]).includes(v)), ...right.filter((v) => !(left as readonly string[]).includes(v))];
      expect(out.axes.map((v) => v.name)).toEqual(names);
      const walk = (free: readonly string[], where: Record<string, number>): number => {
        const [first, ...rest] = free;
        if (first === undefined) return at(p, where) * at(q, where);
        let total = 0;
        for (let i = 0; i < sizes[first]!; i++) total += walk(rest, { ...where, [first]: i });
        return total;
      };
      out.data.forEach((value, i) => {
        const where: Record<string, number> = {};
        for (let j = names.length - 1, rest = i; j >= 0; j--) {
          where[names[j]!] = rest % sizes[names[j]!]!;
          rest = Math.floor(rest / sizes[names[j]!]!);
        }
        expect(value).toBe(0 + walk(over, where)); // 0 + -0 = 0
      });
    }
  });
});

describe("axes", () => {
  it("rename, transpose, reshape, expand, reverse", () => {
    expect(show(run("rename", [x], { from: ["a", "b"], to: ["b", "a"] }))).toBe("f32[b:2, a:3] 1 2 3 4 5 6");
    expect(show(run("transpose", [x], { order: ["b", "a"] }))).toBe("f32[b:3, a:2] 1 4 2 5 3 6");
    expect(show(run("reshape", [x], { axes: [axis("c", 3), axis("d", 1), axis("e", 2)] }))).toBe("f32[c:3, d:1, e:2] 1 2 3 4 5 6");
    expect(show(run("expand", [tensorOf({ a: 2 }, [1, 2])], { axes: [axis("z", 2), axis("a", 2), axis("y", 2)] }))).toBe("f32[z:2, a:2, y:2] 1 1 2 2 1 1 2 2");
    expect(show(run("reverse", [x], { axis: "b" }))).toBe("f32[a:2, b:3] 3 2 1 6 5 4");
    expect(show(run("reverse", [x], { axis: "a" }))).toBe("f32[a:2, b:3] 4 5 6 1 2 3");
  });

  it("slice, pad, concat", () => {
    expect(show(run("slice", [x], { axis: "b", start: 1, as: axis("z", 2) }))).toBe("f32[a:2, z:2] 2 3 5 6");
    expect(show(run("slice", [x], { axis: "a", start: 1, as: axis("z", 1) }))).toBe("f32[z:1, b:3] 4 5 6");
    expect(show(run("pad", [x], { axis: "a", before: 1, after: 1, as: axis("z", 4) }))).toBe("f32[z:4, b:3] 0 0 0 1 2 3 4 5 6 0 0 0");
    const other = tensorOf({ c: 1, a: 2 }, [8, 9]);
    expect(show(run("concat", [x, other], { axes: ["b", "c"], as: axis("z", 4) }))).toBe("f32[a:2, z:4] 1 2 3 8 4 5 6 9");
  });
});

describe("indexing", () => {
  const table = tensorOf({ a: 2, v: 3 }, [1, 2, 3, 4, 5, 6]);
  const indices = tensorOf({ p: 2, q: 2 }, [2, 0, 2, 1], "i32");
  it("gather and scatter_add", () => {
    expect(show(run("gather", [table, indices], { axis: "v" }))).toBe("f32[p:2, q:2, a:2] 3 6 1 4 3 6 2 5");
    const updates = tensorOf({ q: 2, p: 2 }, [1, 2, 3, 4]); // [p, q]: 1 3 2 4
    expect(show(run("scatter_add", [indices, updates], { axis: axis("v", 3) }))).toBe("f32[v:3] 3 4 3");
    expect(() => run("gather", [table, tensorOf({}, [3], "i32")], { axis: "v" })).toThrow(GraphError);
    expect(() => run("scatter_add", [tensorOf({}, [-1], "i32"), tensorOf({}, [1])], { axis: axis("v", 3) })).toThrow(/outside the 3 elements of v/);
  });

  it("one_hot, argmax, is_top with ties, cumsum", () => {
    expect(show(run("one_hot", [tensorOf({ p: 2 }, [1, -1], "i32")], { axis: axis("v", 2) }))).toBe("f32[p:2, v:2] 0 1 0 0");
    expect(show(run("argmax", [tensorOf({ a: 2, b: 3 }, [1, 5, 5, 7, 2, 7])], { axis: "b" }))).toBe("i32[a:2] 1 0");
    expect(show(run("is_top", [tensorOf({ b: 4, a: 1 }, [2, 3, 2, 2])], { axis: "b", k: 2 }))).toBe("bool[b:4, a:1] 1 1 0 0");
    expect(show(run("cumsum", [x], { axis: "b", exclusive: false, reverse: false }))).toBe("f32[a:2, b:3] 1 3 6 4 9 15");
    expect(show(run("cumsum", [x], { axis: "b", exclusive: true, reverse: false }))).toBe("f32[a:2, b:3] 0 1 3 0 4 9");
    expect(show(run("cumsum", [x], { axis: "a", exclusive: false, reverse: true }))).toBe("f32[a:2, b:3] 5 7 9 4 5 6");
    expect(show(run("cumsum", [x], { axis: "b", exclusive: true, reverse: true }))).toBe("f32[a:2, b:3] 5 3 0 11 6 0");
  });
});

describe("dispatch", () => {
  // Token 0 chooses experts 1 and 2, token 1 expert 2 and, for want of another, 0; token 2 experts 0 and 1.
  const mask = tensorOf({ t: 3, e: 3 }, [0, 1, 1, 0, 0, 1, 1, 1, 0], "bool");
  const attributes = { axis: "e", slot: axis("slot", 2), rows: axis("rows", 6) };
  const dispatched = (given: Tensor): readonly Tensor[] => all("dispatch", [given], attributes);

  it("sorts pairs by choice and then by token; a token's choices are distinct", () => {
    expect(dispatched(mask).map(show)).toEqual(["i32[rows:6] 1 2 0 2 0 1", "i32[slot:2, t:3] 2 5 1 4 0 3", "i32[rows:6] 0 0 1 1 2 2", "i32[e:3] 2 2 2"]);
    const [, , choice, count] = dispatched(tensorOf({ e: 3, t: 3 }, [1, 1, 1, 1, 0, 0, 1, 0, 0], "bool"));
    // Of three true ones the first two; of one the first of the others beside it.
    expect([show(choice!), show(count!)]).toEqual(["i32[rows:6] 0 0 0 1 1 1", "i32[e:3] 3 3 0"]);
  });

  it("spread and collect go there and back", () => {
    const [token, place] = dispatched(mask);
    expect(show(run("spread", [tensorOf({ v: 2, t: 3 }, [1, 2, 3, 10, 20, 30]), token!, place!], {}))).toBe("f32[rows:6, v:2] 2 20 3 30 1 10 3 30 1 10 2 20");
    expect(show(run("collect", [tensorOf({ rows: 6 }, [1, 2, 4, 8, 16, 32]), token!, place!], {}))).toBe("f32[t:3] 20 33 10");
  });

  it("multiplies rows with their group's matrix, and sums rows by group; a group may have none", () => {
    const count = tensorOf({ g: 3 }, [1, 0, 2], "i32");
    const b = tensorOf({ k: 2, g: 3, n: 1 }, [1, 100, 3, 2, 100, 4]); // [g, k]: 1 2, 100 100, 3 4
    expect(show(run("grouped_dot", [tensorOf({ r: 3, k: 2 }, [1, 1, 1, 2, 5, 6]), b, count], { over: ["k"] }))).toBe("f32[r:3, n:1] 3 11 39");
    expect(show(run("grouped_outer", [tensorOf({ m: 2, r: 3 }, [1, 2, 3, 4, 5, 6]), tensorOf({ r: 3, n: 1 }, [1, 10, 100]), count], {}))).toBe("f32[g:3, m:2, n:1] 1 4 0 0 320 650");
  });
});

describe("composites", () => {
  it.each(["softmax", "log_softmax"] as const)("%s equals its decomposition and holds far from zero", (op) => {
    const input = tensorOf({ b: 3, a: 2 }, [1, -2, 3, 0.5, -1, 4]);
    const whole = run(op, [input], { axis: "b" });
    const m = new ModuleBuilder();
    m.define("f", (b) => [ops[op].decompose!(b as Builder, [b.param(tensor("f32", input.axes))], { axis: "b" }) as Value]);
    const parts = interpret(m.finish(), "f", [input])[0] as Tensor;
    whole.data.forEach((v, i) => expect(v).toBeCloseTo(parts.data[i]!, 14));
    // exp(k) / (exp(0) + exp(1) + exp(2)), shifted by 1000.
    const shifted = run(op, [tensorOf({ a: 3 }, [1000, 1001, 1002])], { axis: "a" });
    const expected = [0.09003057317038046, 0.24472847105479764, 0.6652409557748218];
    expected.forEach((v, i) => expect(shifted.data[i]).toBeCloseTo(op === "softmax" ? v : Math.log(v), 13));
  });
});

describe("functions", () => {
  it("list and element", () => {
    expect(show(run("element", [[x, tensorOf({ a: 2, b: 3 }, [9, 9, 9, 9, 9, 9])]], { at: 1 }))).toBe("f32[a:2, b:3] 9 9 9 9 9 9");
    const made = run("list", [x, x], {}) as unknown as readonly Tensor[];
    expect(made.map(show)).toEqual([show(x), show(x)]);
    const y = tensorOf({ a: 2, b: 3 }, [9, 8, 7, 6, 5, 4]);
    expect(show(run("pack", [[x, y]], { as: axis("layer", 2) }))).toBe("f32[layer:2, a:2, b:3] 1 2 3 4 5 6 9 8 7 6 5 4");
    expect((run("unpack", [y], { axis: "b" }) as unknown as readonly Tensor[]).map(show)).toEqual(["f32[a:2] 9 6", "f32[a:2] 8 5", "f32[a:2] 7 4"]);
    for (const op of ["call", "fold"] as const) covered.add(op); // interpret.test.ts
    covered.add("release"); // no results; verify.test.ts
  });
});

it("every op is evaluated here or where this file says", () => {
  expect(opGroups.flatMap((g) => g.ops).filter((op) => !covered.has(op))).toEqual([]);
});
