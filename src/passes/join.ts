import type { Builder } from "../ir/builder.ts";
import type { Axis, GraphFunction, Value } from "../ir/graph.ts";
import { multiplySizes } from "../ir/size.ts";
import { axis } from "../ir/types.ts";
import { type Site, type StackReport, cheaper, pathsOf, rewritten } from "./rewrite.ts";
import { type AnyOp, axesOf, namesOf, opsOf, ordered, sameNames } from "./tools.ts";

type Dot = AnyOp & { op: "dot" };

/** A rewrite that pays: the function after it, and what to say of it. */
export interface Joined {
  readonly fn: GraphFunction;
  readonly report: StackReport;
}

/** One of several products that may become one: the operand that the others have too (rule 5) or the rows' (rule 4), and the other. */
interface Product {
  readonly op: Dot;
  readonly left: Value;
  readonly right: Value;
  /** Axes that are joined with those of the others: of `right` alone (rule 5), or contracted (rule 4). */
  readonly own: readonly Axis[];
}

/**
 * Rule 5: products of one operand over the same axes, `x ·i A` and `x ·i W`, become one with the joined factor, split
 * after. Factors that are frozen stay: joined, they would be copied in each step.
 */
export function joinFactors(site: Site, frozen: ReadonlySet<Value>): Joined | undefined {
  const groups = new Map<Value, Map<string, Product[]>>();
  for (const op of opsOf(site.fn)) {
    if (op.op !== "dot" || flagged(op)) continue;
    for (const at of [0, 1] as const) {
      const [shared, right] = [source(site, op.operands[at]!), op.operands[1 - at]!];
      const own = axesOf(right).filter((a) => !op.attributes.over.includes(a.name));
      if (frozen.has(right) || own.length === 0 || !numeric(own) || op.attributes.over.length === 0 || batched(op)) continue;
      const key = [...op.attributes.over].sort().join("\n");
      const found = groups.get(shared) ?? new Map<string, Product[]>();
      groups.set(shared, found);
      found.set(key, [...(found.get(key) ?? []), { op, left: shared, right, own }]);
    }
  }
  for (const found of groups.values()) {
    for (const group of found.values()) {
      // What one product's factor follows from another's result cannot come before it.
      const free = group.filter((p) => !group.some((q) => q !== p && dependsOn(site, p.right, q.op.results[0]!)));
      const { over } = free[0]?.op.attributes ?? { over: [] };
      const write = (chosen: readonly Product[], b: Builder, now: (v: Value) => Value): readonly Value[] => {
        const names = new Names(site);
        const joined = join(b, chosen.map((p) => flat(b, names, now(p.right), p.own)), names);
        const x = now(chosen[0]!.left);
        const product = b.dot(x, joined.value, over);
        let start = 0;
        return chosen.map((p, i) => {
          const part = b.slice(product, joined.axis.name, start, joined.parts[i]!);
          start += Number(joined.parts[i]!.size);
          const rows = axesOf(part).filter((a) => a.name !== joined.parts[i]!.name);
          return p.own.length === 1 ? part : b.reshape(part, [...rows, ...p.own]);
        });
      };
      const chosen = choose(site, free, (some) => ({ gone: some.map((p) => p.op), write: (b, now) => write(some, b, now) }));
      if (!chosen) continue;
      const ops = new Set<AnyOp>(chosen.map((p) => p.op));
      const first = opsOf(site.fn).find((op) => ops.has(op))!;
      let made = false;
      const fn = rewritten(site.fn, site.functions, (op, b, need, set) => {
        if (!ops.has(op)) return false;
        if (made) return true;
        made = true;
        // Where the first of them is wanted, all are made; what they read may stand further down.
        for (const p of chosen) [p.left, p.right].forEach(need);
        b.at(first.origin, () => {
          write(chosen, b, need).forEach((v, i) => set(chosen[i]!.op.results[0]!, ordered(b, v, namesOf(chosen[i]!.op.results[0]!))));
        });
        return true;
      });
      return { fn, report: reportOf(site, 5, [...ops], (b, now) => write(chosen, b, now)) };
    }
  }
  return undefined;
}

/**
 * Rule 4: products that are summed, `a1 ·r b1 + a2 ·s b2`, become one over the joined axes, `[a1 a2] ·(r+s) [b1; b2]`.
 * Not with a frozen operand, which would be copied in each step.
 */
