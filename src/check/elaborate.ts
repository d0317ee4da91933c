import { diagnostic, DiagnosticError, fail, type Diagnostic, type Span } from "../diagnostics/index.ts";
import type {
  Argument,
  AxisList,
  Binary,
  Body,
  Call,
  Expression,
  FunctionDefinition,
  Name,
  Parameter,
  ParameterType,
  RequireItem,
  TensorParameter,
} from "../parser/ast.ts";
import { article, booleanOf, constBinary, example, mismatch, numberOf } from "./constants.ts";
import { builtins, callBuiltin } from "./builtins.ts";
import { entryOf, listOf } from "./lists.ts";
import { Scope } from "./scope.ts";
import { listed, suggest, unknownFunction, unknownName } from "./suggest.ts";
import { textOf, valuesIn } from "./text.ts";
import type { TensorOps } from "./tensors.ts";
import {
  constant,
  isConst,
  showAxes,
  showConst,
  showParameters,
  showType,
  type AxisRef,
  type Const,
  type ConstValue,
  type Entity,
  type Given,
  type Tensor,
} from "./values.ts";

/**
 * Gives the expressions of the language their meaning, once, for checking and for lowering: compile-time values are
 * computed, tensor operations are type-checked by axis name and handed to the emitter.
 *
 * A mistake throws a `DiagnosticError`; whoever elaborates a unit (a definition, a clause) catches it there, so that
 * one mistake gives one diagnostic and the next unit is still looked at.
 */
export class Elaborator {
  readonly ops: TensorOps;
  readonly functions: ReadonlyMap<string, FunctionDefinition>;
  /** Dropout and noise act. */
  readonly training: boolean;
  /** Takes what is legal and probably wrong; nobody listens where that was said before. */
  readonly warn: (d: Diagnostic) => void;
  /** The axis that the definition being elaborated is mapped over and does not see: an expert's own. */
  mapped: AxisRef | undefined;
  #depth = 0;
  #calls = 0;

  constructor(ops: TensorOps, functions: ReadonlyMap<string, FunctionDefinition>, training: boolean, warn: (d: Diagnostic) => void = () => {}) {
    this.ops = ops;
    this.functions = functions;
    this.training = training;
    this.warn = warn;
  }

  // ——— expressions ———

  evaluate(e: Expression, scope: Scope): Entity {
    switch (e.kind) {
      case "number":
        return constant(e.value);
      case "string":
        return constant(e.value);
      case "boolean":
        return constant(e.value);
      case "missing":
        // The parser has said why: an empty diagnostic list ends this unit in silence.
        throw new SyntaxUnit();
      case "name": {
        const found = scope.lookup(e.text);
        if (!found) {
          if (scope.isFaulty(e.text)) throw new SyntaxUnit();
          throw new DiagnosticError(unknownName(e, [...scope.known(), ...Object.keys(builtins), ...this.functions.keys()]));
        }
        return found;
      }
      case "list":
        return constant(listOf(e, e.items.map((item) => this.evaluateConst(item, scope, "a list holds compile-time values").value)));
      case "member":
        return this.#member(e, scope);
      case "index":
        return this.#index(e, scope);
      case "unary": {
        const x = this.evaluate(e.operand, scope);
        if (e.operator === "-") {
          if (isConst(x)) return constant(-numberOf(x, e.operand));
          return this.ops.at(e.span, () => this.ops.unary("neg", this.tensor(x, e.operand)));
        }
        if (isConst(x)) return constant(!booleanOf(x, e.operand));
        return this.ops.at(e.span, () => this.ops.logical("not", this.tensor(x, e.operand)));
      }
      case "binary":
        return this.#binary(e, scope);
      case "conditional": {
        const condition = this.evaluate(e.condition, scope);
        if (!isConst(condition) || typeof condition.value !== "boolean") {
          fail("MOE2007", "the condition of `if` must be known when the spec is compiled", {
            at: e.condition.span,
            label: isConst(condition) ? `this is ${showConst(condition.value)}` : "this depends on the data",
            help: "to choose element by element write where(condition, a, b)",
          });
        }
        return this.evaluate(condition.value ? e.then : e.otherwise, scope);
      }
      case "call":
        return this.call(e, scope);
    }
  }

