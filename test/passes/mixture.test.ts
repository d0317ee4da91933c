import { describe, expect, it } from "vitest";
import { type Arg, type Builder, type GraphFunction, type Module, type OpName, type Tensor, type Value, axis, interpretEntry, tensor, verify } from "../../src/ir/index.ts";
import { gradientsEntry, layout, optimize, release, simplify, stack } from "../../src/passes/index.ts";
import { opsOf } from "../../src/passes/tools.ts";
import { mixture } from "./mixture.ts";
import { difference, finiteDifferences, moduleOf, numbers, randomArg, sound } from "./support.ts";

const sizes = { sample: 2, position: 5 };
const count = (fn: GraphFunction, op: OpName): number => fn.body.filter((o) => o.op === op).length;
const axesOf = (v: GraphFunction["results"][number]): string => (v.type.kind === "tensor" ? v.type.axes.map((a) => a.name).join(",") : v.type.kind);

function inputs(module: Module, entry: string): { weight: Record<string, Arg>; input: Record<string, Arg> } {
  const next = numbers(5);
  const found = module.entries.get(entry)!;
  const made = { weight: {} as Record<string, Arg>, input: {} as Record<string, Arg> };
  found.params.forEach((p, i) => {
    const arg = randomArg(module.functions.get(found.fn)!.params[i]!.type, next, -0.7, 0.7, sizes);
    if (p.kind === "weight") made.weight[p.weight] = arg;
    else if (p.kind === "input") made.input[p.name] = p.name === "loss_scale" ? 0.25 : arg;
  });
  return made;
}

/** A weight's argument in another order, as the runtime lays it out at load. */
function permuted(arg: Arg, order: readonly string[]): Arg {
  const one = (t: Tensor): Tensor => {
    const axes = order.map((n) => t.axes.find((a) => a.name === n)!);
    const stride = new Map<string, number>();
    [...t.axes].reverse().reduce((n, a) => (stride.set(a.name, n), n * a.size), 1);
    const data = new Float64Array(t.data.length);
    for (let k = 0; k < data.length; k++) {
      let rest = k;
      let from = 0;
      for (const a of [...axes].reverse()) {
        from += (rest % a.size) * stride.get(a.name)!;
        rest = Math.floor(rest / a.size);
      }
      data[k] = t.data[from]!;
    }
    return { ...t, axes, data };
  };
  return Array.isArray(arg) ? (arg as readonly Tensor[]).map(one) : one(arg as Tensor);
}

/** The same arguments for a module whose weights may be laid out otherwise. */
function laidOut(module: Module, given: ReturnType<typeof inputs>): ReturnType<typeof inputs> {
  const weight: Record<string, Arg> = {};
  for (const w of module.weights) {
    const type = w.type.kind === "list" ? w.type.of : w.type;
    weight[w.name] = permuted(given.weight[w.layoutOf ?? w.name]!, type.axes.map((a) => a.name));
  }
  return { weight, input: given.input };
}

