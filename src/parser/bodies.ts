import type { ParserMethod, TokenType } from "chevrotain";
import type {
  AxisItem, Binding, BlockItem, Body, BodyItem, Expression, LinearItem, RequireItem, Signature, StringLiteral, UnusedItem, UpdateItem, WeightItem,
} from "./ast.ts";
import { ParameterParser } from "./parameters.ts";
import * as t from "./tokens.ts";

/** What stands between the braces of a body or a block. */
interface Contents {
  readonly items: readonly BodyItem[];
  readonly body: Body;
}

/** Words that begin an item with a name. */
const itemWords: readonly TokenType[] = [t.Weight, t.Frozen, t.State, t.Update, t.Linear, t.Axis, t.Block];

/** An item with its article, for messages. */
function itemNoun(item: BodyItem): string {
  if (item.kind === "update") return "an update";
  if (item.kind === "unused") return "an `unused`";
  return `a ${item.kind === "weight" ? item.role : item.kind}`;
}

/** The rules of what stands between the braces of a definition: its items, and bodies. */
export abstract class BodyParser extends ParameterParser {
  // ——— items ———

  protected readonly require: ParserMethod<[], RequireItem> = this.RULE("require", (): RequireItem => {
    const start = this.here;
    const word = this.OR([{ ALT: () => this.CONSUME(t.Require) }, { ALT: () => this.CONSUME(t.Expect) }]);
    const condition = this.want(1, "a condition");
    this.equalsInCondition();
    const message = this.OPTION(() => {
      this.CONSUME(t.Comma);
      return this.wantString(1);
    });
    return this.ACTION(() => ({
      kind: word.image as RequireItem["kind"], span: this.spanFrom(start), ...this.docAt(start), condition, ...(message ? { message } : {}),
    }));
  });

  private wantString(index: 1 | 2): StringLiteral | undefined {
    if (!this.RECORDING_PHASE && !this.next(t.StringToken)) {
      this.unexpected("MOE1001", `expected a string, but found ${this.found()}`, { at: this.spanOfNext(), label: "expected a string in quotes" });
      this.quiet();
      return undefined;
    }
    return index === 1 ? this.SUBRULE1(this.string) : this.SUBRULE2(this.string);
  }

  /** Whether `stored`, `bias`, `from` or `when` is the clause and not a binding of that name on a line of its own. */
  private clause(): boolean {
    return this.LA(2).tokenType !== t.Equals;
  }

