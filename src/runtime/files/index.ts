export { asDiagnostic, NodeHost } from "./node-host.ts";
export { atomicWrite, recoverFolder, writeFolderAtomically, type Content, type Disk } from "./atomic.ts";
export { loadTensor, loadTensors, notFinite, type LoadedTensor } from "./load-tensors.ts";