describe("a mixture of low-rank updates", () => {
  it("stacks to two products beside the base's and the router's, whatever the number of experts", () => {
    const { module, report } = stack(mixture(), { sizes: { sample: 8, position: 128 } });
    sound(module);
    const fn = module.functions.get("layer")!;
    expect(count(fn, "dot")).toBe(4);
    const dots = opsOf(fn).filter((op) => op.op === "dot");
    expect(dots.some((op) => [...op.attributes.over].sort().join() === "expert,rank")).toBe(true);
    // Nothing of the size of expert x out is made any more.
    expect(fn.body.flatMap((op) => op.results).some((v) => axesOf(v).includes("position") && axesOf(v).includes("expert") && axesOf(v).includes("out"))).toBe(false);
    expect(new Set(report.map((r) => r.rule))).toEqual(new Set([1, 2, 6]));
    for (const r of report) expect(r.after.flops <= r.before.flops && (r.after.flops < r.before.flops || r.after.bytes < r.before.bytes)).toBe(true);
  });

  it("leaves alone a product with a second user, one that a norm separates from its gate, and a gate over a contracted axis", () => {
    const [T, E, R, O] = [axis("t", 64), axis("e", 4), axis("r", 2), axis("o", 32)];
    const rules = (write: (b: Builder, h: Value, B: Value, g: Value) => readonly Value[]): readonly number[] => {
      const module = moduleOf((m) => m.define("f", (b) => write(b, b.param(tensor("f32", [T, E, R])), b.param(tensor("f32", [E, R, O])), b.param(tensor("f32", [T, E])))));
      return stack(module).report.map((r) => r.rule);
    };
    expect(rules((b, h, B, g) => [b.sum(b.mul(b.dot(h, B, ["r"]), g), ["e"])])).toEqual([1, 2]);
    expect(rules((b, h, B, g) => ((p) => [b.sum(b.mul(p, g), ["e"]), p])(b.dot(h, B, ["r"])))).toEqual([]);
    // DoRA divides by a norm over `o` before the gate.
    expect(rules((b, h, B, g) => ((p) => [b.sum(b.mul(b.div(p, b.sqrt(b.sum(b.square(p), ["o"]))), g), ["e"])])(b.dot(h, B, ["r"])))).toEqual([]);
    expect(rules((b, h, B) => [b.mul(b.dot(h, B, ["r"]), b.table(Array.from({ length: 32 }, (_, k) => k), [O]))])).toEqual([1]);
    expect(rules((b, h, B, g) => [b.sum(b.mul(b.dot(h, B, ["r", "e"]), b.rename(g, ["e"], ["q"])), ["q"])])).toEqual([]);
  });

  it("keeps x and what has the ranks' or the experts' axis, and has the gradients that central differences give", () => {
    const source = mixture();
    const { module, unreached } = gradientsEntry(stack(simplify(source), { sizes: { sample: 8, position: 128 } }).module);
    sound(module);
    expect(unreached).toEqual([]);
    const forward = module.functions.get("layer_forward")!;
    const kept = forward.results.slice(3).map(axesOf);
    expect(kept.filter((k) => k === "sample,position,hidden").length).toBe(1);
    for (const k of kept) expect(k === "sample,position,hidden" || k === "sample,expert" || (/^sample,position,expert/.test(k) && !/out/.test(k))).toBe(true);
    // dx through W, A and R; dB and d(h*g); dA; dR. None for W.
    expect(count(module.functions.get("layer_backward")!, "dot")).toBe(7);
    const entry = module.entries.get("gradients")!;
    expect(entry.results.map((r) => (r.kind === "output" ? r.name : r.kind === "gradient" ? `d ${r.weight}` : ""))).toEqual(["loss", "balance", "usage", "d A", "d B", "d R"]);
    const given = inputs(source, "train");
    const out = interpretEntry(module, "gradients", given);
    const train = source.entries.get("train")!;
    const args = train.params.map((p) => (p.kind === "weight" ? given.weight[p.weight]! : p.kind === "input" ? given.input[p.name]! : 0));
    ["A", "B", "R"].forEach((w, n) => expect(difference(out.gradient[w]!, finiteDifferences(source, train.fn, args, 0, n + 1))).toBeLessThan(1e-8));
  });

  for (const transposeFlags of [false, 0, 1.5] as const)
    it(`all passes, ${transposeFlags === false ? "without transpose flags" : `with transpose flags at ${transposeFlags} passes`}: the same numbers, frozen weights never transposed in a step`, () => {
      const source = mixture();
      const { module, reports } = optimize(source, { transposeFlags, debug: true });
      const reference = gradientsEntry(source).module;
      const given = inputs(source, "train");
      const [x, y] = [interpretEntry(reference, "gradients", given), interpretEntry(module, "gradients", laidOut(module, given))];
      for (const side of ["output", "gradient"] as const) for (const name of Object.keys(x[side])) expect(difference(x[side][name]!, y[side][name]!)).toBeLessThan(1e-12);
      const logits = interpretEntry(module, "logits", laidOut(module, given)).output["logits"]!;
      expect(difference(logits, interpretEntry(source, "logits", given).output["logits"]!)).toBeLessThan(1e-12);
      // One copy of a frozen matrix will do where flags cost nothing.
      const once = transposeFlags === 0;
      expect(reports.hoisted).toEqual(once ? [] : ["W"]);
      for (const fn of module.functions.values()) for (const op of opsOf(fn)) if (op.op === "transpose") expect(fn.params.filter((p) => p.name === "W")).not.toContain(op.operands[0]);
      const layouts = module.weights.filter((w) => w.name.startsWith("W"));
      expect(layouts.map((w) => w.layoutOf)).toEqual(once ? [undefined] : [undefined, "W"]);
      const all = [...module.functions.values()].flatMap((fn) => opsOf(fn));
      // What is trained is small here: its transposes become flags wherever there are any.
      expect(all.some((op) => op.op === "dot" && (op.attributes.transposeA || op.attributes.transposeB))).toBe(transposeFlags !== false);
      // logits needs one order only, and has one param for it.
      expect(module.entries.get("logits")!.params.filter((p) => p.kind === "weight" && p.weight.startsWith("W")).length).toBe(1);
    });

  it("a frozen weight that is only read in one other order stays under its name, in that order", () => {
    const source = mixture();
    const only: Module = { ...source, entries: new Map([["logits", source.entries.get("logits")!]]) };
    const { module, hoisted } = layout(simplify(only), { transposeFlags: false });
    sound(module);
    expect(hoisted).toEqual(["W"]);
    const w = module.weights.find((v) => v.name === "W")!;
    expect([w.layoutOf, w.type.kind === "list" ? w.type.of.axes.map((a) => a.name) : [], w.sources[0]!.order]).toEqual([undefined, ["hidden", "out"], ["out", "hidden"]]);
    const given = inputs(source, "logits");
    expect(difference(interpretEntry(module, "logits", laidOut(module, given)).output["logits"]!, interpretEntry(source, "logits", given).output["logits"]!)).toBeLessThan(1e-12);
  });

  it("releases everything once, and holds less than without releases", () => {
    const { module, report } = release(gradientsEntry(stack(mixture()).module).module, { sample: 8, position: 64 });
    expect(verify(module, { released: true }).map((d) => d.message)).toEqual([]);
    for (const r of report) expect(r.peakBytes).toBeGreaterThan(0);
    const held = report.find((r) => r.fn === "layer_backward")!;
    const made = module.functions.get("layer_backward")!.body.flatMap((op) => op.results);
    const all = made.reduce((n, v) => n + 4 * (v.type.kind === "tensor" ? v.type.axes.reduce((s, a) => s * (typeof a.size === "number" ? a.size : a.size === "sample" ? 8 : 64), 1) : 0), 0);
    expect(held.peakBytes).toBeLessThan(all / 2);
    expect(held.released).toBeGreaterThan(10);
  });
});
