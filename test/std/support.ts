import { expect } from "vitest";
import { planCase, type CaseTensors } from "../../src/cli/verify/case.ts";
import { interpret, verify, type Arg, type GraphFunction, type Module, type Tensor, type Value } from "../../src/ir/index.ts";
import { applySite, elaborator, lazyBatch, type ElaborationContext, type Tensor as Symbolic } from "../../src/check/index.ts";
import { input } from "../../src/lower/batch.ts";
import { GraphEmitter, lowerCase, type CaseShape, type LoweredCase } from "../../src/lower/index.ts";
import { differentiate } from "../../src/passes/index.ts";
import { checkSource, spec } from "../check/support.ts";
import { randomArg, tensorsOf } from "../passes/support.ts";

/** Sizes of a site and of a batch on it. */
export interface SiteSizes {
  readonly in: number;
  readonly out: number;
  readonly sample: number;
  readonly position: number;
}

/** One adapted linear, lowered as `moec verify` lowers it, with arguments. */
export interface Site {
  readonly module: Module;
  /** The param of an input ("x", "mask", "kind", "C"), or of the weight whose name ends so ("router.W"). */
  readonly param: (name: string) => number;
  /** Whether there is such a param: what no text asks for is none. */
  readonly has: (name: string) => boolean;
  /** Params of everything trained, and of x. */
  readonly wrt: readonly number[];
  readonly outputs: readonly string[];
  readonly args: readonly Arg[];
}

/**
 * Lowers a site that `clauses` put on a linear, and draws arguments for it: every weight in (-0.7, 0.7) but magnitudes
 * and vectors, which lie about 1; a mask that ends somewhere in every sample; kinds, among them none (-1). `more` are further
 * declarations, `data` what the adapter says of its data; `training` lets dropout and noise act.
 */
export async function site(clauses: string, sizes: SiteSizes, next: () => number, more = "", data = "", training = false): Promise<Site> {
  const program = await checkSource(spec(clauses, undefined, more, data));
  const [[, declaration]] = [...program.checked.definitions.adapters] as [[string, Parameters<typeof planCase>[1]]];
  const tensors: CaseTensors = new Map([["base.weight", { dtype: "F64", shape: [sizes.out, sizes.in], data: new Float64Array(sizes.in * sizes.out) }]]);
  const plan = planCase(program, declaration, undefined, tensors);
  const { module, outputs } = (training ? lowerTraining : lowerCase)(program.checked.context, plan.shape);
  expect(verify(module).map((d) => d.message)).toEqual([]);
  const entry = module.entries.get("case")!;
  const symbols = { sample: sizes.sample, position: sizes.position };
  const trained = new Set(module.weights.filter((w) => w.trainable).map((w) => w.name));
  const names = entry.params.map((p) => (p.kind === "input" ? p.name : p.weight));
  const args = names.map((name, i): Arg => {
    const { type } = module.functions.get("case")!.params[i]!;
    const drawn = randomArg(type, next, -0.7, 0.7, symbols);
    const tensor = drawn as Tensor;
    if (name.startsWith("fields.")) return { ...tensor, data: Int32Array.from(tensor.data, () => Math.floor(next() * 3)) };
    if (name === "mask" || name === "prompt") return { ...tensor, data: mask(sizes, next) };
    if (name === "kind") return { ...tensor, data: Int32Array.from(tensor.data, () => Math.floor(next() * (plan.kinds.length + 1)) - 1) };
    if (/\.(l|magnitude)$/.test(name)) return { ...tensor, data: Float64Array.from(tensor.data, (v) => 1 + 0.5 * v) };
    return drawn;
  });
  const find = (name: string): number => names.findIndex((n) => n === name || n.endsWith(`.${name}`));
  return {
    module,
    outputs,
    args,
    wrt: names.flatMap((name, i) => (name === "x" || trained.has(name) ? [i] : [])),
    has: (name) => find(name) >= 0,
    param: (name) => {
      const at = find(name);
      if (at < 0) throw new Error(`there is no "${name}": ${names.join(", ")}`);
      return at;
    },
  };
}

