import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { diagnostic, type Diagnostic } from "../../src/diagnostics/index.ts";
import { lineColumn, renderGithub, renderJson, renderPretty, renderSarif } from "../../src/diagnostics/render/index.ts";

const here = dirname(fileURLToPath(import.meta.url));

function golden(name: string, actual: string): void {
  const path = join(here, "golden", name);
  if (process.env["MOEC_GOLDEN"] === "write") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, actual);
    return;
  }
  expect(existsSync(path), `${path} is missing; run with MOEC_GOLDEN=write`).toBe(true);
  expect(actual).toBe(readFileSync(path, "utf8"));
}

const spec = `/// An adapter.
adapter A on b {
\tat layers.* {
\t\troute sofmax()
\t}
}
`;
const wide = "const 名前 = \"模型\" 😀 x\n";
const long = `const a = ${"1 + ".repeat(5000)}bad + ${"1 + ".repeat(5000)}1\n`;
const texts = new Map([
  ["a.moe", spec],
  ["dir with, comma/b:c.moe", "base b = llama()\n"],
  ["wide.moe", wide],
  ["long.moe", long],
  ["crlf.moe", "const a = 1\r\nconst b = ?\r\n"],
]);

function span(file: string, found: string): { file: string; start: number; end: number } {
  const start = texts.get(file)!.indexOf(found);
  expect(start).toBeGreaterThanOrEqual(0);
  return { file, start, end: start + found.length };
}

const samples: Diagnostic[] = [
  diagnostic("MOE2001", "no router is called `sofmax`", {
    at: span("a.moe", "sofmax"),
    label: "not known here",
    secondary: [
      { span: span("a.moe", "layers.*"), text: "routed here" },
      { span: span("dir with, comma/b:c.moe", "llama"), text: "the model" },
    ],
    notes: ["routers in scope: softmax, top_k"],
    help: "did you mean `softmax`?\n100% sure: yes",
    fixes: [{ title: "write `softmax`", edits: [{ span: span("a.moe", "sofmax"), text: "softmax" }], safe: true }],
  }),
  diagnostic("MOE1006", "`😀` is not part of the language", { at: span("wide.moe", "😀"), label: "here", secondary: [{ span: span("wide.moe", "名前"), text: "and here" }] }),
  diagnostic("MOE2001", "`bad` is not known", { at: span("long.moe", "bad") }),
  diagnostic("MOE1006", "`?` is not part of the language", { at: span("crlf.moe", "?") }),
  diagnostic("MOE1003", "this `{` is never closed", { at: { file: "a.moe", start: 28, end: spec.length }, label: "to the end" }),
  diagnostic("MOE5101", "`models/x` does not exist"),
  diagnostic("MOE5138", "row 3 repeats row 1", { at: { file: "data.jsonl", start: 120, end: 140 }, label: "the same" }),
  diagnostic("MOE1022", "further syntax errors are not shown", { at: { file: "a.moe", start: spec.length, end: spec.length } }),
];

describe("goldens", () => {
  it("pretty, without colour", () => golden("pretty.txt", renderPretty(samples, texts, { color: false })));
  it("json", () => golden("report.json", renderJson(samples, texts)));
  it("github", () => golden("github.txt", renderGithub(samples, texts)));
  it("sarif", () => golden("report.sarif", renderSarif(samples, texts, "0.1.0")));
});

describe("pretty", () => {
  it("puts its marks under what they mean, tabs and wide characters included", () => {
    const out = renderPretty([samples[0]!], texts, { color: false }).split("\n");
    const source = out.findIndex((l) => l.includes("route sofmax"));
    expect(out[source + 1]!.indexOf("^")).toBe(out[source]!.indexOf("sofmax"));
    // In a terminal 名前 takes four columns and 模型 as many: the mark stands that many further right than the characters count.
    const wideOut = renderPretty([samples[1]!], texts, { color: false }).split("\n");
    const at = wideOut.findIndex((l) => l.includes("😀 x"));
    expect(wideOut[at + 1]!.indexOf("^^")).toBe(wideOut[at]!.indexOf("😀") + 4);
  });

  it("colours differ in nothing but escape sequences", () => {
    const plain = renderPretty(samples, texts, { color: false });
    const coloured = renderPretty(samples, texts, { color: true });
    expect(coloured).not.toBe(plain);
    expect(coloured.replace(/\u001b\[\d+m/g, "")).toBe(plain);
  });

  it("never prints a long line, nor what would control the terminal", () => {
    const out = renderPretty(samples, texts, { color: false });
    for (const line of out.split("\n")) expect(line.length).toBeLessThan(250);
    const evil = "const a = \u001b[2J\u202e1\u0007\n";
    const shown = renderPretty([diagnostic("MOE1006", "bad \u001b[31m", { at: { file: "e\u001b.moe", start: 10, end: 11 } })], new Map([["e\u001b.moe", evil]]), { color: false });
    expect(shown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
  });

  it("nothing gives nothing", () => {
    expect(renderPretty([], texts, { color: false })).toBe("");
    expect(renderGithub([], texts)).toBe("");
  });

  it("places outside of their text do not throw", () => {
    for (const [start, end] of [[-5, 3], [1e9, 1e9 + 1], [4, 2]] as const) {
      const broken = diagnostic("MOE2001", "x", { at: { file: "a.moe", start, end } });
      expect(renderPretty([broken], texts, { color: false })).toContain("MOE2001");
      expect(JSON.parse(renderJson([broken], texts))).toMatchObject({ errors: 1 });
    }
  });
});

describe("machine formats", () => {
  it("github: one line a diagnostic, properties escaped", () => {
    const out = renderGithub([diagnostic("MOE2001", "50% of a\nb", { at: span("dir with, comma/b:c.moe", "llama") })], texts);
    expect(out).toBe("::error file=dir with%2C comma/b%3Ac.moe,line=1,endLine=1,col=10,endColumn=15,title=MOE2001::50%25 of a%0Ab\n");
  });

  it("sarif: each result names its rule, columns count code points", () => {
    const log = JSON.parse(renderSarif(samples, texts)) as {
      runs: { tool: { driver: { rules: { id: string }[] } }; results: { ruleId: string; ruleIndex: number; locations: { physicalLocation: { region: object } }[] }[] }[];
    };
    const run = log.runs[0]!;
    for (const result of run.results) expect(run.tool.driver.rules[result.ruleIndex]!.id).toBe(result.ruleId);
    expect(run.results[1]!.locations[0]!.physicalLocation.region).toEqual({ startLine: 1, startColumn: 17, endLine: 1, endColumn: 18 });
    expect(run.results[5]!.locations).toEqual([]);
  });
});

describe("lineColumn", () => {
  it.each([
    ["abc", 0, 1, 1],
    ["abc", 3, 1, 4],
    ["a\nb", 1, 1, 2],
    ["a\nb", 2, 2, 1],
    ["a\r\nb", 2, 1, 3],
    ["a\r\nb", 3, 2, 1],
    ["a\rb", 2, 2, 1],
    ["\uFEFFab", 1, 1, 1],
    ["\uFEFFab", 2, 1, 2],
    ["😀x", 2, 1, 2],
    ["😀x", 3, 1, 3],
    ["a\n", 2, 2, 1],
    ["", 0, 1, 1],
    ["ab", 99, 1, 3],
    ["ab", -1, 1, 1],
  ])("%j at %i is line %i, column %i", (text, offset, line, column) => {
    expect(lineColumn(text, offset)).toEqual({ line, column });
  });
});