  /** An expression that must be known at compile time. */
  evaluateConst(e: Expression, scope: Scope, why: string): Const {
    const value = this.evaluate(e, scope);
    if (isConst(value)) return value;
    if (value.kind === "axis" && typeof value.axis.size === "number") return constant(value.axis.size);
    return fail("MOE2008", `${why}, and this depends on the data`, { at: e.span });
  }

  /** As a tensor: constants become scalars, an axis its size. */
  tensor(value: Entity, e: Expression): Tensor {
    switch (value.kind) {
      case "tensor":
        return value;
      case "const":
        if (typeof value.value === "number") return this.ops.scalar(value.value);
        return fail("MOE2005", `a tensor or a number is needed here, this is ${showConst(value.value)}`, { at: e.span });
      case "axis":
        if (typeof value.axis.size === "number") return this.ops.scalar(value.axis.size);
        return this.ops.emit("extent", [], { axes: [value.axis] }, []);
      case "callable":
        return fail("MOE2005", `"${value.name}" is a part of the model: call it, ${value.name}(x)`, { at: e.span });
    }
  }

  /** An axis in scope, by name. */
  axis(e: Expression, scope: Scope): AxisRef {
    if (e.kind === "missing") throw new SyntaxUnit();
    if (e.kind !== "name") return fail("MOE3003", "the name of an axis is needed here", { at: e.span });
    return this.axisNamed({ text: e.text, span: e.span }, scope);
  }

  axisNamed(name: Name, scope: Scope): AxisRef {
    const found = scope.lookupAxis(name.text);
    if (found?.kind === "axis") return found.axis;
    if (found?.kind === "const" && typeof found.value === "number") return this.#axisOfNumber(name, found.value, scope);
    const axes: string[] = [];
    for (const known of scope.known()) if (scope.lookup(known)?.kind === "axis") axes.push(known);
    return fail("MOE3003", found ? `"${name.text}" is not an axis` : `no axis "${name.text}" is in scope`, {
      at: name.span,
      ...suggest(name, axes, listed("axes in scope", axes)),
    });
  }

  /** One axis or a list of them. */
  axisList(e: Expression, scope: Scope): AxisRef[] {
    return e.kind === "list" ? e.items.map((item) => this.axis(item, scope)) : [this.axis(e, scope)];
  }

  /** A declared list of axes, without repetition. */
  declared(list: AxisList, scope: Scope): AxisRef[] {
    const axes: AxisRef[] = [];
    for (const name of list.axes) {
      const axis = this.axisNamed(name, scope);
      if (axes.includes(axis)) fail("MOE3002", `the axis "${name.text}" stands twice`, { at: name.span, help: "axes are told apart by name: give one of them another name" });
      axes.push(axis);
    }
    return axes;
  }

