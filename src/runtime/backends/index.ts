import { didYouMean, fail, DiagnosticError } from "../../diagnostics/index.ts";
import { browserHost } from "./browser.ts";
import { launch, reasonOf } from "./launch.ts";
import { nodeHost } from "./node/host.ts";
import { howToInstall, packagesOf } from "./packages.ts";
import { backendNames, type Backend, type BackendHost, type BackendName, type BackendReport, type StartOptions } from "./types.ts";

export { backendNames } from "./types.ts";
export type { Backend, BackendName, BackendReport, StartOptions, TensorFlow } from "./types.ts";
export { randomNormal, randomUniform } from "./random.ts";

/** `nodeHost` takes Node's modules when they are asked for, not when it is imported: a page may carry it. */
const host: BackendHost = typeof process === "object" && process.versions?.node !== undefined ? nodeHost : browserHost;

/**
 * Starts a backend and makes it the engine's active one. `auto` takes the first of `backendNames` that is installed and
 * works; on Node the native ones are tried in a child process first, so that a broken driver or add-on cannot end this
 * one, and a GPU that is only simulated is passed over.
 *
 * Throws a DiagnosticError: MOE5201 not installed, MOE5202 does not start, MOE5203 no such backend, MOE5204 two
 * TensorFlow libraries in one process, MOE5205 MOEC_WASM_THREADS or MOEC_ONNX_THREADS is no number of threads.
 */
export async function startBackend(name: BackendName | "auto", options: StartOptions = {}): Promise<Backend> {
  if (name === "auto") return startFastest(options);
  if (!backendNames.includes(name)) {
    const near = didYouMean(name, [...backendNames, "auto"]);
    fail("MOE5203", `There is no backend called ${JSON.stringify(name)}.`, {
      notes: [`Backends: ${backendNames.join(", ")}, and auto for the fastest that works.`],
      ...(near ? { help: near } : {}),
    });
  }
  return launch(name, host, options);
}

async function startFastest(options: StartOptions): Promise<Backend> {
  let last: unknown;
  for (const name of backendNames) {
    if (!packagesOf[name].every((p) => host.has(p)) || (name === "onnx" && !options.models)) continue;
    // wasm and cpu run no native code: they can be tried right here.
    const native = name !== "wasm" && name !== "cpu";
    const report = native && host.probe ? await host.probe(name) : undefined;
    if (report && (!report.usable || report.software)) {
      options.onSkip?.(report.usable ? { ...report, reason: `${report.device ?? "the GPU"} is no GPU but the CPU in its place.` } : report);
      continue;
    }
    try {
      const backend = await launch(name, host, options);
      if (!backend.software) return backend;
      await backend.dispose();
      options.onSkip?.({ name, usable: true, software: true, device: backend.device, reason: `${backend.device} is no GPU but the CPU in its place.` });
    } catch (error) {
      if (!(error instanceof DiagnosticError) || error.diagnostics[0]!.code === "MOE5205") throw error; // the user's mistake
      last = error;
      options.onSkip?.({ name, usable: false, reason: error.diagnostics[0]!.message });
    }
  }
  throw last ?? new DiagnosticError([]);
}

/**
 * Tries every backend and says of each whether it is usable, on what device and how fast, or why not and what to do.
 * On Node each is tried in a child process of its own, one after another so that the times can be compared.
 * Never rejects because of a backend; MOE5205 as above.
 */
export async function probeBackends(): Promise<BackendReport[]> {
  const reports: BackendReport[] = [];
  for (const name of backendNames) {
    const missing = packagesOf[name].filter((p) => !host.has(p));
    if (missing.length > 0) {
      reports.push({ name, usable: false, reason: `${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} not installed.`, help: howToInstall(name) });
    } else if (host.probe) {
      reports.push(await host.probe(name));
    } else {
      reports.push(await probeHere(name));
    }
  }
  return reports;
}

/** Where there are no child processes: starts the backend in place, and frees it. */
async function probeHere(name: BackendName): Promise<BackendReport> {
  try {
    const backend = await launch(name, host);
    const { version, device, software } = backend;
    await backend.dispose();
    return { name, usable: true, software, version, device };
  } catch (error) {
    return { name, usable: false, reason: reasonOf(error) };
  }
}
