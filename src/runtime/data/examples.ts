import { diagnostic, type Diagnostic } from "../../diagnostics/index.ts";
import { typeName } from "../../formats/json.ts";
import type { ManifestField } from "../../formats/manifest.ts";
import type { DataRow } from "./rows.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A row as token ids: prefix (BOS), prompt, completion, EOS. */
export interface Example {
  readonly ids: Int32Array;
  /** Index in `ids` of the first token that the model learns to give; at least 1. */
  readonly completionStart: number;
  readonly kind?: string;
  /** What the adapter's routers look at, by the manifest's fields. */
  readonly fields?: Readonly<Record<string, number>>;
  /** Index of the row in the list it came from. */
  readonly row: number;
}

export interface EncodeOptions {
  /** The most tokens of an example, BOS and EOS included; at least 2. */
  readonly length: number;
  /**
   * What becomes of a row with more tokens. "truncate" (default): the prompt loses tokens at its start, so that what
   * stands next to the completion stays; a completion that is too long alone is cut at its end, with a warning.
   * "skip": the row is left out, with a warning. "refuse": an error for each.
   */
  readonly tooLong?: "truncate" | "refuse" | "skip";
  /** Ends completions with the tokenizer's EOS, where it has one (default). */
  readonly appendEos?: boolean;
  /** Columns that every row must have: whole numbers below `values`, or any finite number (MOE5148). */
  readonly fields?: readonly ManifestField[];
  /** The data file, for messages. */
  readonly file?: string;
}

export interface EncodedData {
  readonly examples: readonly Example[];
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Tokenises rows. Prompt and completion are tokenised as one text, since a tokenizer may treat a text's first word
 * specially; the completion begins at the first token in which that differs from the prompt alone. A token that spans the
 * seam so belongs to the completion.
 */
export function encodeExamples(rows: readonly DataRow[], tokenizer: Tokenizer, options: EncodeOptions): EncodedData {
  const { length, tooLong = "truncate", appendEos = true, fields = [], file = "the data" } = options;
  const suffix = appendEos && tokenizer.eos !== undefined ? [tokenizer.eos] : [];
  const room = length - tokenizer.prefix.length;
  const examples: Example[] = [];
  const diagnostics: Diagnostic[] = [];
  const shortened: number[] = [];
  const skipped: number[] = [];
  rows.forEach((row, index) => {
    const faults = fields.flatMap((f) => fieldFault(f, row.extra[f.name]) ?? []);
    for (const fault of faults) if (diagnostics.length < 100) diagnostics.push(diagnostic("MOE5148", `${file}, line ${row.line}: ${fault}`, { help: "the adapter's router looks at this column, so every row needs it" }));
    if (faults.length) return;
    const { ids, seam, cut } = tokenize(row, tokenizer, room);
    const body = [...ids, ...suffix];
    const answer = body.length - seam;
    const fits = !cut && body.length <= room;
    const tokens = cut ? `more than ${room}` : `${body.length + tokenizer.prefix.length}`;
    if (!fits && tooLong === "refuse") {
      if (diagnostics.length < 100) diagnostics.push(diagnostic("MOE5140", `${file}, line ${row.line}: the row has ${tokens} tokens, length is ${length}`, { help: "raise length, shorten the row, or have long rows truncated or skipped" }));
      return;
    }
    if (!fits && tooLong === "skip") {
      skipped.push(row.line);
      return;
    }
    let from = 0;
    let to = body.length;
    if (!fits) {
      // Without a prefix one prompt token must stay: the first token of all has no context to be predicted from.
      const context = tokenizer.prefix.length > 0 || seam === 0 ? 0 : 1;
      const kept = Math.min(answer, room - context);
      if (kept < answer) {
        if (diagnostics.length < 100)
          diagnostics.push(diagnostic("MOE5142", `${file}, line ${row.line}: the completion alone has ${cut ? "at least " : ""}${answer} tokens, length is ${length}: its end is cut off`, { help: "raise length, or leave such rows out" }));
      } else shortened.push(row.line);
      to = seam + kept;
      from = Math.max(0, to - room);
    }
    const all = Int32Array.from([...tokenizer.prefix, ...body.slice(from, to)]);
    const completionStart = Math.max(1, tokenizer.prefix.length + seam - from);
    examples.push({ ids: all, completionStart, ...(row.kind === undefined ? {} : { kind: row.kind }), ...(fields.length ? { fields: Object.fromEntries(fields.map((f) => [f.name, row.extra[f.name] as number])) } : {}), row: index });
  });
  if (shortened.length > 0) diagnostics.push(diagnostic("MOE5141", `${file}: ${count(shortened, "prompt")} shortened to fit length ${length}: ${lines(shortened)}`));
  if (skipped.length > 0) diagnostics.push(diagnostic("MOE5143", `${file}: ${count(skipped, "row")} longer than length ${length} left out: ${lines(skipped)}`));
  return { examples, diagnostics };
}

/** What is wrong with a value of a field, in words; undefined where nothing is. */
export function fieldFault({ name, values }: ManifestField, value: unknown): string | undefined {
  const wanted = values === undefined ? "a number" : `a whole number from 0 to ${values - 1}`;
  if (value === undefined) return `the row has no "${name}", ${wanted}`;
  if (typeof value !== "number") return `"${name}" must be ${wanted}, found ${typeName(value)}`;
  const fits = values === undefined ? Number.isFinite(value) : Number.isInteger(value) && value >= 0 && value < values;
  return fits ? undefined : `"${name}" must be ${wanted}, found ${value}`;
}

/**
 * Tokens of a row without prefix and EOS, and where its completion begins. A token stands for at most `longestToken`
 * characters, so text that must lie beyond the kept tokens is cut off before it is tokenised: a line of megabytes costs
 * no more than one of a few thousand characters. `cut` tells that this happened.
 */
function tokenize(row: DataRow, tokenizer: Tokenizer, room: number): { ids: number[]; seam: number; cut: boolean } {
  const most = (room + 16) * tokenizer.longestToken; // a few tokens more, so that the kept ones do not see the cut
  const prompt = row.prompt.length > most ? wholeCharacters(row.prompt.slice(-most)) : row.prompt;
  const completion = row.completion.length > most ? wholeCharacters(row.completion.slice(0, most)) : row.completion;
  const cut = prompt.length < row.prompt.length || completion.length < row.completion.length;
  const alone = tokenizer.encode(prompt);
  const ids = tokenizer.encode(prompt + completion);
  let seam = 0;
  while (seam < alone.length && seam < ids.length && alone[seam] === ids[seam]) seam++;
  return { ids, seam, cut };
}

/** Drops half a surrogate pair at either end. */
function wholeCharacters(text: string): string {
  return text.replace(/^[\uDC00-\uDFFF]|[\uD800-\uDBFF]$/g, "");
}

function count(of: readonly unknown[], noun: string): string {
  return `${of.length} ${noun}${of.length === 1 ? "" : "s"}`;
}

function lines(numbers: readonly number[]): string {
  const shown = numbers.slice(0, 10).join(", ");
  return `line${numbers.length === 1 ? "" : "s"} ${shown}${numbers.length > 10 ? ", ..." : ""}`;
}
