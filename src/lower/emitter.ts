import type { Emitter, EmitOrigin, AxisRef, LayerRun, WeightRequest } from "../check/index.ts";
import type { Axis, Binding, DType, GraphFunction, Op, OpAttributes, OpName, TensorType, Type, Value, Weight } from "../ir/graph.ts";

/** One function while it is written. */
interface Frame {
  readonly name: string;
  readonly parent: Frame | undefined;
  readonly body: Op[];
  /** Values of outer frames, and the params they come in by. */
  readonly captures: Map<Value, Value>;
  /** Weights by name: the param (an element of the list, inside a fold). */
  readonly weights: Map<string, { readonly value: Value; readonly weight: Weight }>;
  /** Literals that stand in this frame already. */
  readonly literals: Map<string, Value>;
  readonly run: LayerRun | undefined;
  index: Value | undefined;
}

/** Writes functions of a graph module while a model is elaborated. One for each entry. */
export class GraphEmitter implements Emitter {
  readonly functions = new Map<string, GraphFunction>();
  readonly #entry: string;
  readonly #optional: readonly string[];
  readonly #owners = new WeakMap<Value, Frame>();
  readonly #makers = new WeakMap<Value, Op>();
  readonly #main: Frame;
  #frame: Frame;
  readonly #inputs: { readonly value: Value; readonly binding: Binding }[] = [];
  readonly #numbers = new Map<string, Value>();

  /** `optional`: host numbers that become params once they are asked for. */
  constructor(entry: string, optional: readonly string[] = []) {
    this.#entry = entry;
    this.#optional = optional;
    this.#main = { name: entry, parent: undefined, body: [], captures: new Map(), weights: new Map(), literals: new Map(), run: undefined, index: undefined };
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
    return this.#append(op as OpName, operands.map((v) => this.#here(v as Value)), attributes, tensorType(type.axes, type.dtype), origin);
  }

  number(name: string): Value {
    const value = this.#numbers.get(name) ?? (this.#optional.includes(name) ? this.input(name, { kind: "number" }) : undefined);
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
    const name = weightName(request, run);
    const known = this.#frame.weights.get(name);
    if (known) return known.value;
    const type = tensorType(request.axes, "f32");
    const layers = run ? run.layers : [undefined];
    const weight: Weight = {
      name,
      type: run ? { kind: "list", count: run.layers.length, of: type } : type,
      trainable: request.trainable,
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
    const value: Value = { type, name: request.path.slice(-2).join("_") };
    this.#owners.set(value, this.#frame);
    this.#frame.weights.set(name, { value, weight });
    return value;
  }

  fold(
    run: LayerRun,
    carried: readonly unknown[],
    body: (carried: readonly unknown[]) => { readonly carried: readonly unknown[]; readonly summed: readonly unknown[] },
    origin: EmitOrigin,
  ): { readonly carried: readonly Value[]; readonly summed: readonly Value[] } {
    const outer = this.#frame;
    const initial = carried.map((v) => this.#here(v as Value));
    const wanted = `${run.name}${run.suffix ? `_${run.suffix.replace(/\W/g, "_")}` : ""}_${this.#entry}`;
    // A second pass over the layers (X-LoRA's first) has functions of its own.
    let name = wanted;
    for (let n = 2; this.functions.has(name); n++) name = `${wanted}_${n}`;
    const frame: Frame = { name, parent: outer, body: [], captures: new Map(), weights: new Map(), literals: new Map(), run, index: undefined };
    this.#frame = frame;
    const params = initial.map((v) => {
      const value: Value = { type: v.type, name: v.name };
      this.#owners.set(value, frame);
      return value;
    });
    const made = body(params);
    const results = this.#results([...made.carried, ...made.summed].map((v) => this.#here(v as Value)), params, origin);
    this.#frame = outer;
    const captured = [...frame.captures];
    const lists = [...frame.weights.values()];
    this.functions.set(name, {
      name,
      doc: `One layer of ${run.name}${run.suffix ? ` (${run.suffix})` : ""}.`,
      params: [...(frame.index ? [frame.index] : []), ...params, ...captured.map(([, p]) => p), ...lists.map((w) => w.value)],
      body: frame.body,
      results,
    });
    const operands = [...initial, ...captured.map(([v]) => this.#here(v)), ...lists.map((w) => this.#list(w.weight))];
    const attributes: OpAttributes["fold"] = {
      fn: name,
      count: run.layers.length,
      carried: initial.length,
      shared: captured.length,
      summed: made.summed.length,
      index: frame.index !== undefined,
      reverse: false,
    };
    const values = results.map((r): Value => ({ type: r.type, name: r.name }));
    for (const v of values) this.#owners.set(v, outer);
    outer.body.push({ op: "fold", operands, attributes, results: values, origin });
    return { carried: values.slice(0, initial.length), summed: values.slice(initial.length) };
  }

  /** Ends the entry's function: its params are the weights in the order of their first use, then the inputs. */
  finish(outputs: readonly (readonly [string, unknown])[], origin: EmitOrigin): { readonly params: readonly Binding[]; readonly weights: readonly Weight[] } {
    const weights = [...this.#main.weights.values()];
    const params = [...weights.map((w) => w.value), ...this.#inputs.map((i) => i.value)];
    const results = this.#results(outputs.map(([, v]) => this.#here(v as Value)), params, origin);
    for (const [i, r] of results.entries()) r.name = outputs[i]![0];
    this.functions.set(this.#entry, { name: this.#entry, params, body: this.#main.body, results });
    return {
      params: [...weights.map((w): Binding => ({ kind: "weight", weight: w.weight.name })), ...this.#inputs.map((i) => i.binding)],
      weights: weights.map((w) => w.weight),
    };
  }

  #append(op: OpName, operands: readonly Value[], attributes: object, type: Type, origin: EmitOrigin): Value {
    const value: Value = { type, name: op };
    const made = { op, operands, attributes, results: [value], origin } as Op;
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

  /** The list param of the entry for a weight that a fold takes one element of a turn. */
  #list(weight: Weight): Value {
    const known = this.#main.weights.get(weight.name);
    if (known) return known.value;
    const value: Value = { type: weight.type, name: weight.name.replace(/\W+/g, "_") };
    this.#owners.set(value, this.#main);
    this.#main.weights.set(weight.name, { value, weight });
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
function weightName(request: WeightRequest, run: LayerRun | undefined): string {
  return run ? [request.path[0], run.suffix ?? "*", ...request.path.slice(1)].join(".") : request.path.join(".");
}
