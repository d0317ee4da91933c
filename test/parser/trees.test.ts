import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, suppressionsOf, walk, type Expression, type FunctionDefinition } from "../../src/parser/index.ts";
import { MoeParser } from "../../src/parser/grammar.ts";
import { checkTree, corpus, golden, printTree, root } from "./support.ts";

/** The tree of `fn f(x) = …`, fully bracketed. */
function shape(text: string): string {
  const file = parse(`fn f(x) = ${text}`, "t.moe");
  expect(file.diagnostics.map((d) => d.message)).toEqual([]);
  expect(file.declarations).toHaveLength(1);
  return bracketed((file.declarations[0] as FunctionDefinition).body.result);
}

function bracketed(e: Expression): string {
  switch (e.kind) {
    case "number":
      return String(e.value);
    case "string":
      return JSON.stringify(e.value);
    case "boolean":
      return String(e.value);
    case "name":
      return e.text;
    case "list":
      return `[${e.items.map(bracketed).join(" ")}]`;
    case "member":
      return `${bracketed(e.object)}.${e.name.text}`;
    case "call":
      return `${e.callee.text}(${e.args.map((a) => (a.name ? `${a.name.text}: ` : "") + bracketed(a.value)).join(" ")})`;
    case "index":
      return `${bracketed(e.object)}[${bracketed(e.index)}]`;
    case "unary":
      return `(${e.operator} ${bracketed(e.operand)})`;
    case "binary":
      return `(${bracketed(e.left)} ${e.operator} ${bracketed(e.right)})`;
    case "conditional":
      return `(if ${bracketed(e.condition)} then ${bracketed(e.then)} else ${bracketed(e.otherwise)})`;
    case "missing":
      return "?";
  }
}

describe("the grammar", () => {
  it("has no ambiguity that Chevrotain can find", () => {
    expect(() => new MoeParser(true)).not.toThrow();
  });

  for (const { path, text } of corpus()) {
    it(`reads ${path}`, () => {
      const file = parse(text, path);
      expect(file.diagnostics).toEqual([]);
      checkTree(file);
      golden(join(root, "test/parser/golden", `${path.replace("/", "-")}.tree`), printTree(file));
    });
  }
});

describe("operators", () => {
  it.each([
    ["a + b * c", "(a + (b * c))"],
    ["a - b - c", "((a - b) - c)"],
    ["a / b * c", "((a / b) * c)"],
    ["a @ b @ c", "((a @ b) @ c)"],
    ["a ^ b ^ c", "(a ^ (b ^ c))"],
    ["-a ^ b", "(- (a ^ b))"],
    ["a ^ -b", "(a ^ (- b))"],
    ["a ^ -b * c", "((a ^ (- b)) * c)"],
    ["-a * b", "((- a) * b)"],
    ["a - -b", "(a - (- b))"],
    ["not a == b", "(not (a == b))"],
    ["not a and b", "((not a) and b)"],
    ["a or b and c", "(a or (b and c))"],
    ["a and b or c", "((a and b) or c)"],
    ["a < b and c >= d", "((a < b) and (c >= d))"],
    ["a + b < c * d", "((a + b) < (c * d))"],
    ["(a < b) == c", "((a < b) == c)"],
    ["a == not b", "(a == (not b))"],
    ["(a + b) * c", "((a + b) * c)"],
    ["f(x, over: a)[2].c", "f(x over: a)[2].c"],
    ["[2, 4, 6,][l * 4 / n]", "[2 4 6][((l * 4) / n)]"],
    ["if a then b else if c then d else e + 1", "(if a then b else (if c then d else (e + 1)))"],
    ["a + if b then c else d * e", "(a + (if b then c else (d * e)))"],
    ["2e-4 * 0.5 * 1E3", "((0.0002 * 0.5) * 1000)"],
    ["x\n  * y", "(x * y)"],
  ])("%s", (text, expected) => {
    expect(shape(text)).toBe(expected);
  });

  it("spans cover the brackets around a value", () => {
    const file = parse("fn f(x) = (x + 1) * 2", "t.moe");
    const { result } = (file.declarations[0] as FunctionDefinition).body;
    expect(file.text.slice(result.span.start, result.span.end)).toBe("(x + 1) * 2");
    expect(result.kind === "binary" && file.text.slice(result.left.span.start, result.left.span.end)).toBe("(x + 1)");
  });
});

