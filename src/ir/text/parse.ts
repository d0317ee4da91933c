import { type Code, type Diagnostic, DiagnosticError, diagnostic, didYouMean } from "../../diagnostics/index.ts";
import type { Axis, Binding, DType, Entry, GraphFunction, Initializer, Module, Op, OpAttributes, OpName, Origin, TensorType, Type, Value, Weight, WeightSource } from "../graph.ts";
import { type AttributeKind, type AttributeSpec, isOpName, ops, rowOf } from "../ops/index.ts";
import { parseSize } from "../size.ts";
import { describeType, sameType } from "../types.ts";
import { type Token, lex } from "./lex.ts";

/** What reading a graph's text gives: a module, or what is wrong with the text. The module is not verified yet. */
export type Parsed = { readonly module: Module; readonly diagnostics: readonly [] } | { readonly module: undefined; readonly diagnostics: readonly Diagnostic[] };

/** Reads the text form that `printModule` writes. `file` is what diagnostics call the text. Stops at the first mistake. */
export function parseModule(text: string, file = "graph"): Parsed {
  const { tokens, problem } = lex(text, file);
  if (problem) return { module: undefined, diagnostics: [problem] };
  try {
    return { module: new Parser(tokens, file).module(), diagnostics: [] };
  } catch (error) {
    if (error instanceof DiagnosticError) return { module: undefined, diagnostics: error.diagnostics };
    throw error;
  }
}

const dtypeNames: readonly string[] = ["f32", "i32", "bool"];

/** Recursive descent; the first mistake is thrown as a DiagnosticError and caught above. */
class Parser {
  readonly #tokens: readonly Token[];
  readonly #file: string;
  #at = 0;

  constructor(tokens: readonly Token[], file: string) {
    this.#tokens = tokens;
    this.#file = file;
  }