  /** An integer parameter used as an axis (`weight A [in, rank]`) is one of that size from then on. */
  #axisOfNumber(name: Name, size: number, scope: Scope): AxisRef {
    if (!Number.isSafeInteger(size) || size < 1) fail("MOE3005", `an axis has a size of at least 1, "${name.text}" is ${size}`, { at: name.span });
    const axis = this.ops.axes.get(name.text, size, scope.hidden);
    scope.visible.add(axis);
    return axis;
  }

  #member(e: Extract<Expression, { kind: "member" }>, scope: Scope): Entity {
    const object = this.evaluate(e.object, scope);
    if (!isConst(object) || object.value === null || typeof object.value !== "object" || Array.isArray(object.value)) {
      return fail("MOE2005", "only a configuration has fields", { at: e.object.span });
    }
    const fields = object.value as { readonly [name: string]: ConstValue };
    if (!Object.hasOwn(fields, e.name.text)) {
      return fail("MOE2001", `the configuration has no field "${e.name.text}"`, {
        at: e.name.span,
        ...suggest(e.name, Object.keys(fields), listed("its fields", Object.keys(fields))),
      });
    }
    return constant(fields[e.name.text]!);
  }

  #index(e: Extract<Expression, { kind: "index" }>, scope: Scope): Entity {
    const list = this.evaluateConst(e.object, scope, "a list holds compile-time values");
    const index = numberOf(this.evaluateConst(e.index, scope, "an index is known at compile time"), e.index);
    return constant(entryOf(e, list.value, index, scope, this.warn));
  }

  #binary(e: Binary, scope: Scope): Entity {
    const left = this.evaluate(e.left, scope);
    if (e.operator === "and" || e.operator === "or") return this.#logical(e, left, scope);
    if ((e.operator === "==" || e.operator === "!=") && isConst(left) && left.choices) {
      const same = left.value === this.#choice(e.right, left.choices, scope);
      return constant(e.operator === "==" ? same : !same);
    }
    const right = this.evaluate(e.right, scope);
    return this.ops.at(e.span, () => this.binary(e, left, right, scope));
  }

  #logical(e: Binary, left: Entity, scope: Scope): Entity {
    if (isConst(left)) {
      const value = booleanOf(left, e.left);
      if (value === (e.operator === "or")) return left;
      const right = this.evaluate(e.right, scope);
      if (isConst(right)) return constant(booleanOf(right, e.right));
      return right;
    }
    const right = this.evaluate(e.right, scope);
    return this.ops.at(e.span, () => this.ops.logical(e.operator as "and" | "or", this.tensor(left, e.left), this.tensor(right, e.right)));
  }

  #choice(e: Expression, choices: readonly string[], scope: Scope): ConstValue {
    const name = e.kind === "name" ? e.text : undefined;
    if (name !== undefined && (choices.includes(name) || !scope.lookup(name))) {
      if (choices.includes(name)) return name === "none" ? null : name;
      return fail("MOE2004", `"${name}" is none of the choices ${choices.join(" | ")}`, { at: e.span, ...suggest({ text: name, span: e.span }, choices) });
    }
    return this.evaluateConst(e, scope, "a choice is known at compile time").value;
  }

  /** An arithmetic operator or comparison on evaluated operands. */
  binary(e: Binary, left: Entity, right: Entity, scope: Scope): Entity {
    const l = sizeAsConst(left);
    const r = sizeAsConst(right);
    if (isConst(l) && isConst(r)) return constBinary(e, l, r);
    const a = this.tensor(left, e.left);
    const b = this.tensor(right, e.right);
    switch (e.operator) {
      case "@":
        return this.#contract(e, a, b, scope);
      case "+":
      case "-":
      case "*":
      case "/":
        return this.ops.arithmetic({ "+": "add", "-": "sub", "*": "mul", "/": "div" }[e.operator], a, b);
      case "^":
        return this.ops.arithmetic("pow", a, b);
      case "%":
        // a - floor(a / b) * b: the sign of the divisor, as Python and NumPy.
        return this.ops.arithmetic("sub", a, this.ops.arithmetic("mul", this.ops.unary("floor", this.ops.arithmetic("div", a, b)), b));
      case "==":
      case "!=":
      case "<":
      case "<=":
      case ">":
      case ">=":
        return this.ops.compare({ "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge" }[e.operator], a, b);
      case "and":
      case "or":
        return this.ops.logical(e.operator, a, b);
    }
  }

  /** `a @ b` contracts the one axis that both have and the text sees. */
  #contract(e: Binary, a: Tensor, b: Tensor, scope: Scope): Tensor {
    const shared = scope.seen(a.axes).filter((x) => b.axes.includes(x));
    if (shared.length === 1) return this.ops.dot(a, b, shared);
    const show = (t: Tensor) => showAxes(scope.seen(t.axes), (x) => scope.nameOf(x));
    const names = shared.map((x) => scope.nameOf(x));
    return fail(
      "MOE3001",
      shared.length === 0
        ? `\`@\` contracts the axis that both sides share, and ${show(a)} @ ${show(b)} share none`
        : `\`@\` contracts one axis, and ${show(a)} @ ${show(b)} share ${names.length}: ${names.join(", ")}`,
      {
        at: e.span,
        secondary: [
          { span: e.left.span, text: show(a) },
          { span: e.right.span, text: show(b) },
        ],
        help: shared.length === 0 ? "multiply element by element with `*`, or rename an axis" : `say which: dot(a, b, over: ${names.length > 1 ? `[${names.join(", ")}]` : names[0]})`,
      },
    );
  }

  // ——— calls ———

  call(e: Call, scope: Scope): Entity {
    const name = e.callee.text;
    const entity = scope.lookup(name);
    if (entity?.kind === "callable") return this.ops.at(e.span, () => entity.call(this.#evaluateArguments(e.args, scope), e));
    const fn = this.functions.get(name);
    if (fn) return this.#callFunction(fn, e, scope);
    if (Object.hasOwn(builtins, name)) return this.ops.at(e.span, () => callBuiltin(this, name, e, scope));
    if (entity) return fail("MOE2006", `"${name}" is no function`, { at: e.callee.span });
    const known = [...Object.keys(builtins), ...this.functions.keys()];
    for (const n of scope.known()) if (scope.lookup(n)?.kind === "callable") known.push(n);
    throw new DiagnosticError(unknownFunction(e.callee, known));
  }

  #evaluateArguments(args: readonly Argument[], scope: Scope): Given[] {
    return args.map((a) => ({ ...(a.name ? { name: a.name } : {}), value: this.evaluate(a.value, scope), expression: a.value }));
  }

  /** Pairs arguments with parameters: positional ones first, then by name. Absent ones are left out. */
  bind<P extends { readonly name: Name }>(what: string, parameters: readonly P[], args: readonly Argument[]): Map<P, Argument> {
    const bound = new Map<P, Argument>();
    let position = 0;
    for (const arg of args) {
      let parameter: P | undefined;
      if (arg.name) {
        const wanted = arg.name.text;
        parameter = parameters.find((p) => p.name.text === wanted);
        if (!parameter) {
          const names = parameters.map((p) => p.name.text);
          fail("MOE2003", `${what} has no parameter "${wanted}"`, {
            at: arg.name.span,
            ...suggest(arg.name, names, listed("its parameters", names, "it takes none")),
          });
        }
      } else {
        parameter = parameters[position++];
        if (!parameter) fail("MOE2003", `${what} takes ${parameters.length} argument${parameters.length === 1 ? "" : "s"}, this is one more`, { at: arg.span });
      }
      if (bound.has(parameter)) fail("MOE2003", `"${parameter.name.text}" is given twice`, { at: arg.span });
      bound.set(parameter, arg);
    }
    return bound;
  }

  /** Compile-time parameters of a definition from a call's arguments, with defaults, checked, into `inner`. */
  parameters(what: string, parameters: readonly Parameter[], call: Call, outer: Scope, inner: Scope): void {
    const bound = this.bind(what, parameters, call.args);
    for (const p of parameters) {
      const arg = bound.get(p);
      if (arg) inner.define(p.name.text, this.typed(p.type, arg.value, outer, `${what}'s ${p.name.text}`));
      else if (p.default) inner.define(p.name.text, this.typed(p.type, p.default, inner, `${what}'s ${p.name.text}`));
      else {
        fail("MOE2003", `${what} needs ${p.name.text}: ${showType(p.type)}`, {
          at: call.span,
          help: `for example ${call.callee.text}(${p.name.text}: ${example(p.type)})`,
        });
      }
    }
  }

  /** An expression as a compile-time value of a declared type. */
  typed(type: ParameterType, e: Expression, scope: Scope, what: string): Entity {
    if (type.kind === "axis") return { kind: "axis", axis: this.axis(e, scope) };
    if (type.kind === "choice") {
      const choices = type.choices.map((c) => c.text);
      return constant(this.#checkChoice(this.#choice(e, choices, scope), choices, e), choices);
    }
    const value = this.evaluateConst(e, scope, `${what} is known at compile time`).value;
    const problem = mismatch(type, value);
    if (problem) fail("MOE2004", `${what} is ${article(showType(type))}, this is ${showConst(value)}`, { at: e.span, ...help(problem) });
    return constant(value);
  }

  #checkChoice(value: ConstValue, choices: readonly string[], e: Expression): ConstValue {
    const name = value === null ? "none" : value;
    if (typeof name === "string" && choices.includes(name)) return value;
    return fail("MOE2004", `${showConst(value)} is none of the choices ${choices.join(" | ")}`, { at: e.span });
  }

  /** What a definition states of its arguments: an error where `require` does not hold, a warning where `expect` does not. */
  require(item: RequireItem, scope: Scope, what: string, at: Span): void {
    const condition = this.evaluateConst(item.condition, scope, `\`${item.kind}\` states what ${item.kind === "require" ? "must" : "should"} hold at compile time`);
    if (typeof condition.value !== "boolean") fail("MOE2005", `\`${item.kind}\` needs true or false`, { at: item.condition.span });
    if (condition.value) return;
    const values = new Set<string>();
    for (const part of valuesIn(item.condition)) {
      const v = this.#valueOf(part, scope);
      if (v && (v.value === null || typeof v.value !== "object")) values.add(`${textOf(part)} = ${showConst(v.value)}`);
    }
    const here = `${textOf(item.condition)}${values.size ? `, and here ${[...values].join(", ")}` : ""}`;
    const details = (text: string) => ({ at, secondary: [{ span: item.condition.span, text }], notes: item.message ? [item.message.value] : [] });
    if (item.kind === "expect") this.warn(diagnostic("MOE2040", `${what} expects ${here}`, details("expected here")));
    else fail("MOE2011", `${what} requires ${here}`, details("required here"));
  }

  /** What a name or a field stands for, where that is a compile-time value: for messages. */
  #valueOf(part: Expression, scope: Scope): Const | undefined {
    if (part.kind === "name") {
      const found = scope.lookup(part.text);
      const value = found && sizeAsConst(found);
      return value && isConst(value) ? value : undefined;
    }
    if (part.kind !== "member") return undefined;
    const object = this.#valueOf(part.object, scope)?.value;
    if (typeof object !== "object" || object === null || Array.isArray(object) || !Object.hasOwn(object, part.name.text)) return undefined;
    return constant((object as { readonly [name: string]: ConstValue })[part.name.text]!);
  }

  // ——— fn ———

  #callFunction(fn: FunctionDefinition, e: Call, scope: Scope): Entity {
    if (this.#depth >= 64) fail("MOE2012", `"${fn.name.text}" calls itself without end`, { at: e.span });
    // Functions that call each other twice would double the work with each: 40 lines could keep a computer busy for days.
    if (++this.#calls > 200_000) fail("MOE2012", "the functions of this spec are called more than 200,000 times", { at: e.span });
    this.#depth++;
    try {
      const inner = new Scope(undefined, []);
      const bound = this.bind(fn.name.text, fn.parameters, e.args);
      // Axis parameters first: the tensors' declared axes use their names.
      const isAxis = (p: Parameter | TensorParameter) => p.kind === "parameter" && p.type.kind === "axis";
      const tensors: { p: TensorParameter; t: Entity; arg: Argument }[] = [];
      for (const p of [...fn.parameters.filter(isAxis), ...fn.parameters.filter((q) => !isAxis(q))]) {
        const arg = bound.get(p);
        if (p.kind === "parameter") {
          if (arg) inner.define(p.name.text, this.typed(p.type, arg.value, scope, `${fn.name.text}'s ${p.name.text}`));
          else if (p.default) inner.define(p.name.text, this.typed(p.type, p.default, inner, `${fn.name.text}'s ${p.name.text}`));
          else fail("MOE2003", `${fn.name.text} needs ${p.name.text}: ${showType(p.type)}`, { at: e.span });
        } else {
          if (!arg) fail("MOE2003", `${fn.name.text} needs "${p.name.text}"`, { at: e.span, help: `its parameters: ${showParameters(fn.parameters)}` });
          tensors.push({ p, t: this.evaluate(arg.value, scope), arg });
        }
      }
      for (const { p, t, arg } of tensors) {
        // Compile-time numbers stay so: `silu(2)` is a number.
        const value = t.kind === "axis" ? this.ops.at(arg.span, () => this.tensor(t, arg.value)) : t;
        if (p.axes) {
          const declared = this.declared(p.axes, inner);
          this.hasAxes(value, declared, arg.value, `${fn.name.text}'s ${p.name.text}`, scope);
        } else if (value.kind === "tensor") for (const a of scope.seen(value.axes)) inner.visible.add(a);
        inner.define(p.name.text, value);
      }
      for (const { t } of tensors) if (t.kind === "tensor") for (const a of t.axes) if (!inner.visible.has(a)) inner.hidden.add(a.name);
      const seenBefore = new Set(inner.visible);
      const result = this.body(fn.body, inner, fn.name.text, e.span);
      if (result.kind === "tensor") {
        if (fn.result) this.#checkResult(fn.result, result, inner, fn.body.result, fn.name.text);
        else {
          const own = result.axes.filter((a) => inner.visible.has(a) && !seenBefore.has(a));
          if (own.length) fail("MOE3002", `"${fn.name.text}" returns its own axis ${own.map((a) => a.name).join(", ")}`, { at: fn.body.result.span, help: "declare the result: -> [axes]" });
        }
      }
      return result;
    } finally {
      this.#depth--;
    }
  }

  /** Checks that a value has the declared axes. */
  hasAxes(value: Entity, declared: readonly AxisRef[], e: Expression, what: string, scope: Scope): void {
    const axes = value.kind === "tensor" ? value.axes : [];
    const missing = declared.filter((a) => !axes.includes(a));
    if (missing.length === 0) return;
    const name = (a: AxisRef) => scope.nameOf(a);
    fail("MOE3001", `${what} has the axes ${showAxes(declared, name)}, this has ${showAxes(scope.seen(axes), name)}`, {
      at: e.span,
      label: `lacks ${missing.map(name).join(", ")}`,
    });
  }

  #checkResult(list: AxisList, result: Tensor, scope: Scope, at: Expression, what: string): void {
    this.result(this.declared(list, scope), result, scope, at, what);
  }

  /** Checks that what a text sees of a result is what it declares. */
  result(declared: readonly AxisRef[], result: Tensor, scope: Scope, at: Expression, what: string): void {
    const seen = scope.seen(result.axes);
    const name = (a: AxisRef) => scope.nameOf(a);
    const extra = seen.filter((a) => !declared.includes(a));
    const missing = declared.filter((a) => !seen.includes(a));
    if (!extra.length && !missing.length) return;
    fail("MOE3002", `the result of ${what} is ${showAxes(declared, name)}, and this computes ${showAxes(seen, name)}`, {
      at: at.span,
      label: extra.length ? `has ${extra.map(name).join(", ")} too` : `lacks ${missing.map(name).join(", ")}`,
      ...(extra.length ? { help: `reduce it, for example sum(…, over: ${extra.length > 1 ? `[${extra.map(name).join(", ")}]` : name(extra[0]!)})` } : {}),
    });
  }

  /** Statements in order, then the result. */
  body(body: Body, scope: Scope, what: string, at: Span): Entity {
    for (const s of body.statements) {
      switch (s.kind) {
        case "let":
          if (scope.names.has(s.name.text)) fail("MOE2013", `"${s.name.text}" is already defined`, { at: s.name.span, help: "a name is given once: choose another" });
          scope.define(s.name.text, this.#labelled(this.evaluate(s.value, scope), s.name.text));
          break;
        case "axis":
          this.defineAxis(s.name, s.size, scope);
          break;
        case "require":
        case "expect":
          this.require(s, scope, what, at);
          break;
      }
    }
    return this.evaluate(body.result, scope);
  }

  #labelled(value: Entity, name: string): Entity {
    if (value.kind === "tensor") this.ops.emitter.label?.(value.handle, name);
    return value;
  }

  /** `axis pair = dim / 2`, or `axis source = position`: another axis of the same size. */
  defineAxis(name: Name, size: Expression, scope: Scope): AxisRef {
    const value = this.evaluate(size, scope);
    let wanted: number | string;
    if (value.kind === "axis") wanted = value.axis.size;
    else if (isConst(value) && typeof value.value === "number") {
      wanted = value.value;
      if (!Number.isSafeInteger(wanted) || wanted < 1) fail("MOE3005", `an axis has a whole size of at least 1; "${name.text}" would have ${wanted}`, { at: size.span });
    } else return fail("MOE3005", `the size of an axis is a whole number or another axis`, { at: size.span });
    const axis = this.ops.axes.get(name.text, wanted, scope.hidden);
    scope.define(name.text, { kind: "axis", axis });
    return axis;
  }
}

/** Ends a unit of which all has been said already, by the parser or elsewhere: an error with no diagnostics. */
export class SyntaxUnit extends DiagnosticError {
  constructor() {
    super([]);
  }
}

export function help(text: string | undefined): { help?: string } {
  return text === undefined ? {} : { help: text };
}

/** An axis of known size is a number wherever a number is wanted. */
export function sizeAsConst(value: Entity): Entity {
  return value.kind === "axis" && typeof value.axis.size === "number" ? constant(value.axis.size) : value;
}
