import { mkdtemp, rm, symlink, writeFile, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readCheckpointHeaders } from "../../src/formats/checkpoint.ts";
import { MemoryHost, type Host } from "../../src/formats/host.ts";
import { encodeSafetensors } from "../../src/formats/safetensors.ts";
import { loadTensors, NodeHost } from "../../src/runtime/files/index.ts";
import { hasShared, refusal, shared } from "./shared.ts";

const folder = (name: string): string => `${shared}/checkpoints/${name}`;
const read = (name: string, host: Host = new NodeHost()) => readCheckpointHeaders(host, folder(name));
async function only(name: string) {
  const all = await refusal(() => read(name));
  expect(all).toHaveLength(1);
  return all[0]!;
}
async function sum(name: string): Promise<number> {
  const checkpoint = await read(name);
  let total = 0;
  for await (const { data } of loadTensors(new NodeHost(), checkpoint, checkpoint.tensors.keys())) for (const x of data) total += x;
  return total;
}

/** Records what is opened, so that a test can say what was not. */
class Watched extends NodeHost {
  readonly opened: string[] = [];
  override async readFile(path: string) {
    this.opened.push(path);
    return super.readFile(path);
  }
  override async readRange(path: string, begin: number, end: number) {
    this.opened.push(`${path} ${begin}-${end}`);
    return super.readRange(path, begin, end);
  }
}

