import type { Plugin } from "prettier";
import { bindingName, type Binding, type Entry, type Module, type Type } from "../../ir/graph.ts";
import type { Manifest } from "../../formats/manifest.ts";
import { CodegenError } from "../errors.ts";
import { comment, docComment, exportNames, literal } from "../names.ts";
import { propertyKey, value } from "../literals.ts";
import { paramStores, storeOf } from "../stores.ts";
import { adapterTypes } from "../types/index.ts";
import { functionName, printFunction } from "./functions.ts";
import { ModuleScope, typeText } from "./scope.ts";

/** An adapter's graph, after the layout and release passes, and its manifest. */
export interface Compiled {
  readonly module: Module;
  readonly manifest: Manifest;
  /** Doc comment of the export. */
  readonly doc?: string;
}

export interface TfjsOptions {
  /** TypeScript (the default), or the same program as plain JavaScript (ESM). */
  readonly types?: boolean;
  /** Where the runtime is imported from; "moec/runtime" by default. */
  readonly runtimeImport?: string;
  /**
   * A module (the default), or the body of a function of `runtime`, which is what `moec/runtime` exports, that returns what the
   * module would export: plain JavaScript, for running it in this process with this process's own runtime.
   */
  readonly form?: "module" | "function";
  /** Prettier's layout (the default); without it the text is right but not pretty. */
  readonly format?: boolean;
  /** `entries` (the default): what the runtime calls. `functions`: every graph function under its own name, for tests and tools. */
  readonly expose?: "entries" | "functions";
}

/**
 * Prints the adapters of one spec as one module. Throws CodegenError where a graph is not what the layout pass leaves.
 * Nothing of a spec's or checkpoint's texts gets into the code but as sanitised identifiers, comments and string literals.
 */
export async function printTfjs(adapters: readonly Compiled[], options: TfjsOptions = {}): Promise<string> {
  const { types = true, runtimeImport = "moec/runtime", form = "module", format = true, expose = "entries" } = options;
  if (form === "function" && (types || format)) throw new CodegenError("a function's body has no types, and is not laid out");
  const exported = exportNames(adapters.map((a) => a.manifest.adapter));
  const helpers = new Set<string>(["program"]);
  const blocks = adapters.map((adapter, i) => printAdapter(adapter, exported[i]!, types, form, expose, helpers, exported));
  const file = comment(adapters[0]?.manifest.spec.file ?? "");
  const names = [...helpers].sort().join(", ");
  const backend = adapters[0]?.manifest.backend;
  const head = `// Made by moec from ${file}${backend === undefined ? "" : `, laid out for ${backend}`}. Do not edit: change the spec and build again.`;
  if (form === "function") return `${head}\nconst { ${names} } = runtime;\n\n${blocks.join("\n")}\nreturn { ${exported.join(", ")} };\n`;
  const imports = [
    ...(types ? [`import type * as tfjs from "@tensorflow/tfjs-core";`] : []),
    `import { ${names}${types ? ", type Entries, type Manifest, type Tf" : ""} } from ${literal(runtimeImport)};`,
  ];
  const text = `${head}\n${imports.join("\n")}\n\n${blocks.join("\n")}`;
  return format ? await pretty(text) : text;
}

async function pretty(text: string): Promise<string> {
  // Loaded when it is wanted: it is large, and `train` never needs it.
  const [{ format }, typescript, estree] = await Promise.all([import("prettier/standalone"), import("prettier/plugins/typescript"), import("prettier/plugins/estree")]);
  return format(text, { parser: "typescript", plugins: [typescript.default, estree.default as Plugin], printWidth: 120 });
}

function printAdapter({ module, manifest, doc }: Compiled, name: string, types: boolean, form: "module" | "function", expose: "entries" | "functions", helpers: Set<string>, exported: readonly string[]): string {
  const scope = new ModuleScope(module, types, [...exported, ...exported.flatMap((n) => [`create${n}`, `${n}Types`, `${n}Manifest`])]);
  // Entries are printed under names of their own, so that a graph function may be called as an entry is.
  for (const fn of module.functions.keys()) scope.functions.set(fn, scope.names.fresh(fn, "fn"));
  const functions = [...module.functions.values()].map((fn) => printFunction(scope, fn));
  const surface = expose === "functions" ? [...scope.functions].map(([fn, identifier]) => `${propertyKey(fn)}: ${identifier},`) : new EntryPrinter(scope, module).all();
  const constants = scope.constants.map(({ name: constant, code }) => `const ${constant} = tf.keep(${code});\n`).join("");
  const frees = scope.constants.map((c) => c.name);
  const dispose = `dispose()${types ? ": void" : ""} {\n${frees.length ? `for (const each of [${frees.join(", ")}]) each.dispose();\n` : ""}},\n`;
  for (const helper of scope.helpers) helpers.add(helper);
  const signature = `function create${name}(tf${types ? ": Tf" : ""})${types && expose === "entries" ? ": Entries" : ""}`;
  const create = `${signature} {\n${constants === "" ? "" : `// Constants, made once.\n${constants}\n`}${functions.join("\n")}\nreturn {\n${surface.join("\n")}\n${dispose}};\n}\n`;
  const manifestText = `const ${name}Manifest${types ? ": Manifest" : ""} = ${value(manifest)};\n`;
  const typesText = types ? `${adapterTypes(name, manifest)}\n` : "";
  const docText = docComment(doc === undefined ? [`The adapter ${manifest.adapter}.`] : doc.split("\n"));
  const made = `${form === "module" ? "export " : ""}const ${name} = ${expose === "functions" ? `create${name};\n` : `program${types ? `<${name}Types>` : ""}({ manifest: ${name}Manifest, create: create${name} });\n`}`;
  return `${create}\n${manifestText}\n${typesText}${docText}${made}`;
}

