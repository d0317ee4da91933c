import type { Expression, Name, Parameter, ParameterType, TensorParameter } from "../parser/ast.ts";

/** A size: a number, or a symbol that is known when a batch arrives ("sample", "position"). */
export type AxisSize = number | string;

/**
 * A named axis. Two axes are the same if and only if they are the same object: the `AxisTable` hands out one object
 * for each (name, size).
 */
export interface AxisRef {
  readonly name: string;
  readonly size: AxisSize;
}

export type DType = "f32" | "i32" | "bool";

/** What an emitter knows a tensor or a number by. Opaque to the language. */
export type Handle = unknown;

/** A tensor while a definition is elaborated: its axes, among them those the definition does not mention. */
export interface Tensor {
  readonly kind: "tensor";
  readonly axes: readonly AxisRef[];
  readonly dtype: DType;
  readonly handle: Handle;
}

/** Everything that is known when the text is compiled. `null` is a configuration's `none`. */
export type ConstValue = number | boolean | string | null | readonly ConstValue[] | { readonly [name: string]: ConstValue };

export interface Const {
  readonly kind: "const";
  readonly value: ConstValue;
  /** The names this value may have, where its type is a choice: so that `form == cv2` knows `cv2`. */
  readonly choices?: readonly string[];
}

export interface AxisEntity {
  readonly kind: "axis";
  readonly axis: AxisRef;
}

/** A linear layer or a block of a model, callable in its body. */
export interface Callable {
  readonly kind: "callable";
  readonly name: string;
  readonly call: (args: readonly Given[], at: Expression) => Tensor;
}

/** What a name in scope can stand for. */
export type Entity = Const | AxisEntity | Tensor | Callable;

/** An argument as evaluated. */
export interface Given {
  readonly name?: Name;
  readonly value: Entity;
  readonly expression: Expression;
}

export function isConst(entity: Entity): entity is Const {
  return entity.kind === "const";
}

export function constant(value: ConstValue, choices?: readonly string[]): Const {
  return choices ? { kind: "const", value, choices } : { kind: "const", value };
}

/** `[sample, position, in]` for messages. */
export function showAxes(axes: readonly AxisRef[], names: (axis: AxisRef) => string = (a) => a.name): string {
  return `[${axes.map(names).join(", ")}]`;
}

/** A value as a message shows it. */
export function showConst(value: ConstValue): string {
  if (value === null) return "none";
  if (Array.isArray(value)) return `[${value.slice(0, 8).map((v: ConstValue) => (Array.isArray(v) ? "[…]" : showConst(v))).join(", ")}${value.length > 8 ? ", …" : ""}]`;
  if (typeof value === "object") return `{ ${Object.keys(value).join(", ")} }`;
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** A type as it is written. */
export function showType(type: ParameterType): string {
  switch (type.kind) {
    case "choice":
      return type.choices.map((c) => c.text).join(" | ");
    case "record":
      return `{ ${type.fields.map((f) => `${f.name.text}: ${showType(f.type)}`).join(", ")} }`;
    case "list":
      return `list of ${showType(type.of)}`;
    default:
      return type.kind;
  }
}

/** The parameters as they are written, for messages about a call. */
export function showParameters(parameters: readonly (Parameter | TensorParameter)[]): string {
  return parameters
    .map((p) =>
      p.kind === "tensor"
        ? p.name.text + (p.axes ? ` [${p.axes.axes.map((a) => a.text).join(", ")}]` : "")
        : `${p.name.text}: ${showType(p.type)}`,
    )
    .join(", ");
}

/** Hands out axes: one object for each name and size; a second size under the same name gets a name of its own. */
export class AxisTable {
  readonly #byKey = new Map<string, AxisRef>();
  readonly #sizes = new Map<string, AxisSize>();

  /** The axis of this name and size; `avoid` are names it must not share (axes that a fn does not see, say). */
  get(name: string, size: AxisSize, avoid?: ReadonlySet<string>): AxisRef {
    for (let n = 1; ; n++) {
      const candidate = n === 1 ? name : `${name}_${n}`;
      if (avoid?.has(candidate)) continue;
      const taken = this.#sizes.get(candidate);
      if (taken !== undefined && taken !== size) continue;
      const known = this.#byKey.get(candidate);
      if (known) return known;
      const axis = Object.freeze({ name: candidate, size });
      this.#byKey.set(candidate, axis);
      this.#sizes.set(candidate, size);
      return axis;
    }
  }
}
