import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { library } from "../../src/cli/library.ts";
import { saveSpec } from "../../src/cli/load.ts";
import { openBase, writeChanged } from "../../src/cli/merge/checkpoint.ts";
import { chooseAdapter, compileAdapter, loadProgram, printProgram } from "../../src/compiler/index.ts";
import { decodeFloat64, type NumericDtype } from "../../src/formats/dtype.ts";
import { encodeSafetensors, parseSafetensors, tensorBytes } from "../../src/formats/safetensors.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { Adapter, randomNormal, startBackend, type Backend } from "../../src/runtime/index.ts";
import type { CompiledProgram, WeightStore } from "../../src/runtime/program.ts";
import { loadText } from "../codegen/run.ts";
import { writeTinyGpt2 } from "../support/tiny-checkpoint.ts";
import { moec, project } from "./support.ts";

const { folder, path } = project();
let backend: Backend;
beforeAll(async () => {
  backend = await startBackend("wasm");
});

const mlp = "layers.*.mlp.{gate_proj, up_proj}";

interface Spec {
  /** Clauses of the adapter, whole. */
  readonly clauses: string;
  readonly more?: string;
  readonly base?: string;
  readonly model?: "llama" | "gpt2";
}

function textOf({ clauses, more = "", base = "models/tiny", model = "llama" }: Spec): string {
  return `base model = ${model}("${base}")\n\nadapter A on model {\n  ${clauses}\n}\n\n${more}\n`;
}

/** What an adapter on its base computes: a program of the spec, loaded. */
async function load(name: string, spec: Spec, base?: string): Promise<{ readonly adapter: Adapter; readonly chosen: Parameters<typeof saveSpec>[1] }> {
  writeFileSync(path(`${name}.moe`), textOf(spec));
  const program = await loadProgram(new NodeHost(), path(`${name}.moe`), { library: library(), ...(base === undefined ? {} : { base }) });
  expect(program.diagnostics.filter((d) => d.severity === "error")).toEqual([]);
  const checked = chooseAdapter(program, undefined);
  const compiled = await compileAdapter(program, checked);
  const code = (await loadText(await printProgram(compiled, { types: false, format: false, runtimeImport: "moec/runtime" })))[compiled.exportName] as unknown as CompiledProgram;
  const chosen = { program, adapter: checked, base: program.basePath(checked) };
  return { adapter: await Adapter.load(code, { base: chosen.base, backend }), chosen };
}

interface Given {
  readonly kind?: number;
  readonly fields?: Readonly<Record<string, number>>;
}

async function logits({ model, manifest }: Adapter, { kind = -1, fields = {} }: Given = {}): Promise<number[]> {
  const { tf } = backend;
  const tokens = [1, 77, 401, 9, 930, 12, 12, 500];
  const shape: [number, number] = [1, tokens.length];
  const input = {
    tokens: tf.tensor2d(tokens, shape, "int32"),
    mask: tf.ones(shape),
    prompt: tf.ones(shape),
    kind: tf.tensor1d([kind], "int32"),
    fields: Object.fromEntries((manifest.fields ?? []).map((f) => [f.name, tf.tensor1d([fields[f.name]!], f.values === undefined ? "float32" : "int32")])),
  };
  const { logits: found } = await model.entries.logits(model.weights, input as never);
  const values = Array.from(await backend.read(found));
  found.dispose();
  return values;
}

/** An adapter as if it had been trained: what training would change is moved by random numbers, and it is saved with its spec. */
async function trained(name: string, spec: Spec, ask: readonly Given[] = [{}]): Promise<number[][]> {
  const { adapter, chosen } = await load(name, spec);
  const store = adapter.model.weights as Record<string, WeightStore[string]>;
  let stream = 0;
  for (const w of adapter.manifest.weights.filter((x) => x.trainable)) {
    const moved = await Promise.all(
      [store[w.name]!].flat().map(async (t) => {
        const values = Float32Array.from(await backend.read(t as never));
        const by = new Float32Array(values.length);
        randomNormal(by, 5, 0, stream++);
        return backend.tf.tensor(values.map((v, i) => v + 0.2 * by[i]!), [...w.shape], "float32");
      }),
    );
    store[w.name] = (w.count === undefined ? moved[0]! : moved) as never;
  }
  await adapter.save(path(name));
  await saveSpec(path(name), chosen, {});
  const found: number[][] = [];
  for (const given of ask) found.push(await logits(adapter, given));
  adapter.dispose();
  return found;
}

