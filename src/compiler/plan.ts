import type { AdapterPlan, CheckedAdapter, ModelNode, SitePlan } from "../check/index.ts";
import { planKey } from "../check/plan.ts";
import { forTrainingAlone } from "../codegen/index.ts";
import { everyBackend, type BackendName } from "../formats/backends.ts";
import { byteSize, dtypeBits, type Dtype } from "../formats/dtype.ts";
import { Costs } from "../ir/cost.ts";
import type { Module, Weight } from "../ir/graph.ts";
import type { Sizes } from "../ir/size.ts";
import { lower, lowerCase } from "../lower/index.ts";
import { optimize, removeDead, type ReleaseReport } from "../passes/index.ts";
import { expertsOf } from "./info.ts";
import { optimizeForTraining } from "./compile.ts";
import { elementsIn, keptForBackward } from "./plan-memory.ts";
import type { Program } from "./program.ts";

/** What a plan is made for: the spec's batch, and code for every backend, where nothing else is given. */
export interface PlanOptions {
  /** Samples of one step, over all its micro-batches. */
  readonly batch?: number;
  /** Tokens of each sample. */
  readonly length?: number;
  /** What the code is laid out for: it holds one copy of each frozen matrix, or two. */
  readonly for?: BackendName | undefined;
}

/**
 * What an adapter costs, told before a weight is read. Bytes are bytes; an operation is one multiplication or one
 * addition, so that a product of [n, k] and [k, m] has 2·n·k·m; parameters are numbers.
 */
export interface CostPlan {
  readonly format: "moec-plan/1";
  readonly spec: string;
  readonly adapter: string;
  readonly base: {
    readonly path: string;
    readonly model: string;
    readonly layers: number;
    readonly parameters: number;
    /** Bytes in the checkpoint by dtype: {"BF16": 141107412992}. */
    readonly dtypes: Readonly<Record<string, number>>;
    /** The longest sequence that the base was made for, where its configuration says. */
    readonly context?: number;
  };
  readonly batch: {
    /** Samples of a step, of how many micro-batches; activations are those of one. */
    readonly samples: number;
    readonly microBatches: number;
    readonly length: number;
    /** Tokens of one micro-batch. */
    readonly tokens: number;
  };
  /** Sites alike in all that is told of them stand together, in the model's order. */
  readonly sites: readonly SiteCosts[];
  /** Trainable numbers, and as a share of the base's. */
  readonly trainable: { readonly parameters: number; readonly share: number };
  /** Per token of the batch, evaluation unless said otherwise. */
  readonly operations: {
    /** Of the base alone. */
    readonly base: number;
    /** What the adapter adds to it. */
    readonly extra: number;
    /** Of a training step: forward, backward and the optimizer. 0 where nothing is trained. */
    readonly training: number;
  };
  readonly memory: MemoryPlan;
}

/** Bytes. All but `checkpoint` is on the device, where numbers are float32. */
export interface MemoryPlan {
  /** The base as it lies in its files. */
  readonly checkpoint: number;
  /** The base on the device. */
  readonly base: number;
  /** Matrices of the base that are held a second time, transposed, so that no product waits for it. */
  readonly layouts: number;
  readonly adapter: number;
  /** AdamW's two moments. */
  readonly moments: number;
  readonly gradients: number;
  /** What forward keeps for backward: inside layers (all layers together), and outside. */
  readonly activations: { readonly layers: number; readonly outside: number };
  /** Most bytes alive at once beside weights and moments while gradients are computed: activations, gradients, what is under way. */
  readonly peak: number;
  /** The whole of a training step at its fullest. */
  readonly training: number;
  /** The whole of an evaluation at its fullest. */
  readonly evaluation: number;
}

