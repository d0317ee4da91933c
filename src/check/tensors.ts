import type { Span } from "../diagnostics/index.ts";
import { fail } from "../diagnostics/index.ts";
import type { EmitOrigin, Emitter } from "./emitter.ts";
import { AxisTable, type AxisRef, type DType, type Tensor } from "./values.ts";

/** Line numbers of a text by binary search over its line starts. */
export class LineIndex {
  readonly #starts: number[] = [0];
  constructor(text: string) {
    for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) this.#starts.push(i + 1);
  }
  /** 1-based. */
  line(offset: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }
}

/** A span belongs to one text, so that its line is looked up once. */
const lineOf = new WeakMap<Span, number>();

/** Emits typed tensor operations at the place that is being elaborated. One for each elaboration of a model. */
export class TensorOps {
  /** Shared by all elaborations of one program, so that axes stay the same objects. */
  readonly axes: AxisTable;
  readonly emitter: Emitter;
  /** What is being elaborated, outermost first: "layers", "mlp", "gate_proj", "knowledge". */
  path: readonly string[] = [];
  readonly #lines: (file: string) => LineIndex | undefined;
  #at: Span = { file: "", start: 0, end: 0 };
  #origin: EmitOrigin | undefined;
  #originOf: Span | undefined;
  #stream = 0;

  constructor(emitter: Emitter, lines: (file: string) => LineIndex | undefined, axes = new AxisTable()) {
    this.axes = axes;
    this.emitter = emitter;
    this.#lines = lines;
  }

  /** Runs `body` with operations attributed to `span`. */
  at<T>(span: Span, body: () => T): T {
    const before = this.#at;
    this.#at = span;
    try {
      return body();
    } finally {
      this.#at = before;
    }
  }

  /** Runs `body` one level deeper in the path. */
  inside<T>(name: string, body: () => T): T {
    const before = this.path;
    this.path = [...before, name];
    try {
      return body();
    } finally {
      this.path = before;
    }
  }

  get span(): Span {
    return this.#at;
  }

  /** Where the next operation comes from: one object for all that an expression emits. */
  origin(): EmitOrigin {
    const { path } = this;
    const { file, start, end } = this.#at;
    if (this.#originOf !== this.#at || this.#origin?.path !== path) {
      this.#origin = { file, start, end, line: this.#line(this.#at), path };
      this.#originOf = this.#at;
    }
    return this.#origin;
  }

  #line(span: Span): number {
    let line = lineOf.get(span);
    if (line === undefined) lineOf.set(span, (line = this.#lines(span.file)?.line(span.start) ?? 1));
    return line;
  }

  /** A number for a random draw that no other draw of this elaboration has. */
  nextStream(): number {
    return this.#stream++;
  }

  emit(op: string, operands: readonly Tensor[], attributes: object, axes: readonly AxisRef[], dtype: DType = "f32"): Tensor {
    const handle = this.emitter.op(op, operands.map((t) => t.handle), attributes, { axes, dtype }, this.origin());
    return { kind: "tensor", axes, dtype, handle };
  }

  /** A number that the host holds (a step), as a scalar. */
  hostNumber(name: string): Tensor {
    return { kind: "tensor", axes: [], dtype: "f32", handle: this.emitter.op("fill", [this.emitter.number(name)], {}, { axes: [], dtype: "f32" }, this.origin()) };
  }

  scalar(value: number): Tensor {
    return this.emit("constant", [], { value, dtype: "f32" }, []);
  }

  table(values: readonly number[], axes: readonly AxisRef[]): Tensor {
    return this.emit("table", [], { values, axes, dtype: "f32" }, axes);
  }

  cast(x: Tensor, dtype: DType): Tensor {
    return x.dtype === dtype ? x : this.emit("cast", [x], { dtype }, x.axes, dtype);
  }

  /** The axes of an elementwise result: the graph's rule. */
  #aligned(operands: readonly Tensor[]): AxisRef[] {
    let lead = operands[0]!;
    for (const t of operands) if (t.axes.length > lead.axes.length) lead = t;
    const axes = [...lead.axes];
    for (const t of operands) for (const a of t.axes) if (!axes.includes(a)) axes.push(a);
    return axes;
  }