/** A site as training has it. `moec verify` compares evaluation alone, so lowering makes no case of this. */
function lowerTraining(context: ElaborationContext, shape: CaseShape): LoweredCase {
  if (shape.kind !== "site") throw new Error("one linear is expected");
  const emitter = new GraphEmitter("case", { numbers: ["seed", "draw", "step", "steps"] });
  const e = elaborator(context, emitter, true);
  const { axes } = e.ops;
  const rows = [axes.get("sample", "sample"), axes.get("position", "position")];
  const frozen = [shape.out, shape.in];
  const W: Symbolic = {
    kind: "tensor",
    axes: frozen,
    dtype: "f32",
    handle: emitter.weight({ path: ["base", "weight"], axes: frozen, trainable: false, initial: { kind: "checkpoint" }, decay: true, order: frozen, tensor: () => "base.weight" }),
  };
  const x = input(emitter, "x", "f32", [...rows, shape.in]);
  const made = applySite(e, shape.plan, { in: shape.in, out: shape.out, layer: 0, layers: 1 }, {
    x,
    y: e.ops.dot(x, W, [shape.in]),
    W,
    mask: input(emitter, "mask", "f32", rows),
    kind: input(emitter, "kind", "i32", [rows[0]!]),
    data: shape.data,
    batch: lazyBatch(e.ops, (name, t) => emitter.input(name, { kind: "tensor", dtype: t.dtype, axes: t.axes })),
    frozen: { tensor: () => "base.weight", order: frozen },
    statistics: true,
    filePrefix: () => "site",
    sites: 1,
  });
  const outputs: (readonly [string, Symbolic])[] = [["output", e.ops.transpose(made.output, [...rows, shape.out])]];
  if (made.gates) outputs.push(["gates", e.ops.transpose(made.gates, [...rows, ...made.gates.axes.filter((a) => !rows.includes(a))])]);
  if (made.balance) outputs.push(["balance", made.balance]);
  const { entry, weights } = emitter.finish(outputs.map(([name, t]) => [name, t.handle] as const), e.ops.origin());
  return { module: { functions: emitter.functions, weights, entries: new Map([["case", entry]]) }, outputs: outputs.map(([name]) => name) };
}

/** 1 at the first positions of each sample, and one at the least. */
function mask(sizes: SiteSizes, next: () => number): Float64Array {
  const data = new Float64Array(sizes.sample * sizes.position);
  for (let s = 0; s < sizes.sample; s++) {
    const length = 1 + Math.floor(next() * sizes.position);
    data.fill(1, s * sizes.position, s * sizes.position + length);
  }
  return data;
}

type Replaced = Readonly<Record<string, ArrayLike<number> | number>>;

/** The site's arguments with some replaced. */
function replacing(of: Site, replaced: Replaced): readonly Arg[] {
  const at = new Map(Object.entries(replaced).map(([name, value]) => [of.param(name), value]));
  return of.args.map((a, i) => {
    const value = at.get(i);
    if (value === undefined || typeof value === "number") return value ?? a;
    return { ...(a as Tensor), data: Float64Array.from(value) };
  });
}

/** An output of the site with some of its arguments replaced. */
export function run(of: Site, output: string, replaced: Replaced = {}): readonly number[] {
  return draws(of, output, replaced, () => Number.NaN).values;
}

/** An output of a site that draws random numbers, made of those that `next` gives, and what was drawn, in the text's order. */
export function draws(of: Site, output: string, replaced: Replaced, next: () => number): { readonly values: readonly number[]; readonly drawn: readonly Tensor[] } {
  const at = of.outputs.indexOf(output);
  if (at < 0) throw new Error(`there is no output "${output}": ${of.outputs.join(", ")}`);
  const random = new Set(of.module.functions.get("case")!.body.flatMap((op) => (op.op === "random" ? op.results : [])));
  const drawn: Tensor[] = [];
  const results = interpret(of.module, "case", replacing(of, replaced), {
    random: {
      uniform: (out) => void out.forEach((_, i) => (out[i] = next())),
      normal: (out) => void out.forEach((_, i) => (out[i] = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()))),
    },
    trace: (_, value, result) => {
      if (random.has(value)) drawn.push(result as Tensor);
    },
  });
  return { values: [...(results[at] as Tensor).data], drawn };
}

