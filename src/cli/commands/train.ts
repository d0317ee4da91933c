import { SingleBar } from "cli-progress";
import type { StepMetrics, TrainEnd } from "../../runtime/index.ts";
import { fromSpec } from "../../compiler/index.ts";
import { chooseFrom, executable, load, saveSpec, type RunOptions } from "../load.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options extends RunOptions {
  readonly data?: string;
  readonly steps?: number;
  readonly out?: string;
  readonly resume?: string;
  readonly checkpointEvery?: number;
}

/** `moec train FILE`: trains, saves the adapter, and says where it lies. */
export async function train(terminal: Terminal, texts: Map<string, string>, file: string, options: Options): Promise<number> {
  const chosen = await chooseFrom(terminal, texts, file, options);
  const settings = chosen.adapter.train;
  // A path on the command line counts from where the user is, a path in the spec from where the spec lies.
  const data = options.data ?? (settings.data === undefined ? undefined : fromSpec(chosen.program.file, settings.data));
  const out = options.resume ?? options.out ?? `out/${chosen.adapter.name}`;
  const { compiled, code } = await executable(chosen);
  const adapter = await load(terminal, code, chosen, options);
  const trainable = compiled.manifest.weights.filter((w) => w.trainable).reduce((n, w) => n + (w.count ?? 1) * w.shape.reduce((a, b) => a * b, 1), 0);
  terminal.say(`${terminal.color.bold(chosen.adapter.name)} on ${chosen.base}: ${trainable.toLocaleString("en-US")} trainable numbers`);

  const abort = new AbortController();
  const onInterrupt = (): void => {
    // A second Ctrl-C ends at once: the last checkpoint is whole.
    if (abort.signal.aborted) process.exit(130);
    terminal.say("\nstopping after this step …");
    abort.abort();
  };
  process.on("SIGINT", onInterrupt);
  process.on("SIGTERM", onInterrupt);
  const progress = new Progress(terminal);
  try {
    await saveSpec(out, chosen, options);
    const run = adapter.train({
      ...(data === undefined ? {} : { data }),
      out,
      signal: abort.signal,
      ...(options.steps === undefined ? {} : { steps: options.steps }),
      ...(options.seed === undefined ? {} : { seed: options.seed }),
      ...(options.resume === undefined ? {} : { resume: true }),
      ...(options.checkpointEvery === undefined ? {} : { checkpointEvery: { steps: options.checkpointEvery } }),
      onNotice: (d) => terminal.show([d], texts),
    });
    let end: TrainEnd | undefined;
    let last: StepMetrics | undefined;
    for (;;) {
      const next = await run.next();
      if (next.done) {
        end = next.value;
        break;
      }
      last = next.value;
      progress.step(last);
    }
    progress.stop();
    if (end.stopped === "aborted") {
      terminal.say(`stopped after step ${end.step} of ${end.steps}; go on with: moec train ${file} --resume ${out}`);
      if (terminal.json) terminal.printJson({ out, ...end });
      return exitCodes.fine;
    }
    await adapter.save(out);
    if (terminal.json) terminal.printJson({ out, ...end, last });
    else terminal.print(out);
    terminal.say(`${terminal.color.green("done")}: ${end.step} steps; the adapter is in ${out}`);
    return exitCodes.fine;
  } finally {
    progress.stop();
    process.off("SIGINT", onInterrupt);
    process.off("SIGTERM", onInterrupt);
    adapter.dispose();
  }
}

/** A bar for people who look on, a line now and then for logs. */
class Progress {
  readonly #terminal: Terminal;
  #bar: SingleBar | undefined;
  #lastLine = 0;
  #rate = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  step(m: StepMetrics): void {
    this.#rate = this.#rate === 0 ? m.seconds : 0.9 * this.#rate + 0.1 * m.seconds;
    const left = duration(this.#rate * (m.steps - m.step));
    const numbers = `loss ${m.loss.toFixed(4)}  balance ${m.balance.toFixed(4)}  ${Math.round(m.tokensPerSecond)} tokens/s  ${left} left`;
    if (this.#terminal.interactive) {
      if (!this.#bar) {
        this.#bar = new SingleBar({ format: "{bar} {value}/{total}  {numbers}", barCompleteChar: "█", barIncompleteChar: "░", barsize: 24, hideCursor: true, clearOnComplete: false, stream: process.stderr });
        this.#bar.start(m.steps, m.step, { numbers });
      }
      this.#bar.update(m.step, { numbers });
    } else {
      const now = Date.now();
      if (now - this.#lastLine < 5000 && m.step !== m.steps && m.step !== 1) return;
      this.#lastLine = now;
      this.#terminal.say(`step ${m.step}/${m.steps}  ${numbers}`);
    }
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
