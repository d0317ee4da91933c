import { describe, expect, it } from "vitest";
import { startBackend } from "../../src/runtime/backends/index.ts";
import { disposeBatch, prepareBatch, upload } from "../../src/runtime/batch.ts";
import { disposeStore, tensorsOf } from "../../src/runtime/store.ts";
import { disposeModel, tinyModel } from "./support.ts";
import { examples, manifest } from "./tiny.ts";

describe("the hand-written program that these tests train", () => {
  it("has the gradient that finite differences give", async () => {
    const backend = await startBackend("cpu");
    const model = await tinyModel(backend);
    const { tf } = backend;
    const input = upload(tf, prepareBatch(examples(), manifest, []));
    const host = { seed: 1, draw: 2, lossScale: 0.1, balanceScale: 20, step: 0, steps: 1 };
    const shifted = async (name: string, index: number, at: number, by: number): Promise<number> => {
      const tensors = [...tensorsOf(model.weights[name]!)];
      const data = Float32Array.from(await backend.read(tensors[index]!));
      data[at]! += by;
      tensors[index] = tf.tensor(data, tensors[index]!.shape);
      const result = await model.entries.gradients({ ...model.weights, [name]: tensors.length === 1 ? tensors[0]! : tensors }, input, host);
      return (await backend.read(result.loss))[0]! + (await backend.read(result.balance))[0]!;
    };
    // B starts at zero, where A's gradient is zero: move it.
    const moved = tensorsOf(model.weights["layers.proj.B"]!).map((b) => tf.tensor(Float32Array.from({ length: b.size }, (_, i) => Math.sin(i)), b.shape));
    model.weights = { ...model.weights, "layers.proj.B": moved };
    const { gradients } = await model.entries.gradients(model.weights, input, host);
    for (const [name, index, at] of [["bias", 0, 3], ["layers.proj.A", 0, 4], ["layers.proj.A", 1, 17], ["layers.proj.B", 0, 5], ["layers.proj.B", 1, 30], ["layers.proj.router", 0, 2], ["layers.proj.router", 1, 7]] as const) {
      const slope = ((await shifted(name, index, at, 0.02)) - (await shifted(name, index, at, -0.02))) / 0.04;
      const found = (await backend.read(tensorsOf(gradients[name]!)[index]!))[at]!;
      expect(Math.abs(slope), name).toBeGreaterThan(1e-4);
      expect(Math.abs(found - slope) / Math.abs(slope), `${name}[${index}][${at}]`).toBeLessThan(0.02);
    }
    disposeStore(gradients);
    disposeBatch(input);
    disposeModel(model);
    await backend.dispose();
  });
});
