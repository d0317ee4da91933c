import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type * as tfjs from "@tensorflow/tfjs-core";
import { type Arg, axis, type Axis, Builder, type Data, interpret, listOf, type Module, ModuleBuilder, numberType, type OpName, scalar, type Tensor, tensor, type TensorType, type Value } from "../../src/ir/index.ts";
import { randomNormal, randomUniform } from "../../src/runtime/backends/random.ts";
import { printTfjs } from "../../src/codegen/index.ts";
import { rows } from "../../src/codegen/tfjs/rows.ts";
import { available } from "../support/require.ts";
import { runOnnx } from "./onnx.ts";
import { clean, compilers, complaints, free, load, manifest, put, runtimePath, scratch, tf } from "./run.ts";

const sizes: Record<string, number> = { sample: 2, position: 3 };
const sample = axis("sample");
const position = axis("position");
const inAxis = axis("in", 4);
const expert = axis("expert", 5);
const one = axis("one", 1);

const sized = (a: Axis): number => (typeof a.size === "number" ? a.size : sizes[a.name]!);

/** Numbers that are no backend's special case, from a fixed sequence. */
function filled(type: TensorType, seed: number, from = -2, to = 2): Tensor {
  const axes = type.axes.map((a) => ({ name: a.name, size: sized(a) }));
  const count = axes.reduce((n, a) => n * a.size, 1);
  const uniform = new Float32Array(count);
  randomUniform(uniform, seed, 0, 0);
  const data: Data = type.dtype === "f32" ? new Float64Array(count) : type.dtype === "i32" ? new Int32Array(count) : new Uint8Array(count);
  uniform.forEach((u, i) => (data[i] = type.dtype === "bool" ? (u < 0.5 ? 1 : 0) : type.dtype === "i32" ? Math.floor(u * 4) : Math.fround(from + (to - from) * u)));
  return { dtype: type.dtype, axes, data };
}

interface Case {
  readonly name: string;
  /** Ops that this case is for. */
  readonly ops: readonly OpName[];
  readonly params: readonly TensorType[];
  readonly write: (b: Builder, ...params: Value[]) => Value | readonly Value[];
  readonly range?: readonly [number, number];
  readonly args?: readonly Arg[];
}

const f = (...axes: readonly Axis[]): TensorType => tensor("f32", axes);
const i32 = (...axes: readonly Axis[]): TensorType => tensor("i32", axes);
const bool = (...axes: readonly Axis[]): TensorType => tensor("bool", axes);
const x = f(sample, position, inAxis);

const unary = ["neg", "abs", "sign", "exp", "sigmoid", "tanh", "relu", "softplus", "sin", "cos", "floor", "erf", "square", "stop", "copy"] as const;
const positive = ["log", "log1p", "sqrt", "rsqrt", "reciprocal"] as const;
const arithmetic = ["add", "sub", "mul", "div", "max", "min"] as const;
const comparisons = ["lt", "le", "gt", "ge", "eq", "ne"] as const;
const six = ["a", "b", "c", "d", "e", "f", "g"].map((n, i) => axis(n, i % 2 === 0 ? 2 : 3));

