import { fail } from "../diagnostics/index.ts";
import type { BlockItem, BodyItem, Expression, LinearItem, Signature, WeightItem } from "../parser/ast.ts";
import { applyExperts, expert, routingOf, shareOf, type SiteInput } from "./adapt.ts";
import { balance } from "./balances.ts";
import { asksFor } from "./definition.ts";
import type { LayerRun } from "./emitter.ts";
import { SyntaxUnit, type Elaborator } from "./elaborate.ts";
import { planNamesLayer } from "./layers.ts";
import { hasBias, type ModelInstance, type ModelNode } from "./model.ts";
import { planKey, type Field, type PatchBank, type RouterScope, type SitePlace, type SitePlan } from "./plan.ts";
import { route, type LazyBatch, type Routed, type RoutingInput } from "./routing.ts";
import { Pools } from "./pools.ts";
import { Scope } from "./scope.ts";
import { applyUpdates } from "./states.ts";
import { showAxes, type AxisRef, type Callable, type Entity, type Given, type Tensor } from "./values.ts";

/** An adapter, decided for every site of a model. Keys are the nodes' paths joined by dots. */
export interface AdapterPlan {
  readonly sites: ReadonlyMap<string, SitePlan>;
  /** Weights and linears of the base that are trained themselves. */
  readonly unfrozen: ReadonlySet<string>;
  readonly kinds: readonly string[];
  readonly fields: readonly Field[];
  /** Names of all groups, in the order of their first listing, with the number of sites that have each. */
  readonly groups: readonly { readonly name: string; readonly experts: number; readonly sites: number }[];
  /** How many sites each `at` clause has. */
  readonly siteCount: (plan: SitePlan) => number;
}

export interface ForwardInput {
  /** i32 [sample, position] */
  readonly tokens: Tensor;
  /** f32 [sample, position] */
  readonly mask: Tensor;
  /** i32 [sample] */
  readonly kind: Tensor;
  readonly batch: LazyBatch;
}

/** A block, or the model, while its body is elaborated: what a router of the whole of it looks at. */
interface OpenBlock {
  readonly path: readonly string[];
  readonly x: Tensor;
  /** The axis of x that a router contracts: the last that the block declares. */
  readonly axis: AxisRef;
  /** Gates by clause, made when the first of its linears asks. */
  readonly routed: Map<unknown, Routed | undefined>;
}

/** A block that is computed once for each expert of a patch. */
interface Patching {
  readonly bank: PatchBank;
  readonly plan: SitePlan;
  readonly block: readonly string[];
  /** The patch's own expert axis. */
  readonly own: AxisRef;
}

/** Sums over sites while layers are elaborated. */
interface Totals {
  balance?: Tensor;
  usage?: Tensor;
}

export interface Forward {
  /** [sample, position, vocab] in some order. */
  readonly logits: Tensor;
  readonly vocab: AxisRef;
  /** Scalar: the weighted sum of all balance terms; absent where there is none. */
  readonly balance?: Tensor;
  /** [sample, position, expert]: those of a router of the whole model, where it is the only one. */
  readonly gates?: Tensor;
  /** [sample, groups]: shares averaged over sites; absent where nothing is routed. */
  readonly usage?: Tensor;
}

/** The types of blocks that were elaborated without anything adapted in them, by the model, their path and their arguments. */
const knownBlocks = new WeakMap<ModelInstance, Map<string, Omit<Tensor, "handle">>>();

/** Elaborates a model with an adapter on it. */
export class Assembly {
  readonly #elaborator: Elaborator;
  readonly #model: ModelInstance;
  readonly #adapter: AdapterPlan;
  readonly #statistics: boolean;
  readonly #nodes: ReadonlyMap<string, ModelNode>;
  readonly #sample: AxisRef;
  readonly #position: AxisRef;
  #input!: ForwardInput;
  #totals: Totals = {};
  #blocks: OpenBlock[] = [];
  /** The whole stack of layers, once it is called. */
  #whole: OpenBlock | undefined;
  #firstPass: RoutingInput["firstPass"];
  #patching: Patching | undefined;
  readonly #pools: Pools;
  /** Of every router elaborated so far. */
  readonly #gates: Tensor[] = [];
  /** The run of layers being elaborated. */
  #run: LayerRun | undefined;

