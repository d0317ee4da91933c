import { DiagnosticError, fail } from "../diagnostics/index.ts";
import { joinPath } from "../formats/host.ts";
import { encodeSafetensors } from "../formats/safetensors.ts";
import type { RunIdentity } from "./identity.ts";
import type { StepMetrics } from "./metrics.ts";
import { jsonBytes, writeWhole, type OutputHost } from "./output.ts";
import { openTensorFile } from "./tensor-file.ts";
import type { NamedTensor, TensorFile } from "./weights.ts";

/** `checkpoint/state.json`: which files are the checkpoint, and of what. */
export interface RunState {
  readonly format: "moec-run/1";
  /** Steps done. With the seed it determines the data's order and every dropout draw of the steps to come. */
  readonly step: number;
  readonly steps: number;
  readonly seed: number;
  /** Epochs done, with the fraction of the one under way. */
  readonly epoch: number;
  /** The backend that computed it. */
  readonly backend: string;
  readonly run: RunIdentity;
  /** Names in the checkpoint's folder. */
  readonly files: { readonly weights: string; readonly moments: string };
}

export interface Checkpoint {
  readonly state: RunState;
  readonly weights: TensorFile;
  /** AdamW's moments: "moment1." and "moment2." before the weights' names. */
  readonly moments: TensorFile;
}

/**
 * The folder of one training run:
 *
 *     metrics.jsonl                      one line a step
 *     checkpoint/state.json              names the two files that are the checkpoint
 *     checkpoint/weights-120.safetensors
 *     checkpoint/moments-120.safetensors
 *
 * A new checkpoint lies beside the old one under names of its own, and becomes the checkpoint by one rename of
 * `state.json`. So a kill at any moment leaves a whole checkpoint, the old or the new; what else lies about is swept
 * away by the next.
 */
export class RunFolder {
  readonly host: OutputHost;
  readonly path: string;

  constructor(host: OutputHost, path: string) {
    this.host = host;
    this.path = path;
  }

  private get checkpointFolder(): string {
    return joinPath(this.path, "checkpoint");
  }
  private get stateFile(): string {
    return joinPath(this.checkpointFolder, "state.json");
  }
  private get metricsFile(): string {
    return joinPath(this.path, "metrics.jsonl");
  }

  /** Makes the folder ready for a run from its first step: an older run's checkpoint and metrics go. */
  async begin(): Promise<void> {
    await this.host.makeFolder(this.checkpointFolder);
    await this.host.removeFile(this.stateFile);
    await this.sweep([]);
    await writeWhole(this.host, this.metricsFile, new Uint8Array());
  }

  /** Adds a step's line to `metrics.jsonl`. */
  async record(metrics: StepMetrics): Promise<void> {
    await this.host.appendFile(this.metricsFile, new TextEncoder().encode(`${JSON.stringify(metrics)}\n`));
  }

  /** Writes a checkpoint; the one before it is whole until the new one is. */
  async write(state: Omit<RunState, "format" | "files">, weights: readonly NamedTensor[], moments: readonly NamedTensor[]): Promise<void> {
    const { host, checkpointFolder: folder } = this;
    const files = { weights: `weights-${state.step}.safetensors`, moments: `moments-${state.step}.safetensors` };
    await host.makeFolder(folder);
    // Through a rename, too: the same step may be written twice, and then these names are the old checkpoint's.
    await writeWhole(host, joinPath(folder, files.weights), encodeSafetensors(weights, { format: "pt" }));
    await writeWhole(host, joinPath(folder, files.moments), encodeSafetensors(moments, { format: "pt" }));
    await writeWhole(host, this.stateFile, jsonBytes({ format: "moec-run/1", ...state, files } satisfies RunState));
    await this.sweep([files.weights, files.moments, "state.json"]);
  }

  /** The checkpoint, its headers checked, or undefined where there is none. MOE5321 where there is one that cannot be read. */
  async read(): Promise<Checkpoint | undefined> {
    if ((await this.host.stat(this.stateFile)) === undefined) return undefined;
    const state = parseState(new TextDecoder().decode(await this.host.readFile(this.stateFile)), this.stateFile);
    const open = async (name: string): Promise<TensorFile> => {
      try {
        return await openTensorFile(this.host, joinPath(this.checkpointFolder, name));
      } catch (error) {
        if (!(error instanceof DiagnosticError)) throw error;
        return fail("MOE5321", `The checkpoint in ${this.path} is damaged: ${error.diagnostics[0]!.message}`, {
          help: "Start the run anew without --resume, or take the checkpoint from a copy.",
        });
      }
    };
    return { state, weights: await open(state.files.weights), moments: await open(state.files.moments) };
  }

  /**
   * Makes the folder ready for a run that goes on from its checkpoint: what a killed run left unfinished goes, and so do
   * the lines of `metrics.jsonl` beyond the checkpoint's step, which will be written again.
   */
  async continueFrom({ step, files }: RunState): Promise<void> {
    await this.sweep([files.weights, files.moments, "state.json"]);
    if ((await this.host.stat(this.metricsFile)) === undefined) return;
    const lines = new TextDecoder().decode(await this.host.readFile(this.metricsFile)).split("\n");
    const kept = lines.filter((line) => {
      try {
        return (JSON.parse(line) as { step: number }).step <= step;
      } catch {
        return false; // the last line of a killed run may be a part
      }
    });
    await writeWhole(this.host, this.metricsFile, new TextEncoder().encode(kept.map((l) => `${l}\n`).join("")));
  }

  /** Removes checkpoint files of ours that are not named. Never anything else: the folder is the user's. */
  private async sweep(keep: readonly string[]): Promise<void> {
    for (const name of await this.host.list(this.checkpointFolder)) {
      const ours = /^(weights|moments)-\d+\.safetensors$/.test(name) || /^((weights|moments)-\d+\.safetensors|state\.json)\.part$/.test(name);
      if (ours && !keep.includes(name)) await this.host.removeFile(joinPath(this.checkpointFolder, name));
    }
  }
}

function parseState(text: string, file: string): RunState {
  const damaged = (what: string): never =>
    fail("MOE5321", `${file} is no checkpoint's state: ${what}.`, { help: "Start the run anew without --resume, or take the checkpoint from a copy." });
  let state: Partial<RunState>;
  try {
    state = JSON.parse(text) as Partial<RunState>;
  } catch {
    return damaged("it is not JSON");
  }
  if (typeof state !== "object" || state === null) return damaged("it is not an object");
  if (state.format !== "moec-run/1") return damaged(`its format is ${JSON.stringify(state.format)}, expected "moec-run/1"`);
  for (const key of ["step", "steps", "seed"] as const) {
    if (!Number.isSafeInteger(state[key]) || state[key]! < 0) return damaged(`${key} is ${JSON.stringify(state[key])}, expected a whole number`);
  }
  const { run, files } = state;
  if (typeof run !== "object" || run === null || typeof run.settings !== "object" || run.settings === null) return damaged("it does not say of which run");
  for (const part of ["weights", "moments"] as const) {
    // The names are made by us and checked like a stranger's: a state must not name a file outside its folder.
    if (!new RegExp(`^${part}-\\d+\\.safetensors$`).test(String(files?.[part]))) return damaged(`it does not name its ${part}`);
  }
  return state as RunState;
}