/** Tokens, experts and choices each; how many of a token's choices the mask has at most, and which experts at all. */
const dispatches = ([
  ["two of five", 6, 5, 2, () => true],
  ["experts without tokens", 6, 5, 2, (e) => e !== 1 && e !== 4],
  ["all tokens at one expert", 6, 5, 1, (e) => e === 3],
  ["every expert chosen", 3, 2, 2, () => true],
  ["one token", 1, 4, 3, () => true],
  ["one token, one expert", 1, 1, 1, () => true],
] as readonly [string, number, number, number, (e: number) => boolean][]).map(([name, tokens, experts, k, may]): Case => {
  const [t, e, s, r, n] = [axis("token", tokens), axis("expert", experts), axis("slot", k), axis("rows", k * tokens), axis("n", 3)];
  const mask = new Uint8Array(tokens * experts);
  for (let i = 0; i < tokens; i++) for (let j = 0, left = k; j < experts && left > 0; j++) if (may((i + 2 * j) % experts) && (i + j) % 3 !== 1) left -= mask[i * experts + ((i + 2 * j) % experts)] = 1;
  const shaped = f(t, inAxis);
  const factors = [f(e, inAxis, n), f(e, n, inAxis)] as const;
  return {
    name: `dispatch: ${name}`,
    ops: ["dispatch", "spread", "collect", "grouped_dot", "grouped_outer"],
    params: [bool(t, e), shaped, ...factors, i32(t), bool(t)],
    args: [{ dtype: "bool", axes: [{ name: "token", size: tokens }, { name: "expert", size: experts }], data: mask }, ...[shaped, ...factors, i32(t), bool(t)].map((type, i) => filled(type, i + 1))],
    write: (b, m, x, A, B, numbers, truths) => {
      const { token, place, choice, count } = b.dispatch(m!, "expert", s, r);
      const rows = b.spread(x!, token, place);
      const h = b.grouped_dot(rows, A!, count, ["in"]);
      const y = b.grouped_dot(h, B!, count, ["n"]);
      return [token, place, choice, count, rows, h, y, b.collect(y, token, place), b.grouped_outer(h, rows, count), b.grouped_dot(h, A!, count, ["n"], { transposeB: true }), b.grouped_dot(rows, B!, count, ["in"], { transposeB: true }), b.spread(numbers!, token, place), b.spread(truths!, token, place), b.collect(b.sum(y, ["in"]), token, place)];
    },
  };
});

