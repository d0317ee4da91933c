import type { Tensor } from "@tensorflow/tfjs-core";
import type { Tf } from "../src/runtime/program.ts";

/** The parts of TensorFlow.js's engine that every tensor passes when it is made and when its buffer goes. */
interface Engine {
  readonly state: { readonly tensorInfo: { has(id: object): boolean } };
  trackTensor(tensor: Tensor, backend: unknown): void;
  removeDataId(id: object, backend: unknown): void;
}

/** Counts the bytes of live buffers that were made since it began. A buffer that several tensors share counts once. */
export class Buffers {
  bytes = 0;
  peak = 0;

  constructor(tf: Tf) {
    const engine = tf.engine() as unknown as Engine;
    const sizes = new Map<object, number>();
    const { trackTensor, removeDataId } = engine;
    engine.trackTensor = (tensor, backend) => {
      if (!engine.state.tensorInfo.has(tensor.dataId)) {
        const size = tensor.size * (tensor.dtype === "bool" ? 1 : 4);
        sizes.set(tensor.dataId, size);
        this.bytes += size;
        this.peak = Math.max(this.peak, this.bytes);
      }
      trackTensor.call(engine, tensor, backend);
    };
    engine.removeDataId = (id, backend) => {
      this.bytes -= sizes.get(id) ?? 0;
      sizes.delete(id);
      removeDataId.call(engine, id, backend);
    };
  }

  /** Begins to look for the peak; returns what is held now. */
  restart(): number {
    return (this.peak = this.bytes);
  }
}
