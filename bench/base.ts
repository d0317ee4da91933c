/**
 * The base alone, as a training step would run it: its forward pass and loss, and the loss's gradient taken back to the
 * input of the first layer. Nothing is trained. It is made from the program of the same spec with every site taken out, by
 * the passes and the printer that make the adapter's own step.
 */
import type { CheckedAdapter, ElaborationContext } from "../src/check/index.ts";
import { exportNames, printOnnx, printTfjs } from "../src/codegen/index.ts";
import { flagCosts, type BackendName } from "../src/formats/backends.ts";
import type { Manifest } from "../src/formats/manifest.ts";
import type { Entry, GraphFunction, Module, Op, OpAttributes, Value, Weight } from "../src/ir/graph.ts";
import { lower } from "../src/lower/index.ts";
import { machines, optimize } from "../src/passes/index.ts";
import type { CompiledProgram } from "../src/runtime/program.ts";
import { runText } from "../src/cli/load.ts";

/** The name under which the first layer's input stands among the weights: it is what the gradient is taken to. */
export const firstInput = "first_input";

/** A step of the base. Its `gradients` wants the first layer's input as a weight, and returns its gradient. */
export interface BaseStep {
  readonly module: Module;
  readonly program: CompiledProgram;
}

export async function compileBase(context: ElaborationContext, adapter: CheckedAdapter, backend: BackendName): Promise<BaseStep> {
  const bare: CheckedAdapter = { ...adapter, plan: { ...adapter.plan, sites: new Map(), unfrozen: new Set(), groups: [] } };
  const { module } = optimize(fromFirstInput(lower(context, bare)), { transposeFlags: flagCosts[backend], machine: machines[backend] });
  const compiled = { module, manifest: { adapter: "Base", spec: { file: "bench.moe", sha256: "" }, moec: "" } as Manifest };
  const text = await printTfjs([compiled], { types: false, format: false, form: "function" });
  const code = runText(text)[exportNames(["Base"])[0]!] as CompiledProgram;
  return { module, program: { ...code, onnx: async (entry) => printOnnx(compiled, entry) } };
}

/** The entry `train` with what its first layers carry as a param of its own, bound to a weight that is trained. */
export function fromFirstInput(module: Module): Module {
  const entry = module.entries.get("train")!;
  const fn = module.functions.get(entry.fn)!;
  const layers = fn.body.findIndex((op) => op.op === "fold" && (op.attributes as OpAttributes["fold"]).carried > 0);
  const given = fn.body[layers]?.operands[0];
  if (given?.type.kind !== "tensor") throw new Error("the base has no layers");
  const param: Value = { type: given.type, name: firstInput };
  const body = fn.body.map((op): Op => ({ ...op, operands: op.operands.map((v) => (v === given ? param : v)) }) as Op);
  const weight: Weight = { name: firstInput, type: given.type, trainable: true, initializer: { kind: "zeros" }, sources: [], decay: false };
  const changed: GraphFunction = { ...fn, params: [...fn.params, param], body };
  const bound: Entry = { ...entry, params: [...entry.params, { kind: "weight", weight: firstInput }] };
  return { ...module, functions: new Map([...module.functions, [fn.name, changed]]), weights: [...module.weights, weight], entries: new Map([...module.entries, ["train", bound]]) };
}
