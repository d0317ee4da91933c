import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DiagnosticError } from "../../src/diagnostics/index.ts";
import { startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import { initialValues } from "../../src/runtime/initialize.ts";
import { reorder } from "../../src/runtime/layout.ts";
import { disposeStore, tensorsOf, type Model } from "../../src/runtime/store.ts";
import { adapterTensors, layOutForTraining, placeWeights, restoreTensors, tensorFileOf, type NamedTensor, type TensorFile } from "../../src/runtime/weights.ts";
import { testBackends } from "../support/backends.ts";
import { baseFile, baseTensors, HIDDEN, manifest, tinyProgram, VOCAB } from "./tiny.ts";

/** The codes of what `work` is refused for. */
async function refusal(work: Promise<unknown>): Promise<{ codes: string[]; text: string }> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof DiagnosticError)) throw error;
    return { codes: error.diagnostics.map((d) => d.code), text: error.diagnostics.map((d) => `${d.message} ${d.help ?? ""}`).join("\n") };
  }
  throw new Error("nothing was refused");
}

describe("reorder", () => {
  it("moves every element to where its indices say", () => {
    const axes = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d"), { minLength: 0, maxLength: 4 });
    fc.assert(
      fc.property(
        axes.chain((names) => fc.tuple(fc.constant(names), fc.shuffledSubarray(names, { minLength: names.length }), fc.array(fc.integer({ min: 1, max: 4 }), { minLength: names.length, maxLength: names.length }))),
        ([from, to, lengths]) => {
          const sizes = Object.fromEntries(from.map((a, i) => [a, lengths[i]!]));
          const total = lengths.reduce((a, b) => a * b, 1);
          const data = Float32Array.from({ length: total }, (_, i) => i);
          const out = reorder(data, sizes, from, to);
          const offset = (order: readonly string[], at: Record<string, number>): number => order.reduce((n, a) => n * sizes[a]! + at[a]!, 0);
          const visit = (left: readonly string[], at: Record<string, number>): void => {
            const [axis, ...rest] = left;
            if (axis === undefined) expect(out[offset(to, at)]).toBe(data[offset(from, at)]);
            else for (let i = 0; i < sizes[axis]!; i++) visit(rest, { ...at, [axis]: i });
          };
          visit(from, {});
        },
      ),
    );
  });
});

describe("first values", () => {
  it("kaiming_uniform fills U(-b, b) with PyTorch's bound", () => {
    // torch.nn.Linear's own: a = sqrt(5) makes b = 1 / sqrt(fan_in).
    const values = initialValues({ kind: "kaiming_uniform", a: Math.sqrt(5), fanIn: 64 }, [20_000], 1, "x");
    const bound = 1 / 8;
    expect(Math.max(...values)).toBeLessThanOrEqual(bound);
    expect(Math.max(...values)).toBeGreaterThan(0.99 * bound);
    expect(Math.min(...values)).toBeLessThan(-0.99 * bound);
    const variance = values.reduce((s, v) => s + v * v, 0) / values.length;
    expect(variance / (bound ** 2 / 3)).toBeCloseTo(1, 1);
  });
  it("normal has the spread it was asked for", () => {
    const values = initialValues({ kind: "normal", std: 0.02 }, [20_000], 1, "x");
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const std = Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / values.length);
    expect(Math.abs(mean)).toBeLessThan(0.0005);
    expect(std / 0.02).toBeCloseTo(1, 1);
  });
  it("constants, and a bound of one's own", () => {
    expect([...initialValues({ kind: "zeros" }, [2], 1, "x"), ...initialValues({ kind: "ones" }, [1], 1, "x"), ...initialValues({ kind: "constant", value: 3 }, [1], 1, "x")]).toEqual([0, 0, 1, 3]);
    expect(Math.max(...initialValues({ kind: "uniform", bound: 5 }, [100], 1, "x").map(Math.abs))).toBeLessThanOrEqual(5);
  });
  it("depend on seed and name alone", () => {
    const draw = (seed: number, name: string): number[] => [...initialValues({ kind: "normal", std: 1 }, [4], seed, name)];
    expect(draw(1, "a")).toEqual(draw(1, "a"));
    expect(draw(1, "a")).not.toEqual(draw(2, "a"));
    expect(draw(1, "a")).not.toEqual(draw(1, "b"));
  });
});

