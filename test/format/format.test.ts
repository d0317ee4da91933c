import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { format } from "../../src/format/index.ts";
import { childNodes, parse, type Node, type SourceFile } from "../../src/parser/index.ts";
import { scan } from "../../src/parser/scan.ts";
import { endOf } from "../../src/parser/tokens.ts";
import { corpus } from "../parser/support.ts";

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

/** Lines without the indentation that they share. */
function lines(strings: TemplateStringsArray): string {
  const text = strings.raw[0]!.replace(/^\n/, "");
  const indent = /^ */.exec(text)![0].length;
  return text.split("\n").map((l) => l.slice(indent)).join("\n").replace(/ *$/, "");
}

describe("the library and the examples", () => {
  it.each(corpus())("$path is formatted", ({ text, path }) => {
    expect(formatted(text), path).toBe(text);
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
      { numRuns: Number(process.env["RUNS"] ?? 600), seed: Number(process.env["SEED"] ?? 20260103) },
    );
    expect(tried).toBeGreaterThan(200);
  });
});

export { lines, formatted, childNodes };
