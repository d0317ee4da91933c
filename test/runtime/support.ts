import type { Manifest } from "../../src/formats/manifest.ts";
import { DiagnosticError, type Diagnostic } from "../../src/diagnostics/index.ts";
import type { Backend } from "../../src/runtime/backends/index.ts";
import { MemoryOutput } from "../../src/runtime/output.ts";
import type { Model } from "../../src/runtime/store.ts";
import { disposeStore } from "../../src/runtime/store.ts";
import { adapterTensors, placeWeights } from "../../src/runtime/weights.ts";
import { baseFile, manifest, tinyProgram, type TinyOptions } from "./tiny.ts";

/** The tiny model, fresh on a backend. */
export async function tinyModel(backend: Backend, options: TinyOptions & { readonly seed?: number } = {}): Promise<Model> {
  const program = tinyProgram(options);
  const weights = await placeWeights({ manifest: program.manifest, backend, base: baseFile(), seed: options.seed ?? 7 });
  return { manifest: program.manifest, entries: program.create(backend.tf), backend, weights };
}

export function disposeModel(model: Model): void {
  disposeStore(model.weights);
  model.entries.dispose();
}

/** What the model would save, as plain arrays by name. */
export async function snapshot({ manifest, weights, backend }: Model): Promise<Record<string, number[]>> {
  const tensors = await adapterTensors(manifest, weights, (t) => backend.read(t));
  return Object.fromEntries(tensors.map((t) => [t.name, [...t.data]]));
}

/** The tiny manifest with other settings. */
export function settings(train: Partial<Manifest["train"]>): Manifest {
  return { ...manifest, train: { ...manifest.train, ...train } };
}

export async function collect<T, R>(run: AsyncGenerator<T, R, void>): Promise<{ steps: T[]; end: R }> {
  const steps: T[] = [];
  for (;;) {
    const next = await run.next();
    if (next.done) return { steps, end: next.value };
    steps.push(next.value);
  }
}

/** What `work` is refused for. */
export async function refused(work: Promise<unknown>): Promise<readonly Diagnostic[]> {
  try {
    await work;
  } catch (error) {
    if (error instanceof DiagnosticError) return error.diagnostics;
    throw error;
  }
  throw new Error("nothing was refused");
}

export class Killed extends Error {}

/**
 * Files in memory that are cut off: the operation number `at` (from 0) is never finished, and none after it happens. A
 * write that is cut off leaves half its bytes, as a disk may.
 */
export class DyingOutput extends MemoryOutput {
  operations = 0;
  at: number;

  constructor(files: Iterable<readonly [string, Uint8Array | string]>, at = Infinity) {
    super(files);
    this.at = at;
  }

  /** True where the operation is to be done. */
  private step(torn: () => unknown = () => undefined): void {
    const now = this.operations++;
    if (now < this.at) return;
    if (now === this.at) torn();
    throw new Killed(`killed at operation ${now}`);
  }

  override async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    this.step(() => super.writeFile(path, bytes.slice(0, bytes.length >> 1)));
    return super.writeFile(path, bytes);
  }
  override async appendFile(path: string, bytes: Uint8Array): Promise<void> {
    this.step(() => super.appendFile(path, bytes.slice(0, bytes.length >> 1)));
    return super.appendFile(path, bytes);
  }
  override async rename(from: string, to: string): Promise<void> {
    this.step();
    return super.rename(from, to);
  }
  override async removeFile(path: string): Promise<void> {
    this.step();
    return super.removeFile(path);
  }
}
