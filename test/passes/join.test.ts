import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Axis, type Builder, type GraphFunction, type Module, ModuleBuilder, type Value, axis, interpret, tensor } from "../../src/ir/index.ts";
import { differentiate, layout, simplify, stack } from "../../src/passes/index.ts";
import { opsOf } from "../../src/passes/tools.ts";
import { difference, moduleOf, numbers, randomArg, sound, weighed } from "./support.ts";

const f32 = (...axes: Axis[]) => tensor("f32", axes);
const [T, I, O] = [axis("t", 96), axis("i", 64), axis("o", 40)];

function rules(module: Module): readonly number[] {
  return stack(module).report.map((r) => r.rule);
}

function dots(fn: GraphFunction): number {
  return fn.body.filter((op) => op.op === "dot").length;
}

/** The same results before and after, on random arguments. */
function same(before: Module, after: Module, fn = "f"): void {
  sound(after);
  const next = numbers(3);
  const args = before.functions.get(fn)!.params.map((p) => randomArg(p.type, next));
  const [x, y] = [interpret(before, fn, args), interpret(after, fn, args)];
  expect(y.length).toBe(x.length);
  x.forEach((v, i) => expect(difference(v, y[i]!)).toBeLessThan(1e-12));
}

describe("rule 5: products of one operand", () => {
  it("become one, whatever axes the factors bring, and wherever the operand stands", () => {
    const [E, R, S] = [axis("e", 2), axis("r", 2), axis("s", 3)];
    const module = moduleOf((m) => m.define("f", (b) => {
      const x = b.param(f32(T, I));
      const [A, W, V] = [b.param(f32(E, I, R)), b.param(f32(I, E)), b.param(f32(S, I))];
      // The third factor is made after the first product is read.
      const h = b.tanh(b.dot(x, A, ["i"]));
      return [h, b.softmax(b.dot(W, b.transpose(x, ["i", "t"]), ["i"]), "e"), b.dot(b.mul(V, 2), x, ["i"])];
    }));
    const { module: made, report } = stack(module);
    expect(report.map((r) => r.rule)).toEqual([5]);
    expect(dots(made.functions.get("f")!)).toBe(1);
    expect(report[0]!.after.flops).toBe(report[0]!.before.flops);
    expect(report[0]!.after.bytes).toBeLessThan(report[0]!.before.bytes);
    same(module, made);
  });

  it("not where one follows from another, where an axis is only known with a batch, or where copying costs more than reading", () => {
    const [R, S, n] = [axis("r", 2), axis("s", 2), axis("n")];
    const made = (write: (b: Builder, x: Value, A: Value) => readonly Value[]): readonly number[] =>
      rules(moduleOf((m) => m.define("f", (b) => write(b, b.param(f32(T, I)), b.param(f32(I, R))))));
    expect(made((b, x, A) => [b.dot(x, A, ["i"]), b.dot(x, b.param(f32(I, S)), ["i"])])).toEqual([5]);
    expect(made((b, x, A) => ((h) => [h, b.dot(x, b.mul(b.param(f32(I, S)), b.mean(h, ["t", "r"])), ["i"])])(b.dot(x, A, ["i"])))).toEqual([]);
    expect(made((b, x, A) => [b.dot(x, A, ["i"]), b.dot(x, b.param(f32(I, n)), ["i"])])).toEqual([]);
    expect(made((b, x, A) => [b.dot(x, A, ["i"]), b.dot(x, b.param(f32(I, O)), ["i"])])).toEqual([]);
    expect(made((b, x, A) => [b.dot(x, A, ["i"]), b.dot(b.tanh(x), b.param(f32(I, S)), ["i"])])).toEqual([]);
  });

  it("what comes back to the parts is one product each for the operand and for the joined factor", () => {
    const [R, S] = [axis("r", 2), axis("s", 3)];
    const module = moduleOf((m) => m.define("f", (b) => {
      const [x, A, W] = [b.param(f32(T, I)), b.param(f32(I, R)), b.param(f32(I, S))];
      return [b.add(weighed(b, b.tanh(b.dot(x, A, ["i"]))), weighed(b, b.sin(b.dot(x, W, ["i"]))))];
    }));
    const made = simplify(differentiate(stack(module).module, { fn: "f", of: 0, wrt: [0, 1, 2], name: "g" }).module);
    sound(made);
    expect(dots(made.functions.get("g")!)).toBe(3);
    expect(opsOf(made.functions.get("g")!).filter((op) => op.op === "pad")).toEqual([]);
  });
});

