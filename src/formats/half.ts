/**
 * IEEE 754 binary16 (F16) and bfloat16 (BF16) as 16-bit patterns. Widening is exact; narrowing rounds to nearest, ties
 * to even, and keeps infinities and NaN.
 */

const floats = new Float32Array(1);
const bits = new Uint32Array(floats.buffer);

/** The value of a bfloat16 pattern: the upper half of a float32. */
export function bf16ToNumber(pattern: number): number {
  bits[0] = pattern << 16;
  return floats[0]!;
}

/** The value of a binary16 pattern. */
export function f16ToNumber(pattern: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >> 10) & 0x1f;
  const fraction = pattern & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  // A power of two times an integer below 2^11: exact in float32 and float64 alike.
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (fraction + 0x400) * 2 ** (exponent - 25);
}

/** The bfloat16 pattern nearest to `value` rounded to float32. */
export function numberToBf16(value: number): number {
  floats[0] = value;
  const b = bits[0]!;
  if ((b & 0x7fffffff) > 0x7f800000) return (b >>> 16) | 0x40; // stays NaN though its low bits are cut off
  return ((b + 0x7fff + ((b >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The binary16 pattern nearest to `value` rounded to float32. */
export function numberToF16(value: number): number {
  floats[0] = value;
  const b = bits[0]!;
  const sign = (b >>> 16) & 0x8000;
  const magnitude = Math.abs(floats[0]!);
  if (Number.isNaN(magnitude)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00; // half an ulp above 65504, the greatest finite value
  if (magnitude < 2 ** -14) return sign | roundToEven(magnitude * 2 ** 24); // subnormal; 1024 is the least normal
  const exponent = ((b >>> 23) & 0xff) - 127;
  // A fraction that rounds up to 2048 carries into the exponent by plain addition.
  return sign | (((exponent + 15) << 10) + roundToEven(magnitude * 2 ** (10 - exponent)) - 0x400);
}

function roundToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

let f16Values: Float32Array | undefined;

/** Every binary16 value by its pattern: 256 KiB, made once, so that widening a checkpoint is a lookup. */
export function f16Table(): Float32Array {
  if (f16Values === undefined) {
    f16Values = new Float32Array(65536);
    for (let i = 0; i < 65536; i++) f16Values[i] = f16ToNumber(i);
  }
  return f16Values;
}
