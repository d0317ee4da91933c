import { chooseAdapter, loadProgram, planCosts, type CostPlan, type Program } from "../../compiler/index.ts";
import { DiagnosticError, fail, type Diagnostic } from "../../diagnostics/index.ts";
import type { BackendName } from "../../formats/backends.ts";
import type { FileStat } from "../../formats/host.ts";
import { NodeHost } from "../../runtime/files/index.ts";
import { library } from "../library.ts";
import type { Chosen } from "../load.ts";

/** Values by the name of a `param`, as they stand on the command line. */
export type Axes = ReadonlyMap<string, readonly string[]>;

/** One value for each name. */
export type Settings = ReadonlyMap<string, string>;

/** A point of the sweep: checked and planned, or refused by the checker. */
export type Combination = { readonly set: Settings; readonly chosen: Chosen; readonly costs: CostPlan } | { readonly set: Settings; readonly refused: readonly Diagnostic[] };

/** More combinations than this take `--all`. */
export const mostCombinations = 200;

/** Every choice of one value a name: the last name varies fastest. MOE9006 where there are too many. */
export function crossProduct(over: Axes, all: boolean): Settings[] {
  const count = [...over.values()].reduce((n, values) => n * values.length, 1);
  // Even with --all the list must fit into memory.
  if (count > (all ? 100_000 : mostCombinations)) {
    fail("MOE9006", `${[...over.values()].map((v) => v.length).join(" × ")} values are ${count} combinations`, { help: all ? "vary fewer params at a time" : `--all takes more than ${mostCombinations}` });
  }
  let found: Settings[] = [new Map()];
  for (const [name, values] of over) found = found.flatMap((set) => values.map((value) => new Map([...set, [name, value]])));
  return found;
}

/** "rank=4,experts=6", fit to be a folder's name whatever the values are. */
export function nameOf(set: Settings): string {
  return [...set].map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("*", "%2A")}`).join(",");
}

/** The disk, each file read once: the combinations of a sweep share their checkpoint's headers. */
export class RememberingHost extends NodeHost {
  readonly #known = new Map<string, Promise<unknown>>();

  #once<T>(key: string, read: () => Promise<T>): Promise<T> {
    let answer = this.#known.get(key) as Promise<T> | undefined;
    if (!answer) this.#known.set(key, (answer = read()));
    return answer;
  }
  override readFile(path: string): Promise<Uint8Array> {
    return this.#once(`file ${path}`, () => super.readFile(path));
  }
  override readRange(path: string, begin: number, end: number): Promise<Uint8Array> {
    return this.#once(`range ${begin} ${end} ${path}`, () => super.readRange(path, begin, end));
  }
  override stat(path: string): Promise<FileStat | undefined> {
    return this.#once(`stat ${path}`, () => super.stat(path));
  }
}

/** What a sweep is made of, beside its axes. */
export interface SweepBase {
  readonly file: string;
  readonly adapter?: string;
  readonly base?: string;
  /** Values that are the same for all. */
  readonly set?: Settings;
  readonly batch?: number;
  readonly length?: number;
  /** What trains them; with `auto` that is not known yet. */
  readonly backend?: BackendName | "auto";
}

/**
 * Checks and plans one combination. What the checker finds wrong with it is told in `refused`: a cross product holds
 * points that make no sense (k above the number of experts, say). A name or value that no combination could have is the
 * command's mistake: MOE9002 is thrown.
 */
export async function planCombination(host: NodeHost, sweep: SweepBase, set: Settings): Promise<Combination & { readonly program: Program }> {
  const program = await loadProgram(host, sweep.file, {
    library: library(),
    set: new Map([...(sweep.set ?? []), ...set]),
    ...(sweep.base === undefined ? {} : { base: sweep.base }),
  });
  const errors = program.diagnostics.filter((d) => d.severity === "error");
  const usage = errors.filter((d) => d.code === "MOE9002");
  if (usage.length > 0) throw new DiagnosticError(usage.map((d) => ({ ...d, message: over(d.message, set) })));
  if (errors.length > 0) return { program, set, refused: errors };
  const adapter = chooseAdapter(program, sweep.adapter);
  return { program, set, chosen: { program, adapter, base: program.basePath(adapter) }, costs: planCosts(program, adapter, { ...sweep, for: sweep.backend === "auto" ? undefined : sweep.backend }) };
}

/** The checker speaks of --set, the user wrote --over. */
function over(message: string, set: Settings): string {
  const name = /^--set (\w+)/.exec(message)?.[1];
  return name !== undefined && set.has(name) ? message.replace(/^--set/, "--over") : message;
}

