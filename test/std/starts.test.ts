import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileAdapter } from "../../src/compiler/index.ts";
import type { Manifest } from "../../src/formats/manifest.ts";
import { startBackend, type Backend } from "../../src/runtime/backends/index.ts";
import { disposeStore } from "../../src/runtime/store.ts";
import { adapterTensors, placeWeights, tensorFileOf, type NamedTensor } from "../../src/runtime/weights.ts";
import { baseFolder, checkSource, llamaShapes, spec } from "../check/support.ts";
import { numbers } from "../passes/support.ts";
import { fastTestBackends } from "../support/backends.ts";
import { range, sum } from "./by-hand.ts";

/** First values that a paper prescribes, against a frozen weight whose singular values and vectors are known beforehand. */

/** Orthonormal vectors of n numbers, by Gram and Schmidt. */
function basis(count: number, n: number, next: () => number): number[][] {
  const made: number[][] = [];
  while (made.length < count) {
    let v = range(n).map(() => next() - 0.5);
    for (const u of [...made, ...made]) {
      const along = sum(u.map((x, i) => x * v[i]!));
      v = v.map((x, i) => x - along * u[i]!);
    }
    const length = Math.hypot(...v);
    made.push(v.map((x) => x / length));
  }
  return made;
}

/** gate_proj of the tiny model is [24 out, 16 in]: Σ values[k] · u_k v_kᵀ. */
const [OUT, IN] = [24, 16];
const values = range(IN).map((k) => 4 * 0.85 ** k);
const next = numbers(3);
const [u, v] = [basis(IN, OUT, next), basis(IN, IN, next)];
/** The segment from number `first` on of the weight's spectrum, [out, in]. */
const segment = (first: number, rank: number): number[][] => range(OUT).map((o) => range(IN).map((i) => sum(range(rank).map((r) => values[first + r]! * u[first + r]![o]! * v[first + r]![i]!))));

const site = "layers.0.mlp.gate_proj";
const base = tensorFileOf(baseFolder, Object.entries(llamaShapes()).map(([name, shape]): NamedTensor => {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next() - 0.5);
  if (name === `model.${site}.weight`) segment(0, IN).flat().forEach((x, i) => (data[i] = x));
  return { name, shape, data };
}));

