import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Arg, type Module, ModuleBuilder, type Tensor, type Weight, axis, interpret, interpretEntry, listOf, numberType, tensor, tensorOf } from "../../src/ir/index.ts";
import { addOptimizer, optimize, scheduleFactor } from "../../src/passes/index.ts";
import type { ScheduleSettings } from "../../src/formats/manifest.ts";
import { moduleOf, sound } from "./support.ts";

interface Case {
  readonly schedule: ScheduleSettings["name"];
  readonly clip: number;
  readonly decay: number;
  readonly steps: number;
  readonly lr: number;
  readonly warmup: number;
  readonly trace: readonly { lr: number; norm: number; a: number[]; layers: number[][]; free: number[] }[];
}
/** PyTorch's own numbers: expected/optimizer.py. */
const expected = JSON.parse(readFileSync(new URL("expected/optimizer.json", import.meta.url), "utf8")) as { readonly cases: readonly Case[] };

const weight = (name: string, type: Weight["type"], decay: boolean, trainable = true): Weight => ({
  name,
  type,
  trainable,
  decay,
  initializer: { kind: "zeros" },
  sources: Array.from({ length: type.kind === "list" ? type.count : 1 }, (_, i) => ({
    order: (type.kind === "list" ? type.of : type).axes.map((a) => a.name),
    ...(trainable ? { adapter: { names: [`${name}.${i}`] } } : { tensor: `${name}.${i}` }),
  })),
});

function weights(): Module {
  const m = new ModuleBuilder();
  m.weight(weight("a", tensor("f32", [axis("i", 2), axis("j", 3)]), true));
  m.weight(weight("frozen", tensor("f32", [axis("i", 2)]), false, false));
  m.weight(weight("layers", listOf(2, tensor("f32", [axis("k", 2)])), true));
  m.weight(weight("free", tensor("f32", [axis("k", 2)]), false));
  return m.finish();
}

const trainOf = (c: Case) => ({
  optimizer: { name: "adamw", lr: c.lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: c.decay } as const,
  schedule: { name: c.schedule, warmup: c.warmup },
  clip: c.clip,
});

const numbersOf = (arg: Arg): number[] => [...(arg as Tensor).data];
const close = (got: readonly number[], want: readonly number[], tolerance = 1e-12): void => {
  expect(got.length).toBe(want.length);
  got.forEach((v, i) => expect(Math.abs(v - want[i]!)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(want[i]!))));
};