/** The methods of `Entries`: bindings to the params of graph functions, and back. */
const roles = {
  logits: { params: "weights, input", outputs: ["logits"], optional: false },
  evaluate: { params: "weights, input, host", outputs: ["loss", "count", "hits", "balance", "usage"], optional: false },
  gradients: { params: "weights, input, host", outputs: ["loss", "balance", "usage"], optional: true },
  accumulate: { params: "gradients, others", outputs: [], optional: true },
  update: { params: "weights, gradients, moment1, moment2, host", outputs: ["lr", "norm"], optional: true },
} as const;

type Role = keyof typeof roles;

class EntryPrinter {
  readonly #scope: ModuleScope;
  readonly #module: Module;

  constructor(scope: ModuleScope, module: Module) {
    this.#scope = scope;
    this.#module = module;
  }

  all(): string[] {
    return (Object.keys(roles) as Role[]).map((role) => this.#method(role));
  }

  #method(role: Role): string {
    const entry = this.#module.entries.get(role);
    if (!entry) {
      if (!roles[role].optional) throw new CodegenError(`the module has no entry "${role}"`);
      return `${role}: () => ${this.#scope.helper("missing")}(${literal(role)}),`;
    }
    const fn = this.#module.functions.get(entry.fn);
    if (!fn) throw new CodegenError(`the entry "${role}" names no function`);
    const stores = paramStores(role, entry);
    const args = entry.params.map((binding, i) => this.#argument(binding, fn.params[i]!.type, stores[i]));
    const call = `${functionName(this.#scope, entry.fn)}(${args.join(", ")})`;
    const names = fn.results.map((_, i) => `r${i}`);
    const bound = names.length === 0 ? `${call};` : names.length === 1 ? `const r0 = ${call};` : `const [${names.join(", ")}] = ${call};`;
    // The method's types are those that `Entries` gives; the stores' names shadow nothing, since they are reserved.
    return `${role}(${roles[role].params}) {\n${bound}\nreturn ${this.#result(role, entry)};\n},`;
  }

  #argument(binding: Binding, type: Type, store: string | undefined): string {
    const as = this.#scope.types ? ` as ${typeText(type)}` : "";
    if (binding.kind === "input") {
      if (binding.name.startsWith("fields.")) return `${this.#scope.helper("fieldOf")}(input, ${literal(binding.name.slice("fields.".length))})`;
      const from = type.kind === "number" ? "host" : "input";
      return `${from}${property(binding.name)}`;
    }
    const name = bindingName(binding);
    if (type.kind === "list") return `${this.#scope.helper("weightsOf")}(${store}, ${literal(name)}, ${type.count})${as}`;
    return `${this.#scope.helper("weightOf")}(${store}, ${literal(name)})${as}`;
  }

  #result(role: Role, entry: Entry): string {
    const byStore = new Map<string, string[]>();
    const outputs = new Map<string, string>();
    entry.results.forEach((binding, i) => {
      if (binding.kind === "output") outputs.set(binding.name, `r${i}`);
      else if (binding.kind === "input") throw new CodegenError(`the entry "${role}" returns an input`);
      else {
        const store = storeOf[binding.kind];
        byStore.set(store, [...(byStore.get(store) ?? []), `${propertyKey(bindingName(binding))}: r${i}`]);
      }
    });
    const object = (lines: readonly string[]): string => `{ ${lines.join(", ")} }`;
    if (role === "accumulate") return object(byStore.get("gradients") ?? byStore.get("weights") ?? []);
    const parts = roles[role].outputs.map((output) => {
      const found = outputs.get(output);
      if (found !== undefined) return `${output}: ${found}`;
      if (output === "balance" || output === "norm") return `${output}: ${this.#scope.helper("noBalance")}(tf)`;
      if (output === "usage") return `usage: ${this.#scope.helper("noUsage")}(tf, input.tokens)`;
      throw new CodegenError(`the entry "${role}" has no output "${output}"`);
    });
    if (role === "gradients") parts.push(`gradients: ${object(byStore.get("gradients") ?? [])}`);
    if (role === "update") for (const store of ["weights", "moment1", "moment2"]) parts.push(`${store}: ${object(byStore.get(store) ?? [])}`);
    return object(parts);
  }
}

function property(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? `.${name}` : `[${literal(name)}]`;
}
