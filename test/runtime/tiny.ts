/**
 * A compiled adapter written by hand, so that the runtime is tested without the compiler: a residual stack of two
 * linear layers over token embeddings, each with a mixture of two groups of low-rank experts behind a softmax router.
 * The backward pass is written by hand (a test holds it against finite differences); AdamW is written from the paper.
 */
import type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D } from "@tensorflow/tfjs-core";
import type { Manifest, ManifestWeight } from "../../src/formats/manifest.ts";
import { encodeSafetensors } from "../../src/formats/safetensors.ts";
import { randomNormal, randomUniform } from "../../src/runtime/backends/random.ts";
import type { Example } from "../../src/runtime/data/examples.ts";
import type { BatchInput, CompiledProgram, Entries, Tf, WeightStore } from "../../src/runtime/program.ts";
import { tensorFileOf, type NamedTensor, type TensorFile } from "../../src/runtime/weights.ts";


export const VOCAB = 11;
export const HIDDEN = 6;
const RANK = 2;
const LAYERS = 2;
const EXPERTS = 3; // knowledge: experts 0 and 1; skill: expert 2
const site = (layer: number): string => `layers.${layer}.proj`;
const layers = Array.from({ length: LAYERS }, (_, i) => i);

const weights: readonly ManifestWeight[] = [
  { name: "embed", axes: ["vocab", "hidden"], shape: [VOCAB, HIDDEN], trainable: false, decay: false, initializer: { kind: "checkpoint" }, sources: [{ tensor: "model.embed.weight", order: ["vocab", "hidden"] }] },
  // The head is stored [vocab, hidden] and wanted the other way round.
  { name: "head", axes: ["hidden", "vocab"], shape: [HIDDEN, VOCAB], trainable: false, decay: false, initializer: { kind: "checkpoint" }, sources: [{ tensor: "lm_head.weight", order: ["vocab", "hidden"] }] },
  { name: "layers.proj", axes: ["in", "out"], shape: [HIDDEN, HIDDEN], count: LAYERS, trainable: false, decay: false, initializer: { kind: "checkpoint" }, sources: layers.map((i) => ({ tensor: `model.${site(i)}.weight`, order: ["out", "in"] })) },
  { name: "layers.proj.flipped", axes: ["out", "in"], shape: [HIDDEN, HIDDEN], count: LAYERS, trainable: false, decay: false, initializer: { kind: "checkpoint" }, sources: layers.map((i) => ({ tensor: `model.${site(i)}.weight`, order: ["out", "in"] })), layoutOf: "layers.proj" },
  // Unfrozen: trained, and saved under the checkpoint's own name.
  { name: "bias", axes: ["vocab"], shape: [VOCAB], trainable: true, decay: true, initializer: { kind: "checkpoint" }, sources: [{ tensor: "lm_head.bias", order: ["vocab"] }] },
  ...(["A", "B"] as const).map((factor): ManifestWeight => ({
    name: `layers.proj.${factor}`,
    axes: factor === "A" ? ["in", "expert", "rank"] : ["expert", "rank", "out"],
    shape: factor === "A" ? [HIDDEN, EXPERTS, RANK] : [EXPERTS, RANK, HIDDEN],
    count: LAYERS,
    trainable: true,
    decay: true,
    initializer: factor === "A" ? { kind: "kaiming_uniform", a: Math.sqrt(5), fanIn: HIDDEN } : { kind: "zeros" },
    sources: layers.map((i) => ({
      order: factor === "A" ? ["rank", "in"] : ["out", "rank"],
      adapter: { names: ["knowledge.0", "knowledge.1", "skill.0"].map((e) => `${site(i)}.${e}.${factor}`), along: "expert" },
    })),
  })),
  { name: "layers.proj.router", axes: ["in", "expert"], shape: [HIDDEN, EXPERTS], count: LAYERS, trainable: true, decay: false, initializer: { kind: "normal", std: 0.5 }, sources: layers.map((i) => ({ order: ["expert", "in"], adapter: { names: [`${site(i)}.router.W`] } })) },
];

export const manifest: Manifest = {
  format: "moec/1",
  moec: "0.1.0",
  adapter: "Tiny",
  spec: { file: "tiny.moe", sha256: "0".repeat(64) },
  base: { model: "stack", path: "models/stack", config: { vocab_size: VOCAB, hidden_size: HIDDEN }, vocabulary: VOCAB, context: 16 },
  groups: [
    { name: "knowledge", experts: 2 },
    { name: "skill", experts: 1 },
  ],
  kinds: ["world", "task"],
  sites: layers.map((layer) => ({
    path: site(layer),
    layer,
    in: HIDDEN,
    out: HIDDEN,
    experts: [
      { group: "knowledge", kind: "lora", count: 2, always: false },
      { group: "skill", kind: "lora", count: 1, always: false },
    ],
    trainable: 0,
  })),
  weights,
  train: {
    epochs: 3,
    batch: 4,
    accumulate: 2,
    length: 16,
    seed: 7,
    clip: 0,
    optimizer: { name: "adamw", lr: 0.05, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 },
    schedule: { name: "linear", warmup: 0.1 },
  },
};

