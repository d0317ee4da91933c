/** Prettier's document builders and printer: the one part of Prettier that formatting needs. */
export * as doc from "prettier/doc";
export type { Doc } from "prettier";
