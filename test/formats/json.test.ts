import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { atPointer, lineColumn, maximumDepth, parseJson, plain } from "../../src/formats/json.ts";
import { validateJson, type JsonSchema } from "../../src/formats/schema.ts";
import { firstInvalidByte } from "../../src/formats/text.ts";

const fault = (text: string) => {
  const result = parseJson(text);
  if (result.ok) throw new Error(`accepted ${text}`);
  return result.fault;
};

describe("JSON with places", () => {
  it("reads what JSON.parse reads", () => {
    fc.assert(
      fc.property(fc.json(), fc.boolean(), (json, pretty) => {
        const text = pretty ? JSON.stringify(JSON.parse(json), null, 2) : json;
        const result = parseJson(text);
        expect(result.ok && plain(result.node)).toEqual(JSON.parse(text));
      }),
    );
  });
  it("refuses what JSON.parse refuses, and nothing else", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), fc.nat(), fc.constantFrom("", ",", '"', "{", "}", "]", "1", "\\", "x", "\n", "\u0001", "-", "."), (json, at, insert) => {
        const cut = at % (json.length + 1);
        const text = json.slice(0, cut) + insert + json.slice(cut + 1);
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        expect(parseJson(text).ok).toBe(valid);
      }),
      { numRuns: 1000 },
    );
  });
  it.each([
    ['{"a": 1 "b"}', 8, 'expected "," or "}", found a string'],
    ['{"a" 1}', 5, 'expected ":", found "1"'],
    ['{"a": 1,}', 8, 'expected a key in quotes, found "}"'],
    ["[1,]", 3, 'expected a value, found "]"'],
    ['{"a": F32}', 6, 'expected a value, found "F32"'],
    ['"\\x"', 1, 'no such escape in a string: "\\\\x"'],
    ["1 2", 2, 'expected the end of the text, found "2"'],
    ['"a\nb"', 2, "expected no raw control character in a string, found the control character U+000A"],
  ])("%s", (text, offset, message) => {
    expect(fault(text)).toEqual({ message, offset });
  });
  it.each([
    ['{"a": "b', "string"],
    ['{"a": "b\\', "string"],
    ['{"a": "b\\u12', "string"],
    ['{"a"', "object"],
    ['{"a":', "value"],
    ["[1", "array"],
  ])("knows that %s was cut off", (text, unfinished) => {
    expect(fault(text)).toMatchObject({ offset: text.length, unfinished });
  });
  it("limits nesting, and takes long strings in linear time", () => {
    expect(fault("[".repeat(1e6)).message).toBe(`nested deeper than ${maximumDepth} levels`);
    const long = JSON.stringify(`${"a".repeat(5e6)}\\n${'"'.repeat(1e5)}`);
    const start = performance.now();
    expect(parseJson(long).ok).toBe(true);
    expect(performance.now() - start).toBeLessThan(5000);
  });
  it("finds a pointer's place", () => {
    const text = '{"a/b": [10, {"~": true}]}';
    const root = parseJson(text);
    const found = root.ok && atPointer(root.node, "/a~1b/1/~0");
    expect(found && text.slice(found.node.start, found.node.end)).toBe("true");
    expect(root.ok && atPointer(root.node, "/a~1b/7")).toBeUndefined();
    expect(lineColumn("a\nbc\nd", 4)).toEqual({ line: 2, column: 3 });
  });
  it("finds the first byte that is no UTF-8 where the platform's decoder does", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 12 }), fc.string({ unit: "binary" }).map((s) => new TextEncoder().encode(s))), (bytes) => {
        const at = firstInvalidByte(bytes);
        const accepts = (part: Uint8Array): boolean => {
          try {
            new TextDecoder("utf-8", { fatal: true }).decode(part);
            return true;
          } catch {
            return false;
          }
        };
        expect(accepts(bytes)).toBe(at < 0);
        if (at >= 0) expect(accepts(bytes.subarray(0, at))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("validation against a JSON Schema", () => {
  const schema: JsonSchema = {
    type: "object",
    required: ["hidden_size", "hidden_act"],
    additionalProperties: false,
    properties: {
      hidden_size: { type: "integer", minimum: 1 },
      hidden_act: { enum: ["silu", "gelu"] },
      rope: { anyOf: [{ type: "null" }, { type: "object", properties: { theta: { type: "number" } } }] },
      list: { type: "array", items: { type: "string" } },
    },
  };
  const check = async (text: string) => {
    const all = await validateJson(schema, JSON.parse(text), text, "c.json");
    return all.map((d) => ({ code: d.code, message: d.message, help: d.help, at: d.primary && text.slice(d.primary.span.start, d.primary.span.end) }));
  };
  it("says nothing about a valid value", async () => {
    expect(await check('{"hidden_size": 16, "hidden_act": "silu", "rope": null, "list": []}')).toEqual([]);
  });
  it("gives one diagnostic a mistake, with its place and the near name", async () => {
    expect(await check('{"hidden_size": "16", "hidden_act": "sillu",\n "hidden_sizes": 1, "rope": 3, "list": ["a", 1]}')).toEqual([
      { code: "MOE5107", message: 'c.json, line 2, column 2: unknown key "hidden_sizes"', help: 'did you mean "hidden_size"?', at: '"hidden_sizes"' },
      { code: "MOE5106", message: 'c.json, line 1, column 17: hidden_size must be integer, found "16"', help: undefined, at: '"16"' },
      { code: "MOE5106", message: 'c.json, line 1, column 37: hidden_act must be one of "silu" or "gelu", found "sillu"', help: 'did you mean "silu"?', at: '"sillu"' },
      { code: "MOE5106", message: "c.json, line 2, column 29: rope must be null or object, found 3", help: undefined, at: "3" },
      { code: "MOE5106", message: "c.json, line 2, column 46: list[1] must be string, found 1", help: undefined, at: "1" },
    ]);
  });
  it("names a missing key and its misspelling", async () => {
    const all = await check('{"hidden_siz": 16, "hidden_act": "silu"}');
    expect(all.map((d) => d.message)).toEqual(['c.json, line 1, column 1: missing key "hidden_size"', 'c.json, line 1, column 2: unknown key "hidden_siz"']);
    expect(all[0]!.help).toBe('"hidden_siz" looks like a misspelling of it');
  });
});
