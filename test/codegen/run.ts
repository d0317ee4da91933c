import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import * as tfCore from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import type { Manifest } from "../../src/formats/manifest.ts";
import { printTfjs } from "../../src/codegen/index.ts";
import type { Arg, Module, Tensor } from "../../src/ir/index.ts";
import * as runtime from "../../src/runtime/generated.ts";
import { printOnnxEntry, type Compiled } from "../../src/compiler/index.ts";
import type { CompiledProgram, Tf } from "../../src/runtime/program.ts";

export const tf: Tf = tfCore;
export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const runtimePath = join(root, "src/runtime/generated.ts");
setWasmPaths(join(root, "node_modules/@tensorflow/tfjs-backend-wasm/dist/"));

/** A manifest for modules that have none of their own. */
export function manifest(over: Partial<Manifest> = {}): Manifest {
  return {
    format: "moec/1",
    moec: "0.0.0",
    adapter: "Small",
    spec: { file: "small.moe", sha256: "0".repeat(64) },
    base: { model: "llama", path: "model", config: {}, vocabulary: 8 },
    groups: [],
    kinds: [],
    sites: [],
    weights: [],
    train: {
      epochs: 1, batch: 1, accumulate: 1, length: 8, seed: 0, clip: 0,
      optimizer: { name: "adamw", lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 },
      schedule: { name: "constant", warmup: 0 },
    },
    ...over,
  };
}

/** Prints a module's functions as JavaScript, loads them, and makes them for the current backend. */
export async function load(module: Module): Promise<Record<string, (...args: unknown[]) => unknown> & { dispose(): void }> {
  const text = await printTfjs([{ module, manifest: manifest() }], { types: false, format: false, expose: "functions" });
  const make = (await loadText(text))["Small"] as unknown as (tf: Tf) => never;
  return make(tf);
}

/**
 * Loads JavaScript as a module, from a data URL, so that no transform touches the text. Its runtime is the source's,
 * which only the test's own transform can read: the import becomes a look at a global.
 */
export async function loadText(text: string): Promise<Record<string, never>> {
  (globalThis as Record<string, unknown>)["moecRuntime"] = runtime;
  const bound = text.replace(/^import \{([^}]*)\} from "[^"]*";$/m, (_, names: string) => `const {${names}} = globalThis.moecRuntime;`);
  const url = `data:text/javascript;base64,${Buffer.from(bound).toString("base64")}`;
  return (await import(/* @vite-ignore */ url)) as never;
}

/** A program with its models beside it, for the backend that runs those. */
export function withModels(code: CompiledProgram, compiled: Compiled): CompiledProgram {
  return { ...code, onnx: async (entry) => printOnnxEntry(compiled, entry) };
}

const cache = join(root, "node_modules/.cache/moec-codegen", String(process.pid));

/** A folder of this run's own, from which node_modules is found; `clean` removes it. */
export function scratch(name: string): string {
  return join(cache, name);
}

export function clean(): void {
  rmSync(cache, { recursive: true, force: true });
}

/** A reference tensor on the device. */
export function put(arg: Arg): unknown {
  if (typeof arg === "number") return arg;
  if (Array.isArray(arg)) return (arg as readonly Tensor[]).map((t) => put(t));
  const t = arg as Tensor;
  const dtype = t.dtype === "f32" ? "float32" : t.dtype === "i32" ? "int32" : "bool";
  return tf.tensor(Array.from(t.data), t.axes.map((a) => a.size), dtype);
}

export function free(value: unknown): void {
  tf.dispose(value as never);
}

/** Both compilers, as commands. */
export const compilers = [
  ["TypeScript 5", ["node", join(root, "node_modules/typescript5/bin/tsc")]],
  ["TypeScript 7", ["node", join(root, "node_modules/typescript/bin/tsc")]],
] as const;

/** The compiler's complaints about some files; empty where there are none. */
export function complaints([command, ...args]: readonly string[], folder: string, files: readonly string[]): string {
  const flags = ["--noEmit", "--strict", "--noUncheckedIndexedAccess", "--allowArbitraryExtensions", "--allowImportingTsExtensions", "--skipLibCheck", "--target", "es2022", "--lib", "es2023,dom", "--module", "nodenext", "--moduleResolution", "nodenext", "--types", "node", "--ignoreConfig"];
  const known = args[0]!.includes("typescript5") ? flags.filter((f) => f !== "--ignoreConfig") : flags;
  try {
    execFileSync(command!, [...args, ...known, ...files], { cwd: folder, encoding: "utf8", stdio: "pipe" });
    return "";
  } catch (error) {
    return String((error as { stdout: unknown }).stdout);
  }
}
