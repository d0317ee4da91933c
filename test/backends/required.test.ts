import { describe, expect, it } from "vitest";
import { available, present, required } from "../support/require.ts";

describe("what MOEC_REQUIRE names", () => {
  it.skipIf(required.length === 0)("is there", async () => {
    const missing: string[] = [];
    for (const part of required) {
      const reason = await present(part);
      if (reason !== undefined) missing.push(`${part}: ${reason}`);
    }
    expect(missing).toEqual([]);
  });

  it("makes a part count as there, so that its tests run and fail rather than skip", async () => {
    for (const part of required) expect(await available(part)).toBe(true);
    // Without being named, a part counts as there exactly when it is.
    if (!required.includes("browser")) expect(await available("browser")).toBe((await present("browser")) === undefined);
  });
});
