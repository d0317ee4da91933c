import { createTokenInstance, EmbeddedActionsParser, EOF, tokenMatcher, type IToken, type TokenType } from "chevrotain";
import { diagnostic, nearest, type Code, type Details, type Diagnostic, type Span } from "../diagnostics/index.ts";
import { adopt } from "./analysis.ts";
import type { AxisList, Missing, Name } from "./ast.ts";
import { Docs } from "./docs.ts";
import { Lines } from "./lines.ts";
import { LazyLookahead } from "./lookahead.ts";
import { closers, endOf, Identifier, isReservedWord, openers, RCurly, tokenTypes } from "./tokens.ts";

/** More than this many syntax errors in one file help nobody. */
export const maxDiagnostics = 50;
/** More are not even collected. */
export const maxCollected = 1000;

/** What a rule is called in a message. */
const ruleNames: Readonly<Record<string, string>> = {
  importDeclaration: "an import",
  base: "a base",
  adapter: "an adapter",
  at: "an `at` block",
  path: "a path",
  experts: "an `experts` clause",
  always: "an `always` clause",
  route: "a `route` clause",
  balanceClause: "a `balance` clause",
  patch: "a `patch`",
  patchEntry: "a `patch`",
  mix: "a `mix` clause",
  arrow: "a balance's map",
  unfreeze: "`unfreeze`",
  train: "a `train` block",
  param: "a `param`",
  constant: "a `const`",
  expert: "an expert",
  router: "a router",
  balance: "a balance",
  model: "a model",
  fn: "a function",
  configBlock: "the `config` block",
  recordType: "a record type",
  field: "a configuration field",
  type: "a type",
  parameters: "a parameter list",
  parameter: "a parameter",
  axes: "an axis list",
  signature: "a signature",
  contents: "a body",
  body: "a body",
  require: "`require` or `expect`",
  weight: "a weight",
  update: "an `update`",
  linear: "a linear",
  axis: "an axis",
  block: "a block",
  binding: "a binding",
  operation: "an expression",
  conditional: "a conditional",
  args: "an argument list",
  list: "a list",
};

/** What a repetition that ends with `}` or the file is made of: words that begin an item, and other things. */
const loopContents: Readonly<Record<string, { words: readonly string[]; others?: readonly string[] }>> = {
  file: { words: ["base", "adapter", "train", "import", "param", "const", "expert", "router", "balance", "fn", "model"] },
  adapter: { words: ["at"] },
  at: { words: ["experts", "always", "route", "balance", "mix", "unfreeze"] },
  balanceClause: { words: [], others: ["`kind -> group`"] },
  patch: { words: [], others: ["`linear: expert(…)`"] },
  train: { words: [], others: ["a setting"] },
  definition: { words: ["require", "expect", "axis", "weight", "frozen", "state", "update"], others: ["a signature"] },
  model: { words: ["config", "axis", "weight", "linear", "unused", "block", "require", "expect"], others: ["a signature"] },
  contents: { words: ["require", "expect", "axis", "weight", "linear", "unused", "block"], others: ["`name = value`", "the result"] },
  recordType: { words: [], others: ["a field"] },
};

function either(things: readonly string[]): string {
  return things.length < 2 ? things.join("") : `${things.slice(0, -1).join(", ")} or ${things[things.length - 1]}`;
}

/** Methods of Chevrotain that its typings leave out. */
interface Engine {
  recoveryEnabled: boolean;
  readonly currIdx: number;
  consumeToken(): void;
  getCurrRuleFullName(): string;
}

/**
 * What makes the parser tolerant. Chevrotain's own recovery raises exceptions and skips to the nearest token of a follow
 * set; here nearly every such set holds `Identifier`, as no statement ends with a mark of its own, so that recovery would stop
 * anywhere. Instead, and because the brackets balance (`balanceBrackets`):
 *
 * - a closing bracket that is not there is searched for: what stands before it is skipped, nested brackets as a whole;
 * - any other token that is not there is taken out of the way or made up, whichever lets the next token fit;
 * - in `{ … }` what begins no item is skipped up to what does.
 *
 * So no rule raises, every rule returns its node, and the text around a mistake keeps its tree. The three methods below
 * that Chevrotain calls are not in its typings; the version is pinned and the tests would show a change.
 */
