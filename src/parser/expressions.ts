import { EOF, type IToken, type ParserMethod } from "chevrotain";
import type { Span } from "../diagnostics/index.ts";
import type { Argument, BooleanLiteral, Call, Conditional, Expression, ListExpression, Member, Missing, NumberLiteral, StringLiteral } from "./ast.ts";
import { decodeNumber, decodeString } from "./literals.ts";
import { foldOperators, type FlatOperator } from "./precedence.ts";
import { TolerantParser } from "./tolerant.ts";
import * as t from "./tokens.ts";

/** More operators than this in one expression without brackets are refused; the tree they make is as deep. */
const maxOperators = 400;
/** So deep may expressions nest in each other; beyond, a conditional is refused (brackets are bounded beforehand). */
const maxExpressionNesting = 100;

/** The rules of expressions. Operators are read flat, for speed, and made a tree by `foldOperators`. */
export abstract class ExpressionParser extends TolerantParser {
  /** How many expressions the parser is in. */
  #nesting = 0;

  protected override begin(...file: Parameters<TolerantParser["begin"]>): void {
    this.#nesting = 0;
    super.begin(...file);
  }

  /** Whether the next token can begin an expression. */
  protected startsExpression(ahead = 1): boolean {
    return this.startsOperand(ahead) || this.next(t.PrefixOperator, ahead);
  }

  private startsOperand(ahead = 1): boolean {
    const token = this.LA(ahead);
    const type = token.tokenType;
    return (
      type === t.NumberToken || type === t.LParen || type === t.LSquare || type === t.If || type === t.True || type === t.False ||
      this.next(t.Identifier, ahead) || this.next(t.StringToken, ahead)
    );
  }

  /**
   * Whether the next token begins a line with `name =` or with two words, which no expression does: there the next
   * binding, item or declaration begins, and the value before it was left out.
   */
  private beginsNextItem(): boolean {
    if (!this.next(t.Identifier) || this.sameLine()) return false;
    if (this.next(t.Equals, 2)) return true;
    if (!this.next(t.Identifier, 2) && !this.next(t.StringToken, 2) && !this.next(t.NumberToken, 2)) return false;
    return !/[\r\n]/.test(this.text.slice(t.endOf(this.LA(1)), this.LA(2).startOffset));
  }

  /** An expression; where none begins, a `Missing` and a report that says what for. */
  protected want(index: 1 | 2 | 3, what: string): Expression {
    if (!this.RECORDING_PHASE && (!this.startsExpression() || this.beginsNextItem())) return this.noExpression(what);
    if (index === 1) return this.SUBRULE1(this.expression);
    return index === 2 ? this.SUBRULE2(this.expression) : this.SUBRULE3(this.expression);
  }

  private noExpression(what: string): Expression {
    const token = this.LA(1);
    if (token.isInsertedInRecovery === true) this.quiet();
    let help: string | undefined;
    if (this.next(t.Dot) && this.next(t.NumberToken, 2)) help = "a number begins with a digit: `0.5`";
    else if (this.next(t.DoubleStar)) help = "a power is written `a ^ b`";
    else if (this.next(t.LCurly)) help = "braces hold bindings and items; an expression is grouped with `( )`";
    const ended = this.LA(1).tokenType !== EOF && !this.atEnd() && !this.sameLine();
    this.unexpected("MOE1002", `expected ${what}, but found ${ended ? "the end of the line" : this.found()}`, {
      at: ended ? this.missing().span : this.spanOfNext(),
      label: `expected ${what}`,
      help,
    });
    this.quiet();
    return this.missing();
  }