/** The numbers of an argument. */
export function valuesOf(of: Site, name: string): readonly number[] {
  return [...(of.args[of.param(name)] as Tensor).data];
}

/** The gradient of a scalar output by what is trained and by x, in the order of `wrt`. */
export function gradients(of: Site, output: string): readonly Tensor[] {
  const made = differentiate(of.module, { fn: "case", of: of.outputs.indexOf(output), wrt: of.wrt, name: "gradient" }).module;
  expect(verify(made).map((d) => d.message)).toEqual([]);
  return interpret(made, "gradient", of.args).slice(of.outputs.length) as Tensor[];
}

/** What a step across a kink or a jump would change: every truth value and every choice that is made on the way. */
type Choices = readonly string[];

/** A site whose `stop`s are params: what no gradient flows through can be held where it was. */
interface Held {
  readonly module: Module;
  readonly args: readonly Arg[];
  readonly choices: Choices;
}

/** Makes each stop's result a param, with the value that it has at the site's arguments. */
function hold(of: Site): Held {
  const fn = of.module.functions.get("case")!;
  if (of.module.functions.size !== 1) throw new Error("a site is one function");
  const stops = fn.body.filter((op) => op.op === "stop").map((op) => op.results[0]!);
  const values = new Map<Value, Arg>();
  interpret(of.module, "case", of.args, { trace: (_, value, result) => void values.set(value, result) });
  const held: GraphFunction = { ...fn, params: [...fn.params, ...stops], body: fn.body.filter((op) => op.op !== "stop") };
  const module: Module = { ...of.module, functions: new Map([["case", held]]), entries: new Map() };
  const args = [...of.args, ...stops.map((v) => values.get(v)!)];
  return { module, args, choices: evaluate(module, args, 0).choices };
}

function evaluate(module: Module, args: readonly Arg[], of: number): { readonly value: number; readonly choices: Choices } {
  const choices: string[] = [];
  const results = interpret(module, "case", args, {
    trace: (_, value, result) => {
      if (value.type.kind === "tensor" && value.type.dtype !== "f32") choices.push((result as Tensor).data.join());
    },
  });
  return { value: (results[of] as Tensor).data[0]!, choices };
}

/** A step changed a choice: these arguments lie too near to a tie, a threshold or a kink to compare anything. */
export class TooNear extends Error {}

/**
 * Gradients by central differences, extrapolated once (error O(h⁴)), with what is stopped held fixed.
 * @throws TooNear where a step changes a comparison or a selection
 */
export function differences(of: Site, output: string, h = 1e-3): readonly Tensor[] {
  const { module, args, choices } = hold(of);
  const result = of.outputs.indexOf(output);
  const at = (param: number, k: number, step: number): number => {
    const moved = args.map((a, i) => (i === param ? { ...(a as Tensor), data: Float64Array.from((a as Tensor).data, (v, m) => (m === k ? v + step : v)) } : a));
    const found = evaluate(module, moved, result);
    if (found.choices.some((c, i) => c !== choices[i])) throw new TooNear();
    return found.value;
  };
  const slope = (param: number, k: number, step: number): number => (at(param, k, step) - at(param, k, -step)) / (2 * step);
  return of.wrt.map((param) => {
    const [t] = tensorsOf(args[param]!) as [Tensor];
    return { ...t, data: Float64Array.from(t.data, (_, k) => (4 * slope(param, k, h / 2) - slope(param, k, h)) / 3) };
  });
}

/** The greatest difference of two lists of tensors over the greatest number in them, or a floor. */
export function distance(a: readonly Tensor[], b: readonly Tensor[], floor = 1e-3): number {
  let worst = 0;
  let scale = floor;
  a.forEach((t, i) => {
    expect(b[i]!.axes).toEqual(t.axes);
    t.data.forEach((v, k) => {
      const w = b[i]!.data[k]!;
      worst = Number.isNaN(v) || Number.isNaN(w) ? Infinity : Math.max(worst, Math.abs(v - w));
      scale = Math.max(scale, Math.abs(v), Math.abs(w));
    });
  });
  return worst / scale;
}

