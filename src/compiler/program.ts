import { basePath, check, configSchema, ProofMemory, suppress, type Checked, type CheckedAdapter, type CheckpointHeaders } from "../check/index.ts";
import { diagnostic, DiagnosticError, didYouMean, fail, type Diagnostic } from "../diagnostics/index.ts";
import { readCheckpointHeaders } from "../formats/checkpoint.ts";
import { joinPath, normalizePath, type Host } from "../formats/host.ts";
import { loadValidator } from "../formats/schema.ts";
import { decodeText } from "../formats/text.ts";
import type { SourceFile } from "../parser/ast.ts";
import { unpack } from "./packed.ts";
import { parse } from "../parser/index.ts";

/** What a program is made from, beside its text. */
export interface ProgramOptions {
  /** The library's files: ["std/lora.moe", text]. */
  readonly library: ReadonlyMap<string, string>;
  /** Values for the spec's `param`s. */
  readonly set?: ReadonlyMap<string, string>;
  /** A checkpoint folder that takes the place of the one the spec names. */
  readonly base?: string;
  /** Tensors that a model does not use are errors, not warnings. */
  readonly strict?: boolean;
}

/** A spec, read and checked. */
export interface Program {
  /** The path as it was given. */
  readonly file: string;
  readonly text: string;
  readonly checked: Checked;
  /** Texts of all files that diagnostics may point into. */
  readonly texts: ReadonlyMap<string, string>;
  readonly diagnostics: readonly Diagnostic[];
  /** Where the base of an adapter lies, as the host finds it. */
  readonly basePath: (adapter: CheckedAdapter) => string;
  /** What the headers of an adapter's base say: its tensors by name. */
  readonly headers: (adapter: CheckedAdapter) => CheckpointHeaders["tensors"];
}

/** Parsed files by path: the library is parsed when the package is built, an unchanged file once a process. */
const parsed = new Map<string, SourceFile>();

/** The tree of a text, from before where path and text are the same. */
function parseCached(text: string, path: string): SourceFile {
  const known = parsed.get(path);
  if (known?.text === text) return known;
  const file = parse(text, path);
  parsed.set(path, file);
  return file;
}

/** Adapters of earlier texts of which the proofs had nothing to say. */
const proved = new ProofMemory();

let ready: Promise<void> | undefined;

async function loadTrees(library: ReadonlyMap<string, string>): Promise<void> {
  for (const packed of (await import("./trees.ts")).trees) {
    const text = library.get(packed.path);
    const file = text === undefined ? undefined : unpack(packed, text);
    if (file) parsed.set(file.path, file);
  }
}

/** The folder of a path; "." for a bare name. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

/** A path in a spec, seen from where the spec lies. */
export function fromSpec(spec: string, path: string): string {
  return path.startsWith("/") ? path : normalizePath(joinPath(folderOf(spec), path));
}

/**
 * Reads a spec with what it imports and the headers of its checkpoints, and checks it. A user's mistakes are in
 * `diagnostics`; only a spec that cannot be read at all throws.
 * @throws DiagnosticError where `file` does not exist or is no text
 */
export async function loadProgram(host: Host, file: string, options: ProgramOptions): Promise<Program> {
  const found = await host.stat(file);
  if (!found) fail("MOE5101", `${file} does not exist`, { help: "name a .moe file" });
  if (found.kind === "directory") fail("MOE5102", `${file} is a folder, expected a .moe file`);
  if (found.size > 4 * 2 ** 20) fail("MOE5102", `${file} has ${found.size} bytes, which is no spec`);
  const text = decodeText(await host.readFile(file), file);
  return checkText(host, file, text, options);
}

