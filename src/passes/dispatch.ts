import { Builder } from "../ir/builder.ts";
import { Costs } from "../ir/cost.ts";
import type { Axis, GraphFunction, Module, OpName, Origin, Value } from "../ir/graph.ts";
import { elementwise } from "../ir/ops/elementwise.ts";
import { type Sizes, multiplySizes } from "../ir/size.ts";
import { type Bound, supportOf } from "./bounded.ts";
import { frozenSignatures, frozenValues } from "./frozen.ts";
import { Names } from "./join.ts";
import { type Machine, type Work, machines, timeOf } from "./machine.ts";
import { Rows, type Sorted } from "./rows.ts";
import { Site, pathsOf, rewritten } from "./rewrite.ts";
import { simplify } from "./simplify.ts";
import { stackFunction } from "./stack.ts";
import { type AnyOp, ancestors, axesOf, calleesFirst, cloneOp, makers, namesOf, opsOf, ordered, withFunctions } from "./tools.ts";

export interface DispatchOptions {
  /** Sizes of symbols, where some are known; others are taken as 32 each. */
  readonly sizes?: Sizes;
  /** Where tokens are sorted: where that takes less time (the default), wherever it can be done, or nowhere. */
  readonly dispatch?: "by cost" | "always" | "never";
  /** The machine whose time it is: wasm's by default, the backend that every program can run on. null: none that sorts. */
  readonly machine?: Machine | null;
}

/** A sum over choices of which few are not zero, or zero in places: what was made of it. */
export interface DispatchReport {
  readonly fn: string;
  readonly paths: readonly (readonly string[])[];
  readonly origin?: Origin;
  /** "expert", and how many there are. */
  readonly axis: string;
  readonly of: number;
  /** How many are not zero at most; absent where no number bounds them. */
  readonly k?: number;
  readonly sorted: boolean;
  /** The ops that go and that come, each stacked: operations, bytes and kernels. Absent where `k` is. */
  readonly before?: Work;
  readonly after?: Work;
}

export interface Dispatched {
  readonly module: Module;
  readonly report: readonly DispatchReport[];
}

/**
 * Sparse dispatch: `Σe v` where v is zero but for k of the e becomes a sum over those k. All between the tokens' values and
 * the sum is computed on rows, one for each pair of a token and a choice, sorted by choice, so that a product with one matrix
 * a choice is one product for each group of rows:
 *
 *     y[t] = Σe v[t, e]   →   y[t] = Σ_{rows of t} v[row],   v[row] = v[t, e] at the row's token and choice
 *
 * Exact, derivative included: v is a product with a mask that is false outside the k (`bounded.ts`), so v[t, e] = 0 there for
 * all values of the weights and inputs near these ones, and so is each of its derivatives. (At a tie the mask jumps; then
 * neither form has a derivative, and both take the one of the side that `is_top` is on.) A choice's rows always hold k
 * distinct choices: where fewer are true, others whose v is zero, so every row computes what the dense form computes at some
 * (t, e), and nothing is divided by zero that was not before.
 *
 * Elementwise ops, reductions over other axes, and products with a choice's own matrices or with common ones move to the rows;
 * what does not (a softmax over the choices, say) is computed as it was and picked from. So experts need not be linear in
 * anything. Before `stack`: the sum that it would make part of a product is the one that is looked for here, and the two forms
 * are compared as it would leave them.
 */
