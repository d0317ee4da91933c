import { describe, expect, it } from "vitest";
import type { Entry, GraphFunction, Module, Op, Value, Weight } from "../../src/ir/index.ts";
import { ModuleBuilder, axis, globalConstraints, listOf, numberType, scalar, tensor, verify } from "../../src/ir/index.ts";

const value = (name: string, type: Value["type"] = scalar()): Value => ({ type, name });
const op = (name: "neg" | "copy" | "release", operands: readonly Value[], results: readonly Value[]): Op => ({ op: name, operands, attributes: {}, results });
const fn = (name: string, params: readonly Value[], body: readonly Op[], results: readonly Value[]): GraphFunction => ({ name, params, body, results });
const moduleOf = (...functions: readonly GraphFunction[]): Module => ({ functions: new Map(functions.map((f) => [f.name, f])), weights: [], entries: new Map() });
const found = (m: Module, released = false): string[] => verify(m, { released }).map((d) => d.message.split(":")[0]!);

const [x, y, z] = [value("x"), value("y"), value("z")];
const A: Weight = { name: "A", type: tensor("f32", [axis("in", 2), axis("e", 3)]), trainable: true, decay: true, initializer: { kind: "zeros" }, sources: [{ order: ["in", "e"] }] };
const f = fn("f", [value("w", A.type)], [], []);
const withWeights = (...weights: readonly Weight[]): Module => ({ ...moduleOf(f), weights });
const withEntry = (entry: Entry, weight: Weight = A): Module => ({ ...moduleOf(f), weights: [weight], entries: new Map([["e", entry]]) });
const called = (name: string, callee: string): GraphFunction => fn(name, [], [{ op: "call", operands: [], attributes: { fn: callee }, results: [] } as Op], []);

/** What breaks each global constraint. */
const broken: Record<keyof typeof globalConstraints, Readonly<Record<string, Module>>> = {
  "C-ssa": {
    "use before definition": moduleOf(fn("f", [x], [op("neg", [y], [z]), op("neg", [x], [y])], [])),
    "made twice": moduleOf(fn("f", [x], [op("neg", [x], [y]), op("neg", [x], [y])], [])),
    "made in two functions": moduleOf(fn("f", [x], [], []), fn("g", [x], [], [])),
    "result not made": moduleOf(fn("f", [x], [], [y])),
  },
  "C-types": {
    "another type": moduleOf(fn("f", [x], [op("neg", [x], [value("y", tensor("i32", []))])], [])),
    "too many results": moduleOf(fn("f", [x], [op("neg", [x], [y, z])], [])),
    "an empty list": moduleOf(fn("f", [value("l", listOf(0, scalar()))], [], [])),
  },
  "C-axis": {
    "two sizes": moduleOf(fn("f", [value("p", tensor("f32", [axis("a", 2)])), value("q", tensor("f32", [axis("a", 3)]))], [], [])),
    "twice in a type": moduleOf(fn("f", [value("p", tensor("f32", [axis("a", 2), axis("a", 2)]))], [], [])),
    "not canonical": moduleOf(fn("f", [value("p", tensor("f32", [axis("a", "n*m")]))], [], [])),
    "no size": moduleOf(fn("f", [value("p", tensor("f32", [axis("a", 0)]))], [], [])),
    "in an attribute": moduleOf(fn("f", [value("p", tensor("f32", [axis("a", 2)]))], [{ op: "extent", operands: [], attributes: { axes: [axis("a", 3)] }, results: [value("n")] } as Op], [])),
  },
  "C-results": {
    "a param": moduleOf(fn("f", [x], [], [x])),
    "twice": moduleOf(fn("f", [x], [op("neg", [x], [y])], [y, y])),
  },
  "C-functions": {
    "another name": { ...moduleOf(), functions: new Map([["g", fn("f", [], [], [])]]) },
    "direct recursion": moduleOf(called("f", "f")),
    "mutual recursion": moduleOf(called("f", "g"), called("g", "f")),
  },
  "C-release": {
    "use after": moduleOf(fn("f", [x], [op("neg", [x], [y]), op("release", [y], []), op("neg", [y], [z])], [])),
    twice: moduleOf(fn("f", [x], [op("neg", [x], [y]), op("release", [y], []), op("release", [y], [])], [])),
    "twice in one": moduleOf(fn("f", [x], [op("neg", [x], [y]), op("release", [y, y], [])], [])),
    "a param": moduleOf(fn("f", [x], [op("release", [x], [])], [])),
    "a result": moduleOf(fn("f", [x], [op("neg", [x], [y]), op("release", [y], [])], [y])),
  },
  "C-weights": {
    "two of a name": withWeights(A, A),
    "symbolic size": withWeights({ ...A, type: tensor("f32", [axis("in"), axis("e", 3)]) }),
    "sources of a list": withWeights({ ...A, type: listOf(2, A.type as never) }),
    order: withWeights({ ...A, sources: [{ order: ["in"] }] }),
    "slices along nothing": withWeights({ ...A, sources: [{ order: ["in", "e"], adapter: { names: ["p", "q"] } }] }),
    "too few slices": withWeights({ ...A, sources: [{ order: ["in"], adapter: { names: ["p", "q"], along: "e" } }] }),
    "no tensor": withWeights({ ...A, initializer: { kind: "checkpoint" } }),
    initializer: withWeights({ ...A, initializer: { kind: "normal", std: -1 } }),
    "layout of nothing": withWeights({ ...A, layoutOf: "B" }),
    "layout of another type": withWeights(A, { ...A, name: "B", type: scalar(), sources: [{ order: [] }], layoutOf: "A" }),
  },
  "C-entries": {
    "no function": withEntry({ fn: "g", params: [], results: [] }),
    params: withEntry({ fn: "f", params: [], results: [] }),
    results: withEntry({ fn: "f", params: [{ kind: "weight", weight: "A" }], results: [{ kind: "output", name: "y" }] }),
    "no weight": withEntry({ fn: "f", params: [{ kind: "weight", weight: "B" }], results: [] }),
    "another type": withEntry({ fn: "f", params: [{ kind: "weight", weight: "A" }], results: [] }, { ...A, type: scalar(), sources: [{ order: [] }] }),
    frozen: withEntry({ fn: "f", params: [{ kind: "moment1", weight: "A" }], results: [] }, { ...A, trainable: false }),
  },
};

