import type { AxisRef, DType, Handle } from "./values.ts";

/** Where an operation comes from in the text, and what it is part of (outermost first). */
export interface EmitOrigin {
  readonly file: string;
  readonly start: number;
  readonly end: number;
  readonly line: number;
  readonly path: readonly string[];
}

/** How a trainable weight starts, evaluated. `fanIn` is the product of all sizes but the last. */
export type Initial =
  | { readonly kind: "zeros" | "ones" | "checkpoint" }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "normal"; readonly std: number }
  | { readonly kind: "uniform"; readonly bound: number }
  | { readonly kind: "kaiming_uniform"; readonly a: number; readonly fanIn: number }
  | { readonly kind: "orthogonal"; readonly gain: number }
  /** The norm of the site's frozen weight over an axis. */
  | { readonly kind: "base_norm"; readonly over: string }
  /**
   * Singular vectors of the site's frozen weight on the side `axis`, each times sqrt(scale · its singular value). The
   * vector's number, counted from the greatest value, is `firsts` of the slice plus `steps` times the places along the other axes.
   */
  | { readonly kind: "singular"; readonly axis: string; readonly firsts: readonly number[]; readonly steps: readonly number[]; readonly scale: number };

/** A frozen tensor that first values are computed from: its name in the checkpoint by layer, and its axes there. */
export interface FrozenSource {
  readonly tensor: (layer: number | undefined) => string;
  readonly order: readonly AxisRef[];
}

/** A weight that an elaborated definition needs, once for the current layer. */
export interface WeightRequest {
  /** Path below the layer: ["mlp", "gate_proj", "experts", "A"]; outside layers the whole path. */
  readonly path: readonly string[];
  /** In the order in which it should lie in memory. */
  readonly axes: readonly AxisRef[];
  readonly trainable: boolean;
  /** Changed once a step by an update, outside the gradient. */
  readonly state?: boolean;
  readonly initial: Initial;
  readonly decay: boolean;
  /** The file's axis order. */
  readonly order: readonly AxisRef[];
  /** The checkpoint's tensor, for one layer (undefined outside layers). */
  readonly tensor?: (layer: number | undefined) => string;
  /** The frozen tensor that first values are computed from, where they are. */
  readonly base?: FrozenSource;
  /** The adapter file's tensors, for one layer: one a slice along `along`. */
  readonly adapter?: { readonly names: (layer: number | undefined) => readonly string[]; readonly along?: AxisRef };
}

/** A run of layers that are alike. */
export interface LayerRun {
  /** The block's name. */
  readonly name: string;
  readonly layers: readonly number[];
  /** Distinguishes runs of one block; absent where one run holds all layers. */
  readonly suffix?: string;
}

/** What the layers of a run leave: the last carried values, totals over the layers, and lists with a value of each layer. */
export interface FoldResults {
  readonly carried: readonly Handle[];
  readonly summed: readonly Handle[];
  /** Of the body one value each, of the fold a list each, from which the op `element` takes a layer's. */
  readonly listed: readonly Handle[];
}

export type FoldBody = (carried: readonly Handle[]) => FoldResults;

/**
 * What elaboration writes to. The checker's emitter only hands out handles; the lowering's builds the graph. Op names
 * and attributes are those of the graph's op table, and the result types given are what its inference must find.
 * A handle of an outer function may be used inside a fold's body: the emitter passes it in.
 */
export interface Emitter {
  op(op: string, operands: readonly Handle[], attributes: object, type: { readonly axes: readonly AxisRef[]; readonly dtype: DType }, origin: EmitOrigin): Handle;
  weight(request: WeightRequest, origin: EmitOrigin): Handle;
  /** A host number: the run's seed, the draw's number, the step and how many there are. */
  number(name: string): Handle;
  /** What the text calls a value, for whoever reads the generated code. */
  label?(handle: Handle, name: string): void;
  /** What dropout left of a value: a handle of the same tensor, for who follows it. */
  dropped?(handle: Handle, origin: EmitOrigin): Handle;
  /** The layer's index, a host number, inside a fold's body; a zero outside. */
  layer(): Handle;
  /**
   * What a part of the model that was elaborated before, and in which nothing is adapted, gives for its arguments: for an
   * emitter that only follows values, so that the frozen model is not gone through again for every adapter.
   */
  pass?(args: readonly Handle[], type: { readonly axes: readonly AxisRef[]; readonly dtype: DType }): Handle;
  /** A state's next value, where the emitter wants a part of it (see `states.ts`). `state` is the weight's path. */
  update?(state: readonly string[], next: () => Handle, origin: EmitOrigin): void;
  /** Runs `body` for each layer of a run, threading `carried` through; returns the last carried and the sums. */
  fold(
    run: LayerRun,
    carried: readonly Handle[],
    body: FoldBody,
    origin: EmitOrigin,
  ): FoldResults;
}

/** Hands out handles and keeps nothing: what checking needs. */
export const dryEmitter: Emitter = {
  op: () => null,
  weight: () => null,
  number: () => null,
  layer: () => null,
  fold: (_run, carried, body) => body(carried),
};
