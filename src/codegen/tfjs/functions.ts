import type { GraphFunction, Op, OpName, Value } from "../../ir/graph.ts";
import { describeAxes, describeType } from "../../ir/types.ts";
import { CodegenError } from "../errors.ts";
import { comment, docComment } from "../names.ts";
import { type Row, type StatementOp, copyOf, rows } from "./rows.ts";
import { FunctionScope, type ModuleScope, typeText } from "./scope.ts";

/** Prints one graph function as a TypeScript function inside `create`; its name is in `module.functions`. */
export function printFunction(module: ModuleScope, fn: GraphFunction): string {
  const scope = new FunctionScope(module, fn);
  const params = fn.params.map((p) => `${scope.name(p)}${scope.typed(`: ${typeText(p.type)}`)}`);
  const writer = new BodyWriter(scope);
  for (const op of fn.body) writer.op(op);
  const back = writer.results();
  const sizes = [...scope.sizes.values()].map(({ name, code }) => `const ${name} = ${code};\n`).join("");
  const doc = docComment([
    ...(fn.doc === undefined ? [] : [...fn.doc.split("\n"), ""]),
    ...fn.params.map((p) => `- ${scope.name(p)}: ${describeType(p.type)}`),
    `returns ${fn.results.map((r) => describeType(r.type)).join(", ") || "nothing"}`,
  ]);
  return `${doc}function ${functionName(module, fn.name)}(${params.join(", ")})${scope.typed(`: ${resultText(fn)}`)} {\n${sizes}${writer.text}${back}}\n`;
}

/** The identifier of a graph function. */
export function functionName(module: ModuleScope, fn: string): string {
  const name = module.functions.get(fn);
  if (name === undefined) throw new CodegenError(`there is no function @${fn}`);
  return name;
}

/** One result is returned as it is, several as a tuple. */
function resultText(fn: GraphFunction): string {
  const types = fn.results.map((r) => typeText(r.type));
  return types.length === 0 ? "void" : types.length === 1 ? types[0]! : `[${types.join(", ")}]`;
}

class BodyWriter {
  readonly #scope: FunctionScope;
  #lines: string[] = [];
  #path: string | undefined;

  constructor(scope: FunctionScope) {
    this.#scope = scope;
  }

  get text(): string {
    return this.#lines.map((line) => `${line}\n`).join("");
  }

  op(op: Op): void {
    const { op: kind } = op;
    if (kind === "release") return this.#release(op);
    this.#section(op);
    if (kind === "call") this.#call(op as Op<"call">);
    else if (kind === "fold") this.#fold(op as Op<"fold">);
    else if (kind === "list") this.#list(op);
    else if (kind === "dispatch") this.#dispatch(op as Op<"dispatch">);
    else this.#expression(op as Op<Exclude<OpName, StatementOp>>);
  }

  /** The return statement. A constant is copied: the caller frees what it gets. */
  results(): string {
    const { fn } = this.#scope;
    const names = fn.results.map((r) => (this.#scope.isHoisted(r) ? copyOf(this.#scope, r).code : this.#scope.name(r)));
    return names.length === 0 ? "" : names.length === 1 ? `return ${names[0]};\n` : `return [${names.join(", ")}];\n`;
  }

  /** A comment where the path that ops come from changes. */
  #section(op: Op): void {
    const { origin } = op;
    // A constant's place is not where the reader is: it must not begin a section.
    if (!origin || op.op === "constant") return;
    const path = comment(origin.path.join("."));
    if (path === this.#path) return;
    this.#path = path;
    this.#lines.push("", `// ${comment(`${origin.file}:${origin.line}`)}${path === "" ? "" : `  ${path}`}`);
  }

  #expression<K extends Exclude<OpName, StatementOp>>(op: Op<K>): void {
    const value = op.results[0];
    if (!value) throw new CodegenError(`${op.op} lacks a result`);
    const scope = this.#scope;
    const printed = (rows[op.op] as Row<K>)(op, scope);
    if ("hoisted" in printed) return scope.hoist(value, printed.hoisted);
    const name = scope.declare(value, value.name || op.op);
    const code = printed.temporaries ? `tf.tidy(() => ${printed.code})` : printed.code;
    this.#lines.push(`const ${name}${this.#type(value)} = ${code};${axesComment(value)}`);
  }

  #list(op: Op): void {
    const scope = this.#scope;
    const elements = op.operands.map((v) => copyOf(scope, v).code);
    const name = scope.declare(op.results[0]!, op.results[0]!.name || "list");
    this.#lines.push(`const ${name}${this.#type(op.results[0]!)} = [${elements.join(", ")}];${axesComment(op.results[0]!)}`);
  }

