import type { Binary, BinaryOperator, Expression, Unary } from "./ast.ts";
import type { Span } from "../diagnostics/index.ts";
import { precedence, prefixPrecedence } from "./tokens.ts";

/** An operator of an expression that is still flat. */
export interface FlatOperator {
  readonly text: string;
  readonly span: Span;
  readonly prefix: boolean;
}

const comparison = precedence["=="]!;
const power = precedence["^"]!;

/**
 * Makes the tree of a flat expression: prefix operators, an operand, then binary operators each with prefixes and an
 * operand. `chained` is told of a comparison whose left side is a comparison, and of its operator.
 */
export function foldOperators(parts: readonly (FlatOperator | Expression)[], chained: (left: Binary, operator: FlatOperator) => void): Expression {
  let i = 0;

  const operand = (): Expression => {
    const part = parts[i++]!;
    if (!("prefix" in part)) return part;
    const inner = level(prefixPrecedence[part.text]!);
    const unary: Unary = {
      kind: "unary",
      span: { file: part.span.file, start: part.span.start, end: Math.max(part.span.end, inner.span.end) },
      operator: part.text as Unary["operator"],
      operand: inner,
    };
    return unary;
  };

  const level = (weakest: number): Expression => {
    let left = operand();
    for (;;) {
      const operator = parts[i] as FlatOperator | undefined;
      if (operator === undefined) return left;
      const strength = precedence[operator.text]!;
      if (strength < weakest) return left;
      i++;
      if (strength === comparison && left.kind === "binary" && precedence[left.operator] === comparison && !brackets.has(left)) chained(left, operator);
      const right = level(strength === power ? prefixPrecedence["-"]! : strength + 1);
      const made: Binary = {
        kind: "binary",
        span: { file: left.span.file, start: left.span.start, end: Math.max(left.span.end, right.span.end) },
        operator: operator.text as BinaryOperator,
        left,
        right,
      };
      left = made;
    }
  };
  const operands = new Set(parts);
  const brackets = { has: (e: Expression) => operands.has(e) };
  return level(0);
}
