import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Module, type Op, type Value, axis, interpret, interpretEntry, listOf, scalar, tensor } from "../../src/ir/index.ts";
import { differentiate, gradientsEntry, optimize, release, simplify, stack } from "../../src/passes/index.ts";
import { cheapestToKeep } from "../../src/passes/keep.ts";
import { elementsOf, nominalBytes } from "../../src/passes/tools.ts";
import { mixture } from "./mixture.ts";
import { difference, moduleOf, numbers, randomArg, sound } from "./support.ts";
import { modules, randomModule } from "./random-graphs.ts";

/** Values 0 … n-1 of random costs, each made from earlier ones; some cannot be made again, some are at hand. */
function randomProblem(seed: number, size: number) {
  const next = numbers(seed);
  const values = Array.from({ length: size }, (_, i): Value => ({ type: scalar(), name: String(i) }));
  const costs = values.map(() => 1 + Math.floor(next() * 9));
  const free = values.map(() => next() < 0.15);
  const makers = values.map((v, i): Op | undefined => {
    if (next() < 0.2) return undefined;
    const operands = values.slice(0, i).filter(() => next() < 0.4);
    return { op: next() < 0.3 ? "exp" : "add", operands, attributes: {}, results: [v] };
  });
  const at = (v: Value): number => Number(v.name);
  const reads = values.filter(() => next() < 0.4);
  return {
    values,
    problem: { reads, maker: (v: Value) => makers[at(v)], free: (v: Value) => free[at(v)]!, again: (op: Op) => op.op === "add", cost: (v: Value) => costs[at(v)]! },
  };
}

describe("what is kept", () => {
  it("is the cheapest set from which all that is read can be made, of all sets", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 9 }), (seed, size) => {
      const { values, problem } = randomProblem(seed, size);
      const enough = (kept: ReadonlySet<Value>): boolean => {
        const there = (v: Value): boolean => {
          if (problem.free(v) || kept.has(v)) return true;
          const maker = problem.maker(v);
          return maker !== undefined && problem.again(maker) && maker.operands.every(there);
        };
        return problem.reads.every(there);
      };
      const cost = (kept: Iterable<Value>): number => [...kept].reduce((n, v) => n + problem.cost(v), 0);
      const found = cheapestToKeep(problem);
      expect(enough(found)).toBe(true);
      const best = Math.min(...Array.from({ length: 2 ** size }, (_, bits) => new Set(values.filter((_, i) => (bits >> i) & 1))).filter(enough).map(cost));
      expect(cost(found)).toBe(best);
    }), { numRuns: 200, seed: 1 });
  });

  it("of one adapted linear of eight experts of rank 4 is x and less than a tenth more", () => {
    const [T, I, O, E, R] = [axis("t", 1024), axis("i", 1024), axis("o", 2752), axis("e", 8), axis("r", 4)];
    const f32 = (...axes: (typeof T)[]) => tensor("f32", axes);
    const module = moduleOf((m) => {
      m.define("linear", (b) => {
        const x = b.param(f32(T, I), "x");
        const [W, router, A, B] = [b.param(f32(O, I)), b.param(f32(I, E)), b.param(f32(I, E, R)), b.param(f32(E, R, O))];
        const gates = b.softmax(b.dot(x, router, ["i"]), "e");
        const y = b.add(b.dot(x, W, ["i"]), b.sum(b.mul(gates, b.mul(b.dot(b.dot(x, A, ["i"]), B, ["r"]), 2)), ["e"]));
        return [b.add(x, b.mean(b.tanh(y), ["o"]))];
      });
      m.define("f", (b) => {
        const lists = [f32(O, I), f32(I, E), f32(I, E, R), f32(E, R, O)].map((of) => b.param(listOf(2, of)));
        const x = b.param(f32(T, I));
        return [b.sum(b.fold({ fn: "linear", count: 2, carried: [x], lists })[0]!, ["t", "i"])];
      });
    });
    const { module: made } = differentiate(stack(simplify(module)).module, { fn: "f", of: 0, wrt: [1, 2, 3], name: "g" });
    const kept = made.functions.get("linear_forward")!.results.slice(1);
    const x = nominalBytes(f32(T, I));
    // tanh's result is what the layer around the linear keeps: the linear itself could do without it.
    const own = kept.filter((v) => elementsOf(v.type) !== 1024 * 2752);
    expect(kept.length - own.length).toBe(1);
    expect(own.reduce((n, v) => n + nominalBytes(v.type), 0)).toBeLessThan(1.1 * x);
  });

  it("of layers that are computed again is what goes from layer to layer, with the same gradients and a smaller peak", () => {
    const source = stack(simplify(mixture())).module;
    const [plain, again] = [gradientsEntry(source).module, gradientsEntry(source, { recompute: "layers" }).module];
    sound(again);
    const kept = (m: Module): string[] => {
      const fold = m.functions.get("gradients")!.body.find((op) => op.op === "fold" && !(op.attributes as { reverse: boolean }).reverse)!;
      return fold.results.flatMap((v) => (v.type.kind === "list" ? [v.type.of.axes.map((a) => a.name).join()] : []));
    };
    expect(kept(again)).toEqual(["sample,position,hidden"]);
    expect(kept(plain).length).toBeGreaterThan(1);
    const next = numbers(5);
    const train = mixture().entries.get("train")!;
    const given = { weight: {} as Record<string, never>, input: {} as Record<string, never> };
    train.params.forEach((p, i) => {
      const arg = randomArg(mixture().functions.get("train")!.params[i]!.type, next, -0.7, 0.7, { sample: 2, position: 5 });
      if (p.kind === "weight") given.weight[p.weight] = arg as never;
      else if (p.kind === "input") given.input[p.name] = arg as never;
    });
    const [x, y] = [interpretEntry(plain, "gradients", given), interpretEntry(again, "gradients", given)];
    for (const side of ["output", "gradient"] as const) for (const name of Object.keys(x[side])) expect(difference(x[side][name]!, y[side][name]!)).toBeLessThan(1e-12);
    const held = (m: Module): number => release(m, { sample: 8, position: 64 }).report.find((r) => r.fn === "gradients")!.peakBytes;
    expect(held(again)).toBeLessThan(held(plain));
  });

  it("computing layers again keeps the gradients of any graph, and is an option of `optimize`", () => {
    fc.assert(fc.property(modules, ({ seed, size }) => {
      const module = randomModule(seed, Math.min(size, 6));
      const made = (recompute: "cheap" | "layers"): Module => differentiate(module, { fn: "f", of: 0, wrt: [0, 1, 2], name: "g", recompute }).module;
      sound(made("layers"));
      const next = numbers(seed);
      const args = module.functions.get("f")!.params.map((p) => randomArg(p.type, next));
      const [x, y] = [interpret(made("cheap"), "g", args), interpret(made("layers"), "g", args)];
      x.forEach((v, i) => expect(difference(v, y[i]!)).toBeLessThan(1e-12));
    }), { numRuns: 40, seed: 9 });
    const peaks = (["cheap", "layers"] as const).map((recompute) => {
      const { module, reports } = optimize(mixture(), { transposeFlags: false, recompute, debug: true });
      return reports.release.find((r) => r.fn === module.entries.get("gradients")!.fn)!.peakBytes;
    });
    expect(peaks[1]).toBeLessThan(peaks[0]!);
  });
});
