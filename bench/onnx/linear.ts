/**
 * One adapted linear layer on ONNX Runtime beside wasm: the same graph after all passes, written as ONNX and as generated
 * code, forward and backward with the input's gradient. All sides in one process, interleaved.
 *
 *     npm run bench -- onnx [--install] [--rounds 11]
 */
import type { Tensor as TfTensor } from "@tensorflow/tfjs-core";
import { interpret, tensorOf, type Arg, type Module, type Tensor } from "../../src/ir/index.ts";
import { evaluateSize } from "../../src/ir/size.ts";
import { startBackend, type Backend } from "../../src/runtime/index.ts";
import { interleave, machine, type Measured, type Side } from "../measure.ts";
import { frozen, generated, makeData, type LinearSizes } from "../sides.ts";
import { difference, onnxEntry, type Numbers, type OnnxEntry } from "./entry.ts";
import { Graph } from "./model.ts";
import { open, resultsOf, type Feeds, type Ort, type Session } from "./runtime.ts";

export interface OnnxLinear {
  readonly sizes: LinearSizes;
  readonly machine: ReturnType<typeof machine>;
  /** Greatest difference from the float64 interpreter at a small size, relative to each result's greatest element. */
  readonly error: number;
  /** The same from wasm, at the measured size. */
  readonly errorToWasm: number;
  readonly modelBytes: number;
  /** Milliseconds to make a session of it. */
  readonly sessionMs: number;
  /** Bytes by which the process grows: for the session, and for its first run; and for the first run on wasm. */
  readonly memory: { readonly session: number; readonly run: number; readonly wasm: number };
  readonly sides: readonly Measured[];
}

/** The step on ONNX Runtime, of params in order. */
function onnxStep(ort: Ort, module: Module, s: LinearSizes, args: readonly Numbers[], threads: number, baseInFile = true): Promise<OnnxEntry> {
  const { params } = module.entries.get("step")!;
  return onnxEntry(ort, module, "step", { sizes: symbols(s), threads, baseInFile, value: (binding) => args[params.indexOf(binding)]! });
}

const symbols = (s: LinearSizes): Record<string, number> => ({ sample: s.samples, position: s.positions });

/** The frozen layer alone: y = xW and dx = CWᵀ with both layouts in the file. */
async function onnxFrozen(ort: Ort, s: LinearSizes, W: Float32Array, Wt: Float32Array, threads: number): Promise<Session> {
  const T = s.samples * s.positions;
  const g = new Graph();
  g.input("x", { type: "f32", dims: [T, s.in] });
  g.input("C", { type: "f32", dims: [T, s.out] });
  g.initializer("W", { type: "f32", dims: [s.in, s.out] }, W);
  g.initializer("Wt", { type: "f32", dims: [s.out, s.in] }, Wt);
  g.output(g.node("MatMul", ["x", "W"], {}, "y"), { type: "f32", dims: [T, s.out] });
  g.output(g.node("MatMul", ["C", "Wt"], {}, "dx"), { type: "f32", dims: [T, s.in] });
  return open(ort, g.finish("frozen"), threads);
}

const numbersOf = (tensors: readonly TfTensor[]): Numbers[] => tensors.map((t) => t.dataSync().slice() as Numbers);

/** The results in the entry's order. */
const ordered = (entry: OnnxEntry, got: Feeds): Numbers[] => entry.outputs.map((o) => got[o[0]!]!.data);

/** ONNX Runtime against the interpreter, which computes in float64, at a size that it can do. */
async function check(ort: Ort, backend: Backend): Promise<number> {
  const small: LinearSizes = { samples: 4, positions: 16, in: 48, out: 72, experts: 8, rank: 4 };
  const { module, args: given } = await generated(backend, small, makeData(backend.tf, small), "loramoe");
  const args = numbersOf(given);
  const fn = module.functions.get("step")!;
  const inputs = fn.params.map(({ type }, i): Arg => {
    if (type.kind !== "tensor") throw new Error("the step of a linear takes tensors only");
    const axes = Object.fromEntries(type.axes.map((a) => [a.name, evaluateSize(a.size, symbols(small))]));
    return tensorOf(axes, args[i]!, type.dtype);
  });
  const want = interpret(module, "step", inputs) as readonly Tensor[];
  const step = await onnxStep(ort, module, small, args, 1);
  const got = ordered(step, await step.run());
  await step.session.release();
  return difference(got, want.map((t) => t.data));
}

export async function benchOnnxLinear(ort: Ort, s: LinearSizes, rounds: number): Promise<OnnxLinear> {
  const backend = await startBackend("wasm");
  const { tf } = backend;
  const error = await check(ort, backend);
  const data = makeData(tf, s);
  const moec = await generated(backend, s, data, "loramoe");
  const { module } = moec;
  const args = numbersOf(moec.args);
  const [W, Wt, x, C] = numbersOf([data.W, data.Wt, data.x, data.C]) as Float32Array[];
  const T = s.samples * s.positions;
  const frozenFeeds = { x: new ort.Tensor("float32", x!, [T, s.in]), C: new ort.Tensor("float32", C!, [T, s.out]) };

  const onWasm = (name: string, make: () => TfTensor[]): Side => ({
    name,
    run: async () => {
      const results = make();
      // Every result is read, as the other sides give theirs to the host.
      for (const t of results) await backend.read(t);
      for (const t of results) t.dispose();
    },
  });
  const onOnnx = (name: string, session: Session, feeds: Feeds, into?: Feeds): Side => ({ name, run: async () => void (await session.run(feeds, into)) });

  const resident = (): number => process.memoryUsage.rss();
  const start = resident();
  const reference = moec.step();
  const wasmGrowth = resident() - start;
  const beforeSession = resident();
  const two = await onnxStep(ort, module, s, args, 2);
  const beforeRun = resident();
  const errorToWasm = difference(ordered(two, await two.run()), numbersOf(reference));
  const memory = { session: beforeRun - beforeSession, run: resident() - beforeRun, wasm: wasmGrowth };
  for (const t of reference) t.dispose();
  const one = await onnxStep(ort, module, s, args, 1);
  const given = await onnxStep(ort, module, s, args, 1, false);
  const [frozenTwo, frozenOne] = [await onnxFrozen(ort, s, W!, Wt!, 2), await onnxFrozen(ort, s, W!, Wt!, 1)];

  const sides = await interleave(
    [
      onWasm("wasm, frozen layer", frozen(tf, data).step),
      onWasm("wasm, moec", moec.step),
      onOnnx("ONNX Runtime, 1 thread, frozen layer", frozenOne, frozenFeeds, resultsOf(ort, frozenOne)),
      onOnnx("ONNX Runtime, 1 thread, moec", one.session, one.feeds, resultsOf(ort, one.session)),
      onOnnx("ONNX Runtime, 1 thread, moec, new results", one.session, one.feeds),
      onOnnx("ONNX Runtime, 1 thread, moec, base as inputs", given.session, given.feeds, resultsOf(ort, given.session)),
      onOnnx("ONNX Runtime, 2 threads, frozen layer", frozenTwo, frozenFeeds, resultsOf(ort, frozenTwo)),
      onOnnx("ONNX Runtime, 2 threads, moec", two.session, two.feeds, resultsOf(ort, two.session)),
    ],
    rounds,
  );
  return { sizes: s, machine: machine(), error, errorToWasm, modelBytes: two.bytes.length, sessionMs: two.sessionMs, memory, sides };
}
