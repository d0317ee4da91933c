import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import type { Command } from "commander";
import { diagnostic, DiagnosticError } from "../diagnostics/index.ts";
import { plain } from "../formats/json.ts";
import { whyOutside } from "../formats/safetensors-index.ts";
import { validateJson, type JsonSchema } from "../formats/schema.ts";
import { decodeText, parseJsonFile } from "../formats/text.ts";
import { NodeHost } from "../runtime/files/index.ts";
import { packageFolder } from "./library.ts";
import type { Terminal } from "./terminal.ts";

/** The project's file. */
export const configName = "moec.config.json";

/** `moec.config.json`, as `grammar/config.schema.json` has it; its paths seen from the working directory. */
export interface Config {
  /** The folder it lies in. */
  readonly folder: string;
  readonly specs: readonly string[];
  readonly out?: string;
  readonly base?: string;
  readonly backend?: string;
}

/** The schema as it was shipped, or as it lies in the repository. */
function schema(): JsonSchema {
  const places = ["grammar", "dist/schemas"].map((folder) => join(packageFolder, folder, "config.schema.json"));
  return JSON.parse(readFileSync(places.find((p) => existsSync(p))!, "utf8")) as JsonSchema;
}

/**
 * The configuration of the working directory or of the nearest folder above it; undefined where there is none.
 * DiagnosticErrors point into its text: MOE5105 to MOE5107, and MOE5103 for a spec outside its folder.
 */
export async function findConfig(terminal: Terminal): Promise<Config | undefined> {
  const host = new NodeHost();
  for (let folder = resolve("."); ; folder = dirname(folder)) {
    const path = join(folder, configName);
    if ((await host.stat(path))?.kind === "file") return readConfig(terminal, host, folder);
    if (dirname(folder) === folder) return undefined;
  }
}

async function readConfig(terminal: Terminal, host: NodeHost, folder: string): Promise<Config> {
  const here = (path: string): string => (relative(".", resolve(folder, path)) || ".").split(sep).join("/");
  const file = here(configName);
  const text = decodeText(await host.readFile(join(folder, configName)), file);
  terminal.texts.set(file, text);
  const value = plain(parseJsonFile(text, file));
  const faults = await validateJson(schema(), value, text, file);
  if (faults.length > 0) throw new DiagnosticError(faults);
  const { specs = [], out, base, backend } = value as { specs?: string[]; out?: string; base?: string; backend?: string };
  const outside = specs.flatMap((spec) => {
    const reason = whyOutside(spec.replace(/^\.\//, ""));
    const start = text.indexOf(JSON.stringify(spec));
    return reason === undefined ? [] : [diagnostic("MOE5103", `${file} names the spec ${JSON.stringify(spec)}, which is not inside its folder: ${reason}`, start < 0 ? {} : { at: { file, start, end: start + JSON.stringify(spec).length } })];
  });
  if (outside.length > 0) throw new DiagnosticError(outside);
  return {
    folder,
    specs: specs.map(here),
    ...(out === undefined ? {} : { out: here(out) }),
    ...(base === undefined ? {} : { base: base.startsWith("/") ? base : here(base) }),
    ...(backend === undefined ? {} : { backend }),
  };
}

/**
 * Fills in what a command line leaves out: the specs of `check` and `build`, the folder of `build`, and for specs of the
 * project the base and the backend. Returns what is still missing, in Commander's words.
 */
export async function fillIn(terminal: Terminal, command: Command, args: unknown[]): Promise<string | undefined> {
  const names = new Set(command.options.map((o) => o.attributeName()));
  const wantsFiles = command.registeredArguments[0]?.name() === "files";
  const files = wantsFiles ? (args[0] as readonly string[]) : [];
  const wantsOut = command.name() === "build";
  if (command.name() === "init") return undefined;
  if (!wantsFiles && !names.has("base") && !names.has("backend")) return undefined;
  const config = await findConfig(terminal);
  if (wantsFiles && files.length === 0) {
    if (!config?.specs.length) return "missing required argument 'files'";
    args[0] = config.specs;
  }
  const given = (name: string): boolean => !names.has(name) || !["default", undefined].includes(command.getOptionValueSource(name));
  const set = (name: string, value: unknown): void => void command.setOptionValueWithSource(name, value, "config");
  if (wantsOut && !given("out")) {
    if (config?.out === undefined) return "required option '-o, --out <folder>' not specified";
    set("out", config.out);
  }
  const targets = (wantsFiles ? (args[0] as readonly string[]) : [args[0]]).filter((t): t is string => typeof t === "string");
  // A trained adapter's folder knows its own base; what lies outside the project is not the project's.
  const own = config !== undefined && targets.length > 0 && targets.every((t) => t.endsWith(".moe") && !relative(config.folder, resolve(t)).startsWith(".."));
  if (own && config.base !== undefined && !given("base")) set("base", config.base);
  if (own && config.backend !== undefined && command.getOptionValue("backend") === "auto" && !given("backend")) set("backend", config.backend);
  return undefined;
}
