import { GraphError } from "../errors.ts";
import type { OpAttributes, Type } from "../graph.ts";
import { mapTwo } from "../kernels/elementwise.ts";
import { allocate, layOut } from "../kernels/strided.ts";
import type { Arg, Tensor } from "../tensor.ts";
import { findAxis, hasAxis, isList, isTensor, listOf, numberType, sameType, tensor } from "../types.ts";
import { type Functions, type OpRow, inputAt, tensorAt, tensors } from "./row.ts";

type FunctionOp = "call" | "fold" | "list" | "element" | "pack" | "unpack" | "release";

const anything = { names: [], kinds: [], rest: { name: "argument", kind: "any", least: 0 } } as const;

/** The types that a fold's function must take: the index, then one a carried and shared operand, then list elements. */
export function foldParamTypes(operands: readonly Type[], a: OpAttributes["fold"]): readonly Type[] {
  const whole = a.carried + a.shared;
  const turns = operands.map((type, i) => (i < whole || !isList(type) ? type : type.of));
  return a.index ? [numberType, ...turns] : turns;
}

function sameTypes(a: readonly Type[], b: readonly Type[]): boolean {
  return a.length === b.length && a.every((t, i) => sameType(t, b[i]!));
}

function resultTypes(fn: string, functions: Functions): readonly Type[] {
  const found = functions.get(fn);
  if (!found) throw new GraphError(`there is no function @${fn}`);
  return found.results.map((v) => v.type);
}

