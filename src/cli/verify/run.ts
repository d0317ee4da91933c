import { type ElaborationContext } from "../../check/index.ts";
import { fail } from "../../diagnostics/index.ts";
import { interpret, type Arg, type Module, type Tensor } from "../../ir/index.ts";
import { lowerCase } from "../../lower/index.ts";
import { differentiate } from "../../passes/index.ts";
import { assemble, slicesOf, takeApart, type FileSlice } from "../../runtime/layout.ts";
import { asManifest, tensorFor } from "../graph-weights.ts";
import type { CasePlan, CaseTensor, CaseTensors } from "./case.ts";

/** One comparison, by the case's name. */
export interface Comparison {
  readonly name: string;
  /** Greatest difference over the greatest expected magnitude (or a floor, for tensors that are zero but for noise). */
  readonly error: number;
  /** Greatest difference. */
  readonly difference: number;
  readonly ok: boolean;
}

export interface VerifyReport {
  readonly comparisons: readonly Comparison[];
  /** Tensors of the case that nothing was compared with or fed. */
  readonly unused: readonly string[];
  readonly tolerance: number;
}

/** Runs functions of a module on float64 arguments: the interpreter, or generated code on a backend. */
export interface Runner {
  /** What is done to the module before it is differentiated. */
  readonly prepare: (module: Module) => Module;
  readonly run: (module: Module, fn: string, args: readonly Arg[]) => Promise<readonly Arg[]>;
}

/** The graph as it was lowered: what the spec means. */
export const interpreter: Runner = { prepare: (module) => module, run: async (module, fn, args) => interpret(module, fn, args) };

/** Compares a spec with a case: outputs, gates, balance, and each gradient, of the whole loss and of the balance alone. */
export async function runCase(
  context: ElaborationContext,
  plan: CasePlan,
  tensors: CaseTensors,
  options: { readonly runner: Runner; readonly tolerance?: number; readonly kinds?: ReadonlyMap<number, string>; readonly base?: (name: string) => Promise<CaseTensor> },
): Promise<VerifyReport> {
  const lowered = lowerCase(context, plan.shape);
  const { outputs } = lowered;
  const module = options.runner.prepare(lowered.module);
  const entry = module.entries.get("case")!;
  const double = [...tensors.values()].some((t) => t.dtype === "F64");
  const tolerance = options.tolerance ?? (double ? 1e-9 : 1e-4);
  const floor = double ? 1e-6 : 1e-4;
  const used = new Set<string>(["mask"]);
  const take = (name: string): CaseTensor | undefined => {
    const found = tensors.get(name);
    if (found) used.add(name);
    return found;
  };

  const weights = new Map(module.weights.map((w) => [w.name, asManifest(w)]));
  const caseName = new Map<FileSlice, string>();
  const readSlice = async (slice: FileSlice): Promise<Float64Array> => {
    const candidates = plan.caseNames(slice.name);
    const name = candidates.find((n) => tensors.has(n));
    const found = name !== undefined ? take(name) : slice.weight.sources.some((s) => s.tensor !== undefined) ? await options.base?.(slice.name) : undefined;
    if (!found) return fail("MOE5340", `the case has no tensor "${candidates[0]}", which is the spec's ${slice.name}`, { help: `it has: ${[...tensors.keys()].filter((n) => !n.startsWith("grad")).slice(0, 20).join(", ")}` });
    caseName.set(slice, name ?? slice.name);
    // Axes of size 1 are a matter of style: a bias may be [1], a scale [out, 1].
    const sizes = (shape: readonly number[]): string => shape.filter((n) => n !== 1).join();
    if (sizes(found.shape) !== sizes(slice.shape)) {
      fail("MOE5340", `"${name ?? slice.name}" is [${found.shape.join(", ")}], the spec makes it [${slice.shape.join(", ")}]`);
    }
    return found.data;
  };
  const slices = new Map<string, FileSlice[]>();
  const args: Arg[] = [];
  const rows = (tensors.get("x") ?? tensors.get("input_ids"))!.shape;
  for (const [i, binding] of entry.params.entries()) {
    const type = module.functions.get("case")!.params[i]!.type;
    if (binding.kind === "weight") {
      const weight = weights.get(binding.weight)!;
      const own = slicesOf(weight);
      slices.set(binding.weight, own);
      const parts: Float64Array[] = [];
      for (const s of own) parts.push(await readSlice(s));
      const each = Array.from({ length: weight.count ?? 1 }, (_, n) => {
        const here = own.map((s, k) => ({ s, part: parts[k]! })).filter(({ s }) => s.index === n);
        return tensorFor(weight, assemble(here.map((h) => h.s), here.map((h) => h.part)));
      });
      args.push(weight.count === undefined ? each[0]! : each);
    } else if (binding.kind === "input" && type.kind === "tensor") {
      const sizes = type.axes.map((a) => (a.name === "sample" ? rows[0]! : a.name === "position" ? rows[1]! : (a.size as number)));
      const data = caseInput(binding.name, sizes, tensors, take, plan.kinds, options.kinds);
      args.push({ dtype: type.dtype, axes: type.axes.map((a, k) => ({ name: a.name, size: sizes[k]! })), data: type.dtype === "i32" ? Int32Array.from(data) : data });
    } else if (type.kind === "number") args.push(1); // published cases know no steps: training is at its end
  }

  const wrt = entry.params.flatMap((b, i) => (b.kind === "weight" || (b.kind === "input" && b.name === "x") ? [i] : []));
  const at = (name: string): number => outputs.indexOf(name);
  const whole = differentiate(module, { fn: "case", of: at("total"), wrt, name: "case_total" }).module;
  const both = differentiate(whole, { fn: "case", of: at("balance"), wrt, name: "case_balance" }).module;
  const total = await options.runner.run(both, "case_total", args);
  const comparisons: Comparison[] = [];
  const compare = (name: string, actual: ArrayLike<number>): void => {
    const expected = take(name);
    if (!expected) return;
    let difference = 0;
    let magnitude = floor;
    if (actual.length !== expected.data.length) difference = Infinity;
    else {
      for (let i = 0; i < actual.length; i++) {
        const d = Math.abs(actual[i]! - expected.data[i]!);
        difference = Number.isNaN(d) ? Infinity : Math.max(difference, d);
        magnitude = Math.max(magnitude, Math.abs(expected.data[i]!));
      }
    }
    const error = difference / magnitude;
    comparisons.push({ name, error, difference, ok: error <= tolerance });
  };
  for (const [i, name] of outputs.entries()) {
    const value = asInCase(total[i] as Tensor, tensors.get(name));
    const names = { output: ["output"], logits: ["logits"], gates: ["gates"], balance: ["loss_balance"], loss: ["loss_ce", "loss"], total: ["loss_total"] }[name] ?? [];
    for (const n of names) compare(n, value);
  }
  const gradients = (results: readonly Arg[], prefix: string): void => {
    for (const [k, param] of wrt.entries()) {
      const gradient = results[outputs.length + k]!;
      const binding = entry.params[param]!;
      if (binding.kind === "input") compare(`${prefix}.x`, (gradient as Tensor).data);
      else if (binding.kind === "weight") {
        const own = slices.get(binding.weight)!;
        for (const [n, g] of (Array.isArray(gradient) ? (gradient as readonly Tensor[]) : [gradient as Tensor]).entries()) {
          const here = own.filter((s) => s.index === n);
          takeApart(here, Float64Array.from(g.data)).forEach((part, j) => compare(`${prefix}.${caseName.get(here[j]!)!.replace(/^weight\./, "")}`, part));
        }
      }
    }
  };
  gradients(total, "grad");
  if ([...tensors.keys()].some((n) => n.startsWith("grad_balance."))) gradients(await options.runner.run(both, "case_balance", args), "grad_balance");
  return { comparisons, unused: [...tensors.keys()].filter((n) => !used.has(n)), tolerance };
}

