import type { DType } from "./graph.ts";

/** An axis in a run: its size is a number. */
export interface ConcreteAxis {
  readonly name: string;
  readonly size: number;
}

/** Row-major elements: float64 for f32, 0 and 1 for bool. */
export type Data = Float64Array | Int32Array | Uint8Array;

/** A tensor of the reference interpreter. Never changed once made. */
export interface Tensor {
  readonly dtype: DType;
  readonly axes: readonly ConcreteAxis[];
  readonly data: Data;
}

/** What a param is given in a run: a tensor, one tensor a layer, or a host number. */
export type Arg = Tensor | readonly Tensor[] | number;
