import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ProgramInfo, manifestOf, printDeclarations, printManifest, printTfjs } from "../../src/codegen/index.ts";
import { axis, type Binding, listOf, type Module, ModuleBuilder, numberType, type Origin, tensor, type Value } from "../../src/ir/index.ts";
import type { Entries } from "../../src/runtime/program.ts";
import { clean, compilers, complaints, loadText, manifest, root, runtimePath, scratch, tf } from "./run.ts";

const sample = axis("sample");
const position = axis("position");
const vocab = axis("vocab", 8);
const hidden = axis("hidden", 4);
const ids = tensor("i32", [sample, position]);
const flags = tensor("f32", [sample, position]);
const embedding = tensor("f32", [vocab, hidden]);
const mixing = tensor("f32", [hidden, axis("out", 4)]);

const origin = (line: number, ...path: string[]): Origin => ({ file: "small.moe", start: 0, end: 1, line, path });

const names = { embed: "embed_tokens", mix: "layers.mlp.mix" };

/** A tiny model with all five entries: embedding, a fold of mixing layers, the tied head; "gradients" that are simple sums. */
function smallModule(weightNames = names, file = "small.moe"): Module {
  const from = (line: number, ...path: string[]): Origin => ({ ...origin(line, ...path), file });
  const m = new ModuleBuilder();
  m.weight({ name: weightNames.embed, type: embedding, trainable: false, initializer: { kind: "checkpoint" }, sources: [{ tensor: "model.embed_tokens.weight", order: ["vocab", "hidden"] }], decay: false });
  m.weight({ name: weightNames.mix, type: listOf(2, mixing), trainable: true, initializer: { kind: "kaiming_uniform", a: 2, fanIn: 4 }, sources: [0, 1].map((i) => ({ order: ["hidden", "out"], adapter: { names: [`layers.${i}.mix`] } })), decay: true });

  m.define("layer", (b) => {
    const h = b.param(tensor("f32", [sample, position, hidden]), "h");
    const w = b.param(mixing, "mix");
    return b.at(from(7, "layers", "mlp", "mix"), () => {
      const rows = b.reshape(h, [axis("rows", "position*sample"), hidden]);
      const mixed = b.dot(rows, w, ["hidden"]);
      const back = b.reshape(mixed, [sample, position, axis("out", 4)]);
      const y = b.rename(back, ["out"], ["hidden"]);
      const next = b.add(h, b.tanh(y));
      next.name = "h";
      b.release(b.body.flatMap((op) => op.results).filter((v) => v !== next));
      return [next];
    });
  }, "One layer: h + tanh(h W).");

  m.define("logits", (b) => {
    const embed = b.param(embedding, weightNames.embed);
    const mix = b.param(listOf(2, mixing), weightNames.mix);
    const tokens = b.param(ids, "tokens");
    const start = b.at(from(3, "embed_tokens"), () => b.gather(embed, tokens, "vocab"));
    start.name = "h";
    const [h] = b.fold({ fn: "layer", count: 2, carried: [start], lists: [mix] });
    const rows = b.reshape(h!, [axis("rows", "position*sample"), hidden]);
    const head = b.at(from(9, "lm_head"), () => b.dot(rows, b.transpose(embed, ["hidden", "vocab"]), ["hidden"]));
    const logits = b.reshape(head, [sample, position, vocab]);
    logits.name = "logits";
    b.release(b.body.flatMap((op) => op.results).filter((v) => v !== logits));
    return [logits];
  });

  const weightParams: readonly Binding[] = [{ kind: "weight", weight: weightNames.embed }, { kind: "weight", weight: weightNames.mix }];
  const input = (name: string): Binding => ({ kind: "input", name });
  m.entry("logits", { fn: "logits", params: [...weightParams, input("tokens")], results: [{ kind: "output", name: "logits" }] });

  m.define("evaluate", (b) => {
    const embed = b.param(embedding, "embed");
    const mix = b.param(listOf(2, mixing), "mix");
    const tokens = b.param(ids, "tokens");
    const targets = b.param(ids, "targets");
    const mask = b.param(flags, "lossMask");
    const logits = b.call("logits", [embed, mix, tokens])[0]!;
    const p = b.log_softmax(logits, "vocab");
    const nll = b.neg(b.sum(b.mul(p, b.one_hot(targets, vocab)), ["vocab"]));
    const loss = b.sum(b.mul(nll, mask), ["position"]);
    const count = b.sum(mask, ["position"]);
    const hits = b.sum(b.mul(b.cast(b.eq(b.argmax(logits, "vocab"), targets), "f32"), mask), ["position"]);
    const results = [loss, count, hits];
    b.release(b.body.flatMap((op) => op.results).filter((v) => !results.includes(v)));
    return results;
  });
  m.entry("evaluate", { fn: "evaluate", params: [...weightParams, input("tokens"), input("targets"), input("lossMask")], results: ["loss", "count", "hits"].map((name) => ({ kind: "output", name })) });

  m.define("gradients", (b) => {
    const mix = b.param(listOf(2, mixing), "mix");
    const mask = b.param(flags, "lossMask");
    const scale = b.param(numberType, "lossScale");
    const loss = b.mul(b.sum(mask, ["position", "sample"]), b.fill(scale));
    const each = [0, 1].map((i) => b.mul(b.element(mix, i), 2));
    const list = b.list(each);
    b.release(b.body.flatMap((op) => op.results).filter((v) => v !== loss && v !== list));
    return [loss, list];
  });
  m.entry("gradients", { fn: "gradients", params: [weightParams[1]!, input("lossMask"), input("lossScale")], results: [{ kind: "output", name: "loss" }, { kind: "gradient", weight: weightNames.mix }] });

  const two = (name: string, write: (a: Value, c: Value, add: (x: Value, y: Value) => Value) => Value): void => {
    m.define(`${name}_one`, (b) => [write(b.param(mixing, "a"), b.param(mixing, "b"), (x, y) => b.add(x, y))]);
    m.define(name, (b) => {
      const [a, c] = [b.param(listOf(2, mixing), "a"), b.param(listOf(2, mixing), "b")];
      return b.fold({ fn: `${name}_one`, count: 2, lists: [a, c] });
    });
  };
  two("accumulate", (a, c, add) => add(a, c));
  const gradient: Binding = { kind: "gradient", weight: weightNames.mix };
  m.entry("accumulate", { fn: "accumulate", params: [gradient, gradient], results: [gradient] });

  m.define("update", (b) => {
    const [w, g, m1, m2] = ["w", "g", "m", "v"].map((n) => b.param(listOf(2, mixing), n));
    const step = b.param(numberType, "step");
    const lr = b.fill(step);
    const norm = b.sum(b.element(g!, 0), ["hidden", "out"]);
    const results = [b.copy(w!), b.copy(m1!), b.copy(m2!), lr, norm];
    b.release(b.body.flatMap((op) => op.results).filter((v) => !results.includes(v)));
    return results;
  });
  const bound = (kind: "weight" | "moment1" | "moment2"): Binding => ({ kind, weight: weightNames.mix });
  m.entry("update", {
    fn: "update",
    params: [bound("weight"), gradient, bound("moment1"), bound("moment2"), input("step")],
    results: [bound("weight"), bound("moment1"), bound("moment2"), { kind: "output", name: "lr" }, { kind: "output", name: "norm" }],
  });
  return m.finish();
}

