export { parseJsonl, type JsonlOptions, type ParsedData } from "./jsonl.ts";
export { normaliseRow, type DataRow } from "./rows.ts";
export { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
export { encodeExamples, type EncodedData, type EncodeOptions, type Example } from "./examples.ts";
export { BatchOrder, collate, microBatches, paddedWidths, type Batch, type CollateOptions, type Plan } from "./batches.ts";
