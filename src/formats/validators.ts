import type { ValidateFunction } from "ajv";

/**
 * Validators by their schema's JSON. `scripts/ahead.mjs` puts those of the fixed schemas and of the library's models into
 * the bundle in this module's place; where the sources run there are none, and ajv compiles when it is asked to.
 */
export const validators: ReadonlyMap<string, ValidateFunction> = new Map();