describe("the checkpoint cases", () => {
  for (const name of ["bf16-valid", "f16-valid", "sharded-valid"])
    it.skipIf(!hasShared)(`${name}: 11 tensors, 2,480 values whose sum is exact`, async () => {
      const { tensors, config } = await read(name);
      expect(tensors.size).toBe(11);
      expect(config).toMatchObject({ model_type: "llama", hidden_size: 16 });
      expect(tensors.get("model.layers.0.self_attn.k_proj.weight")!.shape).toEqual([8, 16]);
      expect(await sum(name)).toBe(41.4296875);
    });
  it.skipIf(!hasShared)("reads headers only: no byte of a weight", async () => {
    const host = new Watched();
    const { files } = await readCheckpointHeaders(host, folder("sharded-valid"));
    expect(host.opened.filter((o) => o.includes("00001"))).toEqual([`${files[0]} 0-8`, `${files[0]} 0-${8 + 0x268}`]);
  });
  for (const name of ["missing-tensor", "extra-tensor", "shape-mismatch-config"])
    it.skipIf(!hasShared)(`${name}: a sound file, whose tensors the checker compares with the model`, async () => {
      const { tensors } = await read(name);
      expect(tensors.size).toBe({ "missing-tensor": 10, "extra-tensor": 12, "shape-mismatch-config": 11 }[name]);
    });
  it.skipIf(!hasShared)("header-length-beyond-file", async () => {
    const d = await only("header-length-beyond-file");
    expect(d.code).toBe("MOE5110");
    expect(d.message).toMatch(/claims a header of 11001 bytes, but 11000 bytes follow$/);
    expect(d.help).toMatch(/interrupted/);
  });
  it.skipIf(!hasShared)("header-length-100mb: beyond the file and the limit; eight bytes are read", async () => {
    const host = new Watched();
    const [d] = await refusal(() => read("header-length-100mb", host));
    expect(d!.code).toBe("MOE5110");
    expect(d!.message).toMatch(/104857600 bytes, but 116 bytes follow and the format allows at most 100000000$/);
    expect(host.opened.at(-1)).toMatch(/model\.safetensors 0-8$/);
  });
  it.skipIf(!hasShared)("header-not-json: at header byte 69", async () => {
    const d = await only("header-not-json");
    expect(d.code).toBe("MOE5111");
    expect(d.message).toMatch(/not JSON at header byte 69 \(file byte 77\): expected a value, found "F32"$/);
  });
  it.skipIf(!hasShared)("overlapping-offsets: both names and the shared range", async () => {
    const d = await only("overlapping-offsets");
    expect(d.code).toBe("MOE5113");
    expect(d.message).toMatch(/"model\.layers\.0\.mlp\.(gate|up)_proj\.weight" and "model\.layers\.0\.mlp\.(gate|up)_proj\.weight" share the data bytes 5248 to 6784$/);
    expect(d.message).toMatch(/gate_proj/);
    expect(d.message).toMatch(/up_proj/);
  });
  it.skipIf(!hasShared)("dtype-size-mismatch: tensor, expected and found", async () => {
    const d = await only("dtype-size-mismatch");
    expect(d.code).toBe("MOE5115");
    expect(d.message).toMatch(/"model\.layers\.0\.self_attn\.k_proj\.weight", F32 \[8, 16\], needs 512 bytes, but its offsets span 256$/);
    expect(d.help).toMatch(/F16/);
  });
  it.skipIf(!hasShared)("index-outside-folder: refused before any weight file is opened", async () => {
    const host = new Watched();
    const all = await refusal(() => read("index-outside-folder", host));
    expect(all.map((d) => d.code)).toEqual(["MOE5103"]);
    expect(all[0]!.message).toMatch(/sends 5 tensors to "\.\.\/\.\.\/etc\/passwd", which leaves the checkpoint folder/);
    expect(host.opened.map((o) => o.split("/").at(-1))).toEqual(["config.json", "model.safetensors.index.json"]);
  });
  it.skipIf(!hasShared)("nan-values: each tensor with its count and first index; read when allowed", async () => {
    const checkpoint = await read("nan-values");
    const load = async (nan: "refuse" | "allow") => {
      const names: string[] = [];
      for await (const t of loadTensors(new NodeHost(), checkpoint, checkpoint.tensors.keys(), { nan })) names.push(t.name);
      return names;
    };
    const all = await refusal(() => load("refuse"));
    expect(all.map((d) => d.code)).toEqual(["MOE5119", "MOE5119"]);
    expect(all[0]!.message).toMatch(/up_proj\.weight" holds 2 NaN among 384 values, first NaN at \[3, 5\]$/);
    expect(all[1]!.message).toMatch(/down_proj\.weight" holds 1 infinite among 384 values, first \+Inf at \[0, 0\]$/);
    expect(await load("allow")).toHaveLength(11);
  });
});

describe("folders", () => {
  const weights = encodeSafetensors([{ name: "w", shape: [2], data: [1, 2] }]);
  const index = (map: Record<string, string>): string => JSON.stringify({ weight_map: map });
  const codes = async (files: Record<string, string | Uint8Array>) => (await refusal(() => readCheckpointHeaders(new MemoryHost(Object.entries(files)), "m"))).map((d) => d.code);

  it("a folder that is not there, a file, and a folder without weights", async () => {
    expect(await codes({ "n/config.json": "{}" })).toEqual(["MOE5101"]);
    expect(await codes({ m: "x" })).toEqual(["MOE5102"]);
    expect(await codes({ "m/model.safetensors": weights })).toEqual(["MOE5120"]);
    const torch = await refusal(() => readCheckpointHeaders(new MemoryHost([["m/config.json", "{}"], ["m/pytorch_model.bin", "x"]]), "m"));
    expect(torch[0]!.help).toMatch(/pytorch_model\.bin is a PyTorch file/);
  });
  it("a faulty config.json: its line and column, and a span", async () => {
    const [d] = await refusal(() => readCheckpointHeaders(new MemoryHost([["m/config.json", '{\n  "a": 1,\n  b: 2\n}']]), "m"));
    expect(d!.code).toBe("MOE5105");
    expect(d!.message).toMatch(/^m\/config\.json, line 3, column 3: expected a key in quotes, found "b"$/);
    expect(d!.primary!.span.start).toBe(14);
  });
  it("a config.json in Latin-1", async () => {
    expect(await codes({ "m/config.json": Uint8Array.of(0x7b, 0xe9, 0x7d) })).toEqual(["MOE5104"]);
  });
  it.each(["../x", "a/../../x", "/etc/passwd", "C:/x", "c:x", "a\\b", "..", "a\0b", "", "./x"])("an index may not name %j", async (name) => {
    expect(await codes({ "m/config.json": "{}", "m/model.safetensors.index.json": index({ w: name }) })).toEqual([name === "" ? "MOE5106" : "MOE5103"]);
  });
  it("index and shards must agree", async () => {
    const base = { "m/config.json": "{}", "m/a.safetensors": weights };
    expect(await codes({ ...base, "m/model.safetensors.index.json": index({ w: "a.safetensors", v: "a.safetensors" }) })).toEqual(["MOE5121"]);
    expect(await codes({ ...base, "m/model.safetensors.index.json": index({ w: "b.safetensors" }) })).toEqual(["MOE5121"]);
    expect(await codes({ ...base, "m/b.safetensors": weights, "m/model.safetensors.index.json": index({ w: "a.safetensors", v: "b.safetensors" }) })).toEqual(["MOE5116", "MOE5121"]);
    expect(await codes({ ...base, "m/model.safetensors.index.json": '{"weight_map": []}' })).toEqual(["MOE5106"]);
  });
  it("a name like __proto__ in an index is a name", async () => {
    expect(await codes({ "m/config.json": "{}", "m/a.safetensors": weights, "m/model.safetensors.index.json": '{"weight_map": {"w": "a.safetensors", "__proto__": "../x"}}' })).toEqual(["MOE5103"]);
  });
});

describe("links", () => {
  it("of a shard may not leave the folder, except from a Hugging Face cache to its blobs", async () => {
    const root = await mkdtemp(join(tmpdir(), "moec-links-"));
    try {
      const bytes = encodeSafetensors([{ name: "w", shape: [2], data: [1, 2] }]);
      const files = async (dir: string, target: string): Promise<void> => {
        await mkdir(dir, { recursive: true });
        await writeFile(join(dir, "config.json"), "{}");
        await writeFile(join(dir, "model.safetensors.index.json"), '{"weight_map": {"w": "a.safetensors"}}');
        await symlink(target, join(dir, "a.safetensors"));
      };
      await writeFile(join(root, "elsewhere"), bytes);
      await files(join(root, "plain"), "../elsewhere");
      const [d] = await refusal(() => readCheckpointHeaders(new NodeHost(), join(root, "plain")));
      expect(d!.code).toBe("MOE5103");
      const snapshot = join(root, "models--x/snapshots/abc");
      await mkdir(join(root, "models--x/blobs"), { recursive: true });
      await writeFile(join(root, "models--x/blobs/123"), bytes);
      await files(snapshot, "../../blobs/123");
      expect((await readCheckpointHeaders(new NodeHost(), snapshot)).tensors.size).toBe(1);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});