describe("lines and names", () => {
  it("a bracket on the next line begins something new", () => {
    const file = parse("expert e(n: int) {\n  require n > in\n  (x [in]) -> [out] {\n    a = x\n    (a)\n  }\n}", "t.moe");
    expect(file.diagnostics).toEqual([]);
    expect(file.declarations[0]).toMatchObject({
      kind: "expert",
      items: [{ kind: "require", condition: { kind: "binary", right: { kind: "name", text: "in" } } }],
      signature: { body: { statements: [{ kind: "let", value: { kind: "name" } }], result: { kind: "name", text: "a" } } },
    });
  });

  it("keywords may be names", () => {
    const words = ["expert", "model", "weight", "data", "balance", "layers", "in", "stored", "bias", "unused", "from", "when", "axis", "require", "block", "config", "sum", "base"];
    const text = `fn f(${words.map((w) => `${w} [${w}]`).join(", ")}) {\n${words.map((w) => `  ${w} = ${w} + 1`).join("\n")}\n  g(${words.map((w) => `${w}: ${w}`).join(", ")})\n}`;
    const file = parse(text, "t.moe");
    expect(file.diagnostics).toEqual([]);
    const fn = file.declarations[0] as FunctionDefinition;
    expect(fn.body.statements.map((s) => (s.kind === "let" ? s.name.text : s.kind))).toEqual(words);
    for (const word of ["weight", "linear", "axis", "block"]) {
      expect(parse(`fn f(x) {\n  ${word}\n}`, "t.moe").diagnostics).toEqual([]);
      expect(parse(`fn f(x) {\n  ${word} * 2\n}`, "t.moe").diagnostics).toEqual([]);
    }
  });

  it.each([
    ["layers.0.mlp", [["layers"], ["0"], ["mlp"]]],
    ["layers.0.1.x", [["layers"], ["0"], ["1"], ["x"]]],
    ["layers.10.2x", [["layers"], ["10"], ["2x"]]],
    ["layers.*.{self_attn, mlp}.*_proj", [["layers"], ["*"], ["self_attn", "mlp"], ["*_proj"]]],
    ["**", [["**"]]],
    ["a.**.weight", [["a"], ["**"], ["weight"]]],
    ["{a,}", undefined],
  ])("the path %s", (path, expected) => {
    const file = parse(`adapter A on b { at ${path} { unfreeze } }`, "t.moe");
    if (!expected) {
      expect(file.diagnostics).not.toEqual([]);
      return;
    }
    expect(file.diagnostics).toEqual([]);
    const [adapter] = file.declarations;
    const segments = adapter?.kind === "adapter" ? adapter.sites[0]!.path.segments : [];
    expect(segments.map((s) => s.globs.map((g) => g.text))).toEqual(expected);
    for (const s of segments) for (const g of s.globs) expect(file.text.slice(g.span.start, g.span.end)).toBe(g.text);
  });

  it("the balance clause in all its parts", () => {
    const file = parse(
      'adapter A on b { at ** { balance 0.1 * decay(step) * localized(delta: 0.1) mean over sites unmasked { a -> x, y\n "two words" -> z, c -> x } balance localized() } }',
      "t.moe",
    );
    expect(file.diagnostics).toEqual([]);
    const [adapter] = file.declarations;
    expect(adapter?.kind === "adapter" && adapter.sites[0]!.clauses).toMatchObject([
      {
        weight: { kind: "binary", operator: "*" },
        value: { callee: { text: "localized" } },
        reduction: { kind: "mean" },
        map: [
          { from: { text: "a" }, to: [{ text: "x" }, { text: "y" }] },
          { from: { text: "two words" }, to: [{ text: "z" }] },
          { from: { text: "c" }, to: [{ text: "x" }] },
        ],
      },
      { value: { callee: { text: "localized" } }, map: [] },
    ]);
  });
});

