import { codes } from "../row.ts";

/** 1xxx: the text does not follow the grammar. */
export const syntaxCodes = codes({
  MOE1001: { severity: "error", title: "unexpected text", explain: "The parser met something that cannot stand at this place." },
});