/** The base's tensors, as a checkpoint holds them. */
export function baseTensors(): NamedTensor[] {
  const tensor = (name: string, shape: number[], stream: number): NamedTensor => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    randomNormal(data, 99, 0, stream);
    return { name, shape, data: data.map((x) => x * 0.7) };
  };
  return [
    tensor("model.embed.weight", [VOCAB, HIDDEN], 1),
    tensor("lm_head.weight", [VOCAB, HIDDEN], 2),
    tensor("lm_head.bias", [VOCAB], 3),
    ...layers.map((i) => tensor(`model.${site(i)}.weight`, [HIDDEN, HIDDEN], 10 + i)),
  ];
}

export const baseFile = (): TensorFile => tensorFileOf("models/stack", baseTensors());

/** The files of the base's folder. */
export function baseFolder(folder = "models/stack"): [string, Uint8Array | string][] {
  return [
    [`${folder}/config.json`, JSON.stringify({ vocab_size: VOCAB, hidden_size: HIDDEN, eos_token_id: 10 })],
    [`${folder}/model.safetensors`, encodeSafetensors(baseTensors())],
  ];
}

/** Ten examples: [9, s, s + 5, end], of which s and 9 are the prompt. Each token follows from the one before it. */
export function examples(): Example[] {
  return Array.from({ length: 10 }, (_, row) => {
    const s = row % 4;
    const kind = row === 9 ? undefined : s % 2 === 0 ? "world" : "task";
    return { ids: Int32Array.from([9, s, s + 5, 10]), completionStart: 2, row, ...(kind === undefined ? {} : { kind }) };
  });
}

const one = (store: WeightStore, name: string): Tensor => store[name] as Tensor;
const list = (store: WeightStore, name: string): readonly Tensor[] => store[name] as readonly Tensor[];

/** What the backward pass needs of one layer; all but `keep` [rows, …]. */
interface Kept {
  readonly x: Tensor2D;
  readonly seen: Tensor2D;
  readonly gates: Tensor2D;
  readonly a: Tensor2D;
  readonly gated: Tensor2D;
  readonly t: Tensor2D;
}

interface Forward {
  readonly logits: Tensor3D;
  readonly usage: Tensor2D;
  readonly balance: Scalar;
  readonly kept: readonly Kept[];
  /** [rows, hidden]: what the head sees. */
  readonly last: Tensor2D;
}

/** [expert, expert*rank]: repeats a gate for each of its expert's ranks. */
const repeat = (tf: Tf): Tensor2D =>
  tf.tensor2d(Array.from({ length: EXPERTS }, (_, e) => Array.from({ length: EXPERTS * RANK }, (_, k) => (Math.floor(k / RANK) === e ? 1 : 0))));

const flatA = (tf: Tf, w: WeightStore, layer: number): Tensor2D => tf.reshape(list(w, "layers.proj.A")[layer]!, [HIDDEN, EXPERTS * RANK]);
const flatB = (tf: Tf, w: WeightStore, layer: number): Tensor2D => tf.reshape(list(w, "layers.proj.B")[layer]!, [EXPERTS * RANK, HIDDEN]);

/** `keep` multiplies the experts' input: the dropout mask of a micro-batch, [rows, hidden]. */
function forward(tf: Tf, w: WeightStore, input: Pick<BatchInput, "tokens" | "mask">, keep?: Tensor2D): Forward {
  const [samples, positions] = input.tokens.shape as [number, number];
  const rows = samples * positions;
  const kept: Kept[] = [];
  let x: Tensor2D = tf.matMul(tf.reshape(tf.cast(tf.oneHot(input.tokens, VOCAB), "float32"), [rows, VOCAB]) as Tensor2D, one(w, "embed") as Tensor2D);
  for (const layer of layers) {
    const gates: Tensor2D = tf.softmax(tf.matMul(x, list(w, "layers.proj.router")[layer] as Tensor2D) as Tensor2D);
    const seen = keep === undefined ? x : (tf.mul(x, keep) as Tensor2D);
    const a = tf.matMul(seen, flatA(tf, w, layer)) as Tensor2D;
    const gated = tf.mul(a, tf.matMul(gates, repeat(tf))) as Tensor2D;
    const t = tf.tanh(tf.add(tf.matMul(x, list(w, "layers.proj")[layer] as Tensor2D), tf.matMul(gated, flatB(tf, w, layer)))) as Tensor2D;
    kept.push({ x, seen, gates, a, gated, t });
    x = tf.add(x, t) as Tensor2D;
  }
  const logits = tf.reshape(tf.add(tf.matMul(x, one(w, "head") as Tensor2D), one(w, "bias")), [samples, positions, VOCAB]) as Tensor3D;
  const all = tf.reshape(tf.div(tf.addN(kept.map((k) => k.gates)), LAYERS), [samples, positions, EXPERTS]);
  const expert = tf.sum(tf.mul(all, tf.expandDims(share(tf, input), 2)), 1); // [sample, expert]
  const usage = tf.matMul(expert as Tensor2D, tf.tensor2d(GROUP_OF)) as Tensor2D;
  const balance = tf.mul(0.1, tf.mean(tf.square(tf.sub(usage, 0.5)))) as Scalar;
  return { logits, usage, balance, kept, last: x };
}

