// What is the same in every run is done once, when the package is built: the grammar is analysed, the library is parsed, and
// the validators of the fixed schemas and of the library's models are compiled. By the very code that would do it later,
// bundled from the sources.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import standalone from "ajv/dist/standalone/index.js";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
// Chevrotain exports no parts of its analysis; files of one version, which package.json pins, are.
const chevrotain = fileURLToPath(new URL("parse/", import.meta.resolve("chevrotain")));
const part = (path) => JSON.stringify(join(chevrotain, path));

const sources = `
  export { configSchema } from "./src/check/index.ts";
  export { indexSchema } from "./src/formats/safetensors-index.ts";
  export { ajvOptions } from "./src/formats/schema.ts";
  export { pack } from "./src/compiler/packed.ts";
  export { parse } from "./src/parser/index.ts";
  export { MoeParser } from "./src/parser/grammar.ts";
  export * from ${part("grammar/interpreter.js")};
  export * from ${part("grammar/keys.js")};
  export { getLookaheadPathsForOptionalProd, getLookaheadPathsForOr, getProdType } from ${part("grammar/lookahead.js")};
  export { collectMethods } from ${part("parser/traits/looksahead.js")};
`;

/** Each place where the grammar chooses, by Chevrotain's key: what may come next there, and what follows a repetition. */
function analyse(c) {
  const parser = new c.MoeParser();
  const names = (paths) => paths.map((path) => path.map((type) => type.name));
  const repeated = [
    ["option", "Option", c.OPTION_IDX],
    ["repetition", "Repetition", c.MANY_IDX, c.NextTerminalAfterManyWalker],
    ["repetitionMandatory", "RepetitionMandatory", c.AT_LEAST_ONE_IDX, c.NextTerminalAfterAtLeastOneWalker],
    ["repetitionWithSeparator", "RepetitionWithSeparator", c.MANY_SEP_IDX, c.NextTerminalAfterManySepWalker],
    ["repetitionMandatoryWithSeparator", "RepetitionMandatoryWithSeparator", c.AT_LEAST_ONE_SEP_IDX, c.NextTerminalAfterAtLeastOneSepWalker],
  ];
  const places = {};
  const after = {};
  for (const rule of Object.values(parser.getGAstProductions())) {
    const key = (kind, index) => c.getKeyForAutomaticLookahead(parser.fullRuleNameToShort[rule.name], kind, index);
    const depth = (place) => place.maxLookahead || parser.maxLookahead;
    const methods = c.collectMethods(rule);
    for (const place of methods.alternation) {
      places[key(c.OR_IDX, place.idx)] = { gates: Boolean(place.hasPredicates), alternatives: c.getLookaheadPathsForOr(place.idx, rule, depth(place)).map(names) };
    }
    for (const [list, type, kind, Walker] of repeated) {
      for (const place of methods[list]) {
        places[key(kind, place.idx)] = { inside: names(c.getLookaheadPathsForOptionalProd(place.idx, rule, c.getProdType(type), depth(place))[0]) };
        if (!Walker) continue;
        const { token, occurrence, isEndOfRule } = new Walker(rule, place.idx).startWalking();
        after[key(kind, place.idx)] = { token: token?.name, occurrence, isEndOfRule };
      }
    }
  }
  return { places, after };
}

/** The analysis as a module: it makes Chevrotain's own functions of it, each when a text first asks for it. */
const adopting = (analysis) => `
import { buildAlternativesLookAheadFunc, buildSingleAlternativeLookaheadFunction } from ${part("grammar/lookahead.js")};

const { places, after } = JSON.parse(${JSON.stringify(JSON.stringify(analysis))});

export function adopt(parser) {
  const types = (paths) => paths.map((path) => path.map((name) => parser.tokensMap[name]));
  const make = ({ alternatives, gates, inside }) =>
    alternatives ? buildAlternativesLookAheadFunc(alternatives.map(types), gates, parser.tokenMatcher, false) : buildSingleAlternativeLookaheadFunction(types(inside), parser.tokenMatcher, false);
  const made = new Map();
  parser.lookAheadFuncsCache = {
    get: (key) => {
      let found = made.get(key);
      if (!found) made.set(key, (found = make(places[key])));
      return found;
    },
  };
  for (const key in after) parser.firstAfterRepMap[key] = { ...after[key], token: parser.tokensMap[after[key].token] };
  parser.selfAnalysisDone = true;
}
`;

/**
 * Writes modules into the folder, in the repository, that take the place of three of the sources.
 * @returns the plugin for esbuild that puts them there
 */
export async function ahead(folder) {
  mkdirSync(folder, { recursive: true });
  const bundle = join(folder, "sources.mjs");
  await build({ stdin: { contents: sources, resolveDir: "." }, outfile: bundle, bundle: true, format: "esm", platform: "node", external: ["ajv"], logLevel: "warning" });
  const made = await import(pathToFileURL(bundle).href);
  const { ajvOptions, configSchema, indexSchema, pack, parse } = made;

  writeFileSync(join(folder, "analysis.js"), adopting(analyse(made)));

  const files = readdirSync("std").filter((name) => name.endsWith(".moe")).sort();
  const trees = files.map((name) => parse(readFileSync(join("std", name), "utf8"), `std/${name}`));
  // A text that is parsed as JSON is read several times faster than the same as JavaScript.
  writeFileSync(join(folder, "trees.js"), `export const trees = JSON.parse(${JSON.stringify(JSON.stringify(trees.map(pack)))});\n`);

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

  const instead = { "src/compiler/trees.ts": "trees.js", "src/formats/validators.ts": "validators.js", "src/parser/analysis.ts": "analysis.js" };
  return {
    name: "what was made ahead",
    setup: (b) => b.onLoad({ filter: /[\\/](trees|validators|analysis)\.ts$/ }, ({ path }) => {
      const module = instead[relative(root, path).replaceAll("\\", "/")];
      return module && { contents: readFileSync(join(folder, module), "utf8"), resolveDir: resolve(folder), loader: "js" };
    }),
  };
}
