import { type Code, type Diagnostic, diagnostic } from "../diagnostics/index.ts";
import { GraphError } from "./errors.ts";
import type { Axis, GraphFunction, Module, Op, Size, Type, Value } from "./graph.ts";
import { type AttributeSpec, isAxis, isOpName, rowOf, violationOf } from "./ops/index.ts";
import { equalSizes } from "./size.ts";
import { describeType, sameType } from "./types.ts";
import { verifyEntries, verifyWeights } from "./verify-bindings.ts";

/** The rules that hold beside the ops' own, as the documentation lists them. */
export const globalConstraints = {
  "C-ssa": "A value is made once, as a param or a result of one op, and before its uses.",
  "C-types": "An op's results are of the types that the op table infers.",
  "C-axis": "Within one function an axis name has one size wherever it stands, a type has no axis twice, and sizes are canonical.",
  "C-results": "A function's results are distinct tensors or lists made in it, never its params: the caller owns them.",
  "C-functions": "A function stands under its own name, and functions do not call themselves, not through others either.",
  "C-release": "Only values made in the function are released, once, never results, and never before their last use. After the release pass every value made is released or returned.",
  "C-weights": "Weights have unique names, one source (or one a layer), file orders that name their axes, and initializers and layouts that fit.",
  "C-entries": "An entry's function exists; its params and results are bound one to one (in `accumulate`, every gradient twice), a weight's (gradient's, moment's) of the weight's type.",
} as const;

export type GlobalConstraint = keyof typeof globalConstraints;

export interface VerifyOptions {
  /** Whether the release pass has run: then every value made must be released or returned exactly once. */
  readonly released?: boolean;
  /** How many diagnostics are enough. */
  readonly limit?: number;
}

/** Where a diagnostic is about. */
export interface Place {
  readonly fn?: GraphFunction;
  readonly op?: Op;
}

/** Collects what verification finds. */
export class Report {
  readonly diagnostics: Diagnostic[] = [];

  add(code: Code, constraint: string, message: string, place: Place = {}): void {
    const { fn, op } = place;
    const at = op?.origin;
    const where = fn ? ` (in @${fn.name}${op ? `, op ${fn.body.indexOf(op)}, ${op.op}` : ""})` : "";
    this.diagnostics.push(
      diagnostic(code, `${constraint}: ${message}${where}`, {
        ...(at ? { at: { file: at.file, start: at.start, end: at.end } } : {}),
        ...(at?.path.length ? { notes: [`part of ${at.path.join(" > ")}`] } : {}),
      }),
    );
  }

  global(constraint: GlobalConstraint, message: string, place: Place = {}): void {
    this.add("MOE4002", constraint, message, place);
  }
}

/** Everything that is wrong with a module; empty for a sound one. Never throws, whatever the module holds. */
export function verify(module: Module, options: VerifyOptions = {}): readonly Diagnostic[] {
  const report = new Report();
  for (const [name, fn] of module.functions) {
    if (name !== fn.name) report.global("C-functions", `@${fn.name} stands under the name "${name}"`, { fn });
  }
  verifyNoRecursion(module, report);
  const owners = new Map<Value, GraphFunction>();
  for (const fn of module.functions.values()) verifyFunction(fn, module, owners, options, report);
  verifyWeights(module, report);
  verifyEntries(module, report);
  return report.diagnostics.slice(0, options.limit ?? 100);
}

function verifyFunction(fn: GraphFunction, module: Module, owners: Map<Value, GraphFunction>, options: VerifyOptions, report: Report): void {
  const sizes = new Map<string, Size>();
  const defined = new Set<Value>();
  const define = (v: Value, op?: Op): void => {
    const owner = owners.get(v);
    if (owner) report.global("C-ssa", `the value "${v.name}" is made twice${owner === fn ? "" : ` (first in @${owner.name})`}`, { fn, op });
    owners.set(v, fn);
    defined.add(v);
    verifyType(v.type, sizes, report, { fn, op });
  };
  for (const param of fn.params) define(param);
  for (const op of fn.body) {
    for (const v of op.operands) if (!defined.has(v)) report.global("C-ssa", `the operand "${v.name}" is not made before`, { fn, op });
    if (guarded(() => verifyOp(op, module, fn, report), (message) => report.global("C-axis", message, { fn, op }))) for (const a of attributeAxes(op)) verifyAxis(a, sizes, report, { fn, op });
    for (const v of op.results) define(v, op);
  }
  const params = new Set(fn.params);
  const seen = new Set<Value>();
  for (const v of fn.results) {
    if (params.has(v)) report.global("C-results", `the param "${v.name}" is returned; a copy of it can be`, { fn });
    else if (!defined.has(v)) report.global("C-ssa", `the result "${v.name}" is not made in the function`, { fn });
    if (seen.has(v)) report.global("C-results", `"${v.name}" is returned twice; a copy of it can be`, { fn });
    if (v.type.kind === "number") report.global("C-results", `the result "${v.name}" is a number`, { fn });
    seen.add(v);
  }
  verifyReleases(fn, params, options.released ?? false, report);
}

