import type { BackendName } from "./backends.ts";

/**
 * `X.moe.json`: what a compiled adapter says about itself. The runtime needs nothing else to load, train and save it;
 * it lies beside every saved adapter, so that a folder restores everything. `grammar/manifest.schema.json` is its JSON Schema.
 */
export interface Manifest {
  readonly format: "moec/1";
  /** The compiler's version. */
  readonly moec: string;
  /** The adapter's name in the spec. */
  readonly adapter: string;
  /** The backend that the program is laid out for; it runs on every one. */
  readonly backend?: BackendName;
  /** The spec's path, and the digest of its text with all that it imports and the library. */
  readonly spec: { readonly file: string; readonly sha256: string };
  readonly base: {
    /** The model definition's name ("llama"). */
    readonly model: string;
    /** The path as the spec gives it, relative to the spec's folder. */
    readonly path: string;
    /** Fields of config.json that the definition reads, with defaults filled in. */
    readonly config: Readonly<Record<string, unknown>>;
    readonly vocabulary: number;
    /** The longest sequence the base was made for, where the configuration says. */
    readonly context?: number;
  };
  /**
   * Routed groups of experts, in the order in which `usage` counts them; empty where nothing is routed. `experts` is the
   * most that a site has, where layers differ.
   */
  readonly groups: readonly { readonly name: string; readonly experts: number }[];
  /** Kinds of data the spec maps to groups, in the order of the `kind` input. Empty where it maps none: any kind is then fine. */
  readonly kinds: readonly string[];
  /** Columns of the data that routers look at: whole numbers below `values`, or any number where it is absent. */
  readonly fields?: readonly ManifestField[];
  /** Every adapted linear or unfrozen tensor: "layers.0.mlp.gate_proj". */
  readonly sites: readonly ManifestSite[];
  readonly weights: readonly ManifestWeight[];
  readonly train: TrainSettings;
  /** PEFT's own layout can say this adapter: then it is saved in it too. */
  readonly peft?: {
    readonly rank: number;
    readonly alpha: number;
    readonly dropout: number;
    readonly targets: readonly string[];
    readonly rslora: boolean;
    /** The adapted matrices lie as [in, out] in the base's file. */
    readonly fanInFanOut: boolean;
  };
}

export interface ManifestField {
  readonly name: string;
  readonly values?: number;
}

export interface ManifestSite {
  readonly path: string;
  readonly layer?: number;
  /** Sizes of the frozen linear, absent where a tensor is only unfrozen. */
  readonly in?: number;
  readonly out?: number;
  /** The linear's path in the base's own code, for tools that load the base by it: "model.layers.0.mlp.gate_proj". */
  readonly module?: string;
  readonly experts: readonly { readonly group: string; readonly kind: string; readonly count: number; readonly always: boolean }[];
  readonly trainable: number;
}

/** Mirrors `ir`'s Weight, flat and JSON-able. A list weight has `count`. */
export interface ManifestWeight {
  readonly name: string;
  readonly axes: readonly string[];
  /** One tensor's sizes in memory order. */
  readonly shape: readonly number[];
  readonly count?: number;
  readonly trainable: boolean;
  /** Not trained, but changed once a step. */
  readonly state?: boolean;
  readonly decay: boolean;
  readonly initializer:
    | { readonly kind: "zeros" | "ones" | "checkpoint" }
    | { readonly kind: "constant"; readonly value: number }
    | { readonly kind: "normal"; readonly std: number }
    | { readonly kind: "uniform"; readonly bound: number }
    | { readonly kind: "kaiming_uniform"; readonly a: number; readonly fanIn: number }
    | { readonly kind: "orthogonal"; readonly gain: number }
    | { readonly kind: "base_norm"; readonly over: string }
    | { readonly kind: "singular"; readonly axis: string; readonly firsts: readonly number[]; readonly steps: readonly number[]; readonly scale: number };
  readonly sources: readonly {
    readonly tensor?: string;
    readonly order: readonly string[];
    readonly adapter?: { readonly names: readonly string[]; readonly along?: string };
    readonly base?: { readonly tensor: string; readonly order: readonly string[] };
  }[];
  readonly layoutOf?: string;
}

/** The `train` block, every default filled in. */
export interface TrainSettings {
  readonly data?: string;
  readonly test?: string;
  readonly epochs: number;
  /** Steps instead of epochs, where the spec says so. */
  readonly steps?: number;
  /** Samples in one step, over all micro-batches. */
  readonly batch: number;
  /** Micro-batches in one step. */
  readonly accumulate: number;
  /** The longest sequence in tokens. */
  readonly length: number;
  readonly seed: number;
  readonly optimizer: OptimizerSettings;
  readonly schedule: ScheduleSettings;
  /** The greatest global norm of the gradient; 0: not clipped. */
  readonly clip: number;
  /**
   * What a step may keep for its backward half: all that it reads (`keep`, where nothing is said), only what goes into each
   * layer, which is computed again (`recompute`), or as much as fits: so many GiB for what a micro-batch makes, weights not counted.
   */
  readonly memory?: "keep" | "recompute" | number;
}

/** AdamW (Loshchilov and Hutter 2019), PyTorch's defaults. */
export interface OptimizerSettings {
  readonly name: "adamw";
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
}

/** Factor of the learning rate by step, as in transformers' get_*_schedule_with_warmup. `warmup` is a share of all steps. */
export interface ScheduleSettings {
  readonly name: "constant" | "linear" | "cosine";
  readonly warmup: number;
}
