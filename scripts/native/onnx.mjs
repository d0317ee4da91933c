#!/usr/bin/env node
/**
 * Installs ONNX Runtime for Node as `webgpu.mjs` installs WebGPU: the package goes to the cache folder, node_modules gets a
 * link. Its install step, which would download CUDA libraries that moec does not use, is left out. For CI and for trying it
 * out; a project that wants it for good says `ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30`.
 *
 * Usage: node scripts/native/onnx.mjs [FOLDER WITH A package.json]
 */
import { installPackages } from "./packages.mjs";

const version = "1.30.0";
installPackages(`onnxruntime-node-${version}`, { "onnxruntime-node": version });
