import { diagnostic, fail, nearest, type Diagnostic } from "../diagnostics/index.ts";
import type { JsonSchema } from "../formats/schema.ts";
import type { BlockItem, BodyItem, ConfigField, LinearItem, ModelDefinition, ParameterType, StringLiteral, UnusedItem, WeightItem } from "../parser/ast.ts";
import type { Elaborator } from "./elaborate.ts";
import { Scope } from "./scope.ts";
import { constant, showAxes, showConst, type AxisRef, type ConstValue } from "./values.ts";

/** The place of a weight, a linear or a block in a model, once per layer: what paths name. */
export interface ModelNode {
  /** ["layers", "0", "mlp", "gate_proj"] */
  readonly path: readonly string[];
  readonly kind: "weight" | "linear" | "block";
  /** The layer it lies in, if it lies in one. */
  readonly layer?: number;
  /** A linear's axes, a weight's axes; of a block the axis that its first parameter declares last, if that has a size. */
  readonly axes: readonly AxisRef[];
  /** The checkpoint's tensors: the weight (and the bias of a linear that has one). */
  readonly tensors: readonly ModelTensor[];
}

export interface ModelTensor {
  /** As the checkpoint at hand calls it. */
  readonly name: string;
  /** As the model's own code calls it: the first of the names that `from` gives. */
  readonly usual: string;
  /** In the file's order. */
  readonly axes: readonly AxisRef[];
}

/** A model definition with a configuration: its axes have sizes, its parts have paths. */
export interface ModelInstance {
  readonly definition: ModelDefinition;
  readonly config: { readonly [name: string]: ConstValue };
  /** Axes, items and the configuration: the scope that bodies are elaborated in. */
  readonly scope: Scope;
  readonly nodes: readonly ModelNode[];
  readonly layers: number;
  /** The name of the repeated block, if the model has one. */
  readonly stack?: string;
  /** Tensors that a checkpoint may hold and that mean nothing to the model, by name. */
  readonly unused: ReadonlySet<string>;
}

/** The JSON Schema that a configuration must satisfy for a model definition. Unknown fields are Hugging Face's business. */
export function configSchema(definition: ModelDefinition): JsonSchema {
  let schema = schemas.get(definition);
  if (!schema) schemas.set(definition, (schema = recordSchema(definition.fields)));
  return schema;
}

/** One object a definition, so that whoever compiles schemas need not do it again. */
const schemas = new WeakMap<ModelDefinition, JsonSchema>();

function recordSchema(fields: readonly ConfigField[]): JsonSchema {
  return {
    type: "object",
    properties: Object.fromEntries(fields.map((f) => [f.name.text, typeSchema(f.type, f.default !== undefined)])),
    required: fields.filter((f) => !f.default && f.type.kind !== "record").map((f) => f.name.text),
  };
}

/** Hugging Face writes null where a default applies, so an optional field may be null. */
function typeSchema(type: ParameterType, optional: boolean): JsonSchema {
  const or = (name: string) => (optional ? { type: [name, "null"] } : { type: name });
  switch (type.kind) {
    case "int":
      return { ...or("integer"), minimum: 0, maximum: 2 ** 31 - 1 };
    case "float":
      return or("number");
    case "bool":
      return or("boolean");
    case "string":
      return or("string");
    case "choice": {
      const values: (string | null)[] = type.choices.map((c) => (c.text === "none" ? null : c.text));
      return { enum: optional && !values.includes(null) ? [...values, null] : values };
    }
    case "record":
      return { ...recordSchema(type.fields), type: ["object", "null"] };
    default:
      return {};
  }
}

/** Fills in defaults. The raw configuration has passed `configSchema`. */
function fillConfig(definition: ModelDefinition, raw: { readonly [name: string]: unknown }, elaborator: Elaborator): { [name: string]: ConstValue } {
  const config: { [name: string]: ConstValue } = {};
  const scope = new Scope();
  scope.define(definition.config.text, constant(config));
  const fill = (fields: readonly ConfigField[], from: { readonly [name: string]: unknown }, into: { [name: string]: ConstValue }) => {
    for (const f of fields) {
      const given = Object.hasOwn(from, f.name.text) ? from[f.name.text] : undefined;
      if (f.type.kind === "record") {
        const inner: { [name: string]: ConstValue } = {};
        into[f.name.text] = inner;
        fill(f.type.fields, isRecord(given) ? given : {}, inner);
      } else if (given !== undefined && given !== null) into[f.name.text] = given as ConstValue;
      else if (f.default) {
        const value = elaborator.typed(f.type, f.default, scope, f.name.text);
        into[f.name.text] = value.kind === "const" ? (value.value === "none" ? null : value.value) : null;
      } else into[f.name.text] = null;
    }
  };
  fill(definition.fields, raw, config);
  return config;
}

/** The axis that a router of the whole block looks along. */
function inputAxis(item: BlockItem, scope: Scope): AxisRef[] {
  const [parameter] = item.signature.parameters;
  const name = parameter?.kind === "tensor" ? parameter.axes?.axes.at(-1)?.text : undefined;
  const found = name === undefined ? undefined : scope.lookup(name);
  return found?.kind === "axis" && typeof found.axis.size === "number" ? [found.axis] : [];
}