const cases: readonly Case[] = [
  ...unary.map((op): Case => ({ name: op, ops: [op], params: [x], write: (b, v) => b[op](v!) })),
  ...positive.map((op): Case => ({ name: op, ops: [op], params: [x], range: [0.2, 3], write: (b, v) => b[op](v!) })),
  ...arithmetic.flatMap((op): Case[] => [
    { name: op, ops: [op], params: [x, x], range: [0.2, 3], write: (b, v, w) => b[op](v!, w!) },
    { name: `${op}, trailing axis`, ops: [op], params: [x, f(inAxis)], range: [0.2, 3], write: (b, v, w) => b[op](v!, w!) },
    { name: `${op}, leading axis`, ops: [op], params: [f(sample), x], range: [0.2, 3], write: (b, v, w) => b[op](v!, w!) },
    { name: `${op}, a number`, ops: [op, "constant"], params: [x], range: [0.2, 3], write: (b, v) => b[op](v!, 1.5) },
    { name: `${op}, outer`, ops: [op], params: [f(sample, inAxis), f(position, inAxis)], range: [0.2, 3], write: (b, v, w) => b[op](v!, w!) },
  ]),
  { name: "pow", ops: ["pow"], params: [x, f(inAxis)], range: [0.2, 3], write: (b, v, w) => b.pow(v!, w!) },
  ...comparisons.flatMap((op): Case[] => [
    { name: `${op} i32`, ops: [op], params: [i32(sample, position), i32(position)], write: (b, v, w) => b[op](v!, w!) },
    { name: `${op} f32, unit axes inside`, ops: [op], params: [x, f(sample, inAxis)], write: (b, v, w) => b[op](v!, w!) },
  ]),
  ...(["eq", "ne"] as const).map((op): Case => ({ name: `${op} bool`, ops: [op], params: [bool(sample, position), bool(sample)], write: (b, v, w) => b[op](v!, w!) })),
  ...(["add", "sub", "mul", "max", "min"] as const).map((op): Case => ({ name: `${op} i32`, ops: [op], params: [i32(sample, position), i32(position)], write: (b, v, w) => b[op](v!, w!) })),
  ...(["neg", "abs", "sign", "square"] as const).map((op): Case => ({ name: `${op} i32`, ops: [op], params: [i32(sample, position)], write: (b, v) => b[op](b.sub(v!, 2)) })),
  ...(["and", "or"] as const).map((op): Case => ({ name: op, ops: [op], params: [bool(sample, position), bool(position)], write: (b, v, w) => b[op](v!, w!) })),
  { name: "not", ops: ["not"], params: [bool(sample)], write: (b, v) => b.not(v!) },
  { name: "select", ops: ["select"], params: [bool(position, inAxis), x], write: (b, c, v) => b.select(c!, v!, -1e9) },
  { name: "select, few axes everywhere", ops: ["select"], params: [bool(sample), f(position), f(inAxis)], write: (b, c, v, w) => b.select(c!, v!, w!) },
  { name: "select, vectors", ops: ["select"], params: [bool(sample), f(sample)], write: (b, c, v) => b.select(c!, v!, 0) },
  { name: "cast f32 i32", ops: ["cast"], params: [x], write: (b, v) => b.cast(v!, "i32") },
  { name: "cast f32 bool", ops: ["cast"], params: [x], write: (b, v) => [b.cast(v!, "bool"), b.cast(b.mul(b.floor(v!), 256), "bool")] },
  { name: "cast i32 bool f32", ops: ["cast"], params: [i32(sample, position)], write: (b, v) => [b.cast(v!, "f32"), b.cast(b.cast(v!, "bool"), "f32"), b.cast(b.cast(v!, "bool"), "i32")] },
  { name: "more axes than kernels take", ops: ["add", "select"], params: [f(...six), f(six[0]!, six[1]!, six[6]!)], write: (b, v, w) => [b.add(v!, w!), b.mul(w!, v!), b.select(b.gt(v!, w!), v!, w!)] },
  ...(["sum", "mean", "reduce_max"] as const).flatMap((op): Case[] => [
    { name: `${op} last`, ops: [op], params: [x], write: (b, v) => b[op](v!, ["in"]) },
    { name: `${op} first`, ops: [op], params: [x], write: (b, v) => b[op](v!, ["sample"]) },
    { name: `${op} outer`, ops: [op], params: [x], write: (b, v) => b[op](v!, ["in", "sample"]) },
    { name: `${op} all`, ops: [op], params: [x], write: (b, v) => b[op](v!, ["sample", "position", "in"]) },
    { name: `${op} unit`, ops: [op], params: [f(one, inAxis)], write: (b, v) => b[op](v!, ["one"]) },
  ]),
  { name: "sum of a number of i32", ops: ["sum"], params: [i32(sample, position)], write: (b, v) => b.sum(v!, ["sample"]) },
  { name: "dot", ops: ["dot"], params: [f(position, inAxis), f(inAxis, expert)], write: (b, v, w) => b.dot(v!, w!, ["in"]) },
  { name: "dot, batch", ops: ["dot"], params: [x, f(sample, inAxis, expert)], write: (b, v, w) => b.dot(v!, w!, ["in"]) },
  { name: "dot, flags", ops: ["dot"], params: [f(inAxis, position), f(expert, inAxis)], write: (b, v, w) => b.dot(v!, w!, ["in"], { transposeA: true, transposeB: true }) },
  { name: "rename", ops: ["rename"], params: [x], write: (b, v) => b.rename(v!, ["position"], ["source"]) },
  { name: "transpose", ops: ["transpose"], params: [x], write: (b, v) => [b.transpose(v!, ["in", "sample", "position"]), b.transpose(v!, ["position", "sample", "in"])] },
  { name: "reshape", ops: ["reshape"], params: [x], write: (b, v) => [b.reshape(v!, [axis("rows", "position*sample"), inAxis]), b.reshape(v!, [sample, position, axis("half", 2), axis("pair", 2)])] },
  { name: "expand", ops: ["expand"], params: [f(position)], write: (b, v) => [b.expand(v!, [expert, position]), b.expand(v!, [position, inAxis]), b.expand(b.constant(2), [inAxis, expert])] },
  { name: "expand bool", ops: ["expand"], params: [bool(sample)], write: (b, v) => b.expand(v!, [sample, inAxis]) },
  { name: "expand to many axes", ops: ["expand"], params: [f(six[1]!, six[2]!)], write: (b, v) => b.expand(v!, six) },
  { name: "slice", ops: ["slice"], params: [x], write: (b, v) => b.slice(v!, "in", 1, axis("part", 2)) },
  { name: "pad", ops: ["pad"], params: [x], write: (b, v) => b.pad(v!, "in", 1, 2, axis("wide", 7)) },
  { name: "concat", ops: ["concat"], params: [x, f(sample, position, expert)], write: (b, v, w) => [b.concat([v!, w!], ["in", "expert"], axis("both", 9)), b.concat([v!], ["in"], axis("alone", 4))] },
  { name: "reverse", ops: ["reverse"], params: [x], write: (b, v) => [b.reverse(v!, "position"), b.reverse(b.reshape(v!, [sample, position, one, axis("half", 2), axis("pair", 2)]), "half")] },
  { name: "gather", ops: ["gather"], params: [f(expert, inAxis), i32(sample, position)], write: (b, v, w) => b.gather(v!, w!, "expert") },
  { name: "gather along a later axis", ops: ["gather"], params: [f(inAxis, expert), i32(sample, position)], write: (b, v, w) => b.gather(v!, w!, "expert") },
  { name: "scatter_add", ops: ["scatter_add"], params: [i32(sample, position), x], write: (b, v, w) => b.scatter_add(v!, w!, expert) },
  { name: "scatter_add, no rest", ops: ["scatter_add"], params: [i32(sample), f(sample)], write: (b, v, w) => b.scatter_add(v!, w!, expert) },
  {
    name: "one_hot, some outside", ops: ["one_hot"], params: [i32(inAxis)], write: (b, v) => [b.one_hot(v!, axis("kind", 3)), b.one_hot(v!, axis("only", 1))],
    args: [{ dtype: "i32", axes: [{ name: "in", size: 4 }], data: Int32Array.of(-1, 0, 2, 5) }],
  },
  { name: "argmax", ops: ["argmax"], params: [x], write: (b, v) => [b.argmax(v!, "in"), b.argmax(v!, "sample")] },
  { name: "argmax and is_top with ties", ops: ["argmax", "is_top"], params: [i32(sample, position, expert)], write: (b, v) => [b.argmax(v!, "expert"), b.is_top(b.cast(v!, "f32"), "expert", 2)] },
  { name: "is_top", ops: ["is_top"], params: [x], write: (b, v) => [b.is_top(v!, "in", 2), b.is_top(v!, "position", 1)] },
  { name: "cumsum", ops: ["cumsum"], params: [x], write: (b, v) => [b.cumsum(v!, "in"), b.cumsum(v!, "position", { exclusive: true }), b.cumsum(v!, "sample", { reverse: true })] },
  ...dispatches,
  { name: "softmax", ops: ["softmax"], params: [x], write: (b, v) => [b.softmax(v!, "in"), b.softmax(v!, "position"), b.softmax(b.mul(v!, 100), "in")] },
  { name: "log_softmax", ops: ["log_softmax"], params: [x], write: (b, v) => [b.log_softmax(v!, "in"), b.log_softmax(v!, "sample"), b.log_softmax(b.mul(v!, 100), "in")] },
  { name: "leaves", ops: ["table", "index", "extent"], params: [x], write: (b, v) => [b.add(v!, b.table([1, 2, 3, 4], [inAxis])), b.index(inAxis), b.index(position, "f32"), b.extent([sample, inAxis]), b.extent([inAxis]), b.table([1, 0, 1, 1], [inAxis], "bool")] },
  { name: "constants as results", ops: ["constant"], params: [], write: (b) => [b.constant(-0.5), b.constant(1), b.constant(3, "i32"), b.constant(1, "bool")] },
];

