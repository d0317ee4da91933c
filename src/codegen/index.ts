/** From a graph to files: one folder a target, each a table from op to text and a printer. */
export { CodegenError } from "./errors.ts";
export type { ProgramInfo } from "./info.ts";
export { forTrainingAlone, manifestOf, printManifest } from "./manifest.ts";
export { exportNames } from "./names.ts";
export { onnxEntriesOf, printOnnx, printOnnxFunction, type OnnxOptions } from "./onnx/index.ts";
export { printTfjs, type Compiled, type TfjsOptions } from "./tfjs/index.ts";
export { printDeclarations, type DeclarationOptions, type Declared } from "./types/index.ts";
