import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { interpret, parseModule, printModule, tensorOf, verify } from "../../src/ir/index.ts";
import type { Tensor } from "../../src/ir/index.ts";
import { opsDocument } from "../../src/ir/ops/document.ts";

const text = readFileSync(new URL("../../docs/graph.md", import.meta.url), "utf8");

describe("docs/graph.md", () => {
  it("holds the op table as it is (node scripts/docs-ops.mjs writes it)", () => {
    expect(text).toContain(`-->\n\n${opsDocument()}\n<!-- /ops -->`);
  });

  it("shows a module that reads, verifies, prints as shown and runs", () => {
    const shown = text.split("```\n")[1]!;
    const { module, diagnostics } = parseModule(shown);
    expect(diagnostics).toEqual([]);
    expect(verify(module!)).toEqual([]);
    expect(printModule(module!)).toBe(shown);
    const A = tensorOf({ in: 4, rank: 2 }, [1, 0, 0, 1, 0, 0, 0, 0]);
    const [out] = interpret(module!, "main", [tensorOf({ sample: 1, in: 4 }, [1, 2, 3, 4]), [A, A]]);
    expect(Array.from((out as Tensor).data)).toEqual([1, 2, 0, 0]);
  });
});
