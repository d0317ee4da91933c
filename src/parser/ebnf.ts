import { serializeGrammar, type ISerializedGast, type TokenType } from "chevrotain";
import { MoeParser } from "./grammar.ts";
import { reservedWords, tokenTypes, Identifier, NumberToken, StringToken, BinaryOperator, PrefixOperator, PathPiece, precedence } from "./tokens.ts";

/** The fields of Chevrotain's serialised grammar that are used here. */
export interface Production {
  readonly type: string;
  readonly name?: string;
  readonly definition?: readonly Production[];
  readonly idx?: number;
}

const heading = `(* The grammar of .moe files, generated from the parser by scripts/grammar.mjs: do not edit.

   [ x ] at most once, { x } any number of times, | either. The last comma of a list in brackets may be left out or
   written; between its items commas are needed, but not between the fields of a record or the arrows of a balance.

   What a grammar of this kind does not say:
   - Blanks and line ends only separate, except that the "(" of a call and the "[" of an index stand on the line of what
     they follow, that a setting of train has its value on its line, and that the parts of a path's segment touch.
   - Every word in quotes may also be a name, except the reserved ones: ${reservedWords.join(", ")}.
   - The last expression of a body without a name is its result; no other line of a body may lack one.
   - The term of a balance clause is a call or a product whose last factor is a call.
   - Comments: // to the end of the line, /* to */; /// documents what stands right below.
*)
`;

/** The rules as the parser knows them: the file first, then each rule after the first that uses it. */
export function rulesInOrder(): readonly { readonly name: string; readonly definition: readonly Production[] }[] {
  const rules = new Map(
    serializeGrammar(Object.values(new MoeParser().getGAstProductions())).map((rule) => {
      const { name, definition = [] } = rule as ISerializedGast & Production;
      return [name!, definition] as const;
    }),
  );
  const order = new Set(["file"]);
  for (const name of order) for (const used of usedBy(rules.get(name)!)) order.add(used);
  return [...order].map((name) => ({ name, definition: rules.get(name)! }));
}

/** The grammar as EBNF. */
export function ebnf(): string {
  const body = rulesInOrder().map(({ name, definition }) => `${name} = ${sequence(definition)} ;\n`);
  return `${heading}\n${body.join("")}\n${lexical()}`;
}

function usedBy(parts: readonly Production[]): string[] {
  return parts.flatMap((part) => (part.type === "NonTerminal" ? [part.name!] : usedBy(part.definition ?? [])));
}

function sequence(parts: readonly Production[]): string {
  return parts.map((part) => single(part)).join(" , ");
}

function single(part: Production): string {
  const inner = (): string => sequence(part.definition ?? []);
  switch (part.type) {
    case "Terminal":
      return terminal(part.name!);
    case "NonTerminal":
      return part.name!;
    case "Option":
      return `[ ${inner()} ]`;
    case "Repetition":
      return `{ ${inner()} }`;
    case "Alternation":
      return `( ${(part.definition ?? []).map((alternative) => sequence(alternative.definition ?? [])).join(" | ")} )`;
    default:
      return inner();
  }
}

/** A token's name is its text in single quotes where it has one. */
function terminal(name: string): string {
  return name.startsWith("'") ? `"${name.slice(1, -1)}"` : name;
}

function lexical(): string {
  const members = (category: TokenType): string =>
    tokenTypes.filter((token) => token.CATEGORIES?.includes(category)).map((token) => terminal(token.name)).join(" | ");
  const levels = [...new Set(Object.values(precedence))].map((level) => Object.keys(precedence).filter((key) => precedence[key] === level).join(" "));
  return `(* Operators, weakest first: ${levels.join("; ")}. "not" stands between "and" and the comparisons, unary "-" before "^".
   All associate to the left, "^" to the right; comparisons do not chain. *)
BinaryOperator = ${members(BinaryOperator)} ;
PrefixOperator = ${members(PrefixOperator)} ;
PathPiece = ${members(PathPiece).split(" | ").filter((name) => !name.startsWith('"') || name.includes("*")).join(" | ")} ;
Identifier = ? ${(Identifier.PATTERN as RegExp).source} ? ;
Number = ? ${(NumberToken.PATTERN as RegExp).source} ? ;
String = ? ${(StringToken.PATTERN as RegExp).source} ? ;
`;
}
