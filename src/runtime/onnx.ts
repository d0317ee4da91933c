import type { Tensor } from "@tensorflow/tfjs-core";
import { onnxFileName, readPort, readResult, type HostValue, type OnnxEntry, type Port, type ResultPort, type StoreName } from "../formats/onnx.ts";
import type { Manifest } from "../formats/manifest.ts";
import { fail } from "../diagnostics/index.ts";
import { joinPath } from "../formats/host.ts";
import type { Backend } from "./backends/types.ts";
import { openSession, type OnnxRuntime, type OrtData, type OrtDType, type OrtSession, type OrtTensor, type OrtTensors } from "./backends/ort.ts";
import { chanceValues, randomValues } from "./draws.ts";
import { noBalance, noUsage } from "./nothing.ts";
import type { OutputHost } from "./output.ts";
import type { BatchInput, CompiledProgram, Evaluation, Gradients, OnnxModels, RunningEntries, Updated, WeightStore } from "./program.ts";
import { tensorsOf } from "./store.ts";

/** The models that `moec build --onnx` wrote into a folder. MOE5207 at one that was not made from the text that the program was made from. */
export function onnxFiles(host: OutputHost, folder: string, { spec }: Pick<Manifest, "spec">): OnnxModels {
  const stem = spec.file.replace(/^.*[\\/]/, "").replace(/\.moe$/, "");
  return async (entry) => {
    const path = joinPath(folder, onnxFileName(stem, entry));
    const bytes = await host.readFile(path);
    // Among the file's metadata, which ONNX Runtime does not show.
    if (!new TextDecoder("latin1").decode(bytes).includes(spec.sha256)) {
      fail("MOE5207", `${path} was made from another text than the program.`, { help: "`moec build --onnx` writes the program and its models." });
    }
    return bytes;
  };
}

/** The program's functions on a backend. MOE5206 where they are wanted as ONNX models and there are none. */
export function entriesOn(backend: Backend, program: CompiledProgram, models = program.onnx): RunningEntries {
  const { onnx } = backend;
  if (!onnx) return program.create(backend.tf);
  if (models) return onnxProgram({ ...backend, onnx }, models);
  return fail("MOE5206", `The backend onnx runs ONNX models, and ${program.manifest.adapter} is given none.`, {
    help: "`moec build --onnx` writes them; name their folder when the adapter is loaded: load({ onnx: FOLDER, … }).",
  });
}

/** What an entry is run with. */
interface Given {
  readonly stores?: { readonly [S in StoreName]?: WeightStore };
  readonly input?: Partial<BatchInput>;
  readonly host?: Readonly<Record<string, number>>;
}

/** What it gives: outputs by name, tensors by store and name. */
interface Made {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly stores: Readonly<Record<string, WeightStore>>;
}

/** A session, and what its names say. */
interface Opened {
  readonly session: OrtSession;
  readonly inputs: readonly { readonly name: string; readonly port: Port; readonly shape: readonly (number | string)[] }[];
  readonly results: readonly { readonly name: string; readonly port: ResultPort }[];
}

/**
 * The entries of a program as sessions of ONNX Runtime, each opened when it is first called. Tensors are those of
 * TensorFlow.js's cpu backend, whose data are typed arrays: they go in and come out without a copy of ours.
 */
