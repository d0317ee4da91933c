import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryHost } from "../../src/formats/host.ts";
import { readHeader } from "../../src/formats/checkpoint.ts";
import { encodeSafetensors } from "../../src/formats/safetensors.ts";
import { nodeDisk, type Disk } from "../../src/runtime/files/atomic.ts";
import { atomicWrite, loadTensors, NodeHost, recoverFolder, writeFolderAtomically } from "../../src/runtime/files/index.ts";
import { refusal } from "../formats/shared.ts";

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "moec-files-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const contents = async (folder: string): Promise<Record<string, string>> => {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((n) => n.isFile()).map((n) => join(n.parentPath, n.name));
  return Object.fromEntries(await Promise.all(files.map(async (f) => [f.slice(folder.length + 1), await readFile(f, "utf8")] as const)));
};

/** The real disk until its nth call, which stops half done and lets nothing follow: what a kill at that moment does. */
function killedAt(n: number): { disk: Disk; calls: () => number } {
  let calls = 0;
  const gate = async (half: () => Promise<unknown>, whole: () => Promise<unknown>): Promise<never> => {
    calls++;
    if (calls > n) throw new Error("killed");
    if (calls === n) {
      await half();
      throw new Error("killed");
    }
    return (await whole()) as never;
  };
  const nothing = async (): Promise<void> => undefined;
  return {
    calls: () => calls,
    disk: {
      exists: (p) => gate(nothing, () => nodeDisk.exists(p)),
      makeFolder: (p) => gate(nothing, () => nodeDisk.makeFolder(p)),
      writeFile: (p, c) => gate(() => nodeDisk.writeFile(p, c instanceof Uint8Array ? c.subarray(0, 1) : new Uint8Array(1)), () => nodeDisk.writeFile(p, c)),
      syncFolder: (p) => gate(nothing, () => nodeDisk.syncFolder(p)),
      rename: (a, b) => gate(nothing, () => nodeDisk.rename(a, b)),
      remove: (p) => gate(nothing, () => nodeDisk.remove(p)),
    },
  };
}

describe("writing", () => {
  const before = new Map([["a", "old a"], ["sub/b", "old b"]]);
  const after = new Map([["a", "new a"], ["c", "new c"], ["sub/deep/d", "new d"]]);
  const asObject = (m: Map<string, string>) => Object.fromEntries(m);

  it("a folder, stopped at any of its calls, is the old one or the new one, whole", async () => {
    const folder = join(root, "out");
    let stop = 0;
    for (let done = false; !done; stop++) {
      await rm(root, { recursive: true });
      await writeFolderAtomically(folder, before);
      const { disk } = killedAt(stop + 1);
      await writeFolderAtomically(folder, after, disk).then(
        () => (done = true),
        (e: Error) => expect(e.message).toBe("killed"),
      );
      // In the one instant where the folder is absent, all of the old one lies beside it.
      if (!existsSync(folder)) expect(await contents(join(root, ".out.old"))).toEqual(asObject(before));
      await recoverFolder(folder);
      const found = await contents(folder);
      expect([asObject(before), asObject(after)]).toContainEqual(found);
      await writeFolderAtomically(folder, after);
      expect(await contents(root)).toEqual(Object.fromEntries([...after].map(([k, v]) => [`out/${k}`, v])));
    }
    expect(stop).toBeGreaterThan(15);
  });
  it("a first folder, stopped at any call, is absent or whole", async () => {
    const folder = join(root, "x/out");
    for (let stop = 1, done = false; !done; stop++) {
      await rm(root, { recursive: true, force: true });
      await writeFolderAtomically(folder, after, killedAt(stop).disk).then(() => (done = true), () => undefined);
      await recoverFolder(folder);
      if (existsSync(folder)) expect(await contents(folder)).toEqual(asObject(after));
    }
  });
  it("files that are made piece by piece; where making one fails nothing is left", async () => {
    async function* pieces(fails: boolean): AsyncGenerator<Uint8Array> {
      yield new Uint8Array([97]);
      if (fails) throw new Error("no more");
      yield new Uint8Array(3_000_000).fill(98);
    }
    const folder = join(root, "out");
    await writeFolderAtomically(folder, new Map<string, string | AsyncIterable<Uint8Array>>([["a", pieces(false)], ["b", "b"]]));
    expect(await contents(root)).toEqual({ "out/a": `a${"b".repeat(3_000_000)}`, "out/b": "b" });
    await expect(writeFolderAtomically(join(root, "other"), new Map([["a", pieces(true)]]))).rejects.toThrow("no more");
    expect(await readdir(root)).toEqual(["out"]);
  });
  it("a file likewise", async () => {
    const path = join(root, "out/file");
    for (let stop = 1, done = false; !done; stop++) {
      await rm(dirname(path), { recursive: true, force: true });
      await atomicWrite(path, "old content");
      await atomicWrite(path, "new content", killedAt(stop).disk).then(() => (done = true), () => undefined);
      expect(["old content", "new content"]).toContain(await readFile(path, "utf8"));
    }
    await atomicWrite(path, "newer");
    expect(await readFile(path, "utf8")).toBe("newer");
  });
  it("refuses names that leave the folder, and says what the system refused", async () => {
    for (const name of ["../x", "/x", "a\\b", ""]) expect((await refusal(() => writeFolderAtomically(join(root, "o"), new Map([[name, ""]])))).map((d) => d.code)).toEqual(["MOE5103"]);
    expect((await refusal(() => writeFolderAtomically("/", new Map()))).map((d) => d.code)).toEqual(["MOE5108"]);
    await writeFile(join(root, "file"), "x");
    expect((await refusal(() => atomicWrite(join(root, "file/x"), ""))).map((d) => d.code)).toEqual(["MOE5108"]);
    expect(await readdir(root)).toEqual(["file"]);
  });
});

