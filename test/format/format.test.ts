import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import * as prettier from "prettier";
import type { Plugin } from "prettier";
import { describe, expect, it } from "vitest";
import { format } from "../../src/format/index.ts";
import plugin from "../../src/format/plugin.ts";
import { parse, type Node, type SourceFile } from "../../src/parser/index.ts";
import { scan } from "../../src/parser/scan.ts";
import { endOf } from "../../src/parser/tokens.ts";
import { corpus, root } from "../parser/support.ts";

/** A tree without its places. */
function shape(node: Node): unknown {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === "span" || key === "comments" || key === "diagnostics" || key === "path" || (key === "text" && "declarations" in node)) continue;
    if (Array.isArray(value)) out[key] = value.map((v: Node) => shape(v));
    else if (typeof value === "object" && value !== null) out[key] = "span" in value ? shape(value as Node) : "a place";
    else out[key] = value;
  }
  return out;
}

function comments(file: SourceFile): string[] {
  return file.comments.map((c) => c.text.split(/\r\n?|\n/).map((l) => l.trimEnd()).join("\n")).sort();
}

/** Formats; the tree and the comments must stay, and formatting again must change nothing. */
function formatted(text: string): string {
  const before = parse(text, "t.moe");
  expect(before.diagnostics).toEqual([]);
  const once = format(text, "t.moe").text!;
  const after = parse(once, "t.moe");
  expect(after.diagnostics.map((d) => d.message), once).toEqual([]);
  expect(shape(after), once).toEqual(shape(before));
  expect(comments(after), once).toEqual(comments(before));
  expect(format(once, "t.moe").text).toBe(once);
  return once;
}

describe("the library and the examples", () => {
  it.each(corpus())("$path is formatted", ({ text, path }) => {
    expect(formatted(text), path).toBe(text);
  });

  it("so is the zoo", () => {
    const zoo = join(root, "examples/zoo");
    const names = readdirSync(zoo).filter((name) => name.endsWith(".moe"));
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) {
      const text = readFileSync(join(zoo, name), "utf8");
      expect(formatted(text), name).toBe(text);
    }
  });
});

describe("tree and comments survive", () => {
  const texts = corpus();
  const between = ["// c1", "/// c2", "/* c3 */", "/* c4\n   c4 */", "\n", "\n\n", "\n\n\n", " ", "\t", "\n// c5\n", "\n\n/// c6\n", "\n/// c7\n\n", "\n/* c8 */", "/* c9 */\n", "// c10\n// c11\n", "/// c12\n\n/// c13\n"];
  /** What ends its line is followed by a line end. */
  const closed = (text: string): string => (/\/\/[^\n]*$/.test(text) ? `${text}\n` : text);

  it("with comments and blanks between any two tokens", () => {
    let tried = 0;
    fc.assert(
      fc.property(fc.nat(texts.length - 1), fc.array(fc.tuple(fc.nat(), fc.constantFrom(...between)), { minLength: 1, maxLength: 12 }), (which, inserted) => {
        const { text } = texts[which]!;
        const { tokens } = scan(text, "t.moe", () => {});
        const byToken = new Map(inserted.map(([at, what]) => [at % (tokens.length + 1), what]));
        let whole = "";
        let end = 0;
        tokens.forEach((token, i) => {
          const what = byToken.get(i);
          whole += text.slice(end, token.startOffset) + (what === undefined ? "" : closed(what));
          whole += token.image;
          end = endOf(token);
        });
        whole += text.slice(end) + closed(byToken.get(tokens.length) ?? "");
        // Some places take no line end (before the bracket of a call, say) and some comments hide what follows on their line.
        if (parse(whole, "t.moe").diagnostics.length > 0) return;
        tried++;
        formatted(whole);
      }),
      { numRuns: 600, seed: 20260103 },
    );
    expect(tried).toBeGreaterThan(200);
  });
});

