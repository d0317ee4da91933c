import { normalize } from "node:path";
import type { CheckedAdapter } from "../../check/index.ts";
import type { Program } from "../../compiler/program.ts";
import { DiagnosticError, type Diagnostic } from "../../diagnostics/index.ts";
import { jsonReport } from "../../diagnostics/render/index.ts";
import { NodeHost } from "../../runtime/files/index.ts";
import { readProgram } from "../input.ts";
import { library } from "../library.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options {
  readonly set?: ReadonlyMap<string, string>;
  readonly base?: string;
  readonly strict?: boolean;
}

/** `moec check FILES…`: every diagnostic of every file, each file once; 1 where one is an error. */
export async function check(terminal: Terminal, files: readonly string[], options: Options): Promise<number> {
  const host = new NodeHost();
  const shared = {
    library: library(),
    ...(options.set ? { set: options.set } : {}),
    ...(options.base === undefined ? {} : { base: options.base }),
    ...(options.strict ? { strict: true } : {}),
  };
  let failed = false;
  const results = [];
  for (const file of files.filter((f, i) => files.findIndex((g) => normalize(g) === normalize(f)) === i)) {
    let program: Program | undefined;
    let diagnostics: readonly Diagnostic[];
    try {
      program = await readProgram(host, file, shared);
      diagnostics = program.diagnostics;
    } catch (error) {
      // One file that cannot be read does not keep the others from being checked.
      if (!(error instanceof DiagnosticError)) throw error;
      diagnostics = error.diagnostics;
    }
    const texts = new Map(program?.texts);
    for (const [path, text] of texts) terminal.texts.set(path, text);
    const errors = diagnostics.some((d) => d.severity === "error");
    failed ||= errors;
    if (terminal.json) results.push({ file, ok: !errors, adapters: program?.checked.adapters.map((a) => a.name) ?? [], ...jsonReport(diagnostics, texts) });
    else {
      terminal.show(diagnostics);
      if (program && !errors) for (const line of summary(file, program)) terminal.say(`${terminal.color.green("ok")} ${line}`);
    }
  }
  if (terminal.json) terminal.printJson(results);
  return failed ? exitCodes.errors : exitCodes.fine;
}

/** What was understood, a line an adapter. */
function summary(file: string, program: Program): string[] {
  const { adapters } = program.checked;
  if (adapters.length === 0) return [`${file}: no adapter`];
  return adapters.map((a) => {
    const parts: string[] = [];
    if (a.plan.sites.size > 0) parts.push(count(a.plan.sites.size, "adapted layer"));
    if (a.plan.groups.length > 0) parts.push(`groups ${a.plan.groups.map((g) => `${g.name} (${sizes(a, g.name)})`).join(", ")}`);
    if (a.plan.unfrozen.size > 0) parts.push(`${count(a.plan.unfrozen.size, "part")} of the base unfrozen`);
    return `${file}: ${a.name} on ${a.base.path}: ${parts.join(", ") || "nothing to train"}`;
  });
}

/** How many experts a group has: "6", or "2 to 8" where that depends on the layer. */
function sizes(adapter: CheckedAdapter, group: string): string {
  const all = [...adapter.plan.sites.values()].flatMap((site) => site.groups.filter((g) => g.name === group).map((g) => g.count));
  const [least, most] = [Math.min(...all), Math.max(...all)];
  return least === most ? `${least}` : `${least} to ${most}`;
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
