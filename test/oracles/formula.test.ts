import { describe, expect, it } from "vitest";
import { randomNormal } from "../../src/runtime/index.ts";
import { testBackends } from "../support/backends.ts";
import type { CaseTensor } from "../../src/cli/verify/case.ts";
import { solve, type Problem } from "./formula.ts";
import { specFrom, verifyCase } from "./run.ts";

/** One layer of LoRAMoE whose numbers need no file: the formula, written out by hand, says what is right. */
interface Variant {
  readonly name: string;
  readonly groups: readonly [knowledge: number, skill: number];
  readonly sizes: { readonly samples: number; readonly positions: number; readonly in: number; readonly out: number; readonly rank: number };
  readonly alpha: number;
  readonly weight: number;
  readonly delta: number;
  readonly form: "cv2" | "var_over_mean";
  readonly pull: "toward" | "away";
  readonly unmasked: boolean;
  /** Real positions of each sample. */
  readonly lengths: readonly number[];
  /** 0 knowledge, 1 downstream, -1 neither. */
  readonly kinds: readonly number[];
}

const variants: readonly Variant[] = [
  { name: "as published", groups: [3, 3], sizes: { samples: 2, positions: 4, in: 6, out: 9, rank: 2 }, alpha: 16, weight: 0.1, delta: 0.1, form: "cv2", pull: "away", unmasked: true, lengths: [4, 2], kinds: [0, 1] },
  { name: "masked, pulled towards its group", groups: [3, 3], sizes: { samples: 3, positions: 5, in: 7, out: 5, rank: 3 }, alpha: 3, weight: 2, delta: 0.3, form: "cv2", pull: "toward", unmasked: false, lengths: [5, 1, 3], kinds: [1, 0, 1] },
  { name: "the paper's variance over mean", groups: [2, 4], sizes: { samples: 2, positions: 6, in: 5, out: 8, rank: 1 }, alpha: 1, weight: 0.5, delta: 0.6, form: "var_over_mean", pull: "toward", unmasked: false, lengths: [6, 4], kinds: [0, 1] },
  { name: "groups of unequal size, a sample of neither kind", groups: [1, 2], sizes: { samples: 4, positions: 3, in: 8, out: 4, rank: 4 }, alpha: 8, weight: 1, delta: 0.2, form: "cv2", pull: "away", unmasked: false, lengths: [3, 2, 3, 1], kinds: [0, -1, 1, 0] },
  { name: "without localisation", groups: [2, 2], sizes: { samples: 1, positions: 7, in: 4, out: 4, rank: 2 }, alpha: 4, weight: 1, delta: 0, form: "cv2", pull: "toward", unmasked: true, lengths: [5], kinds: [0] },
];

function problemOf(v: Variant, seed: number): Problem {
  const experts = v.groups[0] + v.groups[1];
  const { samples: S, positions: P, in: I, out: O, rank: R } = v.sizes;
  let stream = 0;
  // Numbers that float32 holds, so that single and double precision start from the same.
  const normal = (count: number, deviation: number): Float64Array => {
    const values = new Float32Array(count);
    randomNormal(values, seed, 0, stream++);
    return Float64Array.from(values, (value) => Math.fround(value * deviation));
  };
  return {
    sizes: { ...v.sizes, experts },
    alpha: v.alpha,
    weight: v.weight,
    factors: v.pull === "away" ? { matched: 1 + v.delta, other: 1 - v.delta } : { matched: 1 - v.delta, other: 1 + v.delta },
    form: v.form,
    matched: v.kinds.map((kind) => Array.from({ length: experts }, (_, e) => kind === (e < v.groups[0] ? 0 : 1))),
    x: normal(S * P * I, 1),
    C: normal(S * P * O, 1),
    mask: Float64Array.from({ length: S * P }, (_, t) => (v.unmasked || t % P < v.lengths[Math.floor(t / P)]! ? 1 : 0)),
    base: normal(O * I, 0.4),
    router: normal(experts * I, 0.7),
    A: normal(experts * R * I, 0.4),
    B: normal(experts * O * R, 0.4),
  };
}

const specOf = (v: Variant): string => `base llama = llama("none")

adapter Case on llama {
  at layers.*.mlp.up_proj {
    experts knowledge[${v.groups[0]}] = lora(rank: ${v.sizes.rank}, alpha: ${v.alpha})
    experts skill[${v.groups[1]}]     = lora(rank: ${v.sizes.rank}, alpha: ${v.alpha})
    route softmax()
    balance ${v.weight} * localized(delta: ${v.delta}, form: ${v.form}, pull: ${v.pull})${v.unmasked ? " unmasked" : ""} {
      world_knowledge -> knowledge
      downstream      -> skill
    }
  }
}
`;

