import { createToken, Lexer, type IToken, type TokenType } from "chevrotain";

/**
 * The token table. Nearly every keyword belongs to the category `Identifier`, so that a weight may be called `model`
 * and an axis `in`: the grammar, not the lexer, decides what a word is. Only the words of `reservedWords` never name a thing.
 */

/** What a segment of a path is made of, besides names: `0`, `*`, `**`. */
export const PathPiece = createToken({ name: "PathPiece", pattern: Lexer.NA });
export const BinaryOperator = createToken({ name: "BinaryOperator", pattern: Lexer.NA });
export const PrefixOperator = createToken({ name: "PrefixOperator", pattern: Lexer.NA });

/**
 * What each pattern may begin with, and that it holds no line break: Chevrotain would find out by reading every expression,
 * which costs a command as much time as reading its spec.
 */
const begins = (...characters: readonly string[]): { readonly start_chars_hint: string[]; readonly line_breaks: boolean } => ({ start_chars_hint: characters.flatMap((c) => [...c]), line_breaks: false });
const digits = "0123456789";
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";

export const Identifier = createToken({ name: "Identifier", pattern: /[A-Za-z_][A-Za-z0-9_]*/, categories: [PathPiece], ...begins(letters) });

const keywordTokens: TokenType[] = [];

function keyword(text: string): TokenType {
  const token = createToken({ name: `'${text}'`, label: `\`${text}\``, pattern: text, longer_alt: Identifier, categories: [Identifier] });
  keywordTokens.push(token);
  return token;
}

function reserved(text: string, categories: TokenType[] = []): TokenType {
  const token = createToken({ name: `'${text}'`, label: `\`${text}\``, pattern: text, longer_alt: Identifier, categories });
  keywordTokens.push(token);
  return token;
}

function symbol(text: string, categories: TokenType[] = []): TokenType {
  return createToken({ name: `'${text}'`, label: `\`${text}\``, pattern: text, categories });
}

export const Base = keyword("base");
export const Adapter = keyword("adapter");
export const Train = keyword("train");
export const Import = keyword("import");
export const Param = keyword("param");
export const Const = keyword("const");
export const Expert = keyword("expert");
export const Router = keyword("router");
export const Balance = keyword("balance");
export const Model = keyword("model");
export const Fn = keyword("fn");
export const On = keyword("on");
export const With = keyword("with");
export const Kinds = keyword("kinds");
export const Field = keyword("field");
export const At = keyword("at");
export const Experts = keyword("experts");
export const Always = keyword("always");
export const Route = keyword("route");
export const Per = keyword("per");
export const Sum = keyword("sum");
export const Mean = keyword("mean");
export const Pooled = keyword("pooled");
export const Over = keyword("over");
export const Sites = keyword("sites");
export const Unmasked = keyword("unmasked");
export const Mix = keyword("mix");
export const Weights = keyword("weights");
export const Outputs = keyword("outputs");
export const Patch = keyword("patch");
export const Unfreeze = keyword("unfreeze");
export const In = keyword("in");
export const Config = keyword("config");
export const Require = keyword("require");
export const Expect = keyword("expect");
export const Weight = keyword("weight");
export const Frozen = keyword("frozen");
export const State = keyword("state");
export const Update = keyword("update");
export const Linear = keyword("linear");
export const Unused = keyword("unused");
export const Axis = keyword("axis");
export const Block = keyword("block");
export const Stored = keyword("stored");
export const Bias = keyword("bias");
export const From = keyword("from");
export const When = keyword("when");

export const If = reserved("if");
export const Then = reserved("then");
export const Else = reserved("else");
export const And = reserved("and", [BinaryOperator]);
export const Or = reserved("or", [BinaryOperator]);
export const Not = reserved("not", [PrefixOperator]);
export const True = reserved("true");
export const False = reserved("false");

