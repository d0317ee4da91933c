import type { EmitOrigin, Emitter } from "./emitter.ts";
import type { Field } from "./plan.ts";
import type { AxisRef, DType } from "./values.ts";

/** Something beside the linear's input that a value may depend on. One object for each, told apart by identity. */
export interface Seen {
  /** As a message says it: "the kind of data". */
  readonly what: string;
  /** Who asks for the value can say which it is: a kind, or a field's number. */
  readonly fixed?: "kind" | Field;
}

export const token: Seen = { what: "the token" };
export const prompt: Seen = { what: "the prompt" };
export const place: Seen = { what: "where in the text a token stands" };
export const extent: Seen = { what: "how long the text is" };
export const kind: Seen = { what: "the kind of data", fixed: "kind" };

/** The place of the text where something was found out, and what. */
export interface Turn {
  readonly origin: EmitOrigin;
  readonly what: string;
}

/**
 * How a value depends on the linear's input x of its own token: not at all, as a product with a matrix, with a constant
 * beside it, or otherwise. The handle of `AffineEmitter`.
 */
export interface Form {
  readonly degree: "constant" | "linear" | "affine" | "other";
  /** What else it depends on. */
  readonly sees: ReadonlySet<Seen>;
  /** Its axes of samples and positions, by name. */
  readonly batch: ReadonlySet<string>;
  /** Known to be 0 everywhere. */
  readonly zero?: boolean;
  /** Where it first was no matrix product any more. */
  readonly bent?: Turn;
  /** Where a constant came beside it. */
  readonly raised?: Turn;
}

/** The form of what a site is given: x, or what is the same for every token. */
export function formOf(degree: "constant" | "linear" | "affine", axes: readonly AxisRef[], ...sees: Seen[]): Form {
  return { degree, sees: new Set(sees), batch: batchOf(axes) };
}

function batchOf(axes: readonly AxisRef[]): Set<string> {
  return new Set(axes.filter((a) => typeof a.size === "string").map((a) => a.name));
}

/** Operations that are linear in their operand, whatever their attributes are, as long as they stay within a token. */
const straight: ReadonlySet<string> = new Set(["neg", "cast", "stop", "copy", "transpose", "rename", "reshape", "expand", "slice", "reverse", "sum", "mean", "cumsum"]);

/**
 * Elaborates without building, and follows the degree of every value in the linear's input: whether what a site computes
 * could be one matrix and one vector. What it does not know to be affine is not.
 */
export class AffineEmitter implements Emitter {
  op(op: string, operands: readonly unknown[], attributes: object, type: { readonly axes: readonly AxisRef[]; readonly dtype: DType }, origin: EmitOrigin): Form {
    const forms = operands as readonly Form[];
    const batch = batchOf(type.axes);
    const sees = new Set(forms.flatMap((f) => [...f.sees]));
    const a = attributes as { readonly axis?: string | AxisRef; readonly axes?: readonly (string | AxisRef)[]; readonly over?: readonly string[]; readonly value?: number };
    // Whatever the other factor is; a matrix of nothing.
    const zeros = forms.filter((f) => f.zero).length;
    if (op === "constant" ? a.value === 0 : (op === "mul" || op === "dot") && zeros > 0) return { ...formOf("constant", type.axes), zero: true };
    if (op === "index" && batch.size > 0) sees.add(place);
    if (op === "extent" && batchOf((a.axes ?? []).filter((x) => typeof x === "object")).size > 0) sees.add(extent);
    const moving = forms.filter((f) => f.degree !== "constant");
    const made = (degree: Form["degree"], more: Partial<Form> = {}): Form => ({ degree, sees, batch, ...more });
    if (moving.length === 0) return made("constant", zeros > 0 && zeros === forms.length && (straight.has(op) || op === "add" || op === "sub") ? { zero: true } : {});
    const bent = moving.find((f) => f.bent)?.bent;
    const raised = moving.find((f) => f.raised)?.raised;
    const bend = (what: string): Form => made("other", { bent: bent ?? { origin, what } });
    const keep = (degree: Form["degree"]): Form => made(degree, raised ? { raised } : {});
    if (bent) return bend("");
    // Whether a number is 0 is no linear question.
    if (type.dtype !== "f32") return bend(`\`${op}\` of what depends on x`);
    // Tokens are told apart by their axes of samples and positions: what sums or moves along these looks at other tokens.
    const named = [...(a.over ?? []), ...(a.axes ?? []).map(nameOf), ...(a.axis === undefined ? [] : [nameOf(a.axis)])];
    const crosses = op !== "expand" && op !== "reshape" && moving.some((f) => named.some((name) => f.batch.has(name)));
    if (crosses || (op === "reshape" && moving.some((f) => [...f.batch].some((name) => !batch.has(name))))) return bend(`\`${op}\` over other tokens`);

    const [x, y] = forms as readonly [Form, Form | undefined];
    switch (op) {
      case "add":
      case "sub":
        return this.#beside([x, y!], made, origin);
      case "select":
        return x.degree === "constant" ? this.#beside(forms.slice(1), made, origin) : bend("a choice that depends on x");
      case "mul":
      case "dot":
        return moving.length === 1 ? keep(moving[0]!.degree) : bend("the product of two values that depend on x");
      case "div":
        return y!.degree === "constant" ? keep(x.degree) : bend("a division by what depends on x");
      case "gather":
        return y!.degree === "constant" ? keep(x.degree) : bend("rows that depend on x");
      default:
        return straight.has(op) ? keep(x.degree) : bend(`\`${op}\` of what depends on x`);
    }
  }

  /** A sum: with a constant among the terms a linear value is affine. */
  #beside(terms: readonly Form[], made: (degree: Form["degree"], more?: Partial<Form>) => Form, origin: EmitOrigin): Form {
    const raised = terms.find((f) => f.raised)?.raised;
    if (terms.every((f) => f.degree === "linear" || f.zero)) return made("linear");
    return made("affine", { raised: raised ?? { origin, what: "a constant is added" } });
  }

  weight(): Form {
    return formOf("constant", []);
  }

  number(): Form {
    return formOf("constant", []);
  }

  layer(): Form {
    return formOf("constant", []);
  }

  fold(): never {
    throw new Error("a site has no layers");
  }
}

function nameOf(axis: string | AxisRef): string {
  return typeof axis === "object" ? axis.name : axis;
}
