import type { ErrorObject, ValidateFunction } from "ajv";
import { diagnostic, didYouMean, nearest, type Diagnostic, type Span } from "../diagnostics/index.ts";
import { atPointer, lineColumn, parseJson, typeName, type JsonNode } from "./json.ts";

/** A JSON Schema: draft 2020-12 unless its `$schema` says draft-07. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Validates a parsed JSON value; `text` is where it came from, so that diagnostics have spans. */
export type Validator = (schema: JsonSchema, value: unknown, text: string, file: string) => Diagnostic[];

/**
 * The schemas are ours: to compile the meta-schema that they follow would take longer than all else that checks a spec.
 * The build compiles with the same.
 */
export const ajvOptions = { allErrors: true, verbose: true, allowUnionTypes: true, strictRequired: false, validateSchema: false } as const;

type Compile = (schema: JsonSchema) => ValidateFunction;

const compiled = new WeakMap<JsonSchema, ValidateFunction>();
let compiler: Promise<Compile> | undefined;

/**
 * A synchronous validator for these schemas. Loads ajv (tens of milliseconds) only where the build has not compiled one of
 * them ahead of time.
 */
export async function loadValidator(schemas: readonly JsonSchema[]): Promise<Validator> {
  const { validators } = await import("./validators.ts");
  const find = (schema: JsonSchema): ValidateFunction | undefined => compiled.get(schema) ?? validators.get(JSON.stringify(schema));
  const compile = schemas.every(find) ? undefined : await (compiler ??= loadCompiler());
  return (schema, value, text, file) => {
    const validate = find(schema) ?? compile?.(schema);
    if (validate === undefined) throw new Error("the validator was not loaded for this schema");
    compiled.set(schema, validate);
    return validate(value) ? [] : explain(validate.errors ?? [], text, file);
  };
}

/** Validates one value. One diagnostic a mistake; none where all is well. */
export async function validateJson(schema: JsonSchema, value: unknown, text: string, file: string): Promise<Diagnostic[]> {
  return (await loadValidator([schema]))(schema, value, text, file);
}

async function loadCompiler(): Promise<Compile> {
  // By way of `default`: what a bundler and Node agree on for CommonJS.
  const [one, two] = await Promise.all([import("ajv"), import("ajv/dist/2020.js")]);
  let draft7: InstanceType<typeof one.default.Ajv> | undefined;
  let draft2020: InstanceType<typeof two.default.Ajv2020> | undefined;
  return (schema) => {
    const old = String(schema["$schema"] ?? "").includes("draft-07");
    return (old ? (draft7 ??= new one.default.Ajv(ajvOptions)) : (draft2020 ??= new two.default.Ajv2020(ajvOptions))).compile(schema);
  };
}

/** More faults than this in one file are not worth listing. */
const most = 50;

function explain(errors: readonly ErrorObject[], text: string, file: string): Diagnostic[] {
  const parsed = parseJson(text);
  const root = parsed.ok ? parsed.node : undefined;
  const found: Diagnostic[] = [];
  const seen = new Set<string>();
  for (const error of errors) {
    if (error.keyword === "if" || isBranch(error, errors)) continue;
    const one = explainOne(error, errors, root, text, file);
    const key = `${one.message}\n${one.primary?.span.start}`;
    if (!seen.has(key)) found.push(one);
    seen.add(key);
    if (found.length === most) break;
  }
  return found;
}

/** True for what one alternative of an anyOf/oneOf says: the error of the whole says it better. */
function isBranch(error: ErrorObject, errors: readonly ErrorObject[]): boolean {
  return errors.some((e) => (e.keyword === "anyOf" || e.keyword === "oneOf") && e !== error && error.schemaPath.startsWith(`${e.schemaPath}/`));
}

