import { codes } from "../row.ts";

/** 52xx: backends. */
export const backendCodes = codes({
  MOE5201: {
    severity: "error",
    title: "backend not installed",
    explain:
      "The backend that was asked for needs a package that is neither beside moec nor in the project of the working directory. " +
      "Only wasm and cpu come with moec; the native ones and WebGPU are optional and installed by those who want them. " +
      "`moec doctor` lists every backend and how to get it; `--backend auto` takes the fastest that works.",
  },
  MOE5202: {
    severity: "error",
    title: "backend does not start",
    explain:
      "The packages of the backend are installed, but it could not be started: a native add-on that was not built or was built " +
      "for another machine, a library that is missing, no GPU, or a GPU without a driver. The message is the backend's own reason. " +
      "`moec doctor` tries every backend apart and says what to do; `--backend wasm` works everywhere.",
  },
  MOE5203: {
    severity: "error",
    title: "unknown backend",
    explain: "Backends are tfjs-node-gpu, onnx, tfjs-node, webgpu, wasm and cpu; auto takes the fastest of them that works on this machine.",
  },
  MOE5204: {
    severity: "error",
    title: "two TensorFlow libraries in one process",
    explain:
      "tfjs-node and tfjs-node-gpu each bring TensorFlow's own library and register it under one name, so a process can hold " +
      "only the one that was started first. Use one of the two, or two processes.",
  },
  MOE5205: {
    severity: "error",
    title: "no number of threads",
    explain:
      "The variables MOEC_WASM_THREADS and MOEC_ONNX_THREADS set how many threads these backends run on in Node: a whole number of at " +
      "least 1, at most 8 for wasm. Without them moec takes half of the cores, or of a container's share of them (wasm: up to four). " +
      "More threads than free cores cost far more than they give.",
  },
  MOE5206: {
    severity: "error",
    title: "no ONNX models",
    explain:
      "The backend onnx runs a program's entries as ONNX models. The command line makes them itself; a module that `moec build` " +
      "wrote has them in files of their own, which `moec build --onnx` writes and `load` is told the folder of.",
  },
  MOE5207: {
    severity: "error",
    title: "ONNX model of another spec",
    explain:
      "The model's file was written from another spec than the program that is to run it, or from an older text of it. Build both " +
      "again with `moec build --onnx`.",
  },
});
