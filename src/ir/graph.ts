/**
 * The graph: what a checked spec is lowered to, what every pass rewrites, what every target prints.
 *
 * A module is a list of functions; a function is straight-line SSA: values with a type, each made by one op. Axes have
 * names, and every operation aligns its operands by name, never by position. The order of a type's axes is its memory
 * layout (row major) and nothing else: two values whose axes differ in order only hold the same mathematical tensor.
 *
 * Depth is not unrolled: layers of equal shape are one function, called by one `fold`.
 */

/** A size: a number, or a product of symbols known when a batch arrives, canonical as "6*position*sample". */
export type Size = number | string;

/** A named axis. Within one function a name has one size wherever it stands (verifier: C-axis). */
export interface Axis {
  readonly name: string;
  readonly size: Size;
}

export type DType = "f32" | "i32" | "bool";

/** A tensor. No axes: a scalar. The interpreter computes f32 in float64. */
export interface TensorType {
  readonly kind: "tensor";
  readonly dtype: DType;
  readonly axes: readonly Axis[];
}

/** One tensor for each layer of a fold, all of one type: weights of a stack of layers, values kept for backward. */
export interface ListType {
  readonly kind: "list";
  readonly count: number;
  readonly of: TensorType;
}

/** A number the host holds (a step, a seed, a layer's index): never on the device, not differentiable. */
export interface NumberType {
  readonly kind: "number";
}

export type Type = TensorType | ListType | NumberType;

/** Where an op comes from, for the comments of generated code and for diagnostics. */
export interface Origin {
  /** The file as the user wrote it; `std/lora.moe` for the library. */
  readonly file: string;
  /** UTF-16 offsets in that file. */
  readonly start: number;
  readonly end: number;
  /** 1-based line of `start`, so that nobody needs the text again to say where it is. */
  readonly line: number;
  /** What it is part of, outermost first: ["layers", "mlp", "gate_proj", "knowledge"]. */
  readonly path: readonly string[];
}

/** An SSA value. Identity is object identity; `name` is a hint for printing (unique names are the printer's work). */
export interface Value {
  readonly type: Type;
  name: string;
}

export interface Op<K extends OpName = OpName> {
  readonly op: K;
  readonly operands: readonly Value[];
  readonly attributes: OpAttributes[K];
  readonly results: readonly Value[];
  readonly origin?: Origin;
}

export interface GraphFunction {
  readonly name: string;
  readonly doc?: string;
  readonly params: readonly Value[];
  readonly body: readonly Op[];
  /** Distinct values made in this function, never its params (verifier: C-results): the caller owns them. */
  readonly results: readonly Value[];
}

type None = Record<never, never>;

/**
 * Every operation and its attributes. Semantics, result types, constraints, cost and reference evaluation are rows of
 * the op table (`ops/`); derivatives are rows of `passes/differentiate`.
 *
 * Notation: `axes(v)` is the set of names of v's axes.
 */
export interface OpAttributes {
  // — leaves —
  /** A scalar literal, axes []. */
  constant: { readonly value: number; readonly dtype: DType };
  /** A literal tensor, row major over `axes` (all sizes are numbers). */
  table: { readonly values: readonly number[]; readonly axes: readonly Axis[]; readonly dtype: DType };
  /** 0, 1, 2 … along one axis: dtype, [axis]. */
  index: { readonly axis: Axis; readonly dtype: "f32" | "i32" };
  /** (number) -> scalar f32: a host number as a tensor. */
  fill: None;
  /** () -> f32 scalar: the number of elements along the given axes together (symbolic sizes become known here). */
  extent: { readonly axes: readonly Axis[] };
  /** (seed: number, step: number, layer: number) -> f32 [axes]: counter-based draw, uniform in [0,1) or standard normal. */
  random: { readonly stream: number; readonly axes: readonly Axis[]; readonly distribution: "uniform" | "normal" };

  /** (seed, step, layer) -> bool [axes]: whether the uniform draw of the same numbers is at least `least`. */
  chance: { readonly stream: number; readonly axes: readonly Axis[]; readonly least: number };

  // — elementwise, aligned by name; result axes: those of the operand with most axes in its order (the first on a tie),
  //   then the missing ones of the others in their order —
  neg: None; abs: None; sign: None; exp: None; log: None; log1p: None; sqrt: None; rsqrt: None; reciprocal: None; square: None;
  sigmoid: None; tanh: None; relu: None; softplus: None; sin: None; cos: None; floor: None; erf: None;
  add: None; sub: None; mul: None; div: None; pow: None; max: None; min: None;
  lt: None; le: None; gt: None; ge: None; eq: None; ne: None;
  and: None; or: None; not: None;
  /** (condition bool, a, b): a where the condition holds, b elsewhere; b and a may be of fewer axes. */
  select: None;
  /** bool and i32 to f32, f32 to i32 (towards zero), f32/i32 to bool (non-zero). */
  cast: { readonly dtype: DType };
  /** The same value with a gradient of zero. */
  stop: None;
  /** The same value under a new handle: what a function does to return a param or one value twice. */
  copy: None;

