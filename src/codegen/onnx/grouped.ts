import type { Op } from "../../ir/graph.ts";
import { CodegenError } from "../errors.ts";
import type { Row } from "./rows.ts";
import { place, type Node, type Writer } from "./writer.ts";

/** A tensor with one axis first, the others in their order. */
function first(w: Writer, x: Node, axis: string): string {
  return w.ordered(x, [axis, ...x.type.axes.map((a) => a.name).filter((n) => n !== axis)]);
}

/** The rows of each group, of which `count` says how many there are: tensors whose first axis is no number. */
function parts(w: Writer, x: string, count: Node): readonly string[] {
  const sizes = w.graph.node("Cast", [count.name], { to: 7 });
  return w.graph.nodes(w.several(Number(count.type.axes[0]!.size)), "Split", [x, sizes], { axis: 0 });
}

/** The matrices of all groups, [group, m, n]. */
function matrices(w: Writer, x: Node, groups: number): readonly string[] {
  const { graph } = w;
  return graph.nodes(w.several(groups), "Split", [x.name], { axis: 0, num_outputs: groups }).map((m) => graph.node("Squeeze", [m, w.integers([0])]));
}

/** Tokens sorted by what they chose. The counts stay in the graph: nothing is read in the midst of a step. */
export const grouped: { readonly [K in "dispatch" | "spread" | "collect" | "grouped_dot" | "grouped_outer"]: Row<K> } = {
  dispatch: (w, op, { tensors: [mask] }) => {
    const g = w.graph;
    const { axis, slot, rows } = op.attributes;
    const tokens = mask!.type.axes.find((a) => a.name !== axis)!;
    const choices = mask!.type.axes.find((a) => a.name === axis)!;
    // TopK gives the lower index first among equals: the true ones, and after them the others, in their order.
    const truths = w.cast(first(w, mask!, tokens.name), "f32");
    const [, chosen] = g.nodes(w.several(2) as readonly [string, string], "TopK", [truths, w.integers([Number(slot.size)])], { axis: -1 });
    const each = g.node("Cast", [g.node("Unsqueeze", [chosen, w.integers([2])])], { to: 6 });
    const hot = w.cast(g.node("Equal", [each, w.range(choices, "i32")]), "i32");
    const counted = g.node("Transpose", [g.node("ReduceSum", [hot, w.integers([1])], { keepdims: 0 })], { perm: [1, 0] }); // [axis, token]
    // NonZero goes row by row: by choice, then by token. How many there are it does not know beforehand, but this op does.
    const pairs = g.node("Reshape", [g.node("NonZero", [counted]), w.shape([2, w.size(rows)])]);
    const [choice, token] = g.nodes(w.several(2) as readonly [string, string], "Split", [pairs], { axis: 0, num_outputs: 2 });
    const list = (pair: string): string => w.cast(g.node("Squeeze", [pair, w.integers([0])]), "i32");
    // A pair's row is the number of pairs before it.
    const sizes = w.dims([choices, tokens]);
    const running = g.node("CumSum", [g.node("Reshape", [counted, w.integers([-1])]), g.constant("i64", [], [0])], { exclusive: 1 });
    const numbers = g.node("Transpose", [g.node("Reshape", [running, w.shape(sizes)])], { perm: [1, 0] });
    const places = g.node("Transpose", [g.node("GatherElements", [numbers, chosen], { axis: 1 })], { perm: [1, 0] });
    const count = g.node("ReduceSum", [counted, w.integers([1])], { keepdims: 0 });
    return [list(token), places, list(choice), count];
  },
  spread: (w, _op, { tensors: [x, token, places] }) => w.graph.node("Gather", [first(w, x!, places!.type.axes[1]!.name), token!.name], { axis: 0 }),
  collect: (w, _op, { tensors: [x, token, places] }) => {
    const rows = w.graph.node("Gather", [first(w, x!, token!.type.axes[0]!.name), places!.name], { axis: 0 });
    return w.graph.node("ReduceSum", [rows, w.integers([0])], { keepdims: 0 });
  },
  grouped_dot: (w, op, { tensors: [a, b, count] }) => {
    const g = w.graph;
    const { over, transposeB = false } = op.attributes;
    if (over.length !== 1 || place(a!, over[0]!) !== 1 || b!.type.axes.length !== 3 || place(b!, over[0]!) !== (transposeB ? 2 : 1)) throw unlaid(op);
    const own = matrices(w, b!, Number(b!.type.axes[0]!.size));
    const products = parts(w, a!.name, count!).map((rows, i) => g.node("MatMul", [rows, transposeB ? g.node("Transpose", [own[i]!], { perm: [1, 0] }) : own[i]!]));
    return g.node("Concat", products, { axis: 0 });
  },
  grouped_outer: (w, op, { tensors: [a, b, count] }) => {
    const g = w.graph;
    if (![a, b].every((x) => x!.type.axes.length === 2) || a!.type.axes[0]!.name !== b!.type.axes[0]!.name) throw unlaid(op);
    const right = parts(w, b!.name, count!);
    const products = parts(w, a!.name, count!).map((rows, i) => g.node("MatMul", [g.node("Transpose", [rows], { perm: [1, 0] }), right[i]!]));
    return g.node("Concat", products.map((p) => g.node("Unsqueeze", [p, w.integers([0])])), { axis: 0 });
  },
};

function unlaid({ op }: Op): CodegenError {
  return new CodegenError(`a ${op} whose operands the layout pass has not made matrices`);
}
