import { EOF, type IToken, type ParserMethod } from "chevrotain";
import type {
  AdapterDeclaration, AlwaysClause, AtClause, BalanceClause, BaseDeclaration, Call, ConstDeclaration, Declaration, ExpertsClause,
  Expression, FieldClause, Import, KindArrow, MixClause, Name, ParamDeclaration, Patch, PatchEntry, Path, PathSegment, RouteClause, Setting,
  SiteClause, TrainDeclaration, UnfreezeClause, VariantDeclaration,
} from "./ast.ts";
import { nearest } from "../diagnostics/index.ts";
import { DefinitionParser } from "./definitions.ts";
import type { Docs } from "./docs.ts";
import type { Lines } from "./lines.ts";
import * as t from "./tokens.ts";

/** What a file holds, before it has a span. */
export interface FileContents {
  readonly imports: readonly Import[];
  readonly declarations: readonly Declaration[];
}

/** The grammar. One instance serves every file; `grammar/moe.ebnf` is generated from it. */
export class MoeParser extends DefinitionParser {
  /** `validate` has Chevrotain check the grammar for ambiguities: a test does, users need not wait for it. */
  constructor(validate = false) {
    super(validate);
    this.performSelfAnalysis();
  }

  /** Parses a file whose brackets balance. Never raises. */
  parseFile(file: string, text: string, tokens: IToken[], docs: Docs, lines: Lines): FileContents {
    this.begin(file, text, tokens, docs, lines);
    return this.file();
  }

  private readonly file: ParserMethod<[], FileContents> = this.RULE("file", (): FileContents => {
    const imports: Import[] = [];
    const declarations: Declaration[] = [];
    this.MANY(() => {
      this.OR([
        {
          ALT: () => {
            const made = this.SUBRULE(this.importDeclaration);
            this.ACTION(() => made && imports.push(made));
          },
        },
        {
          ALT: () => {
            const made = this.SUBRULE(this.declaration);
            this.ACTION(() => declarations.push(made));
          },
        },
      ]);
    });
    return { imports, declarations };
  });

  private readonly declaration: ParserMethod<[], Declaration> = this.RULE("declaration", (): Declaration =>
    this.OR<Declaration>([
      { ALT: () => this.SUBRULE(this.base) },
      { ALT: () => this.SUBRULE(this.adapter) },
      { ALT: () => this.SUBRULE(this.train) },
      { ALT: () => this.SUBRULE(this.param) },
      { ALT: () => this.SUBRULE(this.constant) },
      { ALT: () => this.SUBRULE(this.expert) },
      { ALT: () => this.SUBRULE(this.router) },
      { ALT: () => this.SUBRULE(this.balance) },
      { ALT: () => this.SUBRULE(this.fn) },
      { ALT: () => this.SUBRULE(this.model) },
    ]),
  );

  private readonly importDeclaration: ParserMethod<[], Import> = this.RULE("importDeclaration", (): Import => {
    const start = this.here;
    this.CONSUME(t.Import);
    const path = this.CONSUME(t.StringToken);
    return this.ACTION(() => ({ kind: "import", span: this.spanFrom(start), path: this.stringOf(path) }));
  });

