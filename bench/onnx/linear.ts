/**
 * One adapted linear layer on ONNX Runtime beside wasm: the same graph after all passes, as an ONNX model and as generated
 * code, forward and backward with the input's gradient; on one thread and on two; and with more experts. All sides in one
 * process, interleaved. (`step --backend onnx` measures whole models.)
 *
 *     npm run bench -- onnx [--rounds 11] [--experts 1,8,64]
 */
import type { Tensor as TfTensor } from "@tensorflow/tfjs-core";
import { printOnnxFunction } from "../../src/codegen/index.ts";
import { interpret, tensorOf, type Arg, type Module, type Tensor } from "../../src/ir/index.ts";
import { evaluateSize } from "../../src/ir/size.ts";
import { openSession, type Ort, type OrtSession, type OrtTensor, type OrtTensors } from "../../src/runtime/backends/ort.ts";
import { startBackend, type Backend } from "../../src/runtime/index.ts";
import { interleave, machine, type Measured, type Side } from "../measure.ts";
import { frozen, generated, makeData, type LinearSizes } from "../sides.ts";
import { productModel } from "./product.ts";

type Numbers = Float32Array | Int32Array;

export interface OnnxLinear {
  readonly sizes: LinearSizes;
  readonly machine: ReturnType<typeof machine>;
  /** Greatest difference from the float64 interpreter at a small size, relative to each result's greatest element. */
  readonly error: number;
  /** Milliseconds to make a session of it, and bytes of its file. */
  readonly sessionMs: number;
  readonly modelBytes: number;
  readonly sides: readonly Measured[];
  /** moec's step on one thread, by the number of experts. */
  readonly experts: readonly (Measured & { readonly experts: number })[];
}

const symbols = (s: LinearSizes): Record<string, number> => ({ sample: s.samples, position: s.positions });
const numbersOf = (t: TfTensor): Numbers => t.dataSync().slice() as Numbers;

/** The function `step` of a module as a model, opened, with what it is given. */
export async function opened(ort: Ort, { module, args }: { readonly module: Module; readonly args: readonly TfTensor[] }, threads: number, sizes: Record<string, number> = {}): Promise<{ readonly session: OrtSession; readonly feeds: OrtTensors; readonly bytes: number; readonly ms: number }> {
  const fn = module.functions.get("step")!;
  const bytes = printOnnxFunction(module, "step", { params: fn.params.map((_, i) => `host/p${i}`), results: fn.results.map((_, i) => `result/r${i}`) }, { sizes });
  const start = performance.now();
  const session = await openSession(ort, bytes, threads);
  const ms = performance.now() - start;
  const feeds: Record<string, OrtTensor> = {};
  args.forEach((t, i) => {
    if (session.inputNames.includes(`host/p${i}`)) feeds[`host/p${i}`] = new ort.Tensor(t.dtype === "int32" ? "int32" : "float32", numbersOf(t), t.shape);
  });
  return { session, feeds, bytes: bytes.length, ms };
}

/** ONNX Runtime against the interpreter, which computes in float64, at a size that it can do. */
async function check(ort: Ort, { tf }: Backend): Promise<number> {
  const small: LinearSizes = { samples: 4, positions: 16, in: 48, out: 72, experts: 8, rank: 4 };
  const { module, args } = await generated({ tf, name: "onnx" }, small, makeData(tf, small), "loramoe");
  const inputs = argsOf(module, args, symbols(small));
  const want = interpret(module, "step", inputs) as readonly Tensor[];
  const { session, feeds } = await opened(ort, { module, args }, 1);
  const got = await session.run(feeds);
  await session.release();
  return Math.max(...want.map(({ data }, k) => {
    const found = got[`result/r${k}`]!.data;
    let [off, scale] = [0, 0];
    for (let i = 0; i < data.length; i++) [off, scale] = [Math.max(off, Math.abs(data[i]! - found[i]!)), Math.max(scale, Math.abs(data[i]!))];
    return scale === 0 ? off : off / scale;
  }));
}

function argsOf(module: Module, args: readonly TfTensor[], sizes: Record<string, number>): Arg[] {
  return module.functions.get("step")!.params.map(({ type }, i): Arg => {
    if (type.kind !== "tensor") throw new Error("the step of a linear takes tensors only");
    return tensorOf(Object.fromEntries(type.axes.map((a) => [a.name, evaluateSize(a.size, sizes)])), numbersOf(args[i]!), type.dtype);
  });
}

export async function benchOnnxLinear(s: LinearSizes, experts: readonly number[], rounds: number): Promise<OnnxLinear> {
  const { onnx } = await startBackend("onnx");
  const { ort } = onnx!;
  const backend = await startBackend("wasm");
  const { tf } = backend;
  const error = await check(ort, backend);
  const data = makeData(tf, s);
  const moec = await generated(backend, s, data, "loramoe");
  const ours = await generated({ tf, name: "onnx" }, s, data, "loramoe");
  const T = s.samples * s.positions;
  const given = (t: TfTensor, dims: readonly number[]): OrtTensor => new ort.Tensor("float32", numbersOf(t), dims);
  const products = { x: given(data.x, [T, s.in]), W: given(data.W, [s.in, s.out]), C: given(data.C, [T, s.out]), Wt: given(data.Wt, [s.out, s.in]) };
  const onWasm = (name: string, make: () => TfTensor[]): Side => ({
    name,
    run: async () => {
      const results = make();
      // Every result is read, as ONNX Runtime gives its to the host.
      for (const t of results) await backend.read(t);
      for (const t of results) t.dispose();
    },
  });
  const onOnnx = (name: string, session: OrtSession, feeds: OrtTensors): Side => ({ name, run: async () => void (await session.run(feeds)) });
  const sides: Side[] = [onWasm("wasm, frozen layer", frozen(tf, data).step), onWasm("wasm, moec", moec.step)];
  const one = await opened(ort, ours, 1);
  for (const threads of [1, 2]) {
    const name = `ONNX Runtime, ${threads} thread${threads > 1 ? "s" : ""}`;
    sides.push(onOnnx(`${name}, frozen layer`, await openSession(ort, productModel, threads), products));
    const { session, feeds } = threads === 1 ? one : await opened(ort, ours, threads);
    sides.push(onOnnx(`${name}, moec`, session, feeds));
    const fixed = await opened(ort, ours, threads, symbols(s));
    sides.push(onOnnx(`${name}, moec, sizes fixed in the file`, fixed.session, fixed.feeds));
  }
  const grown: Side[] = [];
  for (const e of experts) {
    const sizes = { ...s, experts: e };
    const { session, feeds } = await opened(ort, await generated({ tf, name: "onnx" }, sizes, makeData(tf, sizes), "loramoe"), 1);
    grown.push(onOnnx(`E=${e}`, session, feeds));
  }
  const measured = await interleave(sides, rounds);
  const growth = await interleave(grown, rounds);
  return { sizes: s, machine: machine(), error, modelBytes: one.bytes, sessionMs: one.ms, sides: measured, experts: growth.map((m, i) => ({ ...m, experts: experts[i]! })) };
}
