import { proveMerge, type Fixed } from "../../check/index.ts";
import { compileAdapter } from "../../compiler/index.ts";
import { DiagnosticError, didYouMean, fail } from "../../diagnostics/index.ts";
import { openAdapter } from "../../runtime/adapter-files.ts";
import { fieldFault } from "../../runtime/data/examples.ts";
import { NodeHost } from "../../runtime/files/index.ts";
import { adapterMisfits } from "../../runtime/weights.ts";
import { chooseTarget, requireFolder, type Chosen, type RunOptions } from "../load.ts";
import { Interrupt } from "../interrupt.ts";
import { openBase, requireFloats, writeChanged } from "../merge/checkpoint.ts";
import { mergedLinear } from "../merge/matrix.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options extends RunOptions {
  readonly out: string;
  readonly kind?: string;
  readonly field?: Readonly<Record<string, number>>;
}

/**
 * `moec merge DIR -o OUT`: the base with the adapter in its weights, as a checkpoint of its own. What cannot be merged is
 * refused from the spec alone, before a weight is read.
 */
export async function merge(terminal: Terminal, target: string, options: Options): Promise<number> {
  await requireEmpty(options.out);
  const { chosen, saved } = await chooseTarget(terminal, target, options);
  const { adapter, program } = chosen;
  const { context } = program.checked;
  const fixed = fixedBy(chosen, options);
  const proof = proveMerge(context, adapter.plan, adapter.base.model, fixed);
  if (proof.faults.length > 0) throw new DiagnosticError(proof.faults);
  refuseIdle(chosen, options, proof.looksAt);
  if (saved === undefined) return fail("MOE5316", `${target} is a spec: there is no trained adapter to merge`, { help: "name the folder that `moec train` made, or give a saved adapter with --weights" });

  const host = new NodeHost();
  const { manifest } = await compileAdapter(program, adapter);
  const file = await openAdapter(host, saved, manifest, (notice) => terminal.show([notice]));
  const misfits = adapterMisfits(manifest, file);
  if (misfits.length > 0) throw new DiagnosticError(misfits);
  const base = await openBase(host, chosen.base);

  // Of the base's own tensors those that were trained are the adapter's.
  const trained = adapter.base.model.nodes.filter((n) => adapter.plan.unfrozen.has(n.path.join("."))).flatMap((n) => n.tensors.map((t) => t.name));
  const own = new Set(trained);
  const values = async (name: string): Promise<Float64Array> => Float64Array.from(await file.read(name));
  const read = (name: string): Promise<Float64Array> => (base.tensors.has(name) && !own.has(name) ? base.read(name) : values(name));
  const changes = new Map<string, () => Promise<ArrayLike<number>>>(trained.map((name) => [name, () => values(name)]));
  const progress = new Progress(terminal, proof.sites.length);
  for (const site of proof.sites) {
    const linear = mergedLinear(context, site, fixed, (slice) => read(slice.name));
    changes.set(site.weight.name, async () => progress.after(await linear.weight()));
    if (site.bias) changes.set(site.bias.name, linear.bias);
  }
  requireFloats(base, changes.keys());
  const stop = new Interrupt(terminal, "matrix");
  const files = await writeChanged(host, base, changes, options.out, stop.signal)
    .catch((error: unknown) => {
      if (error === stop.signal.reason) return undefined;
      throw error;
    })
    .finally(() => stop.dispose());
  if (!files) {
    terminal.say("stopped; nothing was written");
    return exitCodes.signal(stop.received!);
  }

  if (terminal.json) {
    terminal.printJson({
      out: options.out,
      adapter: adapter.name,
      base: chosen.base,
      kind: options.kind ?? null,
      fields: options.field ?? {},
      sites: proof.sites.map((s) => s.path),
      tensors: [...changes.keys()],
      files,
    });
  } else terminal.print(options.out);
  terminal.say(`${terminal.color.green("done")}: ${changes.size} of ${base.tensors.size} tensors of ${chosen.base} are ${adapter.name}'s${options.kind === undefined ? "" : `, for ${options.kind}`}`);
  return exitCodes.fine;
}

/** Refuses a place that holds something, before any work is done. MOE5108 a file, MOE9008 a folder that is not empty. */
async function requireEmpty(out: string): Promise<void> {
  await requireFolder(out);
  const host = new NodeHost();
  const there = (await host.stat(out)) ? await host.list(out) : [];
  if (there.length > 0) fail("MOE9008", `${out} holds something already: ${there.slice(0, 5).join(", ")}${there.length > 5 ? ", …" : ""}`, { help: "nothing was written; a merged checkpoint gets a folder of its own" });
}

/** `--kind` and `--field` as the adapter knows them. MOE9001 what it does not know, MOE5336 a number that the field does not take. */
function fixedBy({ adapter }: Chosen, { kind, field = {} }: Options): Fixed {
  const { kinds, fields } = adapter.plan;
  if (kind !== undefined && !kinds.includes(kind)) {
    fail("MOE9001", `${adapter.name} knows no kind ${JSON.stringify(kind)}`, { help: didYouMean(kind, kinds) ?? (kinds.length ? `it knows: ${kinds.join(", ")}` : "it lists none") });
  }
  const numbers = new Map<string, number>();
  for (const [name, value] of Object.entries(field)) {
    const known = fields.find((f) => f.name === name);
    const names = fields.map((f) => f.name);
    if (!known) return fail("MOE9001", `${adapter.name} declares no field ${JSON.stringify(name)}`, { help: didYouMean(name, names) ?? (names.length ? `it declares: ${names.join(", ")}` : "it declares none") });
    const fault = fieldFault(known, value);
    if (fault) fail("MOE5336", `${fault}.`);
    numbers.set(name, value);
  }
  return { fields: numbers, ...(kind === undefined ? {} : { kind: kinds.indexOf(kind) }) };
}

/** Refuses what would change nothing: who fixes a kind expects it to matter. MOE9001 */
function refuseIdle({ adapter }: Chosen, options: Options, looksAt: { readonly kind: boolean; readonly fields: ReadonlySet<string> }): void {
  if (options.kind !== undefined && !looksAt.kind) fail("MOE9001", `no gate of ${adapter.name} depends on the kind of data: --kind would change nothing`, { help: "leave it out" });
  for (const name of Object.keys(options.field ?? {})) {
    if (!looksAt.fields.has(name)) fail("MOE9001", `no gate of ${adapter.name} depends on the field "${name}": --field would change nothing`, { help: "leave it out" });
  }
}

/** A word now and then while a large base is merged. */
class Progress {
  readonly #terminal: Terminal;
  readonly #total: number;
  #done = 0;
  #last = performance.now();

  constructor(terminal: Terminal, total: number) {
    this.#terminal = terminal;
    this.#total = total;
  }

  after<T>(made: T): T {
    this.#done++;
    const now = performance.now();
    if (now - this.#last > 5000) {
      this.#last = now;
      this.#terminal.say(`${this.#done} of ${this.#total} linears merged`);
    }
    return made;
  }
}
