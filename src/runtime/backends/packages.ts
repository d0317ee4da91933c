import type { BackendName } from "./types.ts";

/** The packages a backend needs beyond tfjs-core, the one that it is named after last. */
export const packagesOf: Readonly<Record<BackendName, readonly string[]>> = {
  "tfjs-node-gpu": ["@tensorflow/tfjs-node-gpu"],
  onnx: ["@tensorflow/tfjs-backend-cpu", "onnxruntime-node"],
  "tfjs-node": ["@tensorflow/tfjs-node"],
  webgpu: ["webgpu", "@tensorflow/tfjs-backend-webgpu"],
  wasm: ["@tensorflow/tfjs-backend-wasm"],
  cpu: ["@tensorflow/tfjs-backend-cpu"],
};

/** The engine's name of a backend: that under which its package registers itself, or of the one that holds its tensors. */
export const engineNameOf: Readonly<Record<BackendName, string>> = {
  "tfjs-node-gpu": "tensorflow",
  onnx: "cpu",
  "tfjs-node": "tensorflow",
  webgpu: "webgpu",
  wasm: "wasm",
  cpu: "cpu",
};

/** What to do to get a backend that is not installed. */
export function howToInstall(name: BackendName): string {
  switch (name) {
    case "tfjs-node-gpu":
      return "Install it with `npm install @tensorflow/tfjs-node-gpu@4.22.0`, or build it against a current CUDA with `node scripts/build-tfjs-node.mjs --cuda` (docs/backends.md).";
    case "onnx":
      return "Install it with `ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30` (without the variable it downloads CUDA libraries that are not used; docs/backends.md).";
    case "tfjs-node":
      return "Install it with `npm install @tensorflow/tfjs-node@4.22.0`, or build it with `node scripts/build-tfjs-node.mjs` (docs/backends.md).";
    case "webgpu":
      return "Install it with `npm install webgpu @tensorflow/tfjs-backend-webgpu@4.22.0` (docs/backends.md).";
    case "wasm":
    case "cpu":
      return "It comes with moec: run `npm install` again.";
  }
}

/** What to do about a backend that is installed and does not work. */
export function howToRepair(name: BackendName): string {
  switch (name) {
    case "tfjs-node-gpu":
      return "It needs an NVIDIA GPU, its driver, and the CUDA libraries its TensorFlow was built for; `node scripts/build-tfjs-node.mjs --cuda` builds it against a current CUDA (docs/backends.md).";
    case "onnx":
      return "onnxruntime-node has binaries for Linux (glibc 2.28 or later) and Windows on x64 and arm64, and for macOS on arm64.";
    case "tfjs-node":
      return "Its native add-on is missing or does not fit this machine: `node scripts/build-tfjs-node.mjs` builds one (docs/backends.md).";
    case "webgpu":
      return "It needs a GPU with a Vulkan, Metal or Direct3D 12 driver; on Linux also the Vulkan loader (Debian: `apt install libvulkan1`).";
    case "wasm":
    case "cpu":
      return "It comes with moec: run `npm install` again.";
  }
}
