import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadProgram } from "../../src/compiler/program.ts";
import { catalogue, type CodeRow } from "../../src/diagnostics/index.ts";
import { MemoryHost } from "../../src/formats/host.ts";
import { baseFolder, library, llamaShapes, renderAll, safetensors, tinyConfig } from "./support.ts";

const folder = "examples/bad";
const names = readdirSync(folder).filter((n) => n.endsWith(".moe")).sort();
const marker = "\n// Diagnostics:\n";
const write = process.env["MOEC_GOLDEN"] === "write";

/** The spec without the comment at its end, and the lines of that comment. */
function parts(text: string): { readonly spec: string; readonly expected: readonly string[] } {
  const at = text.indexOf(marker);
  if (at < 0) return { spec: text, expected: [] };
  return { spec: text.slice(0, at), expected: text.slice(at + marker.length).trimEnd().split("\n").map((l) => l.replace(/^\/\/ ?/, "")) };
}

const shown = new Set<string>();

describe("examples/bad: each file ends with the diagnostics that it gives", () => {
  it.each(names)("%s", async (name) => {
    const file = `${folder}/${name}`;
    const { spec, expected } = parts(readFileSync(file, "utf8"));
    const host = new MemoryHost([
      [file, spec],
      [`${folder}/${baseFolder}/config.json`, JSON.stringify(tinyConfig)],
      [`${folder}/${baseFolder}/model.safetensors`, safetensors(llamaShapes())],
    ]);
    const program = await loadProgram(host, file, { library });
    const found = renderAll(program);
    for (const d of program.diagnostics) shown.add(d.code);
    if (write) writeFileSync(file, `${spec}${marker}${found.map((l) => `// ${l}`.trimEnd()).join("\n")}\n`);
    else expect(found).toEqual(expected);
    expect(found.length).toBeGreaterThan(0);
  });

  it("shows every code of syntax, names and shapes that a text can give", () => {
    const other = new Set([
      "MOE1021", // a file of a million characters
      "MOE1022", // fifty mistakes
      "MOE3011", "MOE3012", "MOE3013", "MOE3018", // what lies in the checkpoint: test/check/checkpoints.test.ts
    ]);
    // What more than a check is asked for has its example in the catalogue alone: these files show what a check says.
    const checked = (Object.entries(catalogue) as [string, CodeRow][]).filter(([, row]) => row.asked === undefined).map(([code]) => code);
    expect(checked.filter((code) => /^MOE[123]/.test(code) && !shown.has(code) && !other.has(code))).toEqual([]);
  });
});
