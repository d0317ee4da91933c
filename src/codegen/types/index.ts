import type { Manifest } from "../../formats/manifest.ts";
import { propertyKey } from "../literals.ts";
import { comment, docComment, exportNames, literal } from "../names.ts";

/** What the declarations of one adapter are made from. */
export interface Declared {
  readonly manifest: Manifest;
  readonly doc?: string;
}

export interface DeclarationOptions {
  /** Where the runtime's types are imported from; "moec/runtime" by default. */
  readonly runtimeImport?: string;
}

/**
 * `X.d.moe.ts`: the types of `import { LoRAMoE } from "./x.moe"` under TypeScript's `allowArbitraryExtensions`. The same
 * exports, under the same types, as the module that `printTfjs` prints.
 */
export function printDeclarations(adapters: readonly Declared[], options: DeclarationOptions = {}): string {
  const names = exportNames(adapters.map((a) => a.manifest.adapter));
  const blocks = adapters.map(({ manifest, doc }, i) => {
    const name = names[i]!;
    const docText = docComment(doc === undefined ? [`The adapter ${manifest.adapter}.`] : doc.split("\n"));
    return `${adapterTypes(name, manifest)}\n${docText}export declare const ${name}: AdapterProgram<${name}Types>;\n`;
  });
  const file = comment(adapters[0]?.manifest.spec.file ?? "");
  return `// Made by moec from ${file}. Do not edit: change the spec and build again.\nimport type { AdapterProgram } from ${literal(options.runtimeImport ?? "moec/runtime")};\n\n${blocks.join("\n")}`;
}

/** `export interface LoRAMoETypes { … }`: groups, kinds, sites and weights as literal types (runtime's `AdapterTypes`). */
export function adapterTypes(name: string, manifest: Manifest): string {
  const weights = manifest.weights.map((w) => {
    const axes = w.axes.map(literal).join(", ");
    const count = w.count === undefined ? "" : ` readonly count: ${w.count};`;
    return `    readonly ${propertyKey(w.name)}: { readonly axes: readonly [${axes}]; readonly shape: readonly [${w.shape.join(", ")}];${count} readonly trainable: ${w.trainable} };`;
  });
  return [
    `/** Names and shapes of ${comment(manifest.adapter)}. */`,
    `export interface ${name}Types {`,
    `  /** Routed groups of experts. */`,
    `  readonly groups: ${union(manifest.groups.map((g) => g.name), "never")};`,
    `  /** Kinds of data that are mapped to groups. */`,
    `  readonly kinds: ${union(manifest.kinds, "string")};`,
    `  /** What is adapted. */`,
    `  readonly sites: ${union(manifest.sites.map((s) => s.path), "never")};`,
    `  readonly weights: {`,
    ...weights,
    `  };`,
    `}`,
    "",
  ].join("\n");
}

function union(names: readonly string[], empty: string): string {
  return names.length === 0 ? empty : [...new Set(names)].map(literal).join(" | ");
}