function explainOne(error: ErrorObject, errors: readonly ErrorObject[], root: JsonNode | undefined, text: string, file: string): Diagnostic {
  const params = error.params as Record<string, unknown>;
  const place = root === undefined ? undefined : atPointer(root, error.instancePath);
  const span = (at: { start: number; end: number } | undefined): Span | undefined => (at === undefined ? undefined : { file, start: at.start, end: at.end });
  const name = keyName(error.instancePath);
  const say = (code: "MOE5106" | "MOE5107", at: Span | undefined, message: string, help?: string): Diagnostic => {
    const where = at === undefined ? file : `${file}, line ${lineColumn(text, at.start).line}, column ${lineColumn(text, at.start).column}`;
    return diagnostic(code, `${where}: ${message}`, { ...(at ? { at } : {}), ...(help ? { help } : {}) });
  };
  const here = span(place?.node);
  switch (error.keyword) {
    case "additionalProperties":
    case "unevaluatedProperties": {
      const key = String(params["additionalProperty"] ?? params["unevaluatedProperty"]);
      const known = Object.keys((error.parentSchema?.["properties"] as object | undefined) ?? {});
      const entry = place?.node.kind === "object" ? place.node.entries.find((e) => e.key === key) : undefined;
      return say("MOE5107", span(entry?.keyPlace) ?? here, `unknown key ${show(key)}${name === "" ? "" : ` in ${name}`}`, didYouMean(key, known) ?? (known.length > 0 ? `known are ${list(known)}` : undefined));
    }
    case "required": {
      const key = String(params["missingProperty"]);
      const present = error.data !== null && typeof error.data === "object" ? Object.keys(error.data) : [];
      const [near] = nearest(key, present, 1);
      const start = here === undefined ? undefined : { ...here, end: Math.min(here.end, here.start + 1) };
      return say("MOE5106", start, `missing key ${show(key)}${name === "" ? "" : ` in ${name}`}`, near === undefined ? undefined : `${show(near)} looks like a misspelling of it`);
    }
    case "type":
      return say("MOE5106", here, `${name || "the file"} must be ${list([params["type"]].flat().map(String), "or")}, found ${found(error.data)}`);
    case "enum": {
      const values = (params["allowedValues"] as unknown[]).map(String);
      return say("MOE5106", here, `${name} must be one of ${list(values.map(show), "or")}, found ${found(error.data)}`, typeof error.data === "string" ? didYouMean(error.data, values) : undefined);
    }
    case "const":
      return say("MOE5106", here, `${name} must be ${JSON.stringify(params["allowedValue"])}, found ${found(error.data)}`);
    case "anyOf":
    case "oneOf": {
      const types = new Set<string>();
      for (const e of errors) if (e.schemaPath.startsWith(`${error.schemaPath}/`) && e.instancePath === error.instancePath && e.keyword === "type") for (const t of [e.params["type"]].flat()) types.add(String(t));
      const expected = types.size > 0 ? `must be ${list([...types], "or")}` : "has none of the allowed forms";
      return say("MOE5106", here, `${name || "the file"} ${expected}, found ${found(error.data)}`);
    }
    default:
      return say("MOE5106", here, `${name || "the file"} ${error.message ?? "is not as expected"}, found ${found(error.data)}`);
  }
}

/** `/rope/scaling/0` reads `rope.scaling[0]`. */
function keyName(pointer: string): string {
  return pointer
    .split("/")
    .slice(1)
    .map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((path, p) => (/^[0-9]+$/.test(p) ? `${path}[${p}]` : path === "" ? p : `${path}.${p}`), "");
}

function found(value: unknown): string {
  if (value !== null && typeof value === "object") return typeName(value);
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `a ${typeof value} of ${text.length} characters` : text;
}

function show(key: string): string {
  return JSON.stringify(key.length > 60 ? `${key.slice(0, 57)}...` : key);
}

function list(items: readonly string[], word = "and"): string {
  return items.length <= 1 ? (items[0] ?? "") : `${items.slice(0, -1).join(", ")} ${word} ${items.at(-1)}`;
}
