import { catalogue, didYouMean, type Code, type CodeRow } from "../../diagnostics/index.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

/** `moec explain CODE`: what it means, with a failing and a passing text where there are some. */
export async function explain(terminal: Terminal, _texts: Map<string, string>, code: string | undefined): Promise<number> {
  if (code === undefined) {
    if (terminal.json) terminal.printJson(Object.entries(catalogue).map(([name, row]) => ({ code: name, severity: row.severity, title: row.title })));
    else for (const [name, row] of Object.entries(catalogue)) terminal.print(`${name}  ${row.title}`);
    return exitCodes.fine;
  }
  const name = code.toUpperCase().replace(/^(?!MOE)/, "MOE");
  const row: CodeRow | undefined = Object.hasOwn(catalogue, name) ? catalogue[name as Code] : undefined;
  if (!row) {
    process.stderr.write(`moec: there is no diagnostic ${code}; ${didYouMean(name, Object.keys(catalogue)) ?? "`moec explain` lists all"}\n`);
    return exitCodes.errors;
  }
  if (terminal.json) {
    terminal.printJson({ code: name, ...row });
    return exitCodes.fine;
  }
  const { bold } = terminal.color;
  terminal.print(bold(`${name}: ${row.title}`));
  terminal.print(`\n${row.explain}`);
  const indent = (text: string) => text.trim().split("\n").map((l) => `    ${l}`.trimEnd()).join("\n");
  if (row.bad) terminal.print(`\n${bold("This is refused:")}\n\n${indent(row.bad)}`);
  if (row.good) terminal.print(`\n${bold("This is fine:")}\n\n${indent(row.good)}`);
  return exitCodes.fine;
}
