/**
 * One adapted linear layer, forward and backward with the input's gradient, as moec generates it, as a good user writes it
 * by hand in TensorFlow.js, and the frozen layer alone. All sides compute on the same numbers.
 */
// Registered by a module whose declarations TypeScript 7 does not take for a module.
// @ts-expect-error
import "@tensorflow/tfjs-core/dist/register_all_gradients";
import type { Scalar, Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { Planner, Scope, elaborator, type AxisRef } from "../src/check/index.ts";
import { dryEmitter } from "../src/check/emitter.ts";
import { exportNames, printTfjs } from "../src/codegen/index.ts";
import { checkText } from "../src/compiler/index.ts";
import { flagCosts, type BackendName } from "../src/formats/backends.ts";
import type { Manifest } from "../src/formats/manifest.ts";
import { MemoryHost } from "../src/formats/host.ts";
import type { Module } from "../src/ir/graph.ts";
import { lowerCase } from "../src/lower/index.ts";
import { differentiate, dispatch, machines, optimize, simplify, stack } from "../src/passes/index.ts";
import type { Backend } from "../src/runtime/index.ts";
import type { Tf } from "../src/runtime/program.ts";
import { library } from "../src/cli/library.ts";
import { runText } from "../src/cli/load.ts";

export interface LinearSizes {
  readonly samples: number;
  readonly positions: number;
  readonly in: number;
  readonly out: number;
  readonly experts: number;
  readonly rank: number;
}

/** Mixtures whose ranks sum up to E·r, as specs write them. "loramoe" is the one that the hand-written sides compute. */
export const cases = {
  loramoe: (s: LinearSizes) => `experts e[${s.experts}] = lora(rank: ${s.rank})  route softmax()`,
  ranks: (s: LinearSizes) => `experts low[${s.experts / 2}] = lora(rank: ${s.rank / 2})  experts high[${s.experts / 2}] = lora(rank: ${(3 * s.rank) / 2})  route softmax()`,
  shared: (s: LinearSizes) => `experts e[${s.experts}] = lora(rank: ${s.rank}, shared: A)  route softmax()`,
  top_k: (s: LinearSizes) => `experts e[${s.experts}] = lora(rank: ${s.rank})  route top_k(2)`,
  groups: (s: LinearSizes) => `always lora(rank: ${s.rank})  experts low[${s.experts / 2}] = lora(rank: ${s.rank / 2})  experts high[${s.experts / 2 - 1}] = rslora(rank: ${(3 * s.rank) / 2})  route softmax()`,
} as const;
export type Case = keyof typeof cases;

/** The setting in words. */
export function settingOf(s: LinearSizes): string {
  return `T=${s.samples * s.positions}, ${s.in}→${s.out}, E=${s.experts}, r=${s.rank}`;
}

/** What one side returns of a step, by name: "x" is the input's gradient, others those of the weights. */
export interface Stepping {
  readonly names: readonly string[];
  /** The tensors are the caller's. */
  readonly step: () => Tensor[];
}

/** moec's side with its graph after all passes, whose one entry is `step`. */
export interface Generated extends Stepping {
  readonly module: Module;
  /** The arguments of the entry's function. */
  readonly args: readonly Tensor[];
  /** Axes by name of each result but the first, in the order that it lies in memory. */
  readonly axes: readonly (readonly string[])[];
}

/** The site's generated function: the output, and gradients of sum(output * C) for x and the adapter's weights. */
export async function generated({ tf, name }: Pick<Backend, "tf" | "name">, s: LinearSizes, data: Data, which: Case): Promise<Generated> {
  const module = await adapted(s, which, name);
  const entry = module.entries.get("step")!;
  const params = module.functions.get("step")!.params;
  const args = entry.params.map((binding, i) => {
    const { type } = params[i]!;
    if (type.kind !== "tensor") throw new Error("a linear has no lists");
    const shape = type.axes.map((a) => (a.name === "sample" ? s.samples : a.name === "position" ? s.positions : (a.size as number)));
    const of = (t: Tensor): Tensor => tf.keep(tf.reshape(t, shape));
    if (binding.kind === "input") return binding.name === "kind" ? tf.keep(tf.fill(shape, 0, "int32")) : of({ x: data.x, C: data.C, mask: data.mask }[binding.name]!);
    if (binding.kind !== "weight") throw new Error(`an unexpected param: ${binding.kind}`);
    if (binding.weight.startsWith("base.weight")) return type.axes[0]!.name === "in" ? of(data.W) : of(data.Wt);
    // The hand-written sides use the same numbers.
    if (which === "loramoe") return inOrder(tf, s, { router: data.R, A: data.A, B: data.B }[partOf(binding.weight)], partOf(binding.weight), type.axes.map((a) => a.name));
    return tf.keep(tf.randomNormal(shape, 0, 0.03, "float32", 7));
  });
  const step = (await functionsOf(tf, module))["step"]!;
  const names = entry.results.map((r) => (r.kind === "output" ? r.name : r.kind === "gradient" ? r.weight : ""));
  const results = module.functions.get("step")!.results;
  const axes = results.map((v) => (v.type.kind === "tensor" ? v.type.axes.map((a) => a.name) : []));
  return { module, args, names, axes, step: () => step(...args) };
}

/** The graph of the step, after all passes. */
async function adapted(s: LinearSizes, which: Case, backend: BackendName): Promise<Module> {
  const text = `adapter A on base { at linear { ${cases[which](s)} } }`;
  const { checked } = await checkText(new MemoryHost([]), "bench.moe", text, { library: library() });
  const { context } = checked;
  const at = checked.definitions.adapters.get("A")!.sites[0]!;
  const axis = (name: string, size: number): AxisRef => context.axes.get(name, size);
  const place = { in: axis("in", s.in), out: axis("out", s.out), layer: 0, layers: 1 };
  const planner = new Planner(context.definitions, elaborator(context, dryEmitter, false), new Scope());
  const plan = planner.plan(at, place, (body) => body(), () => {});
  const { module, outputs } = lowerCase(context, { kind: "site", plan, in: place.in, out: place.out, data: { kinds: [], fields: [] } });
  const entry = module.entries.get("case")!;
  const trained = new Set(module.weights.filter((w) => w.trainable).map((w) => w.name));
  const wrt = entry.params.flatMap((p, i) => (p.kind === "weight" && trained.has(p.weight) ? [{ i, name: p.weight }] : p.kind === "input" && p.name === "x" ? [{ i, name: "x" }] : []));
  // The order of the pipeline: sorted and stacked first, so that backward is born so.
  const symbols = { sample: s.samples, position: s.positions };
  const made = differentiate(stack(dispatch(simplify(module), { sizes: symbols, machine: machines[backend] }).module, { sizes: symbols }).module, { fn: "case", of: outputs.indexOf("total"), wrt: wrt.map(({ i }) => i), name: "step" }).module;
  const fn = made.functions.get("step")!;
  // What a training step needs: the output and the gradients.
  const results = [fn.results[outputs.indexOf("output")]!, ...wrt.map((_, k) => fn.results[outputs.length + k]!)];
  const bound = [{ kind: "output", name: "output" } as const, ...wrt.map(({ name }) => ({ kind: "gradient", weight: name }) as const)];
  const functions = new Map(made.functions).set("step", { ...fn, results });
  const alone = { ...made, functions, entries: new Map([["step", { fn: "step", params: entry.params, results: bound }]]) };
  return optimize(alone, { transposeFlags: flagCosts[backend], dispatch: "never", sizes: symbols }).module;
}

/** Prints a module's functions, and loads them. */
export async function functionsOf(tf: Tf, module: Module): Promise<Record<string, (...args: Tensor[]) => Tensor[]>> {
  const manifest = { adapter: "A", spec: { file: "bench.moe", sha256: "" } } as Manifest;
  const source = await printTfjs([{ module, manifest }], { types: false, format: false, expose: "functions", form: "function" });
  const create = runText(source)[exportNames(["A"])[0]!] as (tf: Tf) => Record<string, (...args: Tensor[]) => Tensor[]>;
  return create(tf);
}

type Part = "router" | "A" | "B";

/** What a weight of the adapter, or its gradient, is: the names are the spec's. */
export function partOf(weight: string): Part {
  return weight.startsWith("router") ? "router" : weight.includes(".A") ? "A" : "B";
}

/** The hand-written sides' matrix with the axes that moec's has: A is [in, expert·rank] there and B [expert·rank, out]. */
function inOrder(tf: Tf, s: LinearSizes, matrix: Tensor2D, part: Part, wanted: readonly string[]): Tensor {
  const { shape, axes } = matrixAxes(s, part);
  return tf.keep(tf.tidy(() => tf.transpose(tf.reshape(matrix, shape), wanted.map((a) => axes.indexOf(a)))));
}

/** A gradient that has moec's axes as the matrix that the hand-written sides have. */
export function asMatrix(tf: Tf, s: LinearSizes, gradient: Tensor, part: Part, axes: readonly string[]): Tensor {
  const { shape, axes: wanted } = matrixAxes(s, part);
  const rows = part === "B" ? s.experts * s.rank : s.in;
  return tf.tidy(() => tf.reshape(tf.transpose(gradient, wanted.map((a) => axes.indexOf(a))), [rows, shape.reduce((n, size) => n * size, 1) / rows]));
}

function matrixAxes(s: LinearSizes, part: Part): { readonly shape: number[]; readonly axes: readonly string[] } {
  if (part === "router") return { shape: [s.in, s.experts], axes: ["in", "expert"] };
  if (part === "A") return { shape: [s.in, s.experts, s.rank], axes: ["in", "expert", "rank"] };
  return { shape: [s.experts, s.rank, s.out], axes: ["expert", "rank", "out"] };
}

export interface Data {
  readonly x: Tensor2D;
  readonly C: Tensor2D;
  readonly mask: Tensor;
  /** [in, out] and its transpose. */
  readonly W: Tensor2D;
  readonly Wt: Tensor2D;
  readonly R: Tensor2D;
  readonly A: Tensor2D;
  readonly B: Tensor2D;
}

export function makeData(tf: Tf, s: LinearSizes): Data {
  const T = s.samples * s.positions;
  let seed = 7;
  const n = (rows: number, columns: number, std: number): Tensor2D => tf.keep(tf.randomNormal([rows, columns], 0, std, "float32", seed++) as Tensor2D);
  const W = n(s.in, s.out, 0.03);
  return {
    x: n(T, s.in, 1),
    C: n(T, s.out, 1),
    mask: tf.keep(tf.ones([T])),
    W,
    Wt: tf.keep(tf.transpose(W)),
    R: n(s.in, s.experts, 0.03),
    A: n(s.in, s.experts * s.rank, 0.03),
    B: n(s.experts * s.rank, s.out, 0.03),
  };
}

/** Sees the loss go by between forward and backward. */
export type Between = (loss: Scalar) => Scalar;
const straight: Between = (loss) => loss;

/** A LoRAMoE layer as a careful user writes it: a loop over experts under TensorFlow.js's own gradients. */
export function loop(tf: Tf, s: LinearSizes, d: Data, between = straight): Stepping {
  const part = (t: Tensor2D, axis: 0 | 1, i: number): Tensor2D => tf.keep(axis === 0 ? tf.slice(t, [i * s.rank, 0], [s.rank, s.out]) : tf.slice(t, [0, i * s.rank], [s.in, s.rank]));
  const As = Array.from({ length: s.experts }, (_, i) => part(d.A, 1, i));
  const Bs = Array.from({ length: s.experts }, (_, i) => part(d.B, 0, i));
  const f = (x: Tensor, R: Tensor, ...weights: Tensor[]): Tensor => {
    const gates = tf.softmax(tf.matMul(x as Tensor2D, R as Tensor2D));
    let y: Tensor = tf.matMul(x as Tensor2D, d.W);
    for (let i = 0; i < s.experts; i++) {
      const g = tf.slice(gates, [0, i], [-1, 1]);
      y = tf.add(y, tf.mul(g, tf.mul(2, tf.matMul(tf.matMul(x as Tensor2D, weights[i] as Tensor2D), weights[s.experts + i] as Tensor2D))));
    }
    return between(tf.sum(tf.mul(y, d.C)));
  };
  const grads = tf.grads(f as (...args: Tensor[]) => Tensor);
  return { names: ["x", "router", ...As.map((_, i) => `A${i}`), ...Bs.map((_, i) => `B${i}`)], step: () => tf.tidy(() => grads([d.x, d.R, ...As, ...Bs])) };
}

/** The same stacked by hand, still under TensorFlow.js's own gradients. */
export function stacked(tf: Tf, s: LinearSizes, d: Data, between = straight): Stepping {
  const f = (x: Tensor, R: Tensor, A: Tensor, B: Tensor): Tensor => {
    const gates = tf.softmax(tf.matMul(x as Tensor2D, R as Tensor2D));
    const T = x.shape[0]!;
    const h = tf.reshape(tf.matMul(x as Tensor2D, A as Tensor2D), [T, s.experts, s.rank]);
    const weighted = tf.reshape(tf.mul(tf.mul(2, h), tf.reshape(gates, [T, s.experts, 1])), [T, s.experts * s.rank]);
    const y = tf.add(tf.matMul(x as Tensor2D, d.W), tf.matMul(weighted as Tensor2D, B as Tensor2D));
    return between(tf.sum(tf.mul(y, d.C)));
  };
  const grads = tf.grads(f as (...args: Tensor[]) => Tensor);
  return { names: ["x", "router", "A", "B"], step: () => tf.tidy(() => grads([d.x, d.R, d.A, d.B])) };
}

/** Plain LoRA of the same trainable size. */
export function plain(tf: Tf, d: Data, between = straight): Stepping {
  const f = (x: Tensor, A: Tensor, B: Tensor): Tensor =>
    between(tf.sum(tf.mul(tf.add(tf.matMul(x as Tensor2D, d.W), tf.mul(2, tf.matMul(tf.matMul(x as Tensor2D, A as Tensor2D), B as Tensor2D))), d.C)));
  const grads = tf.grads(f as (...args: Tensor[]) => Tensor);
  return { names: ["x", "A", "B"], step: () => tf.tidy(() => grads([d.x, d.A, d.B])) };
}

/** The frozen layer alone, in the layout that suits the backend: the limit. */
export function frozen(tf: Tf, d: Data): Stepping {
  return { names: ["output", "x"], step: () => [tf.matMul(d.x, d.W), tf.matMul(d.C, d.Wt)] };
}

/** What the sides are called. */
export const sideNames = { frozen: "frozen linear, explicit", moec: "moec", loop: "loop over experts, tfjs gradients", stacked: "stacked by hand, tfjs gradients", plain: "plain LoRA, tfjs gradients" } as const;

/**
 * How far the hand-written mixtures' gradients are from moec's: the greatest difference, as a share of the greatest value,
 * over all gradients. A race between sides that compute different things would mean nothing.
 */
export async function disagreement(backend: Backend, s: LinearSizes, ours: Generated, byHand: readonly Stepping[]): Promise<number> {
  const { tf } = backend;
  const results = ours.step();
  const expected = new Map(ours.names.map((name, i): [string, Tensor] => [name === "x" || name === "output" ? name : partOf(name), name === "x" || name === "output" ? results[i]! : asMatrix(tf, s, results[i]!, partOf(name), ours.axes[i]!)]));
  let worst = 0;
  for (const { names, step } of byHand) {
    const found = step();
    const all = (letter: string): Tensor[] => found.filter((_, i) => names[i]!.startsWith(letter));
    const parts: readonly (readonly [string, Tensor])[] = [
      ["x", all("x")[0]!],
      ["router", all("router")[0]!],
      ["A", tf.concat(all("A"), 1)],
      ["B", tf.concat(all("B"), 0)],
    ];
    for (const [name, tensor] of parts) {
      const [a, b] = [await backend.read(expected.get(name)!), await backend.read(tensor)];
      if (a.length !== b.length) throw new Error(`the gradient of ${name} has ${a.length} elements here and ${b.length} there`);
      let [difference, greatest] = [0, 0];
      a.forEach((value, i) => {
        difference = Math.max(difference, Math.abs(value - b[i]!));
        greatest = Math.max(greatest, Math.abs(b[i]!));
      });
      worst = Math.max(worst, difference / greatest);
    }
    for (const [, t] of parts) t.dispose();
    for (const t of found) t.dispose();
  }
  for (const t of [...results, ...expected.values()]) t.dispose();
  return worst;
}