export function joinSums(site: Site, frozen: ReadonlySet<Value>): Joined | undefined {
  for (const root of opsOf(site.fn)) {
    if (root.op !== "add" || inner(site, root)) continue;
    const tree = treeOf(site, root);
    const groups = new Map<string, Product[]>();
    const axes = namesOf(root.results[0]!);
    for (const leaf of tree.leaves) {
      const dot = leaf.dot;
      if (!dot || batched(dot) || dot.operands.some((v) => frozen.has(v))) continue;
      const own = axesOf(dot.operands[0]!).filter((a) => dot.attributes.over.includes(a.name));
      const rows = (v: Value): string[] => namesOf(v).filter((n) => !dot.attributes.over.includes(n));
      if (!numeric(own) || own.length === 0) continue;
      // A product is the same with its operands swapped: the one with the first axis of the sum stands left.
      const [left, right] = rows(dot.operands[0]!).includes(axes[0]!) ? dot.operands : [...dot.operands].reverse();
      const key = rows(left!).sort().join("\n");
      groups.set(key, [...(groups.get(key) ?? []), { op: dot, left: left!, right: right!, own }]);
    }
    for (const group of groups.values()) {
      const write = (chosen: readonly Product[], b: Builder, now: (v: Value) => Value): Value => {
        const names = new Names(site);
        const left = join(b, chosen.map((p) => flat(b, names, now(p.left), p.own)), names);
        const right = join(b, chosen.map((p) => flat(b, names, now(p.right), p.own)), names);
        const others = tree.leaves.filter((leaf) => !chosen.some((p) => p.op === leaf.dot)).map((leaf) => now(leaf.value));
        return [...others, ordered(b, b.dot(left.value, right.value, [left.axis.name]), axes)].reduce((x, y) => b.add(x, y));
      };
      const gone = [...tree.adds, ...tree.through];
      const chosen = choose(site, group, (some) => ({ gone: [...gone, ...some.map((p) => p.op)], write: (b, now) => write(some, b, now) }));
      if (!chosen) continue;
      const ops = new Set<AnyOp>([...gone, ...chosen.map((p) => p.op)]);
      const kept = new Set<AnyOp>(tree.leaves.flatMap((leaf) => (leaf.dot && chosen.some((p) => p.op === leaf.dot) ? leaf.through : [])));
      const fn = rewritten(site.fn, site.functions, (op, b, need, set) => {
        if (op === root) {
          b.at(root.origin, () => set(root.results[0]!, ordered(b, write(chosen, b, need), axes)));
          return true;
        }
        return ops.has(op) || kept.has(op);
      });
      return { fn, report: reportOf(site, 4, [...ops], (b, now) => write(chosen, b, now)) };
    }
  }
  return undefined;
}

/** Which of several products to join: the smallest first, as long as each next one pays; nothing for fewer than two. */
function choose(
  site: Site,
  group: readonly Product[],
  trial: (some: readonly Product[]) => { readonly gone: readonly AnyOp[]; write(b: Builder, now: (v: Value) => Value): unknown },
): readonly Product[] | undefined {
  const size = (p: Product): number => Number(multiplySizes(...p.own.map((a) => a.size)));
  const order = new Map(group.map((p, i) => [p, i]));
  let chosen: readonly Product[] = [];
  let gain = { flops: 0, bytes: 0 };
  for (const next of [...group].sort((p, q) => size(p) - size(q))) {
    const tried = [...chosen, next].sort((p, q) => order.get(p)! - order.get(q)!);
    if (tried.length < 2) {
      chosen = tried;
      continue;
    }
    const { gone, write } = trial(tried);
    const [before, after] = [site.cost(gone), site.tried(write)];
    const change = { flops: after.flops - before.flops, bytes: after.bytes - before.bytes };
    if (!cheaper(change, gain)) continue;
    gain = change;
    chosen = tried;
  }
  return chosen.length < 2 ? undefined : chosen;
}

/** A sum written as several adds, each read once: the leaves in order. */
function treeOf(site: Site, root: AnyOp): { readonly leaves: readonly Leaf[]; readonly adds: readonly AnyOp[]; readonly through: readonly AnyOp[] } {
  const leaves: Leaf[] = [];
  const adds: AnyOp[] = [];
  const through: AnyOp[] = [];
  const axes = namesOf(root.results[0]!);
  const whole = (v: Value): boolean => namesOf(v).length === axes.length;
  const visit = (op: AnyOp): void => {
    adds.push(op);
    for (const v of op.operands) {
      const between: AnyOp[] = [];
      const behind = site.behind(v, between);
      if (behind?.op === "add" && whole(behind.results[0]!)) {
        through.push(...between);
        visit(behind);
      } else leaves.push({ value: v, through: between, ...(behind?.op === "dot" && !flagged(behind) && whole(v) ? { dot: behind } : {}) });
    }
  };
  visit(root);
  return { leaves, adds, through };
}

