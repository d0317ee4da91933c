/** Writes messages of the protocol buffers wire format (protobuf.dev/programming-guides/encoding): as much of it as ONNX needs. */
export class Message {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  /** A field of type int32, int64 or an enum; never negative here but for ONNX's axes, which take ten bytes as the format asks. */
  integer(field: number, value: number): this {
    this.#push(varint(BigInt(field) << 3n));
    return this.#push(varint(BigInt.asUintN(64, BigInt(value))));
  }

  float(field: number, value: number): this {
    this.#push(varint((BigInt(field) << 3n) | 5n));
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.#push(bytes);
  }

  /** A string, a message or bytes: what has its length before it. */
  bytes(field: number, value: Uint8Array | string | Message): this {
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value instanceof Message ? value.finish() : value;
    this.#push(varint((BigInt(field) << 3n) | 2n));
    this.#push(varint(BigInt(bytes.length)));
    return this.#push(bytes);
  }

  finish(): Uint8Array {
    const whole = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  #push(part: Uint8Array): this {
    this.#parts.push(part);
    this.#length += part.length;
    return this;
  }
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
