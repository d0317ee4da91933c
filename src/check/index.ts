import { diagnostic, DiagnosticError, fail, type Code, type Diagnostic, type Span } from "../diagnostics/index.ts";
import type { TrainSettings } from "../formats/manifest.ts";
import type { Validator } from "../formats/schema.ts";
import type { AdapterDeclaration, BaseDeclaration, Declaration, ModelDefinition, SourceFile, TrainDeclaration } from "../parser/ast.ts";
import { holdsQuantised, otherArchitecture, saysQuantised } from "./architecture.ts";
import { Assembly, type AdapterPlan } from "./assemble.ts";
import { elaborator, type ElaborationContext } from "./context.ts";
import { batchTensors } from "./data.ts";
import { collect, type Definitions } from "./definitions.ts";
import { type Elaborator, SyntaxUnit } from "./elaborate.ts";
import { dryEmitter } from "./emitter.ts";
import { compareTensors, configSchema, instantiate, type ModelInstance, type TensorHeader } from "./model.ts";
import { batchValue, StateEmitter, updatesOf } from "./states.ts";
import { evaluateConstants } from "./params.ts";
import type { SitePlace } from "./plan.ts";
import { nothing, reached, ReachEmitter, type Reach } from "./reach.ts";
import { routerWarnings } from "./routers.ts";
import { Scope } from "./scope.ts";
import { commonKey, proofKey, type ProofMemory } from "./proved.ts";
import { proveCausality } from "./causal.ts";
import { placeOf, planAdapter } from "./sites.ts";
import { listed, suggest } from "./suggest.ts";
import { LineIndex } from "./tensors.ts";
import { checkAlone } from "./unused.ts";
import { defaultTrain, trainSettings } from "./train.ts";
import { AxisTable } from "./values.ts";

export { Assembly, type AdapterPlan, type Forward, type ForwardInput } from "./assemble.ts";
export { applySite, type SiteInput, type SiteOutput } from "./adapt.ts";
export { elaborateSite, proveMerge, type Fixed, type MergeProof, type MergeSite } from "./merge.ts";
export { initializerNames } from "./weights.ts";
export { builtins } from "./builtins.ts";
export { Elaborator } from "./elaborate.ts";
export { elaborator, type ElaborationContext } from "./context.ts";
export { configSchema, type ModelInstance, type ModelNode } from "./model.ts";
export { batchValue, isStatistic, StateEmitter, updatesOf, type StateSink } from "./states.ts";
export { batchTensors, dataOf, lazyBatch } from "./data.ts";
export { defaultTrain } from "./train.ts";
export { ProofMemory } from "./proved.ts";
export { Planner, type DataPlan, type Field, type SitePlan, type SitePlace, type Bank, type Group } from "./plan.ts";
export type { LazyBatch } from "./routing.ts";
export { Scope } from "./scope.ts";
export { suppress } from "./suppress.ts";
export { LineIndex, TensorOps } from "./tensors.ts";
export { AxisTable, type AxisRef, type DType, type Tensor, type Handle } from "./values.ts";
export type { Emitter, EmitOrigin, FoldBody, FoldResults, Initial, LayerRun, WeightRequest } from "./emitter.ts";
export type { Definitions } from "./definitions.ts";

/** A checkpoint folder's headers, read before checking; no weight is read. */
export interface CheckpointHeaders {
  readonly config: unknown;
  readonly configText: string;
  readonly configFile: string;
  readonly tensors: ReadonlyMap<string, TensorHeader>;
}

export interface CheckInput {
  /** The library, parsed. */
  readonly library: readonly SourceFile[];
  /** The spec, then what it imports. */
  readonly files: readonly SourceFile[];
  /** Values for `param`s, as texts. */
  readonly set: ReadonlyMap<string, string>;
  /** Headers by the path that a `base` names; diagnostics where they could not be read. */
  readonly checkpoints: ReadonlyMap<string, CheckpointHeaders | readonly Diagnostic[]>;
  /** Validates a configuration. */
  readonly validate: Validator;
  /** Extra tensors in a checkpoint are errors. */
  readonly strict?: boolean;
  /** What was proved for earlier texts. */
  readonly proved?: ProofMemory;
}

export interface CheckedBase {
  readonly name: string;
  readonly declaration: BaseDeclaration;
  readonly path: string;
  readonly model: ModelInstance;
}

/** An adapter with everything decided and proved: lowering it cannot fail for a reason of the user's. */
export interface CheckedAdapter {
  readonly name: string;
  readonly declaration: AdapterDeclaration;
  readonly base: CheckedBase;
  readonly plan: AdapterPlan;
  readonly train: TrainSettings;
}

