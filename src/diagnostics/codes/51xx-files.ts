import { codes } from "../row.ts";

/** 51xx: checkpoints, tokenizers, data files. */
export const fileCodes = codes({
  MOE5101: { severity: "error", title: "file not found", explain: "A file that the spec or the command names does not exist." },
});
