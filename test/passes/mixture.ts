import { type Builder, type Module, ModuleBuilder, type Type, type Value, type Weight, axis, listOf, numberType, tensor } from "../../src/ir/index.ts";

export const sample = axis("sample");
export const position = axis("position");
export const hidden = axis("hidden", 6);
export const out = axis("out", 6);
export const expert = axis("expert", 4);
export const rank = axis("rank", 2);
export const layers = 3;

type Params = Readonly<Record<"W" | "A" | "B" | "R", Value>>;

const types = {
  W: tensor("f32", [out, hidden]),
  A: tensor("f32", [expert, hidden, rank]),
  B: tensor("f32", [expert, rank, out]),
  R: tensor("f32", [hidden, expert]),
} as const;

/** One adapted linear as it is lowered: every expert on every token, weighted by its gate, summed. */
export function site(b: Builder, x: Value, p: Params): { readonly y: Value; readonly gates: Value } {
  const gates = b.named("gates", b.softmax(b.dot(x, p.R, ["hidden"]), "expert"));
  const experts = b.mul(b.dot(b.dot(x, p.A, ["hidden"]), p.B, ["rank"]), 8);
  const y = b.add(b.dot(x, p.W, ["hidden"]), b.sum(b.mul(gates, experts), ["expert"]));
  return { y, gates };
}

/**
 * A module as lowering makes it: `layers` turns of a site with a residual, entries `logits` and `train`. W is frozen,
 * as [out, hidden] in the checkpoint.
 */
export function mixture(): Module {
  const m = new ModuleBuilder();
  for (const name of ["W", "A", "B", "R"] as const) {
    const type = types[name];
    const trainable = name !== "W";
    const weight: Weight = {
      name,
      type: listOf(layers, type),
      trainable,
      decay: trainable,
      initializer: trainable ? { kind: "normal", std: 0.02 } : { kind: "checkpoint" },
      sources: Array.from({ length: layers }, (_, i) => ({
        order: type.axes.map((a) => a.name),
        ...(trainable ? { adapter: { names: [`layers.${i}.${name}`] } } : { tensor: `layers.${i}.${name}` }),
      })),
    };
    m.weight(weight);
  }
  m.define("layer", (b) => {
    const x = b.param(tensor("f32", [sample, position, hidden]), "x");
    const usage = b.param(tensor("f32", [sample, expert]), "usage");
    const p = Object.fromEntries((["W", "A", "B", "R"] as const).map((n) => [n, b.param(types[n], n)])) as unknown as Params;
    const { y, gates } = site(b, x, p);
    const share = b.sum(gates, ["position"]);
    const z = b.mean(b.square(b.sub(share, b.mean(share, ["expert"]))), ["sample", "expert"]);
    return [b.add(x, b.rename(y, ["out"], ["hidden"])), b.add(usage, b.stop(share)), z];
  });
  const weights = (b: Builder): Value[] => (["W", "A", "B", "R"] as const).map((n) => b.param(listOf(layers, types[n]) as Type, n));
  const run = (b: Builder, x: Value, lists: readonly Value[]): readonly Value[] =>
    b.fold({ fn: "layer", count: layers, carried: [x, b.expand(0, [sample, expert])], lists, summed: 1 });
  const bound = (["W", "A", "B", "R"] as const).map((weight) => ({ kind: "weight", weight }) as const);
  m.define("logits", (b) => {
    const lists = weights(b);
    return [run(b, b.param(tensor("f32", [sample, position, hidden]), "x"), lists)[0]!];
  });
  m.entry("logits", { fn: "logits", params: [...bound, { kind: "input", name: "x" }], results: [{ kind: "output", name: "logits" }] });
  m.define("train", (b) => {
    const lists = weights(b);
    const x = b.param(tensor("f32", [sample, position, hidden]), "x");
    const scale = b.fill(b.param(numberType, "loss_scale"));
    const [y, usage, balance] = run(b, x, lists);
    const loss = b.mul(b.sum(b.square(y!), ["sample", "position", "hidden"]), scale);
    const weighedBalance = b.mul(balance!, 0.1);
    return [b.add(loss, weighedBalance), loss, weighedBalance, usage!];
  });
  m.entry("train", {
    fn: "train",
    params: [...bound, { kind: "input", name: "x" }, { kind: "input", name: "loss_scale" }],
    results: ["objective", "loss", "balance", "usage"].map((name) => ({ kind: "output", name }) as const),
  });
  return m.finish();
}
