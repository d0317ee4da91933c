import { fail } from "../diagnostics/index.ts";
import type { Signature } from "../parser/ast.ts";
import { SyntaxUnit, type Elaborator } from "./elaborate.ts";
import { placeScope, type Applied, type SitePlace } from "./plan.ts";
import { Scope } from "./scope.ts";
import { suggest } from "./suggest.ts";
import { showAxes, type AxisRef, type Tensor } from "./values.ts";

/** The names of all axes of some tensors. */
export function axisNames(...tensors: readonly (Tensor | undefined)[]): Set<string> {
  return new Set(tensors.flatMap((t) => t?.axes.map((a) => a.name) ?? []));
}

/**
 * The definition's scope at a place: sides, arguments, and what more it may speak of. Axes that a definition declares
 * are its own, whatever the model calls the axes of what the definition is given.
 */
export function definitionScope(applied: Applied, place: SitePlace, given: readonly Tensor[], expertAxis?: AxisRef): Scope {
  const scope = placeScope(place);
  for (const name of axisNames(...given)) scope.hidden.add(name);
  for (const [name, value] of applied.parameters) scope.define(name, value);
  if (expertAxis) {
    scope.define("expert", { kind: "axis", axis: expertAxis });
    scope.define("experts", { kind: "const", value: expertAxis.size as number });
    scope.hidden.add(expertAxis.name);
  }
  return scope;
}

/** A definition's signature; ends the unit in silence where the text is broken. */
export function signatureOf(applied: Applied): Signature {
  const signature = applied.definition.signature;
  if (!signature) throw new SyntaxUnit();
  return signature;
}

/** What a definition may ask for: a tensor, or how to make it once somebody asks. */
export type Offer = Tensor | (() => Tensor);

/** Whether a signature asks for something of this name. */
export function asksFor(signature: Signature, name: string): boolean {
  return signature.parameters.some((p) => p.name.text === name);
}

/** Whether what a signature asks for is declared with an axis of this name: then its text sees it. */
export function mentionsAxis(signature: Signature, name: string): boolean {
  return signature.parameters.some((p) => p.kind === "tensor" && p.axes?.axes.some((a) => a.text === name));
}

/** Binds a signature's parameters to what is offered by name. */
export function bindOffers(elaborator: Elaborator, applied: Applied, signature: Signature, scope: Scope, offers: ReadonlyMap<string, Offer>, who: string): void {
  for (const p of signature.parameters) {
    const offer = offers.get(p.name.text);
    if (!offer) {
      fail("MOE2015", `${who} is not given "${p.name.text}"`, { at: p.name.span, ...suggest(p.name, offers.keys(), `it may ask for: ${[...offers.keys()].join(", ")}`) });
    }
    const value = typeof offer === "function" ? offer() : offer;
    if (p.kind === "tensor" && p.axes) {
      const declared = elaborator.declared(p.axes, scope);
      const missing = declared.filter((a) => !value.axes.includes(a));
      if (missing.length) {
        fail("MOE3001", `"${p.name.text}" is declared ${`[${p.axes.axes.map((a) => a.text).join(", ")}]`}, and what is given lacks ${missing.map((a) => scope.nameOf(a)).join(", ")}`, {
          at: p.span,
          secondary: [{ span: applied.call.span, text: "used here" }],
        });
      }
    }
    scope.define(p.name.text, value);
  }
}

/**
 * The signature's value. What the site does with it needs the axes `needed`, so the text may not declare others; a
 * number known at compile time is that number along all of them.
 */
export function evaluateSignature(elaborator: Elaborator, applied: Applied, signature: Signature, scope: Scope, needed: readonly AxisRef[]): Tensor {
  const { ops } = elaborator;
  const name = applied.definition.name.text;
  const show = (axes: readonly AxisRef[]) => showAxes(axes, (a) => scope.nameOf(a));
  if (signature.result) {
    const declared = elaborator.declared(signature.result, scope);
    if (declared.length !== needed.length || needed.some((a) => !declared.includes(a))) {
      fail("MOE3002", `${name} is ${article(applied.definition.kind)}, whose result is ${show(needed)}; it declares ${show(declared)}`, { at: signature.result.span });
    }
  }
  const entity = elaborator.body(signature.body, scope, name, applied.call.span);
  const result = ops.at(signature.body.result.span, () => ops.cast(elaborator.tensor(entity, signature.body.result), "f32"));
  if (entity.kind !== "tensor" && needed.length > 0) return ops.at(signature.body.result.span, () => ops.expand(result, needed));
  elaborator.result(needed, result, scope, signature.body.result, name);
  return result;
}

function article(kind: string): string {
  return kind === "expert" ? "an expert" : `a ${kind}`;
}