  private readonly weight: ParserMethod<[], WeightItem> = this.RULE("weight", (): WeightItem => {
    const start = this.here;
    const word = this.OR([{ ALT: () => this.CONSUME(t.Weight) }, { ALT: () => this.CONSUME(t.Frozen) }, { ALT: () => this.CONSUME(t.State) }]);
    const name = this.CONSUME(t.Identifier);
    const axes = this.wantAxes(1);
    this.equalsLeftOut();
    const initial = this.OPTION1(() => {
      this.CONSUME(t.Equals);
      return this.want(1, "an initial value");
    });
    const from = this.OPTION2({ GATE: () => this.clause(), DEF: () => this.SUBRULE(this.from) });
    const when = this.OPTION3({ GATE: () => this.clause(), DEF: () => this.SUBRULE(this.when) });
    return this.ACTION(() => ({
      kind: "weight", role: word.image as WeightItem["role"], span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), axes,
      ...(initial ? { initial } : {}), ...(from ? { from } : {}), ...(when ? { when } : {}),
    }));
  });

  /** `weight A [in] zeros()`: reports that the `=` is missing and reads over the value. */
  private equalsLeftOut(): void {
    this.ACTION(() => {
      if (!this.next(t.Identifier) || !this.next(t.LParen, 2) || this.next(t.When) || !this.sameLine()) return;
      const insert = { file: this.fileName, start: this.last, end: this.last };
      this.unexpected("MOE1001", `expected \`=\` and an initial value, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected `=`",
        fixes: [{ title: "add `=`", edits: [{ span: insert, text: " =" }], safe: true }],
      });
      this.SUBRULE9(this.expression);
    });
  }

  private readonly update: ParserMethod<[], UpdateItem> = this.RULE("update", (): UpdateItem => {
    const start = this.here;
    this.CONSUME(t.Update);
    const name = this.CONSUME(t.Identifier);
    const body = this.wantBody();
    return this.ACTION(() => ({ kind: "update", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), body }));
  });

  private readonly linear: ParserMethod<[], LinearItem> = this.RULE("linear", (): LinearItem => {
    const start = this.here;
    this.CONSUME(t.Linear);
    const name = this.CONSUME(t.Identifier);
    const axes = this.wantAxes(1);
    const stored = this.OPTION1({
      GATE: () => this.clause(),
      DEF: () => {
        this.CONSUME(t.Stored);
        return this.wantAxes(2);
      },
    });
    const bias = this.OPTION2({
      GATE: () => this.clause(),
      DEF: () => {
        this.CONSUME(t.Bias);
        return this.want(1, "a condition");
      },
    });
    const from = this.OPTION3({ GATE: () => this.clause(), DEF: () => this.SUBRULE(this.from) });
    const when = this.OPTION4({ GATE: () => this.clause(), DEF: () => this.SUBRULE(this.when) });
    return this.ACTION(() => ({
      kind: "linear", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), axes,
      ...(stored ? { stored } : {}), ...(bias ? { bias } : {}), ...(from ? { from } : {}), ...(when ? { when } : {}),
    }));
  });

  /** `from "transformer.h" or "h"`: the names that checkpoints have for a part, the usual one first. */
  private readonly from: ParserMethod<[], StringLiteral[] | undefined> = this.RULE("from", (): StringLiteral[] | undefined => {
    this.CONSUME(t.From);
    const names = this.strings(t.Or);
    return this.ACTION(() => (names.length > 0 ? names : undefined));
  });

  private readonly unused: ParserMethod<[], UnusedItem> = this.RULE("unused", (): UnusedItem => {
    const start = this.here;
    this.CONSUME(t.Unused);
    const names = this.strings(t.Comma);
    const when = this.OPTION({ GATE: () => this.clause(), DEF: () => this.SUBRULE(this.when) });
    return this.ACTION(() => ({ kind: "unused", span: this.spanFrom(start), ...this.docAt(start), names, ...(when ? { when } : {}) }));
  });

  /** Strings with a token between them. */
  private strings(between: TokenType): StringLiteral[] {
    const first = this.wantString(1);
    const names = first ? [first] : [];
    this.MANY(() => {
      this.CONSUME(between);
      const other = this.wantString(2);
      this.ACTION(() => {
        if (other) names.push(other);
      });
    });
    return names;
  }

  private readonly when: ParserMethod<[], Expression> = this.RULE("when", (): Expression => {
    this.CONSUME(t.When);
    const condition = this.want(1, "a condition");
    this.equalsInCondition();
    return condition;
  });

  private readonly axis: ParserMethod<[], AxisItem> = this.RULE("axis", (): AxisItem => {
    const start = this.here;
    this.CONSUME(t.Axis);
    const name = this.CONSUME(t.Identifier);
    this.CONSUME(t.Equals);
    const size = this.want(1, "a size");
    return this.ACTION(() => ({ kind: "axis", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), size }));
  });

  private readonly block: ParserMethod<[], BlockItem> = this.RULE("block", (): BlockItem => {
    const start = this.here;
    this.CONSUME(t.Block);
    const name = this.CONSUME(t.Identifier);
    const count = this.OPTION1(() => {
      this.CONSUME(t.LSquare);
      const value = this.want(1, "a count");
      this.CONSUME(t.RSquare);
      return value;
    });
    const signatureStart = this.here;
    const parameters = this.wantParameters(1);
    const result = this.OPTION2(() => {
      this.CONSUME(t.Arrow);
      return this.wantAxes(1);
    });
    const from = this.OPTION3(() => this.SUBRULE(this.from));
    const { items, body } = this.wantContents();
    return this.ACTION(() => ({
      kind: "block", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name),
      ...(count ? { count } : {}), ...(from ? { from } : {}), items,
      signature: { span: this.spanFrom(signatureStart), parameters, ...(result ? { result } : {}), body },
    }));
  });

  protected readonly item: ParserMethod<[], BodyItem> = this.RULE("item", (): BodyItem =>
    this.OR<BodyItem>([
      { ALT: () => this.SUBRULE(this.require) },
      { ALT: () => this.SUBRULE(this.weight) },
      { ALT: () => this.SUBRULE(this.update) },
      { ALT: () => this.SUBRULE(this.linear) },
      { ALT: () => this.SUBRULE(this.unused) },
      { ALT: () => this.SUBRULE(this.axis) },
      { ALT: () => this.SUBRULE(this.block) },
    ]),
  );

  // ——— bodies ———

  private readonly binding: ParserMethod<[], Binding> = this.RULE("binding", (): Binding => {
    const start = this.here;
    const name = this.CONSUME(t.Identifier);
    this.CONSUME(t.Equals);
    const value = this.want(1, `the value of \`${this.RECORDING_PHASE ? "" : name.image}\``);
    return this.ACTION(() => ({ kind: "let", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), value }));
  });

  /** Whether the next word is an item's keyword, and not a name that happens to be spelled so. */
  private startsItem(): boolean {
    if (this.next(t.Require) || this.next(t.Expect)) return this.LA(2).tokenType !== t.Equals && (this.startsExpression(2) ? !this.next(t.LParen, 2) || this.sameLine() : false);
    if (this.next(t.Unused)) return this.next(t.StringToken, 2);
    return itemWords.some((word) => this.next(word)) && this.next(t.Identifier, 2);
  }

  private readonly contents: ParserMethod<[], Contents> = this.RULE("contents", (): Contents => {
    const start = this.here;
    const items: BodyItem[] = [];
    const statements: (Binding | AxisItem | RequireItem)[] = [];
    let result: Expression | undefined;
    this.CONSUME(t.LCurly);
    this.MANY(() => {
      this.OR([
        {
          GATE: () => this.startsItem(),
          ALT: () => {
            const item = this.SUBRULE(this.item);
            this.ACTION(() => {
              if (item.kind === "axis" || item.kind === "require" || item.kind === "expect") statements.push(item);
              else items.push(item);
            });
          },
          IGNORE_AMBIGUITIES: true,
        },
        {
          GATE: () => this.next(t.Equals, 2),
          ALT: () => {
            const binding = this.SUBRULE(this.binding);
            this.ACTION(() => statements.push(binding));
          },
          IGNORE_AMBIGUITIES: true,
        },
        {
          ALT: () => {
            const value = this.SUBRULE(this.expression);
            this.ACTION(() => {
              if (result) this.notLast(result);
              result = value;
            });
          },
        },
      ]);
    });
    this.CONSUME(t.RCurly);
    return this.ACTION((): Contents => {
      const span = this.spanFrom(start);
      const last = statements[statements.length - 1];
      if (result && last && last.span.start > result.span.start && result.kind !== "missing") this.notLast(result);
      return { items, body: { span, statements, result: result ?? this.noResult(span.end, last) } };
    });
  });

  private notLast(result: Expression): void {
    if (result.kind === "missing") return;
    this.mistake("MOE1014", "this value is not used", {
      at: result.span,
      label: "only the last line of a body is its result",
      help: "give it a name, `name = …`, or remove it",
    });
  }

  private noResult(end: number, last: Binding | AxisItem | RequireItem | undefined): Expression {
    const at = { file: this.fileName, start: end, end };
    const brace = { file: this.fileName, start: Math.max(0, end - 1), end };
    if (!this.inTrouble || last) {
      this.mistake("MOE1014", "this body has no result", {
        at: brace,
        label: "expected the result before this",
        help: last?.kind === "let" && last.name.text ? `the last line of a body is its result, without a name; add a line \`${last.name.text}\`` : "the last line of a body is its result",
      });
    }
    return { kind: "missing", span: { ...at, start: brace.start, end: brace.start } };
  }

  private wantContents(): Contents {
    if (!this.RECORDING_PHASE && !this.next(t.LCurly)) {
      this.unexpected("MOE1001", `expected \`{\`, but found ${this.found()}`, { at: this.spanOfNext(), label: "expected `{`" });
      this.quiet();
      const missing = this.missing();
      return { items: [], body: { span: missing.span, statements: [], result: missing } };
    }
    return this.SUBRULE(this.contents);
  }

  /** `= expression` or `{ … }`. */
  private readonly body: ParserMethod<[], Body> = this.RULE("body", (): Body =>
    this.OR<Body>([
      {
        ALT: () => {
          this.CONSUME(t.Equals);
          const result = this.want(1, "the result");
          return this.ACTION(() => ({ span: result.span, statements: [], result }));
        },
      },
      {
        ALT: () => {
          const { items, body } = this.SUBRULE(this.contents);
          this.ACTION(() => {
            for (const item of items) {
              this.mistake("MOE1019", `${itemNoun(item)} stands in a body`, {
                at: item.span,
                label: "not here",
                help: "weights, updates, linears and blocks stand above the signature, not within its body",
              });
            }
          });
          return body;
        },
      },
    ]),
  );

  protected wantBody(): Body {
    if (!this.RECORDING_PHASE && !this.next(t.Equals) && !this.next(t.LCurly)) {
      this.unexpected("MOE1001", `expected \`=\` and the result, or a body in \`{ }\`, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected `=` or `{`",
      });
      this.quiet();
      const missing = this.missing();
      return { span: missing.span, statements: [], result: missing };
    }
    return this.SUBRULE(this.body);
  }

  protected readonly signature: ParserMethod<[], Signature> = this.RULE("signature", (): Signature => {
    const start = this.here;
    const parameters = this.SUBRULE(this.parameters);
    const result = this.OPTION(() => {
      this.CONSUME(t.Arrow);
      return this.wantAxes(1);
    });
    const body = this.wantBody();
    return this.ACTION(() => ({ span: this.spanFrom(start), ...this.docAt(start), parameters, ...(result ? { result } : {}), body }));
  });
}
