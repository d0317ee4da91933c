import { isStatistic, type AxisRef, type EmitOrigin, type FoldBody, type FoldResults, type LayerRun, type StateSink, type WeightRequest } from "../check/index.ts";
import type { Axis, Binding, DType, Entry, GraphFunction, ListType, Op, OpAttributes, OpName, TensorType, Type, Value, Weight } from "../ir/graph.ts";

/** One function while it is written. */
interface Frame {
  readonly name: string;
  readonly parent: Frame | undefined;
  readonly body: Op[];
  /** Values of outer frames, and the params they come in by. */
  readonly captures: Map<Value, Value>;
  /** Weights by name: the param (an element of the list, inside a fold). */
  readonly weights: Map<string, Param>;
  /** Literals that stand in this frame already. */
  readonly literals: Map<string, Value>;
  readonly run: LayerRun | undefined;
  /** Values that leave the function beside its own results: one a layer, inside a fold. */
  readonly given: Given[];
  index: Value | undefined;
}

/** A value that is no output of the text's but of a state's update. */
interface Given {
  readonly binding: Binding;
  readonly value: Value;
}

/** A weight, or the total of a statistic: what an entry has a param for, or a list of them. */
interface Param {
  readonly value: Value;
  readonly type: TensorType | ListType;
  readonly binding: Binding;
  /** Absent for a statistic. */
  readonly weight?: Weight;
}

export interface EmitterOptions {
  /** Host numbers that become params once they are asked for. */
  readonly numbers?: readonly string[];
  /** Which half of the states' updates the entry has: the statistics of a batch, or what becomes of their totals. */
  readonly states?: "statistics" | "next";
}

/** Writes functions of a graph module while a model is elaborated. One for each entry. */
export class GraphEmitter implements StateSink {
  readonly functions = new Map<string, GraphFunction>();
  readonly #entry: string;
  readonly #options: EmitterOptions;
  #updating: { readonly state: string; at: number } | undefined;
  readonly #owners = new WeakMap<Value, Frame>();
  readonly #makers = new WeakMap<Value, Op>();
  readonly #main: Frame;
  #frame: Frame;
  readonly #inputs: { readonly value: Value; readonly binding: Binding }[] = [];
  readonly #numbers = new Map<string, Value>();

  constructor(entry: string, options: EmitterOptions = {}) {
    this.#entry = entry;
    this.#options = options;
    this.#main = { name: entry, parent: undefined, body: [], captures: new Map(), weights: new Map(), literals: new Map(), run: undefined, given: [], index: undefined };
    this.#frame = this.#main;
  }

  /** A param of the entry that the host brings with each call. */
  input(name: string, type: Type): Value {
    const value: Value = { type, name };
    this.#owners.set(value, this.#main);
    this.#inputs.push({ value, binding: { kind: "input", name } });
    if (type.kind === "number") this.#numbers.set(name, value);
    return value;
  }

  op(op: string, operands: readonly unknown[], attributes: object, type: { readonly axes: readonly AxisRef[]; readonly dtype: DType }, origin: EmitOrigin): Value {
    if (operands.length === 0) {
      const key = JSON.stringify([op, attributes]);
      const known = this.#frame.literals.get(key);
      if (known) return known;
      const value = this.#append(op as OpName, [], attributes, tensorType(type.axes, type.dtype), origin);
      this.#frame.literals.set(key, value);
      return value;
    }
    const value = this.#append(op as OpName, operands.map((v) => this.#here(v as Value)), attributes, tensorType(type.axes, type.dtype), origin);
    const [operand] = operands as readonly Value[];
    if (this.#updating && this.#options.states === "statistics" && operand?.type.kind === "tensor" && isStatistic(op, operand.type as { axes: readonly AxisRef[] }, type)) {
      this.#frame.given.push({ binding: { kind: "statistic", weight: this.#updating.state, at: this.#updating.at++ }, value });
    }
    return value;
  }

