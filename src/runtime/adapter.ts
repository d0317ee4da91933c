import { DiagnosticError, fail, type Diagnostic } from "../diagnostics/index.ts";
import { joinPath } from "../formats/host.ts";
import type { Manifest } from "../formats/manifest.ts";
import { decodeText } from "../formats/text.ts";
import { openAdapter, readJson, saveAdapter } from "./adapter-files.ts";
import { startBackend } from "./backends/index.ts";
import type { Backend, BackendName, StartOptions } from "./backends/types.ts";
import { encodeExamples, type Example } from "./data/examples.ts";
import { parseJsonl } from "./data/jsonl.ts";
import { loadTokenizer, type Tokenizer } from "./data/tokenizer.ts";
import { evaluateModel, type EvaluateOptions, type EvaluationReport } from "./evaluate.ts";
import { generateTokens, type SampleOptions, type StopReason } from "./generate.ts";
import type { StepMetrics } from "./metrics.ts";
import type { OutputHost } from "./output.ts";
import { entriesOn, onnxFiles } from "./onnx.ts";
import type { CompiledProgram } from "./program.ts";
import { RunFolder } from "./run-folder.ts";
import { disposeStore, type Model } from "./store.ts";
import { openCheckpoint } from "./tensor-file.ts";
import { trainRun, type TrainEnd, type TrainOptions } from "./train.ts";
import { placeWeights } from "./weights.ts";

interface NoticeOption {
  /** Told what a user should know and need not act on: rows that repeat, prompts that were shortened, an older spec. */
  readonly onNotice?: (notice: Diagnostic) => void;
}

export interface LoadOptions extends StartOptions, NoticeOption {
  /** The base checkpoint's folder. */
  readonly base: string;
  /** A saved adapter's folder, in moec's layout or PEFT's; without one the adapter starts afresh. */
  readonly adapter?: string;
  /** "auto", the default, takes the fastest that works. A started one may be shared by several adapters. */
  readonly backend?: BackendName | "auto" | Backend;
  /** Of the adapter's first values and of training; the spec's where it is not given. */
  readonly seed?: number;
  /** Where files come from and go to; Node's disk where it is not given. */
  readonly host?: OutputHost;
  /** Takes a base that holds NaN or infinities as it is. */
  readonly allowNan?: boolean;
  /** The folder into which `moec build --onnx` wrote the program's models: the backend `onnx` runs them. */
  readonly onnx?: string;
  /** Told of every tensor placed, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** A row of data in a program's own hands. Alpaca's and `messages` forms are as welcome, as in a file. */
export type Row<Kind extends string = string> = { readonly prompt: string; readonly completion: string; readonly kind?: Kind; readonly id?: string | number } | Readonly<Record<string, unknown>>;

/** A JSONL file's path, or rows. */
export type DataSource<Kind extends string = string> = string | readonly Row<Kind>[];

export interface AdapterTrainOptions<Kind extends string = string> extends Omit<TrainOptions, "model" | "examples" | "folder">, NoticeOption {
  /** The spec's own where it is not given, counted from the working directory. */
  readonly data?: DataSource<Kind>;
  /** The run's folder, for metrics and checkpoints; nothing is written without. */
  readonly out?: string;
}

export interface AdapterEvaluateOptions<Kind extends string = string> extends EvaluateOptions, NoticeOption {
  /** The spec's `test` where it is not given, counted from the working directory. */
  readonly data?: DataSource<Kind>;
}

export interface AdapterGenerateOptions<Kind extends string = string> extends Omit<SampleOptions, "kind"> {
  readonly kind?: Kind;
  /** Told each new piece of text as it is made. */
  readonly onText?: (piece: string) => void;
}

export interface Generation {
  /** The continuation, without the prompt. */
  readonly text: string;
  readonly tokens: readonly number[];
  readonly stopped: StopReason;
}

/**
 * An adapter with its base on a backend: what a generated module's `load` returns. `Group` and `Kind` are the names in
 * its spec. It holds device memory until `dispose`.
 */
export class Adapter<Group extends string = string, Kind extends string = string> {
  readonly manifest: Manifest;
  readonly backend: Backend;
  /** The model itself, for work that this class does not offer; its weights are replaced by training. */
  readonly model: Model;
  private readonly host: OutputHost;
  private readonly base: string;
  private readonly config: unknown;
  private readonly seed: number | undefined;
  private lexicon: Promise<Tokenizer> | undefined;
  private state: "idle" | "training" | "disposed" = "idle";

  private constructor(model: Model, options: LoadOptions, host: OutputHost, config: unknown) {
    this.model = model;
    this.manifest = model.manifest;
    this.backend = model.backend;
    this.host = host;
    this.base = options.base;
    this.config = config;
    this.seed = options.seed;
  }

