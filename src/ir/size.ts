import { GraphError } from "./errors.ts";
import type { Size } from "./graph.ts";

/**
 * Sizes are monomials: a positive integer times symbols, each perhaps several times. The canonical form is the number
 * alone, or the factors joined by "*": the number first (left out when 1), then the symbols in code-unit order.
 * Equal sizes have equal canonical forms, so `===` compares them.
 */
interface Monomial {
  readonly factor: number;
  /** Sorted, with repetition. */
  readonly symbols: readonly string[];
}

const symbolPattern = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** What the symbols of a module stand for in one run. */
export type Sizes = Readonly<Record<string, number>>;

/** Whether a text can be a size's symbol. */
export function isSymbol(text: string): boolean {
  return symbolPattern.test(text);
}

/** Reads a size in any order of factors; undefined where the text is no product of positive integers and symbols. */
export function parseSize(text: string): Size | undefined {
  const m = parse(text);
  return m && print(m);
}

/** The text of a size, which `parseSize` reads back. */
export function printSize(size: Size): string {
  return String(size);
}

/** Whether `size` is well formed and in its canonical form. */
export function isCanonicalSize(size: Size): boolean {
  if (typeof size === "number") return Number.isSafeInteger(size) && size > 0;
  return size === parseSize(size) && typeof parseSize(size) === "string";
}

/** The product; 1 of nothing. */
export function multiplySizes(...sizes: readonly Size[]): Size {
  let factor = 1;
  const symbols: string[] = [];
  for (const size of sizes) {
    const m = read(size);
    factor *= m.factor;
    symbols.push(...m.symbols);
  }
  return print({ factor, symbols: symbols.sort(byCodeUnit) });
}

/** a / b where b divides a as a monomial (whatever the symbols stand for); undefined elsewhere. */
export function divideSizes(a: Size, b: Size): Size | undefined {
  const x = read(a);
  const y = read(b);
  if (x.factor % y.factor !== 0) return undefined;
  const left = [...x.symbols];
  for (const symbol of y.symbols) {
    const at = left.indexOf(symbol);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return print({ factor: x.factor / y.factor, symbols: left });
}

/** Whether two sizes are equal whatever their symbols stand for. */
export function equalSizes(a: Size, b: Size): boolean {
  return a === b || print(read(a)) === print(read(b));
}

/** The symbols of a size, each once, in order. */
export function symbolsOf(size: Size): readonly string[] {
  return [...new Set(read(size).symbols)];
}

/** The number that a size stands for. Throws GraphError where a symbol has no value. */
export function evaluateSize(size: Size, sizes: Sizes): number {
  if (typeof size === "number") return size;
  let product = 1;
  const m = read(size);
  for (const symbol of m.symbols) {
    const value = Object.hasOwn(sizes, symbol) ? sizes[symbol] : undefined;
    if (value === undefined) throw new GraphError(`the size "${symbol}" of "${size}" is not known here`);
    product *= value;
  }
  return product * m.factor;
}

/**
 * What `symbol = value` follows from `size = actual`, given the sizes already known: the one unknown symbol's value, an
 * empty list where nothing is unknown and the numbers agree, "open" where more than one symbol (or one of a power) is
 * unknown, "wrong" where nothing fits.
 */
export function solveSize(size: Size, actual: number, sizes: Sizes): readonly [string, number] | "known" | "open" | "wrong" {
  const m = read(size);
  let known = m.factor;
  const unknown: string[] = [];
  for (const symbol of m.symbols) {
    if (Object.hasOwn(sizes, symbol)) known *= sizes[symbol]!;
    else unknown.push(symbol);
  }
  if (unknown.length === 0) return known === actual ? "known" : "wrong";
  if (known === 0 || actual % known !== 0) return "wrong";
  return unknown.length === 1 ? [unknown[0]!, actual / known] : "open";
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function parse(text: string): Monomial | undefined {
  let factor = 1;
  const symbols: string[] = [];
  for (const part of text.split("*")) {
    const word = part.trim();
    if (/^[0-9]+$/.test(word)) factor *= Number(word);
    else if (isSymbol(word)) symbols.push(word);
    else return undefined;
  }
  if (!Number.isSafeInteger(factor) || factor <= 0) return undefined;
  return { factor, symbols: symbols.sort(byCodeUnit) };
}

function read(size: Size): Monomial {
  if (typeof size === "number") {
    if (!Number.isSafeInteger(size) || size <= 0) throw new GraphError(`${size} is not a size: a positive integer was expected`);
    return { factor: size, symbols: [] };
  }
  const m = parse(size);
  if (!m) throw new GraphError(`"${size}" is not a size: a product of positive integers and symbols was expected`);
  return m;
}

function print(m: Monomial): Size {
  if (!Number.isSafeInteger(m.factor)) throw new GraphError("a size is too large");
  if (m.symbols.length === 0) return m.factor;
  const symbols = m.symbols.join("*");
  return m.factor === 1 ? symbols : `${m.factor}*${symbols}`;
}
