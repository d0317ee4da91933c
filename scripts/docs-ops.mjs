// Writes the op table into docs/graph.md, between its two markers. `test/ir/document.test.ts` fails where it is stale.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = new URL("../", import.meta.url);
const bundled = await build({
  entryPoints: [fileURLToPath(new URL("src/ir/ops/document.ts", root))],
  bundle: true,
  write: false,
  format: "esm",
  platform: "neutral",
});
const { opsDocument } = await import(`data:text/javascript;base64,${Buffer.from(bundled.outputFiles[0].text).toString("base64")}`);

const file = new URL("docs/graph.md", root);
const text = await readFile(file, "utf8");
const start = "<!-- ops: written by scripts/docs-ops.mjs -->\n";
const end = "<!-- /ops -->";
const from = text.indexOf(start);
const to = text.indexOf(end);
if (from < 0 || to < from) throw new Error("docs/graph.md has lost its markers");
await writeFile(file, `${text.slice(0, from + start.length)}\n${opsDocument()}\n${text.slice(to)}`);
