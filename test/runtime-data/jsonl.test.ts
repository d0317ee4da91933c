import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Diagnostic } from "../../src/diagnostics/index.ts";
import { parseJsonl } from "../../src/runtime/data/index.ts";
import { hasShared, shared } from "../formats/shared.ts";

const knownKinds = ["world_knowledge", "sentiment"];
const file = "x.jsonl";
const bytesOf = (name: string) => new Uint8Array(readFileSync(`${shared}/data/bad/${name}.jsonl`));
const parse = (content: string | Uint8Array, options = {}) => parseJsonl(typeof content === "string" ? new TextEncoder().encode(content) : content, file, options);
const brief = (all: readonly Diagnostic[]) => all.map((d) => `${d.code} ${d.message.replace(/^x\.jsonl,? ?/, "")}${d.help === undefined ? "" : ` | ${d.help}`}`);

describe("the twelve bad files", () => {
  const bad = (name: string) => {
    const bytes = bytesOf(name);
    const result = parse(bytes, { knownKinds });
    // A span is a place in the text as a lenient decoder gives it, whatever is wrong with the bytes.
    const text = new TextDecoder().decode(bytes);
    return { rows: result.rows, said: brief(result.diagnostics), at: result.diagnostics.map((d) => d.primary && text.slice(d.primary.span.start, d.primary.span.end)) };
  };
  it.skipIf(!hasShared)("01: a missing comma, at line 7, column 16; the other nine rows are fine", () => {
    const { rows, said, at } = bad("01-invalid-json-line-7");
    expect(said).toEqual(['MOE5130 line 7, column 16: expected "," or "}", found a string']);
    expect(at).toEqual(['"']);
    expect(rows.map((r) => r.line)).toEqual([1, 2, 3, 4, 5, 6, 8, 9, 10]);
  });
  it.skipIf(!hasShared)("02: a missing completion, and a misspelt one", () => {
    const { rows, said, at } = bad("02-missing-completion");
    expect(said).toEqual(['MOE5131 line 3: missing key "completion" | add "completion", a string', 'MOE5131 line 8, column 134: missing key "completion" | did you mean "completion"? The row has "completon"']);
    expect(at[1]).toBe('"completon"');
    expect(rows).toHaveLength(8);
  });
  it.skipIf(!hasShared)("03: kinds of the wrong type", () => {
    const { said, at } = bad("03-kind-wrong-type");
    expect(said.map((s) => s.replace(/, column \d+/, ""))).toEqual([
      "MOE5132 line 4: kind must be a string, found number",
      "MOE5132 line 6: kind must be a string, found array",
      "MOE5132 line 9: kind must be a string, found null",
    ]);
    expect(at).toEqual(["7", '["sentiment"]', "null"]);
  });
  it.skipIf(!hasShared)("04: unknown kinds, with the near ones", () => {
    const { said, at } = bad("04-unknown-kind");
    expect(said.map((s) => s.replace(/, column \d+/, ""))).toEqual([
      'MOE5133 line 5: unknown kind "world_knowlege"; known are "world_knowledge", "sentiment" | did you mean "world_knowledge"?',
      'MOE5133 line 8: unknown kind "Sentiment "; known are "world_knowledge", "sentiment" | did you mean "sentiment"?',
    ]);
    expect(at).toEqual(['"world_knowlege"', '"Sentiment "']);
    expect(parse(bytesOf("04-unknown-kind")).diagnostics).toEqual([]);
  });
  it.skipIf(!hasShared)("05: empty", () => {
    expect(bad("05-empty").said).toEqual(["MOE5134 is empty (0 bytes): at least one row is needed"]);
  });
  it.skipIf(!hasShared)("06: a byte-order mark is skipped", () => {
    const { rows, said } = bad("06-utf8-bom");
    expect(said).toEqual([]);
    expect(rows[0]!.id).toBe("row-1");
    expect(rows).toHaveLength(10);
  });
  it.skipIf(!hasShared)("07: CRLF is accepted, and no carriage return is left", () => {
    const { rows, said } = bad("07-crlf-valid");
    expect(said).toEqual([]);
    expect(rows).toHaveLength(10);
    expect(JSON.stringify(rows)).not.toContain("\\r");
  });
  it.skipIf(!hasShared)("08: a Latin-1 byte, at its byte column and offset", () => {
    const { rows, said, at } = bad("08-latin1-bytes");
    expect(said).toEqual(["MOE5135 line 6, byte column 57 (file offset 681): byte 0xE9 is not UTF-8 | looks like Latin-1: convert the file, iconv -f latin1 -t utf-8"]);
    expect(at).toEqual(["\uFFFD"]);
    expect(rows).toHaveLength(9);
  });
  it.skipIf(!hasShared)("09: a line of 5 MB is a row like any other", () => {
    const start = performance.now();
    const { rows, diagnostics } = parse(bytesOf("09-long-line-5mb"));
    expect(diagnostics).toEqual([]);
    expect(rows).toHaveLength(3);
    expect(performance.now() - start).toBeLessThan(5000);
  });
  it.skipIf(!hasShared)("10: the last line is cut off inside a string", () => {
    const { rows, said } = bad("10-truncated-last-line");
    expect(said).toEqual(["MOE5137 line 10, column 90: the file ends inside a string | looks like an interrupted write or download: fetch the file again, or delete the last line"]);
    expect(rows).toHaveLength(9);
  });
  it.skipIf(!hasShared)("11: ids used twice, for the same row and for another", () => {
    const { rows, said } = bad("11-duplicate-ids");
    expect(said).toEqual([
      "MOE5138 line 5, column 8: same row as line 4 | delete one of the two, unless it is meant to count twice",
      'MOE5139 line 9, column 8: id "row-2" is already used at line 2, with different content | give each row an id of its own',
    ]);
    expect(rows.map((r) => r.line)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 10]);
  });
  it.skipIf(!hasShared)("12: a NUL byte", () => {
    const { rows, said } = bad("12-nul-byte");
    expect(said).toEqual(["MOE5136 line 5, column 32 (file offset 537): NUL byte | damaged file or UTF-16? Delete the byte, or convert the file: iconv -f utf-16 -t utf-8"].map((s) => s.replace(", column", ", byte column")));
    expect(rows).toHaveLength(9);
  });
  it.skipIf(!hasShared)("the good files of the same folder have no fault", () => {
    for (const [name, rows] of [["sst2.train", 2000], ["countries", 881], ["loramoe_tiny.train", 1414], ["arc_easy.test", 2376]] as const) {
      const result = parseJsonl(new Uint8Array(readFileSync(`${shared}/data/${name}.jsonl`)), name);
      expect(result.diagnostics).toEqual([]);
      expect(result.rows).toHaveLength(rows);
    }
  });
});

