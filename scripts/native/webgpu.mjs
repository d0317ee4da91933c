#!/usr/bin/env node
/**
 * Installs WebGPU for Node without touching package.json, the lock file or other packages: `webgpu` (Dawn) and
 * tfjs-backend-webgpu go to the cache folder, node_modules gets two links. For CI and for trying it out; a project that
 * wants WebGPU for good says `npm install webgpu @tensorflow/tfjs-backend-webgpu@4.22.0`. (`npm install --no-save` of
 * the two does nothing in moec's own tree: it takes optional peers for already satisfied.)
 *
 * Usage: node scripts/native/webgpu.mjs [FOLDER WITH A package.json]
 */
import { installPackages } from "./packages.mjs";

const version = "0.6.2";
installPackages(`webgpu-${version}`, { webgpu: version, "@tensorflow/tfjs-backend-webgpu": "4.22.0" });
