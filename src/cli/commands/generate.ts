import { didYouMean, fail } from "../../diagnostics/index.ts";
import { readStdin } from "../input.ts";
import { openTarget, type RunOptions } from "../load.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options extends RunOptions {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly kind?: string;
  readonly field?: Readonly<Record<string, number>>;
  readonly seed: number;
}

/** `moec generate DIR PROMPT`: the prompt and its continuation, piece by piece as it is made. */
export async function generate(terminal: Terminal, target: string, prompt: string, options: Options): Promise<number> {
  const text = prompt === "-" ? await readStdin() : prompt;
  // The seed is that of sampling; an untrained adapter's first values are the spec's.
  const { seed, ...run } = options;
  const { adapter } = await openTarget(terminal, target, run);
  const { kinds } = adapter.manifest;
  if (options.kind !== undefined && kinds.length > 0 && !kinds.includes(options.kind)) {
    adapter.dispose();
    fail("MOE9001", `${adapter.manifest.adapter} knows no kind ${JSON.stringify(options.kind)}`, { help: didYouMean(options.kind, kinds) ?? `it knows: ${kinds.join(", ")}` });
  }
  const abort = new AbortController();
  const onInterrupt = (): void => abort.abort();
  process.once("SIGINT", onInterrupt);
  try {
    let begun = false;
    // The prompt is printed with the first piece, so that a refusal stands alone.
    const onText = (piece: string): void => {
      process.stdout.write(begun ? piece : text + piece);
      begun = true;
    };
    const result = await adapter.generate(text, {
      maxTokens: options.maxTokens,
      temperature: options.temperature,
      topP: options.topP,
      seed,
      signal: abort.signal,
      ...(options.kind === undefined ? {} : { kind: options.kind }),
      ...(options.field === undefined ? {} : { fields: options.field }),
      ...(terminal.json ? {} : { onText }),
    });
    if (terminal.json) terminal.printJson({ prompt: text, ...result });
    else process.stdout.write(begun ? "\n" : `${text}\n`);
    return abort.signal.aborted ? exitCodes.signal("SIGINT") : exitCodes.fine;
  } finally {
    process.off("SIGINT", onInterrupt);
    adapter.dispose();
  }
}