describe("layout", () => {
  it.each<[string, string, string]>([
    ["neighbours are aligned, and no further than a blank line", "adapter A on b{at x{experts a[3]=f()\nexperts long[12]=f()\n\nexperts z[1]=f() route g() per  block}}",
      "adapter A on b {\n  at x {\n    experts a[3]     = f()\n    experts long[12] = f()\n\n    experts z[1] = f()\n    route g() per block\n  }\n}\n"],
    ["settings that share a line go on sharing it", 'train A { data "x"\n epochs 1 batch   8\n optimizer adamw( lr:1e-3 ) }',
      'train A {\n  data "x"\n  epochs 1  batch 8\n  optimizer adamw(lr: 1e-3)\n}\n'],
    ["declarations stand apart, short ones as the author has them", 'const a=1\nconst bcd=2\nfn f(x)=x\nfn g(x)=x\n\n\n\nconst e=3',
      "const a   = 1\nconst bcd = 2\n\nfn f(x) = x\n\nfn g(x) = x\n\nconst e = 3\n"],
    ["a patch, a variant, a mix", "adapter B=A with{at a.*.{b,c,}{experts f[2]=patch{x,y:lora(rank:1)z:ia3()}\nmix weights}at d{always patch{\nq:f()}}}",
      "adapter B = A with {\n  at a.*.{b, c} {\n    experts f[2] = patch { x, y: lora(rank: 1), z: ia3() }\n    mix weights\n  }\n  at d {\n    always patch {\n      q: f()\n    }\n  }\n}\n"],
    ["state and its update", "router r(){frozen V[in]=W\nstate b[expert]=zeros()\n(x[in])->[expert]=x@V+b\nupdate b=b*(1-0.1)}",
      "router r() {\n  frozen V [in]    = W\n  state b [expert] = zeros()\n  (x [in]) -> [expert] = x @ V + b\n  update b = b * (1 - 0.1)\n}\n"],
    ["operators begin lines, brackets stay", `fn f(x) { ${"y"} = ((x)) + ${"a_long_name_of_a_value * ".repeat(6)}2 - not_so_long\n if x==1 then -(x) else if not x then 2 else 3 }`,
      `fn f(x) {\n  y =\n    ((x))\n      + a_long_name_of_a_value\n        * a_long_name_of_a_value\n        * a_long_name_of_a_value\n        * a_long_name_of_a_value\n        * a_long_name_of_a_value\n        * a_long_name_of_a_value\n        * 2\n      - not_so_long\n  if x == 1 then -(x) else if not x then 2 else 3\n}\n`],
    ["records and arrows in one line keep commas", "model m(c){config{a:int b:{x:int y:float=1}}\n(t [p])->[p]=t}\nadapter A on b{at x{balance 0.1*f()mean over sites unmasked{a->x,y b->z,}}}",
      "model m(c) {\n  config { a: int, b: { x: int, y: float = 1 } }\n  (t [p]) -> [p] = t\n}\n\nadapter A on b {\n  at x { balance 0.1 * f() mean over sites unmasked { a -> x, y, b -> z } }\n}\n"],
    ["comments", "// first\n\n/// doc\nconst a=1// why\nfn f(// x\nx,/* y */ y)=// = \nx // +\n+y\n// last",
      "// first\n\n/// doc\nconst a = 1 // why\n\nfn f( // x\n  x,\n  /* y */ y,\n) = // =\n  x // +\n    + y\n// last\n"],
    ["a comment within a line moves up", "adapter A on b { at x { experts // how many\n a[3] = f()\n } }", "adapter A on b {\n  at x {\n    // how many\n    experts a[3] = f()\n  }\n}\n"],
    ["nothing, and comments alone", "\n\n", ""],
    ["a comment alone", "\n // a\n\n\n/* b */", "// a\n\n/* b */\n"],
  ])("%s", (_name, text, expected) => {
    expect(formatted(text)).toBe(expected);
  });

  it("types need not fit", () => {
    expect(formatted("const a=nobody@[1,2]")).toBe("const a = nobody @ [1, 2]\n");
  });

  it("a text with syntax errors is not formatted", () => {
    const { text, diagnostics } = format("const a = (1\nconst then = 2", "t.moe");
    expect(text).toBeUndefined();
    expect(diagnostics.map((d) => d.code)).toEqual(["MOE1003", "MOE1010"]);
  });

  it("line ends and the byte order mark are Prettier's business", () => {
    const text = "\uFEFF/* a\r\n b */\r\nconst a=1";
    expect(format(text, "t.moe", { endOfLine: "auto" }).text).toBe("\uFEFF/* a\r\n b */\r\nconst a = 1\r\n");
    expect(format(text, "t.moe").text).toBe("\uFEFF/* a\n b */\nconst a = 1\n");
    expect(format("const a=1\n", "t.moe", { endOfLine: "crlf" }).text).toBe("const a = 1\r\n");
  });

  it("tabs and narrow lines", () => {
    expect(format("fn f(alpha: int, beta: int) { x }", "t.moe", { useTabs: true, printWidth: 24 }).text).toBe("fn f(\n\talpha: int, beta: int\n) { x }\n");
  });
});

describe("the Prettier plugin", () => {
  const options = { parser: "moe", plugins: [plugin as unknown as Plugin] };

  it.each(corpus())("prints $path as format does", async ({ text, path }) => {
    expect(await prettier.format(text.replace(/ +/g, " "), { ...options, filepath: path })).toBe(format(text.replace(/ +/g, " "), path).text);
  });

  it("finds the parser by the file's name, and keeps to the project's line ends", async () => {
    expect(await prettier.format("const a=1\r\n/* x\r\n y */", { plugins: options.plugins, filepath: "a.moe", endOfLine: "crlf" })).toBe("const a = 1\r\n/* x\r\n y */\r\n");
  });

  it("names the place of a syntax error", async () => {
    await expect(prettier.format("const a = 1\nconst then = 2\n", options)).rejects.toThrow(/MOE1010.*> 2 \| const then/s);
  });
});
