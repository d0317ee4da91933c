import type {
  AdapterDeclaration, BlockItem, Body, BodyItem, Call, ConfigField, Declaration, FunctionDefinition, Import, KindArrow, MapDefinition,
  ModelDefinition, Node, Patch, PatchEntry, Path, Setting, Signature, SiteClause, SourceFile, VariantDeclaration,
} from "../parser/index.ts";
import { doc, type Doc } from "./doc.ts";
import { ExpressionPrinter } from "./expressions.ts";
import type { Item, LayoutOptions } from "./layout.ts";
import type { Row } from "./rows.ts";
import { endDoc, gapDoc, Source } from "./source.ts";

const { group, hardline, indent, line } = doc.builders;

/** Declarations that may stand below each other without a blank line. */
const short: ReadonlySet<string> = new Set(["import", "base", "param", "const"]);

/** Prints a file that has no syntax errors: a document that Prettier lays out. */
export function printFile(file: SourceFile, options: LayoutOptions): Doc {
  return new FilePrinter(new Source(file), options).file(file);
}

class FilePrinter extends ExpressionPrinter {
  file(file: SourceFile): Doc {
    const all = inOrder<Import | Declaration>([...file.imports, ...file.declarations]);
    const items = all.map((d, i): Item => {
      const before = all[i - 1];
      const apart = before !== undefined && !(short.has(before.kind) && short.has(d.kind));
      return { blank: apart ? "force" : "keep", joins: false, print: () => this.declaration(d) };
    });
    const rows = this.rows(items, true);
    const rest = this.source.gap("keep", items.length === 0);
    return items.length + rest.trailing.length + rest.own.length === 0 ? "" : [rows, endDoc(rest), hardline];
  }

  private words(...texts: readonly string[]): Doc[] {
    return texts.map((text, i) => (i === 0 ? this.source.take(text) : [" ", this.source.take(text)]));
  }

  private declaration(d: Import | Declaration): Row {
    const { source } = this;
    switch (d.kind) {
      case "import":
        return { columns: [[source.take("import"), " ", source.take()]] };
      case "base":
        return { key: "base", columns: [this.words("base", d.name.text), [source.take("="), " ", source.take(d.model.text), this.args(d.args)]] };
      case "param":
        return {
          key: "param",
          columns: [
            [this.words("param", d.name.text), source.take(":", true), " ", this.type(d.type)],
            [this.equals(d.default, false), d.allowed ? [" ", source.take("in"), " ", this.expression(d.allowed)] : ""],
          ],
        };
      case "const":
        return { key: "const", columns: [this.words("const", d.name.text), this.equals(d.value)] };
      case "adapter":
        return { columns: [[this.words("adapter", d.name.text, "on", d.base.text), " ", this.sites(d)]] };
      case "variant":
        return { columns: [[this.words("adapter", d.name.text, "=", d.of.text, "with"), " ", this.sites(d)]] };
      case "train":
        return { columns: [[this.words("train", d.adapter.text), " ", this.braces(false, () => d.settings.map((s) => this.setting(s)))]] };
      case "fn":
        return { columns: [this.fn(d)] };
      case "model":
        return { columns: [this.model(d)] };
      default:
        return { columns: [this.map(d)] };
    }
  }

  // ——— adapters ———

  private sites({ sites, kinds = [], fields = [] }: AdapterDeclaration | VariantDeclaration): Doc {
    return this.braces(false, (): Item[] => [
      ...(kinds.length ? [this.item(() => ({ columns: [[this.source.take("kinds"), " ", this.names(kinds.length)]] }))] : []),
      ...fields.map((f) => this.item(() => ({ columns: [[this.words("field", f.name.text), f.count ? [this.source.take("[", true), this.expression(f.count), this.source.take("]", true)] : ""]] }))),
      ...sites.map((at) => this.item(() => ({ columns: [[this.source.take("at"), " ", this.path(at.path), " ", this.clauses(at.clauses)]] }))),
    ]);
  }

  private clauses(clauses: readonly SiteClause[]): Doc {
    return this.braces(clauses.length < 2, () => clauses.map((c) => this.item(() => this.clause(c))));
  }

