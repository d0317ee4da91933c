/** Damerau-Levenshtein distance (optimal string alignment), with an upper bound to stop early. */
function distance(a: string, b: string, bound: number): number {
  if (Math.abs(a.length - b.length) > bound) return bound + 1;
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2]! + 1);
      row.push(best);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length]!;
}

/** The candidates that `name` is probably a misspelling of, nearest first; at most `limit`. */
export function nearest(name: string, candidates: Iterable<string>, limit = 3): string[] {
  const wanted = name.trim().toLowerCase();
  // One letter in three may be wrong, but never all of them: "d" is no misspelling of "a".
  const bound = Math.min(Math.max(1, Math.floor(wanted.length / 3)), wanted.length - 1);
  const scored: { candidate: string; d: number }[] = [];
  for (const candidate of new Set(candidates)) {
    const d = distance(wanted, candidate.toLowerCase(), bound);
    if (d <= bound) scored.push({ candidate, d });
  }
  scored.sort((x, y) => x.d - y.d || (x.candidate < y.candidate ? -1 : 1));
  return scored.slice(0, limit).map((s) => s.candidate);
}

/** `did you mean "x"?`, or nothing. */
export function didYouMean(name: string, candidates: Iterable<string>): string | undefined {
  const [first, second] = nearest(name, candidates, 2);
  if (first === undefined) return undefined;
  return second === undefined ? `did you mean "${first}"?` : `did you mean "${first}" or "${second}"?`;
}