const random = { uniform: randomUniform, normal: randomNormal };

function tolerance(got: ArrayLike<number>, want: Data): number {
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    scale = Math.max(scale, Math.abs(want[i]!));
    const error = Math.abs(got[i]! - want[i]!);
    worst = Math.max(worst, Number.isNaN(error) ? Infinity : error);
  }
  return worst / Math.max(scale, 1e-30);
}

/** What a result shows, wherever it was computed. */
interface Shown {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly data: ArrayLike<number>;
}

function compare(got: unknown, want: Arg, type: Value["type"]): void {
  if (type.kind === "list") return (want as readonly Tensor[]).forEach((w, i) => compare((got as unknown[])[i], w, type.of));
  const { shape, dtype, data } = got as Shown;
  const w = want as Tensor;
  expect(shape).toEqual(w.axes.map((a) => a.size));
  expect(dtype).toBe(w.dtype === "f32" ? "float32" : w.dtype === "i32" ? "int32" : "bool");
  if (w.dtype === "f32") expect(tolerance(data, w.data)).toBeLessThanOrEqual(1e-5);
  else expect(Array.from(data, Number)).toEqual(Array.from(w.data));
}

/** Runs a function on the device and in the interpreter; nothing but the results may be left on the device. */
async function checkGenerated(module: Module, fn: string, args: readonly Arg[]): Promise<void> {
  const want = interpret(module, fn, args, { random });
  const before = tf.memory().numTensors;
  const loaded = await load(module);
  const constants = tf.memory().numTensors - before;
  const given = args.map(put);
  const start = tf.memory().numTensors;
  const out = loaded[fn]!(...given);
  const types = module.functions.get(fn)!.results.map((r) => r.type);
  const results = types.length === 1 ? [out] : (out as unknown[]);
  const made = types.reduce((n, t) => n + (t.kind === "list" ? t.count : 1), 0);
  const show = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(show);
    const { shape, dtype, dataSync } = value as tfjs.Tensor;
    return { shape, dtype, data: dataSync.call(value) };
  };
  types.forEach((type, i) => compare(show(results[i]), want[i]!, type));
  const left = tf.memory().numTensors - start;
  free(results);
  free(given);
  loaded.dispose();
  expect({ left, constants: tf.memory().numTensors - before }).toEqual({ left: made, constants: 0 });
  expect(constants).toBeGreaterThanOrEqual(0);
}

