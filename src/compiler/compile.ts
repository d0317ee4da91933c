import type { CheckedAdapter } from "../check/index.ts";
import { manifestOf, printDeclarations, printTfjs, exportNames } from "../codegen/index.ts";
import type { Manifest } from "../formats/manifest.ts";
import { printModule, type Module } from "../ir/index.ts";
import { lower } from "../lower/index.ts";
import { optimize, type Reports } from "../passes/index.ts";
import { programInfo } from "./info.ts";
import type { Program } from "./program.ts";

/** An adapter, compiled: its graph after all passes, and its manifest. */
export interface Compiled {
  readonly module: Module;
  readonly manifest: Manifest;
  /** Doc comment of the adapter. */
  readonly doc?: string;
  /** The identifier under which generated code exports it. */
  readonly exportName: string;
  /** What the passes rewrote, a line each. */
  readonly rewrites: readonly string[];
}

/** Lowers and optimises a checked adapter. What is wrong from here on is our bug: it throws plain errors. */
export async function compileAdapter(program: Program, adapter: CheckedAdapter): Promise<Compiled> {
  const lowered = lower(program.checked.context, adapter);
  // TensorFlow.js on wasm multiplies with transpose flags ten times slower, and no backend is faster with them.
  const { module, reports } = optimize(lowered, { train: adapter.train, transposeFlags: false });
  const info = await programInfo(program, adapter, lowered.weights);
  const manifest = manifestOf(module, info);
  return {
    module,
    manifest,
    rewrites: explainRewrites(reports),
    exportName: exportNames([adapter.name])[0]!,
    ...(info.doc === undefined ? {} : { doc: info.doc }),
  };
}

/** What the passes did, a line for each place and rule; counts are for the nominal batch that the cost model takes. */
function explainRewrites(reports: Reports): string[] {
  const lines = reports.stack.map((r) => {
    const change = (a: number, b: number): string => (a === 0 ? "0" : `${(b / a).toPrecision(2)}×`);
    return `${r.fn}: ${r.paths.map((p) => p.join(".")).join(", ") || "-"}: rule ${r.rule}, operations ${change(r.before.flops, r.after.flops)}, bytes ${change(r.before.bytes, r.after.bytes)}`;
  });
  for (const weight of reports.hoisted) lines.push(`${weight}: laid out once, at load`);
  for (const weight of reports.unreached) lines.push(`${weight}: no gradient reaches it`);
  return lines;
}

/** The training graph over TensorFlow.js: `X.moe.ts`, or the same as plain JavaScript. */
export function printProgram(compiled: Compiled, options: { readonly types: boolean; readonly format: boolean; readonly runtimeImport: string }): Promise<string> {
  return printTfjs([compiled], options);
}

/** `X.d.moe.ts`: literal types of groups, kinds, weights and shapes. */
export function printTypes(compiled: Compiled): string {
  return printDeclarations([compiled]);
}

/** The graph after all passes, as text. */
export function printGraph(compiled: Compiled): string {
  return printModule(compiled.module);
}