  // — reductions over named axes, which the result lacks; the order of the others stays —
  sum: { readonly axes: readonly string[] };
  mean: { readonly axes: readonly string[] };
  reduce_max: { readonly axes: readonly string[] };

  // — products —
  /**
   * (a, b): sum over `over` (axes of both) of a*b, where the other shared axes are batch axes.
   * Result axes: shared not contracted (in a's order), then a's own (in a's order), then b's own (in b's order).
   * After the layout pass operands are canonical matrices: a [batch?, m, k] (or [batch?, k, m] with `transposeA`),
   * b [batch?, k, n] (or [batch?, n, k] with `transposeB`), each part exactly one axis.
   */
  dot: { readonly over: readonly string[]; readonly transposeA?: boolean; readonly transposeB?: boolean };

  // — axes —
  /** Renames axes; sizes and data stay. */
  rename: { readonly from: readonly string[]; readonly to: readonly string[] };
  /** The same tensor laid out in another order of all its axes. */
  transpose: { readonly order: readonly string[] };
  /** Row-major elements under other axes (equal product of sizes): splitting, merging, unit axes. */
  reshape: { readonly axes: readonly Axis[] };
  /** Repeats along axes the operand lacks; result axes are exactly `axes` in that order. */
  expand: { readonly axes: readonly Axis[] };
  /** Elements [start, start+size) along `axis`, which becomes `as` (name `as.name`, size `as.size`, a number). */
  slice: { readonly axis: string; readonly start: number; readonly as: Axis };
  /** Zeros before and after along `axis`, which becomes `as`: the adjoint of slice. */
  pad: { readonly axis: string; readonly before: number; readonly after: number; readonly as: Axis };
  /** (v1, v2, …) joined along their axes `axes[i]` (each operand's own name) into `as`, which stands at its place in the first; all others equal. */
  concat: { readonly axes: readonly string[]; readonly as: Axis };
  reverse: { readonly axis: string };

  // — indexing —
  /** (table [.. axis ..], indices i32 [I]) -> I's axes, then the table's others: rows of a table. */
  gather: { readonly axis: string };
  /** (indices i32 [I], updates [I, rest]) -> [axis, rest]: sums updates into rows; the adjoint of gather. Indices outside are a caller's bug. */
  scatter_add: { readonly axis: Axis };
  /** (i32 [I]) -> f32 [I, axis]. */
  one_hot: { readonly axis: Axis };
  /** -> i32 without the axis; the lowest index among equals. */
  argmax: { readonly axis: string };
  /** -> bool: among the k greatest along the axis; ties go to the lower index, so exactly k are true. */
  is_top: { readonly axis: string; readonly k: number };
  /** Running sum along an axis. */
  cumsum: { readonly axis: string; readonly exclusive: boolean; readonly reverse: boolean };

  // — dispatch: tokens sorted by what they chose, and products of groups of rows —
  /**
   * (mask bool [token, axis]) -> (token i32 [rows], place i32 [slot, token], choice i32 [rows], count i32 [axis]): the pairs of
   * a token and one of its `slot.size` choices, sorted by choice and then by token, and the way back.
   */
  dispatch: { readonly axis: string; readonly slot: Axis; readonly rows: Axis };
  /** (x [token, rest], token, place) -> [rows, rest]: each row gets its token's values. */
  spread: None;
  /** (x [rows, rest], token, place) -> [token, rest]: sums each token's rows; the adjoint of spread. */
  collect: None;
  /**
   * (a [rows, over], b [group, over, own], count i32 [group]) -> [rows, own]: each row times its group's matrix. After the
   * layout pass each part is one axis, in this order, or b is [group, own, over] with `transposeB`.
   */
  grouped_dot: { readonly over: readonly string[]; readonly transposeB?: boolean };
  /** (a [rows, p], b [rows, q], count i32 [group]) -> [group, p, q]: for each group the sum over its rows of a*b. */
  grouped_outer: None;

  // — composites: kept whole so that a target can use its own kernel; each has a decomposition —
  softmax: { readonly axis: string };
  log_softmax: { readonly axis: string };

