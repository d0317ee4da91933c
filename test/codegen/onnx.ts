import { createRequire } from "node:module";
import { printOnnxFunction } from "../../src/codegen/index.ts";
import { readPort } from "../../src/formats/onnx.ts";
import { randomStream, type Arg, type Module, type Tensor, type Type } from "../../src/ir/index.ts";
import { evaluateSize, solveSize } from "../../src/ir/size.ts";
import { randomAtLeast, randomNormal, randomUniform } from "../../src/runtime/backends/random.ts";
import { findPackage } from "../../src/runtime/backends/node/packages.ts";
import { openSession, type Ort, type OrtTensor } from "../../src/runtime/backends/ort.ts";

let loaded: Ort | undefined;

/** onnxruntime-node, loaded once. */
export function ort(): Ort {
  return (loaded ??= createRequire(import.meta.url)(findPackage("onnxruntime-node")!.entry) as Ort);
}

const dtypes = { f32: "float32", i32: "int32", bool: "bool" } as const;

/** Runs a function of a module as an ONNX model and shows its results; its sizes are those of the arguments. */
export async function runOnnx(module: Module, name: string, args: readonly Arg[], threads = 2): Promise<unknown[]> {
  const fn = module.functions.get(name)!;
  const bytes = printOnnxFunction(module, name, { params: fn.params.map((_, i) => `host/p${i}`), results: fn.results.map((_, i) => `result/${i}`) });
  const session = await openSession(ort(), bytes, threads);
  const feeds: Record<string, OrtTensor> = {};
  const sizes: Record<string, number> = {};
  const put = (input: string, type: Type, arg: Arg): void => {
    if (type.kind === "list") return (arg as readonly Tensor[]).forEach((t, i) => put(`${input}/${i}`, type.of, t));
    if (type.kind === "tensor") {
      const { axes } = arg as Tensor;
      axes.forEach((a, i) => {
        const solved = solveSize(type.axes[i]!.size, a.size, sizes);
        if (typeof solved === "object") sizes[solved[0]] = solved[1];
      });
    }
    if (!session.inputNames.includes(input)) return;
    if (type.kind === "number") return void (feeds[input] = new (ort().Tensor)("float32", Float32Array.of(arg as number), []));
    const { dtype, data, axes } = arg as Tensor;
    const given = dtype === "f32" ? Float32Array.from(data) : dtype === "i32" ? Int32Array.from(data) : Uint8Array.from(data);
    feeds[input] = new (ort().Tensor)(dtypes[dtype], given, axes.map((a) => a.size));
  };
  fn.params.forEach((p, i) => put(`host/p${i}`, p.type, args[i]!));
  session.inputNames.forEach((input, i) => {
    const port = readPort(input);
    if (port?.kind !== "draw" && port?.kind !== "chance") return;
    const dims = session.inputMetadata[i]!.shape.map((d) => (typeof d === "number" ? d : evaluateSize(d, sizes)));
    const length = dims.reduce((n, d) => n * d, 1);
    const [seed, step, layer] = [port.seed, port.step, port.layer].map((v) => (typeof v === "number" ? v : (args[Number(v.slice(1))] as number)));
    const stream = randomStream(port.stream, layer!);
    if (port.kind === "chance") {
      const truths = new Uint8Array(length);
      randomAtLeast(truths, port.least, seed!, step!, stream);
      feeds[input] = new (ort().Tensor)("bool", truths, dims);
      return;
    }
    const numbers = new Float32Array(length);
    (port.distribution === "uniform" ? randomUniform : randomNormal)(numbers, seed!, step!, stream);
    feeds[input] = new (ort().Tensor)("float32", numbers, dims);
  });
  const got = await session.run(feeds);
  await session.release();
  const show = (t: OrtTensor): object => ({ shape: t.dims, dtype: t.type, data: t.data });
  return fn.results.map(({ type }, i) => (type.kind === "list" ? Array.from({ length: type.count }, (_, k) => show(got[`result/${i}/${k}`]!)) : show(got[`result/${i}`]!)));
}