function onnxProgram(backend: Backend & { readonly onnx: OnnxRuntime }, models: OnnxModels): RunningEntries {
  const { tf, onnx } = backend;
  const sessions = new Map<OnnxEntry, Promise<Opened>>();
  const held = new WeakMap<Tensor, OrtTensor>();

  const open = async (entry: OnnxEntry): Promise<Opened> => {
    const session = await openSession(onnx.ort, await models(entry), onnx.threads);
    return {
      session,
      inputs: session.inputNames.map((name, i) => ({ name, port: known(readPort(name), entry, name), shape: session.inputMetadata[i]!.shape })),
      results: session.outputNames.map((name) => ({ name, port: known(readResult(name), entry, name) })),
    };
  };

  /** A tensor as ONNX Runtime sees it: its own elements, which training never changes in place. */
  const view = (tensor: Tensor): OrtTensor => {
    let found = held.get(tensor);
    if (!found) held.set(tensor, (found = new onnx.ort.Tensor(tensor.dtype as OrtDType, tensor.dataSync() as OrtData, tensor.shape)));
    return found;
  };

  const run = async (entry: OnnxEntry, { stores = {}, input = {}, host = {} }: Given): Promise<Made> => {
    let opened = sessions.get(entry);
    if (!opened) sessions.set(entry, (opened = open(entry)));
    const { session, inputs, results } = await opened;
    const [sample, position] = input.tokens?.shape ?? [];
    const size = (dim: number | string): number => (typeof dim === "number" ? dim : dim.split("*").reduce((n, f) => n * (f === "sample" ? sample! : f === "position" ? position! : Number(f)), 1));
    const number = (value: HostValue): number => (typeof value === "number" ? value : host[value]!);
    const feeds: Record<string, OrtTensor> = {};
    for (const { name, port, shape } of inputs) {
      if (port.kind === "store") feeds[name] = view(fromStore(stores[port.store], port));
      else if (port.kind === "input") feeds[name] = view(fromBatch(input, port.name));
      else if (port.kind === "host") feeds[name] = new onnx.ort.Tensor("float32", Float32Array.of(number(port.name)), []);
      else {
        const dims = shape.map(size);
        const at = [number(port.seed), number(port.step), number(port.layer), port.stream, dims] as const;
        feeds[name] = port.kind === "draw" ? new onnx.ort.Tensor("float32", randomValues(port.distribution, ...at), dims) : new onnx.ort.Tensor("bool", chanceValues(port.least, ...at), dims);
      }
    }
    return sorted(results, await session.run(feeds));
  };

  const sorted = (results: Opened["results"], made: OrtTensors): Made => {
    const outputs: Record<string, Tensor> = {};
    const stores: Record<string, Record<string, Tensor | Tensor[]>> = {};
    for (const { name, port } of results) {
      const { data, dims, type } = made[name]!;
      const tensor = tf.tensor(data, [...dims], type as OrtDType);
      if (port.kind === "output") outputs[port.name] = tensor;
      else if (port.layer === undefined) (stores[port.store] ??= {})[port.name] = tensor;
      else (((stores[port.store] ??= {})[port.name] ??= []) as Tensor[])[port.layer] = tensor;
    }
    return { outputs, stores };
  };

  /** What a program without routers does not compute. */
  const filled = (outputs: Made["outputs"], input: Pick<BatchInput, "tokens">): Made["outputs"] => ({
    ...(outputs["balance"] ? {} : { balance: noBalance(tf) }),
    ...(outputs["usage"] ? {} : { usage: noUsage(tf, input.tokens) }),
    ...outputs,
  });

  return {
    logits: async (weights, input) => (await run("logits", { stores: { weights }, input })).outputs as never,
    evaluate: async (weights, input, host) => filled((await run("evaluate", { stores: { weights }, input, host: { ...host } })).outputs, input) as never as Evaluation,
    gradients: async (weights, input, host) => {
      const { outputs, stores } = await run("gradients", { stores: { weights }, input, host: { ...host } });
      return { ...filled(outputs, input), gradients: stores["gradients"] ?? {} } as never as Gradients;
    },
    accumulate: async (gradients, others) => (await run("accumulate", { stores: { gradients, others } })).stores["gradients"] ?? {},
    update: async (weights, gradients, moment1, moment2, host) => {
      const { outputs, stores } = await run("update", { stores: { weights, gradients, moment1, moment2 }, host: { ...host } });
      return { ...outputs, ...(outputs["norm"] ? {} : { norm: noBalance(tf) }), weights: {}, moment1: {}, moment2: {}, ...stores } as never as Updated;
    },
    dispose: () => {
      for (const opened of sessions.values()) void opened.then(({ session }) => session.release(), () => {});
      sessions.clear();
    },
  };
}

function known<P>(port: P | undefined, entry: string, name: string): P {
  if (port === undefined) throw new Error(`the model of \`${entry}\` has an input or output ${JSON.stringify(name)}, which is not moec's`);
  return port;
}

function fromStore(store: WeightStore | undefined, { name, layer = 0 }: Extract<Port, { kind: "store" }>): Tensor {
  const found = store && Object.hasOwn(store, name) ? tensorsOf(store[name]!)[layer] : undefined;
  if (!found) throw new TypeError(`the store has no tensor ${JSON.stringify(name)} of the layer ${layer}`);
  return found;
}

function fromBatch(input: Partial<BatchInput>, name: string): Tensor {
  const field = name.startsWith("fields.") ? name.slice("fields.".length) : undefined;
  const found = field === undefined ? (input as Readonly<Record<string, Tensor>>)[name] : input.fields && Object.hasOwn(input.fields, field) ? input.fields[field] : undefined;
  if (!found) throw new TypeError(`the batch has no ${JSON.stringify(name)}`);
  return found;
}
