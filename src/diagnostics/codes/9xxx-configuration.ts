import { codes } from "../row.ts";

/** 9xxx: command line and configuration. */
export const configCodes = codes({
  MOE9001: { severity: "error", title: "wrong usage", explain: "The command line is not understood." },
});
