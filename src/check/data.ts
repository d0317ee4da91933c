import { diagnostic, fail, type Diagnostic } from "../diagnostics/index.ts";
import type { AdapterDeclaration } from "../parser/ast.ts";
import type { ForwardInput } from "./assemble.ts";
import { SyntaxUnit, type Elaborator } from "./elaborate.ts";
import type { Reports } from "./params.ts";
import type { DataPlan, Field } from "./plan.ts";
import { offered, type LazyBatch } from "./routing.ts";
import type { Scope } from "./scope.ts";
import { suggest } from "./suggest.ts";
import type { TensorOps } from "./tensors.ts";
import { showConst, type Tensor } from "./values.ts";

/** What an adapter says of its data. A mistake in one clause leaves the others. */
export function dataOf(declaration: AdapterDeclaration, constants: Scope, dry: Elaborator, reporter: Reports): DataPlan {
  return { kinds: kindsOf(declaration, (d) => reporter.add(d)), fields: fieldsOf(declaration, constants, dry, reporter.guard) };
}

/** The kinds of data of an adapter: those it lists, else those that its arrows name. A listed kind stands once. */
function kindsOf(declaration: AdapterDeclaration, report: (d: Diagnostic) => void): string[] {
  const kinds = new Set<string>();
  for (const kind of declaration.kinds ?? []) {
    if (kinds.has(kind.text)) report(diagnostic("MOE2013", `the kind "${kind.text}" is listed twice`, { at: kind.span }));
    if (kind.text !== "") kinds.add(kind.text);
  }
  const arrows = declaration.sites.flatMap((at) => at.clauses.flatMap((c) => (c.kind === "balance" ? c.map : [])));
  for (const { from } of arrows) {
    if (from.text === "" || kinds.has(from.text)) continue;
    if (!declaration.kinds) kinds.add(from.text);
    else report(diagnostic("MOE2001", `the adapter lists no kind "${from.text}"`, { at: from.span, ...suggest(from, kinds, `its kinds: ${[...kinds].join(", ")}`) }));
  }
  return [...kinds];
}

/** The fields of an adapter's data, with how many values each has. */
function fieldsOf(declaration: AdapterDeclaration, constants: Scope, dry: Elaborator, guard: Reports["guard"]): Field[] {
  const fields = new Map<string, Field>();
  for (const { name, count } of declaration.fields ?? []) {
    guard(() => {
      if (name.text === "") throw new SyntaxUnit();
      if (fields.has(name.text)) fail("MOE2013", `the field "${name.text}" is declared twice`, { at: name.span });
      if (offered.includes(name.text)) fail("MOE2013", `"${name.text}" is what every router is given`, { at: name.span, help: "a field is a column of the data: give the column another name" });
      const values = count && dry.evaluateConst(count, constants, "how many values a field has is known at compile time").value;
      if (count && (typeof values !== "number" || !Number.isSafeInteger(values) || values < 1 || values > 65536)) {
        fail("MOE3005", `a field has a whole number of values from 1 to 65536, this is ${showConst(values!)}`, { at: count.span });
      }
      fields.set(name.text, { name: name.text, ...(typeof values === "number" ? { values } : {}) });
    });
  }
  return [...fields.values()];
}

/** What only some programs ask of a batch: each becomes a parameter when it is asked for first. */
export function lazyBatch(ops: TensorOps, handle: (name: string, tensor: Omit<Tensor, "handle">) => unknown): LazyBatch {
  const made = new Map<string, Tensor>();
  const once = (name: string, dtype: Tensor["dtype"], axes: readonly string[]): Tensor => {
    const tensor = { kind: "tensor" as const, dtype, axes: axes.map((a) => ops.axes.get(a, a)) };
    const known = made.get(name) ?? { ...tensor, handle: handle(name, tensor) };
    made.set(name, known);
    return known;
  };
  return {
    prompt: () => once("prompt", "f32", ["sample", "position"]),
    field: (field) => once(`fields.${field.name}`, field.values === undefined ? "f32" : "i32", ["sample"]),
  };
}

/** The tensors that a batch brings, as parameters of an elaboration. */
export function batchTensors(ops: TensorOps, handle: (name: string, tensor: Omit<Tensor, "handle">) => unknown): ForwardInput {
  const sample = ops.axes.get("sample", "sample");
  const position = ops.axes.get("position", "position");
  const make = (name: string, dtype: Tensor["dtype"], axes: Tensor["axes"]): Tensor => {
    const tensor = { kind: "tensor" as const, dtype, axes };
    return { ...tensor, handle: handle(name, tensor) };
  };
  return {
    tokens: make("tokens", "i32", [sample, position]),
    mask: make("mask", "f32", [sample, position]),
    kind: make("kind", "i32", [sample]),
    batch: lazyBatch(ops, handle),
  };
}
