import { codes } from "../row.ts";

/** 4xxx: the graph. */
export const graphCodes = codes({
  MOE4001: { severity: "error", title: "a constraint of an operation does not hold", explain: "The graph verifier found an operation whose operands break a numbered constraint. Lowering should never make one: this is a bug of moec." },
});
