// Writes grammar/moe.ebnf from the parser: `node scripts/grammar.mjs`.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const bundle = await build({ entryPoints: [join(root, "src/parser/ebnf.ts")], bundle: true, format: "esm", platform: "neutral", mainFields: ["module", "main"], write: false });
const { ebnf } = await import(`data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].contents).toString("base64")}`);
await mkdir(join(root, "grammar"), { recursive: true });
await writeFile(join(root, "grammar/moe.ebnf"), ebnf());