/** A fraction needs a digit after its point, so that `layers.0.mlp` is three segments. */
export const NumberToken = createToken({
  name: "Number",
  label: "a number",
  pattern: /[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/,
  ...begins(digits),
  categories: [PathPiece],
});
export const StringToken = createToken({ name: "String", label: "a string", pattern: /"[^"\\\r\n]*(?:\\[^\r\n][^"\\\r\n]*)*"/, ...begins('"') });
/** A string that its line ends before its quote does; taken as a string after it is reported. */
export const OpenString = createToken({
  name: "OpenString",
  label: "a string",
  pattern: /"[^"\\\r\n]*(?:\\[^\r\n][^"\\\r\n]*)*\\?/,
  ...begins('"'),
  categories: [StringToken],
});

export const LParen = symbol("(");
export const RParen = symbol(")");
export const LSquare = symbol("[");
export const RSquare = symbol("]");
export const LCurly = symbol("{");
export const RCurly = symbol("}");
export const Comma = symbol(",");
export const Colon = symbol(":");
export const Dot = symbol(".");
export const Bar = symbol("|");
export const Equals = symbol("=");
export const Arrow = symbol("->");
export const DoubleStar = symbol("**", [PathPiece]);
export const Star = symbol("*", [PathPiece, BinaryOperator]);
export const Minus = symbol("-", [BinaryOperator, PrefixOperator]);

const operators = ["==", "!=", "<=", ">=", "<", ">", "+", "/", "%", "^", "@"].map((text) => symbol(text, [BinaryOperator]));

export const LineComment = createToken({ name: "LineComment", pattern: /\/\/[^\r\n]*/, group: "comments", ...begins("/") });
export const BlockComment = createToken({ name: "BlockComment", pattern: /\/\*(?:[^*]|\*(?!\/))*\*\//, group: "comments", ...begins("/"), line_breaks: true });
/** `/*` without its end: the rest of the file. */
export const OpenComment = createToken({ name: "OpenComment", pattern: /\/\*[\s\S]*/, group: "comments", ...begins("/"), line_breaks: true });
const WhiteSpace = createToken({ name: "WhiteSpace", pattern: /[ \t\r\n]+/, group: Lexer.SKIPPED, ...begins(" \t\r\n"), line_breaks: true });
const ByteOrderMark = createToken({ name: "ByteOrderMark", pattern: /\uFEFF/, group: Lexer.SKIPPED, ...begins("\uFEFF") });

/** Keywords stand longest first and before `Identifier`; two-character symbols before one-character ones. */
export const tokenTypes: TokenType[] = [
  WhiteSpace,
  LineComment,
  BlockComment,
  OpenComment,
  ...keywordTokens.sort((a, b) => (b.PATTERN as string).length - (a.PATTERN as string).length),
  Identifier,
  NumberToken,
  StringToken,
  OpenString,
  Arrow,
  DoubleStar,
  Star,
  Minus,
  ...operators,
  LParen,
  RParen,
  LSquare,
  RSquare,
  LCurly,
  RCurly,
  Comma,
  Colon,
  Dot,
  Bar,
  Equals,
  ByteOrderMark,
  PathPiece,
  BinaryOperator,
  PrefixOperator,
];

const isReserved = new Set<TokenType>([If, Then, Else, And, Or, Not, True, False]);

/** Words that no declaration may take as a name. */
export const reservedWords: readonly string[] = [...isReserved].map((token) => token.PATTERN as string);

/** Words that mean something at some place; a declaration may still take them as names. */
export const keywords: readonly string[] = keywordTokens.filter((t) => !isReserved.has(t)).map((t) => t.PATTERN as string);

/** Whether the token is one of the reserved words, which are never names. */
export function isReservedWord(token: TokenType): boolean {
  return isReserved.has(token);
}

/** What each bracket closes with. */
export const closerOf = new Map<TokenType, TokenType>([
  [LParen, RParen],
  [LSquare, RSquare],
  [LCurly, RCurly],
]);
export const closers = new Set<TokenType>(closerOf.values());

let lexer: Lexer | undefined;

/** The one lexer, made when first asked for. */
export function theLexer(): Lexer {
  lexer ??= new Lexer(tokenTypes, { positionTracking: "onlyOffset", ensureOptimizations: true, skipValidations: true });
  return lexer;
}

/** Binary operators by strength, weakest first. Comparisons do not chain; `^` is right associative. */
export const precedence: Readonly<Record<string, number>> = {
  or: 1,
  and: 2,
  "==": 4,
  "!=": 4,
  "<": 4,
  "<=": 4,
  ">": 4,
  ">=": 4,
  "+": 5,
  "-": 5,
  "*": 6,
  "/": 6,
  "%": 6,
  "@": 6,
  "^": 8,
};
/** `not` binds weaker than a comparison, unary minus weaker than `^`. */
export const prefixPrecedence: Readonly<Record<string, number>> = { not: 3, "-": 7 };
export const openers: ReadonlySet<TokenType> = new Set(closerOf.keys());

/** The offset after a token (the lexer tracks only where one begins). */
export function endOf(token: IToken): number {
  return token.startOffset + token.image.length;
}
