/**
 * Tokens sorted by the experts they chose, against all experts for all tokens, stacked: the experts' part alone of one adapted
 * linear (router, top-k gates, LoRA experts; no frozen layer), and a whole feed-forward block for each expert, as in MixLoRA. Forward
 * and backward with the input's gradient, both sides moec's own code, interleaved. Which of the two the pass takes is asked of
 * the pass itself.
 *
 *     npm run bench -- sparse [--backend wasm] [--experts 4,8,16,32,64] [--rank 4,16,64] [--tokens 1024] [--in 1024] [--out 2752] [--rounds 5]
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import { type Module, ModuleBuilder, type Type, type Value, axis, tensor } from "../src/ir/index.ts";
import { type DispatchOptions, type Work, dispatch, differentiate, machines, optimize, simplify, stack } from "../src/passes/index.ts";
import { flagCosts } from "../src/formats/backends.ts";
import { startBackend, type Backend, type BackendName } from "../src/runtime/index.ts";
import { interleave, machine, type Measured, type Side } from "./measure.ts";
import { opened } from "./onnx/linear.ts";
import { functionsOf } from "./sides.ts";
import type { CurveGroup } from "./report.ts";
import { type Row, type Rows, amount } from "./table.ts";

export interface SparseSizes {
  readonly tokens: number;
  readonly in: number;
  readonly out: number;
  readonly experts: readonly number[];
  readonly ranks: readonly number[];
  readonly chosen: readonly number[];
}

export const fullSparse: SparseSizes = { tokens: 1024, in: 1024, out: 2752, experts: [4, 8, 16, 32, 64], ranks: [4, 16, 64], chosen: [1, 2] };
export const quickSparse: SparseSizes = { tokens: 256, in: 256, out: 688, experts: [4, 16, 64], ranks: [4, 16], chosen: [1] };

/** One setting: both sides' time, and which one the pass takes. */
export interface SparsePoint {
  readonly what: "linear" | "block";
  readonly experts: number;
  readonly rank: number;
  readonly chosen: number;
  readonly dense: Measured;
  readonly sorted: Measured;
  readonly takes: "dense" | "sorted";
  /** What the pass weighs: both forms' operations, bytes and kernels, forward. */
  readonly work?: { readonly dense: Work; readonly sorted: Work };
}

export interface SparseResult extends Rows {
  readonly device: string;
  readonly sizes: SparseSizes;
  readonly machine: ReturnType<typeof machine>;
  readonly points: readonly SparsePoint[];
  /** Settings in which the form that the pass does not take was faster, by the clock and in processor time, and how many times. */
  readonly misjudged: readonly { readonly setting: string; readonly times: number; readonly cpu: number }[];
}

export const sideNames = { dense: "moec, every expert for every token", sorted: "moec, tokens sorted" } as const;

interface Setting {
  readonly what: "linear" | "block";
  readonly tokens: number;
  readonly in: number;
  readonly out: number;
  readonly experts: number;
  readonly rank: number;
  readonly chosen: number;
}

/** The graph as a spec's would be: the router's choice as `std/top_k.moe` has it, each expert for each token, weighed, summed. */
function graphOf(s: Setting): Module {
  const m = new ModuleBuilder();
  const [sample, position, from, to, expert, rank] = [axis("sample", 4), axis("position", s.tokens / 4), axis("in", s.in), axis("out", s.out), axis("expert", s.experts), axis("rank", s.rank)];
  const f32 = (...axes: (typeof sample)[]): Type => tensor("f32", axes);
  m.define("case", (b) => {
    const param = (name: string, ...axes: (typeof sample)[]): Value => b.param(f32(...axes), name);
    const x = param("x", sample, position, from);
    const p = b.softmax(b.dot(x, param("R", from, expert), ["in"]), "expert");
    const kept = b.mul(p, b.cast(b.is_top(p, "expert", s.chosen), "f32"));
    const gates = b.div(kept, b.sum(kept, ["expert"]));
    const lora = (h: Value, name: string, over: typeof from, out: typeof to): Value => {
      const [A, B] = [param(`A ${name}`, over, expert, rank), param(`B ${name}`, expert, rank, out)];
      return b.mul(b.dot(b.dot(h, A, [over.name]), B, ["rank"]), 2);
    };
    const adapted = (h: Value, name: string, over: typeof from, out: typeof to): Value => b.add(b.dot(h, param(`W ${name}`, over, out), [over.name]), lora(h, name, over, out));
    const silu = (h: Value): Value => b.mul(h, b.sigmoid(h));
    const made = s.what === "linear" ? lora(x, "y", from, to) : adapted(b.mul(silu(adapted(x, "gate", from, to)), adapted(x, "up", from, to)), "down", to, from);
    const y = b.sum(b.mul(gates, made), ["expert"]);
    const C = param("C", sample, position, s.what === "linear" ? to : from);
    return [b.sum(b.mul(y, C), ["sample", "position", C.type.kind === "tensor" ? C.type.axes[2]!.name : ""])];
  });
  return m.finish();
}

