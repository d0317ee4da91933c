import { join } from "node:path";
import { library } from "../../src/cli/library.ts";
import { backendRunner } from "../../src/cli/verify/backend.ts";
import { planCase, readCase, type CaseTensor, type CaseTensors } from "../../src/cli/verify/case.ts";
import { interpreter, runCase, type VerifyReport } from "../../src/cli/verify/run.ts";
import { checkText, loadProgram, type Program } from "../../src/compiler/index.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { type DispatchOptions, dispatch } from "../../src/passes/index.ts";
import { openCheckpoint, type BackendName } from "../../src/runtime/index.ts";
import { shared } from "../support/require.ts";

export type Where = BackendName | "interpreter";

const host = new NodeHost();

/** A spec of this folder, by name. */
export function specOf(name: string): Promise<Program> {
  return loadProgram(host, `test/oracles/${name}.moe`, { library: library() });
}

/** A spec from a text; its base need not be there. */
export function specFrom(text: string): Promise<Program> {
  return checkText(host, "test/oracles/text.moe", text, { library: library() });
}

export function caseOf(name: string, precision: "f32" | "f64"): Promise<CaseTensors> {
  return readCase(host, join(shared, "oracles", `${name}.${precision}.safetensors`));
}

/** What `moec verify` does with a spec and a case, on the sources' own runtime. */
export async function verifyCase(
  program: Program,
  tensors: CaseTensors,
  where: Where,
  tolerance: number,
  { kinds, ...passes }: { readonly kinds?: ReadonlyMap<number, string> } & Pick<DispatchOptions, "dispatch"> = {},
): Promise<VerifyReport> {
  const [[name, declaration]] = [...program.checked.definitions.adapters] as [[string, never]];
  const adapter = program.checked.adapters.find((a) => a.name === name);
  const plan = planCase(program, declaration, adapter, tensors);
  const checkpoint = adapter && plan.shape.kind === "model" ? await openCheckpoint(host, program.basePath(adapter)) : undefined;
  const base = async (tensor: string): Promise<CaseTensor> => ({ dtype: "F32", shape: checkpoint!.shapes.get(tensor)!, data: Float64Array.from(await checkpoint!.read(tensor)) });
  return runCase(program.checked.context, plan, tensors, {
    runner: where === "interpreter" ? { ...interpreter, prepare: passes.dispatch === "always" ? (m) => dispatch(m, passes).module : interpreter.prepare } : await backendRunner(where, passes),
    tolerance,
    ...(kinds ? { kinds } : {}),
    ...(checkpoint ? { base } : {}),
  });
}
