import { existsSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { findPackage } from "../../src/runtime/backends/node/packages.ts";
import { probeInChild } from "../../src/runtime/backends/node/probe.ts";

/**
 * Parts that a test may need and a machine with nothing but Node lacks:
 * native: @tensorflow/tfjs-node works; webgpu: WebGPU works, on whatever device; onnx: onnxruntime-node works;
 * torch, peft, checker: Python imports them (the last is PyPI's onnx, whose checker knows what a model file must be);
 * browser: there is a Chromium; shared: the folder of oracles and checkpoints beside the repository.
 */
export type Part = "native" | "webgpu" | "onnx" | "torch" | "peft" | "checker" | "browser" | "shared";

const parts: readonly Part[] = ["native", "webgpu", "onnx", "torch", "peft", "checker", "browser", "shared"];

/** The parts that must be there: MOEC_REQUIRE, a list with commas. CI names them all, so nothing is skipped silently. */
export const required: readonly Part[] = (process.env["MOEC_REQUIRE"] ?? "")
  .split(",")
  .map((s) => s.trim())
  .filter((s) => s !== "")
  .map((s) => {
    if (!parts.includes(s as Part)) throw new Error(`MOEC_REQUIRE names ${JSON.stringify(s)}; parts are ${parts.join(", ")}`);
    return s as Part;
  });

/**
 * Whether a test that needs the part is to run: `it.skipIf(!(await available("torch")))("…", …)`. A part that
 * MOEC_REQUIRE names counts as there, so that the test runs and fails where it is not.
 */
export async function available(part: Part): Promise<boolean> {
  return required.includes(part) || (await present(part)) === undefined;
}

const found = new Map<Part, Promise<string | undefined>>();

/** Undefined where the part is there, else what is missing. Looked for once a process. */
export function present(part: Part): Promise<string | undefined> {
  let answer = found.get(part);
  if (!answer) found.set(part, (answer = look(part)));
  return answer;
}

async function look(part: Part): Promise<string | undefined> {
  switch (part) {
    case "native":
      return works("tfjs-node", ["@tensorflow/tfjs-node"]);
    case "webgpu":
      return works("webgpu", ["webgpu", "@tensorflow/tfjs-backend-webgpu"]);
    case "onnx":
      return works("onnx", ["onnxruntime-node"]);
    case "torch":
      return imports("torch");
    case "peft":
      return imports("peft");
    case "checker":
      return imports("onnx");
    case "browser":
      return existsSync(chromium) ? undefined : `there is no ${chromium} (MOEC_CHROMIUM names another)`;
    case "shared":
      return existsSync(shared) ? undefined : "there is no ../shared";
  }
}

async function works(name: "tfjs-node" | "webgpu" | "onnx", packages: readonly string[]): Promise<string | undefined> {
  const missing = packages.filter((p) => !findPackage(p));
  if (missing.length > 0) return `${missing.join(" and ")} not installed`;
  const report = await probeInChild(name);
  return report.usable ? undefined : report.reason;
}

/** The Python that the tests run: MOEC_PYTHON, else the project's .venv, else python3. */
export const python: string = process.env["MOEC_PYTHON"] ?? (existsSync(".venv/bin/python") ? ".venv/bin/python" : "python3");

/** The browser that the tests run: MOEC_CHROMIUM, else Debian's. */
export const chromium: string = process.env["MOEC_CHROMIUM"] ?? "/usr/bin/chromium";

/** The folder of oracles, checkpoints and data beside the repository. */
export const shared = "../shared";

function imports(module: string): string | undefined {
  const done = spawnSync(python, ["-c", `import importlib.util, sys; sys.exit(importlib.util.find_spec("${module}") is None)`]);
  return done.status === 0 ? undefined : `${python} has no module ${module}`;
}