/** [expert, group]: 1 where the expert is the group's. */
const GROUP_OF = [[1, 0], [1, 0], [0, 1]];

/** [sample, position]: a real token's weight in its sample's mean. */
const share = (tf: Tf, input: Pick<BatchInput, "mask">): Tensor2D => tf.div(input.mask, tf.sum(input.mask, 1, true));

/** The derivative of lossScale * (summed nll) + balanceScale * balance by every trainable weight. */
function backward(tf: Tf, w: WeightStore, input: BatchInput, f: Forward, keep: Tensor2D, scale: { loss: number; balance: number }): WeightStore {
  const [samples, positions] = input.tokens.shape as [number, number];
  const rows = samples * positions;
  const hot = tf.cast(tf.oneHot(input.targets, VOCAB), "float32");
  const counted = tf.expandDims(tf.mul(input.lossMask, scale.loss), 2);
  const dLogits = tf.reshape(tf.mul(tf.sub(tf.softmax(f.logits), hot), counted), [rows, VOCAB]) as Tensor2D;
  const dUsage = tf.mul(tf.sub(f.usage, 0.5), (0.2 * scale.balance) / (samples * 2)) as Tensor2D;
  const dExpert = tf.matMul(dUsage, tf.tensor2d(GROUP_OF), false, true); // [sample, expert]
  const dGatesOfBalance = tf.reshape(tf.mul(tf.expandDims(dExpert, 1), tf.expandDims(tf.div(share(tf, input), LAYERS), 2)), [rows, EXPERTS]) as Tensor2D;
  const dA: Tensor[] = [];
  const dB: Tensor[] = [];
  const dRouter: Tensor[] = [];
  let dx = tf.matMul(dLogits, one(w, "head") as Tensor2D, false, true);
  for (const layer of [...layers].reverse()) {
    const { x, seen, gates, a, gated, t } = f.kept[layer]!;
    const dz = tf.mul(dx, tf.sub(1, tf.square(t))) as Tensor2D;
    const dGated = tf.matMul(dz, flatB(tf, w, layer), false, true);
    dB[layer] = tf.reshape(tf.matMul(gated, dz, true, false), [EXPERTS, RANK, HIDDEN]);
    const da = tf.mul(dGated, tf.matMul(gates, repeat(tf))) as Tensor2D;
    dA[layer] = tf.reshape(tf.matMul(seen, da, true, false), [HIDDEN, EXPERTS, RANK]);
    const dGates = tf.add(tf.matMul(tf.mul(dGated, a) as Tensor2D, repeat(tf), false, true), dGatesOfBalance) as Tensor2D;
    const dScores = tf.mul(gates, tf.sub(dGates, tf.sum(tf.mul(gates, dGates), 1, true))) as Tensor2D;
    dRouter[layer] = tf.matMul(x, dScores, true, false);
    dx = tf.addN([
      dx,
      tf.matMul(dz, list(w, "layers.proj")[layer] as Tensor2D, false, true),
      tf.mul(tf.matMul(da, flatA(tf, w, layer), false, true), keep) as Tensor2D,
      tf.matMul(dScores, list(w, "layers.proj.router")[layer] as Tensor2D, false, true),
    ]);
  }
  return { bias: tf.sum(dLogits, 0), "layers.proj.A": dA, "layers.proj.B": dB, "layers.proj.router": dRouter };
}

