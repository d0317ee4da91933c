/**
 * What a model of `X.ENTRY.onnx` takes and gives, said by the names of its inputs and outputs, so that the file alone is
 * enough for whoever runs it (docs/backends.md):
 *
 *     weights/layers.mlp.up_proj.knowledge.A/3    a store's tensor, of the layer 3 where it has one a layer
 *     input/tokens                                the batch's
 *     host/step                                   a number of the host, a scalar
 *     draw/uniform/2/0/seed/draw                  numbers of the stream 2 in the layer 0 at the host's `seed` and `draw`
 *     chance/0.1/2/0/seed/draw                    whether these numbers are at least 0.1
 *     result/gradients/layers.mlp.up_proj…/3      a store's tensor that is given back
 *     result/loss                                 an output
 */
export type Port =
  | { readonly kind: "store"; readonly store: StoreName; readonly name: string; readonly layer?: number }
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "host"; readonly name: string }
  | (Stream & { readonly kind: "draw"; readonly distribution: "uniform" | "normal" })
  | (Stream & { readonly kind: "chance"; readonly least: number });

/** Random numbers by the counter that gives them. */
interface Stream {
  readonly stream: number;
  readonly layer: HostValue;
  readonly seed: HostValue;
  readonly step: HostValue;
}

/** A number, or the name of the host's. */
export type HostValue = number | string;

/** The stores of the entries' parameters; `others` is the second one of `accumulate`. */
export type StoreName = (typeof stores)[number];

/** What an output is: a tensor of a store, or a named result. */
export type ResultPort = Extract<Port, { kind: "store" }> | { readonly kind: "output"; readonly name: string };

const stores = ["weights", "gradients", "others", "moment1", "moment2"] as const;

/** The entries that a program may have as models, in the order in which files are written. */
export const onnxEntries = ["logits", "evaluate", "gradients", "accumulate", "update"] as const;
export type OnnxEntry = (typeof onnxEntries)[number];

/** The file of an entry beside `X.moe.ts`. */
export function onnxFileName(stem: string, entry: OnnxEntry): string {
  return `${stem}.${entry}.onnx`;
}

/** The name of an input. */
export function portName(port: Port): string {
  switch (port.kind) {
    case "store":
      return `${port.store}/${port.name}${port.layer === undefined ? "" : `/${port.layer}`}`;
    case "draw":
    case "chance":
      return [port.kind, port.kind === "draw" ? port.distribution : port.least, port.stream, port.layer, port.seed, port.step].join("/");
    default:
      return `${port.kind}/${port.name}`;
  }
}

/** The name of an output. */
export function resultName(port: ResultPort): string {
  return `result/${port.kind === "output" ? port.name : portName(port)}`;
}

/** What an input's name says; undefined where it is none of ours. */
export function readPort(name: string): Port | undefined {
  const [kind, ...rest] = name.split("/");
  if (kind === "input" || kind === "host") return { kind, name: rest.join("/") };
  if (kind === "draw" || kind === "chance") {
    const [what, stream, ...values] = rest;
    const [layer, seed, step] = values.map((v): HostValue => (/^\d+$/.test(v) ? Number(v) : v));
    if (layer === undefined || seed === undefined || step === undefined) return undefined;
    const from = { stream: Number(stream), layer, seed, step };
    if (kind === "chance") return { kind, least: Number(what), ...from };
    return what === "uniform" || what === "normal" ? { kind, distribution: what, ...from } : undefined;
  }
  const store = stores.find((s) => s === kind);
  if (store === undefined) return undefined;
  const layer = rest.length > 1 && /^\d+$/.test(rest.at(-1)!) ? Number(rest.pop()) : undefined;
  return { kind: "store", store, name: rest.join("/"), ...(layer === undefined ? {} : { layer }) };
}

/** What an output's name says; undefined where it is none of ours. */
export function readResult(name: string): ResultPort | undefined {
  if (!name.startsWith("result/")) return undefined;
  const rest = name.slice("result/".length);
  const port = readPort(rest);
  return port?.kind === "store" ? port : { kind: "output", name: rest };
}
