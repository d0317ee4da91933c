import { join } from "node:path";
import { startBackend } from "../../runtime/backends/index.ts";
import type { Backend, BackendName } from "../../runtime/backends/types.ts";
import { diagnostic, DiagnosticError, type Diagnostic } from "../../diagnostics/index.ts";
import { jsonReport } from "../../diagnostics/render/index.ts";
import { atomicWrite } from "../../runtime/files/index.ts";
import { requireFolder } from "../load.ts";
import { crossProduct, nameOf, planCombination, RememberingHost, type Axes, type Combination, type Settings } from "../sweep/combinations.ts";
import { dataOf, runCombination, type Outcome } from "../sweep/runs.ts";
import { exitCodes, percent, type Terminal } from "../terminal.ts";
import { aligned, amount, byteAmount, share } from "../units.ts";
import { Interrupt } from "../interrupt.ts";

interface Options {
  readonly over: Axes;
  readonly all?: boolean;
  readonly adapter?: string;
  readonly base?: string;
  readonly set?: Settings;
  readonly batch?: number;
  readonly length?: number;
  readonly train?: boolean;
  readonly data?: string;
  readonly steps?: number;
  readonly backend?: BackendName | "auto";
  readonly out?: string;
}

type Row = Combination & { outcome?: Outcome };

/** `moec sweep FILE --over name=a,b …`: every combination planned, and with --train also trained and tested. */
export async function sweep(terminal: Terminal, file: string, options: Options): Promise<number> {
  const twice = [...options.over.keys()].find((name) => options.set?.has(name));
  const wrong = file === "-" ? "a sweep reads its spec once for each combination: it cannot be standard input" : twice === undefined ? undefined : `${twice} is given by --set and by --over`;
  if (wrong !== undefined) {
    terminal.show([diagnostic("MOE9001", wrong)]);
    return exitCodes.usage;
  }
  const sets = crossProduct(options.over, options.all ?? false);
  if (options.out !== undefined) await requireFolder(options.out);
  const rows = await planAll(terminal, file, options, sets);
  const good = rows.flatMap((row) => ("chosen" in row ? [row] : []));
  const out = options.out ?? (options.train ? `out/sweep-${good[0]!.chosen.adapter.name}` : undefined);
  const stop = new Interrupt(terminal, "step");
  let failed: unknown;
  try {
    if (options.train) await trainAll(terminal, rows, out!, options, stop.signal);
  } catch (error) {
    // What was done before is told first.
    failed = error;
  } finally {
    stop.dispose();
  }
  const report = jsonOf(file, options, rows);
  if (out !== undefined) await atomicWrite(join(out, "sweep.json"), `${JSON.stringify(report, null, 2)}\n`);
  if (terminal.json) terminal.printJson(report);
  else terminal.print(showSweep(rows, options.train ?? false));
  const refused = rows.length - good.length;
  if (refused > 0) terminal.say(`${refused} of ${rows.length} combinations are refused by the checker`);
  if (failed !== undefined) throw failed;
  if (stop.received) {
    terminal.say(`stopped; the same command goes on: finished combinations in ${out} are not run again`);
    return exitCodes.signal(stop.received);
  }
  return exitCodes.fine;
}

async function planAll(terminal: Terminal, file: string, options: Options, sets: readonly Settings[]): Promise<Row[]> {
  const host = new RememberingHost();
  const rows: Row[] = [];
  const told = new Set<string>();
  for (const set of sets) {
    const { program, ...row } = await planCombination(host, { file, ...options }, set);
    for (const [path, text] of program.texts) terminal.texts.set(path, text);
    // A warning is told once, not once a combination.
    const fresh = program.diagnostics.filter((d) => d.severity !== "error" && !told.has(`${d.code} ${d.message}`));
    for (const d of fresh) told.add(`${d.code} ${d.message}`);
    terminal.show(fresh);
    rows.push(row);
  }
  const [first] = rows;
  if (first && rows.every((r) => "refused" in r)) throw new DiagnosticError("refused" in first ? first.refused : []);
  return rows;
}

