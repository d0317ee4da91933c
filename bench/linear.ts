/**
 * One adapted linear layer, forward and backward with the input's gradient: what moec generates, against what a good user
 * writes by hand in TensorFlow.js, against the frozen layer alone. All sides in one process, interleaved.
 *
 *     npm run bench -- linear [--backend wasm] [--experts 8] [--rounds 15] [--tokens 1024] [--in 1024] [--out 2752]
 *     npm run bench -- linear --case groups     other mixtures of the same sum of ranks, beside the frozen layer alone
 *     npm run bench -- linear --alone           without the hand-written sides, which are slow
 *     npm run bench -- linear --profile         the kernels of a step, and the time in each
 */
// Registered by a module whose declarations TypeScript 7 does not take for a module.
// @ts-expect-error
import "@tensorflow/tfjs-core/dist/register_all_gradients";
import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { Planner, Scope, elaborator, type AxisRef } from "../src/check/index.ts";
import { dryEmitter } from "../src/check/emitter.ts";
import { exportNames, printTfjs } from "../src/codegen/index.ts";
import { checkText } from "../src/compiler/index.ts";
import type { Manifest } from "../src/formats/manifest.ts";
import { MemoryHost } from "../src/formats/host.ts";
import type { Module } from "../src/ir/index.ts";
import { lowerCase } from "../src/lower/index.ts";
import { differentiate, optimize, simplify, stack } from "../src/passes/index.ts";
import { startBackend, type BackendName, type Tf } from "../src/runtime/index.ts";
import { library } from "../src/cli/library.ts";
import { importText, runtimeImport } from "../src/cli/load.ts";
import { interleave, machine, type Measured, type Side } from "./measure.ts";
import { profiled, type KernelTime } from "./profile.ts";

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

export interface LinearResult {
  readonly case: Case;
  readonly backend: string;
  readonly device: string;
  readonly sizes: LinearSizes;
  readonly machine: ReturnType<typeof machine>;
  readonly sides: readonly (Measured & { readonly toFrozen: number; readonly cpuToFrozen: number })[];
}

/** The site's graph after all passes, with the one entry `step`: the output, and the gradients of sum(output * C) for x and the adapter's weights. */
export async function stepGraph(s: LinearSizes, which: Case): Promise<Module> {
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
  const wrt = entry.params.flatMap((p, i) => ((p.kind === "weight" && trained.has(p.weight)) || (p.kind === "input" && p.name === "x") ? [i] : []));
  // The order of the pipeline: stacked first, so that backward is born stacked.
  const symbols = { sample: s.samples, position: s.positions };
  const made = differentiate(stack(simplify(module), { sizes: symbols }).module, { fn: "case", of: outputs.indexOf("total"), wrt, name: "step" }).module;
  const fn = made.functions.get("step")!;
  // What a training step needs: the output and the gradients.
  const keep = [outputs.indexOf("output"), ...wrt.map((_, i) => outputs.length + i)];
  const functions = new Map(made.functions).set("step", { ...fn, results: keep.map((i) => fn.results[i]!) });
  const alone = { ...made, functions, entries: new Map([["step", { fn: "step", params: entry.params, results: keep.map((i) => ({ kind: "output" as const, name: `r${i}` })) }]]) };
  return optimize(alone, { transposeFlags: false, sizes: symbols }).module;
}

/** The same as generated code. */
export async function generated(tf: Tf, s: LinearSizes, data: Data, which: Case): Promise<() => Tensor[]> {
  const optimized = await stepGraph(s, which);
  const source = await printTfjs([{ module: optimized, manifest: { adapter: "A", spec: { file: "bench.moe", sha256: "" } } as Manifest }], { types: false, format: false, expose: "functions", runtimeImport });
  const create = (await importText(source))[exportNames(["A"])[0]!] as (tf: Tf) => Record<string, (...args: Tensor[]) => Tensor[]>;
  const step = create(tf)["step"]!;
  const args = stepArguments(tf, s, data, which, optimized);
  return () => step(...args);
}

/** What the entry `step` is called with. */
export function stepArguments(tf: Tf, s: LinearSizes, data: Data, which: Case, optimized: Module): Tensor[] {
  const params = optimized.functions.get("step")!.params;
  return optimized.entries.get("step")!.params.map((binding, i) => {
    const type = params[i]!.type;
    const shape = type.kind === "tensor" ? type.axes.map((a) => (a.name === "sample" ? s.samples : a.name === "position" ? s.positions : (a.size as number))) : [];
    const of = (t: Tensor): Tensor => tf.keep(tf.reshape(t, shape));
    if (binding.kind === "input") return binding.name === "kind" ? tf.fill(shape, 0, "int32") : of({ x: data.x, C: data.C, mask: data.mask }[binding.name]!);
    if (binding.kind !== "weight") throw new Error(`an unexpected param: ${binding.kind}`);
    const name = optimized.weights.find((w) => w.name === binding.weight)!.name;
    if (name.startsWith("base.weight")) return type.kind === "tensor" && type.axes[0]!.name === "in" ? of(data.W) : of(data.Wt);
    // The hand-written sides use the same numbers: A of all experts is [in, E·r], B [E·r, out].
    if (which === "loramoe") return of(name.startsWith("router") ? data.R : name.includes(".A") ? data.A : data.B);
    return tf.keep(tf.randomNormal(shape, 0, 0.03, "float32", 7));
  });
}

