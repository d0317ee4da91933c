/**
 * How a step's time grows: with the number of experts and of tokens for one adapted linear, with depth for a whole model;
 * and how the compiler's time grows with depth. All sizes of one kind take turns in one run.
 *
 *     npm run bench -- growth [--backend wasm] [--rounds 5]
 */
import { chooseAdapter, compileAdapter, printProgram } from "../src/compiler/index.ts";
import { startBackend, type Backend, type BackendName } from "../src/runtime/index.ts";
import { racing } from "./linear.ts";
import { interleave, machine, type Measured, type Side } from "./measure.ts";
import { narrow } from "./models.ts";
import { frozen, generated, loop, makeData, type LinearSizes } from "./sides.ts";
import { programFor, race, randomSetting, stepNames } from "./step.ts";
import { amount, type Row, type Rows } from "./table.ts";

/** One curve: what a side takes at each size. */
export interface Curve {
  readonly name: string;
  readonly points: readonly (Measured & { readonly x: number })[];
}

/** Curves over one axis. */
export interface Family {
  readonly title: string;
  /** What grows. */
  readonly axis: string;
  readonly curves: readonly Curve[];
}

export interface GrowthSizes {
  readonly experts: readonly number[];
  readonly tokens: readonly number[];
  readonly layers: readonly number[];
  readonly in: number;
  readonly out: number;
}

export const fullGrowth: GrowthSizes = { experts: [1, 2, 4, 8, 16, 32, 64], tokens: [128, 256, 512, 1024, 2048, 4096], layers: [2, 4, 8, 16, 32, 64], in: 1024, out: 2752 };
export const quickGrowth: GrowthSizes = { experts: [1, 8, 64], tokens: [128, 512], layers: [2, 8, 32], in: 256, out: 688 };

export interface GrowthResult extends Rows {
  readonly device: string;
  readonly sizes: GrowthSizes;
  readonly machine: ReturnType<typeof machine>;
  readonly families: readonly Family[];
  /** Numbers of experts at which the loop was left out, since it does not fit. */
  readonly loopTooLarge: readonly number[];
}

/** A loop holds nine copies of the output for each expert at its peak (`memory` measures it), and wasm addresses 4 GB. */
function loopFits(backend: Backend, s: LinearSizes): boolean {
  return backend.name !== "wasm" || 9 * 4 * s.samples * s.positions * s.out * s.experts < 2 ** 31;
}

/** Sides by curve and size, raced together. */
class Grid {
  readonly #sides: (Side & { readonly curve: string; readonly x: number })[] = [];

  add(curve: string, x: number, side: Side): void {
    this.#sides.push({ ...side, curve, x });
  }

  async race(title: string, axis: string, rounds: number, warmup: number): Promise<Family> {
    const measured = await interleave(this.#sides, rounds, warmup);
    const names = [...new Set(this.#sides.map((s) => s.curve))];
    return { title, axis, curves: names.map((name) => ({ name, points: this.#sides.flatMap((s, i) => (s.curve === name ? [{ ...measured[i]!, x: s.x }] : [])) })) };
  }
}

const curveNames = { moec: "moec", loop: "loop over experts, tfjs gradients", frozen: "frozen linear, explicit", check: "moec check", build: "moec build", step: "moec, whole step", base: "base, forward and backward" } as const;

export async function benchGrowth(backendName: BackendName, sizes: GrowthSizes, rounds: number): Promise<GrowthResult> {
  const backend = await startBackend(backendName);
  const linear = (tokens: number, experts: number): LinearSizes => ({ samples: 8, positions: tokens / 8, in: sizes.in, out: sizes.out, experts, rank: 4 });
  // The loop at many experts takes a minute a turn on wasm: fewer turns.
  const mixtures = sizes.experts.map((e) => linear(1024, e));
  const experts = await overExperts(backend, mixtures, Math.min(rounds, 3));
  const tokens = await overTokens(backend, sizes.tokens.map((t) => linear(t, 8)), rounds);
  const compiler = await compilingOverLayers(sizes.layers, rounds);
  const steps = await steppingOverLayers(backend, sizes.layers, rounds);
  const rows = [
    ends(experts, curveNames.moec, { most: 1.6 }),
    ends(experts, curveNames.loop),
    ends(tokens, curveNames.moec),
    ends(tokens, curveNames.frozen),
    ends(compiler, curveNames.build, { most: 1.5 }),
    ends(steps, curveNames.step),
    ends(steps, curveNames.base),
  ];
  return { backend: backend.name, device: backend.device, sizes, machine: machine(), families: [experts, tokens, compiler, steps], loopTooLarge: mixtures.filter((s) => !loopFits(backend, s)).map((s) => s.experts), rows };
}

/** A curve's last size against its first. */
function ends({ title, axis, curves }: Family, name: string, target?: Row["target"]): Row {
  const points = curves.find((c) => c.name === name)!.points;
  const [first, last] = [points[0]!, points.at(-1)!];
  return { what: `${title}: ${name}, ${axis} ${last.x}`, unit: "ms", ours: amount(last), theirs: { ...amount(first), name: `itself, ${axis} ${first.x}` }, ...(target ? { target } : {}) };
}

async function overExperts(backend: Backend, all: readonly LinearSizes[], rounds: number): Promise<Family> {
  const grid = new Grid();
  for (const s of all) {
    const data = makeData(backend.tf, s);
    grid.add(curveNames.moec, s.experts, racing(backend, `moec, E=${s.experts}`, await generated(backend, s, data, "loramoe")));
    if (loopFits(backend, s)) grid.add(curveNames.loop, s.experts, racing(backend, `loop, E=${s.experts}`, loop(backend.tf, s, data)));
  }
  return grid.race("experts of one linear, T=1024", "E =", rounds, 1);
}

async function overTokens(backend: Backend, all: readonly LinearSizes[], rounds: number): Promise<Family> {
  const grid = new Grid();
  for (const s of all) {
    const T = s.samples * s.positions;
    const data = makeData(backend.tf, s);
    grid.add(curveNames.moec, T, racing(backend, `moec, T=${T}`, await generated(backend, s, data, "loramoe")));
    grid.add(curveNames.frozen, T, racing(backend, `frozen, T=${T}`, frozen(backend.tf, data)));
  }
  return grid.race("tokens through one linear, E=8", "T =", rounds, 1);
}

/** From a spec's text and a checkpoint's header to the program's text, as for `moec train`. */
async function compilingOverLayers(layers: readonly number[], rounds: number): Promise<Family> {
  const grid = new Grid();
  for (const n of layers) {
    const { base } = randomSetting(`narrow-${n}`, narrow(n), 1, 1);
    grid.add(curveNames.check, n, { name: `check, ${n} layers`, run: async () => void (await programFor(base)) });
    const build = async (): Promise<void> => {
      const program = await programFor(base);
      await printProgram(await compileAdapter(program, chooseAdapter(program, undefined)), { types: false, format: false, form: "function" });
    };
    grid.add(curveNames.build, n, { name: `build, ${n} layers`, run: build });
  }
  return grid.race("compiling a model", "layers =", rounds, 3);
}

async function steppingOverLayers(backend: Backend, layers: readonly number[], rounds: number): Promise<Family> {
  const grid = new Grid();
  for (const n of layers) {
    const { sides } = await race(backend, randomSetting(`narrow-${n}`, narrow(n), 4, 32));
    grid.add(curveNames.step, n, sides.find((s) => s.name === stepNames.step)!);
    grid.add(curveNames.base, n, sides.find((s) => s.name === stepNames.base)!);
  }
  return grid.race("a step of a narrow model", "layers =", rounds, 1);
}
