import type { Explanation } from "../compiler/index.ts";
import type { PlaceExplanation } from "../passes/index.ts";
import { ruleTexts } from "../passes/index.ts";
import { aligned, amount, byteAmount } from "./units.ts";

/** What the passes made of a spec, for people: each place, what was rewritten there, what was not and why. */
export function explanationText(explanation: Explanation): readonly string[] {
  const lines: string[] = ["", `Costs: one forward run of a place, in one layer, for ${amount(explanation.tokens)} tokens.`];
  for (const place of explanation.places) {
    lines.push("", `${place.places.join(", ")}${place.turns > 1 ? `  (${place.turns} layers)` : ""}`);
    const change = (unit: (n: number) => string, from: number, to: number): string[] => [unit(from), "→", unit(to), from > 0 ? `${(to / from).toFixed(2)}×` : ""];
    const costs = aligned([["operations", ...change(amount, place.before.flops, place.after.flops)], ["bytes moved", ...change(byteAmount, place.before.bytes, place.after.bytes)]], "lrlrr");
    lines.push(...costs.split("\n").map((line) => `  ${line}`));
    // Places that were joined may say the same.
    lines.push(...new Set(place.dispatch.map((d) => `  ${dispatchText(d)}${d.origin?.file ? `  (${d.origin.file}:${d.origin.line})` : ""}`)));
    for (const { rule, count } of place.rewrites) lines.push(`  done  ${ruleTexts[rule]}${count > 1 ? `, ${count} times` : ""} (rule ${rule})`);
    for (const { reason, origin } of place.left) lines.push(`  left  ${reason}${origin?.file ? `  (${origin.file}:${origin.line})` : ""}`);
    if (place.rewrites.length + place.left.length + place.dispatch.length === 0) lines.push("  nothing to rewrite");
  }
  lines.push("", explanation.keeps === "all" ? "Backward reads what forward kept." : "Of each layer what goes into it is kept: backward computes the rest again.");
  const { batch, peaks } = explanation;
  const held = peaks.map(({ entry, before, after }) => [entry, byteAmount(before), "→", byteAmount(after), before > 0 ? `${(after / before).toFixed(2)}×` : ""]);
  lines.push("", `The most that is held at once beside weights, ops in the order of the text → as they are ordered (${batch.sample} × ${batch.position} tokens):`);
  lines.push(...aligned(held, "lrlrr").split("\n").map((line) => `  ${line}`));
  if (explanation.laidOut.length) lines.push("", "Frozen weights in the order that products want, laid out once (at load, or when training begins):", ...explanation.laidOut.map((w) => `  ${w}`));
  if (explanation.unreached.length) lines.push("", "No gradient reaches:", ...explanation.unreached.map((w) => `  ${w}`));
  return lines;
}

/** Whether tokens were sorted by what they chose, or why not. */
function dispatchText({ axis, of, k, sorted, before, after }: PlaceExplanation["dispatch"][number]): string {
  if (k === undefined || !before || !after) return `left  every ${axis} for every token: some gates are 0, but no number bounds how many are not`;
  const change = (what: string, from: string, to: string): string => `${what} ${from} → ${to}`;
  const weighed = [
    change("operations", amount(before.flops), amount(after.flops)),
    change("bytes moved", byteAmount(before.bytes), byteAmount(after.bytes)),
    change("kernels", String(before.kernels), String(after.kernels)),
  ].join(", ");
  if (sorted) return `done  ${k} of ${of} for each token along ${axis}: tokens sorted, one product for each that has any (${weighed})`;
  if (k >= of) return `left  every ${axis} for every token: all ${of} are chosen`;
  return `left  every ${axis} for every token, though ${k} of ${of} are chosen: sorted, it would take longer (${weighed})`;
}
