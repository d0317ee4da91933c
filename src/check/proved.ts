import type { AdapterDeclaration, Declaration, SourceFile } from "../parser/ast.ts";
import type { Definitions } from "./definitions.ts";
import type { ModelInstance } from "./model.ts";

/**
 * Which adapters were proved without a word being said, by all that the proofs look at: an editor checks a text anew after
 * every keystroke, and most of its adapters are what they were. Planning is done again, so that everything that is handed on
 * speaks of the new text; only the proofs, which would say nothing, are not.
 */
export class ProofMemory {
  readonly #keys = new Set<string>();
  readonly #most: number;

  constructor(most = 4096) {
    this.#most = most;
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  add(key: string): void {
    // Old keys are texts that nobody has any more.
    if (this.#keys.size >= this.#most) this.#keys.clear();
    this.#keys.add(key);
  }
}

const numbers = new WeakMap<SourceFile, number>();
let counted = 0;

/** A number that stands for a file's tree: another text is another tree. */
function numberOf(file: SourceFile): number {
  const known = numbers.get(file) ?? ++counted;
  numbers.set(file, known);
  return known;
}

/** What the proofs of every adapter of a program look at: the library, functions, and the values that a spec fixes. */
export function commonKey(library: readonly SourceFile[], files: readonly SourceFile[], set: ReadonlyMap<string, string>): string {
  const shared = files.flatMap((f) => f.declarations.filter((d) => d.kind === "fn" || d.kind === "param" || d.kind === "const").map((d) => textOf(d, f)));
  return JSON.stringify([library.map(numberOf), shared, [...set]]);
}

/** All that an adapter's proofs look at; `applied` are the definitions that its clauses name. */
export function proofKey(
  common: string,
  name: string,
  definitions: Definitions,
  applied: Iterable<object>,
  model: ModelInstance,
  files: readonly SourceFile[],
): string {
  const texts: string[] = [];
  const own = new Set(applied);
  own.add(model.definition);
  // A variant is made of those that it varies.
  for (let of: string | undefined = name; of !== undefined; of = definitions.parents.get(of)) texts.push(of);
  const wanted = (d: Declaration): boolean => own.has(d) || ((d.kind === "adapter" || d.kind === "variant") && texts.includes(d.name.text));
  const made = files.flatMap((f) => f.declarations.filter(wanted).map((d) => textOf(d, f)));
  return JSON.stringify([common, made, model.definition.name.text, model.config, model.layers]);
}

function textOf(d: Declaration | AdapterDeclaration, file: SourceFile): string {
  return file.text.slice(d.span.start, d.span.end);
}
