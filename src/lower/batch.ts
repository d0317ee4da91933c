import type { AxisRef, Tensor, TensorOps } from "../check/index.ts";
import type { GraphEmitter } from "./emitter.ts";

/** A tensor that a batch brings. */
export function input(emitter: GraphEmitter, name: string, dtype: Tensor["dtype"], axes: Tensor["axes"]): Tensor {
  return { kind: "tensor", dtype, axes, handle: emitter.input(name, { kind: "tensor", dtype, axes }) };
}

/**
 * Negative log-likelihood of the targets that count, in nats, [sample, position]; 0 where `counted` is. What training
 * minimises and what verification compares with other implementations.
 */
export function negativeLogLikelihood(ops: TensorOps, logits: Tensor, vocab: AxisRef, targets: Tensor, counted: Tensor): Tensor {
  const logp = ops.emit("log_softmax", [logits], { axis: vocab.name }, logits.axes);
  const hot = ops.emit("one_hot", [targets], { axis: vocab }, [...targets.axes, vocab]);
  return ops.arithmetic("mul", ops.unary("neg", ops.reduce("sum", ops.arithmetic("mul", hot, logp), [vocab])), counted);
}
