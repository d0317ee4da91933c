import type { AxisRef, DType, EmitOrigin, Emitter, WeightRequest } from "../check/index.ts";
import type { Value } from "../ir/graph.ts";
import type { GraphEmitter } from "./emitter.ts";

/** The unit matrix [.., row, column], with each column scaled where there is a `scale` [column]. Never built unless it must be. */
class Unit {
  readonly axes: readonly AxisRef[];
  readonly scale: Value | undefined;

  constructor(axes: readonly AxisRef[], scale?: Value) {
    this.axes = axes;
    this.scale = scale;
  }
}

interface TensorType {
  readonly axes: readonly AxisRef[];
  readonly dtype: DType;
}

/**
 * Writes a graph while a linear map is elaborated on the unit matrix, so that what comes out is the map's own matrix. A
 * product of the unit matrix with another is that other one under another name: what would be the greatest product of all
 * is none. Where anything else is done with it, it is the input `unit`.
 */
export class UnitEmitter implements Emitter {
  /** The unit matrix, for who elaborates. */
  readonly unit: unknown;
  /** Its axes in order. */
  readonly axes: readonly AxisRef[];
  readonly #to: GraphEmitter;
  readonly #row: AxisRef;
  readonly #column: AxisRef;
  #input: Value | undefined;

  /** `axes` are the unit matrix's in order, among them its rows and columns. */
  constructor(to: GraphEmitter, axes: readonly AxisRef[], row: AxisRef, column: AxisRef) {
    this.#to = to;
    this.axes = axes;
    this.#row = row;
    this.#column = column;
    this.unit = new Unit(axes);
  }

  op(op: string, operands: readonly unknown[], attributes: object, type: TensorType, origin: EmitOrigin): unknown {
    const [a, b] = operands;
    if (!operands.some((o) => o instanceof Unit)) return this.#to.op(op, operands, attributes, type, origin);
    if (op === "dot" && a instanceof Unit !== b instanceof Unit) {
      const done = this.#product((a instanceof Unit ? a : b) as Unit, (a instanceof Unit ? b : a) as Value, (attributes as { readonly over: readonly string[] }).over, type, origin);
      if (done) return done;
    }
    if ((op === "mul" || op === "div") && a instanceof Unit && !(b instanceof Unit)) {
      const scaled = this.#scaled(a, op, b as Value, type, origin);
      if (scaled) return scaled;
    }
    if (op === "mul" && b instanceof Unit && !(a instanceof Unit)) {
      const scaled = this.#scaled(b, op, a as Value, type, origin);
      if (scaled) return scaled;
    }
    return this.#to.op(op, operands.map((o) => (o instanceof Unit ? this.#built(o, origin) : o)), attributes, type, origin);
  }

  /** unit @ t: t, whose columns' axis is called as the rows now. */
  #product(unit: Unit, t: Value, over: readonly string[], type: TensorType, origin: EmitOrigin): Value | undefined {
    const axes = axesOf(t);
    if (over.length !== 1 || over[0] !== this.#column.name || axes.some((x) => x.name === this.#row.name)) return undefined;
    const whole = unit.scale ? this.#to.op("mul", [t, unit.scale], {}, { axes, dtype: "f32" }, origin) : t;
    const renamed = axes.map((x) => (x.name === this.#column.name ? this.#row : x));
    const value = this.#to.op("rename", [whole], { from: [this.#column.name], to: [this.#row.name] }, { axes: renamed, dtype: "f32" }, origin);
    if (renamed.length === type.axes.length && renamed.every((x, i) => x.name === type.axes[i]!.name)) return value;
    if (renamed.length < type.axes.length) return this.#to.op("expand", [value], { axes: type.axes }, type, origin);
    return this.#to.op("transpose", [value], { order: type.axes.map((x) => x.name) }, type, origin);
  }

  /** A unit matrix times or by what has no axis but that of its columns. */
  #scaled(unit: Unit, op: string, by: Value, type: TensorType, origin: EmitOrigin): Unit | undefined {
    const axes = axesOf(by);
    if (type.axes.length !== unit.axes.length || axes.some((x) => x.name !== this.#column.name)) return undefined;
    const before = unit.scale ?? this.#to.op("constant", [], { value: 1, dtype: "f32" }, { axes: [], dtype: "f32" }, origin);
    const joined = [...axesOf(before), ...axes].length > 0 ? [this.#column] : [];
    return new Unit(unit.axes, this.#to.op(op, [before, by], {}, { axes: joined, dtype: "f32" }, origin));
  }

  /** The matrix itself. */
  #built(unit: Unit, origin: EmitOrigin): Value {
    this.#input ??= this.#to.input("unit", { kind: "tensor", dtype: "f32", axes: this.axes });
    return unit.scale ? this.#to.op("mul", [this.#input, unit.scale], {}, { axes: unit.axes, dtype: "f32" }, origin) : this.#input;
  }

  weight(request: WeightRequest): unknown {
    return this.#to.weight(request);
  }

  number(name: string): unknown {
    return this.#to.number(name);
  }

  label(handle: unknown, name: string): void {
    if (!(handle instanceof Unit)) this.#to.label(handle, name);
  }

  layer(): unknown {
    return this.#to.layer();
  }

  fold(): never {
    throw new Error("one linear has no layers");
  }
}

function axesOf(value: Value): readonly AxisRef[] {
  return (value.type as { readonly axes: readonly AxisRef[] }).axes;
}
