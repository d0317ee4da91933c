import { normalize } from "node:path";
import { diagnostic, DiagnosticError, type Diagnostic } from "../../diagnostics/index.ts";
import { jsonReport } from "../../diagnostics/render/index.ts";
import { format, type FormatOptions } from "../../format/index.ts";
import { decodeText } from "../../formats/text.ts";
import { atomicWrite, NodeHost } from "../../runtime/files/index.ts";
import { readStdin, stdinName } from "../input.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options {
  readonly check?: boolean;
}

/**
 * `moec fmt FILES…`: lays files out anew, in place; `-` from standard input to standard output. With `--check` writes
 * nothing and fails where a file would change. A file with syntax errors is left as it is, and they are told.
 */
export async function fmt(terminal: Terminal, files: readonly string[], options: Options): Promise<number> {
  const host = new NodeHost();
  const results = [];
  let failed = false;
  for (const file of files.filter((f, i) => files.findIndex((g) => normalize(g) === normalize(f)) === i)) {
    const path = file === "-" ? stdinName : file;
    let diagnostics: readonly Diagnostic[];
    let text = "";
    let formatted: string | undefined;
    try {
      text = file === "-" ? await readStdin() : withMark(await host.readFile(file), file);
      ({ text: formatted, diagnostics } = format(text, path, await layoutOf(path)));
    } catch (error) {
      // One file that cannot be read does not keep the others from being formatted.
      if (!(error instanceof DiagnosticError)) throw error;
      diagnostics = error.diagnostics;
    }
    const changed = formatted !== undefined && formatted !== text;
    terminal.texts.set(path, text);
    if (!terminal.json) terminal.show(diagnostics);
    if (formatted === undefined || (options.check && changed)) failed = true;
    if (changed && options.check) terminal.say(`${file} is not formatted`);
    else if (changed && file !== "-") {
      await atomicWrite(file, formatted!);
      terminal.say(`${terminal.color.green("formatted")} ${file}`);
    }
    if (terminal.json) {
      const shown = file === "-" && !options.check && formatted !== undefined ? { text: formatted } : {};
      results.push({ file, ok: formatted !== undefined && !(options.check && changed), changed, ...shown, ...jsonReport(diagnostics, new Map([[path, text]])) });
    } else if (file === "-" && !options.check && formatted !== undefined) process.stdout.write(formatted);
  }
  if (terminal.json) terminal.printJson(results);
  return failed ? exitCodes.errors : exitCodes.fine;
}

/** The text with its byte order mark, which decoding takes away and formatting keeps. */
function withMark(bytes: Uint8Array, file: string): string {
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return `${marked ? "\uFEFF" : ""}${decodeText(bytes, file)}`;
}

/** What Prettier's configuration and `.editorconfig` say of a file, so that both ways of formatting give the same. */
async function layoutOf(path: string): Promise<FormatOptions> {
  const { resolveConfig } = await import("prettier");
  let found;
  try {
    found = await resolveConfig(path, { editorconfig: true });
  } catch (error) {
    throw new DiagnosticError(diagnostic("MOE9030", `the Prettier configuration for ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`));
  }
  const { printWidth, tabWidth, useTabs, endOfLine } = found ?? {};
  return {
    ...(printWidth === undefined ? {} : { printWidth }),
    ...(tabWidth === undefined ? {} : { tabWidth }),
    ...(useTabs === undefined ? {} : { useTabs }),
    ...(endOfLine === undefined ? {} : { endOfLine }),
  };
}
