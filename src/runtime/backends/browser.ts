import type { BackendHost } from "./types.ts";

/**
 * A web page: the packages come from the page's bundle, the GPU from the browser. tfjs-backend-webgpu is optional, so
 * its name is kept from bundlers; a page that wants it imports it itself, or maps its name with an import map.
 */
export const browserHost: BackendHost = {
  async core() {
    return import("@tensorflow/tfjs-core");
  },
  has(name) {
    return name === "webgpu" || name.startsWith("@tensorflow/tfjs-backend-");
  },
  async load(name) {
    switch (name) {
      case "@tensorflow/tfjs-backend-wasm": {
        const module = await import("@tensorflow/tfjs-backend-wasm");
        return { module, version: module.version_wasm };
      }
      case "@tensorflow/tfjs-backend-cpu": {
        const module = await import("@tensorflow/tfjs-backend-cpu");
        return { module, version: module.version_cpu };
      }
      default: {
        const { findBackendFactory, version_core } = await import("@tensorflow/tfjs-core");
        if (findBackendFactory("webgpu")) return { module: undefined, version: version_core };
        return { module: await import(/* @vite-ignore */ /* webpackIgnore: true */ name), version: version_core };
      }
    }
  },
  wasmPath: () => undefined,
  async provideGpu() {
    const { navigator } = globalThis as { navigator?: { gpu?: unknown } };
    if (!navigator?.gpu) throw new Error("this browser does not offer WebGPU (navigator.gpu is missing).");
    return () => {};
  },
};
