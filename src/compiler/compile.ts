import type { CheckedAdapter } from "../check/index.ts";
import { manifestOf, printDeclarations, printTfjs, exportNames } from "../codegen/index.ts";
import type { Manifest } from "../formats/manifest.ts";
import { printModule, type Module } from "../ir/index.ts";
import { lower } from "../lower/index.ts";
import { explainStacking, nominalSymbol, optimize, type PlaceExplanation } from "../passes/index.ts";
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
  /** What the passes made of it. */
  readonly explanation: Explanation;
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
    explanation: {
      tokens: nominalSymbol * nominalSymbol,
      places: explainStacking(reports.stack, "train", placesOf(lowered)),
      laidOut: reports.hoisted,
      unreached: reports.unreached,
    },
    exportName: exportNames([adapter.name])[0]!,
    ...(info.doc === undefined ? {} : { doc: info.doc }),
  };
}

/** What the passes did, for `moec build --explain`. Costs are of one forward run, for a nominal batch. */
export interface Explanation {
  /** Tokens of the nominal batch. */
  readonly tokens: number;
  readonly places: readonly PlaceExplanation[];
  /** Frozen weights that are held in another order too, laid out at load. */
  readonly laidOut: readonly string[];
  /** Trainable weights that no gradient reaches. */
  readonly unreached: readonly string[];
}

/** The adapted places, as the paths of their ops begin: a trainable weight's name without the layers, its group and itself. */
function placesOf(module: Module): readonly string[] {
  const names = module.weights.filter((w) => w.trainable).map((w) => {
    const parts = w.name.split(".");
    return [...parts.slice(0, 1), ...parts.slice(w.type.kind === "list" ? 2 : 1, -2)].join(".");
  });
  return [...new Set(names)];
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
