import { codes } from "../row.ts";

/** 9xxx: command line and configuration. */
export const configCodes = codes({
  MOE9001: { severity: "error", title: "wrong usage", explain: "The command line is not understood. `moec --help` and `moec COMMAND --help` list what there is." },
  MOE9002: {
    severity: "error",
    title: "a value for --set does not fit",
    explain: "`--set name=value` gives a value to a `param` of the spec. The name must be declared there and the value must be of its type.",
  },
  MOE9003: {
    severity: "error",
    title: "which adapter?",
    explain: "The command works on one adapter of the spec. Where a spec declares several, `--adapter NAME` says which.",
  },
});
