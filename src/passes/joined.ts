import type { Builder } from "../ir/builder.ts";
import type { Axis, ListType, TensorType, Value, Weight } from "../ir/graph.ts";
import { axis, tensor } from "../ir/types.ts";
import { elementsOf } from "./tools.ts";

/**
 * Tensors of more elements are better off alone: joining and splitting them moves more than the kernels that are not
 * started would have cost (some 15 of 10 microseconds each, against 24 bytes an element).
 */
const largest = 2 ** 16;

/** Weights that one set of elementwise ops works on: one as it is, or several joined. */
export interface Part {
  readonly weights: readonly Weight[];
  /** What stands for them: the weight's own type, or a vector. */
  readonly type: TensorType | ListType;
}

/**
 * Weights of like settings joined into one vector: all their tensors one after the other, a list's layer by layer. What
 * works on each element alone then takes a handful of kernels, however many weights there are, and gives the same bits.
 */
export class JoinedWeights {
  readonly parts: readonly Part[];

  /** `settings`: weights for which it says the same may share a vector. */
  constructor(weights: readonly Weight[], settings: (weight: Weight) => string) {
    const groups = new Map<string, Weight[]>();
    const parts: Part[] = [];
    for (const w of weights) {
      const one = w.type.kind === "list" ? w.type.of : w.type;
      if (elementsOf(one) > largest) {
        parts.push({ weights: [w], type: w.type });
        continue;
      }
      const key = settings(w);
      groups.set(key, [...(groups.get(key) ?? []), w]);
    }
    for (const [key, group] of groups) {
      const size = group.reduce((n, w) => n + elementsOf(w.type), 0);
      const alone = group.length === 1 && group[0]!.type.kind === "tensor";
      parts.push({ weights: group, type: alone ? group[0]!.type : tensor("f32", [axis(`joined.${key}`, size)]) });
    }
    this.parts = parts;
  }

  /** The values of a part's weights as one. */
  join(b: Builder, part: Part, values: ReadonlyMap<Weight, Value>): Value {
    const own = part.weights.map((w) => values.get(w)!);
    if (part.type === part.weights[0]!.type) return own[0]!;
    const as = (part.type as TensorType).axes[0]!;
    const flat = own.map((v, i) => b.reshape(v.type.kind === "list" ? b.pack(v, layersOf(v.type)) : v, [own.length === 1 ? as : elementsAxis(part.weights[i]!)]));
    return flat.length === 1 ? flat[0]! : b.concat(flat, part.weights.map((w) => elementsAxis(w).name), as);
  }

  /** The inverse of `join`: one value for each of the part's weights. */
  split(b: Builder, part: Part, joined: Value): readonly Value[] {
    if (part.type === part.weights[0]!.type) return [joined];
    const as = (part.type as TensorType).axes[0]!;
    let start = 0;
    return part.weights.map(({ type }, i) => {
      const elements = elementsAxis(part.weights[i]!);
      const own = part.weights.length === 1 ? joined : b.slice(joined, as.name, start, elements);
      start += elements.size;
      if (type.kind === "tensor") return b.reshape(own, type.axes);
      const layers = layersOf(type);
      return b.unpack(b.reshape(own, [layers, ...type.of.axes]), layers.name);
    });
  }
}

/** All elements of a weight as one axis. */
function elementsAxis(w: Weight): { readonly name: string; readonly size: number } {
  const size = elementsOf(w.type);
  return { name: `elements.${size}`, size };
}

function layersOf({ count }: ListType): Axis {
  return axis(`layers.${count}`, count);
}