describe("reading", () => {
  it("the disk as a host", async () => {
    const host = new NodeHost();
    await mkdir(join(root, "d"));
    await writeFile(join(root, "d/f"), "0123456789");
    expect(await host.stat(join(root, "d/f"))).toEqual({ size: 10, kind: "file" });
    expect(await host.stat(join(root, "d"))).toEqual({ size: 0, kind: "directory" });
    expect(await host.stat(join(root, "none"))).toBeUndefined();
    expect(await host.stat(join(root, "d/f/x"))).toBeUndefined();
    expect(new TextDecoder().decode(await host.readRange(join(root, "d/f"), 3, 6))).toBe("345");
    expect(await host.readRange(join(root, "d/f"), 8, 1e15)).toHaveLength(2);
    expect(await host.list(root)).toEqual(["d"]);
    expect((await refusal(() => host.readFile(join(root, "none")))).map((d) => d.code)).toEqual(["MOE5101"]);
    expect((await refusal(() => host.readFile(root))).map((d) => d.code)).toEqual(["MOE5102"]);
  });
  it("tensors one by one, pieces joined, names checked first", async () => {
    const big = Float32Array.from({ length: 5_000_000 }, (_, i) => i % 1000);
    const host = new MemoryHost([["m", encodeSafetensors([{ name: "big", shape: [5000, 1000], data: big }, { name: "half", dtype: "BF16", shape: [3], data: [1, -2.5, 0.15625] }])]]);
    const header = await readHeader(host, "m");
    const loaded = [];
    for await (const t of loadTensors(host, header, ["half", "big"])) loaded.push(t);
    expect(loaded.map((t) => t.name)).toEqual(["half", "big"]);
    expect([...loaded[0]!.data]).toEqual([1, -2.5, 0.15625]);
    expect(Buffer.compare(Buffer.from(loaded[1]!.data.buffer), Buffer.from(big.buffer))).toBe(0);
    const [d] = await refusal(() => loadTensors(host, header, ["bigg"]).next());
    expect(d).toMatchObject({ code: "MOE5118", help: 'did you mean "big"?' });
  });
});
