/** What generated code and programs import: `moec/runtime`. */
export {
  Adapter,
  type AdapterEvaluateOptions,
  type AdapterGenerateOptions,
  type AdapterTrainOptions,
  type DataSource,
  type Generation,
  type LoadOptions,
  type Row,
} from "./adapter.ts";
export { ADAPTER_FILE, MANIFEST_FILE, openAdapter, PEFT_FILE, readManifest, saveAdapter } from "./adapter-files.ts";
export { backendNames, probeBackends, randomNormal, randomUniform, startBackend, type Backend, type BackendName, type BackendReport, type StartOptions } from "./backends/index.ts";
export * from "./generated.ts";
export { evaluateModel, type EvaluateOptions, type EvaluationReport, type Score } from "./evaluate.ts";
export { generateTokens, type SampleOptions, type StopReason } from "./generate.ts";
export { initialValues } from "./initialize.ts";
export type { StepMetrics, Utilization } from "./metrics.ts";
export { MemoryOutput, type OutputHost } from "./output.ts";
export { peftMisfits } from "./peft.ts";
export type { BatchInput, CompiledProgram, Evaluation, Gradients, Updated, WeightStore } from "./program.ts";
export { RunFolder, type Checkpoint, type RunState } from "./run-folder.ts";
export { disposeStore, tensorsOf, type Model } from "./store.ts";
export { openCheckpoint, openTensorFile } from "./tensor-file.ts";
export { trainRun, type TrainEnd, type TrainOptions } from "./train.ts";
export { adapterTensors, layOutForTraining, placeWeights, restoreTensors, tensorFileOf, type NamedTensor, type TensorFile } from "./weights.ts";
export type { ManifestSite, ManifestWeight, TrainSettings } from "../formats/manifest.ts";
export { DiagnosticError, type Diagnostic } from "../diagnostics/index.ts";