export function dispatch(module: Module, options: DispatchOptions = {}): Dispatched {
  const { sizes = {}, dispatch: where = "by cost", machine = machines.wasm } = options;
  const report: DispatchReport[] = [];
  if (where === "never" || (where === "by cost" && machine === null)) return { module, report };
  const functions = new Map<string, GraphFunction>();
  const signatures = frozenSignatures(module);
  for (const fn of calleesFirst(module.functions)) {
    let now = fn;
    // Those that stay dense stand before those that are still to be looked at.
    for (let at = 0; ; ) {
      const site = new Site(now, functions, sizes);
      const group = groupsOf(site)[at];
      if (!group) break;
      const [first] = group.sums as readonly [AnyOp];
      const said = { fn: fn.name, paths: pathsOf(group.sums), ...(first.origin ? { origin: first.origin } : {}), axis: group.axis.name, of: Number(group.axis.size) };
      if (group.bound.k === Infinity) {
        report.push({ ...said, sorted: false });
        at++;
        continue;
      }
      const made = tried(site, group.bound, group, frozenValues(now, signatures), sizes);
      const cheaper = machine !== null && group.bound.k < Number(group.axis.size) && timeOf(made.after, machine) < timeOf(made.before, machine);
      const sorted = [...made.gone].some((op) => op.op === "dot") && (where === "always" || cheaper);
      report.push({ ...said, k: group.bound.k, sorted, before: made.before, after: made.after });
      if (sorted) now = written(site, group.bound, group, made.gone);
      else at++;
    }
    functions.set(fn.name, now);
  }
  const made = withFunctions(module, functions);
  // Sums of one mask that could not be written together have much in common.
  return { module: report.some((r) => r.sorted) ? simplify(made) : made, report };
}

/** Sums over one axis of choices, of values that one mask bounds. */
interface Group {
  readonly axis: Axis;
  readonly bound: Bound;
  readonly sums: readonly (AnyOp & { op: "sum" })[];
}

/** In the order of their first sums. Only sums of more than the gates themselves, behind which there are products of the choices. */
function groupsOf(site: Site): readonly Group[] {
  const groups: Group[] = [];
  const made = makers(site.fn.body);
  for (const op of opsOf(site.fn)) {
    if (op.op !== "sum") continue;
    const x = op.operands[0]!;
    for (const axis of axesOf(x)) {
      if (!op.attributes.axes.includes(axis.name) || typeof axis.size !== "number") continue;
      const bound = supportOf(site, x, axis.name);
      if (!bound || namesOf(x).length <= namesOf(bound.mask).length || !productBehind(site, x, axis.name)) continue;
      const tokens = tokensOf(bound);
      if (tokens.length === 0 || !tokens.every((a) => namesOf(x).includes(a.name) && !op.attributes.axes.includes(a.name))) continue;
      // Sums that follow from each other, an expert's layers say, cannot be written together.
      const behind = ancestors([x], made);
      const at = groups.findIndex((g) => g.axis.name === axis.name && g.bound.mask === bound.mask && JSON.stringify(g.bound.cuts) === JSON.stringify(bound.cuts) && !g.sums.some((s) => behind.has(s)));
      if (at < 0) groups.push({ axis, bound, sums: [op] });
      else groups[at] = { ...groups[at]!, sums: [...groups[at]!.sums, op] };
      break;
    }
  }
  return groups;
}

/** What a token is to a mask: all axes but the choices'. */
function tokensOf(bound: Bound): readonly Axis[] {
  return axesOf(bound.mask).filter((a) => a.name !== bound.axis);
}

const through: ReadonlySet<OpName> = new Set<OpName>([...(Object.keys(elementwise) as OpName[]), "transpose"]);

/** Whether a value comes, element by element, from a product that is made for each choice and more. */
function productBehind(site: Site, v: Value, axis: string, seen = new Set<Value>()): boolean {
  const op = site.maker(v);
  if (!op || seen.has(v) || v.type.kind !== "tensor" || !namesOf(v).includes(axis)) return false;
  seen.add(v);
  if (op.op === "dot") return true;
  return through.has(op.op) && op.operands.some((x) => productBehind(site, x, axis, seen));
}