describe("rows", () => {
  const row = (value: unknown) => parse(JSON.stringify(value)).rows[0];
  it("prompt and completion, with what else the row has", () => {
    expect(row({ id: 7, prompt: "a", completion: " b", kind: "k", cluster: 3 })).toEqual({ id: "7", prompt: "a", completion: " b", kind: "k", line: 1, extra: { cluster: 3 } });
  });
  it("Alpaca's form, with and without an input", () => {
    expect(row({ instruction: "Add.", input: "1 2", output: "3" })).toEqual({ prompt: "Add.\n1 2\n", completion: "3", line: 1, extra: {} });
    expect(row({ instruction: "Say hi.", input: "", output: "hi" })).toMatchObject({ prompt: "Say hi.\n", completion: "hi" });
    expect(row({ instruction: "Say hi.", output: "hi" })).toMatchObject({ prompt: "Say hi.\n", completion: "hi" });
  });
  it("messages: the last is the completion", () => {
    const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "Hi?" }, { role: "assistant", content: "Hi." }];
    expect(row({ messages, kind: "chat" })).toMatchObject({ prompt: "Be brief.\nHi?\n", completion: "Hi.", kind: "chat" });
    expect(brief(parse(JSON.stringify({ messages: messages.slice(0, 2) })).diagnostics)).toEqual(['MOE5145 line 1, column 13: the last message is by "user", expected "assistant"']);
    expect(brief(parse('{"messages": [{"role": "user"}]}').diagnostics)).toEqual(['MOE5132 line 1, column 14: messages[0] must be an object with the strings "role" and "content"']);
  });
  it.each([
    ["[1]", "MOE5144"],
    ["null", "MOE5144"],
    ['"x"', "MOE5144"],
    ['{"text": "x"}', "MOE5131"],
    ['{"prompt": "x", "completion": 3}', "MOE5132"],
    ['{"instruction": "x", "ouput": "y"}', "MOE5131"],
    ['{"prompt": "a", "completion": "b", "id": {}}', "MOE5132"],
    ["{'prompt': 1}", "MOE5130"],
  ])("%s gives one %s", (text, code) => {
    expect(parse(text).diagnostics.map((d) => d.code)).toEqual([code]);
  });
  it("a misspelt key comes with the edit that repairs it", () => {
    const text = '{"prompt": "é", "completion": "b"}\n{"prompt": "a", "completon": "b"}\n';
    const edit = parse(text).diagnostics[0]!.fixes[0]!.edits[0]!;
    const repaired = text.slice(0, edit.span.start) + edit.text + text.slice(edit.span.end);
    expect(parse(repaired).diagnostics).toEqual([]);
  });
});