export interface Checked {
  readonly definitions: Definitions;
  readonly adapters: readonly CheckedAdapter[];
  readonly diagnostics: readonly Diagnostic[];
  /** For further elaborations of the same program. */
  readonly context: ElaborationContext;
}

/** Checks a spec: names, types, axes, the checkpoint, and that every weight learns. Never throws for a user's mistake. */
export function check(input: CheckInput): Checked {
  const reporter = new Reporter([...input.library, ...input.files]);
  const definitions = collect(input.library, input.files, (d) => reporter.add(d));
  const lines = new Map<string, LineIndex>();
  const texts = new Map([...input.library, ...input.files].map((f) => [f.path, f.text]));
  const constants = new Scope();
  const context: ElaborationContext = {
    axes: new AxisTable(),
    definitions,
    constants,
    lines: (file) => {
      const text = texts.get(file);
      if (text === undefined) return undefined;
      let index = lines.get(file);
      if (!index) lines.set(file, (index = new LineIndex(text)));
      return index;
    },
  };
  const dry = elaborator(context, dryEmitter, true, reporter.addStated);
  evaluateConstants(input.set, definitions, dry, constants, reporter);

  const bases = new Map<string, CheckedBase | undefined>();
  for (const [name, declaration] of definitions.bases) {
    reporter.guard(() => bases.set(name, checkBase(name, declaration, definitions, input, dry, reporter)));
    if (!bases.has(name)) bases.set(name, undefined);
  }
  for (const declaration of definitions.trains) {
    const { text, span } = declaration.adapter;
    if (text !== "" && !definitions.adapters.has(text)) {
      reporter.add(diagnostic("MOE2001", `no adapter is named "${text}"`, { at: span, ...suggest(declaration.adapter, definitions.adapters.keys(), listed("there are", definitions.adapters.keys(), "the spec declares none")) }));
    }
  }
  const used = new Set<object>();
  const common = input.proved && commonKey(input.library, input.files, input.set);
  const adapters: CheckedAdapter[] = [];
  for (const [name, declaration] of definitions.adapters) {
    reporter.guard(() => {
      const applied = new Set<object>();
      const memory = input.proved && {
        proved: input.proved,
        key: (model: ModelInstance) => proofKey(common!, name, definitions, applied, model, input.files),
      };
      try {
        const adapter = checkAdapter(name, declaration, bases, context, dry, reporter, applied, memory);
        if (adapter) adapters.push(adapter);
      } finally {
        for (const definition of applied) used.add(definition);
      }
    });
  }
  for (const d of input.files.flatMap((f) => f.declarations)) {
    if ((d.kind !== "expert" && d.kind !== "router" && d.kind !== "balance") || used.has(d) || !d.signature || definitions.faulty.has(d)) continue;
    reporter.guard(() => checkAlone(d, context));
  }
  return { definitions, adapters, diagnostics: reporter.list, context };
}

/** Codes that say that something is missing: where the text is broken it may only have been misread. */
const absences: ReadonlySet<Code> = new Set<Code>(["MOE2022", "MOE2023", "MOE2024", "MOE2025", "MOE2026", "MOE2027"]);

/** Codes that say that a name is declared nowhere. */
const unknowns: ReadonlySet<Code> = new Set<Code>(["MOE2001", "MOE2002"]);

/** Collects diagnostics; a unit that throws one is left, the next is looked at. */
class Reporter {
  readonly list: Diagnostic[];
  readonly #seen = new Set<string>();
  /** Declarations that hold syntax errors. */
  readonly #broken: readonly Span[];
  /** A declaration was lost to a syntax error: what it declared is not unknown. */
  readonly #lost: boolean;

  constructor(files: readonly SourceFile[]) {
    this.list = files.flatMap((f) => f.diagnostics);
    const holds = (d: Declaration, s: Diagnostic) => s.primary !== undefined && lies(s.primary.span, d.span);
    this.#broken = files.flatMap((f) => f.declarations.filter((d) => f.diagnostics.some((s) => holds(d, s))).map((d) => d.span));
    this.#lost = files.some((f) => f.diagnostics.some((s) => !f.declarations.some((d) => holds(d, s))));
  }

  /**
   * Adds a diagnostic unless that mistake was reported already: the same code at the same place is one mistake, also
   * where a definition is applied at many sites, or where each layer would say it in other numbers.
   */
  add(d: Diagnostic): void {
    if (d.primary && this.#misread(d.code, d.primary.span)) {
      this.#errors++;
      this.#said++;
      return;
    }
    this.#addOnce(d, d.primary ? `${d.code} ${d.primary.span.file}:${d.primary.span.start}-${d.primary.span.end}` : `${d.code} ${d.message}`);
  }

