import type { ParserMethod } from "chevrotain";
import type { AxisList, ConfigField, Expression, Name, Parameter, ParameterType, TensorParameter } from "./ast.ts";
import { ExpressionParser } from "./expressions.ts";
import * as t from "./tokens.ts";

const simpleTypes: ReadonlySet<string> = new Set(["int", "float", "bool", "string", "axis"]);

/** The rules of axis lists, types and parameter lists. */
export abstract class ParameterParser extends ExpressionParser {
  protected readonly axes: ParserMethod<[], AxisList> = this.RULE("axes", (): AxisList => {
    const start = this.here;
    const axes: Name[] = [];
    this.CONSUME(t.LSquare);
    this.MANY(() => {
      const name = this.CONSUME(t.Identifier);
      this.ACTION(() => axes.push(this.nameOf(name)));
      this.OPTION(() => this.CONSUME(t.Comma));
      this.commaBefore("an axis", this.next(t.Identifier));
    });
    this.CONSUME(t.RSquare);
    return this.ACTION(() => ({ span: this.spanFrom(start), axes }));
  });

  /** Axes where `[` is next, else none and a report. */
  protected wantAxes(index: 1 | 2): AxisList {
    if (!this.RECORDING_PHASE && !this.next(t.LSquare)) {
      this.unexpected("MOE1001", `expected the axes in \`[ ]\`, but found ${this.found()}`, { at: this.spanOfNext(), label: "expected `[`" });
      this.quiet();
      return this.noAxes();
    }
    return index === 1 ? this.SUBRULE1(this.axes) : this.SUBRULE2(this.axes);
  }

  protected readonly type: ParserMethod<[], ParameterType> = this.RULE("type", (): ParameterType => {
    const start = this.here;
    return this.OR<ParameterType>([
      {
        ALT: () => {
          const fields = this.SUBRULE(this.recordType);
          return this.ACTION(() => ({ kind: "record", span: this.spanFrom(start), fields }));
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.LSquare);
          const of = this.wantType(1);
          this.CONSUME(t.RSquare);
          return this.ACTION(() => ({ kind: "list", span: this.spanFrom(start), of }));
        },
      },
      {
        ALT: () => {
          const choices: Name[] = [];
          const first = this.CONSUME1(t.Identifier);
          this.ACTION(() => choices.push(this.nameOf(first)));
          this.MANY(() => {
            this.CONSUME(t.Bar);
            const choice = this.CONSUME2(t.Identifier);
            this.ACTION(() => choices.push(this.nameOf(choice)));
          });
          return this.ACTION((): ParameterType => {
            const span = this.spanFrom(start);
            return choices.length === 1 && simpleTypes.has(first.image)
              ? { kind: first.image as "int", span }
              : { kind: "choice", span, choices };
          });
        },
      },
    ]);
  });

  private wantType(index: 1 | 2): ParameterType {
    if (!this.RECORDING_PHASE && !this.next(t.LCurly) && !this.next(t.LSquare) && !this.next(t.Identifier)) {
      this.unexpected("MOE1001", `expected a type, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected a type",
        help: "a type is `int`, `float`, `bool`, `string`, `axis`, or the names to choose from: `cv2 | var_over_mean`",
      });
      this.quiet();
      return { kind: "choice", span: this.missing().span, choices: [] };
    }
    return index === 1 ? this.SUBRULE1(this.type) : this.SUBRULE2(this.type);
  }

  /** The type after a name's `:`. */
  protected typed(): ParameterType {
    this.CONSUME(t.Colon);
    return this.wantType(2);
  }

  protected readonly recordType: ParserMethod<[], ConfigField[]> = this.RULE("recordType", (): ConfigField[] => {
    const fields: ConfigField[] = [];
    this.CONSUME(t.LCurly);
    this.MANY(() => {
      const field = this.SUBRULE(this.field);
      this.ACTION(() => fields.push(field));
      this.OPTION(() => this.CONSUME(t.Comma));
    });
    this.CONSUME(t.RCurly);
    return fields;
  });

  private readonly field: ParserMethod<[], ConfigField> = this.RULE("field", (): ConfigField => {
    const start = this.here;
    const name = this.CONSUME(t.Identifier);
    const type = this.typed();
    const value = this.OPTION(() => {
      this.CONSUME(t.Equals);
      return this.want(1, "a value");
    });
    return this.ACTION(() => ({
      kind: "field", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), type, ...(value ? { default: value } : {}),
    }));
  });

  protected readonly parameters: ParserMethod<[], (Parameter | TensorParameter)[]> = this.RULE("parameters", (): (Parameter | TensorParameter)[] => {
    const parameters: (Parameter | TensorParameter)[] = [];
    this.CONSUME(t.LParen);
    this.MANY(() => {
      const parameter = this.SUBRULE(this.parameter);
      this.ACTION(() => parameters.push(parameter));
      this.OPTION(() => this.CONSUME(t.Comma));
      this.commaBefore("a parameter", this.next(t.Identifier));
    });
    this.CONSUME(t.RParen);
    return parameters;
  });

  private readonly parameter: ParserMethod<[], Parameter | TensorParameter> = this.RULE("parameter", (): Parameter | TensorParameter => {
    const start = this.here;
    const name = this.CONSUME(t.Identifier);
    let axes: AxisList | undefined;
    let type: ParameterType | undefined;
    let value: Expression | undefined;
    this.OPTION1(() => {
      this.OR([
        {
          ALT: () => {
            axes = this.SUBRULE(this.axes);
          },
        },
        {
          ALT: () => {
            type = this.typed();
            this.OPTION2(() => {
              this.CONSUME(t.Equals);
              value = this.want(1, "a default value");
            });
          },
        },
      ]);
    });
    return this.ACTION((): Parameter | TensorParameter => {
      const common = { span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name) };
      if (type) return { kind: "parameter", ...common, type, ...(value ? { default: value } : {}) };
      return { kind: "tensor", ...common, ...(axes ? { axes } : {}) };
    });
  });

  protected wantParameters(index: 1 | 2): (Parameter | TensorParameter)[] {
    if (!this.RECORDING_PHASE && !this.next(t.LParen)) {
      const insert = { file: this.fileName, start: this.last, end: this.last };
      this.unexpected("MOE1001", `expected the parameters in \`( )\`, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected `(`",
        fixes: [{ title: "add `()`", edits: [{ span: insert, text: "()" }], safe: false }],
      });
      this.quiet();
      return [];
    }
    return index === 1 ? this.SUBRULE1(this.parameters) : this.SUBRULE2(this.parameters);
  }

  /** Parameters of an expert, a router or a balance: each needs a type. */
  protected settingsOnly(parameters: readonly (Parameter | TensorParameter)[]): Parameter[] {
    return parameters.map((parameter) => {
      if (parameter.kind === "parameter") return parameter;
      this.mistake("MOE1016", `the parameter \`${parameter.name.text}\` has no type`, {
        at: parameter.span,
        label: "expected `: type`",
        help: "what stands beside the name is set where the definition is used, `rank: int`; tensors are asked for in the signature below, `(x [in]) -> [out]`",
      });
      const after = { ...parameter.span, start: parameter.span.end };
      return { ...parameter, kind: "parameter", type: { kind: "choice", span: after, choices: [] } };
    });
  }
}
