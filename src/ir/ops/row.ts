import type { Builder } from "../builder.ts";
import type { Axis, GraphFunction, OpAttributes, OpName, Size, TensorType, Type, Value } from "../graph.ts";
import { equalSizes } from "../size.ts";
import type { Arg, ConcreteAxis, Tensor } from "../tensor.ts";
import { isTensor } from "../types.ts";

/** The functions of a module, by name: what `call` and `fold` look their signature up in. */
export type Functions = ReadonlyMap<string, GraphFunction>;

/** What an attribute's value looks like; the builder, the verifier and the parser check values against it. */
export type AttributeKind =
  | "number" // any double, infinities included
  | "count" // an integer >= 0
  | "boolean"
  | "name"
  | "names"
  | "axis"
  | "axes"
  | "numbers"
  | "dtype"
  | "function"
  | { readonly oneOf: readonly string[] };

export interface AttributeSpec {
  readonly kind: AttributeKind;
  readonly optional?: true;
}

/** What an operand may be, before the row's own constraints say more. */
export type OperandKind = "tensor" | "list" | "number" | "any";

/** An operation's operands: named ones in order, then as many of `rest` as there are. */
export interface OperandSpec {
  readonly names: readonly string[];
  readonly kinds: readonly OperandKind[];
  readonly rest?: { readonly name: string; readonly kind: OperandKind; readonly least: number };
}

/**
 * One numbered constraint. Constraints are tested in order and the first that fails is reported, so a predicate may
 * rely on those before it, and on the operands being of the row's arity and kinds.
 */
export interface Constraint<K extends OpName> {
  /** Unique in its row: "C1". In full: "dot.C1". */
  readonly id: string;
  readonly text: string;
  holds(operands: readonly Type[], attributes: OpAttributes[K], functions: Functions): boolean;
}

/** Floating-point operations (a multiply and an add count two) and bytes of memory read and written. */
export interface Cost {
  readonly flops: number;
  readonly bytes: number;
}

/** What a row's evaluation may ask of the interpreter. */
export interface EvaluationContext {
  /** The number a size stands for in this run. */
  size(size: Size): number;
  axes(axes: readonly Axis[]): readonly ConcreteAxis[];
  /** Fills `out`; which numbers they are is the caller's business (see `interpret.ts`). */
  random(distribution: "uniform" | "normal", seed: number, step: number, layer: number, stream: number, out: Float32Array): void;
  call(fn: string, args: readonly Arg[]): readonly Arg[];
}

/** What a cost is a function of: types whose sizes are numbers. */
export interface CostContext {
  /** The number of elements of each operand, and of each result; a list counts all its tensors, a number none. */
  readonly operands: readonly number[];
  readonly results: readonly number[];
  /** The operands' own types, for what depends on single axes. */
  readonly types: readonly Type[];
  size(size: Size): number;
  /** The cost of a function's body. */
  fn(name: string): Cost;
}

/** A row of the op table. `K`'s operands, result types, constraints, cost, evaluation and decomposition. */
export interface OpRow<K extends OpName> {
  /** One line for people. */
  readonly summary: string;
  readonly operands: OperandSpec;
  readonly attributes: { readonly [A in keyof OpAttributes[K]]-?: AttributeSpec };
  readonly constraints: readonly Constraint<K>[];
  /** The results' types in words. */
  readonly result: string;
  /** The results' types. Only called where arity, kinds and constraints hold. */
  infer(operands: readonly Type[], attributes: OpAttributes[K], functions: Functions): readonly Type[];
  /** Floating-point operations. */
  flops(context: CostContext, attributes: OpAttributes[K]): number;
  /** Bytes moved, where it is not the operands read and the results written. */
  bytes?(context: CostContext, attributes: OpAttributes[K]): number;
  /** Kernels that a target starts for it, where that is not one. */
  kernels?(context: CostContext, attributes: OpAttributes[K]): number;
  /** The reference: f32 in float64. Never changes its inputs; may return one of them. */
  evaluate(inputs: readonly Arg[], attributes: OpAttributes[K], context: EvaluationContext, results: readonly Type[]): readonly Arg[];
  /** A composite in terms of other operations, for a target without its own kernel. */
  decompose?(b: Builder, operands: readonly Value[], attributes: OpAttributes[K]): Value;
}

/** Operand specs, for the rows. */
export function tensors(...names: readonly string[]): OperandSpec {
  return { names, kinds: names.map(() => "tensor" as const) };
}

/** The operands as tensor types; rows whose operand spec says so may use it freely. */
export function tensorTypes(operands: readonly Type[]): readonly TensorType[] {
  return operands.filter(isTensor);
}

export function tensorAt(operands: readonly Type[], i: number): TensorType {
  const type = operands[i];
  if (!isTensor(type)) throw new TypeError(`operand ${i} is no tensor`);
  return type;
}

/** A constraint that is about its first operand's dtype. */
export function dtypes<K extends OpName>(id: string, allowed: readonly TensorType["dtype"][], which = "the operand"): Constraint<K> {
  return {
    id,
    text: `${which} is ${allowed.join(" or ")}`,
    holds: (operands) => allowed.includes(tensorAt(operands, 0).dtype),
  };
}

/** Every axis name that two operands share has one size in both. */
export function alignedSizes(types: readonly TensorType[]): boolean {
  const sizes = new Map<string, Size>();
  for (const type of types) {
    for (const a of type.axes) {
      const known = sizes.get(a.name);
      if (known === undefined) sizes.set(a.name, a.size);
      else if (!equalSizes(known, a.size)) return false;
    }
  }
  return true;
}

export function distinct(names: readonly string[]): boolean {
  return new Set(names).size === names.length;
}

/**
 * The axes of an elementwise result: those of the operand with most axes in its order (the first on a tie), then the
 * missing ones of the others in their order.
 */
export function alignedAxes(types: readonly TensorType[]): readonly Axis[] {
  let widest = types[0]!;
  for (const type of types) if (type.axes.length > widest.axes.length) widest = type;
  const axes = [...widest.axes];
  for (const type of types) for (const a of type.axes) if (!axes.some((x) => x.name === a.name)) axes.push(a);
  return axes;
}

/** Evaluation's inputs as tensors; the interpreter has checked kinds already. */
export function inputAt(inputs: readonly Arg[], i: number): Tensor {
  const input = inputs[i];
  if (typeof input !== "object" || !("data" in input)) throw new TypeError(`input ${i} is no tensor`);
  return input;
}
