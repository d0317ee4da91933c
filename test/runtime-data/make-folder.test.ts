import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { makeFolder } from "../../src/runtime/files/make-folder.ts";

const root = mkdtempSync(join(tmpdir(), "moec-folders-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

it("makes a folder with those above it, and is content with one that is there", async () => {
  const path = join(root, "a/b/ä c/d");
  await makeFolder(path);
  await makeFolder(path);
  expect(statSync(path).isDirectory()).toBe(true);
});

it("lets two make the same at once", async () => {
  const path = join(root, "both/of/us");
  await Promise.all([makeFolder(path), makeFolder(path), makeFolder(join(path, "deeper"))]);
  expect(statSync(join(path, "deeper")).isDirectory()).toBe(true);
});

it("rejects where a file stands in the way", async () => {
  const file = join(root, "file");
  writeFileSync(file, "");
  await expect(makeFolder(file)).rejects.toMatchObject({ code: "EEXIST" });
  await expect(makeFolder(join(file, "below"))).rejects.toMatchObject({ code: "ENOTDIR" });
});

it.skipIf(!existsSync("/proc/self"))("ends where the system makes nothing", async () => {
  await expect(makeFolder("/proc/moec-nothing")).rejects.toMatchObject({ code: "ENOENT" });
  await expect(makeFolder("/proc/moec-nothing/below")).rejects.toMatchObject({ code: "ENOENT" });
});