describe("adapters that vary, patches, mixes, state", () => {
  it("a variant has no base of its own", () => {
    const file = parse("/// Top-2.\nadapter B = A with { at ** { route top_k(2) } }", "t.moe");
    expect(file.diagnostics).toEqual([]);
    expect(file.declarations).toMatchObject([{ kind: "variant", name: { text: "B" }, of: { text: "A" }, doc: "Top-2.", sites: [{ clauses: [{ kind: "route" }] }] }]);
  });

  it("a patch names linears, each group with its definition", () => {
    const file = parse("adapter A on b { at ** {\n experts f[8] = patch { gate_proj, up_proj: lora(rank: 4) down_proj: dora(rank: 2), o_proj: ia3() }\n always p = patch { q: lora(rank: 1) }\n always patch(rank: 1)\n mix weights\n mix outputs\n } }", "t.moe");
    expect(file.diagnostics).toEqual([]);
    const [adapter] = file.declarations;
    expect(adapter?.kind === "adapter" && adapter.sites[0]!.clauses).toMatchObject([
      {
        kind: "experts",
        value: {
          kind: "patch",
          entries: [
            { linears: [{ text: "gate_proj" }, { text: "up_proj" }], value: { callee: { text: "lora" } } },
            { linears: [{ text: "down_proj" }], value: { callee: { text: "dora" } } },
            { linears: [{ text: "o_proj" }], value: { callee: { text: "ia3" } } },
          ],
        },
      },
      { kind: "always", name: { text: "p" }, value: { kind: "patch" } },
      { kind: "always", value: { kind: "call", callee: { text: "patch" } } },
      { kind: "mix", what: { kind: "weights" } },
      { kind: "mix", what: { kind: "outputs" } },
    ]);
  });

  it("what a definition keeps has a role", () => {
    const file = parse(
      "router r(rate: float) {\n weight W [in, expert] = zeros()\n frozen V [in] = W\n state b [expert] = zeros()\n (x [in]) -> [expert] { load = x @ W\n load + b }\n update b = b + rate * sign(mean(load) - load)\n}",
      "t.moe",
    );
    expect(file.diagnostics).toEqual([]);
    expect(file.declarations).toMatchObject([
      {
        items: [
          { kind: "weight", role: "weight", name: { text: "W" } },
          { kind: "weight", role: "frozen", name: { text: "V" } },
          { kind: "weight", role: "state", name: { text: "b" } },
          { kind: "update", name: { text: "b" }, body: { result: { kind: "binary", operator: "+" } } },
        ],
      },
    ]);
  });

  it("their words may be names", () => {
    const words = ["with", "mix", "weights", "outputs", "patch", "frozen", "state", "update", "require", "expect"];
    const file = parse(`fn f(${words.join(", ")}) {\n${words.map((w) => `  ${w} = ${w} + 1`).join("\n")}\n  patch * state\n}`, "t.moe");
    expect(file.diagnostics).toEqual([]);
  });
});

describe("suppressions", () => {
  it("speak of their own line after code, of the next line of code above it", () => {
    const text = [
      "// moec: allow MOE2027 because the third kind is held out",
      "// moec: allow MOE2031, because so",
      "const a = 1 // moec: allow MOE9999",
      "// moec: allow MOE2027 because of this",
      "",
      "const b = 2 // allow MOE2027 because of that",
      "/// moec: allow MOE2027 because documented",
      "const c = 3",
      "// moec: allow MOE2027 because last",
    ].join("\r\n");
    const file = parse(text, "t.moe");
    const found = suppressionsOf(file);
    expect(found.map((s) => [s.code, s.reason, s.line, text.slice(s.covers.start, s.covers.end)])).toEqual([
      ["MOE2027", "the third kind is held out", 2, "const a = 1 // moec: allow MOE9999"],
      ["MOE2031", "so", 2, "const a = 1 // moec: allow MOE9999"],
      ["MOE9999", "", 2, "const a = 1 // moec: allow MOE9999"],
      ["MOE2027", "of this", 4, ""],
      ["MOE2027", "last", 8, "// moec: allow MOE2027 because last"],
    ]);
    for (const s of found) expect(text.slice(s.span.start, s.span.end)).toMatch(/^\/\/ moec/);
  });
});

describe("doc comments", () => {
  it("belong to what stands right below them", () => {
    const file = parse("/// Of the file.\n\n/// First\n///\n/// second.\nconst a = 1 /// no one's\nconst b = 2\n// plain\nconst c = 3\n", "t.moe");
    expect(file.declarations.map((d) => d.doc)).toEqual(["First\n\nsecond.", undefined, undefined]);
    expect(file.comments.map((c) => c.doc)).toEqual([true, true, true, true, true, false]);
  });

  it("a byte order mark and CRLF change nothing but offsets", () => {
    for (const { path, text } of corpus()) {
      const file = parse(`\uFEFF${text.replace(/\n/g, "\r\n")}`, path);
      expect(file.diagnostics).toEqual([]);
      const strip = (tree: string): string => tree.replace(/\d+\.\.\d+/g, "");
      expect(strip(printTree(file))).toBe(strip(printTree(parse(text, path))));
    }
  });

  it("strings are decoded", () => {
    const file = parse('import "a\\"b\\\\c\\n\\t\\u{1F600}"', "t.moe");
    expect(file.diagnostics).toEqual([]);
    expect(file.imports[0]!.path.value).toBe('a"b\\c\n\t\u{1F600}');
  });

  it("walk visits parents first, in order", () => {
    const starts: number[] = [];
    walk(parse("const a = b + c", "t.moe"), (node) => void starts.push(node.span.start));
    expect(starts).toEqual([0, 0, 6, 10, 10, 14]);
  });
});
