import { codes } from "../row.ts";

/** 51xx: checkpoints, tokenizers, data files. */
export const fileCodes = codes({
  MOE5101: { severity: "error", title: "file not found", explain: "A file that the spec or the command names does not exist. Paths in a spec count from the spec's folder, paths on the command line from where you are." },
  MOE5102: { severity: "error", title: "file cannot be read", explain: "The file exists, but the system refuses to read it, or it is a folder where a file is expected (or the other way round). Check what lies there and its permissions." },
  MOE5103: {
    severity: "error",
    title: "path leaves its folder",
    explain:
      "A checkpoint's index may only name files of its own folder. A name with `..`, an absolute path, a backslash or a drive letter, and a symbolic link that leads elsewhere, are refused before anything is opened: a downloaded folder must not be able to make a program read other files. Links from a Hugging Face cache's `snapshots` to its `blobs` are fine.",
  },
  MOE5104: { severity: "error", title: "not UTF-8 text", explain: "A configuration file must be UTF-8. Convert it, for example with `iconv -f latin1 -t utf-8`." },
  MOE5105: { severity: "error", title: "not JSON", explain: "The file is not valid JSON; the message says where reading stopped. JSON has no comments and no comma before a closing bracket, and keys stand in double quotes." },
  MOE5106: { severity: "error", title: "JSON value not as expected", explain: "The file is JSON, but a value in it has the wrong type, is out of range, or is missing. The message names the key, what was expected and what was found." },
  MOE5107: { severity: "error", title: "unknown JSON key", explain: "The file has a key that nothing reads. It is usually a misspelling, so it is refused rather than ignored." },
  MOE5108: { severity: "error", title: "file cannot be written", explain: "The system refuses to write there. Nothing is half-written: a file or folder appears whole under its name, or not at all." },
  MOE5110: {
    severity: "error",
    title: "impossible safetensors header length",
    explain:
      "A safetensors file begins with the length of its header (8 bytes, little endian). Here the length is more than the file holds, or more than 100,000,000 bytes, the format's limit. Usually a download was cut off, or the file is something else (a Git LFS pointer, a web page). Nothing of that size was allocated.",
  },
  MOE5111: { severity: "error", title: "safetensors header is not JSON", explain: "The header of a safetensors file is a JSON object in UTF-8. The message gives the byte, counted from 0 at the header's start, where reading stopped. The file is damaged, or was written by a faulty program." },
  MOE5112: { severity: "error", title: "malformed safetensors entry", explain: "Each tensor in a safetensors header has a `dtype`, a `shape` of non-negative integers and two `data_offsets`; `__metadata__` maps strings to strings." },
  MOE5113: { severity: "error", title: "tensors overlap", explain: "Two tensors claim the same bytes of the file. The format forbids it, because one of them would be read as the other." },
  MOE5114: { severity: "error", title: "tensor bytes out of place", explain: "The tensors of a safetensors file must cover its data exactly, one after the other, with no gap, none past the end and nothing left over. Often a download was cut off." },
  MOE5115: { severity: "error", title: "tensor size does not match its shape", explain: "The bytes that a tensor's offsets span must be its element count times its dtype's size. Half or twice as many means that dtype and data disagree." },
  MOE5116: { severity: "error", title: "tensor named twice", explain: "The same tensor name appears twice, in one header or in two shards, so it is not clear which is meant." },
  MOE5117: { severity: "error", title: "unsupported dtype", explain: "The tensor's element type is unknown, or cannot be read as numbers here. F64, F32, F16, BF16, I64, I32, I16, I8, U8 and BOOL can." },
  MOE5118: { severity: "error", title: "tensor not in the checkpoint", explain: "A tensor that was asked for, or that the index promises in a shard, is not there." },
  MOE5119: {
    severity: "error",
    title: "tensor holds NaN or infinity",
    explain: "A weight is not a finite number, so every result would be NaN or infinite. Such a checkpoint comes from a run that diverged, or from a narrowing that overflowed. Take another one; where you know what you do, `--allow-nan` reads it as it is.",
  },
  MOE5120: { severity: "error", title: "no checkpoint in the folder", explain: "A checkpoint is a folder with `config.json` and either `model.safetensors` or `model.safetensors.index.json` with its shards. Files of PyTorch (`.bin`, `.pt`) are not read: they can run code. Convert them with `save_pretrained(..., safe_serialization=True)`." },
  MOE5121: { severity: "error", title: "index and shards disagree", explain: "`model.safetensors.index.json` says which shard holds which tensor. A shard it names is missing, or lacks the tensor, or holds one that the index does not list." },
  MOE5130: { severity: "error", title: "data row is not JSON", explain: "Each line of a JSONL file is one JSON object. The message gives the line and the column where reading stopped; the other lines were read." },
  MOE5131: { severity: "error", title: "data row lacks a key", explain: "A row needs `prompt` and `completion`, or `instruction` and `output` (Alpaca; `input` is optional), or `messages`. `kind` and `id` are optional." },
  MOE5132: { severity: "error", title: "data row has a value of the wrong type", explain: "`prompt`, `completion`, `kind`, `instruction`, `input` and `output` are strings, `id` is a string or a number, `messages` is a list of `{role, content}` objects." },
  MOE5133: {
    severity: "error",
    title: "unknown kind of data",
    explain:
      "The row's `kind` is none of those that the spec's balance maps to a group, while other rows of the file have one that is, or it looks like a misspelling of one. " +
      "Kinds are compared exactly, spaces and capitals included. Correct the row, or map the kind in the spec.",
  },
  MOE5134: { severity: "error", title: "no data", explain: "The file has no rows, so there is nothing to train on or to measure." },
  MOE5135: { severity: "error", title: "data is not UTF-8", explain: "A JSONL file must be UTF-8. The message gives the first byte that cannot be. Convert the file, for example with `iconv -f latin1 -t utf-8`; bytes are never replaced silently." },
  MOE5136: { severity: "error", title: "NUL byte in data", explain: "Text has no NUL bytes. The file is damaged, or it is UTF-16: convert it with `iconv -f utf-16 -t utf-8`." },
  MOE5137: { severity: "error", title: "last data row is cut off", explain: "The file ends in the middle of a row, with no newline: its writer or its download was interrupted. Fetch or write it again, or delete the last line." },
  MOE5138: { severity: "warning", title: "data row repeated", explain: "Two rows are equal. The row then counts twice in training; delete one of them if that is not meant." },
  MOE5139: { severity: "error", title: "id used twice", explain: "Two rows with different content have the same `id`. Ids name rows in reports, so each must be used once." },
  MOE5140: { severity: "error", title: "row is too long", explain: "The row has more tokens than `length` allows, and rows that are too long are refused. Raise `length`, shorten the row, or let rows be truncated or skipped." },
  MOE5141: { severity: "info", title: "long prompts shortened", explain: "Some rows have more tokens than `length`. Their prompts lost tokens at the start; completions are whole." },
  MOE5142: { severity: "warning", title: "completion shortened", explain: "A completion alone is longer than `length`. It was cut at the end, so the model does not learn where it stops." },
  MOE5143: { severity: "warning", title: "long rows skipped", explain: "Rows with more tokens than `length` were left out, as configured." },
  MOE5144: { severity: "error", title: "data row is not an object", explain: "Each line must be one JSON object, `{...}` with keys: a JSONL file is not one big array." },
  MOE5145: { severity: "error", title: "conversation without an answer", explain: "A row's `messages` must end with the assistant's message: it is what the model learns to say." },
  MOE5146: { severity: "info", title: "further faults not shown", explain: "The data file has more faults than are worth listing. Repair those shown and run again." },
  MOE5148: {
    severity: "error",
    title: "a field is missing or out of range",
    explain: "The adapter declares a `field`, a column of the data that its router looks at: `field cluster[8]` is a whole number from 0 to 7 in every row, `field difficulty` any number. A row without it could not be routed.",
  },
  MOE5147: {
    severity: "warning",
    title: "no kind of the data is mapped",
    explain:
      "No row of the file has a `kind` that the spec's balance maps to a group, so no sample matches any group: a localized balance then evens out how much the experts are used, " +
      "and does not tell kinds apart. Where that is not meant, map the file's kinds in the spec (`sentiment -> skill`), or give its rows kinds that are mapped.",
  },
  MOE5150: { severity: "error", title: "tokenizer cannot be used", explain: "`tokenizer.json` must be a Hugging Face fast tokenizer (a `model` of type BPE, Unigram or WordPiece, and its parts). The message says what is wrong. A `tokenizer.model` of SentencePiece is converted by loading it with transformers' AutoTokenizer and saving it." },
  MOE5151: { severity: "error", title: "special token is not in the vocabulary", explain: "`tokenizer_config.json` names a special token that `tokenizer.json` does not have, so the two files do not belong together." },
});
