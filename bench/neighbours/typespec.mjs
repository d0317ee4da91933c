// TypeSpec's compiler and formatter, in process: the program is compiled again with the old one at hand, as its server does.
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { compile, formatTypeSpec, NodeHost, MANIFEST } from "@typespec/compiler";

export const name = `TypeSpec ${MANIFEST.version}`;

/** @returns what checks and what formats a text of that file */
export function prepare(folder) {
  mkdirSync(folder, { recursive: true });
  const file = resolve(join(folder, "main.tsp"));
  let old;
  return {
    check: async (text) => {
      writeFileSync(file, text);
      old = await compile(NodeHost, file, { noEmit: true }, old);
      if (old.hasError()) throw new Error(`TypeSpec: ${old.diagnostics[0].message}`);
    },
    format: async (text) => {
      if (!(await formatTypeSpec(text))) throw new Error("TypeSpec: nothing came out");
    },
  };
}
