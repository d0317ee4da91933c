import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { library } from "../../src/cli/library.ts";
import { printOnnx } from "../../src/codegen/index.ts";
import { chooseAdapter, compileAdapter, loadProgram, onnxEntriesIn, type Compiled } from "../../src/compiler/index.ts";
import { onnxEntries, portName, readPort, readResult, resultName, type Port } from "../../src/formats/onnx.ts";
import { axis, ModuleBuilder, tensor, type Tensor } from "../../src/ir/index.ts";
import { NodeHost } from "../../src/runtime/files/index.ts";
import { openSession } from "../../src/runtime/backends/ort.ts";
import { available, python } from "../support/require.ts";
import { ort, runOnnx } from "./onnx.ts";
import { clean, scratch } from "./run.ts";

afterAll(clean);
const hasChecker = await available("checker");
const hasOnnx = await available("onnx");

async function compile(spec: string): Promise<Compiled> {
  const program = await loadProgram(new NodeHost(), spec, { library: library() });
  return compileAdapter(program, chooseAdapter(program, undefined));
}

describe("names of inputs and outputs", () => {
  it("are read back as they were written", () => {
    const ports: Port[] = [
      { kind: "store", store: "weights", name: "layers.mlp.gate_proj.knowledge.A", layer: 3 },
      { kind: "store", store: "moment1", name: "norm.weight" },
      { kind: "store", store: "gradients", name: "router.bias#0", layer: 0 },
      { kind: "input", name: "fields.age" },
      { kind: "host", name: "lossScale" },
      { kind: "draw", distribution: "normal", stream: 7, layer: 2, seed: "seed", step: "draw" },
      { kind: "draw", distribution: "uniform", stream: 7, layer: "draw", seed: "seed", step: "draw" },
      { kind: "chance", least: 0.05, stream: 7, layer: 11, seed: "seed", step: "draw" },
    ];
    expect(ports.map((p) => readPort(portName(p)))).toEqual(ports);
    for (const port of [ports[0] as Extract<Port, { kind: "store" }>, { kind: "output" as const, name: "loss" }]) expect(readResult(resultName(port))).toEqual(port);
    expect([readPort("x"), readPort("biases/a"), readPort("draw/cauchy/1/2/3/4"), readResult("loss")]).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe.skipIf(!hasChecker)("files", () => {
  const check = `
import json, sys, onnx
found = {}
for path in sys.argv[1:]:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    found[path] = {
        "opset": [[o.domain, o.version] for o in model.opset_import], "ir": model.ir_version,
        "metadata": {p.key: p.value for p in model.metadata_props},
        "inputs": {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input},
        "outputs": [o.name for o in model.graph.output],
        "names": [n.name for n in model.graph.node], "docs": sorted({n.doc_string for n in model.graph.node}),
    }
print(json.dumps(found))
`;
  interface Seen {
    readonly opset: unknown;
    readonly ir: number;
    readonly metadata: Record<string, string>;
    readonly inputs: Record<string, (string | number)[]>;
    readonly outputs: string[];
    readonly names: string[];
    readonly docs: string[];
  }
  function seen(files: Readonly<Record<string, Uint8Array>>): Record<string, Seen> {
    const folder = scratch("onnx");
    mkdirSync(folder, { recursive: true });
    const paths = Object.entries(files).map(([name, bytes]) => {
      writeFileSync(join(folder, name), bytes);
      return join(folder, name);
    });
    const run = spawnSync(python, ["-c", check, ...paths], { encoding: "utf8", maxBuffer: 2 ** 28 });
    expect(run.status, run.stderr).toBe(0);
    return Object.fromEntries(Object.entries(JSON.parse(run.stdout) as Record<string, Seen>).map(([path, s]) => [path.slice(folder.length + 1), s]));
  }

  it.each(["examples/loramoe.moe", "examples/zoo/mixlora.moe", "examples/zoo/moelora.moe", "examples/zoo/xlora.moe"])("of %s are what ONNX's checker wants, for any batch and for one", async (spec) => {
    const compiled = await compile(spec);
    const entries = onnxEntriesIn(compiled);
    expect(entries).toEqual(onnxEntries);
    const sizes = { sample: 2, position: 8 };
    const files = seen(Object.fromEntries(entries.flatMap((e) => [[`${e}.onnx`, printOnnx(compiled, e)], [`${e}-fixed.onnx`, printOnnx(compiled, e, { sizes })]])));
    for (const [name, file] of Object.entries(files)) {
      expect(file).toMatchObject({ opset: [["", 21]], ir: 10, metadata: { "moec.adapter": compiled.manifest.adapter, "moec.spec": spec, "moec.sha256": compiled.manifest.spec.sha256 } });
      expect(new Set(file.names).size).toBe(file.names.length);
      for (const input of Object.keys(file.inputs)) expect(readPort(input), input).toBeDefined();
      for (const output of file.outputs) expect(readResult(output), output).toBeDefined();
      if (name.includes("fixed")) expect(Object.values(file.inputs).flat().every((d) => typeof d === "number")).toBe(true);
    }
    expect(files["gradients.onnx"]!.inputs["input/tokens"]).toEqual(["sample", "position"]);
    // What is not looked at is not asked for.
    expect(Object.keys(files["logits.onnx"]!.inputs).some((n) => n.startsWith("host/") || n === "input/targets")).toBe(false);
    // A reader finds layers by number, and the line that an operation comes from.
    expect(files["logits.onnx"]!.names.some((n) => /^layers\.1\.mlp\b/.test(n))).toBe(true);
    expect(files["logits.onnx"]!.docs).toContainEqual(expect.stringMatching(/^std\/llama\.moe:\d+$/));
  }, 120_000);

  it("take any name that a spec or a checkpoint may give", async () => {
    const m = new ModuleBuilder();
    const hostile = `a/0"\n\u0000*/ \u202e${"é".repeat(80)}`;
    const x = tensor("f32", [axis("sample"), axis("in", 2)]);
    m.define("logits", (b) => [b.neg(b.mul(b.param(x, "result/logits"), b.param(x, hostile)))]);
    m.weight({ name: hostile, type: x, trainable: false, initializer: { kind: "zeros" }, sources: [], decay: false });
    m.entry("logits", { fn: "logits", params: [{ kind: "input", name: "logits" }, { kind: "weight", weight: hostile }], results: [{ kind: "output", name: "logits" }] });
    const compiled = { module: m.finish(), manifest: { adapter: hostile, moec: "", spec: { file: hostile, sha256: "" } } as Compiled["manifest"] };
    const { "hostile.onnx": file } = seen({ "hostile.onnx": printOnnx(compiled, "logits") });
    expect(Object.keys(file!.inputs)).toEqual(["input/logits", `weights/${hostile}`]);
    expect(file!.metadata["moec.spec"]).toBe(hostile);
  });
});

describe.skipIf(!hasOnnx)("on ONNX Runtime", () => {
  it("sums whatever falls on one row, the same from run to run", async () => {
    const m = new ModuleBuilder();
    const [row, wide] = [axis("row", 3), axis("wide", 64)];
    m.define("f", (b) => [b.scatter_add(b.param(tensor("i32", [axis("sample")]), "at"), b.param(tensor("f32", [axis("sample"), wide]), "updates"), row)]);
    const n = 4096;
    const at: Tensor = { dtype: "i32", axes: [{ name: "sample", size: n }], data: Int32Array.from({ length: n }, (_, i) => (i % 7 === 0 ? 2 : 0)) };
    const updates: Tensor = { dtype: "f32", axes: [{ name: "sample", size: n }, { name: "wide", size: 64 }], data: Float64Array.from({ length: n * 64 }, (_, i) => Math.fround(Math.sin(i))) };
    const want = new Float64Array(3 * 64);
    for (let i = 0; i < n; i++) for (let k = 0; k < 64; k++) want[at.data[i]! * 64 + k]! += updates.data[i * 64 + k]!;
    const module = m.finish();
    const runs: number[][] = [];
    for (let i = 0; i < 5; i++) runs.push(Array.from(((await runOnnx(module, "f", [at, updates], 2))[0] as { data: Float32Array }).data));
    runs[0]!.forEach((v, i) => expect(Math.abs(v - want[i]!)).toBeLessThan(1e-3));
    for (const run of runs) expect(run).toEqual(runs[0]);
  });

  it("takes the logarithm of one and very little", async () => {
    const m = new ModuleBuilder();
    m.define("f", (b) => [b.log1p(b.param(tensor("f32", [axis("in", 6)]), "x"))]);
    const data = Float64Array.from([0, 1e-9, -3e-8, 1e-5, 0.5, 1e6].map(Math.fround));
    const [got] = (await runOnnx(m.finish(), "f", [{ dtype: "f32", axes: [{ name: "in", size: 6 }], data }])) as { data: Float32Array }[];
    data.forEach((x, i) => expect(Math.abs(got!.data[i]! - Math.log1p(x))).toBeLessThanOrEqual(3e-7 * Math.abs(Math.log1p(x))));
  });

  it("one file is right for every batch: as the one whose sizes are fixed", async () => {
    const compiled = await compile("examples/loramoe.moe");
    const open = (bytes: Uint8Array) => openSession(ort(), bytes, 1);
    const any = await open(printOnnx(compiled, "logits"));
    for (const [sample, position] of [[1, 5], [3, 17]] as const) {
      const fixed = await open(printOnnx(compiled, "logits", { sizes: { sample, position } }));
      const feeds = Object.fromEntries(fixed.inputNames.map((name, i) => {
        const { type, shape } = fixed.inputMetadata[i]!;
        const length = (shape as number[]).reduce((a, b) => a * b, 1);
        const data = type === "int32" ? Int32Array.from({ length }, (_, k) => (k * 37) % 900) : Float32Array.from({ length }, (_, k) => (name.startsWith("input/") ? 1 : 0.05 * Math.sin(k)));
        return [name, new (ort().Tensor)(type, data, shape as number[])];
      }));
      const [a, b] = [await any.run(feeds), await fixed.run(feeds)];
      expect(a["result/logits"]!.dims).toEqual([sample, position, 1024]);
      const [x, y] = [a["result/logits"]!.data as Float32Array, b["result/logits"]!.data as Float32Array];
      const scale = Math.max(...y.map(Math.abs));
      expect(scale).toBeGreaterThan(1e-3);
      expect(Math.max(...x.map((v, i) => Math.abs(v - y[i]!)))).toBeLessThan(1e-6 * scale);
      await fixed.release();
    }
    await any.release();
  });
});

it("a README's reader may try: files are small, since weights are inputs", async () => {
  const compiled = await compile("examples/loramoe.moe");
  const bytes = printOnnx(compiled, "gradients");
  expect(bytes.length).toBeLessThan(readFileSync("examples/models/tiny-llama/model.safetensors").length / 2);
});
