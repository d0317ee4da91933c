import { fail } from "../diagnostics/index.ts";
import type { Call, Expression, WeightItem } from "../parser/ast.ts";
import { SyntaxUnit, type Elaborator } from "./elaborate.ts";
import type { FrozenSource, Initial } from "./emitter.ts";
import type { Applied, SitePlace } from "./plan.ts";
import { Scope } from "./scope.ts";
import { suggest } from "./suggest.ts";
import { constant, showAxes, showConst, type AxisRef, type Tensor } from "./values.ts";

/** What a definition's weights belong to in files, by layer. */
export interface Owners {
  /** One name a slice along the expert axis, or one. */
  readonly own: (layer: number | undefined) => string[];
  /** Which of the site's experts is the first along the expert axis. */
  readonly start?: number;
  /** The gates along the expert axis, where they weigh the weights themselves. */
  readonly mix?: Tensor;
  /** Of weights that a group's experts have in common. */
  readonly shared?: (layer: number | undefined) => string[];
  /** The frozen weight that first values may be computed from. */
  readonly frozen?: FrozenSource;
}

/**
 * Declares a definition's axes and weights; the weights are mapped over the expert axis where there is one. `owners` names
 * what they belong to in files.
 */
export function items(
  elaborator: Elaborator,
  applied: Applied,
  scope: Scope,
  place: SitePlace,
  expertAxis: AxisRef | undefined,
  owners: Owners,
): void {
  const { ops } = elaborator;
  for (const item of applied.definition.items) {
    if (item.kind === "axis") elaborator.defineAxis(item.name, item.size, scope);
    if (item.kind !== "weight") continue;
    const declared = elaborator.declared(item.axes, scope);
    // The side that contracts with the input comes first, then the expert, so that A of all experts is one matrix
    // [in, expert·rank]; where the weight does not meet the input, the expert leads: B is [expert·rank, out].
    const mapped = applied.shared.has(item.name.text) ? undefined : expertAxis;
    const names = !mapped && expertAxis && owners.shared ? owners.shared : owners.own;
    // An expert's first values may depend on which of the site's experts it is.
    const first = initial(elaborator, item, declared, scope, place, mapped ? Array.from({ length: mapped.size as number }, (_, i) => (owners.start ?? 0) + i) : [0]);
    const axes = !mapped ? declared : declared[0] === place.in ? [declared[0], mapped, ...declared.slice(1)] : [mapped, ...declared];
    const tensor: Tensor = {
      kind: "tensor",
      axes,
      dtype: "f32",
      handle: ops.emitter.weight(
        {
          path: [...ops.path, item.name.text],
          axes,
          trainable: item.role === "weight",
          ...(item.role === "state" ? { state: true } : {}),
          initial: first,
          decay: declared.length > 1,
          // Matrices lie in files as PyTorch's linear layers keep them, the output side first; a table looked up by kind
          // as its embeddings do, a row for each.
          order: [...(mapped ? [mapped] : []), ...(declared.length === 2 && declared[0]!.name !== "kind" ? [declared[1]!, declared[0]!] : declared)],
          adapter: { names: (layer) => names(layer).map((o) => `${o}.${item.name.text}`), ...(mapped ? { along: mapped } : {}) },
          ...((first.kind === "base_norm" || first.kind === "singular") && owners.frozen ? { base: owners.frozen } : {}),
        },
        ops.at(item.span, () => ops.origin()),
      ),
    };
    scope.define(item.name.text, mapped && owners.mix ? ops.at(item.span, () => ops.dot(owners.mix!, tensor, [mapped])) : tensor);
  }
}

/** Initial values that a definition may name. Arguments are positional or by name. */
const initializers: Readonly<Record<string, { readonly parameters: readonly string[]; readonly make: (a: readonly (number | undefined)[], fanIn: number) => Initial | string }>> = {
  zeros: { parameters: [], make: () => ({ kind: "zeros" }) },
  ones: { parameters: [], make: () => ({ kind: "ones" }) },
  constant: { parameters: ["value"], make: ([value]) => (value === undefined ? "value" : { kind: "constant", value }) },
  normal: { parameters: ["std"], make: ([std]) => (std === undefined ? "std" : { kind: "normal", std }) },
  uniform: { parameters: ["bound"], make: ([bound]) => (bound === undefined ? "bound" : { kind: "uniform", bound }) },
  orthogonal: { parameters: ["gain"], make: ([gain]) => ({ kind: "orthogonal", gain: gain ?? 1 }) },
  kaiming_uniform: { parameters: ["a"], make: ([a], fanIn) => ({ kind: "kaiming_uniform", a: a ?? 0, fanIn }) },
};

export const initializerNames = [...Object.keys(initializers), "norm", "singular"];

