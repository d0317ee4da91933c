/**
 * Gives a parser the analysis of its grammar: what may come next wherever the grammar chooses. `scripts/ahead.mjs` puts
 * one into the bundle in this module's place; where the sources run there is none, and Chevrotain analyses at every start.
 */
export const adopt: ((parser: object) => void) | undefined = undefined;