/** The step of one form: the objective, and the gradients of all but the frozen matrices. */
function stepOf(module: Module, how: DispatchOptions["dispatch"], backend: BackendName): Module {
  const fn = module.functions.get("case")!;
  const wrt = fn.params.flatMap((p, i) => (p.name.startsWith("W") || p.name === "C" ? [] : [i]));
  const entries = new Map([["case", { fn: "case", params: fn.params.map((p) => (p.name.startsWith("W") ? ({ kind: "weight", weight: p.name } as const) : ({ kind: "input", name: p.name } as const))), results: [{ kind: "output", name: "y" } as const] }]]);
  const weights = fn.params.filter((p) => p.name.startsWith("W")).map((p) => ({ name: p.name, type: p.type as never, trainable: false, decay: false, initializer: { kind: "checkpoint" } as const, sources: [{ tensor: p.name, order: ["out", "in"] }] }));
  const prepared = stack(dispatch(simplify({ ...module, weights, entries }), { ...(how ? { dispatch: how } : {}) }).module).module;
  const made = differentiate(prepared, { fn: "case", of: 0, wrt, name: "step" }).module;
  const whole = { ...made, entries: new Map([["step", { fn: "step", params: entries.get("case")!.params, results: made.functions.get("step")!.results.map((_, i) => ({ kind: "output", name: `r${i}` }) as const) }]]) };
  return optimize(whole, { transposeFlags: flagCosts[backend], dispatch: "never" }).module;
}

export async function benchSparse(backendName: BackendName, sizes: SparseSizes, rounds: number): Promise<SparseResult> {
  const backend = await startBackend(backendName);
  const points: SparsePoint[] = [];
  const { tokens, in: from, out: to } = sizes;
  for (const chosen of sizes.chosen) for (const rank of sizes.ranks) for (const experts of sizes.experts) points.push(await pointOf(backend, { what: "linear", tokens, in: from, out: to, experts, rank, chosen }, rounds));
  // A block for each expert keeps all of them: a quarter of the tokens and half of the width.
  for (const experts of sizes.experts.filter((e) => e <= 8)) points.push(await pointOf(backend, { what: "block", tokens: tokens / 4, in: from / 2, out: to / 2, experts, rank: 16, chosen: 2 }, rounds));
  // One row for each rank and number of choices: the most experts.
  const most = points.filter((p) => !points.some((q) => q.what === p.what && q.rank === p.rank && q.chosen === p.chosen && q.experts > p.experts));
  const rows = most.map(({ what, experts, rank, chosen, takes, ...sides }): Row => ({
    what: `top-${chosen} of ${experts} ${what === "linear" ? "experts of one linear" : "feed-forward blocks"}, r=${rank}`,
    unit: "ms",
    ours: amount(sides[takes]),
    theirs: amount(sides[takes === "sorted" ? "dense" : "sorted"]),
    rival: true,
  }));
  return { backend: backend.name, device: backend.device, sizes, machine: machine(), points, misjudged: points.flatMap(misjudged), rows };
}

/** Both sides over the number of experts, for each rank and number of choices. */
export function sparseCurves({ points }: SparseResult): readonly CurveGroup[] {
  const groups = new Map<string, SparsePoint[]>();
  for (const p of points) {
    const title = p.what === "linear" ? `one linear, rank ${p.rank}, top-${p.chosen}` : `a feed-forward block for each expert, rank ${p.rank}, top-${p.chosen}`;
    groups.set(title, [...(groups.get(title) ?? []), p]);
  }
  return [...groups].map(([title, own]) => ({
    title,
    axis: "E =",
    curves: (["dense", "sorted"] as const).map((side) => ({ name: own[0]![side].name, points: own.map((p) => ({ ...p[side], x: p.experts })) })),
  }));
}