  // — functions —
  call: { readonly fn: string };
  /**
   * Runs `fn` `count` times, for i = 0 … count-1 (count-1 … 0 when `reverse`).
   * Operands: `carried` initial values, then `shared` values given to every turn, then lists (one element a turn).
   * fn's params: [i: number] if `index`, carried, shared, the lists' elements.
   * fn's results: carried, then `summed` tensors, then elements of result lists.
   * Results: last carried, totals of the summed ones, lists (indexed by i whatever the direction).
   */
  fold: {
    readonly fn: string;
    readonly count: number;
    readonly carried: number;
    readonly shared: number;
    readonly summed: number;
    readonly index: boolean;
    readonly reverse: boolean;
  };
  /** (tensors of one type) -> list. */
  list: None;
  /** (list) -> the element at `at`. */
  element: { readonly at: number };
  /** (list) -> its tensors along a new first axis. */
  pack: { readonly as: Axis };
  /** -> the tensors along an axis, as a list. */
  unpack: { readonly axis: string };
  /** Frees values made in this function, right after their last use; no results. Placed by the release pass only. */
  release: None;
}

export type OpName = keyof OpAttributes;

/** How a trainable weight starts. `fan_in` is the size of the product's contracted axes. */
export type Initializer =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "normal"; readonly std: number }
  | { readonly kind: "uniform"; readonly bound: number }
  /** U(-b, b) with b = sqrt(6 / ((1 + a²) fan_in)) (He et al. 2015; PyTorch's kaiming_uniform_). */
  | { readonly kind: "kaiming_uniform"; readonly a: number; readonly fanIn: number }
  /** The Euclidean norm of the source's `base` tensor over one of its axes. */
  | { readonly kind: "base_norm"; readonly over: string }
  /** Orthonormal rows or columns, whichever are fewer, times the gain (torch.nn.init.orthogonal_). */
  | { readonly kind: "orthogonal"; readonly gain: number }
  /**
   * Singular vectors of the source's `base` tensor on the side `axis`, each times sqrt(scale · its singular value). The
   * number of a vector, from the greatest value, is that of the slice in `firsts`, plus `steps` times the places along the
   * weight's other axes in order.
   */
  | { readonly kind: "singular"; readonly axis: string; readonly firsts: readonly number[]; readonly steps: readonly number[]; readonly scale: number }
  /** The checkpoint's own values. */
  | { readonly kind: "checkpoint" };

/**
 * A weight of the module: one tensor, or a list with one tensor a layer.
 * Its type's axis order is how the runtime holds it.
 */
export interface Weight {
  /** Unique in the module: "layers.mlp.gate_proj.knowledge.A". */
  readonly name: string;
  readonly type: TensorType | ListType;
  readonly trainable: boolean;
  /** Not trained, but changed once a step by the entry `update`, outside the gradient. */
  readonly state?: true;
  readonly initializer: Initializer;
  /** For each layer (or once): the names under which it lies in files. */
  readonly sources: readonly WeightSource[];
  /** Learning-rate factor and whether weight decay applies, for trainable ones. */
  readonly decay: boolean;
  /** Another weight that is the same tensor in another axis order (a layout chosen for a target): loaded once, laid out twice. */
  readonly layoutOf?: string;
}

/** Where one tensor of a weight lies in a checkpoint or an adapter file, and how its axes are ordered there. */
export interface WeightSource {
  /** The base checkpoint's tensor name; absent for an adapter's own weights. */
  readonly tensor?: string;
  /** Axis names in the file's order. */
  readonly order: readonly string[];
  /**
   * For an adapter's weights: one file tensor for each slice along `along` (experts are views of stacked weights), in
   * order; one name and no `along` where nothing is stacked.
   */
  readonly adapter?: { readonly names: readonly string[]; readonly along?: string };
  /** The frozen tensor that first values are computed from, and its axes in the file's order. */
  readonly base?: { readonly tensor: string; readonly order: readonly string[] };
}

/** What an entry function's param is bound to. */
export type Binding =
  | { readonly kind: "weight"; readonly weight: string }
  | { readonly kind: "gradient"; readonly weight: string }
  | { readonly kind: "moment1"; readonly weight: string }
  | { readonly kind: "moment2"; readonly weight: string }
  /** A sum over the batch that a state's update is made from, numbered; added up over micro-batches as gradients are. */
  | { readonly kind: "statistic"; readonly weight: string; readonly at: number }
  | { readonly kind: "input"; readonly name: string };

/** The name of a binding among those of its kind: a statistic's is "WEIGHT#0". */
export function bindingName(binding: Binding | { readonly kind: "output"; readonly name: string }): string {
  if (binding.kind === "input" || binding.kind === "output") return binding.name;
  return binding.kind === "statistic" ? `${binding.weight}#${binding.at}` : binding.weight;
}

/** A function that the host calls, with the meaning of its params and results. */
export interface Entry {
  readonly fn: string;
  readonly params: readonly Binding[];
  readonly results: readonly (Binding | { readonly kind: "output"; readonly name: string })[];
}

/** Entries by role. `train` entries exist where something is trainable. */
export interface Module {
  readonly functions: ReadonlyMap<string, GraphFunction>;
  readonly weights: readonly Weight[];
  readonly entries: ReadonlyMap<string, Entry>;
}
