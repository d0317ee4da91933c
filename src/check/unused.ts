import type { MapDefinition, ParameterType } from "../parser/ast.ts";
import { applySite } from "./adapt.ts";
import { elaborator, type ElaborationContext } from "./context.ts";
import type { Elaborator } from "./elaborate.ts";
import { dryEmitter } from "./emitter.ts";
import { proveCausal } from "./causal.ts";
import type { Applied, Field, SitePlace, SitePlan } from "./plan.ts";
import { offered } from "./routing.ts";
import { standIn } from "./standin.ts";
import { Scope } from "./scope.ts";
import { constant, type Entity } from "./values.ts";

/** What a balance is given whatever the router is. */
const alwaysGiven = ["gates", "mask", "matched"];

/**
 * Elaborates a definition that no adapter uses at a made-up place, so that a mistake in it is not found by the next
 * person. What only a choice of sizes could decide (`require`) is left out. Throws DiagnosticError.
 */
export function checkAlone(definition: MapDefinition, context: ElaborationContext): void {
  const e = elaborator(context, dryEmitter, true);
  const place = { in: context.axes.get("in", 64), out: context.axes.get("out", 96), layer: 0, layers: 2 };
  const applied = sampleOf(definition, e, place);
  const routing = definition.kind === "router" ? definition : routerFor(definition, context);
  const router = routing && sampleOf(routing, e, place);
  if (!applied || !router) return;
  const { span } = definition.name;
  // A router may look at its experts' weights: those of a definition that has what it asks for.
  const looked = weightsAskedOf(routing);
  const wanted = looked.length ? [...context.definitions.experts.values()].find((x) => looked.every((name) => weightsOf(x).has(name))) : definition.kind === "expert" ? definition : undefined;
  const expert = wanted && sampleOf(wanted, e, place);
  if (looked.length && !expert) return;
  const plan: SitePlan = {
    at: { kind: "at", span: definition.span, path: { span, segments: [] }, clauses: [] },
    banks: expert ? [{ ...expert, name: "group", always: false, count: looked.length ? 4 : 1, start: 0 }] : [],
    patches: [],
    groups: [{ name: "group", start: 0, count: 4, kind: definition.name.text, span }],
    experts: 4,
    router,
    balances: definition.kind === "balance" ? [{ ...applied, clause: { kind: "balance", span, value: applied.call, map: [] }, weight: 1, reduction: "sum", unmasked: false, map: new Map([["kind", ["group"]]]) }] : [],
    unfreeze: false,
    scope: "linear",
    mix: "outputs",
  };
  const data = { kinds: ["kind"], fields: fieldsFor(routing) };
  if (definition.kind === "router") proveCausal(context, plan, place, data);
  applySite(e, plan, place, standIn(context, place, data, () => null));
}

/** The names of an expert's weights. */
function weightsOf(expert: MapDefinition): ReadonlySet<string> {
  return new Set(expert.items.flatMap((i) => (i.kind === "weight" ? [i.name.text] : [])));
}

/** What a router asks for that is neither given to every router nor a field of the data: weights of its experts. */
function weightsAskedOf(router: MapDefinition): string[] {
  const fields = fieldsFor(router).map((f) => f.name);
  return (router.signature?.parameters ?? []).flatMap((p) => (p.kind !== "tensor" || offered.includes(p.name.text) || fields.includes(p.name.text) ? [] : [p.name.text]));
}

/** A router that names all that a balance asks for; the plain softmax where it asks for nothing special. */
function routerFor(definition: MapDefinition, context: ElaborationContext): MapDefinition | undefined {
  const asked = (definition.signature?.parameters ?? []).map((p) => p.name.text).filter((name) => !alwaysGiven.includes(name));
  const { routers } = context.definitions;
  const plain = routers.get("softmax");
  if (definition.kind !== "balance") return plain;
  const names = (router: MapDefinition): Set<string> => new Set(router.signature?.body.statements.flatMap((s) => (s.kind === "let" ? [s.name.text] : [])));
  const fits = [...(plain ? [plain] : []), ...routers.values()].find((router) => asked.every((name) => names(router).has(name)));
  // No router of the library or the spec offers it, so nobody could use it: told with the one that is used most.
  return fits ?? plain;
}

/** Fields that a router asks for: nobody but an adapter could say whether they are there. */
function fieldsFor(router: MapDefinition): Field[] {
  return (router.signature?.parameters ?? []).flatMap((p): Field[] => {
    const axes = p.kind === "tensor" ? (p.axes?.axes ?? []).map((a) => a.text) : [];
    if (offered.includes(p.name.text) || axes.some((a) => a !== p.name.text)) return [];
    return [{ name: p.name.text, ...(axes.length ? { values: 4 } : {}) }];
  });
}

/** A definition with its defaults, or values of the right type where it has none. */
function sampleOf(definition: MapDefinition, e: Elaborator, place: SitePlace): Applied | undefined {
  const scope = new Scope();
  scope.define("in", { kind: "axis", axis: place.in });
  scope.define("out", { kind: "axis", axis: place.out });
  scope.define("experts", constant(4));
  scope.define("groups", constant(1));
  const parameters = new Map<string, Entity>();
  for (const p of definition.parameters) {
    const value = p.default ? e.typed(p.type, p.default, scope, p.name.text) : sampleValue(p.type);
    if (!value) return undefined;
    scope.define(p.name.text, value);
    parameters.set(p.name.text, value);
  }
  return { definition, call: { kind: "call", callee: definition.name, args: [], span: definition.name.span }, parameters, shared: new Set() };
}

function sampleValue(type: ParameterType): Entity | undefined {
  switch (type.kind) {
    case "int":
      return constant(2);
    case "float":
      return constant(0.5);
    case "bool":
      return constant(true);
    case "choice":
      return constant(type.choices[0]?.text ?? "none", type.choices.map((c) => c.text));
    default:
      return undefined;
  }
}
