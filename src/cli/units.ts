/** Numbers for people: three figures and a unit. */

/** 6738415616 reads "6.74 B": thousands, millions, billions, trillions. */
export function amount(n: number): string {
  return scaled(n, 1000, ["", "k", "M", "B", "T", "Q"]);
}

/** 13476831232 reads "12.6 GiB". */
export function byteAmount(n: number): string {
  return scaled(n, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
}

/** 0.0131 reads "1.31 %". */
export function share(x: number): string {
  return `${figures(100 * x)} %`;
}

function scaled(n: number, step: number, units: readonly string[]): string {
  let unit = 0;
  // Rounded first: 999,999 is 1 M, not 1000 k.
  while (unit < units.length - 1 && Number(n.toPrecision(3)) >= step) {
    n /= step;
    unit++;
  }
  return unit === 0 ? `${Math.round(n)}${units[0] ? ` ${units[0]}` : ""}` : `${figures(n)} ${units[unit]}`;
}

/** Three figures, or all of a whole number's. */
function figures(n: number): string {
  return n >= 100 ? n.toFixed(0) : n === 0 ? "0" : n.toPrecision(3);
}

/** Rows with a common width for each column; "r" stands right. Empty cells at a line's end leave no blanks. */
export function aligned(rows: readonly (readonly string[])[], sides: string): string {
  const widths = [...sides].map((_, c) => Math.max(...rows.map((r) => (r[c] ?? "").length)));
  return rows.map((r) => [...sides].map((side, c) => (side === "r" ? (r[c] ?? "").padStart(widths[c]!) : (r[c] ?? "").padEnd(widths[c]!))).join("  ").trimEnd()).join("\n");
}

/** [0, 1, 2, 5] reads "0–2, 5". */
export function ranges(numbers: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < numbers.length; ) {
    let end = i;
    while (end + 1 < numbers.length && numbers[end + 1] === numbers[end]! + 1) end++;
    parts.push(end === i ? String(numbers[i]) : end === i + 1 ? `${numbers[i]}, ${numbers[end]}` : `${numbers[i]}–${numbers[end]}`);
    i = end + 1;
  }
  return parts.join(", ");
}