  /** Adds what is wrong with a file that the text names `at` a place: several faults may share that place. */
  addFile(d: Diagnostic, at: Span): void {
    this.#addOnce(d.primary ? d : { ...d, primary: { span: at } }, `${d.code} ${d.message}`);
  }

  /** Adds what a text states of a place: each of its statements may fail there by itself. */
  readonly addStated = (d: Diagnostic): void => {
    const keys = [d.primary, ...d.secondary].map((l) => (l ? `${l.span.file}:${l.span.start}-${l.span.end}` : ""));
    this.#addOnce(d, `${d.code} ${keys.join(" ")}`);
  };

  #addOnce(d: Diagnostic, key: string): void {
    this.#said++;
    if (d.severity === "error") this.#errors++;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.list.push(d);
  }

  /** Whether a declaration holds syntax errors. */
  isBroken(declaration: Span): boolean {
    return this.#broken.includes(declaration);
  }

  /** Whether a syntax error accounts for what would be said here. */
  #misread(code: Code, span: Span): boolean {
    if (unknowns.has(code)) return this.#lost;
    return absences.has(code) && this.#broken.some((b) => lies(span, b));
  }


  readonly guard = (body: () => void): void => {
    try {
      body();
    } catch (e) {
      if (!(e instanceof DiagnosticError)) throw e;
      if (e.diagnostics.length === 0) {
        this.#errors++;
        this.#said++;
      }
      for (const d of e.diagnostics) this.add(d);
    }
  };

  /** How much was said, again or not, warnings too. */
  get said(): number {
    return this.#said;
  }

  #said = 0;

  /** How often something was wrong, said again or not: whether a unit is whole shows by comparing before and after. */
  get errors(): number {
    return this.#errors;
  }

  #errors = 0;
}

function lies(inner: Span, outer: Span): boolean {
  return inner.file === outer.file && inner.start >= outer.start && inner.end <= outer.end;
}

/** The path a `base` declaration names; undefined where its argument is not one string. */
export function basePath(declaration: BaseDeclaration): string | undefined {
  const [arg, more] = declaration.args;
  if (!arg || more || (arg.name && arg.name.text !== "path")) return undefined;
  return arg.value.kind === "string" ? arg.value.value : undefined;
}

/** The model definition of a base. */
function baseModel(declaration: BaseDeclaration, definitions: Definitions): ModelDefinition {
  const model = definitions.models.get(declaration.model.text);
  if (model) {
    if (definitions.faulty.has(model)) throw new SyntaxUnit();
    return model;
  }
  if (declaration.model.text === "") throw new SyntaxUnit();
  return fail("MOE2002", `no model is named "${declaration.model.text}"`, {
    at: declaration.model.span,
    ...suggest(declaration.model, definitions.models.keys(), listed("there are", definitions.models.keys())),
  });
}

function checkBase(name: string, declaration: BaseDeclaration, definitions: Definitions, input: CheckInput, dry: Elaborator, reporter: Reporter): CheckedBase | undefined {
  if (reporter.isBroken(declaration.span)) return undefined;
  const model = baseModel(declaration, definitions);
  const path = basePath(declaration);
  if (path === undefined) return fail("MOE2003", `${declaration.model.text}(…) takes the path of a checkpoint folder`, { at: declaration.span, help: `for example ${declaration.model.text}("models/tiny-llama")` });
  const at = declaration.args[0]!.span;
  const headers = input.checkpoints.get(path);
  if (!headers) return undefined;
  if (Array.isArray(headers)) {
    for (const d of headers as readonly Diagnostic[]) reporter.addFile(d, at);
    return undefined;
  }
  const files = headers as CheckpointHeaders;
  // The folder that was read: `--base` may have put another in the spec's place.
  const folder = files.configFile.replace(/\/?config\.json$/, "") || ".";
  const refused = (found: Diagnostic | undefined): boolean => {
    if (found) reporter.add(found);
    return found !== undefined;
  };
  if (refused(otherArchitecture(declaration, model, definitions.models, files)) || refused(saysQuantised(files, folder, at))) return undefined;
  const problems = input.validate(configSchema(model), files.config, files.configText, files.configFile);
  for (const d of problems) reporter.add(d);
  if (problems.some((d) => d.severity === "error")) return undefined;
  const instance = instantiate(model, files.config as Record<string, unknown>, files.tensors.keys(), dry, at);
  if (refused(holdsQuantised(instance, files, folder, at))) return undefined;
  const wrong = compareTensors(instance, files.tensors, folder, input.strict ?? false);
  for (const d of wrong) reporter.add(d.primary ? d : { ...d, secondary: [...d.secondary, { span: at, text: "the checkpoint is named here" }] });
  if (wrong.some((d) => d.severity === "error")) return undefined;
  return { name, declaration, path, model: instance };
}

