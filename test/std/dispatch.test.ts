import { describe, expect, it } from "vitest";
import { dispatch, simplify } from "../../src/passes/index.ts";
import { difference, numbers } from "../passes/support.ts";
import { randomRows, runEntry, whole } from "./whole.ts";

/** Whole adapters in which a token's experts are a number: what the pass does to the library's own routers and experts. */
const specs: Readonly<Record<string, readonly [sorted: number, text: string]>> = {
  "MixLoRA: a block for each expert, dropout": [1, "at layers.*.mlp { experts ffn[4] = patch { gate_proj, up_proj, down_proj: lora(rank: 2, dropout: 0.25) }  route top_k(2)  balance 0.1 * load_balancing(shares: k) }"],
  "MoLA: a router for each linear": [3, "at layers.*.mlp.{gate_proj, up_proj, down_proj} { experts e[5] = lora(rank: 2)  route top_k(2)  balance 0.1 * load_balancing() }"],
  "one router for a block's linears": [1, "at layers.*.mlp.{gate_proj, up_proj} { experts e[5] = lora(rank: 2)  route top_k(1, renormalize: false) per block }"],
  "one router, and linears that follow from each other": [2, "at layers.*.mlp.{gate_proj, up_proj, down_proj} { experts e[5] = lora(rank: 2)  route top_k(2) per block }"],
  "groups of two kinds, softmax over the chosen": [2, "at layers.*.mlp.down_proj { experts low[3] = lora(rank: 1)  experts turned[3] = dora(rank: 2)  route top_k_softmax(2) }"],
  "one mask for each expert": [1, "at layers.*.mlp.up_proj { experts e[4] = lora(rank: 2, dropout: 0.5, masks: each)  route top_k(1) }"],
  "Switch: while there is room": [1, "at layers.*.mlp.up_proj { experts e[4] = lora(rank: 2)  route switch(2) }"],
  "noise in the choice, importance and load": [1, "at layers.*.mlp.up_proj { experts e[4] = lora(rank: 2)  route noisy_top_k(2)  balance 0.1 * importance_and_load() }"],
  "a choice by a state that no gradient trains": [1, "at layers.*.mlp.up_proj { experts e[6] = lora(rank: 2)  route loss_free(2) }"],
};

describe("tokens sorted by expert", () => {
  it.each(Object.entries(specs).map(([name, [sorted, text]]) => [name, sorted, text] as const))("%s: the same losses, gates and gradients", async (_, sorted, clause) => {
    const text = `base llama = llama("models/tiny-llama")\nadapter A on llama {\n  ${clause}\n}\n`;
    let found: readonly boolean[] = [];
    const dense = await whole(text, numbers(5));
    const made = await whole(text, numbers(5), (module) => {
      const { module: after, report } = dispatch(simplify(module), { dispatch: "always" });
      const trained = module.entries.get("train")!.fn;
      found = report.filter((r) => r.k !== undefined && r.fn.startsWith("layers") && r.fn.endsWith(trained)).map((r) => r.sorted);
      return after;
    });
    expect(found).toEqual(Array(sorted).fill(true));
    const rows = randomRows(3, 4, numbers(9));
    for (const entry of ["evaluate", "gradients"]) {
      const [x, y] = [runEntry(dense, entry, rows), runEntry(made, entry, rows)];
      for (const side of ["output", "gradient", "statistic"] as const) {
        expect(Object.keys(y[side])).toEqual(Object.keys(x[side]));
        for (const name of Object.keys(x[side])) expect([name, difference(x[side][name]!, y[side][name]!)]).toEqual([name, expect.closeTo(0, 10)]);
      }
    }
  });
});
