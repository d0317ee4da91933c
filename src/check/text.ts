import type { BinaryOperator, Expression, Member, NameExpression } from "../parser/ast.ts";

/** How strongly an operator binds, for brackets in messages. */
const strength: Readonly<Record<BinaryOperator, number>> = {
  or: 1, and: 2, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6, "@": 6, "^": 8,
};

/** An expression as text, for messages: with the brackets it needs, without the text's comments and line breaks. */
export function textOf(e: Expression): string {
  switch (e.kind) {
    case "number":
    case "boolean":
      return String(e.value);
    case "string":
      return JSON.stringify(e.value);
    case "name":
      return e.text;
    case "list":
      return `[${e.items.map(textOf).join(", ")}]`;
    case "member":
      return `${textOf(e.object)}.${e.name.text}`;
    case "call":
      return `${e.callee.text}(${e.args.map((a) => (a.name ? `${a.name.text}: ` : "") + textOf(a.value)).join(", ")})`;
    case "index":
      return `${textOf(e.object)}[${textOf(e.index)}]`;
    case "unary":
      return (e.operator === "not" ? "not " : "-") + operand(e.operand, 7);
    case "binary":
      return `${operand(e.left, strength[e.operator])} ${e.operator} ${operand(e.right, strength[e.operator] + 1)}`;
    case "conditional":
      return `if ${textOf(e.condition)} then ${textOf(e.then)} else ${textOf(e.otherwise)}`;
    case "missing":
      return "…";
  }
}

/** An operand that binds at least so strongly, else in brackets. */
function operand(e: Expression, least: number): string {
  const weak = e.kind === "conditional" || (e.kind === "binary" && strength[e.operator] < least);
  return weak ? `(${textOf(e)})` : textOf(e);
}

/** The names, and the fields of configurations, that an expression takes its values from. */
export function* valuesIn(e: Expression): Generator<NameExpression | Member> {
  switch (e.kind) {
    case "name":
    case "member":
      yield e;
      break;
    case "unary":
      yield* valuesIn(e.operand);
      break;
    case "binary":
      yield* valuesIn(e.left);
      yield* valuesIn(e.right);
      break;
    case "index":
      yield* valuesIn(e.object);
      yield* valuesIn(e.index);
      break;
    case "list":
      for (const item of e.items) yield* valuesIn(item);
      break;
    case "call":
      for (const a of e.args) yield* valuesIn(a.value);
      break;
    case "conditional":
      yield* valuesIn(e.condition);
      yield* valuesIn(e.then);
      yield* valuesIn(e.otherwise);
      break;
    default:
  }
}