const base = manifest();
const info: ProgramInfo = {
  moec: "0.1.0", adapter: "Small", spec: { file: "small.moe", sha256: "a".repeat(64) },
  base: { model: "llama", path: "models/small", config: { vocab_size: 8, rope_parameters: { rope_theta: 10000 } }, vocabulary: 8, context: 64 },
  groups: [{ name: "knowledge", experts: 3 }, { name: "skill", experts: 3 }], kinds: ["world_knowledge", "downstream"],
  sites: [{ path: "layers.0.mlp.gate_proj", layer: 0, in: 4, out: 4, experts: [{ group: "knowledge", kind: "lora", count: 3, always: false }], trainable: 32 }],
  train: base.train, doc: "A small adapter.",
};

function compiled(module = smallModule(), over: Partial<ProgramInfo> = {}) {
  const all = { ...info, ...over };
  return { module, manifest: manifestOf(module, all), doc: all.doc ?? "" };
}

async function entriesOf(item: ReturnType<typeof compiled>, name = "Small"): Promise<Entries> {
  const text = await printTfjs([item], { types: false, format: false });
  return (await loadText(text) as unknown as Record<string, { create(t: typeof tf): Entries }>)[name]!.create(tf);
}

beforeAll(async () => {
  await tf.setBackend("cpu");
  await tf.ready();
});
afterAll(clean);

