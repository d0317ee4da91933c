// Prisma's schema compiler (Rust, as WebAssembly): validate and format.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const prisma = require("@prisma/prisma-schema-wasm");
export const name = `Prisma ${require("@prisma/prisma-schema-wasm/package.json").version.split("-")[0]}`;

export function prepare() {
  return {
    check: async (text) => prisma.validate(JSON.stringify({ prismaSchema: [["schema.prisma", text]], noColor: true })),
    format: async (text) => {
      const done = prisma.format(JSON.stringify([["schema.prisma", text]]), JSON.stringify({ textDocument: { uri: "file:/schema.prisma" }, options: { tabSize: 2, insertSpaces: true } }));
      if (done.length < text.length / 2) throw new Error("Prisma: nothing came out");
    },
  };
}
