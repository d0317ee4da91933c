import { expect } from "vitest";
import { numbers } from "../passes/support.ts";
import { near, sum } from "../std/by-hand.ts";
import { draws, run, site, valuesOf, type Site } from "../std/support.ts";
import { clean, computes, does, expert, gives, on, routed, router, value, type Cases } from "./cases.ts";

const own = (body: string): string => expert("weight l [out] = ones()", body);
const two = "weight A [in, rank] = zeros()\n  weight B [in, rank] = zeros()\n  weight l [out] = ones()";
const ranked = (body: string): string => on("always own(rank: 2)", `expert own(rank: int) {\n  ${two}\n  (x [in], y [out]) -> [out] = ${body}\n}\n`);

/** R7, expressions, R8, axes, and R9, built-in functions. */
export const expressions: Cases = {
  "R7.1": [
    value("const v = 1 + 2 * 3 ^ 2", 19),
    value("const v = 2 ^ 3 ^ 2", 512),
    value("const v = 7 - 3 - 2", 2),
    value("const v = 24 / 4 / 2", 3),
    value("const v = -2 ^ 2", -4),
    value("const v = not 1 == 2 and true or false", true),
    value("const v = true or false and false", true),
    value("const v = 1 + 1 < 3", true),
    value("const v = 1 - -7 % 4", 0),
    gives("MOE1011", "a chain of numbers", "const v = 1 < 2 < 3\n"),
    gives("MOE1011", "a chain of tensors", own("(y [out]) -> [out] = l * (0 < y < 1)")),
    computes("sum((1 + 2 * x ^ 2 - x / 4) * l, over: in) * m", (x) => sum(x.map((v) => 1 + 2 * v * v - v / 4))),
  ],
  "R7.2": [
    value("const v = if 1 < 2 then 3 else 1 / 0", 3),
    gives("MOE2007", "on data", own("(y [out]) -> [out] = if y > 0 then y * l else l")),
    computes("sum(where(x > 0, x, -2 * x) * l, over: in) * m", (x) => sum(x.map((v) => (v > 0 ? v : -2 * v)))),
  ],
  "R7.3": [
    computes("a = x\n  * l\nb = a - 1\nsum(b, over: in) * m", (x) => sum(x.map((v) => v - 1))),
    value("const w = 2 const v = w\n + 1", 3),
  ],
  "R7.4": [
    gives("MOE1017", "a call of a call", "const v = max(1, 2)(3)\n"),
    clean("by name, in any order", on("always lora(alpha: 4, rank: 2)")),
    gives("MOE2003", "a name that it lacks", on("always lora(rankk: 2)")),
    gives("MOE2003", "one too many", "const v = max(1, 2, 3)\n"),
    gives("MOE2003", "one twice", on("always lora(2, rank: 2)")),
  ],
  "R7.5": [
    value("const v = [2, 4, 6][0]", 2),
    value("const v = [2, 4, 6][1.99]", 4),
    gives("MOE2009", "past the end", "const v = [2, 4, 6][3]\n"),
    gives("MOE2009", "before the start", "const v = [2, 4, 6][-1]\n"),
    clean("by the share of the layers", on("always lora(rank: [1, 2][layer * 2 / layers])")),
    gives("MOE2041", "more entries than layers", on("always lora(rank: [1, 2, 3][layer])")),
    gives("MOE2009", "fewer", on("always lora(rank: [1][layer])")),
  ],

  "R8.1": [
    does("a weight's order of axes changes nothing", async () => {
      const sizes = { in: 4, out: 3, sample: 1, position: 2 };
      const text = (axes: string): string => `expert own() {\n  weight A [${axes}] = zeros()\n  (x [in]) -> [out] = x @ A\n}\n`;
      const [a, b] = [await site("always own()", sizes, numbers(1), text("in, out")), await site("always own()", sizes, numbers(2), text("out, in"))];
      const A = valuesOf(a, "A");
      const turned = A.map((_, i) => A[(i % 4) * 3 + Math.floor(i / 4)]!);
      run(b, "output", { x: valuesOf(a, "x"), "base.weight": valuesOf(a, "base.weight"), A: turned }).forEach((v, i) => near(v, run(a, "output")[i]!));
    }),
    gives("MOE3002", "an axis twice", expert("weight A [in, in] = zeros()", "(x [in]) -> [out] = x @ A")),
  ],
  "R8.2": [
    does("by name, whatever the order", async () => {
      const sizes = { in: 3, out: 3, sample: 1, position: 2 };
      // in and out have one size: by position x * A and x * B would be alike.
      const made = await site("always own()", sizes, numbers(3), "expert own() {\n  weight A [out, in] = zeros()\n  (x [in], y [out]) -> [out] = sum(x * A * y, over: in)\n}\n");
      const [x, A, W] = [valuesOf(made, "x"), valuesOf(made, "A"), valuesOf(made, "base.weight")];
      run(made, "output").forEach((v, i) => {
        const [t, o] = [Math.floor(i / 3), i % 3];
        const y = sum([0, 1, 2].map((k) => x[3 * t + k]! * W[3 * o + k]!));
        near(v, y + sum([0, 1, 2].map((k) => x[3 * t + k]! * A[3 * o + k]! * y)));
      });
    }),
    gives("MOE3002", "no broadcast to what is declared", own("(x [in], y [out]) -> [out] = y * l * x")),
  ],
  "R8.3": [
    clean("one in common", ranked("y * l + sum(x @ A * (x @ B))")),
    gives("MOE3001", "none", ranked("y * l + sum(x @ A * (l @ B))")),
    gives("MOE3001", "two", ranked("y * l + sum(A @ B) * sum(x)")),
    clean("two, and it says which", ranked("y * l + sum(dot(A, B, over: in)) * sum(x)")),
  ],
  "R8.4": [
    computes("sum(x * l) * m", (x) => sum(x)),
    computes("mean(x * l, over: in) * m", (x) => sum(x) / x.length),
    computes("count(x) * m * sum(l, over: in) / 4", (x) => x.length),
    gives("MOE3001", "an axis that it has not", own("(x [in], y [out]) -> [out] = y * l * sum(x, over: out)")),
  ],
  "R8.5": [
    gives("MOE3003", "an axis that nothing mentions", own("(y [out]) -> [out] = y * l * sum(y, over: position)")),
    does("tokens do not meet", async () => {
      const made = await site("always own()", { in: 4, out: 3, sample: 2, position: 3 }, numbers(5), "expert own() {\n  weight l [out] = ones()\n  (x [in]) -> [out] = l * (x @ x - greatest(x) + mean(x))\n}\n");
      const x = valuesOf(made, "x");
      const other = run(made, "output", { x: x.map((v, i) => (i < 4 ? v : -v)) });
      expect(other.slice(0, 3)).toEqual(run(made, "output").slice(0, 3));
      expect(other.slice(3)).not.toEqual(run(made, "output").slice(3));
    }),
  ],

  "R9.1": [
    value("const v = max(sqrt(9), 2) + floor(1.5) + softplus(0) - log(2)", 4),
    gives("MOE2002", "one that there is none of", own("(y [out]) -> [out] = l * swish(y)")),
    clean("one of the library", own("(y [out]) -> [out] = l * silu(y)")),
    gives("MOE2003", "one that lacks what it needs", own("(y [out]) -> [out] = l * softmax(y)")),
    computes("sum(is_top(where(x > 0, 1, 0), 2, over: in) * index(in) * l) * m", (x) => {
      // Of equal ones the first come first.
      const order = [0, 1, 2, 3].sort((a, b) => Number(x[b]! > 0) - Number(x[a]! > 0) || a - b);
      return order[0]! + order[1]!;
    }),
    computes("sum(erf(x) * l) * m - sum(erf(-x)) * m", (x) => 2 * sum(x.map((v) => integral(v)))),
    computes("sum(along([1, 2, 3, 4], in) * x * l) * length([1, 1]) * m", (x) => 2 * sum(x.map((v, i) => (i + 1) * v))),
    computes("sum(cumsum(reverse(x * l, over: in), over: in) * index(in)) * m", (x) => {
      const back = [...x].reverse();
      return sum(back.map((_, i) => i * sum(back.slice(0, i + 1))));
    }),
  ],
  "R9.2": [
    does("drop, noise and random in training and in evaluation", async () => {
      const sizes = { in: 3, out: 2, sample: 2, position: 2 };
      const text = "expert own() {\n  weight l [out] = ones()\n  (y [out]) -> [out] = l * (drop(y, 0.5) + noise(y) + random(y))\n}\n";
      const [off, training] = [await site("always own()", sizes, numbers(1), text), await site("always own()", sizes, numbers(1), text, "", true)];
      const formula = (made: Site, left: (y: number, i: number) => number): number[] => {
        const [x, W, l] = [valuesOf(made, "x"), valuesOf(made, "base.weight"), valuesOf(made, "l")];
        return Array.from({ length: 8 }, (_, i) => {
          const y = sum([0, 1, 2].map((k) => x[3 * Math.floor(i / 2) + k]! * W[3 * (i % 2) + k]!));
          return y + l[i % 2]! * left(y, i);
        });
      };
      formula(off, (y) => y + 0 + 0.5).forEach((v, i) => near(run(off, "output")[i]!, v));
      const { values, drawn } = draws(training, "output", {}, numbers(9));
      const [u, n, r] = drawn.map((d) => [...d.data]) as [number[], number[], number[]];
      formula(training, (y, i) => (u[i]! < 0.5 ? 0 : 2 * y) + n[i]! + r[i]!).forEach((v, i) => near(values[i]!, v));
    }),
    does("each draw is one of its own", async () => {
      const made = await site("always own()\nalways own()", { in: 3, out: 2, sample: 2, position: 2 }, numbers(1), "expert own() {\n  weight l [out] = ones()\n  (y [out]) -> [out] = l * noise(y)\n}\n", "", true);
      const streams = made.module.functions.get("case")!.body.flatMap((op) => (op.op === "random" ? [(op.attributes as { stream: number }).stream] : []));
      expect(streams).toHaveLength(2);
      expect(new Set(streams).size).toBe(2);
    }),
    clean("a router may draw noise", routed(router("(x [in]) -> [expert]", "= softmax(x @ W + noise(x @ W), over: expert)"))),
    gives("MOE2004", "a share of 1", own("(y [out]) -> [out] = l * drop(y, 1)")),
  ],
};

/** erf(x) as the integral that it is, 2/√π ∫ e^(-t²) dt from 0 to x, by Simpson's rule. */
function integral(x: number): number {
  const n = 2000;
  const h = x / n;
  const f = (i: number): number => Math.exp(-((i * h) ** 2));
  return (2 / Math.sqrt(Math.PI)) * (h / 3) * (f(0) + f(n) + sum(Array.from({ length: n - 1 }, (_, i) => (i % 2 === 0 ? 4 : 2) * f(i + 1))));
}