describe("rule 4: sums of products", () => {
  it("become one product over the joined axes, in any order and layout; what is no product stays beside it", () => {
    const [E, R, S] = [axis("e", 2), axis("r", 2), axis("s", 3)];
    const module = moduleOf((m) => m.define("f", (b) => {
      const [h, B] = [b.param(f32(T, E, R)), b.param(f32(E, R, O))];
      const [k, C] = [b.param(f32(S, T)), b.param(f32(O, S))];
      const y = b.param(f32(T, O));
      const bias = b.param(f32(O));
      const low = b.add(bias, b.dot(h, B, ["e", "r"]));
      return [b.add(b.add(low, y), b.transpose(b.dot(C, k, ["s"]), ["t", "o"]))];
    }));
    const { module: made, report } = stack(module);
    expect(report.map((r) => r.rule)).toEqual([4]);
    expect(dots(made.functions.get("f")!)).toBe(1);
    same(module, made);
  });

  it("not where a product has another reader, where axes differ, or where it shares a batch axis", () => {
    const [R, S] = [axis("r", 2), axis("s", 3)];
    const made = (write: (b: Builder, p: Value, q: Value) => readonly Value[]): readonly number[] =>
      rules(moduleOf((m) => m.define("f", (b) => write(b, b.dot(b.param(f32(T, R)), b.param(f32(R, O)), ["r"]), b.dot(b.param(f32(T, S)), b.param(f32(S, O)), ["s"])))));
    expect(made((b, p, q) => [b.add(p, q)])).toEqual([4]);
    expect(made((b, p, q) => [b.add(p, q), b.tanh(p)])).toEqual([]);
    expect(made((b, p, q) => [b.add(p, q), p])).toEqual([]);
    expect(made((b, p) => [b.add(p, b.dot(b.param(f32(T, S)), b.param(f32(S)), ["s"]))])).toEqual([]);
    expect(made((b, p) => [b.add(p, b.dot(b.param(f32(T, S)), b.param(f32(T, S, O)), ["s"]))])).toEqual([]);
  });

  it("a frozen matrix takes part in neither rule, directly, laid out otherwise or through a function's list", () => {
    const [R, S] = [axis("r", 2), axis("s", 2)];
    const written = (trainable: boolean): Module => {
      const m = new ModuleBuilder();
      const types = { W: f32(S, I), A: f32(I, R), B: f32(R, O), C: f32(S, O) };
      const bound = (Object.keys(types) as (keyof typeof types)[]).map((name) => {
        const [free, type] = [name === "A" || name === "B" || trainable, { kind: "list", count: 2, of: types[name] } as const];
        m.weight({ name, type, trainable: free, decay: false, initializer: free ? { kind: "zeros" } : { kind: "checkpoint" }, sources: [0, 1].map((i) => ({ order: types[name].axes.map((a) => a.name), ...(free ? { adapter: { names: [`${name}.${i}`] } } : { tensor: `${name}.${i}` }) })) });
        return { kind: "weight", weight: name } as const;
      });
      m.define("layer", (b) => {
        const x = b.param(f32(T, I));
        const [W, A, B, C] = Object.values(types).map((t) => b.param(t)) as [Value, Value, Value, Value];
        const [h, k] = [b.dot(x, A, ["i"]), b.dot(x, b.transpose(W, ["i", "s"]), ["i"])];
        return [b.add(x, b.tanh(b.mean(b.add(b.dot(h, B, ["r"]), b.dot(k, C, ["s"])), ["o"])))];
      });
      m.define("f", (b) => {
        const lists = Object.values(types).map((of) => b.param({ kind: "list", count: 2, of }));
        return b.fold({ fn: "layer", count: 2, carried: [b.param(f32(T, I))], lists });
      });
      m.entry("logits", { fn: "f", params: [...bound, { kind: "input", name: "x" }], results: [{ kind: "output", name: "y" }] });
      return m.finish();
    };
    expect(rules(written(true))).toEqual([4, 5]);
    expect(rules(written(false))).toEqual([]);
    same(written(true), stack(written(true)).module);
  });
});

describe("mixtures of any groups", () => {
  /** Groups of random ranks, gated or not, each with its own or one shared first factor; axes in random orders. */
  function mixtureOf(seed: number, groups: number): Module {
    const next = numbers(seed);
    const pick = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
    const shuffled = (axes: Axis[]): Axis[] => axes.map((a) => [next(), a] as const).sort((p, q) => p[0] - q[0]).map(([, a]) => a);
    return moduleOf((m) => m.define("f", (b) => {
      const x = b.param(f32(...shuffled([T, I])), "x");
      const param = (name: string, ...axes: Axis[]): Value => b.param(f32(...shuffled(axes)), name);
      const E = axis("all", 2 * groups);
      const gates = b.softmax(b.dot(x, param("router", I, E), ["i"]), "all");
      let y = b.transpose(b.tanh(b.add(param("base", T, O), param("bias", O))), shuffled([T, O]).map((a) => a.name));
      for (let g = 0; g < groups; g++) {
        const [e, r] = [axis(`e${g}`, 2), axis(`r${g}`, pick(1, 3))];
        const kind = pick(0, 3);
        const A = param(`A${g}`, I, r, ...(kind === 1 ? [] : [e]));
        const B = param(`B${g}`, r, O, ...(kind === 2 ? [] : [e]));
        const scale = 0.5 + next();
        const h = b.dot(x, A, ["i"]);
        // Shared A, shared B, always on, or neither.
        const expert = b.mul(b.dot(h, B, [r.name]), scale);
        const gate = b.slice(gates, "all", 2 * g, e);
        y = b.add(y, b.sum(kind === 3 ? expert : b.mul(expert, gate), [e.name]));
      }
      return [weighed(b, y), y];
    }));
  }

  it("are two products whatever the groups, the router's with the first factors and the second factors', and six with all gradients", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 3 }), (seed, groups) => {
      const module = mixtureOf(seed, groups);
      const { module: made, report } = stack(simplify(module));
      for (const r of report) expect(r.after.flops < r.before.flops || (r.after.flops === r.before.flops && r.after.bytes < r.before.bytes)).toBe(true);
      expect(dots(made.functions.get("f")!)).toBe(2);
      same(module, made);
      same(module, layout(simplify(made), { transposeFlags: false }).module);
    }), { numRuns: 25, seed: 4 });
    // Gradients: of the joined graph, against those of the graph as it was written (which finite differences hold).
    const module = mixtureOf(11, 2);
    const wrt = module.functions.get("f")!.params.map((_, i) => i);
    const gradients = (m: Module): Module => differentiate(m, { fn: "f", of: 0, wrt, name: "g" }).module;
    const made = layout(simplify(gradients(stack(simplify(module)).module)), { transposeFlags: false }).module;
    same(gradients(module), made, "g");
    expect(dots(made.functions.get("g")!)).toBe(6);
  });
});