/** The numbers that all sides share. */
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
  const n = (rows: number, columns: number, std: number): Tensor2D => tf.keep(tf.randomNormal([rows, columns], 0, std, "float32", 7) as Tensor2D);
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

/** A LoRAMoE layer as a careful user writes it: a loop over experts under TensorFlow.js's own gradients. */
function loop(tf: Tf, s: LinearSizes, d: Data): () => Tensor[] {
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
    return tf.sum(tf.mul(y, d.C));
  };
  const grads = tf.grads(f as (...args: Tensor[]) => Tensor);
  return () => tf.tidy(() => grads([d.x, d.R, ...As, ...Bs]));
}

/** The same stacked by hand, still under TensorFlow.js's own gradients. */
function stacked(tf: Tf, s: LinearSizes, d: Data): () => Tensor[] {
  const f = (x: Tensor, R: Tensor, A: Tensor, B: Tensor): Tensor => {
    const gates = tf.softmax(tf.matMul(x as Tensor2D, R as Tensor2D));
    const T = x.shape[0]!;
    const h = tf.reshape(tf.matMul(x as Tensor2D, A as Tensor2D), [T, s.experts, s.rank]);
    const weighted = tf.reshape(tf.mul(tf.mul(2, h), tf.reshape(gates, [T, s.experts, 1])), [T, s.experts * s.rank]);
    const y = tf.add(tf.matMul(x as Tensor2D, d.W), tf.matMul(weighted as Tensor2D, B as Tensor2D));
    return tf.sum(tf.mul(y, d.C));
  };
  const grads = tf.grads(f as (...args: Tensor[]) => Tensor);
  return () => tf.tidy(() => grads([d.x, d.R, d.A, d.B]));
}

/** Plain LoRA of the same trainable size. */
function plain(tf: Tf, d: Data): () => Tensor[] {
  const f = (x: Tensor, A: Tensor, B: Tensor): Tensor =>
    tf.sum(tf.mul(tf.add(tf.matMul(x as Tensor2D, d.W), tf.mul(2, tf.matMul(tf.matMul(x as Tensor2D, A as Tensor2D), B as Tensor2D))), d.C));
  const grads = tf.grads(f as (...args: Tensor[]) => Tensor);
  return () => tf.tidy(() => grads([d.x, d.A, d.B]));
}

/** The frozen layer alone, in the layout that suits the backend: the limit. */
export function frozen(tf: Tf, d: Data): () => Tensor[] {
  return () => [tf.matMul(d.x, d.W), tf.matMul(d.C, d.Wt)];
}

/** Where a step's time goes, kernel by kernel. */
export async function profileLinear(backendName: BackendName, sizes: LinearSizes, rounds: number, which: Case): Promise<readonly KernelTime[]> {
  const { tf } = await startBackend(backendName);
  const data = makeData(tf, sizes);
  const timed = profiled(tf);
  const step = await generated(timed.tf, sizes, data, which);
  for (let round = -2; round < rounds; round++) {
    if (round === 0) timed.reset();
    for (const t of step()) t.dispose();
  }
  return timed.report(rounds);
}

export async function benchLinear(backendName: BackendName, sizes: LinearSizes, rounds: number, which: Case, others = true): Promise<LinearResult> {
  const backend = await startBackend(backendName);
  const { tf } = backend;
  const data = makeData(tf, sizes);
  const side = (name: string, make: () => Tensor[]): Side => ({
    name,
    run: async () => {
      const results = make();
      // One small read: everything before it has been computed.
      const last = results[0]!;
      const one = tf.tidy(() => tf.slice(tf.reshape(last, [last.size]), 0, 1));
      await backend.read(one);
      for (const t of [...results, one]) t.dispose();
    },
  });
  const byHand = (): Side[] => [
    side("loop over experts, tfjs gradients", loop(tf, sizes, data)),
    side("stacked by hand, tfjs gradients", stacked(tf, sizes, data)),
    side("plain LoRA, tfjs gradients", plain(tf, data)),
  ];
  const sides = [
    side("frozen linear, explicit", frozen(tf, data)),
    side("moec", await generated(tf, sizes, data, which)),
    ...(which === "loramoe" && others ? byHand() : []),
  ];
  const measured = await interleave(sides, rounds);
  const limit = measured[0]!;
  return { case: which, backend: backend.name, device: backend.device, sizes, machine: machine(), sides: measured.map((m) => ({ ...m, toFrozen: m.median / limit.median, cpuToFrozen: m.cpu / limit.cpu })) };
}
