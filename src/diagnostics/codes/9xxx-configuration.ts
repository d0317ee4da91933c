import { codes } from "../row.ts";

/** 9xxx: command line and configuration. */
export const configCodes = codes({
  MOE9001: {
    severity: "error",
    title: "wrong usage",
    explain: "The command line is not understood: a command, an option or a value that moec does not have, or one that is missing. `moec --help` and `moec COMMAND --help` list what there is. Exit code 2.",
  },
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
  MOE9004: {
    severity: "error",
    title: "no such code",
    explain: "`moec explain` takes the code of a diagnostic, as MOE1001. Without a code it lists all.",
  },
  MOE9005: {
    severity: "error",
    title: "the folder holds a stopped run",
    explain:
      "Training would begin anew in a folder where an earlier run stopped before its end, and would throw that run's checkpoint away. " +
      "`--resume FOLDER` goes on with it, `--restart` gives it up, `--out` names another folder. A run that came to its end is replaced without asking.",
  },
  MOE9006: {
    severity: "error",
    title: "too many combinations",
    explain: "`moec sweep` takes every combination of the values that `--over` lists, and stops at 200 of them: a list too many is easily written. `--all` takes more.",
  },
  MOE9007: {
    severity: "error",
    title: "the folder holds another sweep",
    explain:
      "A sweep does not run again what is finished in its folder, so what lies there must be of the same spec, base, data, seed and steps; the message says which of them differ. " +
      "Name another folder with `-o`, or remove this one.",
  },
  MOE9008: {
    severity: "error",
    title: "files are there already",
    explain: "`moec init` makes a new project, `moec merge` a new checkpoint, and neither writes over a file: nothing was written. Name an empty folder, or move away the files that the message lists.",
  },
  MOE9010: {
    severity: "error",
    title: "a bug of moec",
    explain:
      "Something happened inside moec that should not be possible, whatever the spec says. Please report it with the command line and the spec; " +
      "with MOEC_DEBUG=1 in the environment the message shows where it happened. Exit code 70.",
  },
  MOE9030: {
    severity: "error",
    title: "Prettier's configuration cannot be read",
    explain: "`moec fmt` lays files out as Prettier does with the plugin, so it reads the same configuration: `.prettierrc` and its kin, and `.editorconfig`. The message says what is wrong with one of them.",
  },
});