function isRecord(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The dotted names that lead to a part: in the file at hand, and in the model's own code. */
interface Prefix {
  readonly file: readonly string[];
  readonly usual: readonly string[];
}

/**
 * Gives a model definition a configuration, and the names that the checkpoint's tensors have. Throws DiagnosticError where
 * its own `require`s do not hold.
 */
export function instantiate(
  definition: ModelDefinition,
  raw: { readonly [name: string]: unknown },
  tensors: Iterable<string>,
  elaborator: Elaborator,
  at = definition.name.span,
): ModelInstance {
  const config = fillConfig(definition, raw, elaborator);
  const scope = new Scope();
  scope.define(definition.config.text, constant(config));
  // What every model and adapter speaks of.
  for (const symbol of ["sample", "position"]) scope.define(symbol, { kind: "axis", axis: elaborator.ops.axes.get(symbol, symbol) });
  const nodes: ModelNode[] = [];
  const unused = new Set<string>();
  const known = namesAndPrefixes(tensors);
  let layers = 0;
  let stack: string | undefined;

  const visit = (items: readonly BodyItem[], inner: Scope, path: readonly string[], prefix: Prefix, layer: number | undefined): void => {
    for (const item of items) {
      switch (item.kind) {
        case "axis":
          if (!inner.names.has(item.name.text)) elaborator.defineAxis(item.name, item.size, inner);
          break;
        case "require":
        case "expect":
          if (layer === undefined || layer === 0) elaborator.require(item, inner, definition.name.text, at);
          break;
        case "weight":
        case "linear": {
          if (!present(item, inner, elaborator)) break;
          nodes.push(leaf(item, inner, path, prefix, known, layer, elaborator));
          break;
        }
        case "unused":
          if (present(item, inner, elaborator)) for (const name of item.names) unused.add(written(name, prefix).file.join("."));
          break;
        case "block": {
          const below = [...path, item.name.text];
          const named = item.from ? chosen(item.from, prefix, (name) => known.has(name)) : deeper(prefix, item.name.text);
          if (!item.count) {
            nodes.push({ path: below, kind: "block", axes: inputAxis(item, inner), tensors: [], ...(layer === undefined ? {} : { layer }) });
            visit(item.items, new Scope(inner), below, named, layer);
            break;
          }
          const count = elaborator.evaluateConst(item.count, inner, "the number of layers is known at compile time").value;
          if (typeof count !== "number" || !Number.isSafeInteger(count) || count < 1 || count > 10_000) {
            fail("MOE3005", `a stack has from 1 to 10,000 layers, this is ${showConst(count)}`, { at, secondary: [{ span: item.count.span, text: "the number of layers" }] });
          }
          if (layer !== undefined || stack !== undefined) fail("MOE2014", "a model has one stack of layers", { at: item.name.span });
          layers = count;
          stack = item.name.text;
          for (let i = 0; i < count; i++) {
            nodes.push({ path: [...below, String(i)], kind: "block", layer: i, axes: inputAxis(item, inner), tensors: [] });
            visit(item.items, new Scope(inner), [...below, String(i)], deeper(named, String(i)), i);
          }
        }
      }
    }
  };
  visit(definition.items, scope, [], { file: [], usual: [] }, undefined);
  return { definition, config, scope, nodes, layers, unused, ...(stack === undefined ? {} : { stack }) };
}

/** Whether a `when` lets a part be there. */
function present(item: WeightItem | LinearItem | UnusedItem, scope: Scope, elaborator: Elaborator): boolean {
  if (!item.when) return true;
  return elaborator.evaluateConst(item.when, scope, "`when` is known at compile time").value === true;
}

/** A file's tensor names, and what leads to them: "a.b.c" is found under "a" and "a.b" too. */
function namesAndPrefixes(tensors: Iterable<string>): Set<string> {
  const known = new Set<string>();
  for (const name of tensors) {
    known.add(name);
    for (let dot = name.lastIndexOf("."); dot > 0; dot = name.lastIndexOf(".", dot - 1)) known.add(name.slice(0, dot));
  }
  return known;
}

const deeper = ({ file, usual }: Prefix, name: string): Prefix => ({ file: [...file, name], usual: [...usual, name] });

/** A name in quotes is the whole name, and one that begins with a point goes on from the block's. */
function written({ value }: StringLiteral, prefix: Prefix): Prefix {
  return value.startsWith(".") ? deeper(prefix, value.slice(1)) : { file: [value], usual: [value] };
}

/** The first of `from`'s names that the file has; where it has none of them, the usual one is missed. */
function chosen(from: readonly StringLiteral[], prefix: Prefix, has: (name: string) => boolean): Prefix {
  const names = from.map((f) => written(f, prefix));
  return { file: (names.find((n) => has(n.file.join("."))) ?? names[0]!).file, usual: names[0]!.usual };
}

export function hasBias(item: LinearItem, scope: Scope, elaborator: Elaborator): boolean {
  return item.bias !== undefined && elaborator.evaluateConst(item.bias, scope, "whether a linear has a bias is known at compile time").value === true;
}

/** A weight or a linear. A checkpoint calls its tensors `NAME.weight` below the blocks' names, or what `from` says. */
function leaf(item: WeightItem | LinearItem, scope: Scope, path: readonly string[], prefix: Prefix, known: ReadonlySet<string>, layer: number | undefined, elaborator: Elaborator): ModelNode {
  const axes = elaborator.declared(item.axes, scope);
  const part = (name: "weight" | "bias", axesInFile: readonly AxisRef[]): ModelTensor => {
    // `from` names a linear's module, and a weight itself.
    const end = item.kind === "linear" || !item.from ? `.${name}` : "";
    const { file, usual } = item.from ? chosen(item.from, prefix, (n) => known.has(`${n}${item.kind === "linear" ? ".weight" : ""}`)) : deeper(prefix, item.name.text);
    return { name: file.join(".") + end, usual: usual.join(".") + end, axes: axesInFile };
  };
  const tensors = [part("weight", item.kind === "linear" ? storedAxes(item, axes, scope, elaborator) : axes)];
  if (item.kind === "linear" && hasBias(item, scope, elaborator)) tensors.push(part("bias", [axes[1]!]));
  return { path: [...path, item.name.text], kind: item.kind, axes, tensors, ...(layer === undefined ? {} : { layer }) };
}

/** How a linear's matrix lies in the file: as `stored` says, or as PyTorch's nn.Linear keeps it, [out, in]. */
function storedAxes(item: LinearItem, axes: readonly AxisRef[], scope: Scope, elaborator: Elaborator): readonly AxisRef[] {
  if (axes.length !== 2) fail("MOE3002", "a linear has two axes: [in, out]", { at: item.axes.span });
  if (!item.stored) return [axes[1]!, axes[0]!];
  const stored = elaborator.declared(item.stored, scope);
  if (stored.length !== 2 || axes.some((a) => !stored.includes(a))) {
    fail("MOE3002", `a matrix is stored along the axes that it has: ${showAxes(axes)} in either order`, { at: item.stored.span });
  }
  return stored;
}

/** What the checker needs of a checkpoint's header. */
export interface TensorHeader {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly file: string;
}

/** Compares a model's tensors with a checkpoint's headers: what lacks, what has another shape, what is too much. */
export function compareTensors(model: ModelInstance, headers: ReadonlyMap<string, TensorHeader>, folder: string, strict: boolean): Diagnostic[] {
  const missing: Diagnostic[] = [];
  const misshapen: Diagnostic[] = [];
  const wanted = new Set(model.nodes.flatMap((n) => n.tensors.map((t) => t.name)));
  for (const node of model.nodes) {
    for (const tensor of node.tensors) {
      const header = headers.get(tensor.name);
      const shape = tensor.axes.map((a) => a.size);
      const named = tensor.axes.map((a) => `${a.name}: ${a.size}`).join(", ");
      if (!header) {
        // A name that another tensor has is no misspelling of this one.
        const near = missing.length < shown ? nearest(tensor.name, [...headers.keys()].filter((n) => !wanted.has(n)), 1)[0] : undefined;
        missing.push(
          diagnostic("MOE3011", `the checkpoint ${folder} has no tensor "${tensor.name}" [${named}]`, {
            help: near ? `did you mean "${near}"?` : "the download may be incomplete, or the checkpoint is of another architecture than its config.json says",
          }),
        );
      } else if (header.shape.length !== shape.length || header.shape.some((n, i) => n !== shape[i])) {
        const transposed = header.shape.length === 2 && header.shape[0] === shape[1] && header.shape[1] === shape[0];
        misshapen.push(
          diagnostic("MOE3012", `${header.file}: "${tensor.name}" has the shape [${header.shape.join(", ")}]; config.json makes it [${named}]`, {
            ...(transposed ? { help: "it looks transposed" } : { help: "config.json and the weights are of different models" }),
          }),
        );
      }
    }
  }
  // One wrong number in config.json moves every layer's shapes: the first few say all there is to say.
  const found = [...firstOf(missing, "are missing too"), ...firstOf(misshapen, "have other shapes too")];
  const extra = [...headers.keys()].filter((name) => !wanted.has(name) && !model.unused.has(name));
  if (extra.length) {
    const d = diagnostic("MOE3013", `the checkpoint ${folder} has ${extra.length === 1 ? "a tensor" : `${extra.length} tensors`} that the model "${model.definition.name.text}" does not use: ${extra.slice(0, 5).join(", ")}${extra.length > 5 ? ", …" : ""}`, {
      help: "the checkpoint may be of another architecture, whose result then differs",
    });
    found.push(strict ? { ...d, severity: "error" } : d);
  }
  return found;
}

/** How many tensors are named one by one. */
const shown = 3;

function firstOf(all: readonly Diagnostic[], what: string): Diagnostic[] {
  if (all.length <= shown) return [...all];
  const last = all[shown - 1]!;
  return [...all.slice(0, shown - 1), { ...last, notes: [...last.notes, `${all.length - shown} more tensors ${what}`] }];
}