describe("global constraints", () => {
  it.each(Object.entries(broken).flatMap(([id, cases]) => Object.entries(cases).map(([name, m]) => [id, name, m] as const)))("%s: %s", (id, _, m) => {
    expect(new Set(found(m))).toEqual(new Set([id]));
  });

  it("have a negative case each", () => {
    expect(Object.keys(broken).sort()).toEqual(Object.keys(globalConstraints).sort());
  });

  it("after the release pass nothing is left over", () => {
    const released = moduleOf(fn("f", [x], [op("neg", [x], [y]), op("neg", [y], [z]), op("release", [y], [])], [z]));
    expect(found(released, true)).toEqual([]);
    expect(found(moduleOf(fn("f", [x], [op("neg", [x], [y]), op("neg", [y], [z])], [z])), true)).toEqual(["C-release"]);
  });
});

describe("verify", () => {
  it("says where an op comes from", () => {
    const origin = { file: "examples/x.moe", start: 10, end: 20, line: 2, path: ["layers", "mlp"] };
    const m = moduleOf(fn("f", [x], [{ ...op("neg", [x], [value("y", numberType)]), origin }], []));
    const [d] = verify(m);
    expect(d?.primary?.span).toEqual({ file: "examples/x.moe", start: 10, end: 20 });
    expect(d?.notes).toEqual(["part of layers > mlp"]);
    expect(d?.message).toBe("C-types: the results are (number), expected (f32[]) (in @f, op 0, neg)");
  });

  it("gives an op's constraint by its number, with MOE4001", () => {
    const m = moduleOf(fn("f", [x], [{ op: "sum", operands: [x], attributes: { axes: ["a"] }, results: [y] } as Op], []));
    expect(verify(m).map((d) => [d.code, d.message.split(":")[0]])).toEqual([["MOE4001", "sum.C3"]]);
  });

  it("finds nothing in what the builder wrote", () => {
    const m = new ModuleBuilder();
    m.define("f", (b) => {
      const p = b.param(tensor("f32", [axis("sample"), axis("in", 4)]), "p");
      return [p, b.softmax(b.mul(p, 2), "in"), p];
    });
    expect(verify(m.finish())).toEqual([]);
  });
});
