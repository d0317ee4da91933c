import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bf16ToNumber, f16Table, f16ToNumber, numberToBf16, numberToF16 } from "../../src/formats/half.ts";

describe("half precision", () => {
  // Values from IEEE 754-2019 (binary16): exponent bias 15, 10 fraction bits.
  it.each([
    [0x0000, 0],
    [0x0001, 5.960464477539063e-8],
    [0x03ff, 6.097555160522461e-5],
    [0x0400, 6.103515625e-5],
    [0x3555, 0.333251953125],
    [0x3c00, 1],
    [0xc000, -2],
    [0x7bff, 65504],
    [0x7c00, Infinity],
    [0xfc00, -Infinity],
  ])("F16 %i is %f", (pattern, value) => {
    expect(f16ToNumber(pattern)).toBe(value);
    expect(numberToF16(value)).toBe(pattern);
  });
  it.each([
    [0x3f80, 1],
    [0x4049, 3.140625],
    [0x0001, 2 ** -133],
    [0xff80, -Infinity],
  ])("BF16 %i is %f", (pattern, value) => {
    expect(bf16ToNumber(pattern)).toBe(value);
    expect(numberToBf16(value)).toBe(pattern);
  });
  it("every pattern that is no NaN survives the round trip", () => {
    const changed: number[] = [];
    let nan = 0;
    for (let p = 0; p < 65536; p++)
      for (const [widen, narrow] of [[f16ToNumber, numberToF16], [bf16ToNumber, numberToBf16]] as const) {
        if (Number.isNaN(widen(p))) nan++;
        else if (narrow(widen(p)) !== p) changed.push(p);
      }
    expect(changed).toEqual([]);
    expect(nan).toBe(2 * 1023 + 2 * 127); // all fractions but zero, under both signs
    expect(f16ToNumber(numberToF16(NaN))).toBeNaN();
    expect(bf16ToNumber(numberToBf16(NaN))).toBeNaN();
    expect(f16Table()).toHaveLength(65536);
  });
  it("narrowing gives the nearest value, the even one of two", () => {
    const check = (x: number, pattern: number, value: (p: number) => number): void => {
      const down = value(pattern - 1);
      const here = value(pattern);
      const up = value(pattern + 1);
      expect(Math.abs(here - x)).toBeLessThanOrEqual(Math.min(Math.abs(down - x), Math.abs(up - x)));
      if (Math.abs(here - x) === Math.abs(up - x) || Math.abs(here - x) === Math.abs(down - x)) expect(pattern % 2).toBe(0);
    };
    fc.assert(
      fc.property(fc.float({ min: Math.fround(1e-7), max: 65000, noNaN: true }), (x) => {
        check(x, numberToF16(x), f16ToNumber);
        check(x, numberToBf16(x), bf16ToNumber);
      }),
    );
    expect(numberToF16(1 + 2 ** -11)).toBe(0x3c00);
    expect(numberToF16(1 + 3 * 2 ** -11)).toBe(0x3c02);
    expect(numberToF16(65519)).toBe(0x7bff);
    expect(numberToF16(65520)).toBe(0x7c00);
  });
});
