import type { EvaluationReport, Score } from "../../runtime/index.ts";
import { openTarget, requireData, type RunOptions } from "../load.ts";
import { exitCodes, percent, table, type Terminal } from "../terminal.ts";

interface Options extends RunOptions {
  readonly data: string;
}

/** `moec eval DIR --data P`: loss and exact matches by kind, and the groups' shares of the gates by kind. */
export async function evaluate(terminal: Terminal, target: string, options: Options): Promise<number> {
  await requireData(options.data, "--data names it");
  const { adapter } = await openTarget(terminal, target, options);
  try {
    const report = await adapter.evaluate({ data: options.data, onNotice: (d) => terminal.show([d]) });
    if (terminal.json) terminal.printJson(report);
    else terminal.print(showReport(report));
    return exitCodes.fine;
  } finally {
    adapter.dispose();
  }
}

/** The report as two tables. */
export function showReport(report: EvaluationReport): string {
  const row = (name: string, s: Score): (string | number)[] => [name, s.samples, s.loss.toFixed(3), percent(s.accuracy)];
  const kinds = Object.entries(report.byKind).filter((entry): entry is [string, Score] => entry[1] !== undefined);
  const parts = [table([["kind", "rows", "loss", "exact"], ...kinds.map(([name, s]) => row(name, s)), row("all", report.overall)])];
  const groups = Object.keys(report.utilization);
  if (groups.length) {
    const shares = Object.entries(report.utilizationByKind).map(([kind, u]) => [kind, ...groups.map((g) => percent(u?.[g] ?? 0))]);
    parts.push(table([["share of the gates", ...groups], ...shares, ["all", ...groups.map((g) => percent(report.utilization[g] ?? 0))]]));
  }
  return parts.join("\n\n");
}
