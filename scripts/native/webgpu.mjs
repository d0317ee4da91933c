#!/usr/bin/env node
/**
 * Installs WebGPU for Node without touching package.json, the lock file or other packages: `webgpu` (Dawn) and
 * tfjs-backend-webgpu go to the cache folder, node_modules gets two links. For CI and for trying it out; a project that
 * wants WebGPU for good says `npm install webgpu @tensorflow/tfjs-backend-webgpu@4.22.0`. (`npm install --no-save` of
 * the two does nothing in moec's own tree: it takes optional peers for already satisfied.)
 *
 * Usage: node scripts/native/webgpu.mjs [FOLDER WITH A package.json]
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { link } from "./link.mjs";
import { run, step, StepError } from "./run.mjs";

const PACKAGES = { webgpu: "0.6.2", "@tensorflow/tfjs-backend-webgpu": "4.22.0" };

try {
  const project = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..");
  const into = path.resolve(process.argv[2] ?? project);
  const wanted = Object.entries(PACKAGES).map(([name, version]) => `${name}@${version}`);
  const stage = path.join(project, ".native", `webgpu-${PACKAGES.webgpu}`);
  const done = path.join(stage, ".complete");
  step(wanted.join(" and "), () => {
    if (fs.existsSync(done)) return "there already";
    fs.rmSync(stage, { recursive: true, force: true });
    fs.mkdirSync(stage, { recursive: true });
    fs.writeFileSync(path.join(stage, "package.json"), '{ "private": true }\n');
    run("Installing the packages", "npm", ["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", ...wanted], { cwd: stage });
    fs.writeFileSync(done, "");
    return undefined;
  });
  for (const name of Object.keys(PACKAGES)) {
    step(`link to ${name}`, () => link(path.join(stage, "node_modules", ...name.split("/")), path.join(into, "node_modules", ...name.split("/"))));
  }
} catch (error) {
  if (!(error instanceof StepError)) throw error;
  process.stderr.write(`\n${error.message}\n${error.help ? `\n${error.help}\n` : ""}`);
  process.exit(1);
}
