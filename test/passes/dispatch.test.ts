import { describe, expect, it } from "vitest";
import { type Axis, type Builder, type Module, ModuleBuilder, type Tensor, type Value, axis, interpret, tensor } from "../../src/ir/index.ts";
import { differentiate, dispatch, machines, optimize, simplify, stack, type DispatchOptions } from "../../src/passes/index.ts";
import { namesOf, opsOf } from "../../src/passes/tools.ts";
import { difference, finiteDifferences, numbers, randomArg, sound } from "./support.ts";

const [S, P, I, H, O] = [axis("sample", 3), axis("position", 4), axis("in", 5), axis("hidden", 6), axis("out", 7)];
const f32 = (...axes: Axis[]) => tensor("f32", axes);

interface Parts {
  readonly b: Builder;
  readonly x: Value;
  readonly scores: Value;
  readonly A: Value;
  readonly B: Value;
  readonly E: Axis;
}

/** f: (x, R, A, B) -> a scalar, and what `write` makes of x, the scores of its experts and their matrices. */
function moduleOf(write: (p: Parts) => Value | readonly Value[], { experts = 6, tokens = [S, P] as readonly Axis[], hidden = H } = {}): Module {
  const E = axis("expert", experts);
  const m = new ModuleBuilder();
  m.define("f", (b) => {
    const [x, R, A, B] = [b.param(f32(...tokens, I), "x"), b.param(f32(I, E), "R"), b.param(f32(E, I, hidden), "A"), b.param(f32(hidden, E, O), "B")];
    const made = write({ b, x, A, B, E, scores: b.dot(x, R, ["in"]) });
    const results = Array.isArray(made) ? (made as readonly Value[]) : [made as Value];
    const y = results[0]!;
    return [b.sum(b.square(y), namesOf(y)), ...results];
  });
  return m.finish();
}

const topK = (k: number) => ({ b, scores }: Parts): Value => {
  const kept = b.mul(b.softmax(scores, "expert"), b.cast(b.is_top(scores, "expert", k), "f32"));
  return b.div(kept, b.sum(kept, ["expert"]));
};
const linear = ({ b, x, A, B }: Parts): Value => b.mul(b.dot(b.dot(x, A, ["in"]), B, ["hidden"]), 2);
const bent = ({ b, x, A, B }: Parts): Value => ((h) => b.dot(b.mul(h, b.sigmoid(h)), B, ["hidden"]))(b.dot(x, A, ["in"]));
const mixed = (gate: (p: Parts) => Value, expert = bent) => (p: Parts): Value => p.b.sum(p.b.mul(gate(p), expert(p)), ["expert"]);

const always = { dispatch: "always" } as const;
const count = (m: Module, op: string): number => [...m.functions.values()].reduce((n, fn) => n + opsOf(fn).filter((o) => o.op === op).length, 0);

/** The sorted form has the numbers of the dense one and the gradients of finite differences; returns what was said of it. */
function exact(module: Module, options: DispatchOptions = always, args = arguments_(module)): ReturnType<typeof dispatch> {
  const simple = simplify(module);
  const made = dispatch(simple, options);
  sound(made.module);
  const [before, after] = [interpret(module, "f", args), interpret(made.module, "f", args)];
  before.forEach((v, i) => expect(difference(v, after[i]!)).toBeLessThan(1e-12));
  const stacked = stack(made.module).module;
  const wrt = module.functions.get("f")!.params.map((_, i) => i);
  const step = differentiate(stacked, { fn: "f", of: 0, wrt, name: "g" }).module;
  sound(step);
  const gradients = interpret(step, "g", args).slice(before.length);
  wrt.forEach((at) => expect(difference(gradients[at]!, finiteDifferences(module, "f", args, 0, at))).toBeLessThan(1e-7));
  const all = optimize({ ...step, entries: new Map([["g", { fn: "g", params: wrt.map((i) => ({ kind: "input", name: `p${i}` }) as const), results: step.functions.get("g")!.results.map((_, i) => ({ kind: "output", name: `r${i}` }) as const) }]]) }, { transposeFlags: false, dispatch: "never", debug: true });
  interpret(all.module, "g", args).slice(before.length).forEach((v, i) => expect(difference(v, gradients[i]!)).toBeLessThan(1e-11));
  return made;
}

function arguments_(module: Module, seed = 3): readonly Tensor[] {
  const next = numbers(seed);
  return module.functions.get("f")!.params.map((p) => randomArg(p.type, next) as Tensor);
}

