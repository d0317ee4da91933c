import { beforeAll, describe, expect, it } from "vitest";
import type { Tensor } from "@tensorflow/tfjs-core";
import { Builder, ModuleBuilder, axis, interpret, tensor, type Arg, type Tensor as Reference, type Value } from "../../src/ir/index.ts";
import { randomUniform, startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import { isTop } from "../../src/runtime/generated.ts";
import { collect, dispatch, groupedDot, groupedOuter, spread } from "../../src/runtime/grouped.ts";
import type { Tf } from "../../src/runtime/program.ts";
import { testBackends } from "../support/backends.ts";

/** TensorFlow.js as it is where nothing can be read at once: helpers must do without. */
function unread(tf: Tf): Tf {
  return new Proxy(tf, { get: (target, name) => (name === "getBackend" ? () => "webgpu" : target[name as keyof Tf]) });
}

function uniform(count: number, stream: number): Float32Array {
  const out = new Float32Array(count);
  randomUniform(out, 5, 0, stream);
  return out.map((v) => 2 * v - 1);
}

interface Setting {
  readonly name: string;
  readonly tokens: number;
  readonly choices: number;
  readonly k: number;
  /** The scores that experts are chosen by; random where absent. */
  readonly score?: (token: number, choice: number) => number;
}

const settings: readonly Setting[] = [
  { name: "two of six", tokens: 9, choices: 6, k: 2 },
  { name: "one of many, most without tokens", tokens: 5, choices: 40, k: 1 },
  { name: "all tokens at one expert", tokens: 7, choices: 4, k: 1, score: (_, e) => (e === 2 ? 1 : 0) },
  { name: "ties: the lower index", tokens: 6, choices: 5, k: 3, score: (t, e) => Number((t + e) % 2) },
  { name: "every expert", tokens: 4, choices: 3, k: 3 },
  { name: "one token", tokens: 1, choices: 8, k: 2 },
];

const [depth, width] = [5, 3];

/** The same in the reference interpreter, on the same numbers: is_top's mask, then all five operations. */
function expected({ tokens, choices, k }: Setting, scores: Float32Array, x: Float32Array, b: Float32Array): readonly Reference[] {
  const [t, e, s, r, i, o] = [axis("t", tokens), axis("e", choices), axis("s", k), axis("r", tokens * k), axis("i", depth), axis("o", width)];
  const m = new ModuleBuilder();
  m.define("f", (w: Builder): readonly Value[] => {
    const [p, given, B] = [w.param(tensor("f32", [t, e])), w.param(tensor("f32", [t, i])), w.param(tensor("f32", [e, i, o]))];
    const mask = w.is_top(p, "e", k);
    const { token, place, choice, count } = w.dispatch(mask, "e", s, r);
    const rows = w.spread(given, token, place);
    const y = w.grouped_dot(rows, B, count, ["i"]);
    return [mask, token, place, choice, count, rows, y, w.grouped_dot(y, B, count, ["o"]), w.grouped_outer(y, rows, count), w.collect(y, token, place)];
  });
  const arg = (data: Float32Array, ...axes: { name: string; size: unknown }[]): Arg => ({ dtype: "f32", axes: axes.map((a) => ({ name: a.name, size: Number(a.size) })), data: Float64Array.from(data) });
  return interpret(m.finish(), "f", [arg(scores, t, e), arg(x, t, i), arg(b, e, i, o)]) as readonly Reference[];
}

describe.each(testBackends)("tokens sorted by expert, on %s", (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend(name);
  });

  for (const blind of [false, true])
    it.each(settings.map((s) => [s.name, s] as const))(`%s${blind ? ", where numbers cannot be read at once" : ""}`, async (_, setting) => {
      const tf = blind ? unread(backend.tf) : backend.tf;
      const { tokens, choices, k, score } = setting;
      const scores = score ? Float32Array.from({ length: tokens * choices }, (_, n) => score(Math.floor(n / choices), n % choices)) : uniform(tokens * choices, 1);
      const [xs, bs] = [uniform(tokens * depth, 2), uniform(choices * depth * width, 3)];
      const [p, x, b] = [tf.tensor2d(scores, [tokens, choices]), tf.tensor2d(xs, [tokens, depth]), tf.tensor3d(bs, [choices, depth, width])];
      const before = backend.memory().tensors;
      const mask = isTop(tf, p, k);
      const [token, place, choice, count] = dispatch(tf, mask, k);
      const rows = spread(tf, x, token, place);
      const y = groupedDot(tf, rows, b, count);
      const results: readonly Tensor[] = [mask, token, place, choice, count, rows, y, groupedDot(tf, y, b, count, true), groupedOuter(tf, y, rows, count), collect(tf, y, token, place)];
      expect(backend.memory().tensors - before).toBe(results.length);
      for (const [n, want] of expected(setting, scores, xs, bs).entries()) {
        expect([n, results[n]!.shape]).toEqual([n, want.axes.map((a) => a.size)]);
        const got = await backend.read(results[n]!);
        if (want.dtype === "f32") want.data.forEach((v, j) => expect(Math.abs(got[j]! - v)).toBeLessThan(1e-5));
        else expect([n, Array.from(got, Number)]).toEqual([n, Array.from(want.data)]);
      }
      for (const each of [...results, p, x, b]) each.dispose();
    });
});