  private readonly base: ParserMethod<[], BaseDeclaration> = this.RULE("base", (): BaseDeclaration => {
    const start = this.here;
    this.CONSUME(t.Base);
    const name = this.CONSUME(t.Identifier);
    this.CONSUME(t.Equals);
    const call = this.SUBRULE(this.application);
    return this.ACTION(() => ({
      kind: "base", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), model: call.callee, args: call.args,
    }));
  });

  private readonly adapter: ParserMethod<[], AdapterDeclaration | VariantDeclaration> = this.RULE("adapter", (): AdapterDeclaration | VariantDeclaration => {
    const start = this.here;
    const sites: AtClause[] = [];
    this.CONSUME(t.Adapter);
    const name = this.CONSUME1(t.Identifier);
    const { base, of } = this.adapted();
    this.CONSUME(t.LCurly);
    const kinds: Name[] = [];
    this.OPTION(() => {
      this.CONSUME(t.Kinds);
      // A clause that follows at once is no kind called "at".
      if (this.next(t.At) && !this.RECORDING_PHASE) return this.missingKind();
      const first = this.SUBRULE1(this.kindName);
      this.ACTION(() => kinds.push(first));
      this.MANY1(() => {
        this.CONSUME1(t.Comma);
        const kind = this.SUBRULE2(this.kindName);
        this.ACTION(() => kinds.push(kind));
      });
    });
    const fields: FieldClause[] = [];
    this.MANY2(() => {
      const field = this.SUBRULE(this.column);
      this.ACTION(() => fields.push(field));
    });
    this.MANY(() => {
      const site = this.SUBRULE(this.at);
      this.ACTION(() => sites.push(site));
    });
    this.CONSUME(t.RCurly);
    return this.ACTION((): AdapterDeclaration | VariantDeclaration => {
      const common = { span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name) };
      const data = { ...(kinds.length ? { kinds } : {}), ...(fields.length ? { fields } : {}) };
      return of ? { kind: "variant", ...common, of: this.nameOf(of), ...data, sites } : { kind: "adapter", ...common, base: this.nameOf(base!), ...data, sites };
    });
  });

  private readonly column: ParserMethod<[], FieldClause> = this.RULE("column", (): FieldClause => {
    const start = this.here;
    this.CONSUME(t.Field);
    const name = this.CONSUME(t.Identifier);
    const count = this.OPTION(() => {
      this.CONSUME(t.LSquare);
      const value = this.want(1, "how many values the column has");
      this.CONSUME(t.RSquare);
      return value;
    });
    return this.ACTION(() => ({ kind: "column", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), ...(count ? { count } : {}) }));
  });

  private missingKind(): void {
    this.unexpected("MOE1001", `expected the name of a kind of data, but found ${this.found()}`, {
      at: this.spanOfNext(),
      label: "expected a kind",
      help: "list them with commas, kinds translation, summary, or leave `kinds` out",
    });
  }

  /** `on BASE`, or `= ADAPTER with`. What is neither is read as the first, with a report. */
  private adapted(): { readonly base?: IToken; readonly of?: IToken } {
    const on = (): { base: IToken } => {
      this.CONSUME(t.On);
      return { base: this.CONSUME2(t.Identifier) };
    };
    const varied = (): { of: IToken } => {
      this.CONSUME(t.Equals);
      const of = this.CONSUME3(t.Identifier);
      this.CONSUME(t.With);
      return { of };
    };
    if (this.RECORDING_PHASE) return this.OR<{ base?: IToken; of?: IToken }>([{ ALT: on }, { ALT: varied }]);
    if (this.next(t.Equals)) return varied();
    if (!this.next(t.On)) {
      this.unexpected("MOE1001", `expected \`on\` and a base, or \`=\` and an adapter, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected `on` or `=`",
        help: "an adapter stands on a base, `adapter A on llama { … }`, or varies another, `adapter B = A with { … }`",
      });
      this.quiet();
    }
    return on();
  }

  private readonly at: ParserMethod<[], AtClause> = this.RULE("at", (): AtClause => {
    const start = this.here;
    const clauses: SiteClause[] = [];
    this.CONSUME(t.At);
    const path = this.SUBRULE(this.path);
    this.CONSUME(t.LCurly);
    this.MANY(() => {
      const clause = this.OR<SiteClause>([
        { ALT: () => this.SUBRULE(this.experts) },
        { ALT: () => this.SUBRULE(this.always) },
        { ALT: () => this.SUBRULE(this.route) },
        { ALT: () => this.SUBRULE(this.balanceClause) },
        { ALT: () => this.SUBRULE(this.mix) },
        { ALT: () => this.SUBRULE(this.unfreeze) },
      ]);
      this.ACTION(() => clauses.push(clause));
    });
    this.CONSUME(t.RCurly);
    return this.ACTION(() => ({ kind: "at", span: this.spanFrom(start), ...this.docAt(start), path, clauses }));
  });

  // ——— paths ———

  private readonly path: ParserMethod<[], Path> = this.RULE("path", (): Path => {
    const start = this.here;
    const segments: PathSegment[] = [];
    const segment = (): void => {
      const made = this.SUBRULE1(this.segment);
      this.ACTION(() => segments.push(...made));
    };
    segment();
    this.MANY(() => {
      this.CONSUME(t.Dot);
      const made = this.SUBRULE2(this.segment);
      this.ACTION(() => segments.push(...made));
    });
    this.blankInPath(segments);
    return this.ACTION(() => ({ span: this.spanFrom(start), segments }));
  });

  /** `mlp up_proj` or `up_ proj`: one mistake, told once. Which of the two was meant is not known, so the path leads nowhere. */
  private blankInPath(segments: PathSegment[]): void {
    const last = segments.at(-1);
    if (this.RECORDING_PHASE || !last || last.braces || !this.next(t.PathPiece) || !this.next(t.LCurly, 2) || !this.sameLine()) return;
    const piece = { span: this.spanOfNext(), text: this.LA(1).image };
    const oneName = last.globs[0]!.text.endsWith("_") || piece.text.startsWith("_");
    this.unexpected("MOE1001", `expected \`{\` after the path, but found ${this.found()}`, {
      at: this.spanOfNext(),
      label: "a path has no blanks",
      fixes: [{ title: oneName ? "remove the blank" : "write `.`", edits: [{ span: { ...piece.span, start: this.last, end: this.here }, text: oneName ? "" : "." }], safe: false }],
    });
    this.SKIP_TOKEN();
    segments.length = 0;
  }

  private readonly segment: ParserMethod<[], PathSegment[]> = this.RULE("segment", (): PathSegment[] => {
    const start = this.here;
    if (!this.RECORDING_PHASE && !this.next(t.PathPiece) && !(this.next(t.LCurly) && this.LA(0).tokenType === t.Dot && this.adjacent())) {
      this.unexpected("MOE1001", `expected a segment of a path, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected a name, a number or `*`",
        help: "a path names weights of the model: `layers.*.mlp.{gate_proj, up_proj}`, or `**` for all",
      });
      this.quiet();
      return [];
    }
    return this.OR<PathSegment[]>([
      {
        ALT: () => {
          const globs: Name[] = [];
          this.CONSUME(t.LCurly);
          this.MANY(() => {
            const glob = this.SUBRULE1(this.glob);
            this.ACTION(() => globs.push(glob));
            this.OPTION(() => this.CONSUME(t.Comma));
            this.commaBefore("a name", this.next(t.PathPiece));
          });
          this.CONSUME(t.RCurly);
          return this.ACTION(() => [{ span: this.spanFrom(start), braces: true, globs }]);
        },
      },
      {
        ALT: () => {
          const glob = this.SUBRULE2(this.glob);
          // `layers.0.1` is lexed as a name, a point and the number 0.1.
          return this.ACTION(() => splitAtDots(glob).map((part) => ({ span: part.span, braces: false, globs: [part] })));
        },
      },
    ]);
  });

  private readonly glob: ParserMethod<[], Name> = this.RULE("glob", (): Name => {
    const start = this.here;
    this.CONSUME1(t.PathPiece);
    this.MANY({ GATE: () => this.adjacent(), DEF: () => this.CONSUME2(t.PathPiece) });
    return this.ACTION(() => {
      const span = this.spanFrom(start);
      return { span, text: this.text.slice(span.start, span.end) };
    });
  });

  // ——— clauses ———

  private readonly experts: ParserMethod<[], ExpertsClause> = this.RULE("experts", (): ExpertsClause => {
    const start = this.here;
    this.CONSUME(t.Experts);
    const name = this.CONSUME(t.Identifier);
    const count = this.expertCount(name);
    this.CONSUME(t.Equals);
    const value = this.applied();
    return this.ACTION(() => ({ kind: "experts", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), count, value }));
  });

  private expertCount(name: IToken): Expression {
    if (!this.RECORDING_PHASE && !this.next(t.LSquare)) {
      this.unexpected("MOE1001", `expected the number of experts in \`[ ]\`, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected `[`",
        help: `write how many there are: \`experts ${name.image || "name"}[4] = …\``,
      });
      this.quiet();
      return this.missing();
    }
    this.CONSUME(t.LSquare);
    const count = this.want(1, "the number of experts");
    this.CONSUME(t.RSquare);
    return count;
  }

  /** What an `experts` or an `always` clause applies. */
  private applied(): Call | Patch {
    if (this.RECORDING_PHASE) return this.OR1<Call | Patch>([{ ALT: () => this.SUBRULE(this.patch) }, { ALT: () => this.SUBRULE(this.application) }]);
    return this.next(t.Patch) && this.next(t.LCurly, 2) ? this.SUBRULE(this.patch) : this.SUBRULE(this.application);
  }

  private readonly patch: ParserMethod<[], Patch> = this.RULE("patch", (): Patch => {
    const start = this.here;
    const entries: PatchEntry[] = [];
    this.CONSUME(t.Patch);
    this.CONSUME(t.LCurly);
    this.MANY(() => {
      const entry = this.SUBRULE(this.patchEntry);
      this.ACTION(() => entries.push(entry));
    });
    this.CONSUME(t.RCurly);
    return this.ACTION(() => {
      const span = this.spanFrom(start);
      if (entries.length === 0 && !this.inTrouble) {
        this.mistake("MOE1001", "expected what the patch changes, but found `}`", {
          at: { ...span, start: span.end - 1 },
          label: "expected a linear's name",
          help: "name linears of the block: `patch { gate_proj, up_proj: lora(rank: 16) }`",
        });
      }
      return { kind: "patch", span, entries };
    });
  });

  private readonly patchEntry: ParserMethod<[], PatchEntry> = this.RULE("patchEntry", (): PatchEntry => {
    const start = this.here;
    const linears: Name[] = [];
    const first = this.CONSUME1(t.Identifier);
    this.ACTION(() => linears.push(this.nameOf(first)));
    this.MANY(() => {
      this.CONSUME1(t.Comma);
      const name = this.CONSUME2(t.Identifier);
      this.ACTION(() => linears.push(this.nameOf(name)));
    });
    this.CONSUME(t.Colon);
    const value = this.SUBRULE(this.application);
    const span = this.ACTION(() => this.spanFrom(start));
    this.OPTION(() => this.CONSUME2(t.Comma));
    return this.ACTION(() => ({ span, linears, value }));
  });

  private readonly mix: ParserMethod<[], MixClause> = this.RULE("mix", (): MixClause => {
    const start = this.here;
    this.CONSUME(t.Mix);
    const what = this.mixed();
    return this.ACTION(() => ({ kind: "mix", span: this.spanFrom(start), ...this.docAt(start), what }));
  });

  private mixed(): MixClause["what"] {
    if (!this.RECORDING_PHASE && !this.next(t.Outputs) && !this.next(t.Weights)) {
      const meant = this.next(t.Identifier) ? nearest(this.LA(1).image, ["outputs", "weights"], 1)[0] : undefined;
      this.unexpected("MOE1001", `expected \`outputs\` or \`weights\`, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected `outputs` or `weights`",
        help: "`mix outputs` weighs what the experts compute, `mix weights` what they are",
        fixes: meant === undefined ? [] : [{ title: `write \`${meant}\``, edits: [{ span: this.spanOfNext(), text: meant }], safe: true }],
      });
      if (this.next(t.Identifier) && this.sameLine()) this.SKIP_TOKEN();
      this.quiet();
      return { kind: "outputs", span: this.missing().span };
    }
    const token = this.OR([{ ALT: () => this.CONSUME(t.Outputs) }, { ALT: () => this.CONSUME(t.Weights) }]);
    return this.ACTION(() => ({ kind: token.tokenType === t.Weights ? ("weights" as const) : ("outputs" as const), span: this.spanOf(token) }));
  }

  private readonly always: ParserMethod<[], AlwaysClause> = this.RULE("always", (): AlwaysClause => {
    const start = this.here;
    this.CONSUME(t.Always);
    const name = this.OPTION({
      GATE: () => this.next(t.Equals, 2),
      DEF: () => {
        const token = this.CONSUME(t.Identifier);
        this.CONSUME(t.Equals);
        return token;
      },
    });
    const value = this.applied();
    return this.ACTION(() => ({
      kind: "always", span: this.spanFrom(start), ...this.docAt(start), ...(name ? { name: this.nameOf(name) } : {}), value,
    }));
  });

  private readonly route: ParserMethod<[], RouteClause> = this.RULE("route", (): RouteClause => {
    const start = this.here;
    this.CONSUME(t.Route);
    const value = this.SUBRULE(this.application);
    const per = this.OPTION(() => {
      this.CONSUME(t.Per);
      return this.CONSUME(t.Identifier);
    });
    return this.ACTION(() => ({
      kind: "route", span: this.spanFrom(start), ...this.docAt(start), value, ...(per ? { per: this.nameOf(per) } : {}),
    }));
  });

  private readonly balanceClause: ParserMethod<[], BalanceClause> = this.RULE("balanceClause", (): BalanceClause => {
    const start = this.here;
    this.CONSUME(t.Balance);
    const term = this.balanceTerm();
    const reduction = this.OPTION1(() => {
      const from = this.here;
      const token = this.OR([{ ALT: () => this.CONSUME(t.Sum) }, { ALT: () => this.CONSUME(t.Mean) }, { ALT: () => this.CONSUME(t.Pooled) }]);
      this.CONSUME(t.Over);
      this.CONSUME(t.Sites);
      return this.ACTION(() => ({ kind: token.image as "sum" | "mean" | "pooled", span: this.spanFrom(from) }));
    });
    const unmasked = this.OPTION2(() => this.CONSUME(t.Unmasked));
    const map: KindArrow[] = [];
    this.OPTION3(() => {
      this.CONSUME(t.LCurly);
      this.MANY(() => {
        const arrow = this.SUBRULE(this.arrow);
        this.ACTION(() => map.push(arrow));
      });
      this.CONSUME(t.RCurly);
    });
    return this.ACTION(() => ({
      kind: "balance", span: this.spanFrom(start), ...this.docAt(start), ...this.splitTerm(term),
      ...(reduction ? { reduction } : {}), ...(unmasked ? { unmasked: this.spanOf(unmasked) } : {}), map,
    }));
  });

  private balanceTerm(): Expression {
    const left = this.want(1, "a weight and a balance, `0.1 * localized()`");
    if (this.RECORDING_PHASE || !this.next(t.Identifier) || !this.next(t.LParen, 2) || !this.sameLine()) return left;
    const insert = { file: this.fileName, start: this.last, end: this.last };
    this.unexpected("MOE1001", `expected \`*\` between the weight and the balance, but found ${this.found()}`, {
      at: this.spanOfNext(),
      label: "expected `*`",
      fixes: [{ title: "add `*`", edits: [{ span: insert, text: " *" }], safe: true }],
    });
    const right = this.want(2, "a balance");
    return { kind: "binary", span: { file: this.fileName, start: left.span.start, end: right.span.end }, operator: "*", left, right };
  }

  /** The last factor of a balance's term is the balance; what stands before it is the weight. */
  private splitTerm(term: Expression): { weight?: Expression; value: Call } {
    if (term.kind === "call") return { value: term };
    const last = term.kind === "binary" && term.operator === "*" ? term.right : term;
    const weight = term.kind === "binary" && term.operator === "*" ? { weight: term.left } : {};
    if (last.kind === "call") return { ...weight, value: last };
    const callee = last.kind === "name" ? { span: last.span, text: last.text } : { span: { ...last.span, start: last.span.end }, text: "" };
    if (last.kind === "name") {
      this.notApplied(last.text, last.span);
    } else if (last.kind !== "missing") {
      this.mistake("MOE1013", "a balance ends with what it applies, such as `localized()`", {
        at: term.span,
        label: "not a weight times a balance",
        help: "write the weight first: `balance 0.1 * localized(delta: 0.1)`",
      });
    }
    return { ...weight, value: { kind: "call", span: last.span, callee, args: [] } };
  }

  /** A kind of data: a name, or a string where it is none. */
  private readonly kindName: ParserMethod<[], Name> = this.RULE("kindName", (): Name => {
    const name = (): Name => {
      const token = this.CONSUME1(t.Identifier);
      return this.ACTION(() => this.nameOf(token));
    };
    const string = (): Name => {
      const token = this.CONSUME(t.StringToken);
      return this.ACTION(() => ({ span: this.spanOf(token), text: this.stringOf(token).value }));
    };
    if (this.RECORDING_PHASE) return this.OR<Name>([{ ALT: name }, { ALT: string }]);
    // What is neither is read as a name that lacks, with a report.
    return this.next(t.StringToken) ? string() : name();
  });

  private readonly arrow: ParserMethod<[], KindArrow> = this.RULE("arrow", (): KindArrow => {
    const start = this.here;
    const to: Name[] = [];
    const from = this.SUBRULE(this.kindName);
    this.CONSUME(t.Arrow);
    const first = this.CONSUME2(t.Identifier);
    this.ACTION(() => to.push(this.nameOf(first)));
    this.MANY({
      // A comma may also end an arrow: `a -> x, b -> y`.
      GATE: () => this.LA(3).tokenType !== t.Arrow,
      DEF: () => {
        this.CONSUME1(t.Comma);
        const group = this.CONSUME3(t.Identifier);
        this.ACTION(() => to.push(this.nameOf(group)));
      },
    });
    const span = this.ACTION(() => this.spanFrom(start));
    this.OPTION(() => this.CONSUME2(t.Comma));
    return this.ACTION(() => ({ span, from, to }));
  });

  private readonly unfreeze: ParserMethod<[], UnfreezeClause> = this.RULE("unfreeze", (): UnfreezeClause => {
    const start = this.here;
    this.CONSUME(t.Unfreeze);
    return this.ACTION(() => ({ kind: "unfreeze", span: this.spanFrom(start), ...this.docAt(start) }));
  });

  // ——— the other declarations ———

  private readonly train: ParserMethod<[], TrainDeclaration> = this.RULE("train", (): TrainDeclaration => {
    const start = this.here;
    const settings: Setting[] = [];
    this.CONSUME(t.Train);
    const adapter = this.CONSUME(t.Identifier);
    this.CONSUME(t.LCurly);
    this.MANY(() => {
      const setting = this.SUBRULE(this.setting);
      this.ACTION(() => settings.push(setting));
    });
    this.CONSUME(t.RCurly);
    return this.ACTION(() => ({ kind: "train", span: this.spanFrom(start), ...this.docAt(start), adapter: this.nameOf(adapter), settings }));
  });

  private readonly setting: ParserMethod<[], Setting> = this.RULE("setting", (): Setting => {
    const start = this.here;
    const name = this.CONSUME(t.Identifier);
    this.ACTION(() => {
      if (!this.next(t.Equals) && !this.next(t.Colon)) return;
      const span = this.spanOf(this.LA(1));
      this.mistake("MOE1012", `a setting is its name and its value, without \`${this.LA(1).image}\``, {
        at: span,
        label: "not needed",
        fixes: [{ title: `remove \`${this.LA(1).image}\``, edits: [{ span: { ...span, start: this.last }, text: "" }], safe: true }],
      });
      this.SKIP_TOKEN();
    });
    const value = this.settingValue(name);
    return this.ACTION(() => ({ span: this.spanFrom(start), name: this.nameOf(name), value }));
  });

  private settingValue(name: IToken): Expression {
    if (!this.RECORDING_PHASE && (!this.sameLine() || !this.startsExpression())) {
      this.unexpected("MOE1002", `expected the value of \`${name.image}\` after it on its line, but found ${this.sameLine() ? this.found() : "the end of the line"}`, {
        at: this.spanOf(name),
        label: "no value",
      });
      return this.missing();
    }
    return this.SUBRULE(this.expression);
  }

  private readonly param: ParserMethod<[], ParamDeclaration> = this.RULE("param", (): ParamDeclaration => {
    const start = this.here;
    this.CONSUME(t.Param);
    const name = this.CONSUME(t.Identifier);
    const type = this.typed();
    const value = this.defaultValue(name);
    const allowed = this.OPTION(() => {
      this.CONSUME(t.In);
      return this.want(2, "the list of allowed values");
    });
    return this.ACTION(() => ({
      kind: "param", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), type, default: value, ...(allowed ? { allowed } : {}),
    }));
  });

  private defaultValue(name: IToken): Expression {
    if (!this.RECORDING_PHASE && (this.next(t.In) || this.LA(1).tokenType === EOF)) {
      this.unexpected("MOE1001", `expected \`=\` and a default value, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "expected `=`",
        help: `a parameter has a default, so that the file works as it is: \`param ${name.image}: int = 4\``,
      });
      this.quiet();
      return this.missing();
    }
    this.CONSUME(t.Equals);
    return this.want(1, "a default value");
  }

  private readonly constant: ParserMethod<[], ConstDeclaration> = this.RULE("constant", (): ConstDeclaration => {
    const start = this.here;
    this.CONSUME(t.Const);
    const name = this.CONSUME(t.Identifier);
    this.CONSUME(t.Equals);
    const value = this.want(1, "a value");
    return this.ACTION(() => ({ kind: "const", span: this.spanFrom(start), ...this.docAt(start), name: this.nameOf(name), value }));
  });
}

function splitAtDots(glob: Name): Name[] {
  let start = glob.span.start;
  return glob.text.split(".").map((text) => {
    const span = { file: glob.span.file, start, end: start + text.length };
    start = span.end + 1;
    return { span, text };
  });
}