/** The problem and its solution as a case that `moec verify` reads. */
function caseOf(v: Variant, p: Problem): Map<string, CaseTensor> {
  const { samples: S, positions: P, in: I, out: O, rank: R, experts: E } = p.sizes;
  const whole = solve(p);
  const balance = solve(p, true);
  const tensors = new Map<string, CaseTensor>();
  const put = (name: string, shape: readonly number[], data: Float64Array): void => void tensors.set(name, { dtype: "F64", shape, data });
  const each = (prefix: string, A: Float64Array, B: Float64Array): void => {
    for (let e = 0; e < E; e++) {
      put(`${prefix}expert.${e}.A`, [R, I], A.slice(e * R * I, (e + 1) * R * I));
      put(`${prefix}expert.${e}.B`, [O, R], B.slice(e * O * R, (e + 1) * O * R));
    }
  };
  put("x", [S, P, I], p.x);
  put("C", [S, P, O], p.C);
  // The mask that the batch has; `unmasked` is the spec's to obey.
  put("mask", [S, P], Float64Array.from({ length: S * P }, (_, t) => (t % P < v.lengths[Math.floor(t / P)]! ? 1 : 0)));
  put("kind", [S], Float64Array.from(v.kinds));
  put("base.weight", [O, I], p.base);
  put("router.weight", [E, I], p.router);
  each("", p.A, p.B);
  put("output", [S, P, O], whole.output);
  put("gates", [S, P, E], whole.gates);
  put("loss_balance", [1], Float64Array.of(whole.balance));
  put("loss_total", [1], Float64Array.of(whole.total));
  for (const [prefix, { gradients }] of [["grad.", whole], ["grad_balance.", balance]] as const) {
    put(`${prefix}x`, [S, P, I], gradients.x);
    put(`${prefix}router.weight`, [E, I], gradients.router);
    each(prefix, gradients.A, gradients.B);
  }
  return tensors;
}

describe.each(variants.map((v, i) => [v.name, v, i + 1] as const))("LoRAMoE's formula by hand: %s", (_, v, seed) => {
  const problem = problemOf(v, seed);

  it("has the gradients of its own finite differences", () => {
    const { gradients, total } = solve(problem);
    expect(Number.isFinite(total)).toBe(true);
    for (const name of ["x", "router", "A", "B"] as const) {
      const values = problem[name];
      for (let i = 0; i < values.length; i += Math.ceil(values.length / 7)) {
        const at = (h: number): number => solve({ ...problem, [name]: values.map((x, j) => (j === i ? x + h : x)) }).total;
        expect((at(1e-5) - at(-1e-5)) / 2e-5, `${name}[${i}]`).toBeCloseTo(gradients[name][i]!, 6);
      }
    }
  });

  const compared = 4 + 2 * (2 + 2 * problem.sizes.experts);
  it("agrees in the interpreter to 1e-9", async () => {
    const report = await verifyCase(await specFrom(specOf(v)), caseOf(v, problem), "interpreter", 1e-9);
    expect(report.comparisons.filter((c) => !c.ok)).toEqual([]);
    expect(report.comparisons).toHaveLength(compared);
    expect(report.unused).toEqual([]);
  });

  it.each(testBackends)("agrees on %s to 1e-4", async (backend) => {
    const report = await verifyCase(await specFrom(specOf(v)), caseOf(v, problem), backend, 1e-4);
    expect(report.comparisons.filter((c) => !c.ok)).toEqual([]);
    expect(report.comparisons).toHaveLength(compared);
  });
});

it("a wrong sign, factor or mask does not agree", async () => {
  const v = variants[1]!;
  const problem = problemOf(v, 2);
  for (const wrong of [{ ...v, pull: "away" as const }, { ...v, delta: 0.29 }, { ...v, unmasked: true }, { ...v, alpha: 3.001 }, { ...v, form: "var_over_mean" as const }]) {
    const report = await verifyCase(await specFrom(specOf(wrong)), caseOf(v, problem), "interpreter", 1e-4);
    expect(report.comparisons.some((c) => !c.ok), JSON.stringify(wrong)).toBe(true);
  }
});