describe.each(fastTestBackends)("first values on %s", (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await startBackend(name);
  });
  afterAll(async () => backend.dispose());

  /** The adapter's file tensors before the first step, below the site. */
  async function fresh(clauses: string): Promise<(tensor: string) => NamedTensor> {
    const program = await checkSource(spec(clauses, site));
    expect(program.diagnostics.map((d) => d.code)).toEqual([]);
    const { manifest }: { manifest: Manifest } = await compileAdapter(program, program.checked.adapters[0]!);
    const store = await placeWeights({ manifest, backend, base, seed: 5 });
    const tensors = new Map((await adapterTensors(manifest, store, (t) => backend.read(t))).map((t) => [t.name, t]));
    disposeStore(store);
    return (tensor) => tensors.get(`${site}.${tensor}`) ?? expect.fail(`there is no ${tensor}: ${[...tensors.keys()].join(", ")}`);
  }

  /** B A of two file tensors, [out, rank] and [rank, in], times a scale. */
  const update = (B: NamedTensor, A: NamedTensor, scale: number): number[][] => {
    const [rank] = A.shape as [number];
    expect([A.shape, B.shape]).toEqual([[rank, IN], [OUT, rank]]);
    return range(OUT).map((o) => range(IN).map((i) => scale * sum(range(rank).map((r) => B.data[o * rank + r]! * A.data[r * IN + i]!))));
  };
  const alike = (a: readonly (readonly number[])[], b: readonly (readonly number[])[]): void => a.forEach((row, o) => row.forEach((x, i) => expect(Math.abs(x - b[o]![i]!)).toBeLessThan(2e-5)));

  it("PiSSA: alpha/r B A is the principal part of the weight, MiLoRA's the last; the same stands beside it, to be taken away", async () => {
    for (const [text, first, rank, scale] of [["pissa(rank: 3)", 0, 3, 1], ["pissa(rank: 2, alpha: 5)", 0, 2, 2.5], ["pissa(rank: 4, first: min(in, out) - 4)", IN - 4, 4, 1]] as const) {
      const w = await fresh(`always ${text}`);
      alike(update(w("always.B"), w("always.A"), scale), segment(first, rank));
      expect(w("always.B0").data).toEqual(w("always.B").data);
      expect(w("always.A0").data).toEqual(w("always.A").data);
      // Each factor carries the root of the singular value.
      range(rank).forEach((r) => expect(Math.hypot(...w("always.A").data.subarray(r * IN, (r + 1) * IN))).toBeCloseTo(Math.sqrt(values[first + r]! / scale), 4));
    }
  });

  it("GOAT: expert i starts from segment i, divided by rho; what all start with, times the share, is taken away", async () => {
    const [of, rank, eta, rho] = [4, 2, 0.5, 10];
    const w = await fresh(`experts e[${of}] = goat(rank: ${rank}, of: ${of}, eta: ${eta}, rho: ${rho})\nalways goat_rest(rank: ${rank}, of: ${of}, eta: ${eta}, rho: ${rho})\nroute top_k(2)`);
    const scale = Math.sqrt((3 * eta * IN) / rank);
    const width = Math.floor(Math.min(IN, OUT) / of);
    const starts = range(of).map((e) => segment(e * width, rank).map((row) => row.map((x) => x / rho)));
    starts.forEach((start, e) => alike(update(w(`e.${e}.B`), w(`e.${e}.A`), scale), start));
    // Both factors of the rest have an axis of segments between their own.
    const [A, B] = [w("always.A"), w("always.B")];
    expect([A.shape, B.shape].map((s) => s.reduce((a, b) => a * b, 1))).toEqual([IN * of * rank, of * rank * OUT]);
    const at = (t: NamedTensor, axes: readonly string[], index: Readonly<Record<string, number>>): number => t.data[axes.reduce((n, a, i) => n * t.shape[i]! + index[a]!, 0)]!;
    const rest = range(OUT).map((out) => range(IN).map((i) => scale * sum(range(of).flatMap((segment) => range(rank).map((r) => at(A, ["in", "segment", "rank"], { in: i, segment, rank: r }) * at(B, ["segment", "rank", "out"], { segment, rank: r, out }))))));
    alike(rest, range(OUT).map((o) => range(IN).map((i) => sum(starts.map((s) => s[o]![i]!)))));
  });

  it("LD-MoLE: biases at -2.5, weights within 1 / sqrt of the layer's inputs; Poly's choices within 0.001", async () => {
    const w = await fresh("experts e[4] = lora(rank: 1)\nroute sparsegen()");
    expect([...w("router.threshold").data, ...w("router.offset").data]).toEqual(new Array(65).fill(-2.5));
    for (const [tensor, inputs] of [["router.narrow", IN], ["router.lift", 64], ["router.W", IN]] as const) {
      const { data } = w(tensor);
      const most = Math.max(...data.map(Math.abs));
      expect(most).toBeLessThanOrEqual(1 / Math.sqrt(inputs));
      expect(most).toBeGreaterThan(0.8 / Math.sqrt(inputs));
    }
    expect(w("router.narrow").shape).toEqual([64, IN]);
    const program = await checkSource(spec("experts e[3] = lora(rank: 2, alpha: 1)\nroute skills()\nmix weights", site, "", "kinds a, b"));
    const { manifest } = await compileAdapter(program, program.checked.adapters[0]!);
    expect(manifest.weights.find((m) => m.name.endsWith("router.chosen"))!.initializer).toEqual({ kind: "uniform", bound: 0.001 });
  });
});
