import type { GraphFunction, Type, Value } from "../ir/graph.ts";
import { isList, isTensor } from "../ir/types.ts";
import { namesOf, opsOf } from "./tools.ts";

/** Axis names in layout order. */
export type Order = readonly string[];

/** The order of a tensor's axes, or of those of a list's tensors. */
export function orderOf(type: Type): Order | undefined {
  const t = isList(type) ? type.of : type;
  return t.kind === "tensor" ? t.axes.map((a) => a.name) : undefined;
}

/**
 * The order that the users of a value would like it in, where they have one: a function's results as they are wanted,
 * and what elementwise ops, reshapes and carried values ask of their operands because of it. Only a preference: a
 * product uses it to choose between its ways.
 */
export function hintsOf(fn: GraphFunction, wanted: readonly (Order | undefined)[]): ReadonlyMap<Value, Order> {
  const hints = new Map<Value, Order>();
  const hint = (v: Value | undefined, order: Order | undefined): void => {
    if (v && order && !hints.has(v)) hints.set(v, order);
  };
  fn.results.forEach((v, j) => hint(v, wanted[j]));
  for (const op of [...opsOf(fn)].reverse()) {
    const own = op.results[0] && hints.get(op.results[0]);
    const x = op.operands[0];
    switch (op.op) {
      case "reshape":
        hint(x, namesOf(x!));
        break;
      case "softmax":
      case "log_softmax":
      case "is_top":
        hint(x, own?.at(-1) === op.attributes.axis ? own : [...namesOf(x!).filter((n) => n !== op.attributes.axis), op.attributes.axis]);
        break;
      case "rename":
        hint(x, own?.map((n) => op.attributes.from[op.attributes.to.indexOf(n)] ?? n));
        break;
      case "slice":
      case "pad":
        hint(x, own?.map((n) => (n === op.attributes.as.name ? op.attributes.axis : n)));
        break;
      case "fold":
        op.operands.slice(0, op.attributes.carried).forEach((v) => hint(v, namesOf(v)));
        break;
      case "list":
        op.operands.forEach((v) => hint(v, own));
        break;
      case "pack":
        hint(x, own?.filter((n) => n !== op.attributes.as.name));
        break;
      case "unpack":
        hint(x, own && [op.attributes.axis, ...own]);
        break;
      case "sum":
      case "mean":
      case "reduce_max":
      case "argmax":
      case "dot":
      case "gather":
      case "scatter_add":
      case "concat":
      case "dispatch":
      case "spread":
      case "collect":
      case "grouped_dot":
      case "grouped_outer":
      case "call":
      case "element":
        break;
      default:
        // Elementwise, transposes, and whatever keeps its operand's axes.
        for (const v of op.operands) if (isTensor(v.type) && own) hint(v, own.filter((n) => namesOf(v).includes(n)));
    }
  }
  return hints;
}

/** One way to lay out a product: left [batch, rows, contracted] × right [batch, contracted, columns]. */
export interface Product {
  /** Whether b stands on the left. */
  readonly swap: boolean;
  readonly batch: Order;
  readonly rows: Order;
  readonly contracted: Order;
  readonly columns: Order;
  /** The orders that the operands must have, and whether they are the transposed matrices that a flag speaks of. */
  readonly left: { readonly order: Order; readonly flag: boolean };
  readonly right: { readonly order: Order; readonly flag: boolean };
}

interface Prices {
  /** What reading an operand by a flag costs, in passes over it; false: never. */
  readonly flags: number | false;
  /** What having operand 0 (a) or 1 (b) in an order costs, in elements moved. */
  price(side: 0 | 1, order: Order): number;
  /** Elements of operand 0 (a) or 1 (b). */
  size(side: 0 | 1): number;
  /** What another order of the result costs. */
  readonly result: number;
}

/**
 * The way that moves the fewest elements, the result's own way to the wanted order included: so x^T h becomes
 * (h^T x)^T where h is the smaller. The first of equals, plain before flagged.
 */
export function chooseProduct(a: Order, b: Order, over: readonly string[], wanted: Order | undefined, prices: Prices): Product {
  const shared = (n: string): boolean => a.includes(n) && b.includes(n);
  const part = (order: Order): Part => ({
    batch: order.filter((n) => shared(n) && !over.includes(n)),
    contracted: order.filter((n) => over.includes(n)),
    own: order.filter((n) => !shared(n)),
  });
  const parts: readonly [Part, Part] = [part(a), part(b)];
  const like = (order: Order): Order[] => [order, ...(wanted && order.every((n) => wanted.includes(n)) ? [wanted.filter((n) => order.includes(n))] : [])];
  let best: Product | undefined;
  let least = Infinity;
  for (const swap of [false, true]) {
    const [l, r] = swap ? [1 as const, 0 as const] : [0 as const, 1 as const];
    for (const batch of unique([...like(parts[l].batch), parts[r].batch]))
      for (const contracted of unique([parts[l].contracted, parts[r].contracted]))
        for (const rows of unique(like(parts[l].own)))
          for (const columns of unique(like(parts[r].own))) {
            const side = (which: 0 | 1, plain: Order, flagged: Order): { order: Order; flag: boolean; cost: number } => {
              const cost = prices.price(which, plain);
              const read = prices.flags === false || cost === 0 || prices.price(which, flagged) > 0 ? Infinity : prices.flags * prices.size(which);
              return read < cost ? { order: flagged, flag: true, cost: read } : { order: plain, flag: false, cost };
            };
            const left = side(l, [...batch, ...rows, ...contracted], [...batch, ...contracted, ...rows]);
            const right = side(r, [...batch, ...contracted, ...columns], [...batch, ...columns, ...contracted]);
            const made = [...batch, ...rows, ...columns];
            const cost = left.cost + right.cost + (wanted && made.join("\n") !== wanted.join("\n") ? prices.result : 0);
            if (cost < least) {
              least = cost;
              best = { swap, batch, rows, contracted, columns, left, right };
            }
          }
  }
  return best!;
}

interface Part {
  readonly batch: Order;
  readonly contracted: Order;
  readonly own: Order;
}

function unique(orders: readonly Order[]): readonly Order[] {
  return orders.filter((o, i) => orders.findIndex((p) => p.join("\n") === o.join("\n")) === i);
}
