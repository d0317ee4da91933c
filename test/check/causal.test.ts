import { describe, expect, it } from "vitest";
import type { Tensor } from "../../src/ir/index.ts";
import { interpret } from "../../src/ir/index.ts";
import { numbers, randomArg } from "../passes/support.ts";
import { site, type Site } from "../std/support.ts";
import { checkSource, spec } from "./support.ts";

/**
 * MOE3023 against experiments: what the proof says of a router is compared with whether its gates change where what comes
 * later does. The prompt may be looked at as a whole, so what changes lies behind it.
 */

const sizes = { in: 3, out: 2, sample: 2, position: 6 };
/** Places of the prompt, in every sample. */
const PROMPT = 2;

/** A router with the body given, which makes logits [position, expert], or [expert], of `l [position, expert]`. */
const router = (body: string, result = "position, expert"): string => `router probe() {
  weight W [in, expert] = normal(0.02)
  (x [position, in], mask [position], prompt [position]) -> [${result}] {
    axis source = position
    l = x @ W
${body.split("\n").map((line) => `    ${line}`).join("\n")}
  }
}
`;
const attention = (scores: string, condition: string): string => `past = ${condition}\ns = dot(l, rename(l, position, to: source), over: expert)\na = ${scores}\nsoftmax(dot(a, rename(l, position, to: source), over: source), over: expert)`;
const earlier = (value: string): string => `past = index(source) <= index(position)\nv = rename(l, position, to: source)\nsigmoid(${value})`;

/** Bodies whose gates see nothing that comes later. */
const causal: Readonly<Record<string, string>> = {
  "the token alone": router("softmax(l, over: expert)"),
  "a running sum": router("softmax(cumsum(l, over: position), over: expert)"),
  "a running mean": router("softmax(cumsum(l * mask, over: position) / max(cumsum(mask, over: position), 1), over: expert)"),
  "capacity counted forward": router("c = is_top(l, 1, over: expert) * mask\nsigmoid(l) * c * (cumsum(c, over: position) <= 2)"),
  "the prompt's sum": router("softmax(sum(l * prompt, over: position), over: expert)", "expert"),
  "the prompt's mean": router("softmax(l + sum(l * prompt, over: position) / max(sum(prompt, over: position), 1), over: expert)"),
  "squares of the prompt": router("q = l * prompt\nsigmoid(sum(q * q, over: position))", "expert"),
  "attention to what came before": router(attention("softmax(where(past, s, -1e9), over: source)", "index(source) <= index(position)")),
  "the same, the other way round": router(attention("softmax(where(past, s, -1e9), over: source)", "index(position) >= index(source)")),
  "attention to real tokens that came before": router(attention("softmax(where(past, s, -1e9), over: source)", "index(source) <= index(position) and rename(mask, position, to: source) > 0")),
  "the same, with a temperature": router(attention("softmax(where(past, s, -1e9) / 0.5, over: source)", "index(source) <= index(position)")),
  "exponentials of what came before": router(attention("exp(where(past, s, -1e9))", "index(source) <= index(position)")),
  "a sum of what came before": router(earlier("sum(past * v, over: source)")),
  "a sum of what came strictly before": router("sigmoid(sum((index(source) < index(position)) * rename(l, position, to: source), over: source))"),
  "the greatest so far": router(earlier("greatest(where(past, v, -1e9), over: source)")),
  "the first token": router("softmax(l + part(l, position, 0), over: expert)"),
  "its place": router("softmax(l * index(position), over: expert)"),
};

