import { relative, resolve } from "node:path";
import { compileFunction } from "node:vm";
import type { CheckedAdapter } from "../check/index.ts";
import { chooseAdapter, compileAdapter, printOnnxEntry, printProgram, type Compiled, type Program } from "../compiler/index.ts";
import { DiagnosticError, fail } from "../diagnostics/index.ts";
import { plain } from "../formats/json.ts";
import { decodeText, parseJsonFile } from "../formats/text.ts";
import { atomicWrite, NodeHost } from "../runtime/files/index.ts";
import { Adapter } from "../runtime/adapter.ts";
import * as runtime from "../runtime/generated.ts";
import { startBackend, type BackendName } from "../runtime/backends/index.ts";
import type { CompiledProgram } from "../runtime/program.ts";
import { readProgram } from "./input.ts";
import { library } from "./library.ts";
import type { Terminal } from "./terminal.ts";

/** What every command that runs a spec takes. */
export interface RunOptions {
  /** A saved adapter's folder, in moec's layout or PEFT's, for a spec. */
  readonly weights?: string;
  readonly adapter?: string;
  readonly base?: string;
  readonly set?: ReadonlyMap<string, string>;
  readonly backend?: BackendName | "auto";
  readonly seed?: number;
  readonly allowNan?: boolean;
}

/** A spec with one adapter chosen, checked and without errors. */
export interface Chosen {
  readonly program: Program;
  readonly adapter: CheckedAdapter;
  /** The base checkpoint's folder. */
  readonly base: string;
}

/** Reads and checks a spec; throws its diagnostics where one is an error, shows its warnings. */
export async function chooseFrom(terminal: Terminal, file: string, options: RunOptions): Promise<Chosen> {
  const program = await readProgram(new NodeHost(), file, {
    library: library(),
    ...(options.set ? { set: options.set } : {}),
    ...(options.base === undefined ? {} : { base: options.base }),
  });
  for (const [path, text] of program.texts) terminal.texts.set(path, text);
  if (program.diagnostics.some((d) => d.severity === "error")) throw new DiagnosticError(program.diagnostics);
  terminal.show(program.diagnostics);
  const adapter = chooseAdapter(program, options.adapter);
  return { program, adapter, base: program.basePath(adapter) };
}

/** Refuses a place for results that is a file, before any work is done. MOE5108 */
export async function requireFolder(path: string): Promise<void> {
  const found = await new NodeHost().stat(path);
  if (found?.kind === "file") fail("MOE5108", `${path} is a file, expected a folder for the results`, { help: "name another with --out" });
}

/** Refuses data that are not there before a backend starts. MOE5101 */
export async function requireData(path: string, help: string): Promise<void> {
  if (!(await new NodeHost().stat(path))) fail("MOE5101", `${path} does not exist`, { help });
}

/** Compiles an adapter for a backend and loads the code that was made: what `moec build --for` writes, without types. */
export async function executable(chosen: Chosen, backend: BackendName): Promise<{ readonly compiled: Compiled; readonly code: CompiledProgram }> {
  const compiled = await compileAdapter(chosen.program, chosen.adapter, backend);
  const text = await printProgram(compiled, { types: false, format: false, form: "function" });
  const code = runText(text)[compiled.exportName] as CompiledProgram | undefined;
  if (!code) throw new Error(`the generated module exports no ${compiled.exportName}`);
  return { compiled, code: { ...code, onnx: async (entry) => printOnnxEntry(compiled, entry) } };
}

/** Runs what was printed as a function, with this process's own runtime: one runtime and one TensorFlow.js in a process. */
export function runText(text: string): Record<string, unknown> {
  return (compileFunction(text, ["runtime"], { filename: "program.js" }) as (helpers: typeof runtime) => Record<string, unknown>)(runtime);
}

/** `run.json` beside a trained adapter: with the copies of the spec it lets `eval` and `generate` build the same again. */
interface RunFile {
  readonly format: "moec-spec/1";
  /** Path of the spec below `spec/`. */
  readonly spec: string;
  readonly adapter: string;
  /** The base's folder, seen from the run's. */
  readonly base: string;
  readonly set: Readonly<Record<string, string>>;
}