export abstract class TolerantParser extends EmbeddedActionsParser {
  protected fileName = "";
  protected text = "";
  protected docs = new Docs([], new Lines(""));
  protected lines = new Lines("");
  diagnostics: Diagnostic[] = [];
  /** The index of the token at which the last error was found; an error next to it is its consequence. */
  #lastError = -1000;
  /** Of each bracket that the parser is in: whether it stands in the text. */
  #opened: boolean[] = [];

  readonly #validated: boolean;

  protected constructor(validate: boolean) {
    super(tokenTypes, {
      recoveryEnabled: true,
      nodeLocationTracking: "none",
      maxLookahead: 2,
      skipValidations: !validate,
      lookaheadStrategy: new LazyLookahead({ maxLookahead: 2 }),
    });
    this.#validated = validate;
  }

  /** What is known from the build is not found out again; nor what follows each rule, for a recovery that never happens here. */
  override performSelfAnalysis(): void {
    if (adopt && !this.#validated) return adopt(this);
    this.engine.recoveryEnabled = false;
    super.performSelfAnalysis();
    this.engine.recoveryEnabled = true;
  }

  /** Takes up a file. `tokens` are balanced; `diagnostics` of the lexer come first. */
  protected begin(file: string, text: string, tokens: IToken[], docs: Docs, lines: Lines): void {
    this.fileName = file;
    this.text = text;
    this.docs = docs;
    this.lines = lines;
    this.diagnostics = [];
    this.#lastError = -1000;
    this.#opened = [];
    this.input = tokens;
  }

  private get engine(): Engine {
    return this as unknown as Engine;
  }

  /** The index of the last token read. */
  private get position(): number {
    return this.engine.currIdx;
  }

  // ——— places ———

  /** Where the next token begins. */
  protected get here(): number {
    const token = this.LA(1);
    return token.tokenType === EOF ? this.text.length : token.startOffset;
  }

  /** Where the last token ended. */
  protected get last(): number {
    const token = this.LA(0) as IToken | undefined;
    return token === undefined || token.tokenType === EOF ? 0 : endOf(token);
  }

  /** From `start` to the end of what was read last. */
  protected spanFrom(start: number): Span {
    return { file: this.fileName, start, end: Math.max(start, this.last) };
  }

  protected spanOf(token: IToken): Span {
    if (token.tokenType === EOF || token.isInsertedInRecovery === true) {
      const at = token.tokenType === EOF || Number.isNaN(token.startOffset) ? this.last : token.startOffset;
      return { file: this.fileName, start: at, end: at };
    }
    return { file: this.fileName, start: token.startOffset, end: endOf(token) };
  }

  protected nameOf(token: IToken): Name {
    return { span: this.spanOf(token), text: token.image };
  }

  protected docAt(start: number): { doc?: string } {
    const doc = this.docs.before(start);
    return doc === undefined ? {} : { doc };
  }

  protected missing(): Missing {
    return { kind: "missing", span: { file: this.fileName, start: this.last, end: this.last } };
  }

  protected noAxes(): AxisList {
    return { span: this.missing().span, axes: [] };
  }

  // ——— looking ahead ———

  protected next(type: TokenType, ahead = 1): boolean {
    return tokenMatcher(this.LA(ahead), type);
  }

  /** Whether nothing but blanks on one line stand between the last token and the next. */
  protected sameLine(): boolean {
    if (this.RECORDING_PHASE) return true;
    const end = this.here;
    for (let i = this.last; i < end; i++) {
      const c = this.text.charCodeAt(i);
      if (c === 10 || c === 13) return false;
    }
    return true;
  }

  /** Whether the next token touches the last. */
  protected adjacent(): boolean {
    return this.RECORDING_PHASE || this.here === this.last;
  }

  /** Whether the next token ends what stands in brackets, or the file. */
  protected atEnd(): boolean {
    const type = this.LA(1).tokenType;
    return type === EOF || closers.has(type);
  }

  // ——— reporting ———

  /** Reports a mistake at a place that was understood: it is nobody's consequence. */
  protected mistake(code: Code, message: string, details: Details): void {
    if (this.RECORDING_PHASE || this.diagnostics.length >= maxCollected) return;
    this.diagnostics.push(diagnostic(code, message, details));
  }

  /** Reports that the next token does not fit, unless that follows from an error just before. */
  protected unexpected(code: Code, message: string, details: Details): void {
    if (this.RECORDING_PHASE) return;
    const follows = this.position - this.#lastError < 2 || this.LA(1).isInsertedInRecovery === true;
    this.#lastError = this.position;
    if (!follows && this.diagnostics.length < maxCollected) this.diagnostics.push(diagnostic(code, message, details));
  }

  /** Errors at the next token are consequences of one that was reported. */
  protected quiet(): void {
    this.#lastError = this.position;
  }

  protected get inTrouble(): boolean {
    return this.position - this.#lastError < 2;
  }

  /** The next token, in words. */
  protected found(token = this.LA(1)): string {
    if (token.tokenType === EOF) return "the end of the file";
    const image = token.image.length > 30 ? `${token.image.slice(0, 27)}…` : token.image;
    return image.startsWith('"') ? `the string ${image}` : `\`${image}\``;
  }

  /** Where to point for the next token: at the end of the file, and at made-up brackets, at what came last. */
  protected spanOfNext(): Span {
    const token = this.LA(1);
    if (token.tokenType !== EOF && token.isInsertedInRecovery !== true) return this.spanOf(token);
    return { file: this.fileName, start: this.last, end: this.last };
  }

  private describe(type: TokenType): string {
    if (type === Identifier) return "a name";
    if (type === EOF) return "a declaration or the end of the file";
    return type.LABEL ?? type.name;
  }

  // ——— called by Chevrotain ———

  /** Consumes a token of the type, or recovers. Never raises. */
  consumeInternal(type: TokenType): IToken {
    const opener = openers.has(type);
    const closer = closers.has(type);
    // Rules never raise, so that they open and close in pairs; what was opened in vain has no closing bracket.
    if (closer && this.#opened.pop() === false) return this.madeUp(type);
    let token = this.LA(1);
    if (tokenMatcher(token, type)) this.engine.consumeToken();
    else token = closer ? this.skipToCloser(type) : this.mend(type);
    if (opener) this.#opened.push(token.isInsertedInRecovery !== true);
    return token;
  }

  private ruleName(): string {
    return this.engine.getCurrRuleFullName();
  }

  private skipToCloser(type: TokenType): IToken {
    let depth = 0;
    const rule = this.ruleName();
    const first = this.LA(1);
    const where = ruleNames[rule];
    const closer = this.matchingCloser();
    if (closer?.isInsertedInRecovery === true) this.quiet();
    else if (first.tokenType !== EOF) {
      this.unexpected("MOE1001", `expected ${this.describe(type)}${where ? ` at the end of ${where}` : ""}, but found ${this.found()}`, {
        at: this.spanOfNext(),
        label: "unexpected",
        });
    }
    for (;;) {
      const token = this.LA(1);
      if (token.tokenType === EOF) return this.madeUp(type);
      if (depth === 0 && closers.has(token.tokenType)) {
        if (token.tokenType !== type) return this.madeUp(type);
        this.engine.consumeToken();
        this.quiet();
        return token;
      }
      depth += nesting(token);
      this.engine.consumeToken();
    }
  }

  /** Skips what is left between the brackets that the parser is in, without a report. */
  protected skipToEnd(): void {
    for (let depth = 0; !(depth === 0 && this.atEnd()) && this.LA(1).tokenType !== EOF; this.engine.consumeToken()) depth += nesting(this.LA(1));
    this.quiet();
  }

  /** The bracket that closes what the parser is in. */
  private matchingCloser(): IToken | undefined {
    let depth = 0;
    for (let ahead = 1; ; ahead++) {
      const token = this.LA(ahead);
      if (token.tokenType === EOF) return undefined;
      if (depth === 0 && closers.has(token.tokenType)) return token;
      depth += nesting(token);
    }
  }

  /** One token is missing or wrong: takes the wrong one away if what follows it fits, else makes up the missing one. */
  private mend(type: TokenType): IToken {
    const token = this.LA(1);
    const where = ruleNames[this.ruleName()];
    const wanted = this.describe(type);
    const at = this.spanOfNext();
    const insert = { file: this.fileName, start: this.last, end: this.last };
    const text = typeof type.PATTERN === "string" ? type.PATTERN : undefined;
    const near = !this.atEnd() && nesting(token) === 0 && this.sameLine();
    const stands = near && type === Identifier && isReservedWord(token.tokenType);
    const wrong = near && tokenMatcher(this.LA(2), type);
    if (type === Identifier && !this.atEnd()) {
      const reserved = isReservedWord(token.tokenType);
      this.unexpected("MOE1010", `expected a name${where ? ` in ${where}` : ""}, but found ${this.found()}`, {
        at,
        label: reserved ? "a word of the language" : "not a name",
        help: reserved
          ? `\`${token.image}\` is reserved and cannot be a name; choose another`
          : /^[0-9"]/.test(token.image)
            ? "a name is made of the letters a to z, digits and `_`, and does not begin with a digit"
            : undefined,
      });
    } else {
      this.unexpected("MOE1001", `expected ${wanted}${where ? ` in ${where}` : ""}, but found ${this.found()}`, {
        at,
        label: `expected ${wanted}`,
        fixes: text && !wrong ? [{ title: `add \`${text}\``, edits: [{ span: insert, text }], safe: false }] : [],
      });
    }
    if (stands) {
      this.engine.consumeToken();
      return token; // the reserved word stands for the name
    }
    if (!wrong) return this.madeUp(type);
    this.engine.consumeToken();
    const right = this.LA(1);
    this.engine.consumeToken();
    return right;
  }

  private madeUp(type: TokenType): IToken {
    this.quiet();
    const token = createTokenInstance(type, "", this.last, this.last, NaN, NaN, NaN, NaN);
    token.isInsertedInRecovery = true;
    return token;
  }

  /** Asked after a repetition: is what follows neither another item nor the `}` (or the file's end) that is due? */
  shouldInRepetitionRecoveryBeTried(expected: TokenType, _occurrence: number, notStuck: boolean): boolean {
    if (!notStuck || (expected !== RCurly && expected !== EOF)) return false;
    if (expected === RCurly && this.#opened[this.#opened.length - 1] === false) return false;
    const token = this.LA(1);
    return token.tokenType !== expected && token.tokenType !== EOF && !(expected === RCurly && closers.has(token.tokenType));
  }

  /** Skips what begins no item, and takes the repetition up again. */
  tryInRepetitionRecovery(repetition: (...args: unknown[]) => void, args: unknown[], another: () => boolean, expected: TokenType): void {
    const rule = this.ruleName();
    const { words, others = [] } = loopContents[rule] ?? { words: [] };
    const closing = expected === EOF ? [] : [this.describe(expected)];
    const token = this.LA(1);
    const wanted = rule === "file" ? "a declaration" : either([...words.map((word) => `\`${word}\``), ...others, ...closing]);
    const [meant] = tokenMatcher(token, Identifier) ? nearest(token.image, words, 1) : [];
    this.unexpected("MOE1001", `expected ${wanted}, but found ${this.found()}`, {
      at: this.spanOfNext(),
      label: "unexpected",
      ...(meant !== undefined && meant !== token.image
        ? {
            help: `did you mean \`${meant}\`?`,
            fixes: [{ title: `write \`${meant}\``, edits: [{ span: this.spanOfNext(), text: meant }], safe: true }],
          }
        : token.image === "**"
          ? { help: "a power is written `a ^ b`" }
          : rule === "file"
          ? { help: `a declaration begins with ${either(words.map((word) => `\`${word}\``))}` }
          : {}),
    });
    let depth = 0;
    for (;;) {
      const skipped = this.LA(1);
      if (skipped.tokenType === EOF) return;
      if (depth === 0 && skipped.tokenType === expected) break;
      if (depth === 0 && skipped !== token && this.resumes() && another.call(this)) break;
      depth = Math.max(0, depth + nesting(skipped));
      this.engine.consumeToken();
      this.quiet();
    }
    if (another.call(this)) repetition.apply(this, args);
  }

  /** Whether the next token may begin an item after skipped text: it begins a line, or stands after a bracket. */
  private resumes(): boolean {
    return !this.sameLine() || closers.has(this.LA(0).tokenType);
  }
}

function nesting(token: IToken): number {
  const type = token.tokenType;
  return closers.has(type) ? -1 : openers.has(type) ? 1 : 0;
}
