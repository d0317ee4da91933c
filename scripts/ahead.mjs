// What is the same in every run is done once, when the package is built: the library is parsed, and the validators of the
// fixed schemas and of the library's models are compiled. By the very code that would do it later, bundled from the sources.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import standalone from "ajv/dist/standalone/index.js";
import { build } from "esbuild";

const sources = `
  export { configSchema } from "./src/check/index.ts";
  export { indexSchema } from "./src/formats/safetensors-index.ts";
  export { ajvOptions } from "./src/formats/schema.ts";
  export { parse } from "./src/parser/index.ts";
`;

/**
 * Writes modules into the folder, in the repository, that take the place of two of the sources.
 * @returns paths of sources, as esbuild's plugins see them, and what takes their place
 */
export async function ahead(folder) {
  mkdirSync(folder, { recursive: true });
  const bundle = join(folder, "sources.mjs");
  await build({ stdin: { contents: sources, resolveDir: "." }, outfile: bundle, bundle: true, format: "esm", platform: "node", external: ["ajv"], logLevel: "warning" });
  const { ajvOptions, configSchema, indexSchema, parse } = await import(pathToFileURL(bundle).href);

  const files = readdirSync("std").filter((name) => name.endsWith(".moe")).sort();
  const trees = files.map((name) => parse(readFileSync(join("std", name), "utf8"), `std/${name}`));
  // A text that is parsed as JSON is read several times faster than the same as JavaScript.
  writeFileSync(join(folder, "trees.js"), `export const trees = JSON.parse(${JSON.stringify(JSON.stringify(trees))});\n`);

  const models = trees.flatMap((tree) => tree.declarations).filter((d) => d.kind === "model");
  const schemas = [JSON.parse(readFileSync("grammar/config.schema.json", "utf8")), indexSchema, ...models.map(configSchema)];
  const options = { ...ajvOptions, code: { source: true, esm: true } };
  const modules = schemas.map((schema, i) => {
    const ajv = String(schema.$schema ?? "").includes("draft-07") ? new Ajv(options) : new Ajv2020(options);
    writeFileSync(join(folder, `validator${i}.js`), standalone.default(ajv, ajv.compile(schema)));
    return { name: `v${i}`, path: `./validator${i}.js`, key: JSON.stringify(schema) };
  });
  const imports = modules.map((m) => `import ${m.name} from ${JSON.stringify(m.path)};`);
  const entries = modules.map((m) => `[${JSON.stringify(m.key)}, ${m.name}]`);
  writeFileSync(join(folder, "validators.js"), `${imports.join("\n")}\nexport const validators = new Map([${entries.join(", ")}]);\n`);

  return { "src/compiler/trees.ts": join(folder, "trees.js"), "src/formats/validators.ts": join(folder, "validators.js") };
}