describe("sparse dispatch", () => {
  const gates: Readonly<Record<string, readonly [k: number, gate: (p: Parts) => Value]>> = {
    "a product with the mask, made to sum to 1": [2, topK(2)],
    "softmax over the chosen": [2, ({ b, scores }) => b.softmax(b.select(b.is_top(scores, "expert", 2), scores, -1e9), "expert")],
    "a choice with 0": [1, ({ b, scores }) => b.select(b.is_top(scores, "expert", 1), b.sigmoid(scores), 0)],
    "chosen by other numbers than weighed by": [3, ({ b, scores, E }) => b.mul(b.sigmoid(scores), b.cast(b.is_top(b.add(scores, b.index(E, "f32")), "expert", 3), "f32"))],
    "while there is room": [1, ({ b, scores }) => ((chosen) => b.mul(b.mul(b.sigmoid(scores), chosen), b.cast(b.le(b.cumsum(chosen, "position"), 2), "f32")))(b.cast(b.is_top(scores, "expert", 1), "f32"))],
    "the narrower of two masks": [1, ({ b, scores }) => b.mul(b.mul(scores, b.cast(b.is_top(scores, "expert", 4), "f32")), b.cast(b.is_top(b.neg(b.abs(scores)), "expert", 1), "f32"))],
    "every expert": [6, topK(6)],
  };
  for (const [name, [k, gate]] of Object.entries(gates))
    for (const [what, expert] of [["linear", linear], ["of any kind", bent]] as const)
      it(`${name}, experts ${what}: the same numbers and gradients`, () => {
        const { report, module } = exact(moduleOf(mixed(gate, expert)));
        expect(report.map(({ k: most, of, sorted }) => ({ k: most, of, sorted }))).toEqual([{ k, of: 6, sorted: true }]);
        expect([count(module, "dispatch"), count(module, "grouped_dot"), count(module, "collect")]).toEqual([1, 2, 1]);
      });

  it("nothing is made for every token and expert but one number each", () => {
    const { module } = dispatch(simplify(moduleOf(mixed(topK(2)))), always);
    for (const op of opsOf(module.functions.get("f")!))
      for (const v of op.results) if (namesOf(v).includes("expert") && namesOf(v).includes("position")) expect(namesOf(v).length).toBe(3);
  });

  it.each([
    ["equal scores everywhere", () => 0],
    ["all tokens at one expert", (_: number, e: number) => (e === 4 ? 1 : 0)],
  ] as const)("%s", (_, score) => {
    const module = moduleOf(({ b, x, A, B, E, scores }) => {
      const fixed = b.add(b.mul(scores, 0), b.table(Array.from({ length: 6 }, (_, e) => score(0, e)), [E]));
      return b.sum(b.mul(bent({ b, x, A, B, E, scores }), b.mul(b.sigmoid(scores), b.cast(b.is_top(fixed, "expert", 2), "f32"))), ["expert"]);
    });
    expect(exact(module).report[0]!.sorted).toBe(true);
  });

  it.each([[[P]], [[axis("one", 1)]], [[S, P, axis("third", 2)]]])("tokens of axes %j", (tokens) => {
    expect(exact(moduleOf(mixed(topK(2)), { tokens: tokens as readonly Axis[] })).report[0]!.sorted).toBe(true);
  });

  it("what samples or positions alone have in common, and what experts have", () => {
    const table = (b: Builder, ...axes: Axis[]): Value => b.table(Array.from({ length: axes.reduce((n, a) => n * Number(a.size), 1) }, (_, i) => Math.sin(1 + i)), axes);
    const module = moduleOf((p) => {
      const { b, x, A, B, E } = p;
      const h = b.mul(b.add(b.dot(x, A, ["in"]), table(b, P, H)), table(b, S));
      const y = b.mul(b.dot(b.tanh(b.mul(h, table(b, E, H))), B, ["hidden"]), table(b, O, P, E));
      return b.sum(b.mul(y, topK(2)(p)), ["expert"]);
    });
    expect(exact(module).report[0]!.sorted).toBe(true);
  });

  it("groups of a router that chooses among all: as many at most as the group has", () => {
    const made = exact(
      moduleOf((p) => {
        const { b, x, A, B } = p;
        const gate = topK(3)(p);
        const [low, high] = [axis("low", 2), axis("high", 4)];
        return [low, high]
          .map((g, i) => {
            const part = (v: Value): Value => b.slice(v, "expert", i * 2, g);
            return b.sum(b.mul(part(gate), bent({ ...p, x, A: part(A), B: part(B) })), [g.name]);
          })
          .reduce((y, z) => b.add(y, z));
      }),
    );
    expect(made.report.map(({ axis: name, k, of, sorted }) => [name, k, of, sorted])).toEqual([["low", 2, 2, true], ["high", 3, 4, true]]);
  });

  it("sums under one mask are sorted once", () => {
    const { module, report } = exact(
      moduleOf((p) => {
        const gate = topK(2)(p);
        return [bent, linear].map((expert) => p.b.sum(p.b.mul(gate, expert(p)), ["expert"])).reduce((y, z) => p.b.add(y, z));
      }),
    );
    expect(report.length).toBe(1);
    expect([count(module, "dispatch"), count(module, "collect")]).toEqual([1, 2]);
  });

  it("sums under one mask that follow from each other are each written in their place", () => {
    const { module, report } = exact(
      moduleOf((p) => {
        const { b, B } = p;
        const gate = topK(2)(p);
        const first = b.sum(b.mul(gate, bent(p)), ["expert"]);
        return b.sum(b.mul(gate, b.dot(b.tanh(first), B, ["out"])), ["expert"]);
      }),
    );
    expect(report.map((r) => r.sorted)).toEqual([true, true]);
    expect(count(module, "dispatch")).toBe(1);
  });

  it("what is read elsewhere too is still made there", () => {
    const { module } = exact(
      moduleOf((p) => {
        const outputs = bent(p);
        return [p.b.sum(p.b.mul(topK(2)(p), outputs), ["expert"]), p.b.mean(outputs, ["expert", "sample", "position"])];
      }),
    );
    expect(count(module, "grouped_dot")).toBe(0);
  });

  it("a token without experts: its rows hold others' numbers, and no division by zero", () => {
    const module = moduleOf(({ b, x, A, B, scores }) => {
      const h = b.dot(x, A, ["in"]);
      // Without a floor: rows of zeros would give NaN.
      const scaled = b.mul(h, b.rsqrt(b.mean(b.square(h), ["hidden"])));
      const first = b.select(b.lt(b.index(P, "f32"), 2), 0, b.cast(b.is_top(scores, "expert", 1), "f32"));
      return b.sum(b.mul(b.dot(scaled, B, ["hidden"]), b.mul(first, b.sigmoid(scores))), ["expert"]);
    });
    expect(exact(module).report[0]!.sorted).toBe(true);
  });

  it("a choice for a whole sample: its products have positions too, and stay", () => {
    const module = moduleOf(({ b, x, A, B, scores, E }) => {
      const gate = ((s) => b.mul(b.sigmoid(s), b.cast(b.is_top(s, "expert", 2), "f32")))(b.mean(scores, ["position"]));
      return b.sum(b.mul(bent({ b, x, A, B, E, scores }), gate), ["expert"]);
    });
    expect(exact(module).report.map((r) => r.sorted)).toEqual([false]);
  });

  it.each([
    ["a threshold", ({ b, scores }: Parts) => ((p) => b.mul(p, b.cast(b.ge(p, 0.2), "f32")))(b.softmax(scores, "expert"))],
    ["a greatest with 0", ({ b, scores }: Parts) => b.max(scores, 0)],
    ["relu", ({ b, scores }: Parts) => b.relu(scores)],
  ] as const)("%s has no bound: dense, and said so", (_, gate) => {
    const { module, report } = exact(moduleOf(mixed(gate)));
    expect(report.map(({ k, sorted }) => ({ k, sorted }))).toEqual([{ k: undefined, sorted: false }]);
    expect(count(module, "dispatch")).toBe(0);
  });

  it.each([
    ["softmax over all", ({ b, scores }: Parts) => b.softmax(scores, "expert")],
    ["a mask along another axis", ({ b, scores }: Parts) => b.mul(scores, b.cast(b.is_top(scores, "position", 1), "f32"))],
    ["softmax over scores that are not far enough below", ({ b, scores }: Parts) => b.softmax(b.select(b.is_top(scores, "expert", 2), scores, -100), "expert")],
    ["a mask and more beside it", ({ b, scores }: Parts) => b.add(b.cast(b.is_top(scores, "expert", 2), "f32"), b.mul(scores, 0.1))],
    ["the others of a mask", ({ b, scores }: Parts) => b.select(b.is_top(scores, "expert", 2), 0.5, scores)],
  ] as const)("%s is not sparse", (_, gate) => {
    expect(exact(moduleOf(mixed(gate))).report.filter((r) => r.k !== undefined)).toEqual([]);
  });
});

