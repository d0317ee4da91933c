import type { Binding, Module, Type } from "../../src/ir/index.ts";
import { evaluateSize } from "../../src/ir/size.ts";
import { randomNormal, randomUniform } from "../../src/runtime/index.ts";
import { open, type Feeds, type Ort, type OrtTensor, type Session } from "./runtime.ts";
import { translate, type Translated } from "./translate.ts";

export type Numbers = Float32Array | Int32Array;

export interface EntryOptions {
  readonly sizes: Readonly<Record<string, number>>;
  readonly threads: number;
  /** What a param is given: a host's number, a tensor's elements, or those of one tensor a layer. */
  readonly value: (binding: Binding) => number | Numbers | readonly Numbers[];
  /** Whether the base's weights are constants of the file (the default) or inputs of every run. */
  readonly baseInFile?: boolean;
}

/** An entry of a module as a session of its own, with its inputs. */
export interface OnnxEntry extends Translated {
  readonly session: Session;
  /** By input; a tensor's elements are the very arrays that were given, so a caller may change them between runs. */
  readonly feeds: Record<string, OrtTensor>;
  readonly sessionMs: number;
  /** Runs it, writing into the tensors of `results` where they are given. */
  run(results?: Feeds): Promise<Feeds>;
}

export async function onnxEntry(ort: Ort, module: Module, name: string, options: EntryOptions): Promise<OnnxEntry> {
  const { sizes, value, baseInFile = true } = options;
  const entry = module.entries.get(name)!;
  const fn = module.functions.get(entry.fn)!;
  const elements = (binding: Binding): readonly Numbers[] => {
    const given = value(binding);
    return Array.isArray(given) ? (given as readonly Numbers[]) : [typeof given === "number" ? Float32Array.of(given) : (given as Numbers)];
  };
  const isBase = (binding: Binding): boolean => binding.kind === "weight" && module.weights.some((w) => w.name === binding.weight && !w.trainable && !w.state);
  const frozen = new Map(entry.params.flatMap((b, i) => (baseInFile && isBase(b) ? [[i, elements(b) as readonly Float32Array[]] as const] : [])));
  const made = translate(module, name, { sizes, frozen });
  const start = performance.now();
  const session = await open(ort, made.bytes, options.threads);
  const sessionMs = performance.now() - start;

  const feeds: Record<string, OrtTensor> = {};
  const numbers = new Map<string, number>();
  made.inputs.forEach((names, i) => {
    const { type } = fn.params[i]!;
    names.forEach((input, at) => {
      const data = elements(entry.params[i]!)[at]!;
      if (type.kind === "number") numbers.set(input, data[0]!);
      if (session.inputNames.includes(input)) feeds[input] = new ort.Tensor(data instanceof Int32Array ? "int32" : "float32", data, dimsOf(type, sizes));
    });
  });
  for (const draw of made.draws) feeds[draw.input] = new ort.Tensor("float32", new Float32Array(draw.dims.reduce((n, d) => n * d, 1)), draw.dims);
  const run = (results?: Feeds): Promise<Feeds> => {
    for (const { input, distribution, stream, seed, step } of made.draws) {
      (distribution === "uniform" ? randomUniform : randomNormal)(feeds[input]!.data as Float32Array, numbers.get(seed)!, numbers.get(step)!, stream);
    }
    return session.run(feeds, results);
  };
  return { ...made, session, feeds, sessionMs, run };
}

function dimsOf(type: Type, sizes: Readonly<Record<string, number>>): number[] {
  if (type.kind === "number") return [];
  return (type.kind === "list" ? type.of : type).axes.map((a) => evaluateSize(a.size, sizes));
}

/** The greatest difference, relative to the greatest element of each reference. */
export function difference(got: readonly ArrayLike<number>[], want: readonly ArrayLike<number>[]): number {
  return Math.max(...want.map((w, k) => {
    let [off, scale] = [0, 0];
    for (let i = 0; i < w.length; i++) {
      off = Math.max(off, Math.abs(w[i]! - got[k]![i]!));
      scale = Math.max(scale, Math.abs(w[i]!));
    }
    return scale === 0 ? off : off / scale;
  }));
}
