import { interleave, type Measured } from "../measure.ts";
import { Graph } from "./model.ts";
import { open, resultsOf, type Feeds, type Ort } from "./runtime.ts";

export interface Passing {
  readonly tensors: number;
  /** Elements of each. */
  readonly elements: number;
  readonly sides: readonly Measured[];
}

/** What a call costs that takes so many tensors and gives as many back, each negated: next to nothing is computed. */
export async function benchPassing(ort: Ort, tensors: number, elements: number, rounds: number): Promise<Passing> {
  const g = new Graph();
  const type = { type: "f32", dims: [elements] } as const;
  const feeds: Record<string, Feeds[string]> = {};
  for (let i = 0; i < tensors; i++) {
    g.input(`p${i}`, type);
    g.output(g.node("Neg", [`p${i}`], {}, `r${i}`), type);
    feeds[`p${i}`] = new ort.Tensor("float32", new Float32Array(elements).fill(i), [elements]);
  }
  const session = await open(ort, g.finish("passing"), 1);
  const into = resultsOf(ort, session);
  const copy = Object.values(into).map((t) => t.data as Float32Array);
  const sides = await interleave(
    [
      { name: "new results", run: async () => void (await session.run(feeds)) },
      { name: "given results", run: async () => void (await session.run(feeds, into)) },
      // What is no overhead: the same pass over the elements in JavaScript.
      { name: "JavaScript alone", run: async () => Object.values(feeds).forEach((t, k) => t.data.forEach((v, i) => void (copy[k]![i] = -v))) },
    ],
    rounds,
  );
  await session.release();
  return { tensors, elements, sides };
}