  /**
   * Places base and adapter on a backend. DiagnosticErrors: 51xx what is wrong with the files, 52xx with the backend,
   * MOE5334 another base than the spec was compiled for, MOE5310 to MOE5316 an adapter that does not fit.
   */
  static async load<Group extends string = string, Kind extends string = string>(program: CompiledProgram, options: LoadOptions): Promise<Adapter<Group, Kind>> {
    const { manifest } = program;
    const host = options.host ?? (await diskOf());
    // Files first: a wrong path should not wait for a backend.
    const base = await openCheckpoint(host, options.base, { allowNan: options.allowNan ?? false });
    requireSameBase(manifest, base.config, joinPath(options.base, "config.json"));
    const adapter = options.adapter === undefined ? undefined : await openAdapter(host, options.adapter, manifest, options.onNotice);
    const models = program.onnx ?? (options.onnx === undefined ? undefined : onnxFiles(host, options.onnx, manifest));
    const backend = typeof options.backend === "object" ? options.backend : await startBackend(options.backend ?? "auto", { ...options, models: models !== undefined });
    const seed = options.seed ?? manifest.train.seed;
    const { onProgress } = options;
    const entries = entriesOn(backend, program, models);
    try {
      const weights = await placeWeights({ manifest, backend, base, seed, ...(adapter ? { adapter } : {}), ...(onProgress ? { onProgress } : {}) });
      return new Adapter({ manifest, entries, backend, weights }, options, host, base.config);
    } catch (error) {
      entries.dispose();
      throw error;
    }
  }

  /** The base's tokenizer, loaded when it is first wanted. */
  get tokenizer(): Promise<Tokenizer> {
    return (this.lexicon ??= this.loadTokenizer());
  }

  /**
   * Trains the adapter in place, one step for each turn of the loop; after each the adapter is exactly that many steps
   * old. Leaving the loop early is fine. Errors: those of `trainRun`, and 513x and 514x for the data.
   */
  async *train(options: AdapterTrainOptions<Kind> = {}): AsyncGenerator<StepMetrics<Group, Kind>, TrainEnd, void> {
    const { data, out, ...rest } = options;
    this.take();
    try {
      const examples = await this.examples(data ?? this.manifest.train.data, { knownKinds: this.manifest.kinds, onNotice: options.onNotice, noun: "training" });
      const seed = options.seed ?? this.seed;
      const folder = out === undefined ? undefined : new RunFolder(this.host, out);
      const run = trainRun({ ...rest, model: this.model, examples, ...(seed === undefined ? {} : { seed }), ...(folder ? { folder } : {}) });
      return yield* run as AsyncGenerator<StepMetrics<Group, Kind>, TrainEnd, void>;
    } finally {
      this.state = "idle";
    }
  }

  /** Loss, exact matches and the groups' use by kind on some data, dropout off. */
  async evaluate(options: AdapterEvaluateOptions<Kind> = {}): Promise<EvaluationReport<Group, Kind>> {
    this.live();
    // Any kind may be measured: one that the spec does not map has a row of its own in the report.
    const examples = await this.examples(options.data ?? this.manifest.train.test, { knownKinds: [], onNotice: options.onNotice, noun: "test" });
    return (await evaluateModel(this.model, examples, options)) as EvaluationReport<Group, Kind>;
  }

  /**
   * Continues a text: greedily, or sampled where there is a temperature. Ends at the base's end-of-sequence tokens, and
   * at its beginning-of-sequence token, with which some models end a text (`stop` names others).
   */
  async generate(prompt: string, options: AdapterGenerateOptions<Kind> = {}): Promise<Generation> {
    this.live();
    const tokenizer = await this.tokenizer;
    const ids = tokenizer.encode(prompt, { special: true });
    const stop = options.stop ?? (await this.stopTokens());
    // A tokenizer may treat a text's first word specially, so the prompt is decoded along and cut off.
    const before = tokenizer.decode(ids);
    const tokens: number[] = [];
    let text = "";
    const textNow = (): string => tokenizer.decode([...ids, ...tokens]).slice(before.length);
    const tell = (upTo: string): void => {
      if (upTo.length > text.length) options.onText?.(upTo.slice(text.length));
      text = upTo;
    };
    const run = generateTokens(this.model, ids, { ...options, stop });
    for (;;) {
      const next = await run.next();
      if (next.done) {
        tell(textNow());
        return { text, tokens, stopped: next.value };
      }
      tokens.push(next.value);
      // Bytes of an unfinished character read as U+FFFD: they wait for their rest.
      if (options.onText) tell(textNow().replace(/\uFFFD+$/, ""));
    }
  }