/** Bodies whose gates do. */
const seeing: Readonly<Record<string, string>> = {
  "a running sum from the end": router("softmax(reverse(cumsum(reverse(l, over: position), over: position), over: position), over: expert)"),
  "the last token": router("softmax(reverse(l, over: position), over: expert)"),
  "a sum over positions": router("softmax(sum(l, over: position), over: expert)", "expert"),
  "a mean over real positions": router("softmax(sum(l * mask, over: position) / max(sum(mask, over: position), 1), over: expert)", "expert"),
  "a mean": router("softmax(l - mean(l, over: position), over: expert)"),
  "a mean over the prompt that counts all positions": router("softmax(mean(l * prompt, over: position), over: expert)", "expert"),
  "softmax over positions (Soft MoE)": router("softmax(l, over: position)"),
  "the greatest of all": router("softmax(l - greatest(l, over: position), over: expert)"),
  "experts that choose tokens": router("sigmoid(l) * is_top(l, 2, over: position)"),
  "the number of positions": router("softmax(l / count(l, over: position), over: expert)"),
  "the number of real tokens": router("softmax(l / max(sum(mask, over: position), 1), over: expert)"),
  "what is not the prompt": router("softmax(sum(l * (1 - prompt), over: position), over: expert)", "expert"),
  "the prompt, moved": router("softmax(sum(l * (prompt + 1), over: position), over: expert)", "expert"),
  "the prompt's exponentials": router("softmax(l * sum(exp(l * prompt), over: position), over: expert)"),
  "attention to everything": router(attention("softmax(s, over: source)", "index(source) <= index(position)").replace(/^past.*\n/, "")),
  "attention to what comes later": router(attention("softmax(where(past, s, -1e9), over: source)", "index(source) >= index(position)")),
  "attention to zeros in the place of later tokens": router(attention("softmax(where(past, s, 0), over: source)", "index(source) <= index(position)")),
  "attention with later scores made 0": router(attention("softmax(s * past, over: source)", "index(source) <= index(position)")),
  "attention to nobody, which spreads over all": router(attention("softmax(where(past, s, -1e9), over: source)", "index(source) < index(position)")),
  "attention to chosen tokens, which may be none": router(attention("softmax(where(past and s > 0.3, s, -1e9), over: source)", "index(source) <= index(position)")),
  "attention to itself, made low, or nobody": router(attention("softmax(where(past, where(index(source) < index(position), s, -1e9), -1e9), over: source)", "index(source) <= index(position)")),
  "attention by a past that is nothing": router(attention("softmax(where(past * 0 > 0, s, -1e9), over: source)", "index(source) <= index(position)")),
  "the third token": router("softmax(l + part(l, position, 2), over: expert)"),
  "tokens by their number": router("axis row = 3\nsoftmax(l + sum(gather(l, index(row), over: position), over: row), over: expert)"),
  "what is not the past": router(earlier("sum((1 - past) * v, over: source)")),
  "the past, moved": router(earlier("sum((past + 1) * v, over: source)")),
  "the past and one more for each": router(earlier("sum(past * v + 1, over: source)")),
  "a choice between past and later": router(earlier("sum(where(past, v, 0.5 * v), over: source)")),
  "a choice that counts what is later": router(earlier("sum(where(past, v, 1), over: source)")),
  "the greatest so far, or 0 where anything is later": router(earlier("greatest(past * v - 3 * past, over: source)")),
  "at least something for everyone": router(earlier("sum(max(past * v, 0.2), over: source)")),
};

/** Values of an input, by sample and position, where `change` says so moved. */
function moved(made: Site, name: "x" | "mask", change: (sample: number, position: number) => boolean): Tensor {
  const t = made.args[made.param(name)] as Tensor;
  const width = t.data.length / (sizes.sample * sizes.position);
  return {
    ...t,
    data: Float64Array.from(t.data, (v, i) => {
      const at = Math.floor(i / width);
      if (!change(Math.floor(at / sizes.position), at % sizes.position)) return v;
      return name === "mask" ? 1 - v : 2 * v + Math.sin(i + 1);
    }),
  };
}

/** Gates [sample, position, expert] with some arguments replaced. */
function gatesWith(made: Site, replaced: Readonly<Record<string, Tensor>>): Tensor {
  const at = new Map(Object.entries(replaced).map(([name, t]) => [made.param(name), t]));
  return interpret(made.module, "case", made.args.map((a, i) => at.get(i) ?? a))[made.outputs.indexOf("gates")] as Tensor;
}

