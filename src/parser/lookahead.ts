import { LLkLookaheadStrategy, type ILookaheadStrategy } from "chevrotain";

type Alternation = ILookaheadStrategy["buildLookaheadForAlternation"];
type Optional = ILookaheadStrategy["buildLookaheadForOptional"];

/**
 * Chevrotain's own lookahead, each function made when a text first asks for it: to make all of them takes longer than to
 * read a spec, which uses a part of the grammar.
 */
export class LazyLookahead extends LLkLookaheadStrategy {
  override readonly buildLookaheadForAlternation: Alternation = (options) => onDemand(() => super.buildLookaheadForAlternation(options));
  override readonly buildLookaheadForOptional: Optional = (options) => onDemand(() => super.buildLookaheadForOptional(options));
}

/** A method of the parser that is made at its first call. */
function onDemand<A extends unknown[], R>(make: () => (...args: A) => R): (...args: A) => R {
  let made: ((...args: A) => R) | undefined;
  return function (this: unknown, ...args) {
    return (made ??= make()).apply(this, args);
  };
}
