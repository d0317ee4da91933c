import { diagnostic, type Diagnostic } from "../diagnostics/index.ts";
import type {
  AdapterDeclaration,
  BaseDeclaration,
  ConstDeclaration,
  Declaration,
  FunctionDefinition,
  MapDefinition,
  ModelDefinition,
  ParamDeclaration,
  SourceFile,
  TrainDeclaration,
  VariantDeclaration,
} from "../parser/ast.ts";
import { builtins } from "./builtins.ts";
import { writeOut } from "./variants.ts";
import { unknownNames, wellFormed } from "./wellformed.ts";

/** Everything declared by the library and a spec, by name. */
export interface Definitions {
  readonly experts: ReadonlyMap<string, MapDefinition>;
  readonly routers: ReadonlyMap<string, MapDefinition>;
  readonly balances: ReadonlyMap<string, MapDefinition>;
  readonly models: ReadonlyMap<string, ModelDefinition>;
  readonly functions: ReadonlyMap<string, FunctionDefinition>;
  readonly bases: ReadonlyMap<string, BaseDeclaration>;
  readonly adapters: ReadonlyMap<string, AdapterDeclaration>;
  /** The adapter that a variant varies, by the variant's name. */
  readonly parents: ReadonlyMap<string, string>;
  readonly trains: readonly TrainDeclaration[];
  /** `param` and `const`, in the order of the text. */
  readonly constants: readonly (ParamDeclaration | ConstDeclaration)[];
  /** Definitions of which something was said already: they are not elaborated. */
  readonly faulty: ReadonlySet<object>;
}

const tables = { expert: "experts", router: "routers", balance: "balances", model: "models", fn: "functions", base: "bases", adapter: "adapters" } as const;

/**
 * Collects declarations. A file may define again what the library defines (its own `lora`), but nothing twice in one
 * name space; a `fn` may not take the name of a builtin.
 */
export function collect(library: readonly SourceFile[], files: readonly SourceFile[], report: (d: Diagnostic) => void): Definitions {
  const result = {
    experts: new Map<string, MapDefinition>(),
    routers: new Map<string, MapDefinition>(),
    balances: new Map<string, MapDefinition>(),
    models: new Map<string, ModelDefinition>(),
    functions: new Map<string, FunctionDefinition>(),
    bases: new Map<string, BaseDeclaration>(),
    adapters: new Map<string, AdapterDeclaration>(),
    trains: [] as TrainDeclaration[],
    constants: [] as (ParamDeclaration | ConstDeclaration)[],
    faulty: new Set<object>(),
  };
  const own = new Map<string, Declaration>();
  const variants: VariantDeclaration[] = [];
  for (const [list, isLibrary] of [[library, true], [files, false]] as const) {
    for (const file of list) {
      for (const d of file.declarations) {
        if (d.kind === "train") {
          const before = result.trains.find((t) => t.adapter.text === d.adapter.text && d.adapter.text !== "");
          if (before) {
            report(
              diagnostic("MOE2013", `the training of "${d.adapter.text}" is already described`, {
                at: d.adapter.span,
                secondary: [{ span: before.adapter.span, text: "first described here" }],
              }),
            );
          } else result.trains.push(d);
          continue;
        }
        if (d.kind === "expert" || d.kind === "router" || d.kind === "balance" || d.kind === "model" || d.kind === "fn") {
          const faults = wellFormed(d);
          faults.forEach(report);
          if (faults.length || file.diagnostics.some((f) => f.primary && f.primary.span.start >= d.span.start && f.primary.span.end <= d.span.end)) result.faulty.add(d);
        }
        const constant = d.kind === "param" || d.kind === "const";
        const space = constant ? "constant" : d.kind === "variant" ? "adapter" : d.kind;
        const name = d.name.text;
        if (name === "") continue;
        const before = own.get(`${space} ${name}`);
        if (before && before.kind !== "train") {
          report(
            diagnostic("MOE2013", `${space} "${name}" is already defined`, {
              at: d.name.span,
              secondary: [{ span: before.name.span, text: "first defined here" }],
            }),
          );
          continue;
        }
        if (!isLibrary) own.set(`${space} ${name}`, d);
        if (d.kind === "fn" && Object.hasOwn(builtins, name)) {
          report(diagnostic("MOE2013", `"${name}" is built in`, { at: d.name.span, help: "give the function another name" }));
          continue;
        }
        if (d.kind === "variant") variants.push(d);
        else if (d.kind === "param" || d.kind === "const") result.constants.push(d);
        else (result[tables[d.kind]] as Map<string, Declaration>).set(name, d);
      }
    }
  }
  const parents = writeOut(variants, result.adapters, report);
  const constants = new Set(result.constants.map((c) => c.name.text));
  for (const d of files.flatMap((f) => f.declarations)) {
    if ((d.kind !== "expert" && d.kind !== "router" && d.kind !== "balance" && d.kind !== "fn") || result.faulty.has(d)) continue;
    const unknown = unknownNames(d, result.functions, constants);
    if (unknown.length) result.faulty.add(d);
    unknown.forEach(report);
  }
  return { ...result, parents };
}