/** Sites of one kind, each costing the same. Numbers are of one site. */
export interface SiteCosts {
  /** "layers.*.mlp.gate_proj", the star for the numbers in `layers`; "" for weights that the whole model shares. */
  readonly path: string;
  /** Empty where the site is in no layer. */
  readonly layers: readonly number[];
  readonly count: number;
  /** A linear's sides. */
  readonly in?: number;
  readonly out?: number;
  readonly experts: readonly { readonly group: string; readonly kind: string; readonly count: number; readonly always: boolean }[];
  readonly router?: string;
  /** Whether the base's own numbers here are trained. */
  readonly unfrozen: boolean;
  readonly trainable: number;
  /** Per token, forward: of the frozen layer, and what the experts and their router add. Absent where nothing is added. */
  readonly operations?: { readonly frozen: number; readonly extra: number };
}

/**
 * Plans the cost of a checked adapter from its graph after all passes: the one that `moec build` writes. Time does not
 * grow with the sizes of weights, and with depth only as far as names are listed.
 */
export function planCosts(program: Program, adapter: CheckedAdapter, options: PlanOptions = {}): CostPlan {
  const { context } = program.checked;
  const { model } = adapter.base;
  const samples = options.batch ?? adapter.train.batch;
  const microBatches = Math.min(adapter.train.accumulate, samples);
  const length = options.length ?? adapter.train.length;
  const sizes: Sizes = { sample: Math.ceil(samples / microBatches), position: length };
  const tokens = sizes["sample"]! * length;

  const lowered = lower(context, adapter);
  const { module, reports } = optimizeForTraining(lowered, adapter.train, options.for ?? everyBackend, sizes);
  const costs = new Costs(module, sizes);
  const work = new Work(program, adapter, sizes);
  const base = work.ofModel([]);
  const steps = ["gradients", "update"].flatMap((name) => module.entries.get(name)?.fn ?? []);
  const training = steps.length === 2 ? costs.fn(steps[0]!).flops + costs.fn(steps[1]!).flops / microBatches : 0;

  const sites = siteCosts(adapter, lowered.weights, work);
  const trainable = sites.reduce((n, s) => n + s.count * s.trainable, 0);
  const { parameters, bytes, dtypes } = stored(program, adapter);
  const limit = model.config["max_position_embeddings"];
  return {
    format: "moec-plan/1",
    spec: program.file,
    adapter: adapter.name,
    base: {
      path: program.basePath(adapter),
      model: model.definition.name.text,
      layers: model.layers,
      parameters,
      dtypes,
      ...(typeof limit === "number" ? { context: limit } : {}),
    },
    batch: { samples, microBatches, length, tokens },
    sites,
    trainable: { parameters: trainable, share: parameters === 0 ? 0 : trainable / parameters },
    operations: {
      base: Math.round(base / tokens),
      extra: Math.round((costs.fn("logits").flops - base) / tokens),
      training: Math.round(training / tokens),
    },
    memory: memory(module, reports.release, sizes, bytes, trainable, microBatches),
  };
}

function memory(module: Module, released: readonly ReleaseReport[], sizes: Sizes, checkpoint: number, trainable: number, microBatches: number): MemoryPlan {
  const held = { base: 0, layouts: 0, adapter: 0 };
  let forTraining = 0;
  for (const w of module.weights) {
    const bytes = 4 * elementsIn(w.type);
    held[w.layoutOf !== undefined ? "layouts" : isBase(w) ? "base" : "adapter"] += bytes;
    if (w.layoutOf !== undefined && forTrainingAlone(module, w)) forTraining += bytes;
  }
  const weights = held.base + held.layouts + held.adapter;
  const peakOf = (entry: string): number => released.find((r) => r.fn === module.entries.get(entry)?.fn)?.peakBytes ?? 0;
  const entry = module.entries.get("gradients");
  const gradients = 4 * trainable;
  // The gradients of earlier micro-batches wait while the next are computed.
  const peak = peakOf("gradients") + (microBatches > 1 ? gradients : 0);
  return {
    checkpoint,
    ...held,
    moments: 8 * trainable,
    gradients,
    activations: entry ? keptForBackward(module, entry, sizes) : { layers: 0, outside: 0 },
    peak,
    training: trainable === 0 ? 0 : weights + 8 * trainable + Math.max(peak, gradients + peakOf("update")),
    evaluation: weights - forTraining + peakOf("evaluate"),
  };
}

