import type { Builder } from "../ir/builder.ts";
import type { Axis, OpName, Value } from "../ir/graph.ts";
import { elementwise } from "../ir/ops/elementwise.ts";
import { elementCount } from "../ir/types.ts";
import type { Site } from "./rewrite.ts";
import { type AnyOp, axesOf, namesOf, ordered } from "./tools.ts";

/** What `dispatch` made of a mask, and the axes that it was made of. */
export interface Sorted {
  readonly token: Value;
  readonly place: Value;
  readonly choice: Value;
  readonly count: Value;
  /** The axes that make a token, and these as one. */
  readonly parts: readonly Axis[];
  readonly tokens: Axis;
  /** The choices. */
  readonly group: Axis;
}

const pointwise: ReadonlySet<string> = new Set(Object.keys(elementwise));
/** Ops along axes that they name, to which all other axes are rows. */
const along: ReadonlySet<OpName> = new Set<OpName>(["sum", "mean", "reduce_max", "softmax", "log_softmax", "is_top", "argmax", "cumsum", "reverse", "slice", "pad", "concat"]);

/**
 * Values on the sorted rows: of a value with axes of the tokens or of the choices, its part at each row's token and choice,
 * [row, its other axes]; of any other, itself. Written when they are asked for, each once.
 */
export class Rows {
  /** Ops whose results were computed on rows. */
  readonly moved = new Set<AnyOp>();
  readonly #site: Site;
  readonly #sorted: Sorted;
  readonly #b: Builder;
  readonly #need: (v: Value) => Value;
  readonly #known = new Map<Value, Value>();
  /** Where each row's token and choice lie among all pairs. */
  #pairs: Value | undefined;

  /** `need` gives a value of the site's function as the builder has it. */
  constructor(site: Site, sorted: Sorted, b: Builder, need: (v: Value) => Value) {
    this.#site = site;
    this.#sorted = sorted;
    this.#b = b;
    this.#need = need;
  }

  of(v: Value): Value {
    const known = this.#known.get(v);
    if (known) return known;
    const op = this.#site.maker(v);
    const made = this.#b.at(op?.origin, () => this.#moved(v, op) ?? this.#picked(v));
    this.#known.set(v, made);
    return made;
  }

  /** The sum of each token's rows, [the tokens' axes, others]. */
  collected(x: Value): Value {
    const { token, place, parts, tokens } = this.#sorted;
    const sum = this.#b.collect(x, token, place);
    if (parts.length === 1) return sum;
    return this.#b.reshape(sum, axesOf(sum).flatMap((a) => (a.name === tokens.name ? parts : [a])));
  }

  #has(v: Value, what: "tokens" | "choices"): boolean {
    const names = namesOf(v);
    return what === "choices" ? names.includes(this.#sorted.group.name) : this.#sorted.parts.some((a) => names.includes(a.name));
  }

  /** Whether an op leaves the tokens' and the choices' axes alone. */
  #leaves(names: readonly string[]): boolean {
    return !names.some((n) => n === this.#sorted.group.name || this.#sorted.parts.some((a) => a.name === n));
  }

  /** The same op on rows, for a value with both axes; undefined where it cannot be. */
  #moved(v: Value, op: AnyOp | undefined): Value | undefined {
    if (!op || op.results.length !== 1 || !this.#has(v, "choices") || !this.#has(v, "tokens")) return undefined;
    // One number for each token and choice (a gate) is few to pick from, whatever made it.
    if (namesOf(v).every((n) => !this.#leaves([n]))) return undefined;
    const b = this.#b;
    const made = ((): Value | undefined => {
      if (pointwise.has(op.op)) return b.one(op.op, op.operands.map((x) => this.of(x)), op.attributes as never);
      if (op.op === "transpose") return this.of(op.operands[0]!);
      if (op.op === "rename") return this.#leaves([...op.attributes.from, ...op.attributes.to]) ? b.one(op.op, [this.of(op.operands[0]!)], op.attributes) : undefined;
      if (op.op === "expand") {
        const inner = this.of(op.operands[0]!);
        return b.expand(inner, [axesOf(this.#sorted.token)[0]!, ...op.attributes.axes.filter((a) => this.#leaves([a.name]))]);
      }
      if (op.op === "dot") return this.#product(op);
      if (!along.has(op.op)) return undefined;
      const a = op.attributes as { readonly axis?: string; readonly axes?: readonly string[]; readonly as?: Axis };
      if (!this.#leaves([...(a.axis === undefined ? [] : [a.axis]), ...(a.axes ?? []), ...(a.as ? [a.as.name] : [])])) return undefined;
      return b.one(op.op, op.operands.map((x) => this.of(x)), op.attributes as never);
    })();
    if (made) this.moved.add(op);
    return made;
  }

  /** A product with one matrix a choice, with a common one, or of two values on rows. */
  #product(op: AnyOp & { op: "dot" }): Value | undefined {
    const b = this.#b;
    const { over } = op.attributes;
    if (!this.#leaves(over) || op.attributes.transposeA || op.attributes.transposeB) return undefined;
    const [x, y] = op.operands as readonly [Value, Value];
    const matrices = [x, y].find((v) => this.#has(v, "choices") && !this.#has(v, "tokens"));
    if (!matrices) return b.dot(this.of(x), this.of(y), over);
    const rows = matrices === x ? y : x;
    // A row and nothing else beside what is contracted; a matrix with columns.
    if (over.length === 0 || namesOf(rows).some((n) => this.#leaves([n]) && !over.includes(n))) return undefined;
    if (namesOf(matrices).every((n) => n === this.#sorted.group.name || over.includes(n))) return undefined;
    return b.grouped_dot(this.of(rows), this.#need(matrices), this.#sorted.count, over);
  }

  /** Rows taken from the value as it was. */
  #picked(v: Value): Value {
    const [tokens, choices] = [this.#has(v, "tokens"), this.#has(v, "choices")];
    const b = this.#b;
    const now = this.#need(v);
    const { token, place, choice, group, parts } = this.#sorted;
    if (!tokens) return choices ? b.gather(now, choice, group.name) : now;
    if (!choices) return b.spread(this.#flat(now, []), token, place);
    this.#pairs ??= b.add(b.mul(token, b.constant(Number(group.size), "i32")), choice);
    return b.gather(this.#flat(now, [group]), this.#pairs, [...parts, group].map((a) => a.name).join("."));
  }

  /** A value with the tokens' axes, and `also`, as one: first. */
  #flat(v: Value, also: readonly Axis[]): Value {
    const { parts, tokens } = this.#sorted;
    const b = this.#b;
    const first = [...parts, ...also];
    const rest = axesOf(v).filter((a) => !first.some((p) => p.name === a.name));
    const full = first.every((p) => namesOf(v).includes(p.name)) ? ordered(b, v, [...first, ...rest].map((a) => a.name)) : b.expand(v, [...first, ...rest]);
    if (first.length === 1) return full;
    const merged = also.length === 0 ? tokens : { name: first.map((a) => a.name).join("."), size: elementCount(first) };
    return b.reshape(full, [merged, ...rest]);
  }
}
