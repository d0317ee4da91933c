import { basename, join } from "node:path";
import { compileAdapter, type Explanation, onnxEntriesIn, printGraph, printOnnxEntry, printProgram, printTypes } from "../../compiler/index.ts";
import { fail } from "../../diagnostics/index.ts";
import type { BackendName } from "../../formats/backends.ts";
import { onnxFileName } from "../../formats/onnx.ts";
import { explanationText } from "../explanation.ts";
import { atomicWrite } from "../../runtime/files/index.ts";
import { stdinName } from "../input.ts";
import { chooseFrom, requireFolder, type RunOptions } from "../load.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options extends RunOptions {
  readonly out: string;
  readonly explain?: boolean;
  readonly graph?: boolean;
  readonly onnx?: boolean;
  readonly for?: BackendName;
}

/** What one spec became. */
interface Built {
  readonly adapter: string;
  readonly files: readonly string[];
  /** Where it was asked for. */
  readonly explanation?: Explanation;
}

/** `moec build FILES -o DIR`: all texts are made before the first file is written, and each file appears whole. */
export async function build(terminal: Terminal, files: readonly string[], options: Options): Promise<number> {
  await requireFolder(options.out);
  const texts = new Map<string, string | Uint8Array>();
  const built: Built[] = [];
  for (const file of files) built.push(await buildOne(terminal, file, options, texts));
  for (const [path, text] of texts) await atomicWrite(path, text);
  if (terminal.json) terminal.printJson(built.length === 1 ? built[0] : built);
  else for (const one of built) for (const line of [...one.files, ...(one.explanation ? explanationText(one.explanation) : [])]) terminal.print(line);
  return exitCodes.fine;
}

/** Makes the texts of one spec. MOE5108 where another spec of the same command makes the same file. */
async function buildOne(terminal: Terminal, file: string, options: Options, texts: Map<string, string | Uint8Array>): Promise<Built> {
  const chosen = await chooseFrom(terminal, file, options);
  const compiled = await compileAdapter(chosen.program, chosen.adapter, options.for);
  const stem = basename(file === "-" ? stdinName : file).replace(/\.moe$/, "");
  const made = new Map<string, string | Uint8Array>([
    [`${stem}.moe.ts`, await printProgram(compiled, { types: true, format: true, runtimeImport: "moec/runtime" })],
    [`${stem}.d.moe.ts`, printTypes(compiled)],
    [`${stem}.moe.json`, `${JSON.stringify(compiled.manifest, null, 2)}\n`],
    ...(options.graph ? ([[`${stem}.graph.txt`, printGraph(compiled)]] as const) : []),
    ...(options.onnx ? onnxEntriesIn(compiled).map((entry) => [onnxFileName(stem, entry), printOnnxEntry(compiled, entry)] as const) : []),
  ]);
  for (const [name, text] of made) {
    const path = join(options.out, name);
    if (texts.has(path)) fail("MOE5108", `two specs would both be written to ${path}`, { help: "build them into folders of their own, or give one another name" });
    texts.set(path, text);
  }
  return { adapter: compiled.manifest.adapter, files: [...made.keys()].map((name) => join(options.out, name)), ...(options.explain ? { explanation: compiled.explanation } : {}) };
}
