import { fail } from "../diagnostics/index.ts";
import type { Binary, Expression, ParameterType } from "../parser/ast.ts";
import { constant, showConst, type Const, type ConstValue } from "./values.ts";

/** An operator on compile-time values. Division is real; `%` has the sign of the divisor, as in Python. */
export function constBinary(e: Binary, left: Const, right: Const): Const {
  if (e.operator === "==" || e.operator === "!=") {
    const same = left.value === right.value;
    return constant(e.operator === "==" ? same : !same);
  }
  if (e.operator === "@") return fail("MOE3001", "`@` is a product of tensors; these are numbers", { at: e.span, help: "write `*`" });
  const a = numberOf(left, e.left);
  const b = numberOf(right, e.right);
  switch (e.operator) {
    case "+":
      return constant(a + b);
    case "-":
      return constant(a - b);
    case "*":
      return constant(a * b);
    case "/":
    case "%":
      if (b === 0) fail("MOE2010", "this divides by zero", { at: e.right.span });
      return constant(e.operator === "/" ? a / b : a - Math.floor(a / b) * b);
    case "^":
      return constant(a ** b);
    case "<":
      return constant(a < b);
    case "<=":
      return constant(a <= b);
    case ">":
      return constant(a > b);
    default:
      return constant(a >= b);
  }
}

/** A number, or MOE2005. */
export function numberOf(value: Const, e: Expression): number {
  if (typeof value.value === "number") return value.value;
  return fail("MOE2005", `a number is needed here, this is ${showConst(value.value)}`, { at: e.span });
}

/** A truth value, or MOE2005. */
export function booleanOf(value: Const, e: Expression): boolean {
  if (typeof value.value === "boolean") return value.value;
  return fail("MOE2005", `true or false is needed here, this is ${showConst(value.value)}`, { at: e.span });
}

/** "an int", "a choice". */
export function article(noun: string): string {
  return `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
}

/** A value of a type, for a message that shows how to write one. */
export function example(type: ParameterType): string {
  switch (type.kind) {
    case "int":
      return "4";
    case "float":
      return "0.1";
    case "bool":
      return "true";
    case "string":
      return '"…"';
    case "choice":
      return type.choices[0]?.text ?? "…";
    default:
      return "…";
  }
}

/** Why a value is not of a type, as advice; undefined where it is. The empty string: nothing to advise. */
export function mismatch(type: ParameterType, value: ConstValue): string | undefined {
  switch (type.kind) {
    case "int":
      if (typeof value === "number" && Number.isSafeInteger(value)) return undefined;
      return typeof value === "number" ? `a whole number, for example ${Math.max(1, Math.round(value))}` : "write a whole number without quotes";
    case "float":
      return typeof value === "number" && Number.isFinite(value) ? undefined : "write a number without quotes";
    case "bool":
      return typeof value === "boolean" ? undefined : "write true or false";
    case "string":
      return typeof value === "string" ? undefined : "write it in double quotes";
    case "list":
      return Array.isArray(value) && value.every((v) => mismatch(type.of, v) === undefined) ? undefined : "write [a, b, …]";
    default:
      return undefined;
  }
}
