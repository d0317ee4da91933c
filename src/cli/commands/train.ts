import { join } from "node:path";
import { fromSpec } from "../../compiler/index.ts";
import { fail } from "../../diagnostics/index.ts";
import { NodeHost } from "../../runtime/files/index.ts";
import type { StepMetrics, TrainEnd } from "../../runtime/index.ts";
import { NodeOutput } from "../../runtime/files/node-output.ts";
import { RunFolder } from "../../runtime/run-folder.ts";
import { Interrupt } from "../interrupt.ts";
import { chooseFrom, load, requireData, requireFolder, saveSpec, type RunOptions } from "../load.ts";
import { Progress } from "../progress.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options extends RunOptions {
  readonly data?: string;
  readonly steps?: number;
  readonly out?: string;
  readonly resume?: string;
  readonly restart?: boolean;
  readonly checkpointEvery?: number;
}

/** `moec train FILE`: trains, saves the adapter, and says where it lies. What cannot work is refused before a backend starts. */
export async function train(terminal: Terminal, file: string, options: Options): Promise<number> {
  const chosen = await chooseFrom(terminal, file, options);
  const settings = chosen.adapter.train;
  // A path on the command line counts from where the user is, a path in the spec from where the spec lies.
  const data = options.data ?? (settings.data === undefined ? undefined : fromSpec(chosen.program.file, settings.data));
  const out = options.resume ?? options.out ?? `out/${chosen.adapter.name}`;
  const again = resumeCommand(file, out, options);
  await requirePlace(out, options, again);
  if (data !== undefined) await requireData(data, options.data === undefined ? "the spec's `data` names it; --data names another" : "--data names it");
  const { adapter, compiled } = await load(terminal, chosen, options);
  const trainable = compiled.manifest.weights.filter((w) => w.trainable).reduce((n, w) => n + (w.count ?? 1) * w.shape.reduce((a, b) => a * b, 1), 0);
  terminal.say(`${terminal.color.bold(chosen.adapter.name)} on ${chosen.base}: ${trainable.toLocaleString("en-US")} trainable numbers`);

  const stop = new Interrupt(terminal, "step");
  const progress = new Progress(terminal);
  try {
    const run = adapter.train({
      ...(data === undefined ? {} : { data }),
      out,
      signal: stop.signal,
      ...(options.steps === undefined ? {} : { steps: options.steps }),
      ...(options.seed === undefined ? {} : { seed: options.seed }),
      ...(options.resume === undefined ? {} : { resume: true }),
      ...(options.checkpointEvery === undefined ? {} : { checkpointEvery: { steps: options.checkpointEvery } }),
      onNotice: (d) => terminal.show([d]),
    });
    let last: StepMetrics | undefined;
    let next = await run.next();
    for (; !next.done; next = await run.next()) progress.step((last = next.value));
    const end: TrainEnd = next.value;
    progress.stop();
    if (end.stopped === "aborted") {
      if (terminal.json) terminal.printJson({ out, ...end, resume: again, last: last ?? null });
      terminal.say(`stopped after step ${end.step} of ${end.steps}; go on with:\n  ${again}`);
      return exitCodes.signal(stop.received!);
    }
    // The spec first: an adapter's folder without it could not be opened.
    await saveSpec(out, chosen, options);
    await adapter.save(out);
    if (terminal.json) terminal.printJson({ out, ...end, last: last ?? null });
    else terminal.print(out);
    terminal.say(`${terminal.color.green("done")}: ${end.step} steps; the adapter is in ${out}`);
    return exitCodes.fine;
  } finally {
    progress.stop();
    stop.dispose();
    adapter.dispose();
  }
}

/**
 * Refuses a place that a run cannot begin or go on in: MOE5108 a file, MOE5322 nothing to resume, and MOE9005 where a
 * stopped run's checkpoint would be thrown away without a word.
 */
async function requirePlace(out: string, options: Options, again: string): Promise<void> {
  await requireFolder(out);
  const state = join(out, "checkpoint", "state.json");
  if (options.resume !== undefined) {
    if (!(await new NodeHost().stat(state))) fail("MOE5322", `${out} holds no checkpoint to resume from`, { help: "start the run without --resume: checkpoints are written as it goes" });
    return;
  }
  if (options.restart || !(await new NodeHost().stat(state))) return;
  const checkpoint = await new RunFolder(new NodeOutput(), out).read();
  if (!checkpoint || checkpoint.state.step === 0 || checkpoint.state.step >= checkpoint.state.steps) return;
  fail("MOE9005", `${out} holds a run that stopped after step ${checkpoint.state.step} of ${checkpoint.state.steps}`, {
    notes: [`to go on with it: ${again}`],
    help: "--restart begins anew and gives the stopped run up; --out names another folder",
  });
}

/** The command that goes on with this run: what shapes it is repeated; seed and steps are the checkpoint's. */
function resumeCommand(file: string, out: string, options: Options): string {
  const words = ["moec", "train", file, "--resume", out];
  if (options.adapter !== undefined) words.push("--adapter", options.adapter);
  if (options.base !== undefined) words.push("--base", options.base);
  if (options.data !== undefined) words.push("--data", options.data);
  if (options.backend !== undefined && options.backend !== "auto") words.push("--backend", options.backend);
  if (options.allowNan) words.push("--allow-nan");
  for (const [name, value] of options.set ?? []) words.push("--set", `${name}=${value}`);
  return words.map((w) => (/^[\w./:=@%+,-]+$/.test(w) ? w : `'${w.replaceAll("'", "'\\''")}'`)).join(" ");
}