  /** Writes the adapter: `adapter_model.safetensors`, `moec.json`, and PEFT's `adapter_config.json` where PEFT can load it. */
  async save(folder: string): Promise<void> {
    this.live();
    await saveAdapter(this.host, folder, this.model);
  }

  /** Frees everything on the device but the backend, which others may use. Idempotent; not while training. */
  dispose(): void {
    if (this.state === "disposed") return;
    if (this.state === "training") throw new Error("an adapter cannot be disposed while it trains: leave the loop first");
    this.state = "disposed";
    disposeStore(this.model.weights);
    this.model.entries.dispose();
  }

  private live(): void {
    if (this.state === "disposed") throw new Error("this adapter was disposed");
  }

  private take(): void {
    this.live();
    if (this.state === "training") throw new Error("this adapter is training already: end that loop first");
    this.state = "training";
  }

  private async loadTokenizer(): Promise<Tokenizer> {
    const text = async (name: string): Promise<string> => decodeText(await this.host.readFile(joinPath(this.base, name)), joinPath(this.base, name));
    const config = (await this.host.stat(joinPath(this.base, "tokenizer_config.json"))) === undefined ? undefined : await text("tokenizer_config.json");
    return loadTokenizer(await text("tokenizer.json"), config, { tokenizer: joinPath(this.base, "tokenizer.json"), config: joinPath(this.base, "tokenizer_config.json") });
  }

  private async stopTokens(): Promise<Set<number>> {
    const { bos, eos } = await this.tokenizer;
    const generation = joinPath(this.base, "generation_config.json");
    const configs = [this.config, (await this.host.stat(generation)) === undefined ? undefined : await readJson(this.host, generation)];
    const declared = configs.map((c) => (c as { eos_token_id?: unknown } | undefined)?.eos_token_id).flat();
    return new Set([bos, eos, ...declared].filter((id): id is number => typeof id === "number"));
  }

  private async examples(
    data: DataSource | undefined,
    { knownKinds, onNotice, noun }: { readonly knownKinds: readonly string[]; readonly onNotice: NoticeOption["onNotice"]; readonly noun: string },
  ): Promise<readonly Example[]> {
    if (data === undefined) fail("MOE5333", `No ${noun} data is given.`, { help: `Name a JSONL file, or give the spec's \`train\` block a \`${noun === "test" ? "test" : "data"}\`.` });
    const file = typeof data === "string" ? data : "the data";
    const bytes = typeof data === "string" ? await this.host.readFile(data) : new TextEncoder().encode(data.map((row) => JSON.stringify(row)).join("\n") + "\n");
    const parsed = parseJsonl(bytes, file, { knownKinds });
    settle(parsed.diagnostics, onNotice);
    const { length } = this.manifest.train;
    const encoded = encodeExamples(parsed.rows, await this.tokenizer, { length: Math.min(length, this.manifest.base.context ?? length), fields: this.manifest.fields ?? [], file });
    settle(encoded.diagnostics, onNotice);
    return encoded.examples;
  }
}

/** Throws where something is an error, all of it at once; tells the rest. */
function settle(diagnostics: readonly Diagnostic[], onNotice: NoticeOption["onNotice"]): void {
  if (diagnostics.some((d) => d.severity === "error")) throw new DiagnosticError(diagnostics);
  for (const notice of diagnostics) onNotice?.(notice);
}

/** MOE5334 where config.json has another value than the one that the compiled code has built in. */
function requireSameBase(manifest: Manifest, config: unknown, path: string): void {
  const found = (config ?? {}) as Record<string, unknown>;
  for (const [key, wanted] of Object.entries(manifest.base.config)) {
    const value = Object.hasOwn(found, key) ? found[key] : undefined;
    // What config.json leaves out has its default, and those are filled in on the manifest's side.
    if (value === undefined || value === null || agrees(wanted, value)) continue;
    fail("MOE5334", `${path}: ${key} is ${JSON.stringify(value)}, and the spec was compiled for ${JSON.stringify(wanted)}.`, {
      help: "Compile the spec for this base, or give the path of the one that it was compiled for.",
    });
  }
}

/** Equal in every field that the manifest has. */
function agrees(wanted: unknown, found: unknown): boolean {
  if (typeof wanted !== "object" || wanted === null) return wanted === found || wanted === null;
  if (typeof found !== "object" || found === null) return false;
  return Object.entries(wanted).every(([key, value]) => {
    const other = (found as Record<string, unknown>)[key];
    return other === undefined || other === null || agrees(value, other);
  });
}

/** Node's disk. A page has none, and must say where its files are. */
async function diskOf(): Promise<OutputHost> {
  if (typeof process !== "object" || process.versions?.node === undefined) throw new Error("in a page, give `load` a host: MemoryOutput, say");
  const { NodeOutput } = await import("./files/node-output.ts");
  return new NodeOutput();
}
