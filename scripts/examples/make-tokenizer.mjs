/**
 * Trains the example model's tokenizer on the examples' training texts and writes `tokenizer.json` in Hugging Face's
 * format: byte-level BPE (Sennrich et al. 2016, over bytes as in GPT-2), so any text has an encoding and comes back.
 * Digits stand alone, so a number is read the same wherever it stands.
 *
 *     node scripts/examples/make-tokenizer.mjs            write the file
 *     node scripts/examples/make-tokenizer.mjs --check    write nothing; exit 1 when the file differs
 */
import { makeData } from "./make-data.mjs";
import { settle } from "./settle.mjs";

const vocabularySize = 1024;
const specials = ["<unk>", "<s>", "</s>", "<pad>"];

/** GPT-2's printable stand-in for each of the 256 bytes: the byte itself where it prints, else a letter from U+0100 on. */
const letters = (() => {
  const prints = (b) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(prints(b) ? b : next++));
})();

/** What the two pre-tokenizers below do: digits one by one, then GPT-2's pattern on what lies between them. */
function pieces(text) {
  const pattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
  return text.split(/(\p{Nd})/u).flatMap((part) => part.match(pattern) ?? []);
}

/** Merges in order of rank: always the most frequent pair; between equals, the first in code-point order. */
function trainMerges(texts, count) {
  const seen = new Map();
  for (const text of texts) for (const piece of pieces(text)) seen.set(piece, (seen.get(piece) ?? 0) + 1);
  const words = [...seen].map(([piece, times]) => ({
    symbols: [...new TextEncoder().encode(piece)].map((byte) => letters[byte]),
    times,
  }));

  const merges = [];
  while (merges.length < count) {
    const pairs = new Map();
    for (const { symbols, times } of words)
      for (let i = 0; i + 1 < symbols.length; i++) {
        const pair = `${symbols[i]} ${symbols[i + 1]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + times);
      }
    let best;
    for (const [pair, times] of pairs)
      if (!best || times > best.times || (times === best.times && pair < best.pair)) best = { pair, times };
    if (!best || best.times < 2) break;
    const [left, right] = best.pair.split(" ");
    merges.push([left, right]);
    for (const word of words) word.symbols = merge(word.symbols, left, right);
  }
  return merges;
}

function merge(symbols, left, right) {
  const out = [];
  for (let i = 0; i < symbols.length; i++)
    if (symbols[i] === left && symbols[i + 1] === right) out.push(left + right), i++;
    else out.push(symbols[i]);
  return out;
}

export function makeTokenizer() {
  const data = makeData();
  const texts = [...data["base.jsonl"], ...data["train.jsonl"]].map((row) => row.prompt + row.completion);
  const merges = trainMerges(texts, vocabularySize - specials.length - letters.length);
  // Two different merges may make the same token: it has one id.
  const tokens = new Set([...specials, ...letters, ...merges.map(([left, right]) => left + right)]);

  const bos = { SpecialToken: { id: "<s>", type_id: 0 } };
  const sequence = (id, type_id) => ({ Sequence: { id, type_id } });
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specials.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Digits", individual_digits: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [bos, sequence("A", 0)],
      pair: [bos, sequence("A", 0), sequence("B", 1)],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries([...tokens].map((token, id) => [token, id])),
      merges,
    },
  };
}

if (process.argv[1] === import.meta.filename) {
  const tokenizer = makeTokenizer();
  await settle("models/tiny-llama", { "tokenizer.json": `${JSON.stringify(tokenizer, null, 1)}\n` });
}