/** Runs a function as a model of ONNX Runtime, the same file for whatever sizes, and in the interpreter. */
async function checkOnnx(module: Module, fn: string, args: readonly Arg[]): Promise<void> {
  const want = interpret(module, fn, args, { random });
  const got = await runOnnx(module, fn, args);
  module.functions.get(fn)!.results.forEach(({ type }, i) => compare(got[i], want[i]!, type));
}

/** Frees after the last use everything that is not returned, as the release pass does. */
export function define(m: ModuleBuilder, name: string, write: (b: Builder) => readonly Value[]): void {
  m.define(name, (b) => {
    const results = write(b);
    const last = b.body.flatMap((op) => op.results).filter((v) => !results.includes(v) && v.type.kind !== "number");
    if (last.length > 0) b.release(last);
    return results;
  });
}

const hasOnnx = await available("onnx");

for (const backend of ["cpu", "wasm", "onnx"]) {
  describe.skipIf(backend === "onnx" && !hasOnnx)(`operations on ${backend}`, () => {
    const check = backend === "onnx" ? checkOnnx : checkGenerated;
    beforeAll(async () => {
      if (backend === "onnx") return;
      await tf.setBackend(backend);
      await tf.ready();
    });
    for (const { name, params, write, range, args } of cases) {
      it(name, async () => {
        const m = new ModuleBuilder();
        define(m, "f", (b) => {
          const out = write(b, ...params.map((t, i) => b.param(t, `p${i}`)));
          return Array.isArray(out) ? (out as readonly Value[]) : [out as Value];
        });
        await check(m.finish(), "f", args ?? params.map((t, i) => filled(t, i + 1, ...(range ?? [-2, 2]))));
      });
    }

    it("fill and random", async () => {
      const m = new ModuleBuilder();
      define(m, "f", (b) => {
        const [seed, step, layer] = [b.param(numberType, "seed"), b.param(numberType, "step"), b.param(numberType, "layer")];
        const rows = b.param(x, "x");
        return [b.fill(step!), b.random(seed!, step!, layer!, 3, [sample, inAxis]), b.random(seed!, step!, layer!, 4, [position], "normal"), b.chance(seed!, step!, layer!, 5, [sample, inAxis], 0.3), b.square(rows)];
      });
      await check(m.finish(), "f", [7, 11, 1, filled(x, 1)]);
    });

    for (const reverse of [false, true]) {
      it(`folds over layers${reverse ? ", backwards" : ""}, calls and lists`, async () => {
        const m = new ModuleBuilder();
        define(m, "scaled", (b) => [b.mul(b.param(x, "x"), b.param(scalar(), "by"))]);
        define(m, "layer", (b) => {
          const i = b.param(numberType, "i");
          const h = b.param(x, "h");
          const by = b.param(scalar(), "by");
          const gain = b.param(f(inAxis), "gain");
          const next = b.add(b.call("scaled", [h, by])[0]!, b.add(b.mul(h, gain), b.fill(i)));
          return [next, b.sum(next, ["sample", "position", "in"]), b.mean(next, ["in"])];
        });
        define(m, "f", (b) => {
          const h = b.param(x, "h");
          const gains = b.param(listOf(3, f(inAxis)), "gains");
          const by = b.constant(0.5);
          const [last, total, means] = b.fold({ fn: "layer", count: 3, carried: [h], shared: [by], lists: [gains], summed: 1, index: true, reverse });
          const picked = b.element(means!, 2);
          const list = b.list([picked, b.neg(picked)]);
          return [last!, total!, means!, b.copy(gains), list, b.element(list, 1)];
        });
        await check(m.finish(), "f", [filled(x, 1), [1, 2, 3].map((s) => filled(f(inAxis), s))]);
      });
    }

    it("packs lists and takes tensors apart", async () => {
      const m = new ModuleBuilder();
      define(m, "f", (b) => {
        const [parts, h, one] = [b.param(listOf(3, f(sample, inAxis)), "parts"), b.param(x, "h"), b.param(listOf(1, f(inAxis)), "one")];
        return [b.pack(parts, axis("layer", 3)), b.unpack(h, "in"), b.unpack(b.pack(parts, axis("layer", 3)), "layer"), b.pack(one, axis("layer", 1))];
      });
      await check(m.finish(), "f", [[1, 2, 3].map((s) => filled(f(sample, inAxis), s)), filled(x, 1), [filled(f(inAxis), 2)]]);
    });

    it("sizes that only a product or a list shows", async () => {
      const m = new ModuleBuilder();
      define(m, "f", (b) => {
        const rows = b.param(f(axis("wide", "6*sample")), "rows");
        const parts = b.param(listOf(2, f(position, inAxis)), "parts");
        return [b.reshape(rows, [sample, axis("six", 6)]), b.expand(b.element(parts, 0), [sample, position, inAxis])];
      });
      const wide: Tensor = { dtype: "f32", axes: [{ name: "wide", size: 12 }], data: Float64Array.from({ length: 12 }, (_, i) => i) };
      await check(m.finish(), "f", [wide, [filled(f(position, inAxis), 1), filled(f(position, inAxis), 2)]]);
    });
  });
}

