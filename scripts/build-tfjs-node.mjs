#!/usr/bin/env node
/**
 * Builds the native add-on of @tensorflow/tfjs-node (or, with --cuda, of tfjs-node-gpu) against the TensorFlow C library
 * that the project's own Python wheels carry. The package's install script downloads a prebuilt library of 2022 from a
 * bucket that is not reachable everywhere, and whose GPU build wants CUDA 11.2; the wheels are current and on PyPI.
 *
 * Everything lies in a cache folder (.native/); node_modules only gets a link, so package.json, the lock file and other
 * packages stay as they are. Run again, it does what is missing: usually nothing.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { link } from "./native/link.mjs";
import { run, step, StepError } from "./native/run.mjs";

const TFJS_VERSION = "4.22.0";
const TENSORFLOW_VERSION = "2.21.0";
/** The highest Node-API version that the package's manifest lists; it looks for its binding in lib/napi-v8. */
const NAPI_VERSION = 8;

const HELP = `Usage: node scripts/build-tfjs-node.mjs [options]

Builds @tensorflow/tfjs-node ${TFJS_VERSION} against the C library in TensorFlow's Python wheel
and links it into node_modules. Needs Linux, Node's headers, a C++ compiler, make,
Python 3 with pip, and npm. Nothing is written outside the cache and the one link.
The project is moec's own folder in a clone, and where you are for an installed moec.

  --cuda              build @tensorflow/tfjs-node-gpu against the CUDA wheel (several GB)
  --no-cuda-libraries with --cuda: use the CUDA libraries of the system, not pip's
  --into DIR          link into DIR/node_modules (default: the project)
  --cache DIR         where to build (default: .native in the project)
  --tensorflow V      version of the wheel (default: ${TENSORFLOW_VERSION})
  --wheel FILE        use this wheel instead of asking pip
  --python PROGRAM    (default: python3)
  --nodedir DIR       where Node's headers are, in include/node (default: the running Node's prefix)
  --force             build again from the start
  --help              show this text
`;

