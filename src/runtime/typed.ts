import type { Tensor } from "@tensorflow/tfjs-core";
import type { Manifest } from "../formats/manifest.ts";
import type { Adapter, LoadOptions } from "./adapter.ts";
import type { CompiledProgram } from "./program.ts";

/** What a compiled adapter is made of, as literal types: a generated module declares one of these for each adapter. */
export interface AdapterTypes {
  /** Union of the routed groups' names; `never` where nothing is routed. */
  readonly groups: string;
  /** Union of the data's kinds that the spec maps to groups; `string` where it maps none. */
  readonly kinds: string;
  /** Union of the adapted places: "layers.0.mlp.gate_proj". */
  readonly sites: string;
  /** By weight: its shape in memory, and how many there are of it. */
  readonly weights: Readonly<Record<string, WeightTypes>>;
}

export interface WeightTypes {
  /** Axis names in memory order. */
  readonly axes: readonly string[];
  readonly shape: readonly number[];
  /** One tensor for each of so many layers; absent where there is one tensor. */
  readonly count?: number;
  readonly trainable: boolean;
}

/** A weight store that has every weight of an adapter under its name. */
export type WeightsOf<T extends AdapterTypes> = {
  readonly [Name in keyof T["weights"]]: T["weights"][Name] extends { readonly count: number } ? readonly Tensor[] : Tensor;
};

/** The names of the weights that training changes. */
export type TrainableOf<T extends AdapterTypes> = { [Name in keyof T["weights"]]: T["weights"][Name]["trainable"] extends true ? Name : never }[keyof T["weights"]];

/** The adapter that `load` gives: steps, evaluations and data rows know the groups and kinds by name. */
export type AdapterOf<T extends AdapterTypes> = Adapter<T["groups"], T["kinds"]>;

/** What `import { LoRAMoE } from "./x.moe"` gives: the program, and how to load it onto a base. */
export interface AdapterProgram<T extends AdapterTypes = AdapterTypes> extends CompiledProgram {
  readonly manifest: Manifest;
  /** Places base and adapter on a backend. Errors: those of `Adapter.load`. */
  load(options: LoadOptions): Promise<AdapterOf<T>>;
}