/** Whether a weight is the checkpoint's, trained or not. */
function isBase(weight: Weight): boolean {
  return weight.sources.some((s) => s.tensor !== undefined);
}

/** The tensors of the checkpoint that the model uses. */
function stored(program: Program, adapter: CheckedAdapter): { parameters: number; bytes: number; dtypes: Record<string, number> } {
  const headers = program.headers(adapter);
  const dtypes: Record<string, number> = {};
  let parameters = 0;
  let bytes = 0;
  for (const { name, axes } of adapter.base.model.nodes.flatMap((n) => n.tensors)) {
    const elements = elementsIn({ kind: "tensor", dtype: "f32", axes });
    const dtype = headers.get(name)?.dtype ?? "F32";
    const size = Object.hasOwn(dtypeBits, dtype) ? (byteSize(dtype as Dtype, elements) ?? 0) : 0;
    parameters += elements;
    bytes += size;
    dtypes[dtype] = (dtypes[dtype] ?? 0) + size;
  }
  return { parameters, bytes, dtypes };
}

/** One row for all sites that cost alike. */
function siteCosts(adapter: CheckedAdapter, weights: readonly Weight[], work: Work): SiteCosts[] {
  const { model } = adapter.base;
  const trainable = trainableByNode(model.nodes, weights);
  const operations = new Map<string, SiteCosts["operations"]>();
  const rows = new Map<string, SiteCosts & { readonly layers: number[]; count: number }>();
  for (const node of model.nodes) {
    const path = node.path.join(".");
    const plan = adapter.plan.sites.get(path);
    const own = trainable.get(path) ?? 0;
    if (!plan && own === 0) continue;
    const [from, to] = node.axes;
    const sides = node.kind === "linear" && typeof from?.size === "number" && typeof to?.size === "number" ? { in: from.size, out: to.size } : undefined;
    const starred = node.layer === undefined ? path : node.path.map((part, i) => (i === 1 ? "*" : part)).join(".");
    const unfrozen = adapter.plan.unfrozen.has(path);
    const site = plan && planKey(plan);
    const key = JSON.stringify([starred, site, unfrozen, own]);
    const known = rows.get(key);
    if (known) {
      known.count++;
      if (node.layer !== undefined) known.layers.push(node.layer);
      continue;
    }
    const sameWork = JSON.stringify([site, plan?.scope === "linear" && sides ? sides : starred]);
    if (plan && !operations.has(sameWork)) operations.set(sameWork, work.ofSite(plan, node));
    const done = operations.get(sameWork);
    rows.set(key, {
      path: starred,
      layers: node.layer === undefined ? [] : [node.layer],
      count: 1,
      ...sides,
      experts: plan ? expertsOf(plan) : [],
      ...(plan?.router ? { router: plan.router.definition.name.text } : {}),
      unfrozen,
      trainable: own,
      ...(done ? { operations: done } : {}),
    });
  }
  const shared = trainable.get("") ?? 0;
  if (shared > 0) rows.set("", { path: "", layers: [], count: 1, experts: [], unfrozen: false, trainable: shared });
  return [...rows.values()];
}

/**
 * Trainable numbers by the model's part that they belong to: the one that holds the checkpoint's tensor, or the innermost
 * one in the name of an adapter's tensor. What several share is the innermost part's that holds them all.
 */
function trainableByNode(nodes: readonly ModelNode[], weights: readonly Weight[]): ReadonlyMap<string, number> {
  const paths = new Set(nodes.map((n) => n.path.join(".")));
  const tensors = new Map(nodes.flatMap((n) => n.tensors.map((t) => [t.name, n.path.join(".")] as const)));
  const within = (name: string): string => {
    for (let at = name.lastIndexOf("."); at > 0; at = name.lastIndexOf(".", at - 1)) if (paths.has(name.slice(0, at))) return name.slice(0, at);
    return "";
  };
  const counts = new Map<string, number>();
  for (const w of weights) {
    if (!w.trainable || w.layoutOf !== undefined) continue;
    const size = elementsIn(w.type.kind === "list" ? w.type.of : w.type);
    for (const source of w.sources) {
      const owners = source.tensor !== undefined ? [tensors.get(source.tensor) ?? ""] : (source.adapter?.names.map(within) ?? []);
      for (const owner of owners) counts.set(owner, (counts.get(owner) ?? 0) + size / owners.length);
    }
  }
  return counts;
}

