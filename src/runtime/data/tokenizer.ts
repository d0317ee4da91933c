import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { DiagnosticError, fail } from "../../diagnostics/index.ts";
import { plain } from "../../formats/json.ts";
import { parseJsonFile } from "../../formats/text.ts";

/** Text to token ids and back, as the checkpoint's `tokenizer.json` says. */
export interface Tokenizer {
  /** Ids of a text. `special` (default false) adds what the tokenizer puts around a sequence: usually BOS in front. */
  encode(text: string, options?: { readonly special?: boolean }): number[];
  /** The text of ids; special tokens are left out unless `special` is true. Ids outside the vocabulary read as unknown. */
  decode(ids: ArrayLike<number>, options?: { readonly special?: boolean }): string;
  /** The token of an id, as the vocabulary writes it. */
  token(id: number): string | undefined;
  /** The id of a token, as the vocabulary writes it. */
  id(token: string): number | undefined;
  /** One more than the greatest id. */
  readonly size: number;
  readonly bos?: number;
  readonly eos?: number;
  readonly pad?: number;
  readonly unk?: number;
  /** Ids in front of every sequence: the tokenizer's own template, or `add_bos_token` where the configuration has it. */
  readonly prefix: readonly number[];
  /** The most UTF-16 units that one token stands for. */
  readonly longestToken: number;
}

/**
 * Reads `tokenizer.json` and, where there is one, `tokenizer_config.json`.
 * @throws DiagnosticError where a text is not JSON, or the library cannot use it
 */
export function loadTokenizer(tokenizerText: string, configText?: string, files: { readonly tokenizer?: string; readonly config?: string } = {}): Tokenizer {
  const file = files.tokenizer ?? "tokenizer.json";
  const configFile = files.config ?? "tokenizer_config.json";
  const json = objectOf(tokenizerText, file);
  const config = configText === undefined ? {} : objectOf(configText, configFile);
  const model = json["model"];
  if (model === null || typeof model !== "object") fail("MOE5150", `${file} has no "model"`, { help: "is it a fast tokenizer's tokenizer.json?" });
  const { type, vocab } = model as { type?: unknown; vocab?: unknown };
  // Files of tokenizers before 0.8 have no type: the library tells them apart. What it does not know it would split by chance.
  if (type !== undefined && !["BPE", "Unigram", "WordPiece"].includes(String(type)))
    fail("MOE5150", `${file} has a model of type ${JSON.stringify(type)}, expected BPE, Unigram or WordPiece`);
  if (vocab === null || typeof vocab !== "object") fail("MOE5150", `${file} has no vocabulary: model.vocab must be an object or a list`);
  // The library insists on every part being mentioned; the format lets writers leave out what is null.
  const parts = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [], ...json };
  // Its clean-up (" ." to ".") is on unless a configuration says otherwise; a tokenizer.json alone means none.
  const library = guarded(file, () => new HuggingFaceTokenizer(parts, { clean_up_tokenization_spaces: false, ...config }));
  decodeBytesLikeRust(library.decoder);
  return new LibraryTokenizer(library, json, config, file, configFile);
}

class LibraryTokenizer implements Tokenizer {
  readonly size: number;
  readonly bos?: number;
  readonly eos?: number;
  readonly pad?: number;
  readonly unk?: number;
  readonly prefix: readonly number[];
  readonly longestToken: number;
  private readonly specials: ReadonlySet<number>;
  private readonly library: HuggingFaceTokenizer;
  private readonly file: string;

  constructor(library: HuggingFaceTokenizer, json: Record<string, unknown>, config: Record<string, unknown>, file: string, configFile: string) {
    this.library = library;
    this.file = file;
    const model = json["model"] as Record<string, unknown>;
    const special = (name: string): number | undefined => {
      const named = config[name];
      const token = typeof named === "string" ? named : named !== null && typeof named === "object" ? (named as { content?: unknown }).content : undefined;
      if (typeof token !== "string") return undefined;
      return library.token_to_id(token) ?? fail("MOE5151", `${configFile} names ${JSON.stringify(token)} as its ${name}, which is not in ${file}`);
    };
    this.bos = special("bos_token");
    this.eos = special("eos_token");
    this.pad = special("pad_token");
    this.unk = special("unk_token") ?? (typeof model["unk_token"] === "string" ? library.token_to_id(model["unk_token"]) : undefined);
    const around = guarded(file, () => library.encode("", { add_special_tokens: true }).ids);
    const declared = config["add_bos_token"];
    this.prefix = declared === false ? [] : around.length > 0 && around[0] !== this.eos ? [around[0]!] : declared === true && this.bos !== undefined ? [this.bos] : [];
    let longest = 1;
    let greatest = -1;
    for (const [token, id] of library.get_vocab()) {
      if (token === undefined) continue;
      longest = Math.max(longest, token.length);
      greatest = Math.max(greatest, id);
    }
    this.longestToken = longest;
    this.size = greatest + 1;
    this.specials = new Set([...library.get_added_tokens_decoder()].filter(([, added]) => added.special).map(([id]) => id));
  }

  encode(text: string, options: { readonly special?: boolean } = {}): number[] {
    const ids = text === "" ? [] : guarded(this.file, () => this.library.encode(text, { add_special_tokens: false }).ids);
    return options.special === true ? [...this.prefix, ...ids] : ids;
  }

  decode(ids: ArrayLike<number>, options: { readonly special?: boolean } = {}): string {
    const shown = Array.from(ids).filter((id) => options.special === true || !this.specials.has(id));
    return shown.length === 0 ? "" : guarded(this.file, () => this.library.decode(shown, { skip_special_tokens: false }));
  }

  token(id: number): string | undefined {
    return this.library.id_to_token(id);
  }

  id(token: string): number | undefined {
    return this.library.token_to_id(token);
  }
}

/**
 * The library's byte-fallback decoder (0.2.0) drops U+FEFF, and reads a damaged run of bytes otherwise than the Rust
 * tokenizers do: there a run that is not UTF-8 as a whole becomes one U+FFFD a byte (decoders/byte_fallback.rs).
 */
function decodeBytesLikeRust(decoder: object | null): void {
  const part = decoder as { config?: { type?: string }; decoders?: object[] } | null; // its types do not export these
  for (const each of part?.decoders ?? []) decodeBytesLikeRust(each);
  if (part?.config?.type !== "ByteFallback") return;
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const decode = (bytes: Uint8Array): string => {
    try {
      return strict.decode(bytes);
    } catch {
      return "\uFFFD".repeat(bytes.length);
    }
  };
  Object.assign(part, { text_decoder: { decode } });
}

function objectOf(text: string, file: string): Record<string, unknown> {
  const node = parseJsonFile(text, file);
  if (node.kind !== "object") fail("MOE5150", `${file} is ${node.kind === "null" ? "null" : `a JSON ${node.kind}`}, expected an object`);
  return plain(node) as Record<string, unknown>;
}

/** The library throws plain errors at files it does not understand: the user's file is at fault, not our code. */
function guarded<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DiagnosticError) throw error;
    return fail("MOE5150", `${file} cannot be used: ${error instanceof Error ? error.message.split("\n")[0]!.slice(0, 300) : "the tokenizer library refused it"}`);
  }
}