describe("a program", () => {
  it("runs all five entries and leaves nothing but results", async () => {
    const before = tf.memory().numTensors;
    const entries = await entriesOf(compiled());
    const weights = { embed_tokens: tf.tensor2d(Array.from({ length: 32 }, (_, i) => Math.sin(i)), [8, 4]), "layers.mlp.mix": [tf.ones([4, 4]), tf.zeros([4, 4])] };
    const tokens = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3], "int32");
    const lossMask = tf.tensor2d([0, 1, 1, 0, 0, 1], [2, 3]);
    const batch = { tokens, targets: tokens, lossMask, mask: lossMask, prompt: lossMask, kind: tf.tensor1d([0, 1], "int32"), fields: {} };
    const start = tf.memory().numTensors;

    const { logits } = entries.logits(weights, batch);
    expect(logits.shape).toEqual([2, 3, 8]);
    expect(tf.memory().numTensors).toBe(start + 1);
    // The reference for the first position, written out by hand.
    const table = Array.from({ length: 8 }, (_, v) => Array.from({ length: 4 }, (_, j) => Math.sin(4 * v + j)));
    const h0 = table[1]!;
    const turned = Math.tanh(h0.reduce((a, c) => a + c, 0));
    const h = h0.map((x) => x + turned);
    const want = table.map((row) => row.reduce((a, c, j) => a + c * h[j]!, 0));
    Array.from(logits.dataSync().slice(0, 8)).forEach((got, i) => expect(got).toBeCloseTo(want[i]!, 4));

    const report = entries.evaluate(weights, batch, { step: 3, steps: 9 });
    expect([...report.count.dataSync()]).toEqual([2, 1]);
    expect(report.usage.shape).toEqual([2, 0]);
    expect(report.balance.dataSync()[0]).toBe(0);
    const host = { seed: 1, draw: 0, lossScale: 0.5, balanceScale: 1, step: 3, steps: 9 };
    const g = entries.gradients(weights, batch, host);
    expect(g.loss.dataSync()[0]).toBe(1.5);
    const sum = entries.accumulate(g.gradients, g.gradients);
    expect([...(sum["layers.mlp.mix"] as readonly { dataSync(): Float32Array }[])[0]!.dataSync()].slice(0, 2)).toEqual([4, 4]);
    const mix = { "layers.mlp.mix": weights["layers.mlp.mix"] };
    const updated = entries.update(mix, g.gradients, mix, mix, { step: 3, steps: 9 });
    expect(updated.lr.dataSync()[0]).toBe(3);
    tf.dispose([logits, report, g, sum, updated] as never);
    expect(tf.memory().numTensors).toBe(start);
    tf.dispose([weights, batch] as never);
    entries.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it("says what it cannot do where nothing is trainable", async () => {
    const module = smallModule();
    const frozen: Module = { ...module, entries: new Map([...module.entries].filter(([n]) => n === "logits" || n === "evaluate")) };
    const entries = await entriesOf(compiled(frozen));
    expect(() => entries.accumulate({}, {})).toThrow("nothing to train");
    entries.dispose();
  });

  it("prints what the golden file holds", async () => {
    const golden = join(root, "test/codegen/golden/small.moe.ts.txt");
    const text = await printTfjs([compiled()]);
    if (process.env["MOEC_GOLDEN"] === "write") writeFileSync(golden, text);
    expect(text).toBe(existsSync(golden) ? readFileSync(golden, "utf8") : "no golden file: MOEC_GOLDEN=write makes it");
  });
});