/** Runs a check whose size arithmetic stumbles over sizes that are none (which the text form can hold). */
function guarded(check: () => boolean, stumbled: (message: string) => void): boolean {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof GraphError)) throw error;
    stumbled(error.message);
    return false;
  }
}

/** The op's own constraints and its results' types. False where its attributes cannot be looked at. */
function verifyOp(op: Op, module: Module, fn: GraphFunction, report: Report): boolean {
  if (!isOpName(op.op)) {
    report.add("MOE4001", "op", `there is no op "${String(op.op)}"`, { fn });
    return false;
  }
  const operands = op.operands.map((v) => v.type);
  const violation = violationOf(op.op, operands, op.attributes, module.functions);
  if (violation) {
    report.add("MOE4001", violation.id, `${violation.text}; found ${violation.found}`, { fn, op });
    return !violation.id.endsWith(".attributes");
  }
  const inferred = rowOf(op.op).infer(operands, op.attributes, module.functions);
  const made = op.results.map((v) => v.type);
  if (inferred.length !== made.length || !inferred.every((t, i) => sameType(t, made[i]!))) {
    report.global("C-types", `the results are (${made.map(describeType).join(", ")}), expected (${inferred.map(describeType).join(", ")})`, { fn, op });
  }
  return true;
}

/** The axes that an op's attributes name with a size. */
function attributeAxes(op: Op): readonly Axis[] {
  const attributes = op.attributes as Readonly<Record<string, unknown>>;
  const specs: Readonly<Record<string, AttributeSpec>> = rowOf(op.op).attributes;
  return Object.entries(specs).flatMap(([name, { kind }]) => {
    const value = attributes[name];
    if (kind === "axis") return [value as Axis];
    return kind === "axes" ? [...(value as readonly Axis[])] : [];
  });
}

function verifyType(type: Type, sizes: Map<string, Size>, report: Report, place: Place): void {
  if (type.kind === "number") return;
  if (type.kind === "list" && !(Number.isSafeInteger(type.count) && type.count > 0)) report.global("C-types", `a list has ${type.count} elements`, place);
  const { axes } = type.kind === "list" ? type.of : type;
  if (new Set(axes.map((a) => a.name)).size !== axes.length) report.global("C-axis", `${describeType(type)} has an axis twice`, place);
  for (const a of axes) verifyAxis(a, sizes, report, place);
}

function verifyAxis(a: Axis, sizes: Map<string, Size>, report: Report, place: Place): void {
  if (!isAxis(a)) {
    report.global("C-axis", `"${a.name}:${a.size}" is no axis: a name and a canonical size were expected`, place);
    return;
  }
  const known = sizes.get(a.name);
  if (known === undefined) sizes.set(a.name, a.size);
  else if (!equalSizes(known, a.size)) report.global("C-axis", `the axis ${a.name} is of size ${a.size} here and ${known} before`, place);
}

/** Releases do no harm; and, where `complete` is asked for, nothing made is left over. */
function verifyReleases(fn: GraphFunction, params: ReadonlySet<Value>, complete: boolean, report: Report): void {
  const results = new Set(fn.results);
  const released = new Set<Value>();
  for (const op of fn.body) {
    for (const v of op.operands) {
      if (released.has(v)) report.global("C-release", `"${v.name}" is ${op.op === "release" ? "released twice" : "used after its release"}`, { fn, op });
      if (op.op !== "release") continue;
      if (params.has(v)) report.global("C-release", `the param "${v.name}" is released; it is the caller's`, { fn, op });
      if (results.has(v)) report.global("C-release", `the result "${v.name}" is released; it is the caller's`, { fn, op });
      released.add(v);
    }
  }
  if (!complete) return;
  for (const op of fn.body) {
    for (const v of op.results) {
      if (!released.has(v) && !results.has(v) && v.type.kind !== "number") report.global("C-release", `"${v.name}" is neither released nor returned`, { fn, op });
    }
  }
}

/** Depth-first over the call graph, with an explicit stack: a hostile text may nest calls deeply. */
function verifyNoRecursion(module: Module, report: Report): void {
  const done = new Set<string>();
  const callees = (name: string): readonly string[] =>
    (module.functions.get(name)?.body ?? []).flatMap((op) => (op.op === "call" || op.op === "fold" ? [(op.attributes as { fn: string }).fn] : []));
  for (const start of module.functions.keys()) {
    const open = new Set<string>();
    const stack: { name: string; rest: readonly string[]; next: number }[] = [];
    const enter = (name: string): void => {
      if (open.has(name)) {
        report.global("C-functions", `@${name} calls itself`, { fn: module.functions.get(name) });
      } else if (!done.has(name) && module.functions.has(name)) {
        open.add(name);
        stack.push({ name, rest: callees(name), next: 0 });
      }
    };
    enter(start);
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      if (top.next < top.rest.length) {
        enter(top.rest[top.next++]!);
      } else {
        stack.pop();
        open.delete(top.name);
        done.add(top.name);
      }
    }
  }
}

