export * from "./graph.ts";
export * from "./errors.ts";
export * from "./size.ts";
export * from "./types.ts";
export * from "./tensor.ts";
export * from "./ops/index.ts";
export * from "./builder.ts";