  constructor(elaborator: Elaborator, model: ModelInstance, adapter: AdapterPlan, options: { readonly statistics: boolean }) {
    this.#elaborator = elaborator;
    this.#pools = new Pools(elaborator);
    this.#model = model;
    this.#adapter = adapter;
    this.#statistics = options.statistics;
    this.#nodes = new Map(model.nodes.map((n) => [n.path.join("."), n]));
    this.#sample = elaborator.ops.axes.get("sample", "sample");
    this.#position = elaborator.ops.axes.get("position", "position");
  }

  forward(input: ForwardInput): Forward {
    const asking = [...this.#adapter.sites.values()].find((p) => p.router?.definition.signature && asksFor(p.router.definition.signature, "first_pass"));
    if (asking) this.#firstPass = this.#baseStates(asking, input);
    const { scope, logits, signature } = this.#elaborate(input);
    for (const term of this.#pools.terms()) this.#total("balance", term);
    const rest = logits.axes.filter((a) => a !== this.#sample && a !== this.#position);
    if (rest.length !== 1 || logits.axes.length !== 3) {
      fail("MOE3002", `a language model's result is [position, vocabulary], this is ${showAxes(scope.seen(logits.axes))}`, { at: signature.body.result.span });
    }
    return {
      logits,
      vocab: rest[0]!,
      ...(this.#totals.balance ? { balance: this.#totals.balance } : {}),
      ...(this.#whole?.routed.size === 1 && this.#gates.length === 1 ? { gates: this.#gates[0]! } : {}),
      ...(this.#totals.usage ? { usage: this.#meanUsage(this.#totals.usage) } : {}),
    };
  }

  /** The base's last hidden states from a pass of its own, without the adapter, through which no gradient flows (X-LoRA). */
  #baseStates(asking: SitePlan, input: ForwardInput): RoutingInput["firstPass"] {
    const { ops } = this.#elaborator;
    const alone = new Assembly(this.#elaborator, this.#model, { ...this.#adapter, sites: new Map(), groups: [] }, { statistics: false });
    const states = alone.#elaborate(input).body.lookup("states");
    const hidden = states?.kind === "tensor" ? states.axes.filter((a) => a !== this.#sample && a !== this.#position) : [];
    if (states?.kind !== "tensor" || hidden.length !== 1) {
      return fail("MOE2015", `the model "${this.#model.definition.name.text}" does not say which are its last hidden states`, { at: asking.router!.call.span, help: "name them `states` in the model's body" });
    }
    const stopped = ops.at(asking.at.span, () => ops.emit("stop", [states], {}, states.axes));
    return () => ({ states: stopped, hidden: hidden[0]! });
  }

  /** Elaborates the model's own signature: its logits, and the scope with all that its body names. */
  #elaborate(input: ForwardInput): { readonly scope: Scope; readonly body: Scope; readonly logits: Tensor; readonly signature: Signature } {
    const { definition } = this.#model;
    const signature = definition.signature;
    if (!signature) throw new SyntaxUnit();
    this.#input = input;
    const scope = this.#mapped(this.#model.scope);
    this.#items(definition.items, scope);
    const offers = new Map([["tokens", input.tokens], ["mask", input.mask]]);
    const body = new Scope(scope);
    for (const p of signature.parameters) {
      const value = offers.get(p.name.text);
      if (!value) fail("MOE2015", `a model is not given "${p.name.text}"`, { at: p.name.span, help: `it may ask for: ${[...offers.keys()].join(", ")}` });
      if (p.kind === "tensor" && p.axes) for (const axis of this.#elaborator.declared(p.axes, body)) body.visible.add(axis);
      body.define(p.name.text, value);
    }
    return { scope, body, logits: this.#signature(signature, body, definition.name.text), signature };
  }

  /** One block of a model on its own, for verification against other implementations. */
  block(item: BlockItem, scope: Scope, x: Tensor, input: ForwardInput): { readonly output: Tensor; readonly balance?: Tensor; readonly gates: readonly Tensor[] } {
    this.#input = input;
    const output = this.#callBlock(item, scope, [{ value: x, expression: item.signature.body.result }], item.signature.body.result);
    for (const term of this.#pools.terms()) this.#total("balance", term);
    return { output, gates: this.#gates, ...(this.#totals.balance ? { balance: this.#totals.balance } : {}) };
  }

  // ——— the model's parts ———

  /** Declares weights, linears and blocks of a model or block in its scope. */
  #items(items: readonly BodyItem[], scope: Scope): void {
    for (const item of items) {
      switch (item.kind) {
        case "weight": {
          const node = this.#node(item.name.text);
          if (node) scope.define(item.name.text, this.#weight(item, node));
          break;
        }
        case "linear": {
          const node = this.#node(item.name.text);
          if (node) scope.define(item.name.text, this.#linear(item, scope));
          break;
        }
        case "block":
          scope.define(item.name.text, this.#block(item, scope));
          break;
        case "axis":
          if (!scope.lookup(item.name.text)) this.#elaborator.defineAxis(item.name, item.size, scope);
          break;
        case "require":
        case "expect":
          break;
      }
    }
  }

  /** The node of a part at the current path, in the first layer of the current run. */
  #node(name: string, layer = this.#run?.layers[0]): ModelNode | undefined {
    return this.#nodes.get(this.#pathOf(name, layer));
  }

  /** The path of a part of the current block in a given layer. */
  #pathOf(name: string, layer: number | undefined, path = this.#elaborator.ops.path): string {
    const whole = name === "" ? path : [...path, name];
    if (layer === undefined || this.#model.stack === undefined) return whole.join(".");
    return whole.flatMap((part, i) => (i === 0 && part === this.#model.stack ? [part, String(layer)] : [part])).join(".");
  }

  #request(node: ModelNode, tensor: number, axes: readonly AxisRef[], at: { readonly span: { readonly file: string; readonly start: number; readonly end: number } }, part: string): Tensor {
    const { ops } = this.#elaborator;
    const path = [...ops.path, part];
    const name = node.path[node.path.length - 1]!;
    const parent = part === name ? ops.path : ops.path.slice(0, -1);
    const trainable = this.#adapter.unfrozen.has(node.path.join("."));
    const order = node.tensors[tensor]!.axes;
    const handle = ops.emitter.weight(
      {
        path,
        axes,
        trainable,
        initial: { kind: "checkpoint" },
        decay: axes.length > 1,
        order,
        tensor: (layer) => this.#nodes.get(this.#pathOf(name, layer, parent))!.tensors[tensor]!.name,
      },
      ops.at(at.span, () => ops.origin()),
    );
    return { kind: "tensor", axes, dtype: "f32", handle };
  }

  #weight(item: WeightItem, node: ModelNode): Tensor {
    return this.#request(node, 0, node.axes, item, item.name.text);
  }

  #linear(item: LinearItem, scope: Scope): Callable {
    const call = (args: readonly Given[], at: Expression): Tensor => {
      if (args.length !== 1 || args[0]!.name) fail("MOE2003", `${item.name.text}(x) takes one tensor`, { at: at.span });
      const x = this.#elaborator.tensor(args[0]!.value, args[0]!.expression);
      return this.#elaborator.ops.inside(item.name.text, () => this.#applyLinear(item, scope, x, args[0]!.expression));
    };
    return { kind: "callable", name: item.name.text, call };
  }

  #applyLinear(item: LinearItem, scope: Scope, x: Tensor, at: Expression): Tensor {
    const { ops } = this.#elaborator;
    const node = this.#nodes.get(this.#pathOf("", this.#run?.layers[0]))!;
    const [from, to] = node.axes as readonly [AxisRef, AxisRef];
    this.#elaborator.hasAxes(x, [from], at, `${item.name.text}'s input`, scope);
    if (x.axes.includes(to)) fail("MOE3004", `${item.name.text}'s input already has its output axis ${to.name}`, { at: at.span });
    const W = this.#request(node, 0, node.tensors[0]!.axes, item, "weight");
    let y = ops.at(item.span, () => ops.dot(x, W, [from]));
    if (hasBias(item, scope, this.#elaborator)) {
      const bias = this.#request(node, 1, node.tensors[1]!.axes, item, "bias");
      y = ops.arithmetic("add", y, bias);
    }
    const patched = this.#patchLinear(item.name.text, node, x, y, W);
    if (patched) return patched;
    const plan = this.#adapter.sites.get(node.path.join("."));
    if (!plan || (!plan.router && !plan.banks.length)) return y;
    const place = this.#placeOf(node);
    const path = ops.path;
    const input: SiteInput = {
      ...this.#routingInput(plan, x, path),
      ...this.#frozenOf(node, path, y, W),
    };
    return ops.at(plan.at.span, () => {
      const routed = plan.scope === "linear" ? this.#routed(plan, place, routingOf(this.#elaborator, plan, place, input)) : this.#routeShared(plan, place, plan.scope);
      return applyExperts(this.#elaborator, plan, place, input, routed);
    });
  }

  /** A linear inside a block that is being patched: what it computes for each of the patch's experts. */
  #patchLinear(name: string, node: ModelNode, x: Tensor, y: Tensor, W: Tensor): Tensor | undefined {
    const patching = this.#patching;
    const { ops } = this.#elaborator;
    const path = ops.path;
    const entry = patching?.bank.entries.get(name);
    if (!patching || !entry || path.length !== patching.block.length + 1) return undefined;
    const place = this.#placeOf(node);
    const input: SiteInput = { ...this.#routingInput(patching.plan, x, path), ...this.#frozenOf(node, path, y, W) };
    return ops.inside(entry.name, () => ops.at(entry.call.span, () => ops.arithmetic("add", y, expert(this.#elaborator, entry, place, patching.own, patching.plan, input))));
  }

  /** A linear's sides and its layer. */
  #placeOf(node: ModelNode): SitePlace {
    const [from, to] = node.axes as readonly [AxisRef, AxisRef];
    return { in: from, out: to, layers: this.#model.layers, ...(node.layer === undefined ? {} : { layer: node.layer }) };
  }

  #frozenOf(node: ModelNode, path: readonly string[], y: Tensor, W: Tensor): Pick<SiteInput, "y" | "W" | "frozen" | "statistics"> {
    return {
      y,
      W,
      frozen: { tensor: (layer) => this.#nodes.get(this.#pathOf("", layer, path))!.tensors[0]!.name, order: node.tensors[0]!.axes },
      statistics: this.#statistics,
    };
  }

  /** A block that is the expert (MixLoRA): Σ_e gates_e · block_e(x); the block as it is has no share of its own. */
  #patchBlock(plan: SitePlan, open: OpenBlock, compute: () => Tensor): Tensor {
    const { ops } = this.#elaborator;
    const place: SitePlace = { in: open.axis, out: open.axis, layers: this.#model.layers };
    const routed = ops.at(plan.at.span, () => this.#routed(plan, place, this.#routingInput(plan, open.x, open.path)));
    let output: Tensor | undefined;
    for (const bank of plan.patches) {
      if (!routed) continue;
      const { own, share } = shareOf(this.#elaborator, bank, plan, routed, [open.x]);
      this.#patching = { bank, plan, block: open.path, own };
      const each = compute();
      this.#patching = undefined;
      const part = ops.at(bank.span, () => ops.reduce("sum", ops.arithmetic("mul", share, each), [own]));
      output = output ? ops.arithmetic("add", output, part) : part;
    }
    return output ?? compute();
  }

  #routingInput(plan: SitePlan, x: Tensor, path: readonly string[]): RoutingInput {
    return {
      x,
      mask: this.#input.mask,
      kind: this.#input.kind,
      data: this.#adapter,
      batch: this.#input.batch,
      ...(this.#firstPass ? { firstPass: this.#firstPass } : {}),
      filePrefix: (layer) => this.#pathOf("", layer, path),
      sites: this.#adapter.siteCount(plan),
    };
  }

  /** A router's gates; its balance terms and the use of its groups go to the totals. */
  #routed(plan: SitePlan, place: SitePlace, input: RoutingInput): Routed | undefined {
    const routed = route(this.#elaborator, plan, place, input);
    if (routed) {
      this.#gates.push(routed.gates);
      applyUpdates(this.#elaborator, plan, routed, input);
    }
    if (!routed || !this.#statistics) return routed;
    for (const planned of plan.balances) if (planned.reduction === "pooled") this.#pools.add(planned, plan, place, routed, input, this.#run !== undefined);
    const term = balance(this.#elaborator, plan, place, routed, input).balance;
    if (term) this.#total("balance", term);
    if (this.#adapter.groups.length) this.#total("usage", this.#usage(plan, routed.gates));
    return routed;
  }

  /** Adds to one of the totals. */
  #total(key: keyof Totals, term: Tensor): void {
    const sum = this.#totals[key];
    this.#totals[key] = sum ? this.#elaborator.ops.arithmetic("add", sum, term) : term;
  }

  /** One router for the linears of a block, a layer or the model: it looks at the input of that, and they share its gates. */
  #routeShared(plan: SitePlan, place: SitePlace, scope: Exclude<RouterScope, "linear">): Routed | undefined {
    const open = { block: this.#blocks.at(-1), layer: this.#blocks.find((b) => b.path.length === 1 && b.path[0] === this.#model.stack), model: this.#whole }[scope];
    if (!open) return fail("MOE2021", `a router per ${scope} needs a ${scope === "model" ? "stack of layers before" : `${scope} around`} the linear`, { at: plan.at.path.span });
    if (!open.routed.has(plan.at)) open.routed.set(plan.at, this.#routeOpen(plan, place, open));
    return open.routed.get(plan.at);
  }

  #routeOpen(plan: SitePlan, place: Pick<SitePlace, "layer" | "layers">, open: OpenBlock): Routed | undefined {
    const { ops } = this.#elaborator;
    const within = ops.path;
    ops.path = open.path;
    try {
      return ops.at(plan.at.span, () => this.#routed(plan, { ...place, in: open.axis, out: open.axis }, this.#routingInput(plan, open.x, open.path)));
    } finally {
      ops.path = within;
    }
  }

  /** [sample, groups]: the gates' mass by group over the real tokens, as shares of the whole. */
  #usage(plan: SitePlan, gates: Tensor): Tensor {
    const { ops } = this.#elaborator;
    const expert = ops.axes.get("expert", plan.experts);
    const groups = this.#groupsAxis();
    const table = Array.from({ length: plan.experts }, (_, e) =>
      this.#adapter.groups.map((g) => (plan.groups.some((own) => own.name === g.name && e >= own.start && e < own.start + own.count) ? 1 : 0)),
    ).flat();
    let mass = gates;
    if (gates.axes.includes(this.#position)) mass = ops.reduce("sum", ops.arithmetic("mul", gates, this.#input.mask), [this.#position]);
    const share = ops.arithmetic("div", mass, ops.arithmetic("add", ops.reduce("sum", mass, [expert]), ops.scalar(1e-20)));
    return ops.dot(share, ops.table(table, [expert, groups]), [expert]);
  }

  #groupsAxis(): AxisRef {
    return this.#elaborator.ops.axes.get("groups", this.#adapter.groups.length);
  }

  #meanUsage(total: Tensor): Tensor {
    const { ops } = this.#elaborator;
    return ops.arithmetic("mul", total, ops.table(this.#adapter.groups.map((g) => 1 / Math.max(1, g.sites)), [this.#groupsAxis()]));
  }

  #block(item: BlockItem, scope: Scope): Callable {
    const call = (args: readonly Given[], at: Expression): Tensor => {
      const inside = () => (item.count ? this.#callStack(item, scope, args, at) : this.#callBlock(item, scope, args, at));
      return this.#elaborator.ops.inside(item.name.text, inside);
    };
    return { kind: "callable", name: item.name.text, call };
  }

  #callBlock(item: BlockItem, outer: Scope, args: readonly Given[], at: Expression): Tensor {
    const { emitter, path } = this.#elaborator.ops;
    if (!emitter.pass || item.count || this.#touches(this.#pathOf("", this.#run?.layers[0]))) return this.#elaborateBlock(item, outer, args, at);
    // Elaborated once, so that its text was checked; after that its result's type is all there is to know.
    const known = knownBlocks.get(this.#model) ?? new Map<string, Omit<Tensor, "handle">>();
    knownBlocks.set(this.#model, known);
    const key = [...path, ...args.map((a) => (a.value.kind === "tensor" ? a.value.axes.map((x) => x.name).join() : ""))].join(" ");
    const type = known.get(key);
    if (type) return { ...type, handle: emitter.pass(args.flatMap((a) => (a.value.kind === "tensor" ? [a.value.handle] : [])), type) };
    const result = this.#elaborateBlock(item, outer, args, at);
    known.set(key, { kind: "tensor", axes: result.axes, dtype: result.dtype });
    return result;
  }

  /** Whether the adapter changes or trains something at a path or below it. */
  #touches(path: string): boolean {
    const within = (name: string): boolean => name === path || name.startsWith(`${path}.`);
    for (const name of this.#adapter.sites.keys()) if (within(name)) return true;
    for (const name of this.#adapter.unfrozen) if (within(name)) return true;
    return false;
  }

  #elaborateBlock(item: BlockItem, outer: Scope, args: readonly Given[], at: Expression): Tensor {
    const scope = this.#mapped(outer);
    this.#items(item.items, scope);
    const bound = (): Scope => {
      const body = new Scope(scope);
      this.#bind(item, body, args, at);
      return body;
    };
    const open = this.#open(item, bound(), args);
    const compute = (): Tensor => this.#signature(item.signature, bound(), item.name.text);
    if (open) this.#blocks.push(open);
    try {
      const plan = this.#adapter.sites.get(this.#pathOf("", this.#run?.layers[0]));
      return open && plan?.patches.length ? this.#patchBlock(plan, open, compute) : compute();
    } finally {
      if (open) this.#blocks.pop();
    }
  }

  /** A block whose first parameter is a tensor with declared axes may have a router. */
  #open(item: BlockItem, scope: Scope, args: readonly Given[]): OpenBlock | undefined {
    const x = args[0]?.value;
    const axis = x?.kind === "tensor" ? this.#lastAxis(item, scope) : undefined;
    return x?.kind === "tensor" && axis ? { path: this.#elaborator.ops.path, x, axis, routed: new Map() } : undefined;
  }

  /** The axis that a router of a block looks along: the last that its first parameter is declared with, if not the positions. */
  #lastAxis(item: BlockItem, scope: Scope): AxisRef | undefined {
    const [parameter] = item.signature.parameters;
    const axis = parameter?.kind === "tensor" && parameter.axes ? this.#elaborator.declared(parameter.axes, scope).at(-1) : undefined;
    return axis === this.#position ? undefined : axis;
  }

  /** Routers of the whole model look at what goes into its first layer, before any layer does. */
  #openWhole(item: BlockItem, outer: Scope, x: Tensor): void {
    const axis = this.#lastAxis(item, new Scope(outer));
    if (!axis) return;
    const within = this.#elaborator.ops.path;
    this.#whole = { path: within.slice(0, -1), x, axis, routed: new Map() };
    for (const plan of this.#adapter.sites.values()) {
      if (plan.scope === "model" && !this.#whole.routed.has(plan.at)) this.#whole.routed.set(plan.at, this.#routeOpen(plan, { layers: this.#model.layers }, this.#whole));
    }
  }

  /** A scope for a body: samples and positions are mapped over unless its signature mentions them. */
  #mapped(outer: Scope): Scope {
    const scope = new Scope(outer);
    scope.visible.delete(this.#sample);
    scope.visible.delete(this.#position);
    return scope;
  }

  #bind(item: BlockItem, scope: Scope, args: readonly Given[], at: Expression): void {
    const parameters = item.signature.parameters;
    if (args.length !== parameters.length) {
      fail("MOE2003", `${item.name.text} takes ${parameters.length} argument${parameters.length === 1 ? "" : "s"}, this gives ${args.length}`, { at: at.span });
    }
    for (const [i, p] of parameters.entries()) {
      const given = args[i]!;
      if (p.kind === "tensor" && p.axes) {
        const declared = this.#elaborator.declared(p.axes, scope);
        for (const axis of declared) scope.visible.add(axis);
        this.#elaborator.hasAxes(given.value, declared, given.expression, `${item.name.text}'s ${p.name.text}`, scope);
      }
      scope.define(p.name.text, given.value);
    }
  }

  #signature(signature: Signature, scope: Scope, what: string): Tensor {
    const { ops } = this.#elaborator;
    const entity = this.#elaborator.body(signature.body, scope, what, signature.span);
    const result = ops.at(signature.body.result.span, () => this.#elaborator.tensor(entity, signature.body.result));
    if (signature.result) this.#elaborator.result(this.#elaborator.declared(signature.result, scope), result, scope, signature.body.result, what);
    return result;
  }

  /** Layers: the first argument goes through them all, the others are given to each. Alike neighbours are one run. */
  #callStack(item: BlockItem, outer: Scope, args: readonly Given[], at: Expression): Tensor {
    const { ops } = this.#elaborator;
    const first = args[0];
    if (!first || first.value.kind !== "tensor") return fail("MOE2003", `${item.name.text} takes the tensor that goes through its layers`, { at: at.span });
    let carried: Tensor = first.value;
    this.#openWhole(item, outer, carried);
    const runs = this.#runs(item);
    for (const layers of runs) {
      const run: LayerRun = { name: item.name.text, layers, ...(runs.length > 1 ? { suffix: layers.length > 1 ? `${layers[0]}-${layers[layers.length - 1]}` : String(layers[0]) } : {}) };
      const outerTotals = this.#totals;
      const axes = carried.axes;
      let inner: Totals = {};
      const results = ops.emitter.fold(
        run,
        [carried.handle],
        ([handle]) => {
          this.#run = run;
          this.#totals = {};
          const x: Entity = { kind: "tensor", axes, dtype: "f32", handle };
          const out = this.#callBlock(item, outer, [{ value: x, expression: first.expression }, ...args.slice(1)], at);
          const same = ops.transpose(out, axes);
          inner = this.#totals;
          this.#run = undefined;
          return {
            carried: [same.handle],
            summed: [inner.balance, inner.usage].flatMap((t) => (t ? [t.handle] : [])),
            listed: this.#pools.listed,
          };
        },
        ops.at(item.span, () => ops.origin()),
      );
      this.#totals = outerTotals;
      carried = { kind: "tensor", axes, dtype: "f32", handle: results.carried[0] };
      this.#pools.unlist(results.listed, layers.length);
      const summed = [...results.summed];
      for (const key of ["balance", "usage"] as const) {
        const part = inner[key];
        if (part) this.#total(key, { ...part, handle: summed.shift() });
      }
    }
    return carried;
  }

  /** Layers in runs whose sites are planned alike. */
  #runs(item: BlockItem): number[][] {
    const runs: number[][] = [];
    const byLayer = new Map<number | undefined, ModelNode[]>();
    for (const n of this.#model.nodes) {
      const known = byLayer.get(n.layer);
      if (known) known.push(n);
      else byLayer.set(n.layer, [n]);
    }
    let last: string | undefined;
    for (let layer = 0; layer < this.#model.layers; layer++) {
      const prefix = `${item.name.text}.${layer}.`;
      const key = JSON.stringify(
        (byLayer.get(layer) ?? [])
          .map((n) => {
            const path = n.path.join(".");
            const plan = this.#adapter.sites.get(path);
            return [path.slice(prefix.length), plan ? planKey(plan) : null, this.#adapter.unfrozen.has(path), plan && planNamesLayer(plan) ? layer : null];
          })
          .filter((row) => row[1] !== null || row[2] === true),
      );
      if (key === last) runs[runs.length - 1]!.push(layer);
      else runs.push([layer]);
      last = key;
    }
    return runs;
  }
}