  /** A path's pieces as they touch each other; commas between names in braces. */
  private path(path: Path): Doc {
    const { source } = this;
    const out: Doc[] = [];
    let fresh = true; // whether a piece begins here, after the path's beginning, a point, a brace or a comma
    while (source.start < path.span.end) {
      const { image } = source;
      if (image === "," && source.second === "}") out.push(source.drop());
      else if (image === ",") out.push(source.take(",", true), " ");
      else out.push(source.take(image, !fresh));
      fresh = image === "." || image === "{" || image === ",";
    }
    return out;
  }

  private clause(c: SiteClause): Row {
    const { source } = this;
    switch (c.kind) {
      case "experts": {
        const left = [this.words("experts", c.name.text), source.take("[", true), this.expression(c.count), source.take("]", true)];
        return { key: "experts", columns: [left, [source.take("="), " ", this.applied(c.value)]] };
      }
      case "always":
        return { columns: [[source.take("always"), " ", c.name ? [source.take(c.name.text), " ", source.take("="), " "] : "", this.applied(c.value)]] };
      case "route":
        return { columns: [[source.take("route"), " ", this.call(c.value), c.per ? [" ", this.words("per", c.per.text)] : ""]] };
      case "mix":
        return { columns: [this.words("mix", c.what.kind)] };
      case "unfreeze":
        return { columns: [source.take("unfreeze")] };
      case "balance":
        return {
          columns: [
            [
              source.take("balance"), " ",
              c.weight ? [this.expression(c.weight), " ", source.take("*"), " "] : "",
              this.call(c.value),
              c.reduction ? [" ", this.words(c.reduction.kind, "over", "sites")] : "",
              c.unmasked ? [" ", source.take("unmasked")] : "",
              source.image === "{" ? [" ", this.braces(true, () => c.map.map((a) => this.arrow(a)))] : "",
            ],
          ],
        };
    }
  }

  private applied(value: Call | Patch): Doc {
    if (value.kind === "call") return this.call(value);
    return [this.source.take("patch"), " ", this.braces(true, () => value.entries.map((e) => this.patchEntry(e)))];
  }

  private patchEntry(entry: PatchEntry): Item {
    const { source } = this;
    return this.item(() => ({
      columns: [[this.names(entry.linears.length), source.take(":", true), " ", this.call(entry.value)]],
    }));
  }

  private names(count: number): Doc[] {
    return Array.from({ length: count }, (_, i) => (i === 0 ? this.source.take() : [this.source.take(",", true), " ", this.source.take()]));
  }

  private arrow(arrow: KindArrow): Item {
    return this.item(() => ({ key: "arrow", columns: [this.source.take(), [this.source.take("->"), " ", this.names(arrow.to.length)]] }));
  }

  private setting(s: Setting): Item {
    return this.item(() => ({ key: "setting", columns: [this.source.take(s.name.text), this.expression(s.value)] }), true);
  }

  // ——— definitions ———

  private map(d: MapDefinition): Doc {
    const all = inOrder<BodyItem | Signature>([...d.items, ...(d.signature ? [d.signature] : [])]);
    return [this.words(d.kind, d.name.text), this.parameters(d.parameters), " ", this.braces(false, () => all.map((i) => this.item(() => this.bodyItem(i))))];
  }

  private fn(d: FunctionDefinition): Doc {
    return [this.words("fn", d.name.text), this.parameters(d.parameters), this.result(d.result), this.body(d.body)];
  }

  private model(d: ModelDefinition): Doc {
    const { source } = this;
    const head = [this.words("model", d.name.text), source.take("(", true), source.take(d.config.text), source.take(")", true), " "];
    return [
      head,
      this.braces(false, () => {
        // The tree keeps the fields of all `config` blocks together; the blocks themselves show in the tokens.
        const configs = source.blocks("config").map((span) => ({ span: { file: "", ...span }, fields: d.fields.filter((f) => f.span.start > span.start && f.span.end < span.end) }));
        const all = inOrder<BodyItem | Signature | (typeof configs)[number]>([...configs, ...d.items, ...(d.signature ? [d.signature] : [])]);
        return all.map((node) => this.item(() => ("fields" in node ? this.config(node.fields) : this.bodyItem(node))));
      }),
    ];
  }