  /** The statistics of an update: what is made of them is the entry `advance`'s. */
  update(state: readonly string[], next: () => unknown): void {
    if (this.#options.states !== "statistics") return;
    this.#updating = { state: weightName(state, this.#frame.run), at: 0 };
    next();
    this.#updating = undefined;
  }

  statistic(state: readonly string[], at: number, type: { readonly axes: readonly AxisRef[]; readonly dtype: DType }): Value {
    const weight = weightName(state, this.#frame.run);
    return this.#param(`${weight}#${at}`, tensorType(type.axes, type.dtype), { kind: "statistic", weight, at }, `${state.at(-1)}_total`).value;
  }

  next(state: readonly string[], value: unknown): void {
    // A function returns values of its own, once each.
    const copy = this.#append("copy", [this.#here(value as Value)], {}, (value as Value).type, undefined);
    this.#frame.given.push({ binding: { kind: "weight", weight: weightName(state, this.#frame.run) }, value: copy });
  }

  /** A param of the current function that the entry binds: one tensor, or inside a fold an element of a list. */
  #param(key: string, one: TensorType, binding: Binding, name: string, weight?: Weight): Param {
    const known = this.#frame.weights.get(key);
    if (known) return known;
    const { run } = this.#frame;
    const value: Value = { type: one, name };
    this.#owners.set(value, this.#frame);
    const made: Param = { value, type: run ? { kind: "list", count: run.layers.length, of: one } : one, binding, ...(weight ? { weight } : {}) };
    this.#frame.weights.set(key, made);
    return made;
  }

  number(name: string): Value {
    const value = this.#numbers.get(name) ?? (this.#options.numbers?.includes(name) ? this.input(name, { kind: "number" }) : undefined);
    if (!value) throw new Error(`the entry ${this.#entry} has no host number ${name}`);
    return value;
  }

  /** Only what an op has made and nothing has named yet: inputs and weights keep their own names. */
  label(handle: unknown, name: string): void {
    const value = handle as Value;
    if (this.#makers.get(value)?.op === value.name) value.name = name;
  }

  /** Outside layers the draw's own number does: what tells draws apart there is their stream. */
  layer(): Value {
    if (!this.#frame.run) return this.number("draw");
    if (!this.#frame.index) {
      this.#frame.index = { type: { kind: "number" }, name: "layer" };
      this.#owners.set(this.#frame.index, this.#frame);
    }
    return this.#frame.index;
  }

  weight(request: WeightRequest): Value {
    const { run } = this.#frame;
    const name = weightName(request.path, run);
    const known = this.#frame.weights.get(name);
    if (known) return known.value;
    const type = tensorType(request.axes, "f32");
    const layers = run ? run.layers : [undefined];
    const weight: Weight = {
      name,
      type: run ? { kind: "list", count: run.layers.length, of: type } : type,
      trainable: request.trainable,
      ...(request.state ? { state: true as const } : {}),
      initializer: request.initial.kind === "zeros" || request.initial.kind === "ones" || request.initial.kind === "checkpoint" ? { kind: request.initial.kind } : request.initial,
      decay: request.decay,
      sources: layers.map((layer) => ({
        ...(request.tensor ? { tensor: request.tensor(layer) } : {}),
        order: request.order.map((a) => a.name),
        ...(request.base ? { base: { tensor: request.base.tensor(layer), order: request.base.order.map((a) => a.name) } } : {}),
        ...(request.adapter
          ? { adapter: { names: request.adapter.names(layer), ...(request.adapter.along ? { along: request.adapter.along.name } : {}) } }
          : {}),
      })),
    };
    return this.#param(name, type, { kind: "weight", weight: name }, request.path.slice(-2).join("_"), weight).value;
  }

  fold(
    run: LayerRun,
    carried: readonly unknown[],
    body: FoldBody,
    origin: EmitOrigin,
  ): FoldResults {
    const outer = this.#frame;
    const initial = carried.map((v) => this.#here(v as Value));
    const wanted = `${run.name}${run.suffix ? `_${run.suffix.replace(/\W/g, "_")}` : ""}_${this.#entry}`;
    // A second pass over the layers (X-LoRA's first) has functions of its own.
    let name = wanted;
    for (let n = 2; this.functions.has(name); n++) name = `${wanted}_${n}`;
    const frame: Frame = { name, parent: outer, body: [], captures: new Map(), weights: new Map(), literals: new Map(), run, given: [], index: undefined };
    this.#frame = frame;
    const params = initial.map((v) => {
      const value: Value = { type: v.type, name: v.name };
      this.#owners.set(value, frame);
      return value;
    });
    const made = body(params);
    const results = this.#results([...[...made.carried, ...made.summed, ...made.listed].map((v) => this.#here(v as Value)), ...frame.given.map((g) => g.value)], params, origin);
    this.#frame = outer;
    // Nothing comes of it: an entry that only changes states passes most layers by.
    if (results.length === 0) return { carried: [], summed: [], listed: [] };
    const captured = [...frame.captures];
    const lists = [...frame.weights.values()];
    this.functions.set(name, {
      name,
      doc: `One layer of ${run.name}${run.suffix ? ` (${run.suffix})` : ""}.`,
      params: [...(frame.index ? [frame.index] : []), ...params, ...captured.map(([, p]) => p), ...lists.map((w) => w.value)],
      body: frame.body,
      results,
    });
    const operands = [...initial, ...captured.map(([v]) => this.#here(v)), ...lists.map((w) => this.#list(w))];
    const attributes: OpAttributes["fold"] = {
      fn: name,
      count: run.layers.length,
      carried: initial.length,
      shared: captured.length,
      summed: made.summed.length,
      index: frame.index !== undefined,
      reverse: false,
    };
    const single = initial.length + made.summed.length;
    const values = results.map((r, i): Value => ({ type: i < single ? r.type : { kind: "list", count: run.layers.length, of: r.type as TensorType }, name: r.name }));
    for (const v of values) this.#owners.set(v, outer);
    outer.body.push({ op: "fold", operands, attributes, results: values, origin });
    const listed = single + made.listed.length;
    frame.given.forEach((g, i) => outer.given.push({ binding: g.binding, value: values[listed + i]! }));
    return { carried: values.slice(0, initial.length), summed: values.slice(initial.length, single), listed: values.slice(single, listed) };
  }

  /**
   * Ends the entry's function: its params are the weights in the order of their first use, then the inputs; its results
   * the outputs, then what the states' updates give.
   */
  finish(outputs: readonly (readonly [string, unknown])[], origin: EmitOrigin): { readonly entry: Entry; readonly weights: readonly Weight[] } {
    const bound = [...this.#main.weights.values()];
    const { given } = this.#main;
    const params = [...bound.map((w) => w.value), ...this.#inputs.map((i) => i.value)];
    const results = this.#results([...outputs.map(([, v]) => this.#here(v as Value)), ...given.map((g) => g.value)], params, origin);
    for (const [i, [name]] of outputs.entries()) results[i]!.name = name;
    this.functions.set(this.#entry, { name: this.#entry, params, body: this.#main.body, results });
    return {
      entry: {
        fn: this.#entry,
        params: [...bound.map((w) => w.binding), ...this.#inputs.map((i) => i.binding)],
        results: [...outputs.map(([name]) => ({ kind: "output" as const, name })), ...given.map((g) => g.binding)],
      },
      weights: bound.flatMap((w) => w.weight ?? []),
    };
  }

  #append(op: OpName, operands: readonly Value[], attributes: object, type: Type, origin: EmitOrigin | undefined): Value {
    const value: Value = { type, name: op };
    const made = { op, operands, attributes, results: [value], ...(origin ? { origin } : {}) } as Op;
    this.#owners.set(value, this.#frame);
    this.#makers.set(value, made);
    this.#frame.body.push(made);
    return value;
  }

  /** A value as the current frame sees it: its own, a literal made again, or one that comes in as a param. */
  #here(value: Value, frame = this.#frame): Value {
    if (this.#owners.get(value) === frame) return value;
    const maker = this.#makers.get(value);
    if (maker && maker.operands.length === 0 && frame === this.#frame && value.type.kind === "tensor") {
      return this.op(maker.op, [], maker.attributes, { axes: value.type.axes as readonly AxisRef[], dtype: value.type.dtype }, maker.origin as EmitOrigin);
    }
    const known = frame.captures.get(value);
    if (known) return known;
    if (!frame.parent) throw new Error(`the value ${value.name} belongs to a function that has ended`);
    const param: Value = { type: value.type, name: value.name };
    this.#owners.set(param, frame);
    frame.captures.set(value, param);
    return param;
  }

  /** The list param of the entry for what a fold takes one element of a turn. */
  #list(of: Param): Value {
    const key = of.binding.kind === "statistic" ? `${of.binding.weight}#${of.binding.at}` : of.weight!.name;
    const known = this.#main.weights.get(key);
    if (known) return known.value;
    const value: Value = { type: of.type, name: key.replace(/\W+/g, "_") };
    this.#owners.set(value, this.#main);
    this.#main.weights.set(key, { ...of, value });
    return value;
  }

  /** A function returns distinct values of its own. */
  #results(values: readonly Value[], params: readonly Value[], origin: EmitOrigin): Value[] {
    const seen = new Set<Value>();
    return values.map((v) => {
      const own = this.#makers.has(v) || this.#frame.body.some((op) => op.results.includes(v));
      const result = seen.has(v) || params.includes(v) || !own ? this.#append("copy", [v], {}, v.type, origin) : v;
      seen.add(result);
      return result;
    });
  }
}

function tensorType(axes: readonly Axis[], dtype: DType): TensorType {
  return { kind: "tensor", dtype, axes };
}

/** "layers.*.mlp.gate_proj.weight": the star is every layer of the run. */
function weightName(path: readonly string[], run: LayerRun | undefined): string {
  return run ? [path[0], run.suffix ?? "*", ...path.slice(1)].join(".") : path.join(".");
}