describe("files", () => {
  const good = '{"prompt": "a", "completion": "b"}\n';
  it("blank lines are skipped, and lines still count", () => {
    expect(parse(`\n${good}\n  \r\n${good}`).rows.map((r) => r.line)).toEqual([2, 5]);
    expect(parse("\n \n").diagnostics.map((d) => d.code)).toEqual(["MOE5134"]);
  });
  it("UTF-16 is named once", () => {
    expect(parse(new Uint8Array(Buffer.from(`\uFEFF${good}`.repeat(3), "utf16le"))).diagnostics.map((d) => d.code)).toEqual(["MOE5135"]);
    expect(parse(new Uint8Array(Buffer.from(good.repeat(3), "utf16le"))).diagnostics.map((d) => d.code)).toEqual(["MOE5135"]);
  });
  it("an error in a line of 5 MB is told without the line", () => {
    const result = parse(`{"prompt": "${"a".repeat(5e6)}", "completion": "b", "kind": 1}\n${good}x`);
    expect(brief(result.diagnostics).every((s) => s.length < 300)).toBe(true);
    expect(result.diagnostics.map((d) => d.code)).toEqual(["MOE5132", "MOE5130"]);
    expect(result.rows).toHaveLength(1);
  });
  it("many faults are counted, and one unknown kind is one fault", () => {
    const many = parse("x\n".repeat(1000));
    expect(many.diagnostics).toHaveLength(101);
    expect(many.diagnostics.at(-1)!.code).toBe("MOE5146");
    expect(many.diagnostics.at(-1)!.message).toBe("900 further faults are not shown");
    const of = (kind: string) => `{"prompt": "a", "completion": "b", "kind": "${kind}"}\n`;
    const kinds = parse(of("k").repeat(9) + of("sentiment"), { knownKinds });
    expect(kinds.diagnostics).toHaveLength(1);
    expect(kinds.diagnostics[0]!.notes).toEqual(["the same kind is on 8 more lines: 2, 3, 4, 5, 6, ..."]);
    expect(kinds.rows.map((r) => r.kind)).toEqual(["sentiment"]);
  });

  const rowOf = (kind: string) => `{"prompt": "a", "completion": "b", "kind": "${kind}"}\n`;
  it("a file whose kinds are all others than the spec's is taken, with one warning", () => {
    const { rows, diagnostics } = parse(rowOf("weather") + rowOf("sport").repeat(2) + '{"prompt": "a", "completion": "b"}\n', { knownKinds });
    expect(rows).toHaveLength(4);
    expect(diagnostics.map((d) => [d.code, d.severity, d.message])).toEqual([
      ["MOE5147", "warning", 'x.jsonl, line 1, column 44: kind "weather" is mapped to no group, nor is any other kind of this file; mapped are "world_knowledge", "sentiment"'],
    ]);
    expect(diagnostics[0]!.notes).toEqual(['other kinds in it: "sport"']);
    const many = parse(Array.from({ length: 20 }, (_, i) => rowOf(`k${i}`)).join(""), { knownKinds });
    expect(many.diagnostics.map((d) => d.notes)).toEqual([['other kinds in it: "k1", "k2", "k3", "k4", "k5", and 14 more']]);
  });
  it("a kind that looks misspelt is refused though no other row has a known one", () => {
    const { rows, diagnostics } = parse(rowOf("Sentiment ") + rowOf("weather"), { knownKinds });
    expect(brief(diagnostics)).toEqual([
      'MOE5133 line 1, column 44: unknown kind "Sentiment "; known are "world_knowledge", "sentiment" | did you mean "sentiment"?',
      'MOE5133 line 2, column 44: unknown kind "weather"; known are "world_knowledge", "sentiment"',
    ]);
    expect(rows).toEqual([]);
  });
  it("a kind is reported at its row, between the other faults", () => {
    const { diagnostics } = parse(`x\n${rowOf("weather")}${rowOf("sentiment")}y\n`, { knownKinds });
    expect(diagnostics.map((d) => d.code)).toEqual(["MOE5130", "MOE5133", "MOE5130"]);
  });
  it("a spec that maps no kinds takes any", () => {
    expect(parse(rowOf("weather") + rowOf("sport"), { knownKinds: [] }).diagnostics).toEqual([]);
  });
  it("a file cut inside a character is a cut file", () => {
    const bytes = new TextEncoder().encode(`${good}{"prompt": "é`);
    expect(parse(bytes.subarray(0, -1)).diagnostics.map((d) => d.code)).toEqual(["MOE5137"]);
  });
  it("any bytes give rows or diagnostics, never an exception", () => {
    const lines = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.json().map((s) => new TextEncoder().encode(s)), fc.constant(new TextEncoder().encode(good)));
    fc.assert(
      fc.property(fc.array(lines, { maxLength: 6 }), (parts) => {
        const bytes = Uint8Array.from(parts.flatMap((p) => [...p, 10]));
        const { rows, diagnostics } = parse(bytes);
        expect(rows.length + diagnostics.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });
});
