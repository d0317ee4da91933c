import type { Argument, AxisList, ConfigField, Expression, Parameter, ParameterType, TensorParameter } from "../parser/index.ts";
import { precedence } from "../parser/tokens.ts";
import { doc, type Doc } from "./doc.ts";
import { Layout, type Item } from "./layout.ts";
import { gapDoc } from "./source.ts";

const { group, indent, line } = doc.builders;

/** Expressions, types and lists. */
export class ExpressionPrinter extends Layout {
  /** An expression with the brackets around it that the author wrote. */
  protected expression(e: Expression): Doc {
    const core = e.kind === "binary" ? e.left.span.start : e.kind === "member" || e.kind === "index" ? e.object.span.start : e.kind === "call" ? e.callee.span.start : Infinity;
    if (this.source.image !== "(" || this.source.start >= core) return this.core(e);
    return this.parenthesized(() => this.expression(e));
  }

  private core(e: Expression): Doc {
    const { source } = this;
    switch (e.kind) {
      case "list":
        return this.bracketed("[", "]", e.items, (item) => this.expression(item));
      case "member":
        return [this.expression(e.object), source.take(".", true), source.take(e.name.text)];
      case "index":
        return [this.expression(e.object), source.take("[", true), this.expression(e.index), source.take("]", true)];
      case "call":
        return this.call(e);
      case "unary":
        return [source.take(e.operator), e.operator === "not" ? " " : "", this.expression(e.operand)];
      case "binary":
        return this.chain(e);
      case "conditional":
        return this.conditional(e);
      case "missing":
        throw new Error("a tree with syntax errors is not formatted");
      default:
        return source.take();
    }
  }

  protected call(e: Expression & { kind: "call" }): Doc {
    const { source } = this;
    // The callee itself may stand in brackets, `(f)(x)`.
    const callee: Doc[] = [];
    while (source.image === "(") callee.push(source.take("("));
    callee.push(source.take(e.callee.text));
    while (source.image === ")") callee.push(source.take(")", true));
    return [callee, this.args(e.args)];
  }

  protected args(args: readonly Argument[]): Doc {
    return this.bracketed("(", ")", args, (argument) => (argument.name ? [this.source.take(argument.name.text), this.source.take(":", true), " ", this.expression(argument.value)] : this.expression(argument.value)));
  }

  /** Operators of equal strength, each at the beginning of a line where they need several. */
  private chain(e: Expression & { kind: "binary" }): Doc {
    const strength = precedence[e.operator]!;
    const rest: (Expression & { kind: "binary" })[] = [e];
    let first = e.left;
    // A left side without brackets of its own and of equal strength goes on the same chain; `^` groups to the right.
    while (e.operator !== "^" && first.kind === "binary" && precedence[first.operator] === strength && first.span.start === first.left.span.start) {
      rest.push(first);
      first = first.left;
    }
    const printed = this.expression(first);
    const further = rest.reverse().map((b): Doc => [this.next(), this.source.take(b.operator), " ", this.expression(b.right)]);
    return group([printed, indent(further)]);
  }

  private conditional(e: Expression & { kind: "conditional" }): Doc {
    const { source } = this;
    const chained = (c: Expression & { kind: "conditional" }): boolean => c.otherwise.kind === "conditional" && !source.bracketAt(c.otherwise.span.start);
    const one = [source.take("if"), " ", this.expression(e.condition)];
    if (!chained(e)) return group([one, indent([this.next(), source.take("then"), " ", this.expression(e.then), this.next(), source.take("else"), " ", this.expression(e.otherwise)])]);
    const parts: Doc[] = [one, " ", source.take("then"), " ", this.expression(e.then)];
    let last = e;
    while (chained(last)) {
      const inner = last.otherwise as Expression & { kind: "conditional" };
      parts.push(this.next(), source.take("else"), " ", source.take("if"), " ", this.expression(inner.condition), " ", source.take("then"), " ", this.expression(inner.then));
      last = inner;
    }
    return group([parts, this.next(), source.take("else"), " ", this.expression(last.otherwise)]);
  }

  /** `= value`; a value that is no call or list may stand on the next line. */
  protected equals(value: Expression, mayBreak = true): Doc {
    const equals = this.source.take("=");
    if (mayBreak && this.source.followsLineComment) return [equals, indent([gapDoc(this.source.gap("none")), this.expression(value)])];
    const wide = value.kind === "binary" || value.kind === "conditional" || value.kind === "unary";
    const printed = this.expression(value);
    return wide && mayBreak ? group([equals, indent([line, printed])]) : [equals, " ", printed];
  }

  // ——— parameters and types ———

  protected axes(axes: AxisList): Doc {
    return this.bracketed("[", "]", axes.axes, (axis) => this.source.take(axis.text), true);
  }

  protected parameters(parameters: readonly (Parameter | TensorParameter)[]): Doc {
    return this.bracketed("(", ")", parameters, (p) => this.parameter(p));
  }

  private parameter(p: Parameter | TensorParameter): Doc {
    const name = this.source.take(p.name.text);
    if (p.kind === "tensor") return p.axes ? [name, " ", this.axes(p.axes)] : name;
    return [name, this.source.take(":", true), " ", this.type(p.type), p.default ? [" ", this.equals(p.default, false)] : ""];
  }

  protected field(f: ConfigField): Item {
    return this.item(() => ({
      columns: [[this.source.take(f.name.text), this.source.take(":", true), " ", this.type(f.type), f.default ? [" ", this.equals(f.default, false)] : ""]],
    }));
  }

  protected type(type: ParameterType): Doc {
    const { source } = this;
    switch (type.kind) {
      case "choice":
        return type.choices.map((_, i) => (i === 0 ? source.take() : [" ", source.take("|"), " ", source.take()]));
      case "list":
        return [source.take("["), this.type(type.of), source.take("]", true)];
      case "record":
        return this.braces(true, () => type.fields.map((f) => this.field(f)));
      default:
        return source.take(type.kind);
    }
  }
}
