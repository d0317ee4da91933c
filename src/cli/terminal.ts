import { constants } from "node:os";
import pico from "picocolors";
import { diagnostic, DiagnosticError, type Diagnostic } from "../diagnostics/index.ts";
import { renderJson, renderPretty } from "../diagnostics/render/index.ts";
import { asDiagnostic } from "../runtime/files/index.ts";

/** Exit codes: fine, the user's errors, wrong usage, our bug; and, as shells have it, 128 + the signal that stopped a run. */
export const exitCodes = {
  fine: 0,
  errors: 1,
  usage: 2,
  bug: 70,
  signal: (name: "SIGINT" | "SIGTERM"): number => 128 + constants.signals[name],
} as const;

/** Options that every command has. */
export interface GlobalOptions {
  /** A machine reads: one JSON value on stdout, and at the end one JSON report of all diagnostics on stderr. */
  readonly json?: boolean;
  readonly color?: boolean;
}

type Colors = ReturnType<typeof pico.createColors>;

/** Whether a stream gets colours: NO_COLOR and --no-color, then FORCE_COLOR, then whether it is a terminal (https://no-color.org). */
function coloured(stream: { readonly isTTY?: boolean }, options: GlobalOptions): boolean {
  const { NO_COLOR: no, FORCE_COLOR: force, TERM: term } = process.env;
  if (options.color === false || no) return false;
  if (force !== undefined) return force !== "0" && force !== "false";
  return stream.isTTY === true && term !== "dumb";
}

/** Results go to stdout, messages to stderr. */
export class Terminal {
  readonly json: boolean;
  /** For messages. */
  readonly color: Colors;
  /** For results: stdout may be a pipe while stderr is a terminal. */
  readonly resultColor: Colors;
  /** Texts that diagnostics point into, by path. */
  readonly texts = new Map<string, string>();
  readonly #coloured: boolean;
  readonly #held: Diagnostic[] = [];

  constructor(options: GlobalOptions = {}) {
    this.json = options.json ?? false;
    this.#coloured = coloured(process.stderr, options);
    this.color = pico.createColors(this.#coloured);
    this.resultColor = pico.createColors(coloured(process.stdout, options));
  }

  /** Whether a person looks on: then there may be a progress bar. */
  get interactive(): boolean {
    return !this.json && process.stderr.isTTY === true && process.env["TERM"] !== "dumb";
  }

  /** A line of the result. */
  print(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  /** The result, for a machine. */
  printJson(value: unknown): void {
    process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** A message to the person. */
  say(text: string): void {
    if (!this.json) process.stderr.write(`${text}\n`);
  }

  /** Shows diagnostics, at once or, for a machine, with all others at the end; true where one is an error. */
  show(diagnostics: readonly Diagnostic[]): boolean {
    if (this.json) this.#held.push(...diagnostics);
    else if (diagnostics.length) process.stderr.write(`${renderPretty(diagnostics, this.texts, { color: this.#coloured })}\n`);
    return diagnostics.some((d) => d.severity === "error");
  }

  /** Writes what was held back for a machine: one document, so that it can be parsed; nothing where there is nothing to tell. */
  finish(): void {
    if (this.#held.length) process.stderr.write(renderJson(this.#held.splice(0), this.texts));
  }
}

/**
 * Runs a command's work: a user's mistake is rendered and ends with 1; anything else that is thrown is our bug, told as
 * one, with its stack only where MOEC_DEBUG asks for it.
 */
export async function guarded(terminal: Terminal, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    return explainFailure(terminal, error);
  } finally {
    terminal.finish();
  }
}

/** Tells what was thrown; returns the exit code. */
export function explainFailure(terminal: Terminal, thrown: unknown): number {
  const error = fromSystem(thrown);
  if (error instanceof DiagnosticError) {
    terminal.show(error.diagnostics);
    return exitCodes.errors;
  }
  const message = error instanceof Error ? error.message : String(error);
  const debug = Boolean(process.env["MOEC_DEBUG"]);
  terminal.show([
    diagnostic("MOE9010", `this is a bug of moec, not of your spec: ${message}`, {
      help: debug ? "please report it with what follows" : "please report it with the command and the spec; MOEC_DEBUG=1 shows where it happened",
    }),
  ]);
  if (debug && error instanceof Error && error.stack) process.stderr.write(`${error.stack}\n`);
  return exitCodes.bug;
}

/** A refusal of the operating system that names a path is the user's to know, wherever it came from. */
function fromSystem(error: unknown): unknown {
  const { path, syscall } = (error ?? {}) as { readonly path?: unknown; readonly syscall?: unknown };
  if (typeof path !== "string" || typeof syscall !== "string") return error;
  return asDiagnostic(path, error, /^(mkdir|mkdtemp|rename|unlink|write|rmdir)$/.test(syscall) ? "written" : "read");
}

/** A table with aligned columns; numbers stand right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const texts = rows.map((r) => r.map(String));
  const columns = texts[0]!.map((_, c) => ({
    width: Math.max(...texts.map((r) => (r[c] ?? "").length)),
    // The first row is the heading: it stands as its column does.
    right: rows.slice(1).every((r) => typeof r[c] === "number" || /^-?[\d.]+(e[+-]\d+)?( %)?$/.test(r[c] ?? "")),
  }));
  return texts.map((r) => r.map((t, c) => (columns[c]!.right ? t.padStart(columns[c]!.width) : t.padEnd(columns[c]!.width))).join("  ").trimEnd()).join("\n");
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
