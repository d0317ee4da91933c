import { diagnostic, type Diagnostic } from "../diagnostics/index.ts";
import type { Binding, BlockItem, BodyItem, Definition, Expression, FunctionDefinition, MapDefinition, ModelDefinition, Name, Parameter, ParameterType, TensorParameter, UpdateItem, WeightItem } from "../parser/ast.ts";
import { walk } from "../parser/walk.ts";
import { builtins } from "./builtins.ts";
import { suggest, unknownFunction, unknownName } from "./suggest.ts";

/** Arguments of builtins that name axes. */
const axisArguments: readonly string[] = ["over", "axis", "axes", "to", "into"];

/** What every definition of a kind is given by its site: its own names must be others. */
const given: Readonly<Record<MapDefinition["kind"], readonly string[]>> = {
  expert: ["in", "out", "layer", "layers"],
  router: ["in", "out", "layer", "layers", "expert", "experts", "groups"],
  balance: ["in", "out", "layer", "layers", "expert", "experts", "groups", "sample", "position"],
};

/**
 * What can be said of a definition without applying it: names that stand twice, and items that mean nothing there.
 * A definition with such a fault is not elaborated, so that nothing more is said of the same mistake.
 */
export function wellFormed(d: Definition): Diagnostic[] {
  const found: Diagnostic[] = [];
  switch (d.kind) {
    case "fn":
      distinct(d.parameters.map((p) => p.name), found);
      break;
    case "model":
      for (const fields of configLists(d)) distinct(fields.map((f) => f.name), found);
      modelItems(d, found);
      break;
    default:
      distinct([...d.parameters.map((p) => p.name), ...named(d.items), ...(d.signature?.parameters.map((p) => p.name) ?? [])], found, given[d.kind]);
      for (const item of d.items) mapItem(d, item, found);
      // What has no state at all is told once, by the item.
      if (d.kind === "router") states(d, found);
  }
  return found;
}

function distinct(names: readonly Name[], found: Diagnostic[], taken: readonly string[] = []): void {
  const seen = new Map<string, Name>();
  for (const name of names) {
    if (name.text === "") continue;
    const before = seen.get(name.text);
    if (before) {
      found.push(diagnostic("MOE2013", `"${name.text}" is already defined`, { at: name.span, secondary: [{ span: before.span, text: "first defined here" }], help: "a name is given once: choose another" }));
    } else if (taken.includes(name.text)) {
      found.push(diagnostic("MOE2013", `"${name.text}" is given by the site and cannot be defined again`, { at: name.span, help: `the site gives: ${taken.join(", ")}` }));
    } else seen.set(name.text, name);
  }
}

function named(items: readonly BodyItem[]): Name[] {
  return items.flatMap((item) => ("name" in item && item.kind !== "update" ? [item.name] : []));
}

function mapItem(d: MapDefinition, item: BodyItem, found: Diagnostic[]): void {
  if (d.kind !== "router" && (item.kind === "update" || (item.kind === "weight" && item.role === "state"))) {
    found.push(diagnostic("MOE2029", `${article(d.kind)} has no state: a router has, which sees the batch after each step`, { at: item.name.span, help: "what an expert keeps is its weights, which are trained, or `frozen`, which stay" }));
  } else if (item.kind === "unused") {
    found.push(diagnostic("MOE2029", `${article(d.kind)} reads no checkpoint, so nothing of one is unused`, { at: item.span, help: "remove it: only a model passes over tensors" }));
  } else if (item.kind === "linear" || item.kind === "block") {
    found.push(diagnostic("MOE2029", `${article(d.kind)} has no ${item.kind}: those are parts of a model`, { at: item.name.span, help: "declare a weight and multiply by it: weight A [in, rank] = …, then x @ A" }));
  } else if (item.kind === "weight" && d.kind === "balance") {
    found.push(diagnostic("MOE2029", "a balance has no weights of its own: it measures the gates", { at: item.name.span, help: "a number that a user sets is a parameter; one that is learnt belongs to the router" }));
  } else if (item.kind === "weight" && (item.from || item.when)) {
    found.push(diagnostic("MOE2029", `the weight "${item.name.text}" is new, so it does not come from a checkpoint`, { at: (item.from?.[0] ?? item.when!).span, help: "give it an initial value: = zeros()" }));
  }
}

/** A state has one update, and an update a state of its definition. */
function states(d: MapDefinition, found: Diagnostic[]): void {
  const declared = d.items.filter((i): i is WeightItem => i.kind === "weight" && i.role === "state");
  const updates = d.items.filter((i): i is UpdateItem => i.kind === "update");
  const names = declared.map((s) => s.name.text);
  for (const [i, u] of updates.entries()) {
    const first = updates.findIndex((o) => o.name.text === u.name.text);
    if (!names.includes(u.name.text)) found.push(diagnostic("MOE2001", `${d.name.text} has no state "${u.name.text}"`, { at: u.name.span, ...suggest(u.name, names, "declare it: state b [expert] = zeros()") }));
    else if (first < i) found.push(diagnostic("MOE2013", `"${u.name.text}" is updated twice`, { at: u.name.span, secondary: [{ span: updates[first]!.name.span, text: "first updated here" }] }));
  }
  for (const s of declared) {
    if (updates.some((u) => u.name.text === s.name.text)) continue;
    found.push(diagnostic("MOE2030", `nothing updates the state "${s.name.text}"`, { at: s.name.span, help: `add \`update ${s.name.text} = …\`; what never changes is \`frozen\`` }));
  }
}