/** Our gates are every token's; a router that decides for a whole sample has them [sample, expert] in its case. */
function asInCase(ours: Tensor, theirs: CaseTensor | undefined): ArrayLike<number> {
  const sizes = ours.axes.map((a) => a.size);
  if (theirs?.shape.length !== 2 || sizes.length !== 3) return ours.data;
  const [, positions, experts] = sizes as [number, number, number];
  return ours.data.filter((_, i) => Math.floor(i / experts) % positions === 0);
}

/** What a batch brings, from the names that published cases use. */
function caseInput(
  name: string,
  sizes: readonly number[],
  tensors: CaseTensors,
  take: (name: string) => CaseTensor | undefined,
  kinds: readonly string[],
  map: ReadonlyMap<number, string> | undefined,
): Float64Array {
  const length = sizes.reduce((a, b) => a * b, 1);
  const exact = (t: CaseTensor | undefined, what: string): Float64Array => {
    if (!t) return fail("MOE5340", `the case has no tensor "${what}"`);
    if (t.data.length !== length) fail("MOE5340", `"${what}" is [${t.shape.join(", ")}], expected [${sizes.join(", ")}]`);
    return t.data;
  };
  switch (name) {
    case "mask":
      return tensors.has("mask") ? exact(tensors.get("mask"), "mask") : new Float64Array(length).fill(1);
    case "kind": {
      const direct = take("kind") ?? take("task_id");
      if (direct) return exact(direct, "kind");
      const types = take("task_types");
      if (!types) return new Float64Array(length).fill(-1);
      // LoRAMoE's code: type 1 belongs to the first half of the experts, type 0 to the second.
      const named = map ?? new Map(kinds.slice(0, 2).map((k, i) => [1 - i, k]));
      return exact(types, "task_types").map((t) => kinds.indexOf(named.get(t) ?? ""));
    }
    case "prompt":
      // Cases without a prompt are one: everything is there beforehand.
      return tensors.has("prompt") ? exact(take("prompt"), "prompt") : new Float64Array(length).fill(1);
    case "tokens":
      return exact(take("input_ids"), "input_ids");
    case "targets":
    case "lossMask": {
      const labels = exact(take("labels"), "labels");
      const [samples, positions] = sizes as readonly [number, number];
      // The label at a position is what the position before predicts; -100 does not count.
      return new Float64Array(length).map((_, i) => {
        const p = i % positions;
        const next = p + 1 < positions ? labels[i + 1]! : -100;
        void samples;
        return name === "lossMask" ? Number(next !== -100) : Math.max(0, next);
      });
    }
    default:
      return exact(take(name.replace(/^fields\./, "")), name.replace(/^fields\./, ""));
  }
}