/** A checkpoint's own logits: an adapter that has not been trained adds nothing. */
async function baseLogits(base: string, model: Spec["model"] = "llama"): Promise<number[]> {
  const { adapter } = await load("alone", { clauses: "at **.mlp.* { always lora(rank: 1) }", model }, path(base));
  const found = await logits(adapter);
  adapter.dispose();
  return found;
}

async function merge(name: string, out: string, ...options: string[]): Promise<void> {
  const run = await moec(["merge", name, "-o", out, ...options], { cwd: folder });
  expect(run.stderr + run.code).toMatch(/0$/);
}

async function merged(name: string, out: string, ...options: string[]): Promise<number[]> {
  await merge(name, out, ...options);
  return baseLogits(out);
}

const apart = (a: readonly number[], b: readonly number[]): number => {
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));
};

type Tensors = ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[]; readonly bytes: Uint8Array; readonly values: Float64Array }>;

function tensorsOf(file: string): Tensors {
  const bytes = readFileSync(path(file));
  return new Map([...parseSafetensors(bytes, file).tensors.values()].map((e) => [e.name, { dtype: e.dtype, shape: e.shape, bytes: tensorBytes(bytes, e), values: decodeFloat64(e.dtype, tensorBytes(bytes, e)) }]));
}

/** The tiny base with biases on every linear, or in another dtype and in two shards. */
function writeVariant(out: string, options: { readonly biases?: true; readonly dtype?: NumericDtype }): void {
  mkdirSync(path(out), { recursive: true });
  const config = JSON.parse(readFileSync(path("models/tiny/config.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(path(`${out}/config.json`), JSON.stringify({ ...config, attention_bias: options.biases === true, mlp_bias: options.biases === true }));
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) writeFileSync(path(`${out}/${name}`), readFileSync(path(`models/tiny/${name}`)));
  const all = [...tensorsOf("models/tiny/model.safetensors")].flatMap(([name, t]) => {
    const weight = { name, shape: t.shape, data: t.values, dtype: options.dtype ?? ("F32" as const) };
    if (!options.biases || !/_proj\.weight$/.test(name)) return [weight];
    const bias = { name: name.replace(/weight$/, "bias"), shape: [t.shape[0]!], data: Float64Array.from({ length: t.shape[0]! }, (_, i) => 0.3 * Math.sin(i + name.length)), dtype: weight.dtype };
    return [weight, bias];
  });
  if (!options.dtype) return writeFileSync(path(`${out}/model.safetensors`), encodeSafetensors(all, { format: "pt" }));
  const shards = [all.filter((_, i) => i % 2 === 0), all.filter((_, i) => i % 2 === 1)];
  shards.forEach((tensors, i) => writeFileSync(path(`${out}/model-0000${i + 1}-of-00002.safetensors`), encodeSafetensors(tensors, { format: "pt" })));
  const weight_map = Object.fromEntries(shards.flatMap((tensors, i) => tensors.map((t) => [t.name, `model-0000${i + 1}-of-00002.safetensors`])));
  writeFileSync(path(`${out}/model.safetensors.index.json`), JSON.stringify({ metadata: {}, weight_map }));
}

describe("a merged checkpoint computes what the adapter computes", () => {
  it.each<[string, Spec]>([
    ["lora", { clauses: "at layers.*.{self_attn, mlp}.*_proj { always lora(rank: 3, dropout: 0.2) }" }],
    ["dora", { clauses: "at layers.*.{self_attn, mlp}.*_proj { always dora(rank: 2) }" }],
    ["ia3", { clauses: "at layers.*.self_attn.{k_proj, v_proj} { always ia3() }\n  at layers.*.mlp.down_proj { always ia3_input() }" }],
    ["pissa", { clauses: `at ${mlp} { always pissa(rank: 2) }` }],
    ["two", { clauses: `at ${mlp} {\n    always first = moslora(rank: 2)\n    always ia3()\n    always rslora(rank: 2)\n  }` }],
    ["unmixed", { clauses: `at ${mlp} {\n    experts e[3] = lora(rank: 2)\n    experts f[1] = ia3()\n    route even()\n  }`, more: "router even() {\n  weight b [expert] = zeros()\n  () -> [expert] = softmax(b, over: expert)\n}" }],
    // A scaled unit matrix that is contracted, one that has to be built, and one on the right of a product.
    ["own", { clauses: `at ${mlp} { always own() }`, more: "expert own() {\n  weight l [in] = ones()\n  weight A [in, out] = zeros()\n  (x [in], W [in, out]) -> [out] = 2 * x / (1 + l * l) @ W + dot(A, x, over: in) + sum(x * A, over: in) + (-x) @ A / 3 + cumsum(x, over: in) @ A\n}" }],
    ["unfrozen", { clauses: `at ${mlp} {\n    always lora(rank: 2)\n    unfreeze\n  }\n  at norm { unfreeze }\n  at embed_tokens { unfreeze }` }],
    ["biased", { base: "models/biased", clauses: "at layers.*.mlp.*_proj {\n    always ia3()\n    always own()\n  }\n  at layers.*.self_attn.q_proj {\n    always dora(rank: 2)\n    unfreeze\n  }", more: "expert own() {\n  weight A [in, out] = zeros()\n  weight b [out] = zeros()\n  (x [in]) -> [out] = x @ A + b\n}" }],
    ["layer in a text", { clauses: `at ${mlp} { always own() }`, more: "expert own() {\n  weight A [in, out] = zeros()\n  (x [in]) -> [out] = (1 + layer) * (x @ A)\n}" }],
    ["by layer", { clauses: `at ${mlp} { always lora(rank: 1 + layer, alpha: 2 + layer) }` }],
  ])("%s", async (name, spec) => {
    if (spec.base) writeVariant(spec.base, { biases: true });
    const [ours] = await trained(name, spec);
    expect(apart(ours!, await baseLogits(spec.base ?? "models/tiny")), "it changes something").toBeGreaterThan(0.05);
    expect(apart(ours!, await merged(name, `merged/${name}`))).toBeLessThanOrEqual(1e-4);
    // The same names, shapes and dtypes; what is not adapted to the byte.
    const [before, after] = [spec.base ?? "models/tiny", `merged/${name}`].map((f) => tensorsOf(`${f}/model.safetensors`)) as [Tensors, Tensors];
    expect([...after].map(([n, t]) => [n, t.dtype, t.shape])).toEqual([...before].map(([n, t]) => [n, t.dtype, t.shape]));
    const changed = [...after].filter(([n, t]) => Buffer.compare(t.bytes, before.get(n)!.bytes) !== 0).map(([n]) => n);
    expect(changed.length).toBeGreaterThan(0);
    if (name === "unfrozen") expect(changed).toContain("model.norm.weight");
    else expect(changed.filter((n) => !n.includes("_proj"))).toEqual([]);
    for (const file of ["config.json", "tokenizer.json", "tokenizer_config.json"]) expect(readFileSync(path(`merged/${name}/${file}`))).toEqual(readFileSync(path(`${spec.base ?? "models/tiny"}/${file}`)));
  });

  it("a base whose matrices lie the other way round, with biases, and without a prefix before its names", async () => {
    writeTinyGpt2(path("models/gpt2"));
    const [ours] = await trained("gpt2", { model: "gpt2", base: "models/gpt2", clauses: "at h.*.{attn, mlp}.c_* {\n    always dora(rank: 2)\n    always ia3()\n  }" });
    expect(apart(ours!, await baseLogits("models/gpt2", "gpt2"))).toBeGreaterThan(0.05);
    await merge("gpt2", "merged/gpt2");
    expect(apart(ours!, await baseLogits("merged/gpt2", "gpt2"))).toBeLessThanOrEqual(1e-4);
  });

  it.each<[string, string, string]>([
    ["task_softmax", "", "task_softmax()"],
    ["skills", "mix weights", "skills()"],
    ["one for all", "", "task_softmax() per model"],
  ])("for one kind of data at a time: %s", async (name, mix, route) => {
    const ours = await trained(name, { clauses: `kinds a, b\n  at ${mlp} {\n    experts e[3] = lora(rank: 2)\n    ${mix}\n    route ${route}\n  }` }, [{ kind: 0 }, { kind: 1 }]);
    const theirs = [await merged(name, `merged/${name}-a`, "--kind", "a"), await merged(name, `merged/${name}-b`, "--kind", "b")];
    expect(apart(theirs[0]!, theirs[1]!), "two kinds, two checkpoints").toBeGreaterThan(0.01);
    for (const i of [0, 1]) expect(apart(ours[i]!, theirs[i]!)).toBeLessThanOrEqual(1e-4);
  });

  it("for one value of a field at a time", async () => {
    const spec = { clauses: `field cluster[4]\n  at ${mlp} {\n    experts e[3] = lora(rank: 2)\n    experts all[1] = lora(rank: 2)\n    route cluster_and_universal(dim: 4)\n  }` };
    const ours = await trained("clusters", spec, [{ fields: { cluster: 0 } }, { fields: { cluster: 3 } }]);
    const theirs = [await merged("clusters", "merged/c0", "--field", "cluster=0"), await merged("clusters", "merged/c3", "--field", "cluster=3")];
    expect(apart(ours[0]!, ours[1]!)).toBeGreaterThan(0.01);
    for (const i of [0, 1]) expect(apart(ours[i]!, theirs[i]!)).toBeLessThanOrEqual(1e-4);
  });
});

describe("what is written", () => {
  it("W + alpha/rank · B A, worked out by hand and rounded once, in the shards and the dtype of the base", async () => {
    writeVariant("models/half", { dtype: "BF16" });
    await trained("half", { base: "models/half", clauses: "at layers.*.mlp.down_proj { always lora(rank: 2, alpha: 6) }" });
    const run = await moec(["merge", "half", "-o", "merged/half", "--json"], { cwd: folder });
    expect(run.code, run.stderr).toBe(0);
    const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    expect(JSON.parse(run.stdout)).toEqual({
      out: "merged/half",
      adapter: "A",
      base: "models/half",
      kind: null,
      fields: {},
      sites: ["layers.0.mlp.down_proj", "layers.1.mlp.down_proj"],
      tensors: ["model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"],
      files: [...shards, "config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"],
    });
    expect(readdirSync(path("merged/half")).sort()).toEqual([...shards, "config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"].sort());
    const adapter = tensorsOf("half/adapter_model.safetensors");
    const factor = (layer: number, which: "A" | "B") => [...adapter].find(([n]) => n.includes(`layers.${layer}.mlp.down_proj`) && n.includes(`lora_${which}`))![1];
    for (const shard of shards) {
      const [before, after] = [tensorsOf(`models/half/${shard}`), tensorsOf(`merged/half/${shard}`)];
      expect([...after.keys()]).toEqual([...before.keys()]);
      for (const [name, t] of after) {
        const layer = /layers\.(\d)\.mlp\.down_proj/.exec(name)?.[1];
        const old = before.get(name)!;
        if (layer === undefined) {
          expect(Buffer.compare(t.bytes, old.bytes), name).toBe(0);
          continue;
        }
        const [A, B] = [factor(Number(layer), "A"), factor(Number(layer), "B")];
        const [rank, width] = A.shape as [number, number];
        const exact = old.values.map((w, i) => {
          let sum = 0;
          for (let r = 0; r < rank; r++) sum += B.values[Math.floor(i / width) * rank + r]! * A.values[r * width + (i % width)]!;
          return w + 3 * sum;
        });
        // Half a unit in the last of 8 places.
        for (const [i, x] of exact.entries()) expect(Math.abs(t.values[i]! - x), `${name} ${i}`).toBeLessThanOrEqual(2 ** -9 * 2 ** Math.ceil(Math.log2(Math.abs(x))) * 1.001);
      }
    }
  });

  it("a weight that the dtype cannot hold is refused, and nothing is left", async () => {
    writeVariant("models/f16", { dtype: "F16" });
    await trained("large", { base: "models/f16", clauses: "at layers.*.mlp.down_proj { always lora(rank: 2, alpha: 1e7) }\n" });
    const run = await moec(["merge", "large", "-o", "merged/large"], { cwd: folder });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain("MOE5350");
    expect(readdirSync(path("merged")).filter((n) => n.includes("large"))).toEqual([]);
  });
});

describe("what is refused, before anything is written", () => {
  const refused = async (args: readonly string[], code: string): Promise<string> => {
    const run = await moec(["merge", ...args], { cwd: folder });
    expect(run.code, run.stderr).toBe(1);
    expect(run.stderr.match(/MOE\d{4}/g), run.stderr).toEqual([code]);
    return run.stderr;
  };

  beforeAll(async () => {
    await trained("tasks", { clauses: `kinds first, second\n  at ${mlp} {\n    experts e[2] = lora(rank: 2)\n    route task_softmax()\n  }` });
    await trained("plain", { clauses: `kinds first\n  field size\n  at ${mlp} { always lora(rank: 2) }` });
    await trained("tokens", { clauses: `at ${mlp} {\n    experts e[2] = lora(rank: 2)\n    route softmax()\n  }` });
  });

  it("a mix by the token: in the spec's copy beside the adapter", async () => {
    const said = await refused(["tokens", "-o", "no"], "MOE3030");
    expect(said).toContain("tokens/spec/tokens.moe:6:11");
    expect(existsSync(path("no"))).toBe(false);
    const json = await moec(["merge", "tokens", "-o", "no", "--json"], { cwd: folder });
    expect(json.stdout).toBe("");
    expect((JSON.parse(json.stderr) as { diagnostics: { code: string }[] }).diagnostics.map((d) => d.code)).toEqual(["MOE3030"]);
  });

  it("a kind that is not said, not known, or of no effect; fields likewise", async () => {
    expect(await refused(["tasks", "-o", "no"], "MOE3034")).toContain("--kind first | second");
    expect(await refused(["tasks", "-o", "no", "--kind", "frist"], "MOE9001")).toContain('did you mean "first"?');
    await refused(["plain", "-o", "no", "--kind", "first"], "MOE9001");
    await refused(["plain", "-o", "no", "--field", "size=2"], "MOE9001");
    await refused(["plain", "-o", "no", "--field", "sise=2"], "MOE9001");
    await refused(["clusters", "-o", "no", "--field", "cluster=4"], "MOE5336");
    expect(existsSync(path("no"))).toBe(false);
  });

  it("a place that holds something, the base's own above all", async () => {
    mkdirSync(path("holds"));
    writeFileSync(path("holds/mine"), "mine");
    for (const out of ["holds", "models/tiny", "plain"]) await refused(["plain", "-o", out], "MOE9008");
    await refused(["plain", "-o", "plain.moe"], "MOE5108");
    expect(readdirSync(path("holds"))).toEqual(["mine"]);
    mkdirSync(path("empty"));
    expect((await moec(["merge", "plain", "-o", "empty"], { cwd: folder })).code).toBe(0);
    expect(readdirSync(path("empty"))).toContain("model.safetensors");
  });

  it("a merge that is stopped leaves nothing, not even what it had begun", async () => {
    const base = await openBase(new NodeHost(), path("models/tiny"));
    const [first, second] = [...base.tensors.keys()].filter((n) => n.includes("_proj.weight")) as [string, string];
    const stop = new AbortController();
    let made = 0;
    const change = (name: string) => async (): Promise<ArrayLike<number>> => {
      made++;
      stop.abort();
      return base.read(name);
    };
    const merging = writeChanged(new NodeHost(), base, new Map([first, second].map((n) => [n, change(n)])), path("stopped"), stop.signal);
    expect(await merging.catch((error: unknown) => error)).toBe(stop.signal.reason);
    expect(stop.signal.aborted).toBe(true);
    expect(made).toBe(1);
    expect(readdirSync(folder).filter((n) => n.includes("stopped"))).toEqual([]);
  });

  it("a tokenizer that is a link out of the base: what it leads to is not copied", async () => {
    writeVariant("models/linked", {});
    writeFileSync(path("secret"), "not yours");
    symlinkSync(path("secret"), path("models/linked/tokenizer.model"));
    await trained("linked", { base: "models/linked", clauses: `at ${mlp} { always lora(rank: 2) }` });
    await refused(["linked", "-o", "no"], "MOE5103");
    expect(existsSync(path("no"))).toBe(false);
  });

  it("what was not trained, and what is not there", async () => {
    await refused(["plain.moe", "-o", "no"], "MOE5316");
    await refused(["nowhere", "-o", "no"], "MOE5101");
    const run = await moec(["merge", "plain.moe", "--weights", "plain", "-o", "by-weights"], { cwd: folder });
    expect(run.code, run.stderr).toBe(0);
    expect(readFileSync(path("by-weights/model.safetensors"))).toEqual(readFileSync(path("empty/model.safetensors")));
    expect((await moec(["merge", "plain"], { cwd: folder })).code).toBe(2);
  });
});
