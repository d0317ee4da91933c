import { codes } from "../row.ts";

/** 2xxx: names, kinds and types. */
export const nameCodes = codes({
  MOE2001: { severity: "error", title: "unknown name", explain: "A name is used that nothing in scope declares." },
});
