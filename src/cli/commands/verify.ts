import { chooseAdapter } from "../../compiler/index.ts";
import { didYouMean, fail } from "../../diagnostics/index.ts";
import { NodeHost } from "../../runtime/files/index.ts";
import { openCheckpoint } from "../../runtime/index.ts";
import type { BackendName } from "../../runtime/backends/types.ts";
import { readProgram } from "../input.ts";
import { library } from "../library.ts";
import { exitCodes, table, type Terminal } from "../terminal.ts";
import { backendRunner } from "../verify/backend.ts";
import { planCase, readCase } from "../verify/case.ts";
import { interpreter, runCase } from "../verify/run.ts";

interface Options {
  readonly tensors: string;
  readonly backend: BackendName | "auto" | "interpreter";
  readonly tolerance?: number;
  readonly kinds?: string;
  readonly adapter?: string;
  readonly base?: string;
  readonly set?: ReadonlyMap<string, string>;
}

/** `moec verify FILE --tensors CASE`: 0 where everything that the case holds agrees. */
export async function verify(terminal: Terminal, file: string, options: Options): Promise<number> {
  const host = new NodeHost();
  const program = await readProgram(host, file, {
    library: library(),
    ...(options.set ? { set: options.set } : {}),
    ...(options.base === undefined ? {} : { base: options.base }),
  });
  for (const [path, text] of program.texts) terminal.texts.set(path, text);
  const tensors = await readCase(host, options.tensors);
  // A case of one layer brings its own weights: the spec's checkpoint need not be there, so its adapter may be unchecked.
  const { adapters, definitions } = program.checked;
  const names = [...definitions.adapters.keys()];
  const name = options.adapter ?? (names.length === 1 ? names[0] : undefined);
  if (name === undefined) chooseAdapter(program, undefined);
  const declaration = definitions.adapters.get(name!);
  if (!declaration) return fail("MOE9003", `${file} has no adapter "${name}"`, { help: didYouMean(name!, names) ?? `it has: ${names.join(", ")}` });
  const adapter = adapters.find((a) => a.name === name);
  const plan = planCase(program, declaration, adapter, tensors);
  const checkpoint = adapter && plan.shape.kind === "model" ? await openCheckpoint(host, program.basePath(adapter), { allowNan: true }) : undefined;
  const runner = options.backend === "interpreter" ? interpreter : await backendRunner(options.backend);
  const kinds = kindMap(options.kinds);
  const report = await runCase(program.checked.context, plan, tensors, {
    runner,
    // Single precision is what a backend has, whatever the case's dtype.
    ...(options.tolerance !== undefined ? { tolerance: options.tolerance } : options.backend === "interpreter" ? {} : { tolerance: 1e-4 }),
    ...(kinds ? { kinds } : {}),
    ...(checkpoint
      ? {
          base: async (tensor: string) => {
            const data = await checkpoint.read(tensor);
            return { dtype: "F32" as const, shape: checkpoint.shapes.get(tensor)!, data: Float64Array.from(data) };
          },
        }
      : {}),
  });
  const wrong = report.comparisons.filter((c) => !c.ok);
  const ok = wrong.length === 0 && report.comparisons.length > 0 && report.unused.length === 0;
  if (terminal.json) terminal.printJson({ ok, ...report });
  else {
    terminal.print(table([["tensor", "relative error", ""], ...report.comparisons.map((c) => [c.name, c.error.toExponential(2), c.ok ? "" : "DIFFERS"])]));
    if (report.unused.length) terminal.say(`\n${terminal.color.red("not compared")}: the spec has nothing that corresponds to ${report.unused.join(", ")}`);
    const worst = report.comparisons.reduce((a, b) => Math.max(a, b.error), 0);
    terminal.say(
      ok
        ? `\n${terminal.color.green("agrees")}: ${report.comparisons.length} tensors, greatest relative error ${worst.toExponential(2)} (at most ${report.tolerance} allowed), on ${options.backend}`
        : `\n${terminal.color.red("differs")}: ${wrong.length} of ${report.comparisons.length} tensors are beyond a relative error of ${report.tolerance}`,
    );
  }
  return ok ? exitCodes.fine : exitCodes.errors;
}

/** "1=world_knowledge,0=downstream" */
function kindMap(text: string | undefined): ReadonlyMap<number, string> | undefined {
  if (text === undefined) return undefined;
  return new Map(
    text.split(",").map((part) => {
      const [type, kind] = part.split("=").map((s) => s.trim());
      const n = Number(type);
      if (!kind || !Number.isInteger(n)) fail("MOE9001", `--kinds ${text}: it is TYPE=KIND, for example 1=world_knowledge,0=downstream`);
      return [n, kind!] as const;
    }),
  );
}
