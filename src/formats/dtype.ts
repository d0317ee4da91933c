import { fail } from "../diagnostics/index.ts";
import { bf16ToNumber, f16Table, numberToBf16, numberToF16 } from "./half.ts";

/** Bits of one element, for every dtype of safetensors 0.8, in its order: narrow to wide, so aligned when laid out in reverse. */
export const dtypeBits = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type Dtype = keyof typeof dtypeBits;

/** The dtypes whose elements this project reads. */
export type NumericDtype = "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U8" | "BOOL";

/** The dtypes that a model's weights may have: numbers that mean themselves, and are not packed or scaled. */
export const floatDtypes: readonly NumericDtype[] = ["F32", "F16", "BF16", "F64"];

const readers: Record<NumericDtype, (view: DataView, index: number) => number> = {
  F64: (v, i) => v.getFloat64(i * 8, true),
  F32: (v, i) => v.getFloat32(i * 4, true),
  F16: (v, i) => f16Table()[v.getUint16(i * 2, true)]!,
  BF16: (v, i) => bf16ToNumber(v.getUint16(i * 2, true)),
  I64: (v, i) => Number(v.getBigInt64(i * 8, true)),
  I32: (v, i) => v.getInt32(i * 4, true),
  I16: (v, i) => v.getInt16(i * 2, true),
  I8: (v, i) => v.getInt8(i),
  U8: (v, i) => v.getUint8(i),
  BOOL: (v, i) => (v.getUint8(i) === 0 ? 0 : 1),
};

export function isNumeric(dtype: Dtype): dtype is NumericDtype {
  return Object.hasOwn(readers, dtype);
}

/** Bytes of one element of a dtype that this project reads. */
export function bytesOf(dtype: NumericDtype): number {
  return dtypeBits[dtype] / 8;
}

/** How many bytes `elements` of a dtype take; undefined where that is no whole number of bytes, or not a safe integer. */
export function byteSize(dtype: Dtype, elements: number): number | undefined {
  const bytes = (elements * dtypeBits[dtype]) / 8;
  return Number.isSafeInteger(elements * dtypeBits[dtype]) && Number.isInteger(bytes) ? bytes : undefined;
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Decodes elements into `into` from `at` on. F32 and F64 are copied whole where the target has the same type. */
function decodeInto<T extends Float32Array | Float64Array | Int32Array>(dtype: Dtype, bytes: Uint8Array, into: T, at: number): T {
  if (!isNumeric(dtype)) fail("MOE5117", `data of dtype ${dtype} cannot be read as numbers`, { help: `supported are ${Object.keys(readers).join(", ")}` });
  const count = bytes.length / bytesOf(dtype);
  const same = (dtype === "F32" && into instanceof Float32Array) || (dtype === "F64" && into instanceof Float64Array) || (dtype === "I32" && into instanceof Int32Array);
  if (same && littleEndian) {
    new Uint8Array(into.buffer, into.byteOffset + at * into.BYTES_PER_ELEMENT, bytes.length).set(bytes);
    return into;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = readers[dtype];
  for (let i = 0; i < count; i++) into[at + i] = read(view, i);
  return into;
}

/**
 * Elements as float32, for a backend. F16 and BF16 widen exactly; F64 rounds to nearest; integers of more than 24 bits
 * round. With `into` and `at`, decodes one piece of a longer tensor.
 */
export function decodeFloat32(dtype: Dtype, bytes: Uint8Array, into?: Float32Array, at = 0): Float32Array {
  return decodeInto(dtype, bytes, into ?? new Float32Array(elementCount(dtype, bytes)), at);
}

/** Elements as float64: exact for every dtype but I64 beyond 2^53. */
export function decodeFloat64(dtype: Dtype, bytes: Uint8Array): Float64Array {
  return decodeInto(dtype, bytes, new Float64Array(elementCount(dtype, bytes)), 0);
}

/** Elements as int32; refuses values that are no 32-bit integers. */
export function decodeInt32(dtype: Dtype, bytes: Uint8Array, name = "the tensor"): Int32Array {
  if (dtype === "I32") return decodeInto(dtype, bytes, new Int32Array(elementCount(dtype, bytes)), 0);
  const wide = decodeFloat64(dtype, bytes);
  const result = new Int32Array(wide.length);
  wide.forEach((value, i) => {
    if ((value | 0) !== value) fail("MOE5117", `${name} (${dtype}) holds ${value} at index ${i}, which is no 32-bit integer`);
    result[i] = value;
  });
  return result;
}

/** Elements as bytes, little endian. F16 and BF16 round to nearest even; integers must be in range. */
export function encodeElements(dtype: NumericDtype, values: ArrayLike<number>): Uint8Array {
  const size = bytesOf(dtype);
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  const write: Record<NumericDtype, (i: number, x: number) => void> = {
    F64: (i, x) => view.setFloat64(i * 8, x, true),
    F32: (i, x) => view.setFloat32(i * 4, x, true),
    F16: (i, x) => view.setUint16(i * 2, numberToF16(x), true),
    BF16: (i, x) => view.setUint16(i * 2, numberToBf16(x), true),
    I64: (i, x) => view.setBigInt64(i * 8, BigInt(x), true),
    I32: (i, x) => view.setInt32(i * 4, x, true),
    I16: (i, x) => view.setInt16(i * 2, x, true),
    I8: (i, x) => view.setInt8(i, x),
    U8: (i, x) => view.setUint8(i, x),
    BOOL: (i, x) => view.setUint8(i, x === 0 ? 0 : 1),
  };
  if (dtype === "F32" && values instanceof Float32Array && littleEndian) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return bytes;
  }
  for (let i = 0; i < values.length; i++) write[dtype](i, values[i]!);
  return bytes;
}

function elementCount(dtype: Dtype, bytes: Uint8Array): number {
  return Math.floor((bytes.length * 8) / dtypeBits[dtype]);
}
