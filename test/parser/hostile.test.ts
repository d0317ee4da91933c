import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Lines } from "../../src/parser/lines.ts";
import { maxFileSize, parse, walk } from "../../src/parser/index.ts";
import { scan } from "../../src/parser/scan.ts";
import { endOf } from "../../src/parser/tokens.ts";
import { checkTree, corpus } from "./support.ts";

/** Every character belongs to a token, a comment, an illegal run or white space. */
function checkCover(text: string): void {
  const { tokens, comments, illegal } = scan(text, "t.moe", () => {});
  const pieces = [...tokens.map((t) => ({ start: t.startOffset, end: endOf(t) })), ...comments.map((c) => c.span), ...illegal].sort((a, b) => a.start - b.start);
  let at = 0;
  for (const { start, end } of pieces) {
    if (start < at) throw new Error(`two pieces share ${start}`);
    if (!/^[\s\uFEFF]*$/.test(text.slice(at, start))) throw new Error(`lost: ${text.slice(at, start)}`);
    at = end;
  }
  if (!/^[\s\uFEFF]*$/.test(text.slice(at))) throw new Error(`lost: ${text.slice(at)}`);
}

const texts = corpus();
const foreign = ["(", ")", "[", "]", "{", "}", "->", "=", ",", ":", ".", "if", "then", "else", "not", "*", "**", "^", '"', "'", "///", "/*", "weight", "block", "at", "route", "0.5", "12px", "\n", "\uD800", "é", ";"];

type Edit = { kind: "delete" | "duplicate" | "swap" | "insert"; at: number; what: number };

const edit = fc.record({
  kind: fc.constantFrom<Edit["kind"]>("delete", "duplicate", "swap", "insert"),
  at: fc.nat(),
  what: fc.nat(foreign.length - 1),
});

/** Applies edits of whole tokens to a text; white space and comments stay with the token before. */
function apply(text: string, edits: readonly Edit[]): string {
  const { tokens } = scan(text, "t.moe", () => {});
  const starts = tokens.map((t) => t.startOffset);
  const pieces = starts.map((start, i) => text.slice(i === 0 ? 0 : start, starts[i + 1] ?? text.length));
  for (const { kind, at, what } of edits) {
    const i = at % pieces.length;
    if (kind === "delete") pieces.splice(i, 1);
    else if (kind === "duplicate") pieces.splice(i, 0, pieces[i]!);
    else if (kind === "insert") pieces.splice(i, 0, ` ${foreign[what]!} `);
    else if (i + 1 < pieces.length) pieces.splice(i, 2, pieces[i + 1]!, pieces[i]!);
    if (pieces.length === 0) return "";
  }
  return pieces.join("");
}

describe("broken texts", () => {
  it("2,000 random token edits of the library and the examples: never a throw, every tree sound", () => {
    fc.assert(
      fc.property(fc.nat(texts.length - 1), fc.array(edit, { minLength: 1, maxLength: 4 }), (which, edits) => {
        const { path, text } = texts[which]!;
        const broken = apply(text, edits);
        const file = parse(broken, path);
        checkTree(file);
        checkCover(broken);
        expect(file.diagnostics.length).toBeLessThanOrEqual(50);
        for (const d of file.diagnostics) expect(d.code).toMatch(/^MOE1/);
      }),
      { numRuns: 2000, seed: 20260101 },
    );
  });

  it("any text at all", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...foreign), fc.string({ unit: "binary", maxLength: 5 })), { maxLength: 40 }), (parts) => {
        const text = parts.join(" ");
        checkTree(parse(text, "t.moe"));
        checkCover(text);
      }),
      { numRuns: 1000, seed: 20260102 },
    );
  });

  it("what is written after a mistake is still read", () => {
    for (const { path, text } of texts) {
      const whole = parse(`const first = \n${text}`, path);
      expect(whole.diagnostics).toHaveLength(1);
      const kinds = parse(text, path).declarations.map((d) => d.kind);
      expect(whole.declarations.map((d) => d.kind)).toEqual(["const", ...kinds]);
    }
  });
});

describe("bounds", () => {
  it.each<[string, string]>([
    ["10,000 open brackets", `fn f(x) = ${"(".repeat(10_000)}`],
    ["brackets that close", `fn f(x) = ${"(".repeat(10_000)}x${")".repeat(10_000)}`],
    ["closing brackets", ")".repeat(200_000)],
    ["braces", `model m(c) { ${"block b() { ".repeat(10_000)}`],
    ["lists", "[".repeat(300_000)],
    ["records", `model m(c) { config { a: ${"{ a: ".repeat(5_000)}`],
    ["minus signs", `fn f(x) = ${"-".repeat(10_000)}x`],
    ["powers", `fn f(x) = ${"x^".repeat(10_000)}x`],
    ["sums", `fn f(x) = ${"x+".repeat(50_000)}x`],
    ["conditionals", `fn f(x) = ${"if x then ".repeat(10_000)}`],
    ["else-if chains", `fn f(x) = ${"if x then 1 else ".repeat(10_000)}1`],
    ["members", `fn f(x) = x${".a".repeat(100_000)}`],
    ["indices", `fn f(x) = x${"[0]".repeat(50_000)}`],
    ["nested sums", `fn f(x) = ${"(".repeat(60)}x${`${"+x".repeat(390)})`.repeat(60)}`],
    ["illegal characters", ";".repeat(200_000)],
    ["keywords", "fn ".repeat(100_000)],
    ["quotes", '"'.repeat(300_001)],
    ["comments", "/*".repeat(200_001)],
    ["lines", "\n".repeat(500_000)],
  ])("%s", (_name, text) => {
    const before = performance.now();
    const file = parse(text, "t.moe");
    // Linear work takes well under a second; anything quadratic takes minutes.
    expect(performance.now() - before).toBeLessThan(10_000);
    expect(file.diagnostics.length).toBeLessThanOrEqual(50);
    let deepest = 0;
    walk(file, (_node, depth) => {
      deepest = Math.max(deepest, depth);
    });
    expect(deepest).toBeLessThanOrEqual(501);
    checkTree(file);
  });

  it("a file that is too large is not read", () => {
    const file = parse(" ".repeat(maxFileSize + 1), "t.moe");
    expect(file.diagnostics.map((d) => d.code)).toEqual(["MOE1021"]);
  });

  it("shows at most 50 errors and says so", () => {
    const { diagnostics } = parse("const then = 1\n".repeat(200), "t.moe");
    expect(diagnostics).toHaveLength(50);
    expect(diagnostics[49]!.code).toBe("MOE1022");
    expect(diagnostics.slice(0, 49).every((d) => d.code === "MOE1010")).toBe(true);
  });
});

describe("lines", () => {
  it("counts LF, CRLF and CR", () => {
    const text = "a\nb\r\nc\rd";
    const lines = new Lines(text);
    expect([...text].map((_, i) => lines.lineOf(i))).toEqual([0, 0, 1, 1, 1, 2, 2, 3]);
  });
});
