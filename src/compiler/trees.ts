import type { PackedFile } from "./packed.ts";

/**
 * The library's files, parsed. `scripts/ahead.mjs` puts them into the bundle in this module's place; where the sources run
 * there are none, and the parser makes them.
 */
export const trees: readonly PackedFile[] = [];
