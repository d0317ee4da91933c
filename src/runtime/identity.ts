import type { Manifest, ManifestWeight } from "../formats/manifest.ts";
import type { Example } from "./data/examples.ts";

/** What makes a run this run: where any of it differs, a resumed run would give other numbers. */
export interface RunIdentity {
  readonly adapter: string;
  /** The compiler's version: another may compute the same in another order. */
  readonly moec: string;
  /** SHA-256 of the spec's text. */
  readonly spec: string;
  /** SHA-256 of what the compiler made of it: base, groups, kinds, sites, weights. */
  readonly program: string;
  /** SHA-256 of the examples as token ids, so a changed tokenizer or length shows too. */
  readonly data: string;
  readonly examples: number;
  /** Flat: "batch", "optimizer.lr", …; with the seed and the steps that the run really uses. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}

export async function identityOf(manifest: Manifest, examples: readonly Example[], run: { readonly seed: number; readonly steps: number }): Promise<RunIdentity> {
  const { base, groups, kinds, fields, sites, weights } = manifest;
  const { path: _, ...model } = base;
  const { data: _data, test: _test, steps: _steps, epochs: _epochs, seed: _seed, memory: _memory, ...settings } = manifest.train;
  return {
    adapter: manifest.adapter,
    moec: manifest.moec,
    spec: manifest.spec.sha256,
    program: await sha256(encode({ model, groups, kinds, ...(fields ? { fields } : {}), sites, weights: weights.filter((w) => w.layoutOf === undefined).map(inFileOrder) })),
    data: await digest(examples),
    examples: examples.length,
    // Epochs are a way to say steps; what is kept and what is computed again gives the same numbers.
    settings: flatten({ ...settings, seed: run.seed, steps: run.steps }),
  };
}

/** A weight without the order of its axes on the device: another backend may lay it out otherwise, and computes the same. */
function inFileOrder(weight: ManifestWeight): object {
  const { axes, shape, ...rest } = weight;
  return { ...rest, sizes: Object.fromEntries(axes.map((name, i) => [name, shape[i]] as const).sort(([a], [b]) => (a < b ? -1 : 1))) };
}

/** What differs between a checkpoint's run and the one that wants to go on from it, in words; empty where nothing does. */
export function differences(then: RunIdentity, now: RunIdentity): string[] {
  const found: string[] = [];
  if (then.adapter !== now.adapter) found.push(`the adapter was ${then.adapter}, now it is ${now.adapter}`);
  if (then.moec !== now.moec) found.push(`it was compiled by moec ${then.moec}, now by ${now.moec}`);
  if (then.spec !== now.spec) found.push("the spec's text has changed");
  else if (then.program !== now.program) found.push("the base's configuration or the compiled program has changed, though the spec has not");
  if (then.examples !== now.examples) found.push(`the data had ${then.examples} examples, now it has ${now.examples}`);
  else if (then.data !== now.data) found.push("the data's examples, or the tokens made of them, have changed");
  for (const key of new Set([...Object.keys(then.settings), ...Object.keys(now.settings)])) {
    const [a, b] = [then.settings[key], now.settings[key]];
    if (a !== b) found.push(`${key} was ${a ?? "not set"}, now it is ${b ?? "not set"}`);
  }
  return found;
}

async function digest(examples: readonly Example[]): Promise<string> {
  // In pieces, so that a large file is never one huge string: each piece's digest goes into the next.
  let chain = "";
  for (let start = 0; start < examples.length; start += 4096) {
    const piece = examples.slice(start, start + 4096).map((e) => [Array.from(e.ids), e.completionStart, e.kind ?? null, ...(e.fields ? [e.fields] : [])]);
    chain = await sha256(encode([chain, piece]));
  }
  return chain;
}

const encode = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
}

function flatten(value: object, prefix = ""): Record<string, string | number | boolean> {
  const flat: Record<string, string | number | boolean> = {};
  for (const [key, inner] of Object.entries(value) as [string, unknown][]) {
    if (typeof inner === "object" && inner !== null) Object.assign(flat, flatten(inner, `${prefix}${key}.`));
    else if (inner !== undefined) flat[prefix + key] = inner as string | number | boolean;
  }
  return flat;
}