/** [sample, position]: negative log-likelihood of the targets that count. */
function nll(tf: Tf, logits: Tensor3D, input: BatchInput): Tensor2D {
  const hot = tf.cast(tf.oneHot(input.targets, VOCAB), "float32");
  const max = tf.max(logits, 2, true);
  const shifted = tf.sub(logits, max);
  const logZ = tf.log(tf.sum(tf.exp(shifted), 2));
  return tf.mul(tf.sub(logZ, tf.sum(tf.mul(shifted, hot), 2)), input.lossMask) as Tensor2D;
}

/** tf.tidy keeps what nested objects hold, though its type speaks of plain containers. */
const tidy = <T>(tf: Tf, work: () => T): T => tf.tidy(work as never) as T;

const names = weights.filter((w) => w.trainable).map((w) => w.name);
const flatten = (store: WeightStore): Tensor[] => names.flatMap((n) => store[n] as Tensor | Tensor[]);
function unflatten(tensors: readonly Tensor[]): WeightStore {
  let at = 0;
  return Object.fromEntries(names.map((n) => [n, n.startsWith("layers.") ? layers.map(() => tensors[at++]!) : tensors[at++]!]));
}

export interface TinyOptions {
  /** Makes the gradient call of this draw give NaN as its loss. */
  readonly poisonDraw?: number;
  readonly manifest?: Manifest;
  /** Told the host numbers of every gradient call. */
  readonly onGradients?: (host: Parameters<Entries["gradients"]>[2]) => void;
}

export function tinyProgram(options: TinyOptions = {}): CompiledProgram {
  const own = options.manifest ?? manifest;
  const { optimizer, schedule } = own.train;
  return {
    manifest: own,
    create(tf): Entries {
      const constant = tf.scalar(1); // something that dispose must free
      return {
        logits: (w, input) => tidy(tf, () => ({ logits: forward(tf, w, input).logits })),
        evaluate: (w, input) =>
          tidy(tf, () => {
            const { logits, usage, balance } = forward(tf, w, input);
            const right = tf.cast(tf.equal(tf.argMax(logits, 2), input.targets), "float32");
            return {
              loss: tf.sum(nll(tf, logits, input), 1) as Tensor1D,
              count: tf.sum(input.lossMask, 1) as Tensor1D,
              hits: tf.sum(tf.mul(right, input.lossMask), 1) as Tensor1D,
              balance,
              usage,
            };
          }),
        gradients: (w, input, host) =>
          tidy(tf, () => {
            options.onGradients?.(host);
            const [samples, positions] = input.tokens.shape as [number, number];
            const noise = new Float32Array(samples * positions * HIDDEN);
            randomUniform(noise, host.seed, host.draw, 1);
            const keep = tf.tensor2d(noise.map((u) => (u < 0.1 ? 0 : 1 / 0.9)), [samples * positions, HIDDEN]);
            const f = forward(tf, w, input, keep);
            const scale = options.poisonDraw === host.draw ? NaN : host.lossScale;
            return {
              loss: tf.mul(tf.sum(nll(tf, f.logits, input)), scale) as Scalar,
              balance: tf.mul(f.balance, host.balanceScale) as Scalar,
              usage: f.usage,
              gradients: backward(tf, w, input, f, keep, { loss: scale, balance: host.balanceScale }),
            };
          }),
        accumulate: (a, b) => tidy(tf, () => unflatten(flatten(a).map((t, i) => tf.add(t, flatten(b)[i]!)))),
        update: (w, g, m1, m2, { step, steps }) =>
          tidy(tf, () => {
            const warmup = Math.ceil(schedule.warmup * steps);
            const factor = step < warmup ? (step + 1) / warmup : (steps - step) / Math.max(1, steps - warmup);
            const lr = optimizer.lr * factor;
            const grads = flatten(g);
            const first = flatten(m1).map((m, i) => tf.add(tf.mul(m, optimizer.beta1), tf.mul(grads[i]!, 1 - optimizer.beta1)));
            const second = flatten(m2).map((v, i) => tf.add(tf.mul(v, optimizer.beta2), tf.mul(tf.square(grads[i]!), 1 - optimizer.beta2)));
            const next = flatten(w).map((p, i) => {
              const mHat = tf.div(first[i]!, 1 - optimizer.beta1 ** (step + 1));
              const vHat = tf.div(second[i]!, 1 - optimizer.beta2 ** (step + 1));
              return tf.sub(tf.mul(p, 1 - lr * optimizer.weightDecay), tf.mul(lr, tf.div(mHat, tf.add(tf.sqrt(vHat), optimizer.eps))));
            });
            const norm = tf.sqrt(tf.addN(grads.map((t) => tf.sum(tf.square(t))))) as Scalar;
            return { weights: unflatten(next), moment1: unflatten(first), moment2: unflatten(second), lr: tf.scalar(lr), norm };
          }),
        dispose: () => constant.dispose(),
      };
    },
  };
}
