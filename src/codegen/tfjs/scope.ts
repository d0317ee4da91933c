import type { Axis, DType, GraphFunction, Module, Size, TensorType, Type, Value } from "../../ir/graph.ts";
import { divideSizes, symbolsOf } from "../../ir/size.ts";
import { isTensor } from "../../ir/types.ts";
import { CodegenError } from "../errors.ts";
import { Names } from "../names.ts";

/** Names of `moec/runtime` that generated code may import. */
const helperNames = [
  "program", "fieldOf", "weightOf", "weightsOf", "sizeOf", "missing", "addInto", "random", "chance", "logSoftmax", "oneHot", "isTop", "scatterAdd", "noUsage", "noBalance",
  "sinOf", "cosOf", "floatOf", "transposeOf", "broadcastOf", "whereOf", "reverseOf",
  "dispatch", "spread", "collect", "groupedDot", "groupedOuter",
] as const;

export type Helper = (typeof helperNames)[number];

export const dtypeNames: { readonly [D in DType]: string } = { f32: "float32", i32: "int32", bool: "bool" };

/** The greatest rank that every backend's kernels take (XNNPACK's and WGSL's programs stop at 6). */
export const maxRank = 6;

/** A module's scope: what is shared by its functions, made once when a backend is chosen. */
export class ModuleScope {
  readonly graph: Pick<Module, "functions">;
  readonly types: boolean;
  readonly names = new Names();
  readonly functions = new Map<string, string>();
  readonly helpers = new Set<Helper>();
  /** Lines that make the constants, in order of first use. */
  readonly constants: { readonly name: string; readonly code: string }[] = [];
  readonly #known = new Map<string, string>();

  constructor(graph: Pick<Module, "functions">, types: boolean, taken: readonly string[] = []) {
    this.graph = graph;
    this.types = types;
    this.names.reserve("tf", "tfjs", "Tf", "Entries", "weights", "gradients", "moment1", "moment2", "input", "host", "manifest", "create", "each", "tensor", ...taken);
    // Reserved whether or not this module needs them: a module's names do not depend on its ops.
    this.names.reserve(...helperNames);
  }

  helper(name: Helper): string {
    this.helpers.add(name);
    return name;
  }

  /** A tensor made once: `code` makes it, equal code is one tensor. */
  constant(hint: string, code: string): string {
    const known = this.#known.get(code);
    if (known !== undefined) return known;
    const name = this.names.fresh(hint, "constant");
    this.#known.set(code, name);
    this.constants.push({ name, code });
    return name;
  }

  scalar(value: number, dtype: DType): string {
    const text = dtype === "bool" ? (value !== 0 ? "true" : "false") : number(value);
    const words = new Map([[0, "zero"], [1, "one"], [2, "two"], [0.5, "half"], [-1, "minusOne"]]);
    const hint = dtype === "bool" ? `${text}Constant` : Object.is(value, -0) ? "minusZero" : (words.get(value) ?? `c${text.replace(/-/g, "m").replace(/\+/g, "").replace(".", "p")}`);
    return this.constant(dtype === "i32" ? `${hint}_i32` : hint, `tf.scalar(${text}, ${JSON.stringify(dtypeNames[dtype])})`);
  }
}