  module(): Module {
    const functions = new Map<string, GraphFunction>();
    const weights: Weight[] = [];
    const entries = new Map<string, Entry>();
    const weightNames = new Set<string>();
    this.#word("module");
    this.#expect("{");
    while (!this.#accept("}")) {
      const doc = this.#docs();
      const start = this.#next;
      if (start.kind === "word" && start.text === "fn") {
        const fn = this.#function(doc);
        this.#unique(functions.has(fn.name), "function", start, fn.name);
        functions.set(fn.name, fn);
      } else if (doc !== undefined) {
        this.#unexpected(`a function after its doc comment`);
      } else if (start.kind === "word" && start.text === "weight") {
        const weight = this.#weight();
        this.#unique(weightNames.has(weight.name), "weight", start, weight.name);
        weightNames.add(weight.name);
        weights.push(weight);
      } else if (start.kind === "word" && start.text === "entry") {
        const [name, entry] = this.#entry();
        this.#unique(entries.has(name), "entry", start, name);
        entries.set(name, entry);
      } else {
        this.#unexpected(`"fn", "weight", "entry" or "}"`);
      }
    }
    if (this.#next.kind !== "end") this.#unexpected("the end of the text");
    return { functions, weights, entries };
  }

  // — functions —

  #docs(): string | undefined {
    const lines: string[] = [];
    while (this.#next.kind === "doc") lines.push(this.#take().text);
    return lines.length ? lines.join("\n") : undefined;
  }

  #function(doc: string | undefined): GraphFunction {
    this.#word("fn");
    const name = this.#fnName();
    const values = new Map<string, Value>();
    const declare = (): Value => {
      const token = this.#kind("value", "a value's name");
      this.#unique(values.has(token.text), "value", token, `%${token.text}`);
      this.#expect(":");
      const value: Value = { type: this.#type(), name: token.text };
      values.set(token.text, value);
      return value;
    };
    const use = (): Value => {
      const token = this.#kind("value", "a value's name");
      const value = values.get(token.text);
      if (!value) this.#fail("MOE4102", `the value %${token.text} is not made before this`, token, didYouMean(token.text, values.keys()));
      return value;
    };
    this.#expect("(");
    const params = this.#list(")", declare);
    this.#expect("->");
    const signature = this.#next;
    this.#expect("(");
    const types = this.#list(")", () => this.#type());
    this.#expect("{");
    const body: Op[] = [];
    while (!this.#atWord("return")) {
      // The results are declared after the operands are read: an op cannot use what it makes.
      const results: { token: Token; type: Type }[] = [];
      if (this.#isAt("value")) {
        do {
          const token = this.#kind("value", "a value's name");
          this.#expect(":");
          results.push({ token, type: this.#type() });
        } while (this.#accept(","));
        this.#expect("=");
      }
      const { op, operands, attributes, origin } = this.#op(use);
      const made = results.map(({ token, type }) => {
        this.#unique(values.has(token.text), "value", token, `%${token.text}`);
        const value: Value = { type, name: token.text };
        values.set(token.text, value);
        return value;
      });
      body.push({ op, operands, attributes, results: made, ...(origin ? { origin } : {}) });
    }
    this.#word("return");
    const results: Value[] = [];
    if (this.#isAt("value")) {
      do results.push(use());
      while (this.#accept(","));
    }
    this.#expect("}");
    if (results.length !== types.length || !results.every((v, i) => sameType(v.type, types[i]!))) {
      this.#fail("MOE4101", `the function says it returns (${types.map(describeType).join(", ")}) and returns (${results.map((v) => describeType(v.type)).join(", ")})`, signature);
    }
    return { name, ...(doc === undefined ? {} : { doc }), params, body, results };
  }

  #op(use: () => Value): { op: OpName; operands: readonly Value[]; attributes: OpAttributes[OpName]; origin: Origin | undefined } {
    const token = this.#kind("word", "an operation's name");
    const op = token.text;
    if (!isOpName(op)) this.#fail("MOE4102", `there is no operation "${op}"`, token, didYouMean(op, Object.keys(ops)));
    this.#expect("(");
    const operands = this.#list(")", use);
    const attributes: Record<string, unknown> = {};
    const specs: Readonly<Record<string, AttributeSpec>> = rowOf(op).attributes;
    if (this.#accept("{")) {
      this.#list("}", () => {
        const name = this.#kind("word", "an attribute's name");
        const spec = Object.hasOwn(specs, name.text) ? specs[name.text] : undefined;
        if (!spec) this.#fail("MOE4102", `${op} has no attribute "${name.text}"`, name, didYouMean(name.text, Object.keys(specs)));
        this.#unique(Object.hasOwn(attributes, name.text), "attribute", name, name.text);
        this.#expect(":");
        attributes[name.text] = this.#attribute(spec.kind);
      });
    }
    for (const [name, spec] of Object.entries(specs)) {
      if (!spec.optional && !Object.hasOwn(attributes, name)) this.#fail("MOE4101", `${op} needs the attribute "${name}"`, token);
    }
    return { op, operands, attributes: attributes as OpAttributes[OpName], origin: this.#origin() };
  }

  #attribute(kind: AttributeKind): unknown {
    if (typeof kind === "object") return this.#oneOf(kind.oneOf);
    switch (kind) {
      case "number":
        return this.#number();
      case "count":
        return this.#count();
      case "boolean":
        return this.#oneOf(["true", "false"]) === "true";
      case "dtype":
        return this.#oneOf(dtypeNames);
      case "name":
        return this.#name();
      case "names":
        return this.#names();
      case "axis":
        return this.#axis();
      case "axes":
        return this.#axes();
      case "numbers":
        this.#expect("[");
        return this.#list("]", () => this.#number());
      case "function":
        return this.#fnName();
    }
  }

  #origin(): Origin | undefined {
    if (!this.#atWord("loc")) return undefined;
    this.#take();
    this.#expect("(");
    const file = this.#kind("string", "a file's name").text;
    this.#expect(":");
    const line = this.#count();
    this.#expect(",");
    const start = this.#count();
    this.#expect("..");
    const end = this.#count();
    this.#expect(",");
    const path = this.#names();
    this.#expect(")");
    return { file, start, end, line, path };
  }

  // — types —

  #type(): Type {
    const token = this.#next;
    if (token.kind === "word" && token.text === "number") {
      this.#take();
      return { kind: "number" };
    }
    if (token.kind === "word" && token.text === "list") {
      this.#take();
      this.#expect("[");
      const count = this.#count();
      this.#expect("]");
      return { kind: "list", count, of: this.#tensorType() };
    }
    return this.#tensorType();
  }

  #tensorType(): TensorType {
    const dtype = this.#oneOf(dtypeNames, "a type") as DType;
    return { kind: "tensor", dtype, axes: this.#axes() };
  }

  #axes(): readonly Axis[] {
    this.#expect("[");
    return this.#list("]", () => this.#axis());
  }

  #axis(): Axis {
    const first = this.#next;
    const name = this.#name();
    if (!this.#accept(":")) {
      if (typeof parseSize(name) !== "string") this.#fail("MOE4101", `the axis "${name}" needs a size: its name is no symbol`, first);
      return { name, size: name };
    }
    const start = this.#next;
    let text = "";
    do {
      const factor = this.#take();
      if (factor.kind !== "number" && factor.kind !== "word") this.#unexpected("a size", factor);
      text += text === "" ? factor.text : `*${factor.text}`;
    } while (this.#accept("*"));
    const size = parseSize(text);
    if (size === undefined) this.#fail("MOE4101", `"${text}" is not a size: a product of positive whole numbers and symbols was expected`, start);
    return { name, size };
  }

  // — weights and entries —

  #weight(): Weight {
    this.#word("weight");
    const name = this.#fnName();
    this.#expect(":");
    const typeAt = this.#next;
    const type = this.#type();
    if (type.kind === "number") this.#fail("MOE4101", "a weight is a tensor or a list of tensors, not a number", typeAt);
    const trainable = this.#acceptWord("trainable");
    const state = !trainable && this.#acceptWord("state");
    const decay = this.#acceptWord("decay");
    const initializer = this.#initializer();
    const layoutOf = this.#acceptWord("layout_of") ? this.#fnName() : undefined;
    this.#word("from");
    this.#expect("[");
    const sources = this.#list("]", () => this.#source());
    return { name, type, trainable, ...(state ? { state } : {}), initializer, sources, decay, ...(layoutOf === undefined ? {} : { layoutOf }) };
  }

