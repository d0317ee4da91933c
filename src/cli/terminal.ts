import pico from "picocolors";
import { renderJson, renderPretty } from "../diagnostics/render/index.ts";
import { DiagnosticError, type Diagnostic } from "../diagnostics/index.ts";

/** Exit codes: fine, the user's errors, wrong usage, our bug. */
export const exitCodes = { fine: 0, errors: 1, usage: 2, bug: 70 } as const;

/** Options that every command has. */
export interface GlobalOptions {
  /** A machine reads: one JSON value on stdout, diagnostics as JSON on stderr. */
  readonly json?: boolean;
  readonly color?: boolean;
}

/** Results go to stdout, messages to stderr. */
export class Terminal {
  readonly json: boolean;
  readonly color: ReturnType<typeof pico.createColors>;
  readonly #coloured: boolean;

  constructor(options: GlobalOptions = {}) {
    this.json = options.json ?? false;
    this.#coloured = options.color !== false && !process.env["NO_COLOR"] && (process.stderr.isTTY === true || Boolean(process.env["FORCE_COLOR"]));
    this.color = pico.createColors(this.#coloured);
  }

  /** Whether a person looks on: then there may be a progress bar. */
  get interactive(): boolean {
    return !this.json && process.stderr.isTTY === true;
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

  /** Shows diagnostics; true where one is an error. */
  show(diagnostics: readonly Diagnostic[], texts: ReadonlyMap<string, string> = new Map()): boolean {
    if (diagnostics.length) {
      process.stderr.write(this.json ? `${renderJson(diagnostics, texts)}\n` : `${renderPretty(diagnostics, texts, { color: this.#coloured })}\n`);
    }
    return diagnostics.some((d) => d.severity === "error");
  }
}

/**
 * Runs a command's work: a user's mistake is rendered and ends with 1; anything else that is thrown is our bug, told as
 * one, with its stack only where MOEC_DEBUG asks for it.
 */
export async function guarded(terminal: Terminal, texts: () => ReadonlyMap<string, string>, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DiagnosticError) {
      terminal.show(error.diagnostics, texts());
      return exitCodes.errors;
    }
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`moec: this is a bug of moec, not of your spec: ${message}\n`);
    process.stderr.write(
      process.env["MOEC_DEBUG"] && error instanceof Error && error.stack
        ? `${error.stack}\n`
        : "Please report it with the command and the spec; MOEC_DEBUG=1 shows where it happened.\n",
    );
    return exitCodes.bug;
  }
}

/** A table with aligned columns; numbers stand right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const texts = rows.map((r) => r.map(String));
  const widths = texts[0]!.map((_, c) => Math.max(...texts.map((r) => (r[c] ?? "").length)));
  return texts
    .map((r, i) => r.map((t, c) => (i > 0 && typeof rows[i]![c] === "number") || (i === 0 && typeof rows[1]?.[c] === "number") || /^[\d.]+ ?%?$/.test(t) ? t.padStart(widths[c]!) : t.padEnd(widths[c]!)).join("  ").trimEnd())
    .join("\n");
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
