import type { Severity } from "./diagnostic.ts";

/** One row of the catalogue: what `moec explain CODE` shows, and what a test checks the code with. */
export interface CodeRow {
  readonly severity: Severity;
  /** One line, without the particulars of a case. */
  readonly title: string;
  /** Why this is refused and what to do, in a few sentences of Markdown. */
  readonly explain: string;
  /** What has to be asked of the texts below for the code to be given; absent: to be checked. */
  readonly asked?: "merge";
  /** A `.moe` text that gives exactly this code when checked, where a text can. */
  readonly bad?: string;
  /** The same text repaired: it gives no diagnostic. */
  readonly good?: string;
}

/** Keeps the literal keys of a table of rows, so that a code is a type. */
export function codes<const K extends `MOE${number}`>(table: Record<K, CodeRow>): Readonly<Record<K, CodeRow>> {
  return table;
}
