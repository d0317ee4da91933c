import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fmt } from "../../src/cli/commands/fmt.ts";
import { Terminal } from "../../src/cli/terminal.ts";

const messy = "const a=1// why\r\nfn f( x )=x\r\n";
const neat = "const a = 1 // why\n\nfn f(x) = x\n";
const broken = "const a = 1\nconst then = 2\n";

let folder: string;
let out: string;
let err: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "moec-fmt-"));
  [out, err] = ["", ""];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => ((out += String(text)), true));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => ((err += String(text)), true));
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const read = (path: string): string => readFileSync(path, "utf8");

describe("moec fmt", () => {
  it("writes what changes, and says so", async () => {
    const [a, b] = [file("a.moe", messy), file("b.moe", neat)];
    expect(await fmt(new Terminal(), [a, b, a], {})).toBe(0);
    expect([read(a), read(b)]).toEqual([neat, neat]);
    expect(err).toMatch(/^formatted .*a\.moe\n$/);
    expect(out).toBe("");
  });

  it("--check writes nothing and fails", async () => {
    const [a, b] = [file("a.moe", messy), file("b.moe", neat)];
    expect(await fmt(new Terminal(), [a, b], { check: true })).toBe(1);
    expect(read(a)).toBe(messy);
    expect(err).toMatch(/^.*a\.moe is not formatted\n$/);
    expect(await fmt(new Terminal(), [b], { check: true })).toBe(0);
  });

  it("leaves a file with syntax errors as it is, names the place, and formats the others", async () => {
    const [a, b] = [file("a.moe", broken), file("b.moe", messy)];
    expect(await fmt(new Terminal(), [a, b, join(folder, "none.moe")], {})).toBe(1);
    expect([read(a), read(b)]).toEqual([broken, neat]);
    expect(err).toMatch(/MOE1010/);
    expect(err).toMatch(/a\.moe:2:7/);
    expect(err).toMatch(/none\.moe/);
  });

  it("keeps a byte order mark, and to the project's Prettier configuration", async () => {
    file(".prettierrc", '{ "endOfLine": "auto", "useTabs": true, "printWidth": 10 }');
    const a = file("a.moe", "\uFEFFfn f(a, b, c) = a\r\n");
    expect(await fmt(new Terminal(), [a], {})).toBe(0);
    expect(read(a)).toBe("\uFEFFfn f(\r\n\ta, b, c\r\n) = a\r\n");
  });

  it("a configuration that cannot be read is a diagnostic", async () => {
    file(".prettierrc", "{ nonsense");
    expect(await fmt(new Terminal(), [file("a.moe", messy)], {})).toBe(1);
    expect(err).toMatch(/MOE9030/);
    expect(err).not.toMatch(/\n\s+at /);
  });

  it("--json", async () => {
    const [a, b] = [file("a.moe", broken), file("b.moe", messy)];
    expect(await fmt(new Terminal({ json: true }), [a, b], {})).toBe(1);
    expect(JSON.parse(out)).toMatchObject([
      { file: a, ok: false, changed: false, diagnostics: [{ code: "MOE1010" }] },
      { file: b, ok: true, changed: true, diagnostics: [] },
    ]);
    expect(err).toBe("");
  });
});