  private config(fields: readonly ConfigField[]): Row {
    return { columns: [[this.source.take("config"), " ", this.braces(true, () => fields.map((f) => this.field(f)))]] };
  }

  private bodyItem(item: BodyItem | Body["statements"][number] | Signature): Row {
    const { source } = this;
    if (!("kind" in item)) return { columns: [[this.parameters(item.parameters), this.result(item.result), this.body(item.body)]] };
    switch (item.kind) {
      case "require":
      case "expect":
        return {
          columns: [
            group([source.take(item.kind), " ", this.expression(item.condition), item.message ? [source.take(",", true), indent([source.followsLineComment ? gapDoc(source.gap("none")) : line, source.take()])] : ""]),
          ],
        };
      case "weight": {
        const left = [this.words(item.role, item.name.text), " ", this.axes(item.axes)];
        const rest = item.initial ? [this.equals(item.initial, false), this.fromWhen(item)] : this.fromWhen(item);
        return item.initial ? { key: "weight", columns: [left, rest] } : { columns: [[left, rest]] };
      }
      case "update":
        return { columns: [[this.words("update", item.name.text), this.body(item.body)]] };
      case "linear": {
        const left = this.words("linear", item.name.text);
        const axes = [this.axes(item.axes), item.stored ? [" ", source.take("stored"), " ", this.axes(item.stored)] : ""];
        if (!item.bias) return { key: "linear", columns: [left, [axes, this.fromWhen(item)]] };
        return { key: "linear", columns: [left, axes, [source.take("bias"), " ", this.expression(item.bias), this.fromWhen(item)]] };
      }
      case "unused":
        return { columns: [[source.take("unused"), " ", this.names(item.names.length), item.when ? [" ", source.take("when"), " ", this.expression(item.when)] : ""]] };
      case "axis":
        return { key: "axis", columns: [this.words("axis", item.name.text), this.equals(item.size)] };
      case "block":
        return { columns: [this.block(item)] };
      case "let":
        return { key: "let", columns: [source.take(item.name.text), this.equals(item.value)] };
    }
  }

  private fromWhen(item: BodyItem & { kind: "weight" | "linear" }): Doc {
    const { source } = this;
    return [
      this.from(item),
      item.when ? [" ", source.take("when"), " ", this.expression(item.when)] : "",
    ];
  }

  private from({ from }: Pick<BlockItem, "from">): Doc {
    const { source } = this;
    return from ? from.map((_, i) => [" ", source.take(i === 0 ? "from" : "or"), " ", source.take()]) : "";
  }

  private block(b: BlockItem): Doc {
    const { source } = this;
    const name = this.words("block", b.name.text);
    const count = b.count ? [source.take("[", true), this.expression(b.count), source.take("]", true)] : "";
    const head = [name, count, this.parameters(b.signature.parameters), this.result(b.signature.result)];
    return [head, this.from(b), " ", this.contents(b.items, b.signature.body)];
  }

  private result(result: Signature["result"]): Doc {
    return result ? [" ", this.source.take("->"), " ", this.axes(result)] : "";
  }

  /** ` = value`, on the next line where it does not fit this one, or ` { … }`. */
  private body(body: Body): Doc {
    return [" ", this.source.image === "=" ? this.equals(body.result) : this.contents([], body)];
  }

  private contents(items: readonly BodyItem[], body: Body): Doc {
    const all = inOrder<BodyItem | Body["statements"][number]>([...items, ...body.statements]);
    return this.braces(all.length === 0, () => [
      ...all.map((i) => this.item(() => this.bodyItem(i))),
      this.item(() => ({ columns: [this.expression(body.result)] })),
    ]);
  }
}

function inOrder<T extends Node>(nodes: readonly T[]): readonly T[] {
  return [...nodes].sort((a, b) => a.span.start - b.span.start);
}
