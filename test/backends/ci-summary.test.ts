import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const test = (status: string, fullName = status): object => ({ status, fullName });
const file = (status: string, ...assertionResults: object[]): object => ({ status, assertionResults });

describe("scripts/ci/summary.mjs", () => {
  let folder: string;
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "moec-summary-"))));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([
    ["counts over files", [file("passed", test("passed"), test("passed")), file("passed", test("passed"))], "3 passed, 0 failed\n", 0],
    ["fails where a test fails", [file("failed", test("passed"), test("failed"))], "1 passed, 1 failed\n", 1],
    ["counts a file that does not load as a failure", [file("passed", test("passed")), file("failed")], "1 passed, 1 failed\n", 1],
    ["counts a hook that throws as a failure", [file("failed", test("passed"), test("skipped", "what it kept from running"))], "skipped: what it kept from running\n1 passed, 1 failed\n", 1],
    ["names what was skipped", [file("passed", test("passed"), test("pending", "torch > agrees"))], "skipped: torch > agrees\n1 passed, 0 failed\n", 0],
    ["fails where nothing ran", [], "0 passed, 0 failed\n", 1],
  ])("%s", (_, testResults, expected, code) => {
    const report = join(folder, "report.json");
    writeFileSync(report, JSON.stringify({ success: !JSON.stringify(testResults).includes('"failed"'), testResults }));
    const done = spawnSync(process.execPath, ["scripts/ci/summary.mjs", report], { encoding: "utf8" });
    expect([done.stdout, done.status]).toEqual([expected, code]);
  });

  it("counts a worker that died as a failure, though no test failed", () => {
    const report = join(folder, "report.json");
    writeFileSync(report, JSON.stringify({ success: false, testResults: [file("passed", test("passed"), test("pending", "the one it died in"))] }));
    const done = spawnSync(process.execPath, ["scripts/ci/summary.mjs", report], { encoding: "utf8" });
    expect([done.stdout, done.status]).toEqual(["skipped: the one it died in\n1 passed, 1 failed\n", 1]);
  });

  it("adds up several reports", () => {
    const reports = [join(folder, "a.json"), join(folder, "b.json")];
    writeFileSync(reports[0]!, JSON.stringify({ success: true, testResults: [file("passed", test("passed"))] }));
    writeFileSync(reports[1]!, JSON.stringify({ success: false, testResults: [file("failed", test("passed"), test("failed"))] }));
    const done = spawnSync(process.execPath, ["scripts/ci/summary.mjs", ...reports], { encoding: "utf8" });
    expect([done.stdout, done.status]).toEqual(["2 passed, 1 failed\n", 1]);
  });

  it("fails where there is no report", () => {
    const done = spawnSync(process.execPath, ["scripts/ci/summary.mjs", join(folder, "none.json")], { encoding: "utf8" });
    expect([done.stdout, done.status]).toEqual(["0 passed, 1 failed\n", 1]);
    expect(done.stderr).not.toContain("    at ");
  });
});
