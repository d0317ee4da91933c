import { columnsOf } from "../diagnostics/render/width.ts";
import { doc, type Doc } from "./doc.ts";
import { gapDoc, type Gap } from "./source.ts";

/** One item of a block. Neighbours of one `key` have their columns below each other. */
export interface Row {
  readonly key?: string;
  readonly columns: readonly Doc[];
}

/** An item in its place. */
export interface Placed {
  readonly row: Row;
  /** What stands between it and the one before; nothing where it goes on on that one's line. */
  readonly gap?: Gap;
  /** Comments that move up out of it; `apart` where a blank line follows one. */
  readonly raised: readonly Doc[];
  readonly apart: boolean;
}

/** Columns further apart than this are not aligned: the eye would lose the line. */
const maxPadding = 24;

/**
 * The items of a block below each other, with the columns of neighbours aligned where each fits its line. `room` is the
 * width of a line from the block's indentation on.
 */
export function layRows(placed: readonly Placed[], room: number): Doc[] {
  const lines = joinLines(placed, room);
  const out: Doc[] = [];
  for (let from = 0; from < lines.length; ) {
    let to = from + 1;
    const { key } = lines[from]!.row;
    if (key !== undefined) while (to < lines.length && lines[to]!.row.key === key && !lines[to]!.gap.blank && !lines[to]!.apart) to++;
    const widths = columnWidths(lines.slice(from, to).map((l) => l.row.columns), room);
    for (; from < to; from++) {
      const { row, gap, raised } = lines[from]!;
      out.push(gapDoc(gap, raised), ...padded(row.columns, widths));
    }
  }
  return out;
}

/**
 * Items that share a line as long as it holds them all, with commas; below each other, aligned, where not (in a group that
 * breaks).
 */
export function layInline(rows: readonly Row[], room: number): Doc[] {
  const { ifBreak, line } = doc.builders;
  const aligned = rows.every((r) => r.key !== undefined && r.key === rows[0]!.key);
  const widths = aligned ? columnWidths(rows.map((r) => r.columns), room) : [];
  return rows.map((row, i): Doc => {
    const apart = padded(row.columns, widths).map((part, n): Doc => (n % 2 === 1 ? ifBreak(part, " ") : part));
    return [i === 0 ? "" : [ifBreak("", ","), line], apart];
  });
}

interface Line {
  readonly row: Row;
  readonly gap: Gap;
  readonly raised: readonly Doc[];
  readonly apart: boolean;
}

const between: Gap = { trailing: [], own: [], separator: doc.builders.hardline, blank: false };

/** Items that share a line become one row where they fit it, and lines of their own where not. */
function joinLines(placed: readonly Placed[], room: number): Line[] {
  const lines: Line[] = [];
  for (let from = 0; from < placed.length; ) {
    let to = from + 1;
    while (to < placed.length && !placed[to]!.gap) to++;
    const group = placed.slice(from, to);
    const texts = group.map((p) => padded(p.row.columns, []));
    const widths = texts.map(measure);
    const fits = widths.every((w) => !w.open) && widths.reduce((sum, w) => sum + w.columns, 2 * (group.length - 1)) <= room;
    if (group.length > 1 && fits && !group.some((p) => p.raised.length > 0)) {
      lines.push({ row: { columns: [texts.map((t, i) => (i === 0 ? t : ["  ", t]))] }, gap: group[0]!.gap!, raised: [], apart: false });
    } else for (const p of group) lines.push({ row: p.row, gap: p.gap ?? between, raised: p.raised, apart: p.apart });
    from = to;
  }
  return lines;
}

/** Widths of all columns but the last; none where the rows are better left as they are. */
function columnWidths(rows: readonly (readonly Doc[])[], room: number): number[] {
  if (rows.length < 2) return [];
  const count = Math.max(...rows.map((r) => r.length)) - 1;
  const measured = rows.map((r) => r.map(measure));
  const widths: number[] = [];
  for (let c = 0; c < count; c++) {
    const cells = measured.flatMap((r) => (c < r.length - 1 ? [r[c]!] : []));
    if (cells.some((cell) => cell.open)) return [];
    const columns = cells.map((cell) => cell.columns);
    widths.push(Math.max(...columns));
    if (Math.max(...columns) - Math.min(...columns) > maxPadding) return [];
  }
  const tooLong = measured.some((r) => r.reduce((sum, cell, c) => sum + (c < r.length - 1 ? widths[c]! + 1 : cell.columns), 0) > room);
  return tooLong ? [] : widths;
}

function padded(columns: readonly Doc[], widths: readonly number[]): Doc[] {
  return columns.flatMap((column, c) => {
    if (c === columns.length - 1) return [column];
    const width = widths[c];
    return [column, " ".repeat(1 + (width === undefined ? 0 : width - measure(column).columns))];
  });
}

/** The width of a document's first line where nothing breaks that need not; `open` where it has further lines. */
export function measure(document: Doc): { readonly columns: number; readonly open: boolean } {
  let columns = 0;
  const stack: Doc[] = [document];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (typeof next === "string") columns += /^[ -~]*$/.test(next) ? next.length : columnsOf(next);
    else if (Array.isArray(next)) for (let i = next.length - 1; i >= 0; i--) stack.push(next[i]!);
    else if (next.type === "line") {
      if (next.hard) return { columns, open: true };
      if (!next.soft) columns++;
    } else if (next.type === "if-break") stack.push(next.flatContents);
    else if (next.type === "group" || next.type === "indent") stack.push(next.contents);
  }
  return { columns, open: false };
}
