import { codes } from "../row.ts";

/** 3xxx: axes, sizes, paths and the checkpoint. */
export const shapeCodes = codes({
  MOE3001: { severity: "error", title: "axes do not fit", explain: "The axes of the operands do not fit the operation." },
});
