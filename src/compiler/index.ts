/** The compiler: a text and a host in, checked programs and artefacts out. Runs in Node and in a browser's page. */
export { checkText, chooseAdapter, folderOf, fromSpec, loadProgram, type Program, type ProgramOptions } from "./program.ts";
export { version } from "./version.ts";
export { compileAdapter, onnxEntriesIn, printGraph, printOnnxEntry, printProgram, printTypes, type Compiled, type Explanation } from "./compile.ts";
export { planCosts, type CostPlan, type MemoryPlan, type PlanOptions, type SiteCosts } from "./plan.ts";
