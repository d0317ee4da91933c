import { checkText, loadProgram } from "../../compiler/index.ts";
import { NodeHost } from "../../runtime/files/index.ts";
import { readStdin } from "../input.ts";
import { library } from "../library.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options {
  readonly set?: ReadonlyMap<string, string>;
  readonly base?: string;
  readonly strict?: boolean;
}

/** `moec check FILES…`: every diagnostic of every file; 1 where one is an error. */
export async function check(terminal: Terminal, texts: Map<string, string>, files: readonly string[], options: Options): Promise<number> {
  const host = new NodeHost();
  const shared = { library: library(), ...options };
  let failed = false;
  const results = [];
  for (const file of files) {
    const program = file === "-" ? await checkText(host, "stdin.moe", await readStdin(), shared) : await loadProgram(host, file, shared);
    for (const [path, text] of program.texts) texts.set(path, text);
    const errors = terminal.json ? program.diagnostics.some((d) => d.severity === "error") : terminal.show(program.diagnostics, texts);
    failed ||= errors;
    results.push({ file, ok: !errors, adapters: program.checked.adapters.map((a) => a.name), diagnostics: program.diagnostics });
    if (!errors && !terminal.json) {
      for (const a of program.checked.adapters) {
        const sites = a.plan.sites.size;
        const parts = [`${sites} adapted layer${sites === 1 ? "" : "s"}`];
        if (a.plan.groups.length) parts.push(`groups ${a.plan.groups.map((g) => `${g.name} (${g.experts})`).join(", ")}`);
        if (a.plan.unfrozen.size) parts.push(`${a.plan.unfrozen.size} unfrozen tensors`);
        terminal.say(`${terminal.color.green("ok")} ${file}: ${a.name} on ${a.base.path}: ${parts.join(", ")}`);
      }
      if (program.checked.adapters.length === 0) terminal.say(`${terminal.color.green("ok")} ${file}`);
    }
  }
  if (terminal.json) terminal.printJson(results);
  return failed ? exitCodes.errors : exitCodes.fine;
}