interface Leaf {
  readonly value: Value;
  /** The product that it is, read by nothing else. */
  readonly dot?: Dot;
  /** Transposes between the product and the sum. */
  readonly through: readonly AnyOp[];
}

/** Whether an add is part of a greater sum: it is read once, by an add of as many axes. */
function inner(site: Site, op: AnyOp): boolean {
  let v = op.results[0]!;
  for (;;) {
    if (site.uses(v) !== 1) return false;
    const user = opsOf(site.fn).find((o) => o.operands.includes(v));
    if (user?.op === "add") return namesOf(user.results[0]!).length === namesOf(op.results[0]!).length;
    if (user?.op !== "transpose") return false;
    v = user.results[0]!;
  }
}

/** A value with its own axes merged into one: where they stand, if together and in this order, else last. */
function flat(b: Builder, names: Names, v: Value, own: readonly Axis[]): Part {
  if (own.length === 1) return { value: v, axis: own[0]! };
  const ownNames = own.map((a) => a.name);
  const at = namesOf(v).indexOf(ownNames[0]!);
  const together = sameNames(namesOf(v).slice(at, at + own.length), ownNames);
  const laid = together ? v : ordered(b, v, [...namesOf(v).filter((n) => !ownNames.includes(n)), ...ownNames]);
  const merged = names.of(ownNames.join("."), Number(multiplySizes(...own.map((a) => a.size))));
  const axes = axesOf(laid).flatMap((a) => (a.name === ownNames[0] ? [merged] : ownNames.includes(a.name) ? [] : [a]));
  return { value: b.reshape(laid, axes), axis: merged };
}

/** A value, and the axis along which it is joined with others. */
interface Part {
  readonly value: Value;
  readonly axis: Axis;
}

function join(b: Builder, parts: readonly Part[], names: Names): Part & { readonly parts: readonly Axis[] } {
  const whole = names.of(parts.map((p) => p.axis.name).join("+"), parts.reduce((n, p) => n + Number(p.axis.size), 0));
  return { value: b.concat(parts.map((p) => p.value), parts.map((p) => p.axis.name), whole), axis: whole, parts: parts.map((p) => p.axis) };
}

/** Axes that a rewrite adds to a function: a name has one size in it, wherever it stands. */
export class Names {
  readonly #sizes = new Map<string, Axis["size"]>();

  constructor(site: Site) {
    for (const v of [...site.fn.params, ...site.fn.body.flatMap((op) => op.results)])
      for (const a of v.type.kind === "tensor" ? v.type.axes : v.type.kind === "list" ? v.type.of.axes : []) this.#sizes.set(a.name, a.size);
  }

  of(name: string, size: Axis["size"]): Axis {
    for (let i = 1; ; i++) {
      const tried = i === 1 ? name : `${name}_${i}`;
      if ((this.#sizes.get(tried) ?? size) !== size) continue;
      this.#sizes.set(tried, size);
      return axis(tried, size);
    }
  }
}

function reportOf(site: Site, rule: 4 | 5, gone: readonly AnyOp[], write: (b: Builder, now: (v: Value) => Value) => unknown): StackReport {
  const origin = gone.find((op) => op.origin)?.origin;
  return { fn: site.fn.name, paths: pathsOf(gone), ...(origin ? { origin } : {}), rule, before: site.cost(gone), after: site.tried(write) };
}

/** The value behind transposes: what the product reads, whatever its layout. */
function source(site: Site, v: Value): Value {
  const op = site.maker(v);
  return op?.op === "transpose" ? source(site, op.operands[0]!) : v;
}

/** Whether the operands share an axis that is not contracted. */
function batched(op: Dot): boolean {
  return namesOf(op.operands[0]!).some((n) => !op.attributes.over.includes(n) && namesOf(op.operands[1]!).includes(n));
}

function dependsOn(site: Site, v: Value, on: Value, seen = new Set<Value>()): boolean {
  if (v === on) return true;
  if (seen.has(v)) return false;
  seen.add(v);
  return (site.maker(v)?.operands ?? []).some((x) => dependsOn(site, x, on, seen));
}

export function flagged(op: Dot): boolean {
  return Boolean(op.attributes.transposeA || op.attributes.transposeB);
}

function numeric(axes: readonly Axis[]): boolean {
  return axes.every((a) => typeof a.size === "number");
}

