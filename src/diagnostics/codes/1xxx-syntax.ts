import { codes } from "../row.ts";

/** 1xxx: the text does not follow the grammar. */
export const syntaxCodes = codes({
  MOE1001: {
    severity: "error",
    title: "unexpected text",
    explain:
      "At this place stands something that cannot stand here, or something that must stand here is missing; the message says what was expected. Statements and clauses have no separators: each begins with its own word, so a word that is misspelt is usually the cause.",
    bad: "const rate = 2e-4\n\nconst scale : 0.1\n",
    good: "const rate = 2e-4\n\nconst scale = 0.1\n",
  },
  MOE1002: {
    severity: "error",
    title: "missing expression",
    explain: "A value is expected here and none begins: after an operator, after `=`, in an argument or in an index. Often a name was deleted and its operator left behind.",
    bad: "fn double(x) = 2 *\n",
    good: "fn double(x) = 2 * x\n",
  },
  MOE1003: {
    severity: "error",
    title: "bracket never closed",
    explain:
      "Every `(`, `[` and `{` needs its `)`, `]` or `}`. The message points at the bracket that is open and, as well as the indentation lets it be guessed, at the place where the closing one is missing.",
    bad: "fn double(x) = (2 * x\n",
    good: "fn double(x) = (2 * x)\n",
  },
  MOE1004: {
    severity: "error",
    title: "bracket closes nothing",
    explain: "A `)`, `]` or `}` stands here without an open bracket before it. It is one too many, or its opening bracket was deleted.",
    bad: "fn double(x) = 2 * x)\n",
    good: "fn double(x) = 2 * x\n",
  },
  MOE1005: {
    severity: "error",
    title: "string without its end",
    explain: 'A string begins and ends with `"` on one line. A line break inside a string is written `\\n`, a quote `\\"`.',
    bad: 'fn root(x) {\n  require 2 > 1, "always true\n  sqrt(x)\n}\n',
    good: 'fn root(x) {\n  require 2 > 1, "always true"\n  sqrt(x)\n}\n',
  },
  MOE1006: {
    severity: "error",
    title: "character that is not part of the language",
    explain:
      "Outside of strings and comments a text has letters a to z, digits, `_`, and the operators and brackets of the language. `;` is not needed, `'` quotes nothing, and word processors put typographic quotes and dashes for plain ones.",
    bad: "const scale = 2;\n",
    good: "const scale = 2\n",
  },
  MOE1007: {
    severity: "error",
    title: "malformed number",
    explain:
      "A number is digits, perhaps a fraction after a point, perhaps an exponent: `12`, `0.05`, `2e-4`. There are no units, no `_` between digits and no other bases. Integers must be exact: they end at 9007199254740991.",
    bad: "const steps = 10_000\n",
    good: "const steps = 10000\n",
  },
  MOE1008: {
    severity: "error",
    title: "unknown escape in a string",
    explain: 'After a backslash in a string stands `"`, `\\`, `n`, `t` or `u{…}` with the hexadecimal number of a character. A backslash itself is written `\\\\`; paths may be written with `/` on every system.',
    bad: 'fn root(x) {\n  require 2 > 1, "a\\b"\n  sqrt(x)\n}\n',
    good: 'fn root(x) {\n  require 2 > 1, "a/b"\n  sqrt(x)\n}\n',
  },
  MOE1009: {
    severity: "error",
    title: "comment never closed",
    explain: "A comment that begins with `/*` goes on to the next `*/`. Without one the rest of the file is a comment.",
    bad: "const scale = 2 /* doubled\n",
    good: "const scale = 2 /* doubled */\n",
  },
  MOE1010: {
    severity: "error",
    title: "not a name",
    explain:
      "A name is expected here. Names are made of the letters a to z, digits and `_`, and do not begin with a digit. Words such as `model` or `in` may be names; `if`, `then`, `else`, `and`, `or`, `not`, `true` and `false` may not.",
    bad: "const then = 4\n",
    good: "const twice = 4\n",
  },
  MOE1011: {
    severity: "error",
    title: "comparisons are chained",
    explain: "`a < b < c` would compare a truth value with `c`. Write both comparisons: `a < b and b < c`.",
    bad: "fn inside(x) = 0 < x < 1\n",
    good: "fn inside(x) = 0 < x and x < 1\n",
  },
  MOE1012: {
    severity: "error",
    title: "`=` in a wrong place",
    explain: "`=` gives a name its value. To compare, write `==`; an argument is given with a colon, `lora(rank: 4)`; a setting of `train` has its value after a blank, `epochs 1`.",
    bad: "fn same(x) = if x = 0 then 0 else x\n",
    good: "fn same(x) = if x == 0 then 0 else x\n",
  },
  MOE1013: {
    severity: "error",
    title: "balance without a term",
    explain: "A `balance` clause is a weight, `*` and the balance that is applied: `balance 0.1 * localized(delta: 0.1)`. The balance stands last, so that it can be read at a glance; the weight may be any product.",
    bad: 'base b = llama("models/tiny-llama")\n\nadapter A on b {\n  at ** {\n    balance 0.1\n  }\n}\n',
  },
  MOE1014: {
    severity: "error",
    title: "body without one result",
    explain: "A body in `{ }` holds bindings, `name = value`, and ends with one expression without a name, which is its result.",
    bad: "fn double(x) {\n  y = 2 * x\n}\n",
    good: "fn double(x) {\n  y = 2 * x\n  y\n}\n",
  },
  MOE1015: {
    severity: "error",
    title: "definition without one signature",
    explain: "An expert, a router, a balance or a model has exactly one signature: in brackets what it asks for, after `->` the axes of what it returns, then `=` or a body. It says what the definition computes.",
    bad: "router even() {\n  require experts > 0\n}\n",
    good: "router even() {\n  require experts > 0\n  (x [in]) -> [expert] = 1 / experts\n}\n",
  },
  MOE1016: {
    severity: "error",
    title: "parameter without a type",
    explain: "What stands in brackets after the name of an expert, a router or a balance is set where it is used, and has a type: `rank: int`, `alpha: float = 16`, `form: cv2 | var_over_mean = cv2`. Tensors are asked for in the signature.",
    bad: "expert shift(size) {\n  (y [out]) -> [out] = size * y\n}\n",
    good: "expert shift(size: float) {\n  (y [out]) -> [out] = size * y\n}\n",
  },
  MOE1017: {
    severity: "error",
    title: "only a name can be called",
    explain: "A `(` on the same line after a value is a call, and only functions, linears and blocks can be called, by name. A product needs its `*`.",
    bad: "fn double(x) = 2(x)\n",
    good: "fn double(x) = 2 * (x)\n",
  },
  MOE1018: {
    severity: "error",
    title: "named but not applied",
    explain: "A clause applies a definition, so the definition's name needs brackets, also where all its parameters have defaults: `route softmax()`.",
    bad: 'base b = llama\n',
  },
  MOE1019: {
    severity: "error",
    title: "item in a body",
    explain: "Weights, linears and blocks belong to a definition and stand above its signature. The body of the signature computes with them.",
    bad: "expert shift() {\n  (y [out]) -> [out] {\n    weight b [out] = zeros()\n    b\n  }\n}\n",
    good: "expert shift() {\n  weight b [out] = zeros()\n  (y [out]) -> [out] {\n    b\n  }\n}\n",
  },
  MOE1020: {
    severity: "error",
    title: "nested too deeply",
    explain: "Brackets and conditionals nest at most 64 deep, and an expression has at most 400 operators. No text that people write comes near; give inner parts names of their own.",
  },
  MOE1021: {
    severity: "error",
    title: "file too large",
    explain: "A file of more than a million characters is not read. A spec has some hundred lines; perhaps this is another kind of file.",
  },
  MOE1022: {
    severity: "info",
    title: "further syntax errors not shown",
    explain: "The file has more syntax errors than are worth listing. Repair those shown and check again.",
  },
});
