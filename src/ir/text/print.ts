import type { Axis, Binding, Entry, GraphFunction, Initializer, Module, Op, Origin, Value, Weight, WeightSource } from "../graph.ts";
import { type AttributeKind, type AttributeSpec, rowOf } from "../ops/index.ts";
import { describeAxes, describeAxis, describeName, describeType } from "../types.ts";

export interface PrintOptions {
  /** Whether ops say where they come from (`loc(…)`); true unless told. */
  readonly origins?: boolean;
}

/** The text form of a module: `parseModule` reads it back, and printing that gives the same text. */
export function printModule(module: Module, options: PrintOptions = {}): string {
  const parts = [
    module.weights.map((w) => printWeight(w)).join(""),
    ...[...module.functions.values()].map((fn) => printFunction(fn, options)),
    [...module.entries].map(([name, entry]) => printEntry(name, entry)).join(""),
  ];
  return `module {\n${parts.filter((p) => p !== "").join("\n")}}\n`;
}

/** One function as it stands in a module's text. */
export function printFunction(fn: GraphFunction, options: PrintOptions = {}): string {
  const names = uniqueNames(fn);
  const name = (v: Value): string => `%${names.get(v) ?? "undefined"}`;
  const typed = (v: Value): string => `${name(v)}: ${describeType(v.type)}`;
  const lines = (fn.doc ? fn.doc.split("\n") : []).map((line) => (line === "" ? "///" : `/// ${line}`));
  lines.push(`fn @${describeName(fn.name)}(${fn.params.map(typed).join(", ")}) -> (${fn.results.map((v) => describeType(v.type)).join(", ")}) {`);
  for (const op of fn.body) {
    const results = op.results.length ? `${op.results.map(typed).join(", ")} = ` : "";
    const loc = op.origin && options.origins !== false ? ` ${printOrigin(op.origin)}` : "";
    lines.push(`  ${results}${op.op}(${op.operands.map(name).join(", ")})${printAttributes(op)}${loc}`);
  }
  lines.push(`  return${fn.results.length ? ` ${fn.results.map(name).join(", ")}` : ""}`, "}");
  return lines.map((line) => `  ${line}\n`).join("");
}

/** Each value's hint made a name, and unique: "h", "h_1"; values without a hint are counted. */
export function uniqueNames(fn: GraphFunction): ReadonlyMap<Value, string> {
  const names = new Map<Value, string>();
  const taken = new Set<string>();
  let counter = 0;
  const give = (v: Value): void => {
    if (names.has(v)) return;
    const hint = v.name.replace(/[^A-Za-z0-9_.]/g, "_");
    let name = hint;
    if (hint === "") {
      while (taken.has(String(counter))) counter++;
      name = String(counter);
    } else {
      for (let i = 1; taken.has(name); i++) name = `${hint}_${i}`;
    }
    taken.add(name);
    names.set(v, name);
  };
  fn.params.forEach(give);
  for (const op of fn.body) op.results.forEach(give);
  return names;
}

/** A double so that reading it gives the same one: `1e-7`, `-0`, `inf`, `-inf`, `nan`. */
export function printNumber(x: number): string {
  if (Object.is(x, -0)) return "-0";
  if (Number.isNaN(x)) return "nan";
  return Number.isFinite(x) ? String(x) : x > 0 ? "inf" : "-inf";
}

function printNames(names: readonly string[]): string {
  return `[${names.map(describeName).join(", ")}]`;
}

function printAttributes(op: Op): string {
  const specs: Readonly<Record<string, AttributeSpec>> = rowOf(op.op).attributes;
  const values = op.attributes as Readonly<Record<string, unknown>>;
  const parts = Object.entries(specs).flatMap(([name, spec]) => (values[name] === undefined ? [] : [`${name}: ${printValue(values[name], spec.kind)}`]));
  return parts.length ? ` {${parts.join(", ")}}` : "";
}

function printValue(value: unknown, kind: AttributeKind): string {
  if (typeof kind === "object") return String(value);
  switch (kind) {
    case "number":
    case "count":
      return printNumber(value as number);
    case "boolean":
    case "dtype":
      return String(value);
    case "name":
      return describeName(value as string);
    case "names":
      return printNames(value as readonly string[]);
    case "axis":
      return describeAxis(value as Axis);
    case "axes":
      return describeAxes(value as readonly Axis[]);
    case "numbers":
      return `[${(value as readonly number[]).map(printNumber).join(", ")}]`;
    case "function":
      return `@${describeName(value as string)}`;
  }
}

function printOrigin(o: Origin): string {
  return `loc(${JSON.stringify(o.file)}:${o.line}, ${o.start}..${o.end}, ${printNames(o.path)})`;
}

function printWeight(w: Weight): string {
  const words = [
    `weight @${describeName(w.name)}: ${describeType(w.type)}`,
    ...(w.trainable ? ["trainable"] : w.state ? ["state"] : []),
    ...(w.decay ? ["decay"] : []),
    printInitializer(w.initializer),
    ...(w.layoutOf === undefined ? [] : [`layout_of @${describeName(w.layoutOf)}`]),
  ];
  return `  ${words.join(" ")} from [\n${w.sources.map((s) => `    ${printSource(s)},\n`).join("")}  ]\n`;
}

function printInitializer(i: Initializer): string {
  switch (i.kind) {
    case "constant":
      return `constant(value: ${printNumber(i.value)})`;
    case "normal":
      return `normal(std: ${printNumber(i.std)})`;
    case "uniform":
      return `uniform(bound: ${printNumber(i.bound)})`;
    case "kaiming_uniform":
      return `kaiming_uniform(a: ${printNumber(i.a)}, fan_in: ${printNumber(i.fanIn)})`;
    case "orthogonal":
      return `orthogonal(gain: ${printNumber(i.gain)})`;
    case "singular":
      return `singular(axis: ${describeName(i.axis)}, firsts: [${i.firsts.map(printNumber).join(", ")}], steps: [${i.steps.map(printNumber).join(", ")}], scale: ${printNumber(i.scale)})`;
    case "base_norm":
      return `base_norm(over: ${describeName(i.over)})`;
    default:
      return i.kind;
  }
}

function printSource(s: WeightSource): string {
  const parts = [
    ...(s.tensor === undefined ? [] : [`tensor: ${JSON.stringify(s.tensor)}`]),
    `order: ${printNames(s.order)}`,
    ...(s.adapter ? [`adapter: [${s.adapter.names.map((n) => JSON.stringify(n)).join(", ")}]`] : []),
    ...(s.adapter?.along === undefined ? [] : [`along: ${describeName(s.adapter.along)}`]),
    ...(s.base ? [`base: ${JSON.stringify(s.base.tensor)}, base_order: ${printNames(s.base.order)}`] : []),
  ];
  return `{${parts.join(", ")}}`;
}

function printEntry(name: string, entry: Entry): string {
  const binding = (b: Binding | { readonly kind: "output"; readonly name: string }): string =>
    b.kind === "input" || b.kind === "output" ? `${b.kind} ${describeName(b.name)}` : `${b.kind} @${describeName(b.weight)}${b.kind === "statistic" ? ` ${b.at}` : ""}`;
  return `  entry @${describeName(name)} = @${describeName(entry.fn)}(${entry.params.map(binding).join(", ")}) -> (${entry.results.map(binding).join(", ")})\n`;
}