describe.each(testBackends)("weights on %s", (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend(name);
  });
  afterAll(async () => backend.dispose());

  const place = (options: { seed?: number; base?: TensorFile; adapter?: TensorFile } = {}): ReturnType<typeof placeWeights> =>
    placeWeights({ manifest, backend, base: baseFile(), seed: 7, ...options });
  const save = async (store: Awaited<ReturnType<typeof placeWeights>>): Promise<NamedTensor[]> => adapterTensors(manifest, store, (t) => backend.read(t));

  it("lays base tensors out as the program wants, each file tensor read once", async () => {
    const counts = new Map<string, number>();
    const base = baseFile();
    const store = await place({
      base: { ...base, read: (tensor) => (counts.set(tensor, (counts.get(tensor) ?? 0) + 1), base.read(tensor)) },
    });
    expect([...counts.values()].every((n) => n === 1)).toBe(true);
    expect([...counts.keys()].sort()).toEqual(baseTensors().map((t) => t.name).sort());
    const raw = new Map(baseTensors().map((t) => [t.name, t.data]));
    const head = await backend.read(tensorsOf(store["head"]!)[0]!);
    for (let h = 0; h < HIDDEN; h++) for (let v = 0; v < VOCAB; v++) expect(head[h * VOCAB + v]).toBe(raw.get("lm_head.weight")![v * HIDDEN + h]);
    const [plain, flipped] = [await backend.read(tensorsOf(store["layers.proj"]!)[1]!), await backend.read(tensorsOf(store["layers.proj.flipped"]!)[1]!)];
    const file = raw.get("model.layers.1.proj.weight")!;
    expect([...flipped]).toEqual([...file]);
    for (let i = 0; i < HIDDEN; i++) for (let o = 0; o < HIDDEN; o++) expect(plain[i * HIDDEN + o]).toBe(file[o * HIDDEN + i]);
    expect(tensorsOf(store["layers.proj.A"]!).map((t) => t.shape)).toEqual([[HIDDEN, 3, 2], [HIDDEN, 3, 2]]);
    disposeStore(store);
  });

  it("makes layouts that gradients alone read when training begins, once, with the very numbers that a load gives", async () => {
    const late = { ...manifest, weights: manifest.weights.map((w) => (w.layoutOf === undefined ? w : { ...w, training: true })) };
    const store = await placeWeights({ manifest: late, backend, base: baseFile(), seed: 7 });
    expect(Object.keys(store)).not.toContain("layers.proj.flipped");
    const model: Model = { manifest: late, entries: tinyProgram().create(backend.tf), backend, weights: store };
    layOutForTraining(model);
    const whole = await place();
    for (const [k, tensor] of tensorsOf(model.weights["layers.proj.flipped"]!).entries()) {
      const wanted = tensorsOf(whole["layers.proj.flipped"]!)[k]!;
      expect(tensor.shape).toEqual(wanted.shape);
      expect([...(await backend.read(tensor))]).toEqual([...(await backend.read(wanted))]);
    }
    const held = model.weights["layers.proj.flipped"];
    layOutForTraining(model);
    expect(model.weights["layers.proj.flipped"]).toBe(held);
    disposeStore(whole);
    disposeStore(model.weights);
    model.entries.dispose();
  });

  it("starts an adapter afresh from names, not from how it is stored", async () => {
    const store = await place();
    const tensors = new Map((await save(store)).map((t) => [t.name, t]));
    const a = tensors.get("layers.1.proj.skill.0.A")!;
    expect(a.shape).toEqual([2, HIDDEN]);
    expect([...a.data]).toEqual([...initialValues({ kind: "kaiming_uniform", a: Math.sqrt(5), fanIn: HIDDEN }, [12], 7, "layers.1.proj.skill.0.A")]);
    // … so an adapter with fewer experts has the same numbers where it has any.
    const fewer = { ...manifest, weights: manifest.weights.filter((w) => w.name !== "layers.proj.router") };
    const other = await placeWeights({ manifest: fewer, backend, base: baseFile(), seed: 7 });
    const again = await adapterTensors(fewer, other, (t) => backend.read(t));
    for (const t of again) expect([...t.data]).toEqual([...tensors.get(t.name)!.data]);
    expect(again.length).toBe(tensors.size - 2);
    disposeStore(store);
    disposeStore(other);
  });

  it("saves slices under their names, unfrozen base weights under the checkpoint's, and reads all of it back", async () => {
    const store = await place({ seed: 1 });
    const saved = await save(store);
    expect(saved.map((t) => t.name)).toContain("lm_head.bias");
    expect(saved.map((t) => t.name)).toContain("layers.0.proj.knowledge.1.B");
    expect(saved.map((t) => t.name)).not.toContain("lm_head.weight");
    expect(saved.length).toBe(1 + 2 * (3 + 3 + 1));
    // [in, expert, rank] in memory, [rank, in] for one expert in the file.
    const memory = await backend.read(tensorsOf(store["layers.proj.A"]!)[0]!);
    const slice = saved.find((t) => t.name === "layers.0.proj.knowledge.1.A")!;
    for (let i = 0; i < HIDDEN; i++) for (let r = 0; r < 2; r++) expect(slice.data[r * HIDDEN + i]).toBe(memory[(i * 3 + 1) * 2 + r]);

    const changed = saved.map((t) => ({ ...t, data: t.data.map((x, i) => x + i) }));
    const loaded = await place({ adapter: tensorFileOf("adapter", changed) });
    expect(await save(loaded)).toEqual(changed);
    const restored = await restoreTensors(manifest, store, backend, tensorFileOf("adapter", changed));
    expect(await save(restored)).toEqual(changed);
    disposeStore(restored);
    disposeStore(loaded);
  });

  it("refuses an adapter that does not fit, saying all that is wrong, and leaves nothing behind", async () => {
    const store = await place();
    const saved = await save(store);
    disposeStore(store);
    const before = backend.memory().tensors;
    const without = saved.filter((t) => t.name !== "layers.0.proj.router.W");
    expect(await refusal(place({ adapter: tensorFileOf("a", without) }))).toMatchObject({ codes: ["MOE5310"], text: expect.stringContaining("layers.0.proj.router.W") });
    const extra = [...saved, { name: "layers.7.other.A", shape: [1], data: new Float32Array(1) }];
    expect(await refusal(place({ adapter: tensorFileOf("a", extra) }))).toMatchObject({ codes: ["MOE5311"], text: expect.stringContaining("layers.7.other.A") });
    const wrong = saved.map((t) => (t.name === "layers.1.proj.skill.0.B" ? { ...t, shape: [3, 4] } : t));
    const shapes = await refusal(place({ adapter: tensorFileOf("a", wrong) }));
    expect(shapes.codes).toEqual(["MOE5312"]);
    expect(shapes.text).toContain("layers.1.proj.skill.0.B in a is [3, 4]; expected [6, 2] (out, rank)");
    // A renamed tensor is one mistake, with the likely name.
    const renamed = saved.map((t) => (t.name === "layers.0.proj.skill.0.A" ? { ...t, name: "layers.0.proj.skil.0.A" } : t));
    const misspelt = await refusal(place({ adapter: tensorFileOf("a", renamed) }));
    expect(misspelt.codes).toEqual(["MOE5310"]);
    expect(misspelt.text).toContain('did you mean "layers.0.proj.skil.0.A"?');
    expect(backend.memory().tensors).toBe(before);
  });

  it("refuses a base that does not fit", async () => {
    const before = backend.memory().tensors;
    const tensors = baseTensors();
    const missing = tensorFileOf("base", tensors.filter((t) => t.name !== "model.layers.1.proj.weight"));
    expect(await refusal(place({ base: missing }))).toMatchObject({ codes: ["MOE5118"], text: expect.stringContaining("model.layers.1.proj.weight") });
    const shape = tensorFileOf("base", tensors.map((t) => (t.name === "lm_head.weight" ? { ...t, shape: [HIDDEN, VOCAB] } : t)));
    expect(await refusal(place({ base: shape }))).toMatchObject({ codes: ["MOE5313"], text: expect.stringContaining("[6, 11]; expected [11, 6]") });
    // A read that fails half-way frees what was placed.
    const broken = { ...baseFile(), read: async (tensor: string): Promise<Float32Array> => (tensor === "lm_head.bias" ? Promise.reject(new Error("gone")) : baseFile().read(tensor)) };
    await expect(place({ base: broken })).rejects.toThrow("gone");
    // A compiler's bug, not a user's mistake.
    const thawed = { ...manifest, weights: manifest.weights.map((w) => (w.name === "layers.proj" ? { ...w, trainable: true } : w)) };
    await expect(placeWeights({ manifest: thawed, backend, base: baseFile(), seed: 7 })).rejects.toThrow("it would grow old");
    expect(backend.memory().tensors).toBe(before);
  });
});
