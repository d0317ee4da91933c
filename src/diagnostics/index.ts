export * from "./diagnostic.ts";
export { catalogue, type Code } from "./catalogue.ts";
export type { CodeRow } from "./row.ts";
export { didYouMean, nearest } from "./nearest.ts";
