import type { StoreName } from "../formats/onnx.ts";
import { bindingName, type Binding, type Entry } from "../ir/graph.ts";

/** The store that holds a binding's tensors, among an entry's params and in what it returns. */
export const storeOf: { readonly [K in Exclude<Binding["kind"], "input">]: StoreName } = {
  weight: "weights",
  gradient: "gradients",
  moment1: "moment1",
  moment2: "moment2",
  statistic: "gradients",
};

/** The store of each of an entry's params; undefined for inputs. */
export function paramStores(role: string, entry: Entry): readonly (StoreName | undefined)[] {
  const seen = new Set<string>();
  return entry.params.map((binding) => {
    if (binding.kind === "input") return undefined;
    // `accumulate` takes two stores of one kind: every weight's second gradient is the other store's.
    const key = `${binding.kind} ${bindingName(binding)}`;
    const store = role === "accumulate" && seen.has(key) ? "others" : storeOf[binding.kind];
    seen.add(key);
    return store;
  });
}