describe("which form is taken", () => {
  /** Of the size of the benchmark. */
  const chosen = (experts: number, rank: number, k: number, options: DispatchOptions = {}): boolean => {
    const [T, from, to, E, R] = [axis("t", 1024), axis("i", 1024), axis("o", 2752), axis("e", experts), axis("r", rank)];
    const m = new ModuleBuilder();
    m.define("f", (b) => {
      const [x, W, A, B] = [b.param(f32(T, from)), b.param(f32(from, E)), b.param(f32(from, E, R)), b.param(f32(E, R, to))];
      const p = b.softmax(b.dot(x, W, ["i"]), "e");
      return [b.sum(b.mul(b.mul(p, b.cast(b.is_top(p, "e", k), "f32")), b.dot(b.dot(x, A, ["i"]), B, ["r"])), ["e"])];
    });
    return dispatch(m.finish(), options).report[0]?.sorted ?? false;
  };

  it("the one that takes less time: sorted where experts are many and wide", () => {
    expect(chosen(64, 16, 1)).toBe(true);
    expect(chosen(64, 16, 2)).toBe(true);
    expect(chosen(8, 4, 1)).toBe(false);
    expect(chosen(8, 16, 8)).toBe(false);
  });

  it("it depends on the machine, and can be asked for", () => {
    expect(chosen(32, 4, 1, { machine: machines.wasm })).toBe(true);
    expect(chosen(32, 4, 1, { machine: machines["tfjs-node"] })).toBe(false);
    expect(chosen(64, 64, 1, { machine: machines.webgpu })).toBe(false);
    expect(chosen(64, 64, 1, { dispatch: "never" })).toBe(false);
    expect(chosen(4, 4, 2, always)).toBe(true);
  });
});
