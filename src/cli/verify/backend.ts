import type { Tensor as TfTensor } from "@tensorflow/tfjs-core";
import { exportNames, printOnnxFunction, printTfjs } from "../../codegen/index.ts";
import { flagCosts } from "../../formats/backends.ts";
import type { Manifest } from "../../formats/manifest.ts";
import type { Arg, Module, Tensor, TensorType, Type } from "../../ir/index.ts";
import { type DispatchOptions, dispatch, optimize, simplify, stack } from "../../passes/index.ts";
import { startBackend, type BackendName, type Tf } from "../../runtime/index.ts";
import { openSession, type OnnxRuntime, type OrtTensor } from "../../runtime/backends/ort.ts";
import { reorder } from "../../runtime/layout.ts";
import { runText } from "../load.ts";
import { defaultTrain } from "../../check/index.ts";
import type { Runner } from "./run.ts";

/**
 * Runs a function as generated code on a backend, after all passes: what training runs, not the graph as it was
 * lowered.
 */
export async function backendRunner(name: BackendName | "auto", options: DispatchOptions = {}): Promise<Runner> {
  const backend = await startBackend(name);
  const { tf } = backend;
  const run: Runner["run"] = async (module, fn, args) => {
    const found = module.functions.get(fn)!;
    const entry = module.entries.get("case")!;
    // An entry fixes the layout of params and results, so the function that is run becomes the only one.
    const outputs = found.results.map((_, i) => ({ kind: "output" as const, name: `r${i}` }));
    const alone: Module = { ...module, entries: new Map([["case", { fn, params: entry.params, results: outputs }]]) };
    // `prepare` has chosen already which tokens are sorted.
    const optimized = optimize(alone, { transposeFlags: flagCosts[backend.name], dispatch: "never" }).module;
    const bound = optimized.entries.get("case")!;
    // A frozen weight may have been given another layout; its values are those of the original's param.
    const given = bound.params.map((binding, i) => {
      if (binding.kind !== "weight") return args[entry.params.findIndex((p) => JSON.stringify(p) === JSON.stringify(binding))]!;
      const origin = optimized.weights.find((w) => w.name === binding.weight)?.layoutOf ?? binding.weight;
      const arg = args[entry.params.findIndex((p) => p.kind === "weight" && p.weight === origin)]!;
      return ordered(arg, optimized.functions.get(bound.fn)!.params[i]!.type);
    });
    if (backend.onnx) return runModel(backend.onnx, optimized, bound.fn, given);
    const text = await printTfjs([{ module: optimized, manifest: caseManifest() }], { types: false, format: false, expose: "functions", form: "function" });
    const made = runText(text)[exportNames(["Case"])[0]!] as (tf: Tf) => Record<string, (...args: unknown[]) => unknown>;
    const functions = made(tf);
    const tensors = given.map((arg): unknown => (typeof arg === "number" ? arg : Array.isArray(arg) ? (arg as readonly Tensor[]).map((t) => upload(tf, t)) : upload(tf, arg as Tensor)));
    const identifier = Object.keys(functions).find((k) => k === bound.fn) ?? bound.fn;
    const raw = functions[identifier]!(...tensors);
    const results = (found.results.length === 1 && !Array.isArray(raw) ? [raw] : raw) as readonly (TfTensor | readonly TfTensor[])[];
    const read = async (t: TfTensor, type: Type): Promise<Tensor> => {
      const axes = (type.kind === "list" ? type.of : type.kind === "tensor" ? type : undefined)!.axes;
      const data = await backend.read(t);
      return { dtype: "f32", axes: axes.map((a, k) => ({ name: a.name, size: t.shape[k]! })), data: Float64Array.from(data) };
    };
    const values: Arg[] = [];
    for (const [i, r] of results.entries()) {
      const { type } = found.results[i]!;
      values.push(Array.isArray(r) ? await Promise.all((r as readonly TfTensor[]).map((t) => read(t, type))) : await read(r as TfTensor, type));
    }
    return values;
  };
  // As in training: sorted and stacked before it is differentiated, so that backward is born stacked.
  return { prepare: (module) => stack(dispatch(simplify(module), options).module).module, run };
}

/** The same as an ONNX model. */
async function runModel(onnx: OnnxRuntime, module: Module, name: string, args: readonly Arg[]): Promise<readonly Arg[]> {
  const { params, results } = module.functions.get(name)!;
  const bytes = printOnnxFunction(module, name, { params: params.map((_, i) => `host/p${i}`), results: results.map((_, i) => `result/r${i}`) });
  const session = await openSession(onnx.ort, bytes, onnx.threads);
  const feeds: Record<string, OrtTensor> = {};
  const feed = (input: string, arg: Arg): void => {
    if (Array.isArray(arg)) return (arg as readonly Tensor[]).forEach((t, i) => feed(`${input}/${i}`, t));
    if (!session.inputNames.includes(input)) return;
    const { dtype, axes, data } = typeof arg === "number" ? { dtype: "f32", axes: [], data: [arg] } : (arg as Tensor);
    feeds[input] = new onnx.ort.Tensor(dtype === "i32" ? "int32" : "float32", dtype === "i32" ? Int32Array.from(data) : Float32Array.from(data), axes.map((a) => a.size));
  };
  params.forEach((_, i) => feed(`host/p${i}`, args[i]!));
  const made = await session.run(feeds);
  await session.release();
  return results.map(({ type }, i): Arg => {
    const one = (output: string, { axes }: TensorType): Tensor => {
      const { data, dims } = made[output]!;
      return { dtype: "f32", axes: axes.map((a, k) => ({ name: a.name, size: dims[k]! })), data: Float64Array.from(data) };
    };
    if (type.kind === "list") return Array.from({ length: type.count }, (_, k) => one(`result/r${i}/${k}`, type.of));
    return one(`result/r${i}`, type as TensorType);
  });
}

function upload(tf: Tf, t: Tensor): TfTensor {
  const shape = t.axes.map((a) => a.size);
  return t.dtype === "i32" ? tf.tensor(Int32Array.from(t.data), shape, "int32") : tf.tensor(Float32Array.from(t.data), shape, "float32");
}

/** The same values in the axis order that a param wants. */
function ordered(arg: Arg, type: Type): Arg {
  const axes = type.kind === "list" ? type.of.axes : type.kind === "tensor" ? type.axes : [];
  const to = axes.map((a) => a.name);
  const one = (t: Tensor): Tensor => {
    const sizes = Object.fromEntries(t.axes.map((a) => [a.name, a.size]));
    const data = reorder(Float64Array.from(t.data), sizes, t.axes.map((a) => a.name), to);
    return { ...t, axes: to.map((name) => ({ name, size: sizes[name]! })), data };
  };
  if (typeof arg === "number") return arg;
  return Array.isArray(arg) ? (arg as readonly Tensor[]).map(one) : one(arg as Tensor);
}

/** The printer wants a manifest to name its export by; nothing of it is run. */
function caseManifest(): Manifest {
  return {
    format: "moec/1",
    moec: "",
    adapter: "Case",
    spec: { file: "", sha256: "" },
    base: { model: "", path: "", config: {}, vocabulary: 0 },
    groups: [],
    kinds: [],
    sites: [],
    weights: [],
    train: defaultTrain,
  };
}
