import { type AxisRef, type DataPlan, dataOf, elaborator, Planner, Scope, type Bank, type CheckedAdapter, type ModelInstance, type ModelNode, type SitePlace, type SitePlan } from "../../check/index.ts";
import { dryEmitter } from "../../check/emitter.ts";
import { DiagnosticError, fail, type Diagnostic } from "../../diagnostics/index.ts";
import type { NumericDtype } from "../../formats/dtype.ts";
import { decodeFloat64, isNumeric } from "../../formats/dtype.ts";
import type { Host } from "../../formats/host.ts";
import { parseSafetensors, tensorBytes } from "../../formats/safetensors.ts";
import type { CaseShape } from "../../lower/index.ts";
import type { AdapterDeclaration, AtClause, BlockItem, BodyItem, LinearItem } from "../../parser/ast.ts";
import type { Program } from "../../compiler/index.ts";

/** A tensor of a case file, exact in float64. */
export interface CaseTensor {
  readonly dtype: NumericDtype;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export type CaseTensors = ReadonlyMap<string, CaseTensor>;

/** Reads a whole case file. Cases are small: more than 256 MB is refused. */
export async function readCase(host: Host, path: string): Promise<CaseTensors> {
  const found = await host.stat(path);
  if (found?.kind !== "file") fail("MOE5101", `${path} does not exist`, { help: "--tensors names a safetensors file" });
  if (found.size > 256 * 2 ** 20) fail("MOE5102", `${path} has ${found.size} bytes; a case of at most 268435456 is read`);
  const bytes = await host.readFile(path);
  const tensors = new Map<string, CaseTensor>();
  for (const entry of parseSafetensors(bytes, path).tensors.values()) {
    if (!isNumeric(entry.dtype)) continue;
    tensors.set(entry.name, { dtype: entry.dtype, shape: entry.shape, data: decodeFloat64(entry.dtype, tensorBytes(bytes, entry)) });
  }
  return batchFirst(tensors);
}

/** MOELoRA's cases are [position, sample, …], as ChatGLM's layers are: what has both comes out [sample, position, …]. */
function batchFirst(tensors: Map<string, CaseTensor>): CaseTensors {
  const samples = tensors.get("task_id")?.shape[0];
  const x = tensors.get("x")?.shape;
  if (samples === undefined || x?.length !== 3 || x[1] !== samples || x[0] === samples) return tensors;
  for (const name of ["x", "C", "output", "grad.x", "grad_balance.x"]) {
    const tensor = tensors.get(name);
    if (tensor?.shape.length !== 3) continue;
    const [p, s, n] = tensor.shape as readonly [number, number, number];
    const data = tensor.data.map((_, i) => tensor.data[((Math.floor(i / n) % p) * s + Math.floor(i / (n * p))) * n + (i % n)]!);
    tensors.set(name, { ...tensor, shape: [s, p, n], data });
  }
  return tensors;
}

/** Which part of a spec a case is about, and how the case's names read in it. */
export interface CasePlan {
  readonly shape: CaseShape;
  /** Names that a tensor of ours may have in the case, the first that is there counts. */
  readonly caseNames: (ours: string) => readonly string[];
  readonly kinds: readonly string[];
}

/**
 * Finds out what a case is about from the names of its tensors: `base.weight` is one adapted linear,
 * `base.NAME.weight` a block of the model, `input_ids` the whole model.
 */
export function planCase(program: Program, declaration: AdapterDeclaration, adapter: CheckedAdapter | undefined, tensors: CaseTensors): CasePlan {
  if (tensors.has("input_ids")) {
    if (!adapter) throw new DiagnosticError(program.diagnostics.filter((d) => d.severity === "error"));
    return { shape: { kind: "model", adapter }, kinds: adapter.plan.kinds, caseNames: namesFor([...adapter.plan.sites].map(([path, plan]) => [path, path, plan])) };
  }
  const single = tensors.get("base.weight");
  if (single) return planSite(program, declaration, single);
  const linears = [...tensors.keys()].flatMap((n) => /^base\.([\w-]+)\.weight$/.exec(n)?.slice(1) ?? []);
  if (linears.length) return planBlock(program, declaration, linears, tensors);
  return fail("MOE5340", "the case holds neither base.weight, base.NAME.weight nor input_ids: it is not known what it is a case of", {
    help: "names are those of published cases: x, C, mask, base.weight, expert.0.A, router.weight, output, grad.x …",
  });
}

/** The first clause that puts something on a linear. */
function adaptingClause(declaration: AdapterDeclaration): AtClause {
  const at = declaration.sites.find((s) => s.clauses.some((c) => c.kind !== "unfreeze"));
  return at ?? fail("MOE5341", `the adapter "${declaration.name.text}" adapts no linear layer`, { at: declaration.name.span });
}

function makePlan(program: Program, declaration: AdapterDeclaration, at: AtClause, place: Pick<SitePlace, "in" | "out" | "linears">): SitePlan {
  const { context } = program.checked;
  const found: Diagnostic[] = program.diagnostics.filter((d) => d.code.startsWith("MOE1"));
  const planner = new Planner(context.definitions, elaborator(context, dryEmitter, false), context.constants, dataIn(program, declaration));
  const guard = (body: () => void): void => {
    try {
      body();
    } catch (e) {
      if (!(e instanceof DiagnosticError)) throw e;
      found.push(...e.diagnostics);
    }
  };
  const plan = planner.plan(at, { ...place, layer: 0, layers: 1 }, guard, (d) => found.push(d));
  const errors = found.filter((d) => d.severity === "error");
  if (errors.length) throw new DiagnosticError(errors);
  return plan;
}

/** What the adapter itself says of its data. */
function dataIn(program: Program, declaration: AdapterDeclaration): DataPlan {
  const { context } = program.checked;
  const quiet = { add: () => {}, guard: (body: () => void) => body() };
  return { ...dataOf(declaration, context.constants, elaborator(context, dryEmitter, false), quiet), kinds: listed(declaration) };
}

/** The kinds that the adapter lists itself. */
function listed(declaration: AdapterDeclaration): string[] {
  return (declaration.kinds ?? []).map((k) => k.text);
}

function kindsOf(declaration: AdapterDeclaration, plans: Iterable<SitePlan>): string[] {
  if (declaration.kinds) return listed(declaration);
  return [...new Set([...plans].flatMap((p) => p.balances.flatMap((b) => [...b.map.keys()])))];
}

function planSite(program: Program, declaration: AdapterDeclaration, weight: CaseTensor): CasePlan {
  const { axes } = program.checked.context;
  const [to, from] = sides("base.weight", weight);
  const plan = makePlan(program, declaration, adaptingClause(declaration), { in: axes.get("in", from), out: axes.get("out", to) });
  const kinds = kindsOf(declaration, [plan]);
  return { shape: { kind: "site", plan, in: axes.get("in", from), out: axes.get("out", to), data: { ...dataIn(program, declaration), kinds } }, kinds, caseNames: namesFor([["site", "", plan]]) };
}

function sides(name: string, weight: CaseTensor): readonly [number, number] {
  const [out, from] = weight.shape;
  if (weight.shape.length !== 2 || out === undefined || from === undefined) return fail("MOE5340", `${name} is [${weight.shape.join(", ")}]; a linear's weight is [out, in]`);
  return [out, from];
}

/** A block of the base's model definition that has the case's linears, with axes of the case's sizes. */
function planBlock(program: Program, declaration: AdapterDeclaration, linears: readonly string[], tensors: CaseTensors): CasePlan {
  const { context } = program.checked;
  const at = adaptingClause(declaration);
  const base = context.definitions.bases.get(declaration.base.text);
  const model = base && context.definitions.models.get(base.model.text);
  if (!model) throw new DiagnosticError(program.diagnostics.filter((d) => d.severity === "error"));
  const item = findBlock(model.items, linears);
  if (!item) return fail("MOE5341", `the model "${model.name.text}" has no block with the linears ${linears.join(", ")}`, { at: at.path.span });
  const scope = new Scope();
  scope.define(model.config.text, { kind: "const", value: Object.fromEntries(model.fields.map((f) => [f.name.text, f.type.kind === "bool" ? false : f.type.kind === "record" ? {} : 1])) });
  for (const symbol of ["sample", "position"]) scope.define(symbol, { kind: "axis", axis: context.axes.get(symbol, symbol) });
  const nodes: ModelNode[] = [];
  const sites = new Map<string, SitePlan>();
  for (const name of linears) {
    const linear = item.items.find((i): i is LinearItem => i.kind === "linear" && i.name.text === name)!;
    const [out, from] = sides(`base.${name}.weight`, tensors.get(`base.${name}.weight`)!);
    const names = linear.axes.axes.map((a) => a.text);
    const [a, b] = [from, out].map((size, i) => context.axes.get(names[i]!, size)) as [AxisRef, AxisRef];
    scope.define(names[0]!, { kind: "axis", axis: a });
    scope.define(names[1]!, { kind: "axis", axis: b });
    const path = [item.name.text, name];
    nodes.push({ path, kind: "linear", axes: [a, b], tensors: [{ name: `base.${name}.weight`, usual: `base.${name}.weight`, axes: [b, a] }] });
    if (at.path.segments.at(-1)?.globs.some((g) => g.text === name || g.text.includes("*"))) sites.set(path.join("."), makePlan(program, declaration, at, { in: a, out: b }));
  }
  const instance: ModelInstance = { definition: model, config: {}, scope, nodes, layers: 1, unused: new Set() };
  const kinds: string[] = [];
  const adapter = { sites, unfrozen: new Set<string>(), kinds, fields: dataIn(program, declaration).fields, groups: [], siteCount: () => sites.size };
  // The block's first parameter says by name which of its axes the input has.
  const parameter = item.signature.parameters[0];
  const named = parameter?.kind === "tensor" ? (parameter.axes?.axes ?? []).map((n) => scope.lookup(n.text)) : [];
  const input = named.flatMap((e) => (e?.kind === "axis" && typeof e.axis.size === "number" ? [e.axis] : []))[0];
  const x = tensors.get("x");
  if (!input || input.size !== x?.shape.at(-1)) return fail("MOE5340", `the block's input x does not fit: it is [${x?.shape.join(", ")}]`);
  // A clause on the block itself patches it whole.
  if (at.clauses.some((c) => c.kind === "experts" && c.value.kind === "patch")) {
    const inside = new Map(nodes.map((n) => [n.path.at(-1)!, { in: n.axes[0]!, out: n.axes[1]!, layer: 0, layers: 1 }]));
    sites.set(item.name.text, makePlan(program, declaration, at, { in: input, out: input, linears: inside }));
  }
  kinds.push(...kindsOf(declaration, sites.values()));
  return {
    shape: { kind: "block", item, scope, model: instance, adapter, in: input },
    kinds,
    caseNames: namesFor([...sites].map(([path, plan]) => [path, path === item.name.text ? "" : path.slice(item.name.text.length + 1), plan])),
  };
}

function findBlock(items: readonly BodyItem[], linears: readonly string[]): BlockItem | undefined {
  for (const item of items) {
    if (item.kind !== "block") continue;
    const own = item.items.filter((i) => i.kind === "linear").map((i) => i.name.text);
    if (linears.every((l) => own.includes(l))) return item;
    const inner = findBlock(item.items, linears);
    if (inner) return inner;
  }
  return undefined;
}

/**
 * Our names carry the group and the index in it; cases number all experts of a site, and PEFT's single LoRA has names
 * of its own. `sites` are [our prefix, the case's prefix, plan].
 */
function namesFor(sites: readonly (readonly [string, string, SitePlan])[]): (ours: string) => readonly string[] {
  const known = new Map<string, string[]>();
  for (const [ours, theirs, plan] of sites) {
    const prefix = theirs === "" ? "" : `${theirs}.`;
    // One router of the whole model: X-LoRA's classifier.
    const routed = plan.scope === "model" ? "router" : `${ours}.router`;
    for (const w of plan.router ? weightNames(plan.router) : []) {
      known.set(`${routed}.${w}`, w === "W" ? [`${prefix}router.weight`, `${prefix}gate.weight`, "classifier.weight"] : [`${prefix}router.${w}`, `${prefix}${w.replace("_", ".")}`, `${prefix}task_${w}.weight`, ...(plan.scope === "model" ? [`classifier.${w}`] : [])]);
    }
    let number = 0;
    const bank = (owner: string, applied: Bank): void => {
      for (const w of weightNames(applied)) {
        // Whole adapters that are mixed (X-LoRA) hold a model each, in which a site has its whole name.
        const names = [`${prefix}expert.${number}.${w}`, `adapter.${number}.model.${theirs}.${w}`];
        // What stands alone at its site need not be numbered: "magnitude", "ia3.l", PEFT's "lora_A".
        // A variant goes by the name of its kind: "ia3.l" is ia3_input's too.
        const { text } = applied.definition.name;
        if (applied.always) names.push(`${prefix}${w}`, `${prefix}${text}.${w}`, `${prefix}${text.split("_")[0]}.${w}`, `weight.model.${theirs}.lora_${w}.weight`);
        known.set(`${ours}.${owner}.${w}`, names);
      }
      // What the experts of a group have in common stands once for all of them.
      for (const w of applied.shared) known.set(`${ours}.${applied.name}.shared.${w}`, [`${prefix}shared.${w}`, `${prefix}${applied.name}.shared.${w}`]);
      number++;
    };
    for (const b of plan.banks) {
      if (b.always) bank(b.name, b);
      else {
        for (let i = 0; i < b.count; i++) {
          const group = plan.groups.find((g) => b.start + i >= g.start && b.start + i < g.start + g.count)!;
          bank(`${group.name}.${b.start + i - group.start}`, b);
        }
      }
    }
    // A patched block: "mlp.gate_proj.ffn.0.A" is the case's "expert.0.gate_proj.A".
    for (const p of plan.patches) {
      for (const [linear, applied] of p.entries) {
        for (let i = 0; i < p.count; i++) {
          for (const w of weightNames(applied)) known.set(`${ours}.${linear}.${p.name}.${i}.${w}`, [`${prefix}expert.${p.start + i}.${linear}.${w}`]);
        }
      }
    }
  }
  return (ours) => known.get(ours) ?? [ours];
}

function weightNames({ definition }: Pick<Bank, "definition">): string[] {
  return definition.items.flatMap((i) => (i.kind === "weight" ? [i.name.text] : []));
}