/** The first `positions` places of every sample of a tensor that has them. */
function shortened(t: Tensor, positions: number): Tensor {
  const axis = t.axes.findIndex((a) => a.name === "position");
  if (axis < 0) return t;
  const inner = t.axes.slice(axis + 1).reduce((n, a) => n * a.size, 1);
  const data = t.data.filter((_, i) => Math.floor(i / inner) % t.axes[axis]!.size < positions) as Float64Array;
  return { ...t, axes: t.axes.map((a, i) => (i === axis ? { ...a, size: positions } : a)), data };
}

/** Whether some gate of a token changes with a later token, with how many come later, or with another sample. */
async function depends(text: string): Promise<boolean> {
  for (const seed of [1, 2, 3]) {
    const made = await site("experts e[3] = lora(rank: 1)\nroute probe()", sizes, numbers(seed), text);
    const next = numbers(90 + seed);
    const args = [...made.args];
    if (made.has("x")) args[made.param("x")] = randomArg(made.module.functions.get("case")!.params[made.param("x")]!.type, next, -2, 2, { sample: sizes.sample, position: sizes.position });
    if (made.has("prompt")) args[made.param("prompt")] = { ...(args[made.param("prompt")] as Tensor), data: Float64Array.from({ length: sizes.sample * sizes.position }, (_, i) => Number(i % sizes.position < PROMPT)) };
    const at: Site = { ...made, args };
    const before = gatesWith(at, {});
    const experts = 3;
    const differs = (after: Tensor, positions: number, upTo: number, samples: readonly number[]): boolean =>
      samples.some((s) => Array.from({ length: upTo * experts }, (_, k) => Math.abs(after.data[s * positions * experts + k]! - before.data[s * sizes.position * experts + k]!) > 1e-9).some(Boolean));
    for (let from = PROMPT; from < sizes.position; from++) {
      const later = (_: number, p: number): boolean => p >= from;
      for (const name of ["x", "mask"] as const) if (differs(gatesWith(at, { [name]: moved(at, name, later) }), sizes.position, from, [0, 1])) return true;
      // The very text that generation would see: nothing comes later.
      const cut: Site = { ...at, args: at.args.map((a) => (typeof a === "number" || Array.isArray(a) ? a : shortened(a as Tensor, from))) };
      if (differs(gatesWith(cut, {}), from, from, [0, 1])) return true;
    }
    for (const name of ["x", "mask"] as const) if (differs(gatesWith(at, { [name]: moved(at, name, (s) => s === 1) }), sizes.position, sizes.position, [0])) return true;
  }
  return false;
}

/** Whether the proof goes through; no other mistake is expected. */
async function proved(text: string): Promise<boolean> {
  const program = await checkSource(spec("experts e[3] = lora(rank: 1)\nroute probe()", "layers.*.mlp.up_proj", text));
  const codes = program.diagnostics.filter((d) => d.severity === "error").map((d) => d.code);
  expect(codes.filter((c) => c !== "MOE3023")).toEqual([]);
  return codes.length === 0;
}

describe("what the proof lets pass sees nothing that comes later", () => {
  it.each(Object.keys(causal))("%s", async (name) => {
    expect({ depends: await depends(causal[name]!), proved: await proved(causal[name]!) }).toEqual({ depends: false, proved: true });
  });
});

describe("what sees a later token, or how many there are, is refused", () => {
  it.each(Object.keys(seeing))("%s", async (name) => {
    expect({ depends: await depends(seeing[name]!), proved: await proved(seeing[name]!) }).toEqual({ depends: true, proved: false });
  });
});

it("the samples of a batch are no axis of a router", async () => {
  const text = router("softmax(sum(l, over: sample), over: expert)").replace("x [position, in]", "x [sample, position, in]");
  const program = await checkSource(spec("experts e[3] = lora(rank: 1)\nroute probe()", "layers.*.mlp.up_proj", text));
  expect(program.diagnostics.map((d) => d.code)).toContain("MOE3003");
});
