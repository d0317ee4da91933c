// Writes what the parser says of the language into grammar/: moe.ebnf, railroad.html, moe.tmLanguage.json, and the
// table of built-in functions in reference.md.
// `node scripts/grammar.mjs`; with --check writes nothing and fails where a file is not what it would write.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { railroadPage } from "./grammar/railroad.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The files as they should be, by name. */
export async function grammarFiles() {
  const source = 'export * from "./src/parser/ebnf.ts"; export * from "./src/parser/textmate.ts"; export { builtins } from "./src/check/builtins.ts";';
  const bundle = await build({ stdin: { contents: source, resolveDir: root, loader: "ts" }, bundle: true, format: "esm", platform: "neutral", mainFields: ["module", "main"], write: false });
  const { ebnf, rulesInOrder, textmate, builtins } = await import(`data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].contents).toString("base64")}`);
  const text = ebnf();
  const note = /What a grammar of this kind does not say:\n([\s\S]*?)\*\)/.exec(text)[1].replace(/^ {3}/gm, "").trim();
  const lexical = text.slice(text.lastIndexOf("(* Operators")).trim();
  const rows = Object.entries(builtins).map(([name, b]) => `| \`${name}(${b.parameters.join(", ")})\` | ${b.doc} |`);
  const table = ["| function | value |", "|---|---|", ...rows].join("\n");
  const reference = await readFile(join(root, "grammar/reference.md"), "utf8");
  return new Map([
    ["reference.md", reference.replace(/(<!-- generated [^\n]*-->\n)[\s\S]*?(<!-- end -->)/, (_, begin, end) => `${begin}${table}\n${end}`)],
    ["moe.ebnf", text],
    ["railroad.html", railroadPage(rulesInOrder(), note, lexical)],
    ["moe.tmLanguage.json", `${JSON.stringify(textmate(), null, 2)}\n`],
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes("--check");
  await mkdir(join(root, "grammar"), { recursive: true });
  for (const [name, text] of await grammarFiles()) {
    const path = join(root, "grammar", name);
    if (!check) await writeFile(path, text);
    else if ((await readFile(path, "utf8").catch(() => "")) !== text) {
      console.error(`grammar/${name} is not what the parser says: run node scripts/grammar.mjs`);
      process.exitCode = 1;
    }
  }
}