function checkAdapter(
  name: string,
  declaration: AdapterDeclaration,
  bases: ReadonlyMap<string, CheckedBase | undefined>,
  context: ElaborationContext,
  dry: Elaborator,
  reporter: Reporter,
  applied: Set<object>,
  memory: { readonly proved: ProofMemory; readonly key: (model: ModelInstance) => string } | undefined,
): CheckedAdapter | undefined {
  const before = reporter.errors;
  const train = trainOf(name, context.definitions);
  const settings = train ? trainSettings(train, context.constants, dry, reporter.guard) : defaultTrain;
  if (!bases.has(declaration.base.text)) {
    if (declaration.base.text === "") return undefined;
    fail("MOE2001", `no base is named "${declaration.base.text}"`, {
      at: declaration.base.span,
      ...suggest(declaration.base, bases.keys(), listed("there are", bases.keys(), 'declare one, for example: base llama = llama("models/tiny-llama")')),
    });
  }
  const base = bases.get(declaration.base.text);
  if (!base) return undefined;
  const plan = planAdapter(declaration, base.model, context, dry, reporter, applied);
  if (reporter.errors > before) return undefined;
  const adapter = { name, declaration, base, plan, train: settings };
  const key = memory?.key(base.model);
  if (key !== undefined && memory!.proved.has(key)) return adapter;
  const said = reporter.said;
  const placeOf = (path: string): SitePlace | undefined => sitePlace(path, base.model);
  proveCausality(plan, context, placeOf, reporter);
  if (reporter.errors > before) return undefined;
  proveReach(adapter, context, reporter);
  for (const d of routerWarnings(plan, context, placeOf)) reporter.add(d);
  if (key !== undefined && reporter.said === said) memory!.proved.add(key);
  return reporter.errors > before ? undefined : adapter;
}

/** How an adapter is trained: its own block, or that of the adapter it varies. */
function trainOf(name: string, { trains, parents }: Definitions): TrainDeclaration | undefined {
  for (let of: string | undefined = name; of !== undefined; of = parents.get(of)) {
    const own = trains.find((t) => t.adapter.text === of);
    if (own) return own;
  }
  return undefined;
}

/** The place of a site. */
function sitePlace(path: string, model: ModelInstance): SitePlace | undefined {
  const node = model.nodes.find((n) => n.path.join(".") === path);
  return node && placeOf(node, model);
}

/** Elaborates once to type-check the whole, and proves that every trainable weight reaches the loss. */
function proveReach(adapter: CheckedAdapter, context: ElaborationContext, reporter: Reporter): void {
  const emitter = new ReachEmitter();
  const e = elaborator(context, emitter, true, reporter.addStated);
  const assembly = new Assembly(e, adapter.base.model, adapter.plan, { statistics: true });
  const forward = assembly.forward(batchTensors(e.ops, () => nothing));
  if ([...adapter.plan.sites.values()].some((p) => updatesOf(p).length > 0)) {
    const once = elaborator(context, new StateEmitter({ ...dryEmitter, statistic: () => null, next: () => {} }), false);
    reporter.guard(() => new Assembly(once, adapter.base.model, adapter.plan, { statistics: false }).forward(batchTensors(once.ops, () => batchValue)));
  }
  const learning = reached([forward.logits, ...(forward.balance ? [forward.balance] : [])].map((t) => t.handle as Reach));
  for (const use of emitter.weights) {
    if (learning.has(use)) continue;
    const { file, start, end } = use.origin;
    reporter.add(diagnostic("MOE3020", `the weight "${use.name.slice(use.name.lastIndexOf(".") + 1)}" does not reach the loss: it would never learn`, { at: { file, start, end }, help: "use it in the result, or remove it" }));
  }
  if (emitter.weights.length === 0) {
    reporter.add(diagnostic("MOE2025", `the adapter "${adapter.name}" has nothing to train`, { at: adapter.declaration.name.span }));
  }
  for (const plan of adapter.plan.sites.values()) {
    for (const b of plan.balances) {
      if (b.weight === 0) reporter.add(diagnostic("MOE3022", "a balance with weight 0 has no effect", { at: b.clause.span, help: "remove it, or give it a weight" }));
    }
  }
}
