import { basename, join } from "node:path";
import { compileAdapter, printGraph, printProgram, printTypes } from "../../compiler/index.ts";
import { atomicWrite } from "../../runtime/files/index.ts";
import { stdinName } from "../input.ts";
import { chooseFrom, requireFolder, type RunOptions } from "../load.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options extends RunOptions {
  readonly out: string;
  readonly explain?: boolean;
  readonly graph?: boolean;
}

/** `moec build FILE -o DIR`: all texts are made before the first file is written, and each file appears whole. */
export async function build(terminal: Terminal, file: string, options: Options): Promise<number> {
  await requireFolder(options.out);
  const chosen = await chooseFrom(terminal, file, options);
  const compiled = await compileAdapter(chosen.program, chosen.adapter);
  const stem = basename(file === "-" ? stdinName : file).replace(/\.moe$/, "");
  const files = new Map([
    [`${stem}.moe.ts`, await printProgram(compiled, { types: true, format: true, runtimeImport: "moec/runtime" })],
    [`${stem}.d.moe.ts`, printTypes(compiled)],
    [`${stem}.moe.json`, `${JSON.stringify(compiled.manifest, null, 2)}\n`],
    ...(options.graph ? ([[`${stem}.graph.txt`, printGraph(compiled)]] as const) : []),
  ]);
  const paths = [...files.keys()].map((name) => join(options.out, name));
  for (const [name, text] of files) await atomicWrite(join(options.out, name), text);
  if (terminal.json) terminal.printJson({ adapter: compiled.manifest.adapter, files: paths, rewrites: compiled.rewrites });
  else for (const line of [...paths, ...(options.explain ? compiled.rewrites : [])]) terminal.print(line);
  return exitCodes.fine;
}