async function trainAll(terminal: Terminal, rows: Row[], out: string, options: Options, signal: AbortSignal): Promise<void> {
  const settings = { out, ...(options.data === undefined ? {} : { data: options.data }), ...(options.steps === undefined ? {} : { steps: options.steps }) };
  const work = rows.flatMap((row) => ("chosen" in row ? [row] : []));
  // What cannot work is refused before anything is trained.
  for (const row of work) await dataOf(row.chosen, settings);
  // All combinations read the same data: what is to be said of them is said once.
  const told = new Set<string>();
  const notice = (d: Diagnostic): void => {
    if (!told.has(d.message)) terminal.show([d]);
    told.add(d.message);
  };
  const backend: Backend = await startBackend(options.backend ?? "auto");
  terminal.say(terminal.color.dim(`backend ${backend.name}: ${backend.device}`));
  for (const [i, row] of work.entries()) {
    if (signal.aborted) return;
    terminal.say(`${terminal.color.bold(`[${i + 1}/${work.length}] ${nameOf(row.set)}`)}`);
    const done = await runCombination(terminal, backend, row.chosen, row.set, { ...settings, onNotice: notice }, signal);
    if (!done) return;
    row.outcome = done.outcome;
    const { overall } = done.outcome.test;
    terminal.say(`${done.fresh ? "" : "done before: "}test loss ${overall.loss.toFixed(4)}, exact ${percent(overall.accuracy)}, ${done.outcome.seconds.toFixed(1)} s`);
  }
}

/** The table: the values, what they cost, and what came out. */
export function showSweep(rows: readonly Row[], trained: boolean): string {
  const names = [...(rows[0]?.set.keys() ?? [])];
  const kinds = [...new Set(rows.flatMap((r) => Object.keys(r.outcome?.test.byKind ?? {})))];
  const heading = [...names, "trainable", "of base", "extra ops", "of base", "training in all"];
  if (trained) heading.push("loss", "exact", ...kinds.flatMap((k) => [`${k}: loss`, "exact"]), "seconds");
  const sides = heading.map(() => "r").join("");
  const lines = rows.map((row) => {
    const values = names.map((n) => row.set.get(n)!);
    if (!("costs" in row)) return [...values, "refused"];
    const { trainable, operations, memory } = row.costs;
    const cells = [...values, amount(trainable.parameters), share(trainable.share), amount(operations.extra), share(operations.extra / operations.base), byteAmount(memory.training)];
    const { outcome } = row;
    if (!outcome) return cells;
    const score = (s: { readonly loss: number; readonly accuracy: number } | undefined): string[] => (s ? [s.loss.toFixed(3), percent(s.accuracy)] : ["", ""]);
    return [...cells, ...score(outcome.test.overall), ...kinds.flatMap((k) => score(outcome.test.byKind[k])), outcome.seconds.toFixed(1)];
  });
  const reasons = rows.flatMap((row) => ("refused" in row ? [`${nameOf(row.set)}: ${row.refused[0]!.code} ${row.refused[0]!.message}`] : []));
  return [aligned([heading, ...lines], sides), ...(reasons.length ? ["", "refused:", ...reasons.map((r) => `  ${r}`)] : [])].join("\n");
}

/** What a machine gets, and `sweep.json` holds. */
function jsonOf(file: string, options: Options, rows: readonly Row[]): object {
  return {
    format: "moec-sweep/1",
    spec: file,
    over: Object.fromEntries(options.over),
    combinations: rows.map((row) => ({
      set: Object.fromEntries(row.set),
      ...("refused" in row
        ? { refused: jsonReport(row.refused, new Map()).diagnostics }
        : { trainable: row.costs.trainable, operations: row.costs.operations, memory: row.costs.memory }),
      ...(row.outcome ? { outcome: row.outcome } : {}),
    })),
  };
}