/** Copies the spec and what it imports into the run's folder. */
export async function saveSpec(folder: string, chosen: Chosen, options: RunOptions): Promise<void> {
  const { program } = chosen;
  const root = resolve(program.file, "..");
  for (const [path, text] of program.texts) {
    if (!path.endsWith(".moe") || path.startsWith("std/")) continue;
    await atomicWrite(resolve(folder, "spec", relative(root, resolve(path))), text);
  }
  const run: RunFile = {
    format: "moec-spec/1",
    spec: relative(root, resolve(program.file)),
    adapter: chosen.adapter.name,
    base: relative(resolve(folder), resolve(chosen.base)) || ".",
    set: Object.fromEntries(options.set ?? []),
  };
  await atomicWrite(resolve(folder, "run.json"), `${JSON.stringify(run, null, 2)}\n`);
}

/** A trained adapter's folder, or a spec: its checked program, and the folder of the saved adapter where there is one. */
export async function chooseTarget(terminal: Terminal, target: string, options: RunOptions): Promise<{ readonly chosen: Chosen; readonly saved: string | undefined }> {
  const host = new NodeHost();
  const found = await host.stat(target);
  if (!found) fail("MOE5101", `${target} does not exist`, { help: "name a trained adapter's folder, or a .moe file" });
  if (found.kind !== "directory") return { chosen: await chooseFrom(terminal, target, options), saved: options.weights };
  const run = await readRun(host, target);
  const chosen = await chooseFrom(terminal, `${target}/spec/${run.spec}`, {
    ...options,
    adapter: options.adapter ?? run.adapter,
    base: options.base ?? relative(".", resolve(target, run.base)),
    set: options.set ?? new Map(Object.entries(run.set)),
  });
  return { chosen, saved: target };
}

/** A target's adapter on a backend; that of a spec without weights starts afresh. */
export async function openTarget(terminal: Terminal, target: string, options: RunOptions): Promise<{ readonly chosen: Chosen; readonly adapter: Adapter; readonly compiled: Compiled }> {
  const { chosen, saved } = await chooseTarget(terminal, target, options);
  return { chosen, ...(await load(terminal, chosen, options, saved)) };
}

async function readRun(host: NodeHost, folder: string): Promise<RunFile> {
  const path = `${folder}/run.json`;
  if (!(await host.stat(path))) fail("MOE5316", `${folder} holds no trained adapter: there is no run.json`, { help: "`moec train` makes such a folder" });
  const run = plain(parseJsonFile(decodeText(await host.readFile(path), path), path)) as Partial<RunFile> | null;
  const safe = (p: unknown): p is string => typeof p === "string" && !p.startsWith("/") && !p.split(/[\\/]/).includes("..");
  if (run?.format !== "moec-spec/1" || !safe(run.spec) || typeof run.base !== "string" || typeof run.adapter !== "string") {
    fail("MOE5317", `${path} is not what \`moec train\` writes`, { help: "train again, or restore the file" });
  }
  return { ...(run as RunFile), set: typeof run.set === "object" && run.set ? run.set : {} };
}

/** Starts the backend, compiles the adapter for it, and places base and adapter on it. */
export async function load(terminal: Terminal, chosen: Chosen, options: RunOptions, saved?: string): Promise<{ readonly adapter: Adapter; readonly compiled: Compiled }> {
  const backend = await startBackend(options.backend ?? "auto", {
    models: true,
    onSkip: (report) => terminal.say(terminal.color.dim(`${report.name} is passed over: ${report.reason ?? "it computes in software"}`)),
  });
  terminal.say(terminal.color.dim(`backend ${backend.name}: ${backend.device}`));
  const { compiled, code } = await executable(chosen, backend.name);
  const adapter = await Adapter.load(code, {
    base: chosen.base,
    backend,
    ...(saved === undefined ? {} : { adapter: saved }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options.allowNan ? { allowNan: true } : {}),
  });
  return { adapter, compiled };
}
