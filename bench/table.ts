import type { Measured } from "./measure.ts";

/** What one side of a comparison took. */
export interface Amount {
  readonly name: string;
  readonly median: number;
  /** Absent where every run gives the same number: bytes. */
  readonly quartiles?: readonly [number, number];
  /** Milliseconds of processor time. */
  readonly cpu?: number;
}

/** One comparison, measured in one run. */
export interface Row {
  /** What is compared, and in which setting. */
  readonly what: string;
  readonly unit: "ms" | "MB";
  readonly ours: Amount;
  readonly theirs: Amount;
  /** `most`: ours is at most so many times theirs. `least`: theirs is at least so many times ours. */
  readonly target?: { readonly most: number } | { readonly least: number };
  /** The other side does the same work: without a target too, the ratio says how many times as fast, or as small, ours is. */
  readonly rival?: true;
}

/** Rows of one benchmark on one backend. */
export interface Rows {
  readonly backend: string;
  readonly rows: readonly Row[];
}

export function amount({ name, median, quartiles, cpu }: Measured): Amount {
  return { name, median, quartiles, cpu };
}

/** The measured side of a name. */
export function sideOf(measured: readonly Measured[], name: string): Measured {
  const found = measured.find((m) => m.name === name);
  if (!found) throw new Error(`no side is called "${name}"`);
  return found;
}

/** Ours over theirs where the target is a bound on the cost, else theirs over ours: how many times as fast, or as small. */
export function ratioOf({ ours, theirs, target, rival }: Row): { readonly ratio: number; readonly cpu?: number; readonly text: string; readonly met?: boolean } {
  const least = turned({ target, rival });
  const [over, under] = least ? [theirs, ours] : [ours, theirs];
  const ratio = over.median / under.median;
  const cpu = over.cpu !== undefined && under.cpu !== undefined ? over.cpu / under.cpu : undefined;
  const times = ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(1);
  const bound = target === undefined ? undefined : "least" in target ? ratio >= target.least : ratio <= target.most;
  return { ratio, ...(cpu === undefined ? {} : { cpu }), text: least ? `1/${times}` : `${times}×`, ...(bound === undefined ? {} : { met: bound }) };
}

function turned({ target, rival }: Pick<Row, "target" | "rival">): boolean {
  return target === undefined ? rival === true : "least" in target;
}

/** The table as Markdown: what a terminal shows and a document can hold. Targets are set for the sizes of a full run. */
export function printTable(parts: readonly Rows[], { targets = true } = {}): string {
  const head = ["what", "backend", "moec", "against", "", "moec is", "in processor time", "target"];
  const lines = parts.flatMap(({ backend, rows }) =>
    rows.map((row) => {
      const { text, cpu, met } = ratioOf(row);
      const least = turned(row);
      const bound = row.target === undefined || !targets ? "" : "least" in row.target ? `≤ 1/${row.target.least}` : `≤ ${row.target.most}×`;
      return [row.what, backend, show(row.ours, row.unit), row.theirs.name, show(row.theirs, row.unit), text, cpu === undefined ? "" : `${least ? "1/" : ""}${cpu.toFixed(2)}${least ? "" : "×"}`, `${bound}${targets && met === false ? "  missed" : ""}`];
    }),
  );
  const widths = head.map((h, i) => Math.max(3, h.length, ...lines.map((l) => l[i]!.length)));
  const line = (cells: readonly string[]): string => `| ${cells.map((c, i) => c.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(head), `|${widths.map((w) => "-".repeat(w + 2)).join("|")}|`, ...lines.map(line)].join("\n");
}

function show({ median, quartiles }: Amount, unit: Row["unit"]): string {
  const digits = Math.max(median, ...(quartiles ?? [])) < 100 ? 1 : 0;
  return `${median.toFixed(digits)} ${unit}${quartiles ? ` (${quartiles.map((q) => q.toFixed(digits)).join("–")})` : ""}`;
}