function misjudged(p: SparsePoint): SparseResult["misjudged"] {
  const [taken, other] = p.takes === "sorted" ? [p.sorted, p.dense] : [p.dense, p.sorted];
  const [times, cpu] = [taken.median / other.median, taken.cpu / other.cpu];
  return times > 1 && cpu > 1 ? [{ setting: `${p.what}, E=${p.experts}, r=${p.rank}, top-${p.chosen}: takes ${p.takes}`, times, cpu }] : [];
}

async function pointOf(backend: Backend, s: Setting, rounds: number): Promise<SparsePoint> {
  const { tf } = backend;
  const graph = graphOf(s);
  const report = dispatch(simplify(graph), { machine: machines[backend.name] }).report.find((r) => r.before);
  const values = new Map<string, Tensor>();
  const sides: { readonly step: () => Promise<Tensor[]>; readonly given: Tensor[] }[] = [];
  for (const how of ["never", "always"] as const) {
    const module = stepOf(graph, how, backend.name);
    const given = module.functions.get("step")!.params.map((p, i): Tensor => {
      const binding = module.entries.get("step")!.params[i]!;
      const name = binding.kind === "input" ? binding.name : "weight" in binding ? (module.weights.find((w) => w.name === binding.weight)?.layoutOf ?? binding.weight) : "";
      const axes = p.type.kind === "tensor" ? p.type.axes : [];
      const shape = axes.map((a) => Number(a.size));
      const known = values.get(name) ?? tf.randomNormal(shape, 0, name.startsWith("x") || name === "C" ? 1 : 0.03, "float32", 7 + values.size);
      values.set(name, known);
      // Only frozen matrices are asked for in another order.
      return known.shape.join() === shape.join() ? known : tf.transpose(known);
    });
    sides.push({ step: await stepOn(backend, module, given), given });
  }
  await agree(backend, await sides[0]!.step(), await sides[1]!.step());
  const named = (name: string, i: number): Side => ({
    name,
    run: async () => {
      const results = await sides[i]!.step();
      for (const t of results) await backend.read(t);
      for (const t of results) t.dispose();
    },
  });
  const [dense, sorted] = (await interleave([named(sideNames.dense, 0), named(sideNames.sorted, 1)], rounds, 1)) as [Measured, Measured];
  tf.dispose([...values.values(), ...sides.flatMap((side) => side.given)].filter((t) => !t.isDisposed));
  const point: SparsePoint = { what: s.what, experts: s.experts, rank: s.rank, chosen: s.chosen, dense, sorted, takes: report?.sorted ? "sorted" : "dense", ...(report?.before && report.after ? { work: { dense: report.before, sorted: report.after } } : {}) };
  return point;
}

/** A module's step on a backend: as generated code, or as a model. */
async function stepOn({ tf, onnx }: Backend, module: Module, given: readonly Tensor[]): Promise<() => Promise<Tensor[]>> {
  if (!onnx) {
    const step = (await functionsOf(tf, module))["step"]!;
    return async () => step(...given);
  }
  const { session, feeds } = await opened(onnx.ort, { module, args: given }, onnx.threads);
  return async () => Object.values(await session.run(feeds)).map((t) => tf.tensor(t.data, [...t.dims]));
}

/** Both sides give the same numbers, but for what float32 leaves of sums in another order. */
async function agree(backend: Backend, a: readonly Tensor[], b: readonly Tensor[]): Promise<void> {
  for (const [i, x] of a.entries()) {
    const [p, q] = [await backend.read(x), await backend.read(b[i]!)];
    let [difference, greatest] = [0, 0];
    p.forEach((v, j) => {
      difference = Math.max(difference, Math.abs(v - q[j]!));
      greatest = Math.max(greatest, Math.abs(v));
    });
    if (!(difference <= 1e-4 * greatest)) throw new Error(`result ${i} of the sides differs by ${difference / greatest} of the greatest: they do not compute the same`);
  }
  for (const t of [...a, ...b]) t.dispose();
}