  #dispatch(op: Op<"dispatch">): void {
    const scope = this.#scope;
    const names = op.results.map((v) => scope.declare(v, v.name || "dispatch"));
    this.#lines.push(`const [${names.join(", ")}] = ${scope.module.helper("dispatch")}(tf, ${scope.name(op.operands[0]!)}, ${op.attributes.slot.size});`);
  }

  #release(op: Op): void {
    const scope = this.#scope;
    const parts = op.operands
      .filter((v) => !scope.isHoisted(v))
      .map((v) => (v.type.kind === "list" ? `for (const each of ${scope.name(v)}) each.dispose();` : `${scope.name(v)}.dispose();`));
    if (parts.length === 0) return;
    if (parts.length === 1) this.#lines.push(parts[0]!);
    else {
      const tensors = op.operands.filter((v) => !scope.isHoisted(v)).map((v) => (v.type.kind === "list" ? `...${scope.name(v)}` : scope.name(v)));
      this.#lines.push(`for (const each of [${tensors.join(", ")}]) each.dispose();`);
    }
  }

  #call(op: Op<"call">): void {
    const scope = this.#scope;
    const args = op.operands.map((v) => scope.name(v)).join(", ");
    const call = `${functionName(scope.module, op.attributes.fn)}(${args})`;
    const names = op.results.map((v, k) => scope.declare(v, v.name || this.#resultName(op.attributes.fn, k) || op.attributes.fn));
    if (names.length === 0) this.#lines.push(`${call};`);
    else if (names.length === 1) this.#lines.push(`const ${names[0]} = ${call};${axesComment(op.results[0]!)}`);
    else this.#lines.push(`const [${names.join(", ")}] = ${call};`);
  }

  /**
   * A loop over the layers. The function returns new tensors every turn, so a carried value of an earlier turn is freed
   * as soon as the next is there; the initial ones stay whose they were.
   */
  #fold(op: Op<"fold">): void {
    const scope = this.#scope;
    const { fn, count, carried, shared, summed, index, reverse } = op.attributes;
    const first = reverse ? count - 1 : 0;
    const i = scope.names.fresh("i");
    const carriedNames = op.operands.slice(0, carried).map((v) => scope.name(v));
    const sharedNames = op.operands.slice(carried, carried + shared).map((v) => scope.name(v));
    const listNames = op.operands.slice(carried + shared).map((v) => `${scope.name(v)}[${i}]${scope.typed("!")}`);
    const results = op.results.map((v, k) => scope.declare(v, v.name || this.#resultName(fn, k) || (k < carried ? "state" : k < carried + summed ? "total" : "kept")));
    const turns = results.map((name) => scope.names.fresh(`next_${name}`));
    results.forEach((name, k) => {
      const value = op.results[k]!;
      if (k < carried) this.#lines.push(`let ${name}${this.#type(value)} = ${carriedNames[k]};${axesComment(value)}`);
      else if (k < carried + summed) this.#lines.push(`let ${name}${scope.typed(`!: ${typeText(value.type)}`)};${axesComment(value)}`);
      else this.#lines.push(`const ${name} = new Array${scope.typed(value.type.kind === "list" ? `<${typeText(value.type.of)}>` : "")}(${count});${axesComment(value)}`);
    });
    const args = [...(index ? [i] : []), ...results.slice(0, carried), ...sharedNames, ...listNames].join(", ");
    const call = `${functionName(scope.module, fn)}(${args})`;
    const head = reverse ? `let ${i} = ${first}; ${i} >= 0; ${i}--` : `let ${i} = 0; ${i} < ${count}; ${i}++`;
    const lines = [turns.length === 0 ? `${call};` : turns.length === 1 ? `const ${turns[0]} = ${call};` : `const [${turns.join(", ")}] = ${call};`];
    results.forEach((name, k) => {
      const next = turns[k]!;
      if (k < carried) lines.push(`if (${i} !== ${first}) ${name}.dispose();`, `${name} = ${next};`);
      else if (k < carried + summed) lines.push(`${name} = ${i} === ${first} ? ${next} : ${scope.module.helper("addInto")}(tf, ${name}, ${next});`);
      else lines.push(`${name}[${i}] = ${next};`);
    });
    this.#lines.push(`for (${head}) {`, ...lines, "}");
  }

  /** What a function calls a result of its own: the caller's variable gets that name too. */
  #resultName(fn: string, k: number): string {
    return this.#scope.module.graph.functions.get(fn)?.results[k]?.name ?? "";
  }

  #type(value: Value): string {
    return this.#scope.typed(`: ${typeText(value.type)}`);
  }
}

/** ` // [sample, position, in:64]`: the named axes of a variable. */
function axesComment(value: Value): string {
  const { type } = value;
  if (type.kind === "number") return "";
  const axes = type.kind === "list" ? type.of.axes : type.axes;
  const text = axes.length === 0 && type.kind === "tensor" ? "" : `${type.kind === "list" ? `${type.count} × ` : ""}${describeAxes(axes)}`;
  return text === "" ? "" : ` // ${comment(text)}`;
}