function modelItems(owner: ModelDefinition | BlockItem, found: Diagnostic[]): void {
  distinct(named(owner.items), found);
  for (const item of owner.items) {
    if (item.kind === "block") modelItems(item, found);
    else if (item.kind === "update" || (item.kind === "weight" && item.role !== "weight")) {
      found.push(diagnostic("MOE2029", `a model has no ${item.kind === "update" ? "update" : item.role}: its weights are the checkpoint's`, { at: item.name.span }));
    }
    else if (item.kind === "weight" && item.initial) {
      found.push(diagnostic("MOE2029", `the weight "${item.name.text}" of a model comes from the checkpoint`, { at: item.initial.span, help: "remove its initial value" }));
    }
  }
}

/**
 * Names that a definition uses and nothing declares, wherever they stand: elaboration would not come to a function that
 * nobody calls, nor to the branch of an `if` that is not taken. `constants` are the spec's, which definitions do not see.
 */
export function unknownNames(d: MapDefinition | FunctionDefinition, functions: ReadonlyMap<string, FunctionDefinition>, constants: ReadonlySet<string>): Diagnostic[] {
  const found: Diagnostic[] = [];
  // What an update sees beside the router's own names; a body that uses one without asking is told when it is elaborated.
  const own = new Set<string>(d.kind === "fn" ? [] : [...given[d.kind], ...(d.kind === "router" && d.items.some((i) => i.kind === "update") ? ["mask", "gates", "sample", "position"] : [])]);
  const callable = new Set([...Object.keys(builtins), ...functions.keys()]);
  const uses: { readonly name: Name; readonly call: boolean }[] = [];
  const choices = new Set(d.parameters.flatMap((p) => (p.kind === "parameter" && p.type.kind === "choice" ? [p.name.text] : [])));
  const compared = new Set<Expression>();
  const axes = new Set<object>();
  walk(d, (node) => {
    const n = node as BodyItem | Binding | Parameter | TensorParameter | ParameterType | Expression;
    switch (n.kind) {
      case "tensor":
        own.add(n.name.text);
        // Axes of what a definition is given are in scope with it: `cluster [cluster]`.
        for (const axis of d.kind === "fn" ? [] : (n.axes?.axes ?? [])) own.add(axis.text);
        break;
      case "parameter":
      case "let":
      case "axis":
      case "weight":
        if ("name" in n) own.add(n.name.text);
        break;
      case "choice":
        for (const c of n.choices) own.add(c.text);
        break;
      case "name":
        // An initial value may speak of `nth`, the expert's number, and of the frozen weight; a body has to ask for it.
        if (d.kind === "expert" && (n.text === "nth" || n.text === "W")) break;
        if (!compared.has(n)) uses.push({ name: n, call: false });
        break;
      case "binary":
        // `form == cv2`: the right side is a choice of the left one's, which elaboration checks.
        if ((n.operator === "==" || n.operator === "!=") && n.left.kind === "name" && choices.has(n.left.text)) compared.add(n.right);
        break;
      case "call":
        uses.push({ name: n.callee, call: true });
        // An argument may be one of the choices that the function's parameter has.
        for (const p of functions.get(n.callee.text)?.parameters ?? []) if (p.kind === "parameter" && p.type.kind === "choice") for (const c of p.type.choices) own.add(c.text);
        for (const { name, value } of n.args) {
          if (name && axisArguments.includes(name.text)) for (const axis of value.kind === "list" ? value.items : [value]) axes.add(axis);
        }
        break;
      default:
    }
  });
  const initial = new Set(d.kind === "fn" ? [] : d.items.flatMap((i) => (i.kind === "weight" && i.initial?.kind === "call" ? [i.initial.callee] : [])));
  for (const { name, call } of uses) {
    if (name.text === "" || own.has(name.text) || callable.has(name.text) || initial.has(name)) continue;
    if (call) found.push(unknownFunction(name, callable));
    else if (constants.has(name.text)) found.push({ ...unknownName(name, []), help: "a definition does not see the spec's params and consts: make it a parameter, and give it where the definition is applied" });
    else if (axes.has(name)) found.push(diagnostic("MOE3003", `no axis "${name.text}" is in scope`, { at: name.span, ...suggest(name, own) }));
    else found.push(unknownName(name, [...own, ...callable]));
  }
  return found;
}

function* configLists(d: ModelDefinition): Generator<ModelDefinition["fields"]> {
  const pending = [d.fields];
  for (let fields = pending.pop(); fields; fields = pending.pop()) {
    yield fields;
    for (const f of fields) if (f.type.kind === "record") pending.push(f.type.fields);
  }
}

function article(noun: string): string {
  return /^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`;
}