/** `norm(W, over: in)`: computed from the site's frozen weight when an adapter starts afresh. */
function baseNorm(elaborator: Elaborator, e: Call, item: WeightItem, axes: readonly AxisRef[], scope: Scope, place: SitePlace): Initial {
  const parameters = ["W", "over"].map((text) => ({ name: { text, span: e.callee.span } }));
  const bound = elaborator.bind("norm", parameters, e.args);
  const [of, over] = parameters.map((p) => bound.get(p)?.value);
  if (of?.kind !== "name" || of.text !== "W" || !over) return fail("MOE2016", "an initial norm is of the site's frozen weight: norm(W, over: in)", { at: e.span });
  const axis = elaborator.axis(over, scope);
  const rest = [place.in, place.out].filter((a) => a !== axis);
  if (rest.length !== 1 || axes.length !== 1 || axes[0] !== rest[0]) {
    fail("MOE3002", `norm(W, over: ${scope.nameOf(axis)}) is [${rest.map((a) => scope.nameOf(a)).join(", ")}], "${item.name.text}" is [${axes.map((a) => scope.nameOf(a)).join(", ")}]`, { at: e.span });
  }
  return { kind: "base_norm", over: axis.name };
}

/**
 * `singular(W, along: in, first: 0, step: 0, scale: 1)`: singular vectors of the site's frozen weight, each times
 * sqrt(scale · its value). The last axis counts vectors from number `first` on, one before it goes by `step`. `first` may
 * speak of `nth`, the expert's number at its site (0 for one that is always on).
 */
function singular(elaborator: Elaborator, e: Call, item: WeightItem, axes: readonly AxisRef[], scope: Scope, place: SitePlace, slices: readonly number[]): Initial {
  const parameters = ["W", "along", "first", "step", "scale"].map((text) => ({ name: { text, span: e.callee.span } }));
  const bound = elaborator.bind("singular", parameters, e.args);
  const [of, along, first, step, scale] = parameters.map((p) => bound.get(p)?.value);
  if (of?.kind !== "name" || of.text !== "W" || !along) return fail("MOE2016", "initial singular vectors are the site's frozen weight's: singular(W, along: in)", { at: e.span });
  const axis = elaborator.axis(along, scope);
  const others = axes.filter((a) => a !== axis);
  if ((axis !== place.in && axis !== place.out) || others.length === axes.length || others.length === 0) {
    fail("MOE3002", `singular(W, along: ${scope.nameOf(axis)}) fills an axis in or out of the frozen weight and one that counts vectors; "${item.name.text}" is ${showAxes(axes, (a) => scope.nameOf(a))}`, { at: e.span });
  }
  const number = (at: Expression | undefined, otherwise: number, inner: Scope, whole: boolean): number => {
    const value = at ? elaborator.evaluateConst(at, inner, "an initial value is known at compile time").value : otherwise;
    if (typeof value !== "number" || !(value >= 0) || (whole && !Number.isSafeInteger(value))) return fail("MOE2005", `${whole ? "a whole number" : "a number"} of at least 0 is needed here, this is ${showConst(value)}`, { at: at!.span });
    return value;
  };
  const firsts = slices.map((nth) => {
    const inner = new Scope(scope);
    inner.define("nth", constant(nth));
    return number(first, 0, inner, true);
  });
  const steps = others.map((_, i) => (i === others.length - 1 ? 1 : number(step, 0, scope, true)));
  const last = Math.max(...firsts) + others.reduce((n, a, i) => n + ((a.size as number) - 1) * steps[i]!, 0);
  const most = Math.min(place.in.size as number, place.out.size as number);
  if (last >= most) fail("MOE2009", `the frozen weight has ${most} singular vectors, counted from 0; this asks for number ${last}`, { at: e.span });
  return { kind: "singular", axis: axis.name, firsts, steps, scale: number(scale, 1, scope, false) };
}

function initial(elaborator: Elaborator, item: WeightItem, axes: readonly AxisRef[], scope: Scope, place: SitePlace, slices: readonly number[]): Initial {
  const e: Expression | undefined = item.initial;
  if (e?.kind === "call" && e.callee.text === "singular") return singular(elaborator, e, item, axes, scope, place, slices);
  if (e?.kind === "call" && e.callee.text === "norm") return baseNorm(elaborator, e, item, axes, scope, place);
  if (!e) return fail("MOE2016", `the weight "${item.name.text}" needs an initial value`, { at: item.span, help: `for example = zeros(); there are: ${initializerNames.join(", ")}` });
  if (e.kind === "missing") throw new SyntaxUnit();
  if (e.kind !== "call" || !Object.hasOwn(initializers, e.callee.text)) {
    const all = `there are: ${initializerNames.map((n) => `${n}()`).join(", ")}`;
    const name = e.kind === "call" ? e.callee : e.kind === "name" ? e : undefined;
    return fail("MOE2016", "an initial value is one of the known distributions", { at: name?.span ?? e.span, ...(name ? suggest(name, initializerNames, all) : { help: all }) });
  }
  const row = initializers[e.callee.text]!;
  const parameters = row.parameters.map((text) => ({ name: { text, span: e.callee.span } }));
  const bound = elaborator.bind(e.callee.text, parameters, e.args);
  const values = parameters.map((p) => {
    const arg = bound.get(p);
    if (!arg) return undefined;
    const value = elaborator.evaluateConst(arg.value, scope, "an initial value is known at compile time").value;
    if (typeof value !== "number") return fail("MOE2005", `a number is needed here, this is ${showConst(value)}`, { at: arg.span });
    return value;
  });
  const sizes = axes.slice(0, -1).map((a) => a.size);
  const fanIn = sizes.reduce<number>((n, s) => n * (typeof s === "number" ? s : 1), 1);
  const made = row.make(values, fanIn);
  if (typeof made === "string") return fail("MOE2003", `${e.callee.text} needs ${made}`, { at: e.span });
  return made;
}
