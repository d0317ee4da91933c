import type { Scalar, Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import type { Manifest } from "../formats/manifest.ts";
import type { Backend } from "./backends/types.ts";

/** Share of the gates' mass by group; sums to 1 where anything is routed. Empty where the adapter has no groups. */
export type Utilization<Group extends string = string> = { readonly [G in Group]: number };

/** What one training step says. Plain numbers: a line of `metrics.jsonl`. */
export interface StepMetrics<Group extends string = string, Kind extends string = string> {
  /** Counts from 1: the steps done. */
  readonly step: number;
  readonly steps: number;
  /** Epochs done, with the fraction of the one under way. */
  readonly epoch: number;
  /** Mean negative log-likelihood of a counted token (nats). */
  readonly loss: number;
  /** The weighted sum of all balance terms. */
  readonly balance: number;
  /** loss + balance: what the gradient is of. */
  readonly total: number;
  /** The learning rate that was used. */
  readonly lr: number;
  /** The gradient's global norm before clipping. */
  readonly gradientNorm: number;
  /** Real tokens in the step, padding not counted. */
  readonly tokens: number;
  /** Wall-clock seconds of the step, data and reading included. */
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** Mean over the step's samples. */
  readonly utilization: Utilization<Group>;
  /** The same by kind, for the kinds that the step had; a kind of the data that the spec maps nowhere counts under its own name. */
  readonly utilizationByKind: { readonly [K in Kind]?: Utilization<Group> };
}

/** A step's numbers while they are on the device; packed so that one read brings them all. */
export interface DeviceMetrics {
  readonly loss: Scalar;
  readonly balance: Scalar;
  readonly lr: Scalar;
  readonly norm: Scalar;
  /** By micro-batch, [sample, group]. */
  readonly usage: readonly Tensor2D[];
}

export interface HostMetrics {
  readonly loss: number;
  readonly balance: number;
  readonly lr: number;
  readonly norm: number;
  /** By sample, by group, row major. */
  readonly usage: ArrayLike<number>;
}

/** Starts the one read of a step. Frees what it is given before it returns. */
export function readMetrics(backend: Backend, device: DeviceMetrics): Promise<HostMetrics> {
  const { tf } = backend;
  const packed = tf.tidy(() => {
    const scalars = [device.loss, device.balance, device.lr, device.norm].map((t) => tf.reshape(t, [1]));
    const usage = device.usage.filter((u) => u.size > 0).map((u) => tf.reshape(u, [u.size]));
    return tf.concat1d([...scalars, ...usage] as never);
  });
  for (const tensor of [device.loss, device.balance, device.lr, device.norm, ...device.usage] as Tensor[]) tensor.dispose();
  return backend.read(packed).then(
    (values) => {
      packed.dispose();
      return { loss: values[0]!, balance: values[1]!, lr: values[2]!, norm: values[3]!, usage: values.subarray(4) };
    },
    (error: unknown) => {
      packed.dispose();
      throw error;
    },
  );
}

/** Means of usage over samples, overall and by kind. */
export class UsageTable {
  private readonly groups: readonly string[];
  private readonly all: { sums: number[]; samples: number };
  private readonly kinds = new Map<string, { sums: number[]; samples: number }>();

  /** Rows stand in the order of `kinds`; one that is not among them follows when it comes. */
  constructor(manifest: Manifest, kinds: readonly string[] = manifest.kinds) {
    this.groups = manifest.groups.map((g) => g.name);
    this.all = { sums: this.groups.map(() => 0), samples: 0 };
    for (const kind of kinds) this.kinds.set(kind, { sums: this.groups.map(() => 0), samples: 0 });
  }

  /** `shares` are one sample's, by group, starting at `at`. */
  add(kind: string | undefined, shares: ArrayLike<number>, at: number): void {
    const rows = [this.all];
    if (kind !== undefined) {
      let row = this.kinds.get(kind);
      if (row === undefined) this.kinds.set(kind, (row = { sums: this.groups.map(() => 0), samples: 0 }));
      rows.push(row);
    }
    for (const row of rows) {
      row.samples++;
      for (let g = 0; g < this.groups.length; g++) row.sums[g]! += shares[at + g]!;
    }
  }

  overall(): Utilization {
    return this.means(this.all);
  }

  /** Kinds without a sample are left out; empty where there are no groups. */
  byKind(): Record<string, Utilization> {
    if (this.groups.length === 0) return {};
    return Object.fromEntries([...this.kinds].filter(([, row]) => row.samples > 0).map(([kind, row]) => [kind, this.means(row)]));
  }

  private means({ sums, samples }: { sums: number[]; samples: number }): Utilization {
    return Object.fromEntries(this.groups.map((g, i) => [g, samples === 0 ? 0 : sums[i]! / samples]));
  }
}