  #initializer(): Initializer {
    const kind = this.#oneOf(["zeros", "ones", "checkpoint", "constant", "normal", "uniform", "kaiming_uniform", "orthogonal", "base_norm", "singular"], "an initializer");
    const named = (...names: readonly string[]): readonly number[] => {
      this.#expect("(");
      const values = names.map((name, i) => {
        if (i > 0) this.#expect(",");
        this.#word(name);
        this.#expect(":");
        return this.#number();
      });
      this.#expect(")");
      return values;
    };
    switch (kind) {
      case "constant":
        return { kind, value: named("value")[0]! };
      case "normal":
        return { kind, std: named("std")[0]! };
      case "uniform":
        return { kind, bound: named("bound")[0]! };
      case "kaiming_uniform": {
        const [a, fanIn] = named("a", "fan_in");
        return { kind, a: a!, fanIn: fanIn! };
      }
      case "orthogonal":
        return { kind, gain: named("gain")[0]! };
      case "singular": {
        const label = (name: string, first = false): void => {
          this.#expect(first ? "(" : ",");
          this.#word(name);
          this.#expect(":");
        };
        const numbers = (): readonly number[] => {
          this.#expect("[");
          return this.#list("]", () => this.#number());
        };
        label("axis", true);
        const axis = this.#name();
        label("firsts");
        const firsts = numbers();
        label("steps");
        const steps = numbers();
        label("scale");
        const scale = this.#number();
        this.#expect(")");
        return { kind, axis, firsts, steps, scale };
      }
      case "base_norm": {
        this.#expect("(");
        this.#word("over");
        this.#expect(":");
        const over = this.#name();
        this.#expect(")");
        return { kind, over };
      }
      default:
        return { kind: kind as "zeros" | "ones" | "checkpoint" };
    }
  }

  #source(): WeightSource {
    this.#expect("{");
    let tensor: string | undefined;
    if (this.#acceptWord("tensor")) {
      this.#expect(":");
      tensor = this.#kind("string", "a tensor's name").text;
      this.#expect(",");
    }
    this.#word("order");
    this.#expect(":");
    const order = this.#names();
    let names: readonly string[] | undefined;
    let along: string | undefined;
    let base: WeightSource["base"];
    while (this.#accept(",")) {
      if (names === undefined && this.#acceptWord("adapter")) {
        this.#expect(":");
        this.#expect("[");
        names = this.#list("]", () => this.#kind("string", "a tensor's name").text);
      } else if (names !== undefined && along === undefined && this.#acceptWord("along")) {
        this.#expect(":");
        along = this.#name();
      } else {
        this.#word("base");
        this.#expect(":");
        const from = this.#kind("string", "a tensor's name").text;
        this.#expect(",");
        this.#word("base_order");
        this.#expect(":");
        base = { tensor: from, order: this.#names() };
      }
    }
    this.#expect("}");
    return {
      ...(tensor === undefined ? {} : { tensor }),
      order,
      ...(names ? { adapter: { names, ...(along === undefined ? {} : { along }) } } : {}),
      ...(base ? { base } : {}),
    };
  }

  #entry(): readonly [string, Entry] {
    this.#word("entry");
    const name = this.#fnName();
    this.#expect("=");
    const fn = this.#fnName();
    const binding = (kinds: readonly string[]): Binding | { kind: "output"; name: string } => {
      const kind = this.#oneOf(kinds, "a binding");
      if (kind === "input" || kind === "output") return { kind, name: this.#name() };
      const weight = this.#fnName();
      return kind === "statistic" ? { kind, weight, at: this.#number() } : { kind: kind as "weight", weight };
    };
    const weights = ["weight", "gradient", "moment1", "moment2", "statistic"];
    this.#expect("(");
    const params = this.#list(")", () => binding([...weights, "input"]) as Binding);
    this.#expect("->");
    this.#expect("(");
    const results = this.#list(")", () => binding([...weights, "output"]));
    return [name, { fn, params, results }];
  }

  // — pieces —

  get #next(): Token {
    return this.#tokens[this.#at]!;
  }

  #isAt(kind: Token["kind"]): boolean {
    return this.#next.kind === kind;
  }

  #atWord(word: string): boolean {
    return this.#next.kind === "word" && this.#next.text === word;
  }

  #take(): Token {
    const token = this.#next;
    if (token.kind !== "end") this.#at++;
    return token;
  }

  #accept(punctuation: string): boolean {
    if (this.#next.kind !== "punctuation" || this.#next.text !== punctuation) return false;
    this.#at++;
    return true;
  }

  #expect(punctuation: string): void {
    if (!this.#accept(punctuation)) this.#unexpected(`"${punctuation}"`);
  }

  #acceptWord(word: string): boolean {
    if (!this.#atWord(word)) return false;
    this.#at++;
    return true;
  }

  #word(word: string): void {
    if (!this.#acceptWord(word)) this.#unexpected(`"${word}"`);
  }

  #kind(kind: Token["kind"], what: string): Token {
    if (this.#next.kind !== kind) this.#unexpected(what);
    return this.#take();
  }

  /** Items with commas between them, perhaps one at the end, up to `close`. */
  #list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.#accept(close)) {
      items.push(item());
      if (!this.#accept(",") && !(this.#next.kind === "punctuation" && this.#next.text === close)) this.#unexpected(`"," or "${close}"`);
    }
    return items;
  }

  #oneOf(words: readonly string[], what = `one of ${words.join(", ")}`): string {
    const token = this.#next;
    if (token.kind !== "word" || !words.includes(token.text)) this.#unexpected(what, token, token.kind === "word" ? didYouMean(token.text, words) : undefined);
    return this.#take().text;
  }

  #name(): string {
    if (this.#next.kind === "string" && this.#next.text !== "") return this.#take().text;
    return this.#kind("word", "a name").text;
  }

  #names(): readonly string[] {
    this.#expect("[");
    return this.#list("]", () => this.#name());
  }

  #fnName(): string {
    return this.#kind("function", "a name after @").text;
  }

  #number(): number {
    const token = this.#next;
    if (token.kind === "word" && (token.text === "nan" || token.text === "inf")) {
      this.#take();
      return token.text === "nan" ? NaN : Infinity;
    }
    const text = this.#kind("number", "a number").text;
    return text === "-inf" ? -Infinity : Number(text);
  }

  #count(): number {
    const token = this.#kind("number", "a whole number");
    const value = Number(token.text);
    if (!Number.isSafeInteger(value) || value < 0) this.#fail("MOE4101", `${token.text} is no whole number from 0 on`, token);
    return value;
  }

  #unique(taken: boolean, what: string, at: Token, name: string): void {
    if (taken) this.#fail("MOE4103", `there is ${/^[aeiou]/.test(what) ? "an" : "a"} ${what} "${name}" already`, at);
  }

  #unexpected(expected: string, found = this.#next, help?: string): never {
    const what = found.kind === "end" ? "the text ends" : `found ${JSON.stringify(this.#spelt(found))}`;
    this.#fail("MOE4101", `${expected} was expected, but ${what}`, found, help);
  }

  #spelt(token: Token): string {
    return token.kind === "value" ? `%${token.text}` : token.kind === "function" ? `@${token.text}` : token.kind === "doc" ? "///" : token.text;
  }

  #fail(code: Code, message: string, at: Token, help?: string): never {
    throw new DiagnosticError(diagnostic(code, message, { at: { file: this.#file, start: at.start, end: at.end }, ...(help ? { help } : {}) }));
  }
}
