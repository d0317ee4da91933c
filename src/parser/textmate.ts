import { keywords, reservedWords, tokenTypes, BinaryOperator, Identifier, NumberToken, StringToken } from "./tokens.ts";

/**
 * Words by what they look like in an editor. Most may also be names, so they are coloured only where they stand as words of
 * the language; `textmate` fails on a word of the token table that stands in none of these lists.
 */
const words = {
  /** Begin a declaration, with its name. */
  declarations: ["base", "adapter", "train", "param", "const", "expert", "router", "balance", "model", "fn"],
  /** Begin a clause or an item. */
  items: ["import", "at", "experts", "always", "route", "balance", "mix", "unfreeze", "kinds", "field", "config", "require", "expect", "weight", "frozen", "state", "update", "linear", "unused", "axis", "block"],
  /** Stand within a declaration, a clause or an item. */
  within: ["on", "with", "per", "sum", "mean", "over", "sites", "pooled", "unmasked", "in", "stored", "bias", "from", "when", "outputs", "weights", "patch"],
  control: ["if", "then", "else"],
  operators: ["and", "or", "not"],
  constants: ["true", "false"],
} as const;

const types = ["int", "float", "bool", "string", "axis"];
const name = (Identifier.PATTERN as RegExp).source;
const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const either = (list: readonly string[]): string => list.join("|");

/** The TextMate grammar for editors. Its expressions are ones that both Oniguruma and JavaScript read. */
export function textmate(): object {
  const known = new Set<string>(Object.values(words).flat());
  const unknown = [...keywords, ...reservedWords].filter((word) => !known.has(word));
  if (unknown.length > 0) throw new Error(`the TextMate grammar does not know ${unknown.join(", ")}`);
  const symbols = tokenTypes
    .filter((t) => t.CATEGORIES?.includes(BinaryOperator) && !/[a-z]/.test(t.PATTERN as string))
    .map((t) => t.PATTERN as string)
    .sort((a, b) => b.length - a.length);
  // A word that begins a line, or follows a brace, and is no name that is given a value.
  const begins = "(^\\s*|(?<=\\{)\\s*)";
  return {
    $schema: "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
    information_for_contributors: ["Generated from the token table by scripts/grammar.mjs: do not edit."],
    name: "moe",
    scopeName: "source.moe",
    fileTypes: ["moe"],
    patterns: [
      "comments", "strings", "declarations", "items", "mix", "balanceTail", "allowed", "within", "control", "types", "numbers", "arguments", "calls", "operators", "punctuation",
    ].map((rule) => ({ include: `#${rule}` })),
    repository: {
      comments: {
        patterns: [
          { name: "comment.line.documentation.moe", match: "///(?!/).*$" },
          { name: "comment.line.double-slash.moe", match: "//.*$" },
          { name: "comment.block.moe", begin: "/\\*", end: "\\*/" },
        ],
      },
      strings: {
        patterns: [
          { name: "string.quoted.double.moe", match: (StringToken.PATTERN as RegExp).source, captures: { 0: { patterns: [{ name: "constant.character.escape.moe", match: "\\\\(?:[\"\\\\nt]|u\\{[0-9a-fA-F]{1,6}\\})" }] } } },
        ],
      },
      declarations: {
        match: `^(\uFEFF?)(${either(words.declarations)})\\s+(${name})(?=\\s*[=:({]|\\s+on\\b)`,
        captures: { 2: { name: "keyword.declaration.moe" }, 3: { name: "entity.name.type.moe" } },
      },
      items: {
        patterns: [
          {
            match: `${begins}(${either(words.items.filter((w) => !["import", "at", "always", "route", "balance", "mix", "unfreeze", "config", "require", "expect", "unused"].includes(w)))})\\s+(${name})`,
            captures: { 2: { name: "keyword.other.moe" }, 3: { name: "variable.other.definition.moe" } },
          },
          { match: `${begins}(${either(words.items)})\\b(?=\\s*$|\\s*\\}|\\s+[\\w"{*(\\[-])`, captures: { 2: { name: "keyword.other.moe" } } },
        ],
      },
      mix: { name: "keyword.other.moe", match: "(?<=\\bmix\\s)(?:outputs|weights)\\b" },
      balanceTail: { name: "keyword.other.moe", match: "\\b(?:sum|mean|pooled)\\s+over\\s+sites\\b" },
      allowed: { name: "keyword.other.moe", match: "\\bin(?=\\s+\\[)" },
      within: {
        name: "keyword.other.moe",
        match: `\\b(?:${either(words.within.filter((w) => !["sum", "mean", "over", "sites", "in", "outputs", "weights", "pooled", "unmasked", "patch", "with"].includes(w)))})(?=\\s+[\\w"([])|\\bunmasked(?=\\s*(?:$|[{}]|//))|\\bpatch(?=\\s*\\{)|\\bwith(?=\\s*\\{)`,
      },
      control: {
        patterns: [
          { name: "keyword.control.moe", match: `\\b(?:${either(words.control)})\\b` },
          { name: "keyword.operator.logical.moe", match: `\\b(?:${either(words.operators)})\\b` },
          { name: "constant.language.moe", match: `\\b(?:${either(words.constants)})\\b` },
        ],
      },
      types: { match: `(?<=:|:\\s\\[)\\s*(${either(types)})\\b(?!\\s*[|(.:])`, captures: { 1: { name: "support.type.moe" } } },
      numbers: { name: "constant.numeric.moe", match: `\\b${(NumberToken.PATTERN as RegExp).source}` },
      arguments: { name: "variable.parameter.moe", match: `\\b${name}(?=\\s*:)` },
      calls: { name: "entity.name.function.moe", match: `\\b${name}(?=\\()` },
      operators: { name: "keyword.operator.moe", match: `->|${either(symbols.map(escaped))}|\\*\\*|=|\\|` },
      punctuation: { name: "punctuation.moe", match: "[(){}\\[\\],:.]" },
    },
  };
}
