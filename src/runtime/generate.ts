import type { Tensor2D } from "@tensorflow/tfjs-core";
import { fail } from "../diagnostics/index.ts";
import { randomUniform } from "./backends/random.ts";
import { widthsFor } from "./batch.ts";
import { fieldFault } from "./data/examples.ts";
import type { Model } from "./store.ts";

export interface SampleOptions {
  /** At most so many new tokens; 128 where it is not given. */
  readonly maxTokens?: number;
  /** 0, the default, takes the most likely token; above, probabilities are those of logits / temperature. */
  readonly temperature?: number;
  /** Samples among the fewest tokens that together have this probability (Holtzman et al. 2020). 1, the default: all. */
  readonly topP?: number;
  /** The same seed and options give the same text on one backend. */
  readonly seed?: number;
  /** Tokens that end the text; they are not part of it. */
  readonly stop?: Iterable<number>;
  /** The kind of data that the text is, for adapters that look at it. */
  readonly kind?: string;
  /** What the adapter's fields are for this text: needed where it declares any (MOE5336). */
  readonly fields?: Readonly<Record<string, number>>;
  readonly signal?: AbortSignal;
}

/** Why a text ended. */
export type StopReason = "stop" | "length" | "context" | "aborted";

/**
 * Continues a prompt token by token. Each token runs the model over the whole text so far: there is no cache of keys and
 * values. Ends at a stop token ("stop"), at `maxTokens` ("length"), or where the base's context is full ("context").
 * MOE5330 where the prompt alone fills it, MOE5332 at a token that the base does not have, MOE5335 where it is empty.
 */
export async function* generateTokens(model: Model, prompt: readonly number[], options: SampleOptions = {}): AsyncGenerator<number, StopReason, void> {
  const { manifest, entries, backend } = model;
  const { tf } = backend;
  const { maxTokens = 128, temperature = 0, topP = 1, seed = 0 } = options;
  checkRange("temperature", temperature, temperature >= 0 && Number.isFinite(temperature), "0 or more");
  checkRange("topP", topP, topP > 0 && topP <= 1, "above 0 and at most 1");
  const context = manifest.base.context ?? Infinity;
  if (prompt.length === 0) fail("MOE5335", "The prompt has no tokens, and the tokenizer puts none in front.", { help: "Give it at least one word to go on from." });
  const unknown = prompt.find((id) => id < 0 || id >= manifest.base.vocabulary);
  if (unknown !== undefined) fail("MOE5332", `The prompt holds the token ${unknown}; the base knows 0 to ${manifest.base.vocabulary - 1}.`, { help: "Is tokenizer.json of the same model as the weights?" });
  if (prompt.length >= context) fail("MOE5330", `The prompt has ${prompt.length} tokens, and the base's context is ${context}.`);
  const fields = manifest.fields ?? [];
  for (const field of fields) {
    const value = options.fields && Object.hasOwn(options.fields, field.name) ? options.fields[field.name] : undefined;
    const fault = fieldFault(field, value);
    if (fault) fail("MOE5336", value === undefined ? `${manifest.adapter} looks at the field "${field.name}", and it is not given.` : `${fault}.`, { help: `It is ${field.values === undefined ? "a number" : `a whole number from 0 to ${field.values - 1}`}.` });
  }
  const stop = new Set(options.stop ?? []);
  const longest = Math.min(context, prompt.length + maxTokens);
  const widths = widthsFor(backend.name, longest);
  const kind = options.kind === undefined ? -1 : manifest.kinds.indexOf(options.kind);
  const text = [...prompt];

  for (let made = 0; made < maxTokens; made++) {
    if (options.signal?.aborted) return "aborted";
    if (text.length >= context) return "context";
    const positions = widths.find((w) => w >= text.length) ?? text.length;
    const tokens = new Int32Array(positions);
    tokens.set(text);
    const mask = new Float32Array(positions).fill(1, 0, text.length);
    const given = new Float32Array(positions).fill(1, 0, prompt.length);
    const input = {
      tokens: tf.tensor2d(tokens, [1, positions], "int32"),
      mask: tf.tensor2d(mask, [1, positions]),
      prompt: tf.tensor2d(given, [1, positions]),
      kind: tf.tensor1d([kind], "int32"),
      fields: Object.fromEntries(fields.map(({ name, values }) => [name, tf.tensor1d([options.fields![name]!], values === undefined ? "float32" : "int32")])),
    };
    const { logits } = await entries.logits(model.weights, input);
    const last = tf.slice(logits, [0, text.length - 1, 0], [1, 1, -1]) as unknown as Tensor2D;
    for (const tensor of [input.tokens, input.mask, input.prompt, input.kind, ...Object.values(input.fields), logits]) tensor.dispose();
    let scores: Float32Array;
    try {
      scores = (await backend.read(last)) as Float32Array;
    } finally {
      last.dispose();
    }
    const token = temperature === 0 ? argmax(scores) : sample(scores, temperature, topP, uniform(seed, made));
    if (stop.has(token)) return "stop";
    text.push(token);
    yield token;
  }
  return "length";
}

function checkRange(name: string, value: number, fine: boolean, wanted: string): void {
  if (!fine) throw new RangeError(`${name} must be ${wanted}, not ${value}`);
}

/** The lowest index among the greatest, as everywhere in the project. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The stream of sampling draws; the step is the number of the token. */
const SAMPLING = 2 ** 52 + 2;

function uniform(seed: number, step: number): number {
  const draw = new Float32Array(2);
  randomUniform(draw, seed, step, SAMPLING);
  return draw[0]! + draw[1]! * 2 ** -24;
}

/**
 * Draws an index from softmax(scores / temperature), cut to the smallest set of most likely ones whose probability is at
 * least `topP`. `u` in [0, 1) decides. Ties stand in the order of their indices.
 */
export function sample(scores: Float32Array, temperature: number, topP: number, u: number): number {
  const best = scores[argmax(scores)]!;
  const order = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b);
  const weights = order.map((i) => Math.exp((scores[i]! - best) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  let kept = 0;
  let mass = 0;
  while (kept < weights.length && (kept === 0 || mass < topP * total)) mass += weights[kept++]!;
  let at = u * mass;
  for (let i = 0; i < kept; i++) {
    at -= weights[i]!;
    if (at < 0) return order[i]!;
  }
  return order[kept - 1]!;
}
