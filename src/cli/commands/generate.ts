import { readStdin } from "../input.ts";
import { openTarget, type RunOptions } from "../load.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options extends RunOptions {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly kind?: string;
  readonly seed: number;
}

/** `moec generate DIR PROMPT`: the prompt and its continuation, piece by piece as it is made. */
export async function generate(terminal: Terminal, texts: Map<string, string>, target: string, prompt: string, options: Options): Promise<number> {
  const text = prompt === "-" ? await readStdin() : prompt;
  const { adapter } = await openTarget(terminal, texts, target, options);
  const abort = new AbortController();
  const onInterrupt = (): void => abort.abort();
  process.once("SIGINT", onInterrupt);
  try {
    if (!terminal.json) process.stdout.write(text);
    const result = await adapter.generate(text, {
      maxTokens: options.maxTokens,
      temperature: options.temperature,
      topP: options.topP,
      seed: options.seed,
      signal: abort.signal,
      ...(options.kind === undefined ? {} : { kind: options.kind }),
      ...(terminal.json ? {} : { onText: (piece: string) => process.stdout.write(piece) }),
    });
    if (terminal.json) terminal.printJson({ prompt: text, ...result });
    else process.stdout.write("\n");
    return exitCodes.fine;
  } finally {
    process.off("SIGINT", onInterrupt);
    adapter.dispose();
  }
}
