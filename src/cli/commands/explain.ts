import { catalogue, didYouMean, fail, type Code, type CodeRow } from "../../diagnostics/index.ts";
import { renderPretty } from "../../diagnostics/render/index.ts";
import { checkSpecimen, diagnosticsOf } from "../specimen.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

/** `moec explain CODE`: what it means; where a text can show it, how it looks, and the text repaired. */
export async function explain(terminal: Terminal, code: string | undefined): Promise<number> {
  if (code === undefined) {
    const rows = Object.entries(catalogue);
    if (terminal.json) terminal.printJson(rows.map(([name, row]) => ({ code: name, severity: row.severity, title: row.title })));
    else for (const [name, row] of rows) terminal.print(`${name}  ${row.title}`);
    return exitCodes.fine;
  }
  const name = code.trim().toUpperCase().replace(/^(?=\d)/, "MOE");
  const row: CodeRow | undefined = Object.hasOwn(catalogue, name) ? catalogue[name as Code] : undefined;
  if (!row) return fail("MOE9004", `there is no diagnostic ${JSON.stringify(code.slice(0, 40))}`, { help: didYouMean(name.slice(0, 40), Object.keys(catalogue)) ?? "`moec explain` lists all" });
  if (terminal.json) {
    terminal.printJson({ code: name, ...row });
    return exitCodes.fine;
  }
  const { bold } = terminal.resultColor;
  terminal.print(bold(`${name}: ${row.title}`));
  terminal.print(`\n${wrap(row.explain, 88)}`);
  if (row.bad) {
    terminal.print(`\n${bold(row.asked ? `This is refused by \`moec ${row.asked}\`:` : row.severity === "error" ? "This is refused:" : "This gives a warning:")}\n\n${indent(row.bad)}`);
    // The texts are kept so that they give exactly this code (a test holds them to it); here they do it before the reader's eyes.
    const program = await checkSpecimen(row.bad);
    const shown = diagnosticsOf(program, row.asked).filter((d) => d.code === name);
    if (shown.length) terminal.print(`\n${indent(renderPretty(shown, program.texts, { color: terminal.resultColor.isColorSupported }))}`);
  }
  if (row.good) terminal.print(`\n${bold("This is fine:")}\n\n${indent(row.good)}`);
  return exitCodes.fine;
}

function indent(text: string): string {
  return text.replace(/^\n+|\s+$/g, "").split("\n").map((l) => `    ${l}`.trimEnd()).join("\n");
}

/** Text in lines of at most so many characters, broken at spaces; lines of the text itself stay. */
function wrap(text: string, width: number): string {
  return text
    .split("\n")
    .map((line) => {
      const lines = [""];
      for (const word of line.split(" ")) {
        const last = lines.at(-1)!;
        if (last !== "" && last.length + word.length >= width) lines.push(word);
        else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
      }
      return lines.join("\n");
    })
    .join("\n");
}
