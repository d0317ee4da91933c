import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Module, ModuleBuilder, type Tensor, type Weight, axis, describeType, interpret, interpretEntry, tensor, tensorOf } from "../../src/ir/index.ts";
import { layout, simplify, stack } from "../../src/passes/index.ts";
import { chooseProduct } from "../../src/passes/orders.ts";
import { opsOf } from "../../src/passes/tools.ts";
import { difference, moduleOf, numbers, randomArg, sound } from "./support.ts";
import { modules, randomModule } from "./random-graphs.ts";

const T = axis("t", 64);
const I = axis("i", 32);
const O = axis("o", 48);
const R = axis("r", 4);
const f = (...axes: (typeof T)[]) => tensor("f32", axes);

/** Transposes of a laid-out function, by the number of elements that each moves. */
function moved(module: Module): readonly number[] {
  return opsOf(layout(module, { transposeFlags: false }).module.functions.get("f")!)
    .filter((op) => op.op === "transpose")
    .map((op) => (op.operands[0]!.type as { axes: readonly { size: number }[] }).axes.reduce((n, a) => n * a.size, 1));
}

describe("layout", () => {
  it("computes x^T h as (h^T x)^T where h is the smaller", () => {
    const module = moduleOf((m) => m.define("f", (b) => ((x, h) => [b.dot(x, h, ["t"])])(b.param(f(T, I)), b.param(f(T, R)))));
    // h (64 x 4) before, the result (32 x 4) after; x (64 x 32) stays.
    expect([...moved(module)].sort((a, b) => a - b)).toEqual([32 * 4, 64 * 4]);
  });

  it("takes the order that its users want for nothing", () => {
    const module = moduleOf((m) => m.define("f", (b) => {
      const [w, h] = [b.param(f(I, T)), b.param(f(T, R))];
      return [b.transpose(b.tanh(b.dot(h, w, ["t"])), ["i", "r"])];
    }));
    expect(moved(module)).toEqual([]);
  });

  it("moves neighbours as one axis, and axes of one element without moving anything", () => {
    const module = moduleOf((m) => m.define("f", (b) => ((x, u) => [b.transpose(x, ["o", "t", "i"]), b.transpose(u, ["i", "one"])])(b.param(f(T, I, O)), b.param(f(axis("one", 1), I)))));
    const made = layout(module, { transposeFlags: false }).module;
    sound(made);
    expect(opsOf(made.functions.get("f")!).filter((op) => op.op === "transpose").map((op) => op.operands[0]!.type)).toEqual([f(axis("t.i", 64 * 32), O)]);
  });

  it("has flags where they are free, and the batch axes first", () => {
    const module = moduleOf((m) => m.define("f", (b) => ((x, y) => [b.dot(x, y, ["i"])])(b.param(f(T, I)), b.param(f(O, I)))));
    const ops = opsOf(layout(module, { transposeFlags: 0 }).module.functions.get("f")!);
    expect(ops.map((op) => [op.op, op.attributes])).toEqual([["dot", { over: ["i"], transposeB: true }]]);
    const choice = chooseProduct(["t", "h", "d"], ["s", "h", "d"], ["d"], undefined, { flags: false, price: () => 1, size: () => 1, result: 1 });
    expect([choice.batch, choice.rows, choice.contracted, choice.columns]).toEqual([["h"], ["t"], ["d"], ["s"]]);
  });

  it("has flags on small operands where they cost more than a pass, and moves large ones", () => {
    const opsFor = (t: number, transposeFlags: number | false): string[] => {
      const rows = axis("t", t);
      const module = moduleOf((m) => m.define("f", (b) => ((x, y) => [b.dot(x, y, ["t"])])(b.param(f(rows, I)), b.param(f(rows, O)))));
      return opsOf(layout(module, { transposeFlags }).module.functions.get("f")!).map((op) => op.op);
    };
    expect([opsFor(64, false), opsFor(64, 1.5), opsFor(2 ** 14, 1.5), opsFor(2 ** 14, 0)]).toEqual([["transpose", "dot"], ["dot"], ["transpose", "dot"], ["dot"]]);
  });

  it("keeps a product's rows first where no user asks for an order, though its other operand is the smaller one to move", () => {
    const [rows, wide, rank] = [axis("t", 16), axis("w", 256), axis("r", 2)];
    const module = moduleOf((m) => m.define("f", (b) => {
      const [u, A, p, V] = [b.param(f(rows, rank)), b.param(f(wide, rank)), b.param(f(rows, wide)), b.param(f(wide, O))];
      return [b.dot(b.mul(b.dot(u, A, ["r"]), p), V, ["w"])];
    }));
    expect(opsOf(layout(module, { transposeFlags: false }).module.functions.get("f")!).map((op) => op.op)).toEqual(["transpose", "dot", "mul", "dot"]);
  });

  it("lays out frozen weights through calls and among a fold's shared values", () => {
    const m = new ModuleBuilder();
    const frozen = (name: string): Weight => ({ name, type: f(O, I), trainable: false, decay: false, initializer: { kind: "checkpoint" }, sources: [{ tensor: name, order: ["o", "i"] }] });
    m.weight(frozen("U"));
    m.weight(frozen("V"));
    m.define("inner", (b) => ((x, v) => [b.dot(x, v, ["i"])])(b.param(f(T, I)), b.param(f(O, I))));
    m.define("turn", (b) => {
      const [x, s, u, v, w] = [b.param(f(T, I)), b.param(f(I)), b.param(f(O, I)), b.param(f(O, I)), b.param(f(I))];
      const h = b.add(b.dot(x, u, ["i"]), b.call("inner", [b.mul(x, s), v])[0]!);
      return [b.mul(b.tanh(b.dot(h, u, ["o"])), w)];
    });
    m.define("f", (b) => {
      const [u, v, x, s] = [b.param(f(O, I), "U"), b.param(f(O, I), "V"), b.param(f(T, I)), b.param(f(I))];
      return [b.fold({ fn: "turn", count: 2, carried: [x], shared: [s, u, v], lists: [b.list([s, b.sin(s)])] })[0]!];
    });
    m.entry("logits", { fn: "f", params: [{ kind: "weight", weight: "U" }, { kind: "weight", weight: "V" }, { kind: "input", name: "x" }, { kind: "input", name: "s" }], results: [{ kind: "output", name: "y" }] });
    const module = m.finish();
    sound(module);
    const made = simplify(layout(module, { transposeFlags: false }).module);
    sound(made);
    // U is read both ways; V in the other order only.
    expect(made.weights.map((w) => [w.name, describeType(w.type), w.layoutOf]).sort()).toEqual([["U", "f32[o:48, i:32]", undefined], ["U.i_o", "f32[i:32, o:48]", "U"], ["V", "f32[i:32, o:48]", undefined]]);
    for (const fn of made.functions.values()) expect(opsOf(fn).filter((op) => op.op === "transpose")).toEqual([]);
    const next = numbers(2);
    const [u, v, x, s] = module.functions.get("f")!.params.map((p) => randomArg(p.type, next, -0.3, 0.3)) as Tensor[];
    const flip = (t: Tensor): Tensor => tensorOf({ i: 32, o: 48 }, Array.from({ length: 32 * 48 }, (_, k) => t.data[(k % 48) * 32 + Math.floor(k / 48)]!));
    const want = interpret(module, "f", [u!, v!, x!, s!])[0]!;
    const got = interpretEntry(made, "logits", { weight: { U: u!, "U.i_o": flip(u!), V: flip(v!) }, input: { x: x!, s: s! } }).output["y"]!;
    expect(difference(want, got)).toBeLessThan(1e-12);
  });
});

describe("the random modules that other tests run", () => {
  it("hold what the passes rewrite", () => {
    const seen = { rules: new Set<number>(), dots: 0, transposes: 0, shrunk: 0 };
    for (const { seed, size } of fc.sample(modules, { numRuns: 60, seed: 20260 })) {
      const module = randomModule(seed, size);
      for (const r of stack(module).report) seen.rules.add(r.rule);
      const count = (m: Module, op: string): number => [...m.functions.values()].flatMap((fn) => fn.body).filter((o) => op === "" || o.op === op).length;
      const made = layout(module, { transposeFlags: false }).module;
      seen.dots += count(made, "dot");
      seen.transposes += count(made, "transpose");
      if (count(simplify(module), "") < count(module, "")) seen.shrunk++;
    }
    expect([...seen.rules].sort()).toEqual([1, 2, 6]);
    expect(seen.dots).toBeGreaterThan(100);
    expect(seen.transposes).toBeGreaterThan(100);
    expect(seen.shrunk).toBeGreaterThan(30);
  });
});
