import { fail } from "../diagnostics/index.ts";
import { balanceTerm, factorOf } from "./balances.ts";
import { asksFor, signatureOf } from "./definition.ts";
import type { Elaborator } from "./elaborate.ts";
import type { PlannedBalance, SitePlace, SitePlan } from "./plan.ts";
import type { Routed, RoutingInput } from "./routing.ts";
import type { AxisRef, Tensor } from "./values.ts";

/** Gates that balances count together, whichever site they are of. */
interface Pool {
  readonly planned: PlannedBalance;
  readonly plan: SitePlan;
  readonly place: SitePlace;
  readonly input: RoutingInput;
  readonly expert: AxisRef;
  /** What the balance asks for of each router: its gates, and what its text names. */
  readonly parts: ReadonlyMap<string, Tensor>[];
}

/** What balances that are `pooled` count over all their sites, by the clause, while layers are elaborated. */
export class Pools {
  readonly #elaborator: Elaborator;
  readonly #pools = new Map<string, Pool>();
  /** What the layers of the current run give: one of each, for each layer. */
  #listing: { readonly pool: Pool; readonly parts: ReadonlyMap<string, Tensor> }[] = [];

  constructor(elaborator: Elaborator) {
    this.#elaborator = elaborator;
  }

  /** Puts what a pooled balance asks for to what other sites of its clause gave; `inRun`: it stands for each layer of a run. */
  add(planned: PlannedBalance, plan: SitePlan, place: SitePlace, routed: Routed, input: RoutingInput, inRun: boolean): void {
    const key = `${planned.clause.span.file}:${planned.clause.span.start}`;
    const pool = this.#pools.get(key) ?? { planned, plan, place, input, expert: routed.expert, parts: [] };
    this.#pools.set(key, pool);
    if (pool.expert !== routed.expert) {
      fail("MOE3005", `sites with ${pool.expert.size} and with ${routed.expert.size} experts cannot be pooled`, { at: planned.clause.span, help: "give each as many experts, or take the sum or the mean over sites" });
    }
    const parts = pooledParts(this.#elaborator, planned, routed, input);
    if (inRun) this.#listing.push({ pool, parts });
    else pool.parts.push(parts);
  }

  /** Handles that a run of layers is to list, one of each layer. */
  get listed(): readonly unknown[] {
    return this.#listing.flatMap(({ parts }) => [...parts.values()].map((t) => t.handle));
  }

  /** Hands each layer's values of a run, in the order of `listed`, to the pools that they belong to. */
  unlist(lists: readonly unknown[], layers: number): void {
    const { ops } = this.#elaborator;
    let at = 0;
    for (const { pool, parts } of this.#listing) {
      const own = [...parts].map(([name, tensor]) => ({ name, tensor, list: lists[at++] }));
      for (let layer = 0; layer < layers; layer++) {
        pool.parts.push(
          new Map(
            own.map(({ name, tensor, list }) => {
              const handle = ops.emitter.op("element", [list], { at: layer }, { axes: tensor.axes, dtype: tensor.dtype }, ops.at(pool.planned.clause.span, () => ops.origin()));
              return [name, { ...tensor, handle }];
            }),
          ),
        );
      }
    }
    this.#listing = [];
  }

  /** The weighted terms, once all sites have given theirs. */
  terms(): readonly Tensor[] {
    return [...this.#pools.values()].map((pool) => pooledBalance(this.#elaborator, pool));
  }
}

/** What a pooled balance asks for of one router, every tensor [sample, position, …]. */
function pooledParts(elaborator: Elaborator, planned: PlannedBalance, routed: Routed, input: RoutingInput): ReadonlyMap<string, Tensor> {
  const { ops } = elaborator;
  const signature = signatureOf(planned);
  const found = new Map<string, Tensor>();
  for (const [name, tensor] of [["gates", routed.gates] as const, ...routed.intermediates]) {
    if (!asksFor(signature, name)) continue;
    const rows = input.mask.axes;
    const rest = tensor.axes.filter((a) => !rows.includes(a));
    const lacking = rows.filter((a) => !tensor.axes.includes(a));
    found.set(name, ops.transpose(lacking.length ? ops.expand(tensor, [...lacking, ...tensor.axes]) : tensor, [...rows, ...rest]));
  }
  return found;
}

/** The weighted term of a pool: all its sites' samples stand below each other, as if they were one site's. */
function pooledBalance(elaborator: Elaborator, pool: Pool): Tensor {
  const { ops } = elaborator;
  const { planned, plan, place, input, parts } = pool;
  const [sample, position] = input.mask.axes as readonly [AxisRef, AxisRef];
  const stacked = parts.length === 1 ? sample : ops.axes.get("sample", `${parts.length}*${sample.size}`);
  const stack = (tensors: readonly Tensor[]): Tensor => {
    const [first] = tensors as readonly [Tensor];
    if (tensors.length === 1) return first;
    const rest = first.axes.slice(1);
    // Samples are counted when a batch arrives, sites now: sites are joined along an axis of their own, which then joins the samples.
    const one = ops.axes.get("one", 1);
    const site = ops.axes.get("site", tensors.length);
    const each = tensors.map((t) => ops.reshape(ops.transpose(t, [sample, ...rest]), [one, sample, ...rest]));
    const joined = ops.emit("concat", each, { axes: each.map(() => one.name), as: site }, [site, sample, ...rest], first.dtype);
    return ops.reshape(joined, [stacked, ...rest]);
  };
  return ops.inside("balance", () =>
    ops.at(planned.clause.span, () => {
      const names = [...(parts[0]?.keys() ?? [])];
      const tensors = new Map(names.map((name) => [name, stack(parts.map((p) => p.get(name)!))]));
      const mask = stack(parts.map(() => input.mask));
      const kind = stack(parts.map(() => input.kind));
      const gates = tensors.get("gates") ?? ops.expand(ops.scalar(0), [stacked, position, pool.expert]);
      const routed = { gates, expert: pool.expert, intermediates: tensors };
      const term = balanceTerm(elaborator, planned, plan, place, routed, { ...input, mask, kind });
      return ops.arithmetic("mul", term, factorOf(elaborator, planned, 1));
    }),
  );
}
