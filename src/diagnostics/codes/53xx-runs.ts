import { codes } from "../row.ts";

/** 53xx: training, evaluation, verification. */
export const runCodes = codes({
  MOE5301: { severity: "error", title: "training diverged", explain: "The loss is not a finite number." },
});