/** The same for a text that is not (yet) in a file; `file` says where it would lie. */
export async function checkText(host: Host, file: string, text: string, options: ProgramOptions): Promise<Program> {
  await (ready ??= loadTrees(options.library));
  const library = [...options.library].map(([path, t]) => parseCached(t, path));
  const extra: Diagnostic[] = [];
  const files = await readImports(host, parseCached(text, file), extra);
  const checkpoints = new Map<string, CheckpointHeaders | readonly Diagnostic[]>();
  const bases = files.flatMap((f) => f.declarations).filter((d) => d.kind === "base");
  for (const declaration of bases) {
    const path = basePath(declaration);
    if (path === undefined || checkpoints.has(path)) continue;
    const folder = options.base ?? fromSpec(file, path);
    try {
      checkpoints.set(path, await readCheckpointHeaders(host, folder));
    } catch (e) {
      if (!(e instanceof DiagnosticError)) throw e;
      checkpoints.set(path, e.diagnostics);
    }
  }
  const models = [...library, ...files].flatMap((f) => f.declarations).filter((d) => d.kind === "model");
  const validate = await loadValidator(models.filter((m) => bases.some((b) => b.model.text === m.name.text)).map(configSchema));
  const checked = check({
    library,
    files,
    set: options.set ?? new Map(),
    checkpoints,
    validate,
    strict: options.strict ?? false,
    proved,
  });
  const texts = new Map([...library, ...files].map((f) => [f.path, f.text]));
  for (const headers of checkpoints.values()) if ("configText" in headers) texts.set(headers.configFile, headers.configText);
  return {
    file,
    text,
    checked,
    texts,
    diagnostics: suppress(files, [...extra, ...checked.diagnostics], options.base === undefined && !options.set?.size),
    basePath: (adapter) => options.base ?? fromSpec(file, adapter.base.path),
    headers: (adapter) => {
      const found = checkpoints.get(adapter.base.path);
      return found && "tensors" in found ? found.tensors : new Map();
    },
  };
}

/** A spec and all it imports, each once, what a file imports above it: constants may use those of what was imported. */
async function readImports(host: Host, main: SourceFile, diagnostics: Diagnostic[]): Promise<SourceFile[]> {
  const files = [main];
  const seen = new Set([normalizePath(main.path)]);
  const root = folderOf(normalizePath(main.path));
  const imported = new Map<SourceFile, string[]>();
  for (let i = 0; i < files.length; i++) {
    const from = files[i]!;
    for (const item of from.imports) {
      // What the parser has complained about is not looked for.
      if (from.diagnostics.some((d) => d.primary && d.primary.span.start < item.span.end && d.primary.span.end > item.span.start)) continue;
      const wanted = item.path.value;
      const path = fromSpec(from.path, wanted);
      const inside = root === "." ? !path.startsWith("..") && !path.startsWith("/") : path.startsWith(root === "/" ? root : `${root}/`);
      if (wanted.startsWith("/") || wanted.includes("\\") || wanted.includes("\0") || !inside || !wanted.endsWith(".moe")) {
        diagnostics.push(diagnostic("MOE5103", `an import is a .moe file in the spec's folder or below, this is ${JSON.stringify(wanted)}`, { at: item.path.span }));
        continue;
      }
      imported.set(from, [...(imported.get(from) ?? []), path]);
      if (seen.has(path)) continue;
      seen.add(path);
      if (seen.size > 1000) fail("MOE5102", "a spec imports more than 1,000 files", { at: item.span });
      const found = await host.stat(path);
      if (found?.kind !== "file") {
        const names = (await host.list?.(folderOf(path)).catch(() => [])) ?? [];
        const near = didYouMean(path.slice(path.lastIndexOf("/") + 1), names);
        diagnostics.push(diagnostic("MOE5101", `${path} does not exist`, { at: item.path.span, ...(near ? { help: near } : {}) }));
        continue;
      }
      files.push(parseCached(decodeText(await host.readFile(path), path), path));
    }
  }
  const ordered = new Set<SourceFile>();
  const open = new Set<SourceFile>();
  const put = (file: SourceFile): void => {
    // A file that imports itself in the end stands where it was met first.
    if (open.has(file)) return;
    open.add(file);
    for (const path of imported.get(file) ?? []) {
      const next = files.find((f) => normalizePath(f.path) === path);
      if (next) put(next);
    }
    ordered.add(file);
  };
  put(main);
  return [...ordered];
}

/** The adapter of a spec that a command works on: the one named, or the only one. */
export function chooseAdapter(program: Program, name: string | undefined): CheckedAdapter {
  const { adapters, definitions } = program.checked;
  const names = [...definitions.adapters.keys()];
  if (name !== undefined) {
    const found = adapters.find((a) => a.name === name);
    if (found) return found;
    return fail("MOE9003", `${program.file} has no adapter "${name}"`, { help: didYouMean(name, names) ?? (names.length ? `it has: ${names.join(", ")}` : "it declares none") });
  }
  if (adapters.length === 1 && names.length === 1) return adapters[0]!;
  if (names.length === 0) return fail("MOE9003", `${program.file} declares no adapter`, { help: "add one: adapter NAME on BASE { … }" });
  return fail("MOE9003", `${program.file} declares several adapters`, { help: `say which: --adapter ${names.join(" | --adapter ")}` });
}