function main() {
  const options = readOptions();
  const home = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
  // Of an installed package it is the project around it that gets the link: the package's own folder is npm's to replace.
  const project = home.split(path.sep).includes("node_modules") ? process.cwd() : home;
  const into = path.resolve(options.into ?? project);
  const cache = path.resolve(options.cache ?? path.join(project, ".native"));
  const flavour = options.cuda ? { name: "@tensorflow/tfjs-node-gpu", wheel: "tensorflow" } : { name: "@tensorflow/tfjs-node", wheel: "tensorflow-cpu" };
  const tensorflow = options.wheel ? versionOfWheel(options.wheel) : options.tensorflow ?? TENSORFLOW_VERSION;
  const python = options.python ?? "python3";

  if (process.platform !== "linux") {
    throw new StepError(`This script builds on Linux only, not on ${process.platform}.`, `There, \`npm install ${flavour.name}@${TFJS_VERSION}\` brings a prebuilt library.`);
  }

  const library = path.join(cache, `${flavour.wheel}-${tensorflow}`);
  const stage = path.join(cache, `${path.basename(flavour.name)}-${TFJS_VERSION}-tf${tensorflow}-node${process.versions.modules}-${process.arch}`);
  const root = path.join(stage, "node_modules", ...flavour.name.split("/"));
  const binding = path.join(root, "lib", `napi-v${NAPI_VERSION}`, "tfjs_binding.node");
  if (options.force) for (const folder of [library, stage]) fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(cache, { recursive: true });

  step(`TensorFlow ${tensorflow} (${flavour.wheel})`, () => provideLibrary({ library, wheel: options.wheel, wheelName: flavour.wheel, tensorflow, python, cache }));
  if (options.cuda && !options["no-cuda-libraries"]) step("CUDA libraries", () => provideCuda({ library, tensorflow, python }));
  step(`${flavour.name} ${TFJS_VERSION}`, () => providePackage({ stage, root, name: flavour.name }));
  step("the add-on", () => buildBinding({ root, binding, library, nodedir: options.nodedir }));
  step("a product on it", () => tryPackage(root));
  step(`link in ${path.relative(process.cwd(), path.join(into, "node_modules")) || "node_modules"}`, () => link(root, path.join(into, "node_modules", ...flavour.name.split("/"))));
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        cuda: { type: "boolean" },
        "no-cuda-libraries": { type: "boolean" },
        into: { type: "string" },
        cache: { type: "string" },
        tensorflow: { type: "string" },
        wheel: { type: "string" },
        python: { type: "string" },
        nodedir: { type: "string" },
        force: { type: "boolean" },
        help: { type: "boolean" },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    return values;
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${HELP}`);
    process.exit(2);
  }
}

function versionOfWheel(file) {
  const match = /^tensorflow(?:_cpu)?-([^-]+)-/.exec(path.basename(file));
  if (!match || !fs.existsSync(file)) throw new StepError(`--wheel ${file}: there is no such TensorFlow wheel.`);
  return match[1];
}

/** The C library and its headers, unpacked. The marker is written last, so a broken-off step is done again. */
function provideLibrary({ library, wheel, wheelName, tensorflow, python, cache }) {
  const done = path.join(library, ".complete");
  if (fs.existsSync(done)) return "there already";
  fs.rmSync(library, { recursive: true, force: true });
  const downloads = path.join(cache, "download");
  let file = wheel;
  if (!file) {
    fs.rmSync(downloads, { recursive: true, force: true });
    file = downloadWheel({ downloads, wheelName, tensorflow, python });
  }
  const half = `${library}.part`;
  fs.rmSync(half, { recursive: true, force: true });
  run("Unpacking the wheel", python, [fileURLToPath(new URL("./native/wheel.py", import.meta.url)), path.resolve(file), half]);
  fs.writeFileSync(path.join(half, ".complete"), `${path.basename(file)}\n`);
  fs.renameSync(half, library);
  fs.rmSync(downloads, { recursive: true, force: true });
  return path.basename(file);
}

function downloadWheel({ downloads, wheelName, tensorflow, python }) {
  const base = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", downloads];
  const help = `Is ${python} there, with pip and a way to PyPI? A wheel that you have already can be named with --wheel.`;
  try {
    run("Downloading the wheel", python, [...base, `${wheelName}==${tensorflow}`], { help });
  } catch (first) {
    // The C library does not depend on Python's version, so a wheel for another one serves too.
    const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
    const other = ["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", ...["2_27", "2_28", "2_17"].flatMap((v) => ["--platform", `manylinux_${v}_${machine}`])];
    try {
      run("Downloading the wheel", python, [...base, ...other, `${wheelName}==${tensorflow}`], { help });
    } catch {
      throw first;
    }
  }
  const file = fs.readdirSync(downloads).find((name) => name.endsWith(".whl"));
  if (!file) throw new StepError("Downloading the wheel: pip left no file.", help);
  return path.join(downloads, file);
}

/**
 * pip's CUDA packages beside the library: its own search path (RUNPATH) looks for them in ../nvidia, where they lie in
 * a Python installation too.
 */
function provideCuda({ library, tensorflow, python }) {
  const done = path.join(library, ".cuda-complete");
  if (fs.existsSync(done)) return "there already";
  // TensorFlow's own list of what it was built with, read from the metadata of the wheel that pip would install.
  run("Installing the CUDA libraries", python, ["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", path.join(library, "site"), `tensorflow[and-cuda]==${tensorflow}`]);
  fs.symlinkSync(path.join("site", "nvidia"), path.join(library, "nvidia"));
  fs.rmSync(path.join(library, "site", "tensorflow"), { recursive: true, force: true });
  fs.writeFileSync(done, "");
  return undefined;
}

/** The npm package without its install script, in a folder of its own: no other package is touched. */
function providePackage({ stage, root, name }) {
  if (fs.existsSync(path.join(stage, ".complete"))) return "there already";
  fs.rmSync(stage, { recursive: true, force: true });
  fs.mkdirSync(stage, { recursive: true });
  fs.writeFileSync(path.join(stage, "package.json"), '{ "private": true }\n');
  run("Installing the package", "npm", ["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", `${name}@${TFJS_VERSION}`], { cwd: stage });
  if (!fs.existsSync(path.join(root, "binding.gyp"))) throw new StepError(`Installing the package: npm left no ${name}.`);
  fs.writeFileSync(path.join(stage, ".complete"), "");
  return undefined;
}

function buildBinding({ root, binding, library, nodedir }) {
  if (fs.existsSync(binding)) return "there already";
  const headers = path.resolve(nodedir ?? path.resolve(process.execPath, "..", ".."));
  const gyp = nodeGyp();
  const args = [gyp, "rebuild", `--module_name=tfjs_binding`, `--module_path=${path.dirname(binding)}`, `--napi_build_version=${NAPI_VERSION}`];
  // Without headers beside Node, node-gyp downloads them.
  if (fs.existsSync(path.join(headers, "include", "node", "node_api.h"))) args.push(`--nodedir=${headers}`);
  else if (nodedir) throw new StepError(`--nodedir ${nodedir}: there is no include/node/node_api.h in it.`);

  const deps = path.join(root, "deps");
  fs.rmSync(deps, { recursive: true, force: true });
  fs.mkdirSync(path.join(deps, "lib"), { recursive: true });
  const unpacked = path.join(library, "tensorflow");
  fs.symlinkSync(path.relative(deps, path.join(unpacked, "include")), path.join(deps, "include"));
  // The add-on asks the linker for -ltensorflow; the wheel's library of that interface is called tensorflow_cc, and
  // that is the name it is loaded by.
  for (const [link, file] of [
    ["libtensorflow_cc.so.2", "libtensorflow_cc.so.2"],
    ["libtensorflow_framework.so.2", "libtensorflow_framework.so.2"],
    ["libtensorflow.so", "libtensorflow_cc.so.2"],
    ["libtensorflow_framework.so", "libtensorflow_framework.so.2"],
  ]) {
    fs.symlinkSync(path.relative(path.join(deps, "lib"), path.join(unpacked, file)), path.join(deps, "lib", link));
  }
  run("Building the add-on", process.execPath, args, { cwd: root, help: "It needs a C++ compiler, make and Python 3 (Debian: apt install build-essential python3), and Node's headers (--nodedir)." });
  if (!fs.existsSync(binding)) throw new StepError("Building the add-on: node-gyp ended well but left no binding.");
  fs.rmSync(path.join(root, "build"), { recursive: true, force: true });
  return undefined;
}

/** npm brings node-gyp; `require.resolve` from npm's own folder finds it. */
function nodeGyp() {
  const npmRoot = run("Asking npm where it is", "npm", ["root", "--global", "--loglevel=error"]).trim();
  for (const from of [path.join(npmRoot, "npm", "package.json"), path.join(npmRoot, "package.json")]) {
    try {
      return createRequire(from).resolve("node-gyp/bin/node-gyp.js");
    } catch {
      // The next place.
    }
  }
  throw new StepError("node-gyp, which npm brings, cannot be found.", "Install it with `npm install --global node-gyp`.");
}

/** In a process of its own: what loads a library of 800 MB may also crash. */
function tryPackage(root) {
  const program = `
    const util = require("node:util");
    util.isNullOrUndefined ??= (v) => v === null || v === undefined;
    util.isArray ??= Array.isArray;
    console.warn = () => {};
    const tf = require(process.argv[1]);
    const a = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    tf.matMul(a, a).data().then((d) => process.stdout.write(Array.from(d).join() + " " + tf.backend().binding.TF_Version));
  `;
  const said = run("Using the add-on", process.execPath, ["--eval", program, root], { env: { TF_CPP_MIN_LOG_LEVEL: "2" } });
  const [product, version] = said.trim().split(" ");
  if (product !== "7,10,15,22") throw new StepError(`The add-on multiplies wrongly: ${said}`);
  return `TensorFlow ${version} answers`;
}

try {
  main();
} catch (error) {
  if (!(error instanceof StepError)) throw error;
  process.stderr.write(`\n${error.message}\n${error.help ? `\n${error.help}\n` : ""}`);
  process.exit(1);
}