export const functionOps: { readonly [K in FunctionOp]: OpRow<K> } = {
  call: {
    summary: "Runs a function of the module.",
    operands: anything,
    attributes: { fn: { kind: "function" } },
    result: "the function's results",
    constraints: [
      { id: "C1", text: "the function exists", holds: (_, a, functions) => functions.has(a.fn) },
      { id: "C2", text: "the operands are of its params' types", holds: (types, a, functions) => sameTypes(types, functions.get(a.fn)!.params.map((v) => v.type)) },
    ],
    infer: (_, a, functions) => resultTypes(a.fn, functions),
    flops: (c, a) => c.fn(a.fn).flops,
    bytes: (c, a) => c.fn(a.fn).bytes,
    evaluate: (inputs, a, c) => c.call(a.fn, inputs),
  },
  fold: {
    summary: "Runs a function once a layer: carried values go from turn to turn, lists give and take one element a turn.",
    operands: anything,
    attributes: {
      fn: { kind: "function" },
      count: { kind: "count" },
      carried: { kind: "count" },
      shared: { kind: "count" },
      summed: { kind: "count" },
      index: { kind: "boolean" },
      reverse: { kind: "boolean" },
    },
    result: "the last carried values, the totals of the summed ones, lists of the others",
    constraints: [
      { id: "C1", text: "the function exists", holds: (_, a, functions) => functions.has(a.fn) },
      { id: "C2", text: "there is at least one turn", holds: (_, a) => a.count >= 1 },
      { id: "C3", text: "the carried operands are tensors, and every operand after the shared ones is a list of `count`", holds: (types, a) => types.length >= a.carried + a.shared && types.slice(0, a.carried).every(isTensor) && types.slice(a.carried + a.shared).every((t) => isList(t) && t.count === a.count) },
      { id: "C4", text: "the function's params are the index (if any), the carried, the shared and the lists' elements", holds: (types, a, functions) => sameTypes(foldParamTypes(types, a), functions.get(a.fn)!.params.map((v) => v.type)) },
      { id: "C5", text: "the function's first results are of the carried types", holds: (types, a, functions) => sameTypes(types.slice(0, a.carried), resultTypes(a.fn, functions).slice(0, a.carried)) },
      {
        id: "C6",
        text: "there are `summed` further results that are f32 tensors, and all after them are tensors",
        holds: (_, a, functions) => {
          const rest = resultTypes(a.fn, functions).slice(a.carried);
          return rest.length >= a.summed && rest.every(isTensor) && rest.slice(0, a.summed).every((t) => isTensor(t) && t.dtype === "f32");
        },
      },
    ],
    infer: (_, a, functions) => resultTypes(a.fn, functions).map((type, i) => (i < a.carried + a.summed || !isTensor(type) ? type : listOf(a.count, type))),
    flops: (c, a) => a.count * c.fn(a.fn).flops,
    bytes: (c, a) => a.count * c.fn(a.fn).bytes,
    evaluate: (inputs, a, c, results) => {
      const whole = a.carried + a.shared;
      let carried = inputs.slice(0, a.carried);
      const shared = inputs.slice(a.carried, whole);
      const lists = inputs.slice(whole) as readonly (readonly Tensor[])[];
      const totals: Tensor[] = [];
      const kept: Tensor[][] = results.slice(a.carried + a.summed).map(() => []);
      for (let turn = 0; turn < a.count; turn++) {
        const i = a.reverse ? a.count - 1 - turn : turn;
        const args: readonly Arg[] = [...(a.index ? [i] : []), ...carried, ...shared, ...lists.map((l) => l[i]!)];
        const out = c.call(a.fn, args);
        carried = out.slice(0, a.carried);
        for (let k = 0; k < a.summed; k++) {
          const term = inputAt(out, a.carried + k);
          const total = totals[k];
          totals[k] = total ? mapTwo(total, term, total.axes, "f32", (x, y) => x + y) : term;
        }
        kept.forEach((list, k) => (list[i] = inputAt(out, a.carried + a.summed + k)));
      }
      return [...carried, ...totals, ...kept];
    },
  },
  list: {
    summary: "Tensors of one type as a list.",
    operands: { names: [], kinds: [], rest: { name: "element", kind: "tensor", least: 1 } },
    attributes: {},
    result: "list[n] of that type",
    constraints: [{ id: "C1", text: "all operands are of one type, layout included", holds: (types) => types.every((t) => sameType(t, types[0]!)) }],
    infer: (types) => {
      const first = types[0]!;
      return isTensor(first) ? [listOf(types.length, first)] : [];
    },
    flops: () => 0,
    bytes: () => 0,
    evaluate: (inputs) => [inputs as readonly Tensor[]],
  },
  element: {
    summary: "One tensor of a list.",
    operands: { names: ["list"], kinds: ["list"] },
    attributes: { at: { kind: "count" } },
    result: "the element's type",
    constraints: [{ id: "C1", text: "`at` is less than the list's length", holds: ([type], a) => isList(type) && a.at < type.count }],
    infer: ([type]) => (isList(type) ? [type.of] : []),
    flops: () => 0,
    bytes: () => 0,
    evaluate: ([list], a) => [(list as readonly Tensor[])[a.at]!],
  },
  pack: {
    summary: "A list's tensors as one, along a new first axis.",
    operands: { names: ["list"], kinds: ["list"] },
    attributes: { as: { kind: "axis" } },
    result: "[as] and the elements' axes",
    constraints: [
      { id: "C1", text: "the axis is as long as the list", holds: ([type], a) => isList(type) && a.as.size === type.count },
      { id: "C2", text: "the elements lack the axis", holds: ([type], a) => isList(type) && !type.of.axes.some((q) => q.name === a.as.name) },
    ],
    infer: ([type], a) => (isList(type) ? [tensor(type.of.dtype, [a.as, ...type.of.axes])] : []),
    flops: () => 0,
    evaluate: (inputs, a, c) => {
      const parts = inputs[0] as readonly Tensor[];
      const first = parts[0]!;
      const out: Tensor = { dtype: first.dtype, axes: [...c.axes([a.as]), ...first.axes], data: allocate(first.dtype, parts.length * first.data.length) };
      parts.forEach((part, i) => out.data.set(part.data, i * first.data.length));
      return [out];
    },
  },
  unpack: {
    summary: "A tensor's parts along an axis as a list.",
    operands: tensors("x"),
    attributes: { axis: { kind: "name" } },
    result: "list[n] of x's type without the axis",
    constraints: [
      { id: "C1", text: "the axis is x's", holds: (types, a) => hasAxis(tensorAt(types, 0), a.axis) },
      { id: "C2", text: "its size is a number", holds: (types, a) => typeof findAxis(tensorAt(types, 0), a.axis)!.size === "number" },
    ],
    infer: (types, a) => {
      const x = tensorAt(types, 0);
      return [listOf(Number(findAxis(x, a.axis)!.size), tensor(x.dtype, x.axes.filter((q) => q.name !== a.axis)))];
    },
    flops: () => 0,
    evaluate: (inputs, a) => {
      const x = inputAt(inputs, 0);
      const own = x.axes.find((q) => q.name === a.axis)!;
      const rows = layOut(x, [own, ...x.axes.filter((q) => q !== own)]);
      const axes = rows.axes.slice(1);
      const width = x.data.length / own.size;
      return [Array.from({ length: own.size }, (_, i): Tensor => ({ dtype: x.dtype, axes, data: rows.data.slice(i * width, (i + 1) * width) }))];
    },
  },
  release: {
    summary: "Frees values after their last use. Placed by the release pass only.",
    operands: { names: [], kinds: [], rest: { name: "value", kind: "any", least: 1 } },
    attributes: {},
    result: "nothing",
    constraints: [{ id: "C1", text: "the operands are tensors or lists", holds: (types) => types.every((t) => isTensor(t) || isList(t)) }],
    infer: () => [],
    flops: () => 0,
    bytes: () => 0,
    evaluate: () => [],
  },
};
