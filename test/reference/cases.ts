import { expect } from "vitest";
import type { Const } from "../../src/check/values.ts";
import type { Program } from "../../src/compiler/program.ts";
import { parse } from "../../src/parser/index.ts";
import { numbers } from "../passes/support.ts";
import { near, range, rows } from "../std/by-hand.ts";
import { run, site, valuesOf } from "../std/support.ts";
import { checkSource, spec, type Given } from "../check/support.ts";

/** Something that a rule of the reference says, tried out. */
export interface Case {
  readonly name: string;
  readonly run: () => Promise<void> | void;
}

/** Cases by the number of their rule. */
export type Cases = Readonly<Record<string, readonly Case[]>>;

export const does = (name: string, run: Case["run"]): Case => ({ name, run });

const codesOf = (program: Program): string[] => program.diagnostics.map((d) => d.code).sort();

/** A text that nothing is wrong with. */
export const clean = (name: string, text: string, given: Given = {}): Case =>
  does(`${name}: is right`, async () => expect((await checkSource(text, given)).diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([]));

/** A text with these mistakes and warnings, and no others. */
export const gives = (codes: string, name: string, text: string, given: Given = {}): Case =>
  does(`${name}: ${codes}`, async () => expect(codesOf(await checkSource(text, given))).toEqual(codes.split(" ").sort()));

/** What a constant is: declarations, the last of which names `v`. */
export const value = (text: string, expected: unknown, given: Given = {}): Case =>
  does(`v is ${JSON.stringify(expected)} after ${JSON.stringify(text)}`, async () => {
    const program = await checkSource(`${text}\n`, given);
    expect(program.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([]);
    expect((program.checked.context.constants.lookup("v") as Const | undefined)?.value).toEqual(expected);
  });

/** Two texts that the parser reads as the same, but for where it stands. */
export const same = (name: string, a: string, b: string): Case =>
  does(`${name}: means the same`, () => {
    const [left, right] = [a, b].map((text) => parse(text, "same.moe"));
    expect([...left!.diagnostics, ...right!.diagnostics]).toEqual([]);
    expect(placeless(left!.declarations)).toEqual(placeless(right!.declarations));
  });

function placeless(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(placeless);
  if (typeof node !== "object" || node === null) return node;
  return Object.fromEntries(Object.entries(node).filter(([key]) => key !== "span").map(([key, value]) => [key, placeless(value)]));
}

/** A spec with clauses on the linears of the MLP; further declarations, and what the adapter says of its data. */
export const on = (clauses: string, more = "", data = "", path?: string): string => spec(clauses, path, more, data);

/** Three experts behind a router of the text's own. */
export const routed = (router: string, call = "own()", data = ""): string => on(`experts e[3] = lora(rank: 2)\nroute ${call}`, router, data);

/** A router of its own with this signature and body. */
export const router = (signature: string, body: string, items = "weight W [in, expert] = normal(0.02)"): string => `router own() {\n  ${items}\n  ${signature} ${body}\n}\n`;

/** An expert of its own, `own()`, always on. */
export const expert = (items: string, signature: string): string => on("always own()", `expert own() {\n  ${items}\n  ${signature}\n}\n`);

/**
 * What an expert computes for one token: `body` is of x [in] and a vector l [in] that is 1, and its result is summed over `in`
 * and added to every output. `expected` is of the token's numbers.
 */
export const computes = (body: string, expected: (x: readonly number[]) => number): Case =>
  does(`${body} as it is written`, async () => {
    const sizes = { in: 4, out: 3, sample: 2, position: 3 };
    const text = `expert own() {\n  weight l [in] = ones()\n  weight m [out] = ones()\n  (x [in]) -> [out] {\n    ${body.split("\n").join("\n    ")}\n  }\n}\n`;
    const made = await site("always own()", sizes, numbers(17), text);
    const one = { l: new Array(4).fill(1) as number[], m: new Array(3).fill(1) as number[], "base.weight": new Array(12).fill(0) as number[] };
    const y = rows(run(made, "output", one), sizes.out);
    rows(valuesOf(made, "x"), sizes.in).forEach((x, t) => range(3).forEach((o) => near(y[t]![o]!, expected(x))));
  });