/** A number's literal, NaN and infinities included, the sign of zero kept. */
export function number(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** `tfjs.Tensor2D`, `readonly tfjs.Scalar[]`, `number`. */
export function typeText(type: Type): string {
  if (type.kind === "number") return "number";
  if (type.kind === "list") return `readonly ${typeText(type.of)}[]`;
  return rankText(type.axes.length);
}

/** The type of tensors of a rank; core does not export `Tensor6D`, and no type of more axes. */
export function rankText(rank: number): string {
  if (rank === 0) return "tfjs.Scalar";
  if (rank <= 5) return `tfjs.Tensor${rank}D`;
  return rank === 6 ? "tfjs.Tensor<tfjs.Rank.R6>" : "tfjs.Tensor";
}

/** One function while it is printed: its variables, and the sizes it reads from its params. */
export class FunctionScope {
  readonly module: ModuleScope;
  readonly fn: GraphFunction;
  readonly names: Names;
  /** Consts of symbolic sizes, made at the function's start. */
  readonly sizes = new Map<string, { readonly name: string; readonly code: string }>();
  readonly #values = new Map<Value, string>();
  readonly #hoisted = new Set<Value>();

  constructor(module: ModuleScope, fn: GraphFunction) {
    this.module = module;
    this.fn = fn;
    this.names = new Names(module.names);
    for (const param of fn.params) this.declare(param, param.name, "argument");
  }

  /** `text` where types are printed. */
  typed(text: string): string {
    return this.module.types ? text : "";
  }

  /** A variable for a value. */
  declare(value: Value, hint = value.name, fallback = "value"): string {
    const name = this.names.fresh(hint, fallback);
    this.#values.set(value, name);
    return name;
  }

  /** The value is a constant of the module, which no function frees. */
  hoist(value: Value, name: string): void {
    this.#values.set(value, name);
    this.#hoisted.add(value);
  }

  isHoisted(value: Value): boolean {
    return this.#hoisted.has(value);
  }

  name(value: Value): string {
    const name = this.#values.get(value);
    if (name === undefined) throw new CodegenError(`@${this.fn.name}: "${value.name}" is used before it is made`);
    return name;
  }

  /** A size as an expression: `6 * position`. */
  size(size: Size): string {
    if (typeof size === "number") return String(size);
    return size
      .split("*")
      .map((factor) => (/^[0-9]+$/.test(factor) ? factor : this.#symbol(factor)))
      .join(" * ");
  }

  /** A shape: `[sample, position, 64]`. */
  shape(axes: readonly Axis[]): string {
    return `[${axes.map((a) => this.size(a.size)).join(", ")}]`;
  }

  #symbol(symbol: string): string {
    const known = this.sizes.get(symbol);
    if (known) return known.name;
    // Taken before other symbols are asked for, so that none waits for itself.
    const found = this.#source(symbol);
    if (found === undefined) throw new CodegenError(`@${this.fn.name}: no param's shape tells the size "${symbol}"`);
    const name = this.names.fresh(symbol, "size");
    this.sizes.set(symbol, { name, code: found });
    return name;
  }

  /** Where a param shows a symbol: alone if possible, else times a number. */
  #source(symbol: string): string | undefined {
    let scaled: string | undefined;
    for (const param of this.fn.params) {
      const type = param.type.kind === "list" ? param.type.of : param.type;
      if (!isTensor(type)) continue;
      const tensor = param.type.kind === "list" ? `${this.name(param)}[0]${this.typed("!")}` : this.name(param);
      for (const [i, { size }] of type.axes.entries()) {
        if (typeof size === "number" || symbolsOf(size).length !== 1 || symbolsOf(size)[0] !== symbol) continue;
        if (size === symbol) return type.axes.length <= maxRank ? `${tensor}.shape[${i}]` : `${this.module.helper("sizeOf")}(${tensor}, ${i})`;
        const factor = divideSizes(size, symbol);
        if (typeof factor === "number") scaled ??= `${this.module.helper("sizeOf")}(${tensor}, ${i}, ${factor})`;
      }
    }
    return scaled;
  }
}

/** The axes of a tensor value. */
export function axesOf(value: Value): readonly Axis[] {
  return tensorType(value).axes;
}

export function tensorType(value: Value): TensorType {
  if (!isTensor(value.type)) throw new CodegenError(`"${value.name}" was expected to be a tensor`);
  return value.type;
}

/** Where an axis stands in a value's layout. */
export function axisIndex(value: Value, name: string): number {
  const at = axesOf(value).findIndex((a) => a.name === name);
  if (at < 0) throw new CodegenError(`"${value.name}" has no axis "${name}"`);
  return at;
}