it("every operation has a case", () => {
  const covered = new Set<OpName>(cases.flatMap((c) => c.ops));
  for (const op of ["fill", "random", "chance", "call", "fold", "list", "element", "pack", "unpack", "release"] as const) covered.add(op);
  expect([...covered].sort()).toEqual([...Object.keys(rows), "call", "fold", "list", "release", "dispatch"].sort());
});

describe("every operation's TypeScript", () => {
  afterAll(clean);

  it.each(compilers)("compiles under %s", async (name, command) => {
    const m = new ModuleBuilder();
    cases.forEach(({ params, write }, i) =>
      define(m, `f${i}`, (b) => {
        const out = write(b, ...params.map((t, k) => b.param(t, `p${k}`)));
        return Array.isArray(out) ? (out as readonly Value[]) : [out as Value];
      }),
    );
    const folder = scratch(identifierOf(name));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), `{"type": "module"}`);
    writeFileSync(join(folder, "ops.ts"), await printTfjs([{ module: m.finish(), manifest: manifest() }], { expose: "functions", format: false, runtimeImport: runtimePath }));
    expect(complaints(command, folder, ["ops.ts"])).toBe("");
  }, 120_000);
});

function identifierOf(name: string): string {
  return `ops-${name.replace(/\W/g, "")}`;
}