/** The tokens sorted, and then what the sums are: writes into `b`. */
function write(site: Site, bound: Bound, group: Group, b: Builder, need: (v: Value) => Value): { readonly results: readonly Value[]; readonly rows: Rows } {
  const names = new Names(site);
  const parts = tokensOf(bound);
  const size = multiplySizes(...parts.map((a) => a.size));
  const tokens = parts.length === 1 ? parts[0]! : names.of(parts.map((a) => a.name).join("."), size);
  const sorted = b.at(site.maker(bound.mask)?.origin, (): Sorted => {
    let mask = need(bound.mask);
    let axis = bound.axis;
    for (const { start, as } of bound.cuts) {
      mask = b.slice(mask, axis, start, as);
      axis = as.name;
    }
    const flat = parts.length === 1 ? mask : b.reshape(ordered(b, mask, [...parts.map((a) => a.name), axis]), [tokens, group.axis]);
    // Names that tell their sizes: ops may move to other functions, where a name must have the same.
    const slot = names.of(`top${bound.k}`, bound.k);
    return { ...b.dispatch(flat, axis, slot, names.of(`${tokens.name}.${slot.name}`, multiplySizes(bound.k, size))), parts, tokens, group: group.axis };
  });
  const rows = new Rows(site, sorted, b, need);
  const results = group.sums.map((op) =>
    b.at(op.origin, () => {
      const others = op.attributes.axes.filter((n) => n !== group.axis.name);
      return ordered(b, rows.collected(b.sum(rows.of(op.operands[0]!), others)), namesOf(op.results[0]!));
    }));
  return { results, rows };
}

/** Both forms on their own, as `stack` leaves them, and what goes away with the dense one. */
function tried(site: Site, bound: Bound, group: Group, frozen: ReadonlySet<Value>, sizes: Sizes): { readonly before: Work; readonly after: Work; readonly gone: ReadonlySet<AnyOp> } {
  const inputs = (b: Builder): { readonly need: (v: Value) => Value; readonly known: Map<Value, Value> } => {
    const known = new Map<Value, Value>();
    return {
      known,
      need: (v) => {
        const made = known.get(v) ?? b.param(v.type);
        known.set(v, made);
        return made;
      },
    };
  };
  const work = (b: Builder, results: readonly Value[], known: ReadonlyMap<Value, Value>): Work => {
    const signature = { params: [...known.keys()].map((v) => frozen.has(v)), results: [] };
    const made = stackFunction(b.finish(results), site.functions, sizes, (now) => frozenValues(now, new Map([[now.name, signature]]))).fn;
    const costs = new Costs({ functions: site.functions }, site.sizes);
    return opsOf(made).reduce(
      (sum, op) => ((c) => ({ flops: sum.flops + c.flops, bytes: sum.bytes + c.bytes, kernels: sum.kernels + costs.kernels(op) }))(costs.op(op)),
      { flops: 0, bytes: 0, kernels: 0 },
    );
  };
  const sparse = new Builder("rows");
  const there = inputs(sparse);
  const { results, rows } = write(site, bound, group, sparse, there.need);
  // What was moved to the rows is gone where nothing else reads it.
  const gone = new Set<AnyOp>(group.sums);
  const readers = new Map<Value, AnyOp[]>();
  for (const op of opsOf(site.fn)) for (const v of op.operands) readers.set(v, [...(readers.get(v) ?? []), op]);
  for (const op of [...opsOf(site.fn)].reverse()) {
    if (rows.moved.has(op) && op.results.every((v) => !there.known.has(v) && !site.fn.results.includes(v) && (readers.get(v) ?? []).every((r) => gone.has(r)))) gone.add(op);
  }
  const dense = new Builder("dense");
  const here = inputs(dense);
  const map = new Map<Value, Value>();
  for (const op of opsOf(site.fn)) {
    if (!gone.has(op)) continue;
    for (const v of op.operands) if (!map.has(v)) map.set(v, here.need(v));
    cloneOp(dense, op, map);
  }
  const before = work(dense, group.sums.map((op) => map.get(op.results[0]!)!), here.known);
  return { before, after: work(sparse, results, there.known), gone };
}

function written(site: Site, bound: Bound, group: Group, gone: ReadonlySet<AnyOp>): GraphFunction {
  const sums = new Set<AnyOp>(group.sums);
  let made: readonly Value[] | undefined;
  return rewritten(site.fn, site.functions, (op, b, need, set) => {
    if (!sums.has(op)) return gone.has(op);
    made ??= write(site, bound, group, b, need).results;
    set(op.results[0]!, made[group.sums.indexOf(op as AnyOp & { op: "sum" })]!);
    return true;
  });
}