describe("the optimizer's entries", () => {
  for (const c of expected.cases)
    for (const optimized of [false, true])
      it(`AdamW, ${c.schedule}, clip ${c.clip}, decay ${c.decay}: PyTorch's numbers${optimized ? " after all passes" : ""}`, () => {
        const module = optimized ? optimize(weights(), { train: trainOf(c), transposeFlags: false, debug: true }).module : addOptimizer(weights(), trainOf(c));
        if (!optimized) sound(module);
        let now: Record<string, Arg> = {
          a: tensorOf({ i: 2, j: 3 }, [0.5, -1, 2, 0.1, 0, -0.3]),
          layers: [tensorOf({ k: 2 }, [1, -2]), tensorOf({ k: 2 }, [0.25, 4])],
          free: tensorOf({ k: 2 }, [3, -0.5]),
        };
        const zero = (t: Tensor): Tensor => ({ ...t, data: new Float64Array(t.data.length) });
        const zeros = (): Record<string, Arg> => Object.fromEntries(Object.entries(now).map(([name, v]) => [name, Array.isArray(v) ? v.map(zero) : zero(v as Tensor)]));
        let [moment1, moment2] = [zeros(), zeros()];
        c.trace.forEach((want, step) => {
          const grad = (n: number, t: Tensor): Tensor => ({ ...t, data: Float64Array.from(t.data, (_, k) => Math.sin(1 + k + 2 * n + 0.7 * step) * ((step % 3) + 0.2)) });
          const gradient: Record<string, Arg> = {
            a: grad(0, now["a"] as Tensor),
            layers: (now["layers"] as readonly Tensor[]).map((t, i) => grad(1 + i, t)),
            free: grad(3, now["free"] as Tensor),
          };
          const out = interpretEntry(module, "update", { weight: now, gradient, moment1, moment2, input: { step, steps: c.steps } });
          now = out.weight;
          moment1 = out.moment1;
          moment2 = out.moment2;
          close([...numbersOf(out.output["lr"]!), ...numbersOf(out.output["norm"]!)], [want.lr, want.norm]);
          close(numbersOf(now["a"]!), want.a);
          (now["layers"] as readonly Tensor[]).forEach((t, i) => close([...t.data], want.layers[i]!));
          close(numbersOf(now["free"]!), want.free);
        });
      });

  it("accumulate adds every gradient, layer by layer", () => {
    const module = addOptimizer(weights(), trainOf(expected.cases[0]!));
    const entry = module.entries.get("accumulate")!;
    expect(entry.params.map((p) => (p.kind === "gradient" ? p.weight : p.kind))).toEqual(["a", "layers", "free", "a", "layers", "free"]);
    const of = (s: number): Arg[] => [tensorOf({ i: 2, j: 3 }, [1, 2, 3, 4, 5, 6].map((v) => v * s)), [tensorOf({ k: 2 }, [s, 1]), tensorOf({ k: 2 }, [2 * s, 0])], tensorOf({ k: 2 }, [s, s])];
    const [a, layers, free] = interpret(module, entry.fn, [...of(1), ...of(10)]);
    expect(numbersOf(a!)).toEqual([11, 22, 33, 44, 55, 66]);
    expect((layers as readonly Tensor[]).map((t) => [...t.data])).toEqual([[11, 2], [22, 0]]);
    expect(numbersOf(free!)).toEqual([11, 11]);
  });

  it("updates small weights as one vector, and large ones as they are", () => {
    const opsIn = (...more: Weight[]): string[] => {
      const m = new ModuleBuilder();
      for (const w of [weight("a", tensor("f32", [axis("i", 2), axis("j", 3)]), true), weight("layers", listOf(2, tensor("f32", [axis("k", 2)])), true), ...more]) m.weight(w);
      const { functions } = addOptimizer(m.finish(), trainOf(expected.cases[0]!));
      return functions.get("update")!.body.map((op) => op.op);
    };
    const count = (ops: readonly string[], op: string): number => ops.filter((o) => o === op).length;
    const [two, three, withLarge] = [opsIn(), opsIn(weight("b", tensor("f32", [axis("m", 5)]), true)), opsIn(weight("large", listOf(2, tensor("f32", [axis("n", 2 ** 16 + 1)])), true))];
    // One call for the squares' sum and one for the update.
    expect([two, three].map((ops) => [count(ops, "call"), count(ops, "fold")])).toEqual([[2, 0], [2, 0]]);
    expect([count(withLarge, "call"), count(withLarge, "fold")]).toEqual([2, 2]);
  });

  it("rounds warmup up, but not for what float32 adds to a whole number", () => {
    const factorAt = (warmup: number, step: number, steps: number): number => {
      const module = moduleOf((m) => m.define("f", (b) => [scheduleFactor(b, { name: "constant", warmup }, b.fill(b.param(numberType)), b.fill(b.param(numberType)))]));
      return numbersOf(interpret(module, "f", [step, steps])[0]!)[0]!;
    };
    // 7 steps of 100, though 0.07 * 100 is 7.000000000000001 in float64 (and 7 in exact arithmetic).
    expect(factorAt(0.07, 6, 100)).toBeCloseTo(6 / 7, 12);
    expect(factorAt(0.07, 7, 100)).toBe(1);
    // 0.03 * 110 = 3.3: four steps.
    expect(factorAt(0.03, 3, 110)).toBeCloseTo(3 / 4, 12);
    expect(factorAt(0, 0, 100)).toBe(1);
  });
});
