import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DiagnosticError } from "../../src/diagnostics/index.ts";
import { decodeFloat32, decodeFloat64, decodeInt32, type NumericDtype } from "../../src/formats/dtype.ts";
import { encodeSafetensors, parseHeader, parseSafetensors, tensorBytes, type TensorData } from "../../src/formats/safetensors.ts";
import { hasShared, rawSafetensors, refusal, shared } from "./shared.ts";

const codesOf = async (header: string, data: number) => (await refusal(() => parseSafetensors(rawSafetensors(header, data), "f"))).map((d) => d.code);

const shapes = fc.array(fc.nat(4), { maxLength: 3 });
const tensor = fc.tuple(fc.string({ unit: "grapheme", maxLength: 12 }), fc.constantFrom<NumericDtype>("F64", "F32", "I64", "I32", "U8", "F16", "BF16"), shapes).chain(([name, dtype, shape]) => {
  const count = shape.reduce((a, b) => a * b, 1);
  const value =
    dtype === "F64" ? fc.double({ noNaN: true }) : dtype === "F32" ? fc.float({ noNaN: true }) : dtype === "U8" ? fc.nat(255) : dtype === "I32" || dtype === "I64" ? fc.integer() : fc.integer({ min: -128, max: 128 });
  return fc.array(value, { minLength: count, maxLength: count }).map((data): TensorData => ({ name: `t${name}`, dtype, shape, data }));
});
const tensors = fc.uniqueArray(tensor, { selector: (t) => t.name, maxLength: 6 });

describe("safetensors", () => {
  it("what is encoded is parsed back, value for value", () => {
    fc.assert(
      fc.property(tensors, fc.dictionary(fc.string(), fc.string()), (list, metadata) => {
        const file = encodeSafetensors(list, metadata);
        const header = parseSafetensors(file, "f");
        expect(header.dataStart % 8).toBe(0);
        expect({ ...header.metadata }).toEqual({ ...metadata });
        expect(header.tensors.size).toBe(list.length);
        for (const { name, dtype, shape, data } of list) {
          const entry = header.tensors.get(name)!;
          expect(entry.dtype).toBe(dtype);
          expect(entry.shape).toEqual(shape);
          expect([...decodeFloat64(entry.dtype, tensorBytes(file, entry))]).toEqual(Array.from(data));
        }
        expect(encodeSafetensors(list.toReversed(), metadata)).toEqual(file);
      }),
      { numRuns: 150 },
    );
  });
  it("damage gives a DiagnosticError or a readable file, never another exception", () => {
    const file = encodeSafetensors([
      { name: "model.a", shape: [2, 3], data: [1, 2, 3, 4, 5, 6] },
      { name: "model.b", dtype: "F16", shape: [4], data: [1, 2, 3, 4] },
    ], { format: "pt" });
    let refused = 0;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(file.length), fc.boolean(), (changes, cut, truncate) => {
        const damaged = Uint8Array.from(file);
        for (const [at, byte] of changes) damaged[at] = byte;
        try {
          parseSafetensors(truncate ? damaged.subarray(0, cut) : damaged, "f");
        } catch (error) {
          if (!(error instanceof DiagnosticError)) throw error;
          refused++;
        }
      }),
      { numRuns: 2000 },
    );
    expect(refused).toBeGreaterThan(500);
  });
  it("any JSON as a header is refused or read", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), (json) => {
        try {
          parseSafetensors(rawSafetensors(json, 0), "f");
        } catch (error) {
          if (!(error instanceof DiagnosticError)) throw error;
        }
      }),
    );
  });
  it("every header of the oracles is accepted, byte for byte what the reference implementation wrote", { skip: !hasShared }, () => {
    for (const name of ["loramoe.f32", "loramoe.f64", "llama_tiny.f32"]) {
      const bytes = new Uint8Array(readFileSync(`${shared}/oracles/${name}.safetensors`));
      const header = parseSafetensors(bytes, name);
      const again = encodeSafetensors([...header.tensors.values()].map((e) => ({ name: e.name, dtype: e.dtype as NumericDtype, shape: e.shape, data: decodeFloat64(e.dtype, tensorBytes(bytes, e)) })), header.metadata);
      expect(Buffer.compare(again, bytes)).toBe(0);
    }
  });
  const entry = (dtype: string, shape: unknown, offsets: unknown): string => JSON.stringify({ dtype, shape, data_offsets: offsets });
  it("names a fault once, with its own code", async () => {
    expect(await codesOf("[]", 0)).toEqual(["MOE5111"]);
    expect(await codesOf('{"a":1}', 0)).toEqual(["MOE5112"]);
    expect(await codesOf(`{"a":${entry("F31", [1], [0, 4])}}`, 4)).toEqual(["MOE5117"]);
    expect(await codesOf(`{"a":${entry("F32", [-1], [0, 4])}}`, 4)).toEqual(["MOE5112"]);
    expect(await codesOf(`{"a":${entry("F32", [1.5], [0, 4])}}`, 4)).toEqual(["MOE5112"]);
    expect(await codesOf(`{"a":${entry("F32", [1], [4, 0])}}`, 4)).toEqual(["MOE5112"]);
    expect(await codesOf(`{"a":${entry("F32", [1e9, 1e9, 1e9], [0, 4])}}`, 4)).toEqual(["MOE5115"]);
    expect(await codesOf(`{"a":${entry("F32", [1], [4, 8])}}`, 8)).toEqual(["MOE5114"]);
    expect(await codesOf(`{"a":${entry("F32", [1], [0, 4])}}`, 8)).toEqual(["MOE5114"]);
    expect(await codesOf(`{"a":${entry("F32", [4], [0, 16])}}`, 8)).toEqual(["MOE5114"]);
    expect(await codesOf(`{"a":${entry("F32", [1], [0, 4])},"a":${entry("F32", [1], [4, 8])}}`, 8)).toEqual(["MOE5116"]);
    expect(await codesOf(`{"a":${entry("F32", [3], [0, 12])},"b":${entry("F32", [2], [8, 16])}}`, 16)).toEqual(["MOE5113"]);
    expect(await codesOf('{"__metadata__":{"a":1}}', 0)).toEqual(["MOE5112"]);
    expect(await codesOf(`${"[".repeat(100_000)}`, 0)).toEqual(["MOE5111"]);
  });
  it("an unreadably long header is refused from its first eight bytes", async () => {
    const head = new Uint8Array(8).fill(0xff);
    expect((await refusal(() => parseHeader(head, 2 ** 40, "f"))).map((d) => d.code)).toEqual(["MOE5110"]);
    expect((await refusal(() => parseHeader(new Uint8Array(3), 3, "f"))).map((d) => d.code)).toEqual(["MOE5110"]);
  });
  it("integers decode exactly, or not at all", async () => {
    const file = encodeSafetensors([{ name: "i", dtype: "I64", shape: [2], data: [-5, 2 ** 40] }]);
    const e = parseSafetensors(file, "f").tensors.get("i")!;
    expect([...decodeFloat64("I64", tensorBytes(file, e))]).toEqual([-5, 2 ** 40]);
    expect((await refusal(() => decodeInt32("I64", tensorBytes(file, e), "i"))).map((d) => d.code)).toEqual(["MOE5117"]);
    expect((await refusal(() => decodeFloat32("F8_E4M3", new Uint8Array(4)))).map((d) => d.code)).toEqual(["MOE5117"]);
  });
});