  unary(op: string, x: Tensor): Tensor {
    return this.emit(op, [this.cast(x, "f32")], {}, x.axes);
  }

  arithmetic(op: string, ...operands: Tensor[]): Tensor {
    const cast = operands.map((t) => this.cast(t, "f32"));
    return this.emit(op, cast, {}, this.#aligned(cast));
  }

  compare(op: string, a: Tensor, b: Tensor): Tensor {
    const cast = a.dtype === "i32" && b.dtype === "i32" ? [a, b] : [this.cast(a, "f32"), this.cast(b, "f32")];
    return this.emit(op, cast, {}, this.#aligned(cast), "bool");
  }

  logical(op: "and" | "or" | "not", ...operands: Tensor[]): Tensor {
    const cast = operands.map((t) => this.cast(t, "bool"));
    return this.emit(op, cast, {}, this.#aligned(cast), "bool");
  }

  select(condition: Tensor, a: Tensor, b: Tensor): Tensor {
    const operands = [this.cast(condition, "bool"), this.cast(a, "f32"), this.cast(b, "f32")];
    return this.emit("select", operands, {}, this.#aligned(operands));
  }

  reduce(op: "sum" | "mean" | "reduce_max", x: Tensor, over: readonly AxisRef[]): Tensor {
    const value = this.cast(x, "f32");
    if (over.length === 0) return value;
    return this.emit(op, [value], { axes: over.map((a) => a.name) }, x.axes.filter((a) => !over.includes(a)));
  }

  dot(a: Tensor, b: Tensor, over: readonly AxisRef[]): Tensor {
    const shared = a.axes.filter((x) => b.axes.includes(x) && !over.includes(x));
    const axes = [
      ...shared,
      ...a.axes.filter((x) => !shared.includes(x) && !over.includes(x)),
      ...b.axes.filter((x) => !shared.includes(x) && !over.includes(x)),
    ];
    return this.emit("dot", [this.cast(a, "f32"), this.cast(b, "f32")], { over: over.map((x) => x.name) }, axes);
  }

  rename(x: Tensor, from: AxisRef, to: AxisRef): Tensor {
    if (from === to) return x;
    if (x.axes.includes(to)) fail("MOE3004", `the tensor already has an axis ${to.name}`, { at: this.#at });
    return this.emit("rename", [x], { from: [from.name], to: [to.name] }, x.axes.map((a) => (a === from ? to : a)), x.dtype);
  }

  transpose(x: Tensor, order: readonly AxisRef[]): Tensor {
    if (order.every((a, i) => x.axes[i] === a)) return x;
    return this.emit("transpose", [x], { order: order.map((a) => a.name) }, order, x.dtype);
  }

  /** Row-major elements of `x` under other axes. */
  reshape(x: Tensor, axes: readonly AxisRef[]): Tensor {
    return this.emit("reshape", [x], { axes }, axes, x.dtype);
  }

  expand(x: Tensor, axes: readonly AxisRef[]): Tensor {
    return this.emit("expand", [x], { axes }, axes, x.dtype);
  }

  slice(x: Tensor, axis: AxisRef, start: number, as: AxisRef): Tensor {
    return this.emit("slice", [x], { axis: axis.name, start, as }, x.axes.map((a) => (a === axis ? as : a)), x.dtype);
  }

  /** Draws with the run's seed, new in each step, layer and place of the text: uniform in [0, 1), or standard normal. */
  random(distribution: "uniform" | "normal", axes: readonly AxisRef[]): Tensor {
    const handles = [this.emitter.number("seed"), this.emitter.number("draw"), this.emitter.layer()];
    const attributes = { stream: this.nextStream(), axes, distribution };
    return { kind: "tensor", axes, dtype: "f32", handle: this.emitter.op("random", handles, attributes, { axes, dtype: "f32" }, this.origin()) };
  }
}
