import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fromSpec } from "../../compiler/index.ts";
import { fail, type Diagnostic } from "../../diagnostics/index.ts";
import { plain } from "../../formats/json.ts";
import { decodeText, parseJsonFile } from "../../formats/text.ts";
import { Adapter } from "../../runtime/adapter.ts";
import type { Backend } from "../../runtime/backends/types.ts";
import { asDiagnostic, atomicWrite, NodeHost } from "../../runtime/files/index.ts";
import type { EvaluationReport } from "../../runtime/index.ts";
import { executable, requireData, saveSpec, type Chosen } from "../load.ts";
import { Progress } from "../progress.ts";
import type { Terminal } from "../terminal.ts";
import { nameOf, type Settings } from "./combinations.ts";

/** What training one combination gave. Numbers of losses are nats a token. */
export interface Outcome {
  readonly steps: number;
  /** Of training and evaluation, over all the times that it was stopped and resumed. */
  readonly seconds: number;
  /** Of the last step. */
  readonly trainingLoss: number;
  readonly test: EvaluationReport;
}

/** `run.json`'s neighbour `result.json` in a combination's folder: what it is of, and what came out once it is done. */
interface ResultFile {
  readonly format: "moec-sweep-run/1";
  /** Two runs with equal identities compute the same. */
  readonly identity: Readonly<Record<string, unknown>>;
  /** Seconds spent so far. */
  readonly seconds: number;
  readonly outcome?: Outcome;
}

export interface TrainSettings {
  readonly out: string;
  readonly data?: string;
  readonly steps?: number;
  /** Told of what is worth knowing of the data. */
  readonly onNotice?: (notice: Diagnostic) => void;
}

/** Where a combination's run reads from. MOE5333 where the spec does not say, MOE5101 where it is not there. */
export async function dataOf(chosen: Chosen, settings: TrainSettings): Promise<{ readonly data: string; readonly test: string }> {
  const { train } = chosen.adapter;
  const find = async (path: string | undefined, noun: string): Promise<string> => {
    if (path === undefined) return fail("MOE5333", `the spec names no ${noun} data`, { help: `give its \`train\` block: ${noun === "test" ? "test" : "data"} "data/${noun === "test" ? "test" : "train"}.jsonl"` });
    await requireData(path, `the spec's \`train\` block names it`);
    return path;
  };
  const { file } = chosen.program;
  const data = settings.data ?? (train.data === undefined ? undefined : fromSpec(file, train.data));
  return { data: await find(data, "training"), test: await find(train.test === undefined ? undefined : fromSpec(file, train.test), "test") };
}

/**
 * Trains and tests one combination in its own folder below `settings.out`; one that is finished there is read instead,
 * one that was stopped goes on. Undefined where `signal` stopped it. MOE9007 where the folder holds another sweep's.
 */
export async function runCombination(
  terminal: Terminal,
  backend: Backend,
  chosen: Chosen,
  set: Settings,
  settings: TrainSettings,
  signal: AbortSignal,
): Promise<{ readonly outcome: Outcome; readonly fresh: boolean } | undefined> {
  const folder = join(settings.out, nameOf(set));
  const { data, test } = await dataOf(chosen, settings);
  const { compiled, code } = await executable(chosen, backend.name);
  const { manifest } = compiled;
  const identity = {
    spec: manifest.spec.sha256,
    adapter: manifest.adapter,
    base: resolve(chosen.base),
    set: Object.fromEntries([...set].sort()),
    steps: settings.steps ?? manifest.train.steps ?? null,
    seed: manifest.train.seed,
    data: await digest(data),
    test: await digest(test),
  };
  const path = join(folder, "result.json");
  const before = await readResult(path);
  if (before) {
    const differing = Object.keys(identity).filter((k) => JSON.stringify(before.identity[k]) !== JSON.stringify(identity[k as keyof typeof identity]));
    if (differing.length > 0) {
      fail("MOE9007", `${folder} holds a run of another sweep: ${differing.join(", ")} ${differing.length === 1 ? "differs" : "differ"}`, { help: "name another folder with -o, or remove this one" });
    }
    if (before.outcome) return { outcome: before.outcome, fresh: false };
  }
  const start = performance.now();
  const spent = (): number => (before?.seconds ?? 0) + (performance.now() - start) / 1000;
  const write = (outcome?: Outcome): Promise<void> =>
    atomicWrite(path, `${JSON.stringify({ format: "moec-sweep-run/1", identity, seconds: spent(), ...(outcome ? { outcome } : {}) } satisfies ResultFile, null, 2)}\n`);
  await write();
  const resume = before !== undefined && (await new NodeHost().stat(join(folder, "checkpoint", "state.json"))) !== undefined;
  const adapter = await Adapter.load(code, { base: chosen.base, backend });
  const progress = new Progress(terminal);
  try {
    const run = adapter.train({
      data,
      out: folder,
      signal,
      ...(settings.steps === undefined ? {} : { steps: settings.steps }),
      ...(resume ? { resume: true } : {}),
      ...(settings.onNotice ? { onNotice: settings.onNotice } : {}),
    });
    let trainingLoss = Number.NaN;
    let next = await run.next();
    for (; !next.done; next = await run.next()) {
      progress.step(next.value);
      trainingLoss = next.value.loss;
    }
    progress.stop();
    if (next.value.stopped === "aborted") {
      await write();
      return undefined;
    }
    // A run that was stopped after its last step has no step left to tell its loss.
    if (Number.isNaN(trainingLoss)) trainingLoss = await lastLoss(folder);
    await saveSpec(folder, chosen, { set: new Map(set) });
    await adapter.save(folder);
    const report = await adapter.evaluate({ data: test, signal, ...(settings.onNotice ? { onNotice: settings.onNotice } : {}) });
    const outcome: Outcome = { steps: next.value.step, seconds: spent(), trainingLoss, test: report };
    await write(outcome);
    return { outcome, fresh: true };
  } catch (error) {
    if (signal.aborted && error === signal.reason) {
      await write();
      return undefined;
    }
    throw error;
  } finally {
    progress.stop();
    adapter.dispose();
  }
}

async function digest(path: string): Promise<string> {
  try {
    return createHash("sha256").update(await readFile(path)).digest("hex");
  } catch (error) {
    throw asDiagnostic(path, error);
  }
}

async function readResult(path: string): Promise<ResultFile | undefined> {
  const host = new NodeHost();
  if (!(await host.stat(path))) return undefined;
  const file = plain(parseJsonFile(decodeText(await host.readFile(path), path), path)) as Partial<ResultFile> | null;
  if (file?.format !== "moec-sweep-run/1" || typeof file.identity !== "object" || file.identity === null || typeof file.seconds !== "number") {
    fail("MOE9007", `${path} is not what \`moec sweep\` writes`, { help: "name another folder with -o, or remove this one" });
  }
  return file as ResultFile;
}

/** The loss of the last line of a run's metrics. */
async function lastLoss(folder: string): Promise<number> {
  const lines = (await readFile(join(folder, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
  return (JSON.parse(lines.at(-1)!) as { loss: number }).loss;
}