describe.each(compilers)("under %s", (_, command) => {
  it("generated code and a user's program compile; misspelt names do not", async () => {
    const folder = scratch(`tsc-${command[1]!.includes("typescript5") ? 5 : 7}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), `{"type": "module"}`);
    writeFileSync(join(folder, "small.moe.ts"), await printTfjs([compiled()], { runtimeImport: runtimePath }));
    writeFileSync(join(folder, "typed.d.moe.ts"), printDeclarations([compiled()], { runtimeImport: runtimePath }));
    const user = (from: string): string => `
      import { Small, type SmallTypes } from "${from}";
      const run = await Small.load({ base: "models/small" });
      for await (const step of run.train({ data: "train.jsonl" })) {
        const used: number = step.loss + step.balance + step.utilization.knowledge + step.utilization.skill;
        const some: number | undefined = step.utilizationByKind.downstream?.knowledge;
        // @ts-expect-error a misspelt group
        step.utilization.knowlege;
        // @ts-expect-error a misspelt kind
        step.utilizationByKind.down;
        void used; void some;
      }
      await run.evaluate({ data: [{ prompt: "a", completion: "b", kind: "downstream" }] });
      // @ts-expect-error a misspelt kind
      await run.generate("a", { kind: "downstraem" });
      await run.save("out/");
      const shape: readonly [4, 4] = null! as SmallTypes["weights"]["layers.mlp.mix"]["shape"];
      // @ts-expect-error a misspelt site
      const site: SmallTypes["sites"] = "layers.0.mlp.gate_prj";
      void shape; void site;
      export {};
    `;
    writeFileSync(join(folder, "first.ts"), user("./small.moe.ts"));
    writeFileSync(join(folder, "second.ts"), user("./typed.moe"));
    expect(complaints(command, folder, ["small.moe.ts", "typed.d.moe.ts", "first.ts", "second.ts"])).toBe("");
    rmSync(folder, { recursive: true, force: true });
  }, 120_000);
});

describe("names that are not to be trusted", () => {
  const hostile = ["__proto__", "constructor", `a"; globalThis.moecBroken = 1; "`, "x\n*/ globalThis.moecBroken = 1; /*", "${globalThis.moecBroken = 1}", "`", "\u2028globalThis.moecBroken = 1//", "日本語", "await", "", "tf", "1st", "@ts-ignore", "arguments"];

  it.each(hostile)("%j stays a name", async (name) => {
    const weightNames = { embed: name, mix: `${name}.mix` };
    const module = smallModule(weightNames, `${name}.moe`);
    const functions = new Map([...module.functions].map(([k, fn]) => [k, { ...fn, doc: name }]));
    for (const fn of functions.values()) for (const op of fn.body) for (const v of op.results) v.name = name;
    const item = compiled({ ...module, functions }, { adapter: name, doc: name, spec: { file: name, sha256: "0" }, groups: [{ name, experts: 1 }], kinds: [name], base: { ...info.base, path: name, config: JSON.parse(`{${JSON.stringify(name)}: 1}`) as Record<string, unknown> } });
    const before = tf.memory().numTensors;
    const text = await printTfjs([item, item], { types: false, format: false });
    const module_ = (await loadText(text)) as unknown as Record<string, { manifest: unknown; create(t: typeof tf): Entries }>;
    expect((globalThis as Record<string, unknown>)["moecBroken"]).toBeUndefined();
    const [first] = Object.values(module_);
    expect(JSON.parse(JSON.stringify(first!.manifest))).toEqual(JSON.parse(printManifest(item.manifest)));
    const entries = first!.create(tf);
    const mix = [tf.ones([4, 4]), tf.ones([4, 4])];
    const store = JSON.parse(`{${JSON.stringify(`${name}.mix`)}: 0}`) as Record<string, never>;
    store[`${name}.mix`] = mix as never;
    const sum = entries.accumulate(store, store);
    expect(Object.keys(sum)).toEqual([`${name}.mix`]);
    tf.dispose([sum, mix] as never);
    entries.dispose();
    expect(tf.memory().numTensors).toBe(before);
    // It is still one program to the formatter, which parses it.
    expect(await printTfjs([item])).toContain("Made by moec");
  });

  it("all at once compile", async () => {
    const folder = scratch("hostile");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), `{"type": "module"}`);
    const items = hostile.map((name) => {
      const module = smallModule({ embed: name, mix: `${name}.mix` }, name);
      return compiled(module, { adapter: name, doc: name, groups: hostile.map((g) => ({ name: g, experts: 1 })), kinds: hostile, sites: [{ ...info.sites[0]!, path: name }] });
    });
    writeFileSync(join(folder, "hostile.moe.ts"), await printTfjs(items, { runtimeImport: runtimePath, format: false }));
    writeFileSync(join(folder, "typed.d.moe.ts"), printDeclarations(items, { runtimeImport: runtimePath }));
    expect(complaints(compilers[1][1], folder, ["hostile.moe.ts", "typed.d.moe.ts"])).toBe("");
  }, 120_000);
});
