import { doc, type Doc } from "./doc.ts";
import { layInline, layRows, type Placed, type Row } from "./rows.ts";
import { endDoc, gapDoc, type Blank, type Source } from "./source.ts";

const { group, hardline, ifBreak, indent, line, softline } = doc.builders;

/** What decides where lines end. */
export interface LayoutOptions {
  readonly printWidth: number;
  readonly tabWidth: number;
}

/** An item of a block, printed when its turn comes. */
export interface Item {
  readonly blank: Blank;
  /** Whether it goes on on the line of the item before where the author wrote it there. */
  readonly joins: boolean;
  readonly print: () => Row;
}

/** Brackets and blocks. */
export abstract class Layout {
  protected readonly source: Source;
  private readonly options: LayoutOptions;
  private depth = 0;

  constructor(source: Source, options: LayoutOptions) {
    this.source = source;
    this.options = options;
  }

  /** An item; blank lines before it stay. */
  protected item(print: () => Row, joins = false): Item {
    return { blank: "keep", joins, print };
  }

  /** The room of a line at the present indentation. */
  protected get room(): number {
    return this.options.printWidth - this.depth * this.options.tabWidth;
  }

  protected indented<T>(body: () => T): T {
    this.depth++;
    const result = body();
    this.depth--;
    return result;
  }

  /**
   * A list in brackets with commas. Where it does not fit its line it gets an indented line of its own, or one an item
   * with a comma after the last; comments between its items force the latter. A `rigid` list stays on its line.
   */
  protected bracketed<T>(open: string, close: string, items: readonly T[], print: (item: T) => Doc, rigid = false): Doc {
    const { source } = this;
    const broken = source.holdsLineComment;
    const opening = source.take(open, open === "(");
    if (items.length === 0 && !broken) return [opening, source.take(close, true)];
    const inner = this.indented(() =>
      items.map((item, i): Doc => {
        const gap = broken ? source.gap("keep", i === 0) : undefined;
        const whole = (): Doc => {
          const printed = print(item);
          if (i < items.length - 1) return [printed, source.take(",", true)];
          return [printed, source.image === "," ? source.drop() : "", broken ? "," : rigid ? "" : ifBreak(",")];
        };
        if (!gap) return [i === 0 ? "" : rigid ? " " : line, whole()];
        const { result, raised } = source.scope(whole);
        return [gapDoc(gap, raised), result];
      }),
    );
    if (broken) return [opening, indent([inner, endDoc(source.gap("keep", items.length === 0))]), hardline, source.take(close)];
    const closing = source.take(close, true);
    return rigid ? [opening, inner, closing] : group([opening, indent([softline, group(inner)]), softline, closing]);
  }

  /** The line end before an operator or `then`: one that comments about it ask for, or one where the line is too long. */
  protected next(): Doc {
    return this.source.pullComments() ? gapDoc(this.source.gap("none")) : line;
  }

  /** Brackets around an expression. */
  protected parenthesized(print: () => Doc): Doc {
    const { source } = this;
    const broken = source.holdsLineComment;
    const opening = source.take("(");
    if (!broken) {
      const inner = print();
      return group([opening, indent([softline, inner]), softline, source.take(")", true)]);
    }
    const gap = source.gap("keep", true);
    const { result, raised } = source.scope(print);
    return [opening, indent([gapDoc(gap, raised), result, endDoc(source.gap("none"))]), hardline, source.take(")")];
  }

  /**
   * A block in braces. `inline` lets one that the author wrote on one line stay there, with commas; otherwise
   * each item stands on a line of its own.
   */
  protected braces(inline: boolean, makeItems: () => readonly Item[]): Doc {
    const { source } = this;
    if (source.isEmpty) return [source.take("{"), source.take("}")];
    const broken = !inline || source.holdsLineComment || source.opensLine;
    const opening = source.take("{");
    const items = makeItems();
    if (broken || items.length === 0) {
      const inner = this.indented(() => this.rows(items, true));
      return [opening, indent([inner, endDoc(source.gap("keep", items.length === 0))]), hardline, source.take("}")];
    }
    const inner = this.indented(() => layInline(items.map((item) => this.withoutComma(item.print())), this.room));
    const closing = source.take("}", true);
    return group([opening, indent([line, inner]), line, closing]);
  }

  /** Items on lines of their own. `first` right after an opening brace or at the file's start. */
  protected rows(items: readonly Item[], first: boolean): Doc[] {
    const { source } = this;
    const placed = items.map((item, i): Placed => {
      const gap = item.joins && i > 0 && source.continuesLine ? undefined : source.gap(item.blank, first && i === 0);
      const { result, raised, apart } = source.scope(() => this.withoutComma(item.print()));
      return { row: result, raised, apart, ...(gap ? { gap } : {}) };
    });
    return layRows(placed, this.room);
  }

  /** Commas between fields, arrows and entries are only needed where they share a line; there they are put in again. */
  private withoutComma(row: Row): Row {
    if (this.source.image !== ",") return row;
    const comments = this.source.drop();
    return { ...row, columns: [...row.columns.slice(0, -1), [row.columns[row.columns.length - 1]!, comments]] };
  }
}
