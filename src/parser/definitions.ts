import type { IToken, ParserMethod, TokenType } from "chevrotain";
import type { BodyItem, ConfigField, FunctionDefinition, MapDefinition, ModelDefinition, Parameter, Signature, TensorParameter } from "./ast.ts";
import { BodyParser } from "./bodies.ts";
import * as t from "./tokens.ts";

/** The rules of what the library writes: experts, routers, balances, functions, models. */
export abstract class DefinitionParser extends BodyParser {
  /** Keeps the first signature; a second one is reported. */
  private oneSignature(first: Signature | undefined, next: Signature): Signature {
    if (!first) return next;
    this.mistake("MOE1015", "a second signature", {
      at: next.span,
      label: "not allowed here",
      secondary: [{ span: first.span, text: "the first one" }],
      help: "a definition maps one thing; make two definitions of it",
    });
    return first;
  }

  private mustHaveSignature(found: Signature | undefined, what: string, name: IToken, before: number, example: string): void {
    if (found || this.diagnostics.length > before || this.inTrouble || this.LA(0).isInsertedInRecovery === true) return;
    this.mistake("MOE1015", `${what} \`${name.image}\` has no signature`, {
      at: this.spanOf(name),
      label: "says nowhere what it computes",
      help: `the last item of ${what} is its signature, for example \`${example}\``,
    });
  }

  private readonly definition: ParserMethod<[], { items: BodyItem[]; signature?: Signature }> = this.RULE("definition", (): { items: BodyItem[]; signature?: Signature } => {
    const items: BodyItem[] = [];
    let signature: Signature | undefined;
    this.CONSUME(t.LCurly);
    this.MANY(() => {
      this.OR([
        {
          ALT: () => {
            const item = this.SUBRULE(this.item);
            this.ACTION(() => items.push(item));
          },
        },
        {
          ALT: () => {
            const found = this.SUBRULE(this.signature);
            this.ACTION(() => {
              signature = this.oneSignature(signature, found);
            });
          },
        },
      ]);
    });
    this.CONSUME(t.RCurly);
    return { items, ...(signature ? { signature } : {}) };
  });

  private map(kind: MapDefinition["kind"], keyword: TokenType, example: string): MapDefinition {
    const start = this.here;
    const before = this.diagnostics.length;
    this.CONSUME(keyword);
    const name = this.CONSUME(t.Identifier);
    const parameters = this.wantParameters(1);
    if (!this.RECORDING_PHASE && !this.next(t.LCurly)) {
      this.wantContentsReport();
      return this.mapNode(kind, start, name, parameters, []);
    }
    const { items, signature } = this.SUBRULE(this.definition);
    return this.ACTION(() => {
      this.mustHaveSignature(signature, kind === "expert" ? "an expert" : `a ${kind}`, name, before, example);
      return this.mapNode(kind, start, name, parameters, items, signature);
    });
  }

  private wantContentsReport(): void {
    this.unexpected("MOE1001", `expected \`{\`, but found ${this.found()}`, { at: this.spanOfNext(), label: "expected `{`" });
    this.quiet();
  }

  private mapNode(kind: MapDefinition["kind"], start: number, name: IToken, parameters: (Parameter | TensorParameter)[], items: BodyItem[], signature?: Signature): MapDefinition {
    return {
      kind, span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), parameters: this.settingsOnly(parameters), items,
      ...(signature ? { signature } : {}),
    };
  }

  protected readonly expert: ParserMethod<[], MapDefinition> = this.RULE("expert", (): MapDefinition => this.map("expert", t.Expert, "(x [in]) -> [out] = …"));
  protected readonly router: ParserMethod<[], MapDefinition> = this.RULE("router", (): MapDefinition => this.map("router", t.Router, "(x [in]) -> [expert] = …"));
  protected readonly balance: ParserMethod<[], MapDefinition> = this.RULE("balance", (): MapDefinition => this.map("balance", t.Balance, "(gates [sample, position, expert], mask [sample, position]) -> [] = …"));

  protected readonly fn: ParserMethod<[], FunctionDefinition> = this.RULE("fn", (): FunctionDefinition => {
    const start = this.here;
    this.CONSUME(t.Fn);
    const name = this.CONSUME(t.Identifier);
    const parameters = this.wantParameters(1);
    const result = this.OPTION(() => {
      this.CONSUME(t.Arrow);
      return this.wantAxes(1);
    });
    const body = this.wantBody();
    return this.ACTION(() => ({
      kind: "fn", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), parameters, ...(result ? { result } : {}), body,
    }));
  });

  private readonly configBlock: ParserMethod<[], ConfigField[]> = this.RULE("configBlock", (): ConfigField[] => {
    this.CONSUME(t.Config);
    return this.SUBRULE(this.recordType);
  });

  protected readonly model: ParserMethod<[], ModelDefinition> = this.RULE("model", (): ModelDefinition => {
    const start = this.here;
    const before = this.diagnostics.length;
    const fields: ConfigField[] = [];
    const items: BodyItem[] = [];
    let signature: Signature | undefined;
    this.CONSUME(t.Model);
    const name = this.CONSUME1(t.Identifier);
    this.CONSUME(t.LParen);
    const config = this.CONSUME2(t.Identifier);
    this.CONSUME(t.RParen);
    this.CONSUME(t.LCurly);
    this.MANY(() => {
      this.OR([
        {
          ALT: () => {
            const found = this.SUBRULE(this.configBlock);
            this.ACTION(() => {
              for (const field of found) fields.push(field);
            });
          },
        },
        {
          ALT: () => {
            const item = this.SUBRULE(this.item);
            this.ACTION(() => items.push(item));
          },
        },
        {
          ALT: () => {
            const found = this.SUBRULE(this.signature);
            this.ACTION(() => {
              signature = this.oneSignature(signature, found);
            });
          },
        },
      ]);
    });
    this.CONSUME(t.RCurly);
    return this.ACTION(() => {
      this.mustHaveSignature(signature, "a model", name, before, "(tokens [position], mask [position]) -> [position, vocab] { … }");
      return {
        kind: "model", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), config: this.nameOf(config), fields, items,
        ...(signature ? { signature } : {}),
      };
    });
  });
}
