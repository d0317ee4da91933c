import { expect } from "vitest";
import { parse } from "../../src/parser/index.ts";
import { clean, does, gives, on, same, value, type Cases } from "./cases.ts";

const nested = (depth: number): string => `const v = ${"(".repeat(depth)}1${")".repeat(depth)}\n`;
const sums = (operators: number): string => `const v = 1${" + 1".repeat(operators)}\n`;
const doc = (text: string): string | undefined => (parse(text, "doc.moe").declarations[0] as { doc?: string }).doc;
/** A warning of a definition of the library: MOE2040. */
const warned = "always lora(rank: 1, dropout: 0.9)";

/** R1, text, and R2, files. */
export const text: Cases = {
  "R1.1": [
    clean("a file of 1,000,000 characters", `const v = 1${" ".repeat(1_000_000 - 11)}`),
    gives("MOE1021", "one more", `const v = 1${" ".repeat(1_000_000 - 10)}`),
    value("\ufeffconst v = 1", 1),
  ],
  "R1.2": [same("no line ends", "const a = 1\nconst b = a\n", "const a=1 const b=a"), same("many of them", "const a = 1\nconst b = a\n", "const\n\n  a\n=\n1\n\tconst b = a")],
  "R1.3": [
    value("// const v = 1\nconst v = 2 // const w = 3", 2),
    value("/* const v = 1\n*/ const v = /* 3 */ 2", 2),
    value("/* /* */ const v = 2", 2),
    gives("MOE1001", "a comment in a comment", "/* /* */ */ const v = 2"),
    gives("MOE1009", "a comment without its end", "const v = 2 /* and"),
  ],
  "R1.4": [
    does("the unbroken run right above documents; after code, or with four strokes, nothing does", () => {
      expect(doc("/// One.\n/// Two.\nconst v = 1\n")).toBe("One.\nTwo.");
      expect(doc("/// One.\n\n/// Two.\nconst v = 1\n")).toBe("Two.");
      expect(doc("/// One.\n\nconst v = 1\n")).toBeUndefined();
      expect(doc("//// One.\nconst v = 1\n")).toBeUndefined();
      expect(doc("const v = 1 /// One.\n")).toBeUndefined();
    }),
  ],
  "R1.5": [
    clean("words of the language as names", "const experts = 1\nconst route = experts\nconst _a9 = route\nconst axis = _a9\n"),
    ...["if", "then", "else", "and", "or", "not", "true", "false"].map((word) => gives("MOE1010", `"${word}" as a name`, `const ${word} = 1\n`)),
  ],
  "R1.6": [
    value("const v = [12, 0.05, 2e-4, 1E+3]", [12, 0.05, 2e-4, 1000]),
    value("const v = 9007199254740991", 9007199254740991),
    gives("MOE1007", "a greater integer", "const v = 9007199254740992\n"),
    value("const v = 9007199254740992.0", 9007199254740992),
  ],
  "R1.7": [
    value('const v = "a\\"b\\\\c\\n\\t\\u{e9}"', 'a"b\\c\n\té'),
    gives("MOE1005", "a string on two lines", 'const v = "a\nconst w = 1\n'),
    gives("MOE1008", "an unknown escape", 'const v = "\\q"\n'),
  ],
  "R1.8": [
    value("const v = max(\n1,\n2)", 2),
    gives("MOE1001", "the ( of a call on the next line", "const v = max\n(1, 2)\n"),
    gives("MOE1001", "the [ of an index on the next line", "const l = [1]\nconst v = l\n[0]\n"),
  ],
  "R1.9": [clean("64 deep", nested(64)), gives("MOE1020", "65 deep", nested(65)), clean("400 operators", sums(400)), gives("MOE1020", "401 operators", sums(401))],
  "R1.10": [
    gives("MOE2040", "what warns", on(warned)),
    clean("on its own line", on(`${warned} // moec: allow MOE2040 because it is tried`)),
    clean("on the line before", on(`// moec: allow MOE2040 because it is tried\n// a comment\n${warned}`)),
    gives("MOE2040 MOE2046", "a blank line ends its reach", on(`// moec: allow MOE2040 because it is tried\n\n${warned}`)),
  ],
  "R1.11": [
    gives("MOE2044", "an error", on("// moec: allow MOE2010 because I say so\nalways lora(rank: 1)")),
    gives("MOE2043", "a code that there is none of", on("// moec: allow MOE2999 because I say so\nalways lora(rank: 1)")),
    gives("MOE2045", "no reason", on(`// moec: allow MOE2040\n${warned}`)),
    gives("MOE2046", "nothing", on("// moec: allow MOE2040 because it is tried\nalways lora(rank: 1)")),
  ],

  "R2.1": [clean("any order", `train A {\n  data "x.jsonl"\n}\n${on("always lora(rank: r)")}\nconst r = 2\n`), gives("MOE1001", "no clause of an adapter by itself", "always lora(rank: 1)\n")],
  "R2.2": [
    value('import "lib/more.moe"\nconst v = w', 3, { files: { "lib/more.moe": 'import "deep/est.moe"\nconst w = z\n', "lib/deep/est.moe": "const z = 3\n" } }),
    gives("MOE5103", "a file outside", 'import "../more.moe"\n'),
    gives("MOE5101", "a file that is not there", 'import "more.moe"\n'),
  ],
  "R2.3": [
    clean("a definition of each kind may have one name", `expert one() {\n  (y [out]) -> [out] = y\n}\nfn one(x) = x\nbalance one() {\n  (gates [sample, position, expert], mask [sample, position]) -> [] = sum(gates * mask)\n}\nconst one = 1\n`),
    gives("MOE2013", "twice in one", "const a = 1\nparam a: int = 2\n"),
    gives("MOE2013", "two adapters", `${on("always lora(rank: 1)")}adapter A on b {\n  at layers.0.mlp.up_proj { always lora(rank: 1) }\n}\n`),
    clean("the library's, anew", on("always lora()", "expert lora() {\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l\n}\n")),
    gives("MOE2013", "a built-in function", "fn exp(x) = x\n"),
  ],
  "R2.4": [
    value('param v: int = 4 in [1, 2, 4]', 4),
    value('param v: int = 4 in [1, 2, 4]', 2, { set: { v: "2" } }),
    gives("MOE2004", "a default that is not in its list", "param v: int = 3 in [1, 2, 4]\n"),
    gives("MOE2004", "a default of another type", "param v: int = 2.5\n"),
    gives("MOE9002", "a value that is not in the list", "param v: int = 4 in [1, 2, 4]\n", { set: { v: "3" } }),
    gives("MOE9002", "a const", "const v = 4\n", { set: { v: "3" } }),
    value("param r: int = 4\nconst v = 2 * r", 8),
  ],
  "R2.5": [
    clean("of every kind", 'param a: int = 1\nparam b: float = 0.5\nparam c: bool = true\nparam d: string = "x"\nparam e: cv2 | none = none\n'),
    value("param v: cv2 | none = none", null),
    gives("MOE2004", "none of the choices", "param v: cv2 | var = mean\n"),
    clean("a list, in a definition", on("always own(by: [1, 2.5])", "expert own(by: [float]) {\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l * by[0] * length(by)\n}\n")),
    gives("MOE2004", "a list of the wrong things", on('always own(by: ["a"])', "expert own(by: [float]) {\n  weight l [out] = ones()\n  (y [out]) -> [out] = y * l * by[0]\n}\n")),
  ],
};
