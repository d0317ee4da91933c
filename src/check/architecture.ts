import { diagnostic, type Diagnostic, type Span } from "../diagnostics/index.ts";
import { floatDtypes } from "../formats/dtype.ts";
import { member, parseJson } from "../formats/json.ts";
import type { BaseDeclaration, ModelDefinition } from "../parser/ast.ts";
import type { CheckpointHeaders } from "./index.ts";
import type { ModelInstance } from "./model.ts";

/** The architectures that a definition says it covers: the choices of its field `model_type`; none where it has no such. */
function coveredBy(definition: ModelDefinition): readonly string[] | undefined {
  const field = definition.fields.find((f) => f.name.text === "model_type");
  return field?.type.kind === "choice" ? field.type.choices.map((c) => c.text) : undefined;
}

/** Where a field's value stands in config.json. */
function placeOf({ configText, configFile }: CheckpointHeaders, field: string): Span | undefined {
  const parsed = parseJson(configText);
  const value = parsed.ok ? member(parsed.node, field) : undefined;
  return value && { file: configFile, start: value.start, end: value.end };
}

/**
 * MOE3017 where config.json names an architecture that the base's definition does not cover: another definition does, or
 * none. Said before anything else of a checkpoint, whose fields and tensors would all be others.
 */
export function otherArchitecture(declaration: BaseDeclaration, model: ModelDefinition, models: ReadonlyMap<string, ModelDefinition>, files: CheckpointHeaders): Diagnostic | undefined {
  const found = fieldOf(files.config, "model_type");
  const own = coveredBy(model);
  if (typeof found !== "string" || !own || own.includes(found)) return undefined;
  const at = declaration.model.span;
  const place = placeOf(files, "model_type");
  const details = { at, label: `${model.name.text} covers ${own.join(", ")}`, secondary: place ? [{ span: place, text: "the architecture is named here" }] : [] };
  const right = [...models.values()].find((d) => coveredBy(d)?.includes(found));
  if (right) {
    const name = right.name.text;
    return diagnostic("MOE3017", `${files.configFile} is of the architecture ${JSON.stringify(found)}, which is ${name}(…)`, {
      ...details,
      help: `write ${name}(…)`,
      fixes: [{ title: `replace with ${name}`, edits: [{ span: at, text: name }], safe: true }],
    });
  }
  const there = [...models.values()].map((d) => `${d.name.text} (${coveredBy(d)?.join(", ") ?? "any"})`).sort();
  return diagnostic("MOE3017", `no model definition covers the architecture ${JSON.stringify(found)} that ${files.configFile} names`, {
    ...details,
    notes: [`there are: ${there.join("; ")}`],
    help: "any other needs a `model` definition, in the spec or in a file that it imports: docs/adding-a-definition.md shows how",
  });
}

/** MOE3018 where config.json says that the weights are quantised. */
export function saysQuantised(files: CheckpointHeaders, folder: string, at: Span): Diagnostic | undefined {
  const found = fieldOf(files.config, "quantization_config");
  if (typeof found !== "object" || found === null) return undefined;
  const method = fieldOf(found, "quant_method");
  const place = placeOf(files, "quantization_config");
  return quantised(`the base ${folder} is quantised${typeof method === "string" ? ` (${method})` : ""}`, at, place ? [{ span: place, text: "said here" }] : []);
}

/** MOE3018 where weights that the model wants are no floating-point numbers, or only packed ones lie in their place. */
export function holdsQuantised(model: ModelInstance, files: CheckpointHeaders, folder: string, at: Span): Diagnostic | undefined {
  const module = (name: string): string => name.slice(0, name.lastIndexOf("."));
  const packed = new Map([...files.tensors].filter(([, t]) => !isFloat(t.dtype)).map(([name]) => [module(name), name]));
  const faulty = model.nodes.flatMap((n) => n.tensors).flatMap(({ name }) => {
    const header = files.tensors.get(name);
    const instead = header ? name : packed.get(module(name));
    return instead === undefined || (header && isFloat(header.dtype)) ? [] : [instead];
  });
  const [first] = faulty;
  if (first === undefined) return undefined;
  return quantised(`the base ${folder} is quantised: ${JSON.stringify(first)} is ${files.tensors.get(first)!.dtype}${faulty.length > 1 ? `, and so are ${faulty.length - 1} more` : ""}`, at, []);
}

function quantised(message: string, at: Span, secondary: readonly { readonly span: Span; readonly text: string }[]): Diagnostic {
  return diagnostic("MOE3018", message, {
    at,
    secondary,
    notes: [`weights are read as ${floatDtypes.join(", ")}`],
    help: "name the checkpoint that it was made from, or one that was dequantised and saved",
  });
}

function isFloat(dtype: string): boolean {
  return (floatDtypes as readonly string[]).includes(dtype);
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}
