import { beforeAll, describe, expect, it } from "vitest";
import { backendNames, probeBackends, startBackend, type BackendReport } from "../../src/runtime/backends/index.ts";
import { testBackends } from "../support/backends.ts";

describe("probeBackends and auto", () => {
  let reports: readonly BackendReport[];
  beforeAll(async () => {
    reports = await probeBackends();
  }, 120_000); // SwiftShader takes seconds for a product, more on a busy machine
  const of = (name: string): BackendReport => reports.find((r) => r.name === name)!;

  it("reports every backend, fastest first, each with a device or a reason and a help", () => {
    expect(reports.map((r) => r.name)).toEqual([...backendNames]);
    for (const report of reports) {
      if (report.usable) expect(report).toMatchObject({ device: expect.stringMatching(/./), version: expect.stringMatching(/^\d/), milliseconds: expect.any(Number) });
      else expect(report).toMatchObject({ reason: expect.stringMatching(/[.!?]$/), help: expect.stringMatching(/./) });
    }
  });

  it("finds wasm and cpu usable, and wasm the faster", () => {
    expect(of("wasm").usable && of("cpu").usable).toBe(true);
    expect(of("wasm").milliseconds!).toBeLessThan(of("cpu").milliseconds!);
  });

  it.each(testBackends)("finds %s usable, since these tests run on it", (name) => {
    expect(of(name)).toMatchObject({ usable: true });
  });

  it("takes the first that is usable and no simulated GPU, and tells what it passed over", async () => {
    const skipped: BackendReport[] = [];
    const backend = await startBackend("auto", { onSkip: (r) => skipped.push(r) });
    // Without ONNX models to run, ONNX Runtime is no backend for whoever asks.
    expect(backend.name).toBe(reports.find((r) => r.usable && !r.software && r.name !== "onnx")!.name);
    for (const r of skipped) expect(r.reason).toMatch(/[.!?]$/);
    await backend.dispose();
    const withModels = await startBackend("auto", { models: true });
    expect(withModels.name).toBe(reports.find((r) => r.usable && !r.software)!.name);
    await withModels.dispose();
  });
});
