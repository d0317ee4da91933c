import type { Scalar, Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import type { Tf } from "./program.ts";

/** `usage` where nothing is routed: f32 [sample, 0]. */
export function noUsage(tf: Tf, perSample: Tensor): Tensor2D {
  return tf.tensor2d([], [perSample.shape[0]!, 0], "float32");
}

/** `balance` where nothing is balanced. */
export function noBalance(tf: Tf): Scalar {
  return tf.scalar(0);
}
