import { GraphError } from "../errors.ts";
import type { OpAttributes, OpName, Type } from "../graph.ts";
import { isCanonicalSize } from "../size.ts";
import { describeType } from "../types.ts";
import { axesOps } from "./axes.ts";
import { composites } from "./composites.ts";
import { dispatching } from "./dispatching.ts";
import { elementwise } from "./elementwise.ts";
import { functionOps } from "./functions.ts";
import { indexing } from "./indexing.ts";
import { leaves } from "./leaves.ts";
import { products } from "./products.ts";
import { reductions } from "./reductions.ts";
import type { AttributeKind, AttributeSpec, Constraint, Functions, OpRow } from "./row.ts";

export type { Constraint, Cost, CostContext, Functions, OpRow, OperandSpec, AttributeSpec, AttributeKind, EvaluationContext } from "./row.ts";
export { dotParts, type DotParts } from "./products.ts";
export { foldParamTypes } from "./functions.ts";

/** The op table: one row an operation. The verifier, the builder, the text form, the interpreter and the documentation read it. */
export const ops: { readonly [K in OpName]: OpRow<K> } = {
  ...leaves,
  ...elementwise,
  ...reductions,
  ...products,
  ...axesOps,
  ...indexing,
  ...dispatching,
  ...composites,
  ...functionOps,
};

/** The table by subject, in the order of the documentation. */
export const opGroups: readonly { readonly title: string; readonly ops: readonly OpName[] }[] = [
  { title: "Leaves", ops: namesOf(leaves) },
  { title: "Elementwise", ops: namesOf(elementwise) },
  { title: "Reductions", ops: namesOf(reductions) },
  { title: "Products", ops: namesOf(products) },
  { title: "Axes", ops: namesOf(axesOps) },
  { title: "Indexing", ops: namesOf(indexing) },
  { title: "Dispatch", ops: namesOf(dispatching) },
  { title: "Composites", ops: namesOf(composites) },
  { title: "Functions", ops: namesOf(functionOps) },
];

function namesOf(rows: Readonly<Record<string, unknown>>): readonly OpName[] {
  return Object.keys(rows).filter(isOpName);
}

export function isOpName(name: string): name is OpName {
  return Object.hasOwn(ops, name);
}

/** A row with its key forgotten, for code that treats all ops alike. */
export function rowOf(op: OpName): OpRow<OpName> {
  return ops[op] as unknown as OpRow<OpName>;
}

/** A constraint that does not hold, with what was found. */
export interface Violation {
  /** "dot.C2", or "dot.operands" and "dot.attributes" for what comes before the numbered ones. */
  readonly id: string;
  readonly text: string;
  readonly found: string;
}

/** The first constraint of an op that does not hold: attributes' kinds, operands' number and kinds, then C1, C2 …. */
export function violationOf<K extends OpName>(op: K, operands: readonly Type[], attributes: OpAttributes[K], functions: Functions): Violation | undefined {
  const row = rowOf(op);
  const found = `${op}(${operands.map(describeType).join(", ")})`;
  const attributeProblem = badAttribute(row.attributes, attributes as Readonly<Record<string, unknown>>);
  if (attributeProblem) return { id: `${op}.attributes`, text: attributeProblem, found };
  const operandProblem = badOperands(row, operands);
  if (operandProblem) return { id: `${op}.operands`, text: operandProblem, found };
  const broken = row.constraints.find((c: Constraint<OpName>) => !c.holds(operands, attributes, functions));
  return broken && { id: `${op}.${broken.id}`, text: broken.text, found };
}

/** The result types. Throws GraphError with the constraint's number where one does not hold. */
export function inferTypes<K extends OpName>(op: K, operands: readonly Type[], attributes: OpAttributes[K], functions: Functions): readonly Type[] {
  const violation = violationOf(op, operands, attributes, functions);
  if (violation) throw new GraphError(`${violation.text}; found ${violation.found}`, violation.id);
  return rowOf(op).infer(operands, attributes, functions);
}

function badOperands(row: OpRow<OpName>, operands: readonly Type[]): string | undefined {
  const { names, kinds, rest } = row.operands;
  const least = names.length + (rest?.least ?? 0);
  if (operands.length < least || (!rest && operands.length > names.length)) {
    return `${rest ? "at least " : ""}${least} operand${least === 1 ? "" : "s"} expected, ${operands.length} found`;
  }
  for (const [i, type] of operands.entries()) {
    const kind = kinds[i] ?? rest?.kind ?? "any";
    if (kind !== "any" && type.kind !== kind) return `operand "${names[i] ?? rest?.name}" is a ${kind}`;
  }
  return undefined;
}

function badAttribute(specs: Readonly<Record<string, AttributeSpec>>, attributes: Readonly<Record<string, unknown>>): string | undefined {
  for (const [name, spec] of Object.entries(specs)) {
    const value = attributes[name];
    if (value === undefined) {
      if (!spec.optional) return `the attribute "${name}" is missing`;
    } else if (!isOfKind(value, spec.kind)) {
      return `the attribute "${name}" is not ${describeKind(spec.kind)}`;
    }
  }
  const unknown = Object.keys(attributes).find((name) => !Object.hasOwn(specs, name));
  return unknown === undefined ? undefined : `there is no attribute "${unknown}"`;
}

function isOfKind(value: unknown, kind: AttributeKind): boolean {
  if (typeof kind === "object") return typeof value === "string" && kind.oneOf.includes(value);
  switch (kind) {
    case "number":
      return typeof value === "number";
    case "count":
      return Number.isSafeInteger(value) && (value as number) >= 0;
    case "boolean":
      return typeof value === "boolean";
    case "name":
    case "function":
      return typeof value === "string" && value !== "";
    case "names":
      return Array.isArray(value) && value.every((v) => typeof v === "string" && v !== "");
    case "axis":
      return isAxis(value);
    case "axes":
      return Array.isArray(value) && value.every(isAxis);
    case "numbers":
      return Array.isArray(value) && value.every((v) => typeof v === "number");
    case "dtype":
      return value === "f32" || value === "i32" || value === "bool";
  }
}

/** An axis with a name and a canonical size. */
export function isAxis(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { name, size } = value as { name?: unknown; size?: unknown };
  return typeof name === "string" && name !== "" && (typeof size === "number" || typeof size === "string") && isCanonicalSize(size);
}

export function describeKind(kind: AttributeKind): string {
  if (typeof kind === "object") return `one of ${kind.oneOf.join(", ")}`;
  const words: Record<Exclude<AttributeKind, object>, string> = {
    number: "a number",
    count: "a whole number >= 0",
    boolean: "true or false",
    name: "a name",
    names: "a list of names",
    axis: "an axis",
    axes: "a list of axes",
    numbers: "a list of numbers",
    dtype: "a dtype",
    function: "a function's name",
  };
  return words[kind];
}