/** Counts operations of graphs that hold some of an adapter's sites. */
class Work {
  readonly #program: Program;
  readonly #adapter: CheckedAdapter;
  readonly #sizes: Sizes;
  readonly #known = new Map<string, number>();

  constructor(program: Program, adapter: CheckedAdapter, sizes: Sizes) {
    this.#program = program;
    this.#adapter = adapter;
    this.#sizes = sizes;
  }

  /** Of the model with the sites of some nodes, forward, for the whole batch. */
  ofModel(nodes: readonly ModelNode[]): number {
    const adapter = this.#adapter;
    const sites = new Map(nodes.map((n) => [n.path.join("."), adapter.plan.sites.get(n.path.join("."))!]));
    const key = [...sites.keys()].join(" ");
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const plan: AdapterPlan = { ...adapter.plan, sites, unfrozen: new Set() };
    const lowered = lower(this.#program.checked.context, { ...adapter, plan });
    const logits = removeDead({ ...lowered, entries: new Map([["logits", lowered.entries.get("logits")!]]) });
    const work = new Costs(optimize(logits, { transposeFlags: false }).module, this.#sizes).fn("logits").flops;
    this.#known.set(key, work);
    return work;
  }

  /** Per token, of one site. */
  ofSite(plan: SitePlan, node: ModelNode): SiteCosts["operations"] {
    if (!plan.router && plan.banks.length === 0) return undefined;
    return node.kind === "linear" && plan.scope === "linear" ? this.#alone(plan, node) : this.#added(node);
  }

  /** A linear with a router of its own, from its own graph after the passes. */
  #alone(plan: SitePlan, node: ModelNode): SiteCosts["operations"] {
    const [from, to] = node.axes as readonly [ModelNode["axes"][number], ModelNode["axes"][number]];
    const { module } = lowerCase(this.#program.checked.context, { kind: "site", plan, in: from, out: to, data: this.#adapter.plan });
    const fn = module.functions.get("case")!;
    const entry = module.entries.get("case")!;
    const outputOnly: Module = {
      ...module,
      functions: new Map([...module.functions, ["case", { ...fn, results: fn.results.slice(0, 1) }]]),
      entries: new Map([["case", { ...entry, results: entry.results.slice(0, 1) }]]),
    };
    const optimized = optimize(removeDead(outputOnly), { transposeFlags: false }).module;
    // So many tokens that what is done once a batch, a scale folded into a weight, say, does not show.
    const tokens = 2 ** 20;
    const frozen = products([node]);
    return { frozen, extra: Math.round(new Costs(optimized, { sample: 1, position: tokens }).fn("case").flops / tokens - frozen) };
  }

  /**
   * A site that shares with others, a router, say, or a whole block: what it adds to the model after those before it in
   * its layer, so that what is shared counts once.
   */
  #added(node: ModelNode): SiteCosts["operations"] {
    const { nodes } = this.#adapter.base.model;
    const before = nodes.slice(0, nodes.indexOf(node)).filter((n) => n.layer === node.layer && this.#adapter.plan.sites.has(n.path.join(".")));
    const tokens = this.#sizes["sample"]! * this.#sizes["position"]!;
    const inside = nodes.filter((n) => n.kind === "linear" && node.path.every((part, i) => n.path[i] === part));
    return { frozen: products(inside), extra: Math.round((this.ofModel([...before, node]) - this.ofModel(before)) / tokens) };
  }
}

/** Operations per token of frozen linears. */
function products(linears: readonly ModelNode[]): number {
  return linears.reduce((n, { axes: [from, to] }) => n + 2 * (from!.size as number) * (to!.size as number), 0);
}