  readonly expression: ParserMethod<[], Expression> = this.RULE("expression", (): Expression => {
    const parts: (FlatOperator | Expression)[] = [];
    let operators = 0;
    this.ACTION(() => this.#nesting++);
    const operator = (token: IToken, prefix: boolean): void => {
      operators++;
      parts.push({ text: token.image, span: this.spanOf(token), prefix });
    };
    this.MANY1(() => {
      const token = this.CONSUME1(t.PrefixOperator);
      this.ACTION(() => operator(token, true));
    });
    const first = this.operand(1);
    this.ACTION(() => parts.push(first));
    this.MANY2(() => {
      const token = this.CONSUME2(t.BinaryOperator);
      this.ACTION(() => operator(token, false));
      this.MANY3(() => {
        const prefix = this.CONSUME3(t.PrefixOperator);
        this.ACTION(() => operator(prefix, true));
      });
      const next = this.operand(2);
      this.ACTION(() => parts.push(next));
    });
    this.ACTION(() => this.#nesting--);
    return this.ACTION(() => {
      if (parts.length === 1) return parts[0] as Expression;
      if (operators > maxOperators) {
        const span = { file: this.fileName, start: parts[0]!.span.start, end: parts[parts.length - 1]!.span.end };
        this.mistake("MOE1020", `an expression of ${operators} operators`, { at: span, help: `give parts of it a name; ${maxOperators} operators are the limit` });
        return { kind: "missing", span };
      }
      let chained = false;
      const folded = foldOperators(parts, (left, second) => {
        chained = true;
        const text = (e: Expression): string => this.text.slice(e.span.start, e.span.end);
        this.mistake("MOE1011", `\`${left.operator}\` and \`${second.text}\` are chained, but a comparison compares two values`, {
          at: second.span,
          label: "a second comparison",
          secondary: [{ span: left.span, text: "this is true or false already" }],
          help: `write it as two comparisons: \`${text(left)} and ${text(left.right)} ${second.text} …\``,
          fixes: [
            {
              title: "compare twice",
              edits: [{ span: { ...second.span, end: second.span.start }, text: `and ${text(left.right)} ` }],
              safe: true,
            },
          ],
        });
      });
      // What a chain is worth nobody knows: nothing more is said of it.
      return chained ? { kind: "missing", span: folded.span } : folded;
    });
  });

  private operand(index: 1 | 2): Expression {
    if (!this.RECORDING_PHASE) {
      if (!this.startsOperand() || (index === 2 && this.beginsNextItem())) return this.noExpression(`a value after \`${this.LA(0).image}\``);
      if (this.#nesting > maxExpressionNesting && this.next(t.If)) return this.tooDeep();
    }
    return index === 1 ? this.SUBRULE1(this.postfix) : this.SUBRULE2(this.postfix);
  }

  private tooDeep(): Missing {
    this.mistake("MOE1020", `nested more than ${maxExpressionNesting} deep`, { at: this.spanOfNext(), help: "give inner parts a name of their own" });
    this.skipToEnd();
    return this.missing();
  }

  private readonly postfix: ParserMethod<[], Expression> = this.RULE("postfix", (): Expression => {
    const start = this.here;
    let made = this.SUBRULE(this.primary);
    this.MANY({
      GATE: () => this.LA(1).tokenType === t.Dot || this.sameLine(),
      DEF: () => {
        this.OR([
          {
            ALT: () => {
              const args = this.SUBRULE(this.args);
              this.ACTION(() => {
                made = this.call(made, args, start);
              });
            },
          },
          {
            ALT: () => {
              this.CONSUME(t.LSquare);
              const index = this.want(1, "an index");
              this.CONSUME(t.RSquare);
              this.ACTION(() => {
                made = { kind: "index", span: this.spanFrom(start), object: made, index };
              });
            },
          },
          {
            ALT: () => {
              this.CONSUME(t.Dot);
              const name = this.CONSUME(t.Identifier);
              this.ACTION(() => {
                const member: Member = { kind: "member", span: this.spanFrom(start), object: made, name: this.nameOf(name) };
                made = member;
              });
            },
          },
        ]);
      },
    });
    return made;
  });

  private call(callee: Expression, args: readonly Argument[], start: number): Expression {
    const span = this.spanFrom(start);
    if (callee.kind === "name") return { kind: "call", span, callee: { span: callee.span, text: callee.text }, args };
    if (callee.kind !== "missing") {
      this.mistake("MOE1017", "only a name can be called", {
        at: callee.span,
        label: "not a name",
        help: callee.kind === "number" ? "a product needs its `*`: `2 * (a + b)`" : "call a function, a linear or a block by its name",
      });
    }
    return { kind: "missing", span };
  }

  private readonly primary: ParserMethod<[], Expression> = this.RULE("primary", (): Expression =>
    this.OR<Expression>([
      { ALT: () => this.SUBRULE(this.number) },
      { ALT: () => this.SUBRULE(this.string) },
      { ALT: () => this.SUBRULE(this.boolean) },
      { ALT: () => this.SUBRULE(this.conditional) },
      { ALT: () => this.SUBRULE(this.list) },
      {
        ALT: () => {
          const start = this.here;
          this.CONSUME(t.LParen);
          const inner = this.want(1, "an expression");
          this.CONSUME(t.RParen);
          return this.ACTION(() => ({ ...inner, span: this.spanFrom(start) }));
        },
      },
      {
        ALT: () => {
          const token = this.CONSUME(t.Identifier);
          return this.ACTION(() =>
            token.image === "" ? { ...this.missing(), span: this.spanOf(token) } : { kind: "name", span: this.spanOf(token), text: token.image },
          );
        },
      },
    ]),
  );

  private readonly number: ParserMethod<[], NumberLiteral> = this.RULE("number", (): NumberLiteral => {
    const token = this.CONSUME(t.NumberToken);
    return this.ACTION(() => {
      let end = t.endOf(token);
      const isTail = (): boolean => this.LA(1).tokenType !== EOF && this.here === end && this.next(t.PathPiece) && !this.next(t.BinaryOperator) && !this.next(t.DoubleStar);
      while (isTail()) {
        end = t.endOf(this.LA(1));
        this.SKIP_TOKEN();
      }
      // `1.` without digits after its point
      if (this.next(t.Dot) && this.adjacent() && !(this.next(t.PathPiece, 2) && this.LA(2).startOffset === end + 1)) {
        end++;
        this.SKIP_TOKEN();
      }
      const span = { file: this.fileName, start: token.startOffset, end };
      const { value, integer, fault } = decodeNumber(this.text.slice(span.start, span.end));
      if (fault) this.mistake("MOE1007", fault.message, { at: span, help: fault.help });
      return { kind: "number", span, value, integer };
    });
  });

  protected readonly string: ParserMethod<[], StringLiteral> = this.RULE("string", (): StringLiteral => {
    const token = this.CONSUME(t.StringToken);
    return this.ACTION(() => this.stringOf(token));
  });

  protected stringOf(token: IToken): StringLiteral {
    const span = this.spanOf(token);
    const { value, faults } = decodeString(token.image, token.tokenType !== t.OpenString);
    for (const fault of faults) {
      this.mistake("MOE1008", fault.message, {
        at: { file: this.fileName, start: span.start + fault.start, end: span.start + fault.end },
        help: 'in a string stand `\\"`, `\\\\`, `\\n`, `\\t` and `\\u{…}`; a backslash itself is `\\\\`',
      });
    }
    return { kind: "string", span, value };
  }

  private readonly boolean: ParserMethod<[], BooleanLiteral> = this.RULE("boolean", (): BooleanLiteral => {
    const token = this.OR([{ ALT: () => this.CONSUME(t.True) }, { ALT: () => this.CONSUME(t.False) }]);
    return this.ACTION(() => ({ kind: "boolean", span: this.spanOf(token), value: token.tokenType === t.True }));
  });

  private readonly conditional: ParserMethod<[], Conditional> = this.RULE("conditional", (): Conditional => {
    const start = this.here;
    this.CONSUME(t.If);
    const condition = this.want(1, "a condition");
    this.equalsInCondition();
    this.CONSUME(t.Then);
    const then = this.want(2, "a value after `then`");
    this.CONSUME(t.Else);
    const otherwise = this.want(3, "a value after `else`");
    return this.ACTION(() => ({ kind: "conditional", span: this.spanFrom(start), condition, then, otherwise }));
  });

  /** `if a = b`: says what is meant, and reads over it. */
  protected equalsInCondition(): void {
    this.ACTION(() => {
      if (!this.next(t.Equals) || !this.startsExpression(2)) return;
      const span = this.spanOf(this.LA(1));
      this.mistake("MOE1012", "`=` names a value; `==` compares", {
        at: span,
        label: "this compares nothing",
        fixes: [{ title: "write `==`", edits: [{ span, text: "==" }], safe: true }],
      });
      this.SKIP_TOKEN();
      this.SUBRULE9(this.expression);
    });
  }

  protected readonly list: ParserMethod<[], ListExpression> = this.RULE("list", (): ListExpression => {
    const start = this.here;
    const items: Expression[] = [];
    this.CONSUME(t.LSquare);
    this.MANY(() => {
      const item = this.SUBRULE(this.expression);
      this.ACTION(() => items.push(item));
      this.OPTION(() => this.CONSUME(t.Comma));
      this.commaBefore("an item", this.startsExpression());
    });
    this.CONSUME(t.RSquare);
    return this.ACTION(() => ({ kind: "list", span: this.spanFrom(start), items }));
  });

  /** After an element of a list and its comma, if it has one: reports that there is none where another element follows. */
  protected commaBefore(what: string, follows: boolean): void {
    this.ACTION(() => {
      if (this.LA(0).tokenType === t.Comma || !follows) return;
      const insert = { file: this.fileName, start: this.last, end: this.last };
      this.unexpected("MOE1001", `expected \`,\` before ${what}, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected `,`",
        fixes: [{ title: "add `,`", edits: [{ span: insert, text: "," }], safe: true }],
      });
    });
  }

  protected readonly args: ParserMethod<[], Argument[]> = this.RULE("args", (): Argument[] => {
    const args: Argument[] = [];
    this.CONSUME(t.LParen);
    this.MANY(() => {
      const argument = this.SUBRULE(this.argument);
      this.ACTION(() => args.push(argument));
      this.OPTION(() => this.CONSUME(t.Comma));
      this.commaBefore("an argument", this.startsExpression());
    });
    this.CONSUME(t.RParen);
    return args;
  });

  private readonly argument: ParserMethod<[], Argument> = this.RULE("argument", (): Argument => {
    const start = this.here;
    let name: IToken | undefined;
    if (this.RECORDING_PHASE || !this.named() || this.next(t.Colon, 2)) {
      name = this.OPTION(() => {
        const token = this.CONSUME(t.Identifier);
        this.CONSUME(t.Colon);
        return token;
      });
    } else {
      name = this.CONSUME1(t.Identifier);
      this.notAColon(name);
    }
    const value = this.want(1, "a value");
    return this.ACTION(() => ({
      span: this.spanFrom(start),
      ...(name ? { name: this.nameOf(name) } : {}),
      value,
    }));
  });

  /** A name and a colon, or what is written for a colon: `rank = 4`, `rank 4`. */
  private named(): boolean {
    if (!this.next(t.Identifier)) return false;
    return this.next(t.Colon, 2) || this.next(t.Equals, 2) || this.next(t.NumberToken, 2) || this.next(t.StringToken, 2) || this.next(t.True, 2) || this.next(t.False, 2);
  }

  private notAColon(name: IToken): void {
    if (this.next(t.Equals)) {
      const span = this.spanOf(this.LA(1));
      this.mistake("MOE1012", `an argument is given with \`:\`, as in \`${name.image}: …\``, {
        at: span,
        label: "`=` declares",
        fixes: [{ title: "write `:`", edits: [{ span: { ...span, start: this.last }, text: ":" }], safe: true }],
      });
      this.SKIP_TOKEN();
      return;
    }
    const insert = { file: this.fileName, start: this.last, end: this.last };
    this.unexpected("MOE1001", `expected \`:\` between \`${name.image}\` and its value`, {
      at: this.spanOfNext(),
      label: "expected `:`",
      fixes: [{ title: "add `:`", edits: [{ span: insert, text: ":" }], safe: true }],
    });
  }

  /** Reports a definition's name without brackets. */
  protected notApplied(name: string, span: Span): void {
    this.mistake("MOE1018", `\`${name}\` is named but not applied`, {
      at: span,
      label: "no `( )`",
      help: `write \`${name}()\`, with its arguments between the brackets`,
      fixes: [{ title: "add `()`", edits: [{ span: { ...span, start: span.end }, text: "()" }], safe: true }],
    });
  }

  /**
   * `lora(rank: 4)`: what a clause applies. Where the brackets are missing they are taken as empty, with a report.
   */
  protected readonly application: ParserMethod<[], Call> = this.RULE("application", (): Call => {
    const start = this.here;
    if (!this.RECORDING_PHASE && !this.next(t.Identifier)) {
      this.unexpected("MOE1001", `expected what is applied, such as \`lora(rank: 4)\`, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected a name and `( )`",
      });
      this.quiet();
      const { span } = this.missing();
      return { kind: "call", span, callee: { span, text: "" }, args: [] };
    }
    const callee = this.CONSUME(t.Identifier);
    if (this.RECORDING_PHASE || (this.next(t.LParen) && this.sameLine())) {
      const args = this.SUBRULE(this.args);
      return this.ACTION(() => ({ kind: "call", span: this.spanFrom(start), callee: this.nameOf(callee), args }));
    }
    const span = this.spanFrom(start);
    this.notApplied(callee.image, span);
    return { kind: "call", span, callee: this.nameOf(callee), args: [] };
  });
}
