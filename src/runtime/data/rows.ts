import { nearest, type Diagnostic } from "../../diagnostics/index.ts";
import { typeName } from "../../formats/json.ts";

/** One example: the model is fed `prompt + completion` and learns the completion. */
export interface DataRow {
  readonly id?: string;
  readonly prompt: string;
  readonly completion: string;
  /** What sort of data it is; a spec's balance maps kinds to groups of experts. */
  readonly kind?: string;
  /** The line in the file, from 1. */
  readonly line: number;
  /** All other fields of the row, as they are. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** Where in a row a fault lies: at a key, at a key's value, or the row as a whole. */
export interface Where {
  readonly key?: string;
  readonly part?: "key" | "value";
  readonly help?: string;
  /** What the key should have been. */
  readonly rename?: string;
}

/** Takes a fault of one row. */
export type Refuse = (code: Diagnostic["code"], message: string, where?: Where) => unknown;

/**
 * Turns a parsed row into a `DataRow`, or reports what is wrong with it and returns nothing. Three forms are known:
 *
 * - `{prompt, completion}`: taken as they are. A separator, if one is wanted, is part of them.
 * - Alpaca's `{instruction, input?, output}`: the prompt is `instruction + "\n"`, and `input + "\n"` after it where there
 *   is an input. No preamble ("Below is an instruction ..."): LoRAMoE's own data is fed this way.
 * - `{messages: [{role, content}, ...]}`: the last message, which must be the assistant's, is the completion; of each
 *   earlier one the prompt has `content + "\n"`. Roles are not written: what writes them differs from model to model, and
 *   who needs a chat template applies it beforehand and gives `prompt` and `completion`.
 *
 * `kind` and `id` (a string or a number) are optional in each.
 */
export function normaliseRow(value: unknown, line: number, refuse: Refuse): DataRow | undefined {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    refuse("MOE5144", `each line must be an object, found ${value === undefined ? "something nested too deep" : typeName(value)}`, Array.isArray(value) ? { help: "a JSONL file is not one array: write one object a line, without commas between them" } : {});
    return undefined;
  }
  const row = value as Record<string, unknown>;
  const has = (key: string): boolean => Object.hasOwn(row, key);
  let faults = 0;
  const bad: Refuse = (...fault) => {
    faults++;
    refuse(...fault);
  };
  const used = new Set(["id", "kind"]);
  const text = (key: string): string => {
    used.add(key);
    const found = row[key];
    if (typeof found === "string") return found;
    bad("MOE5132", `${key} must be a string, found ${typeName(found)}`, { key });
    return "";
  };
  let prompt = "";
  let completion = "";
  if (has("messages")) {
    used.add("messages");
    const turns = conversation(row["messages"], bad);
    prompt = turns.slice(0, -1).map((content) => `${content}\n`).join("");
    completion = turns.at(-1) ?? "";
  } else if ((has("instruction") || has("output")) && !has("prompt") && !has("completion")) {
    if (complete(row, ["instruction", "output"], bad)) {
      const input = has("input") && row["input"] !== null ? text("input") : "";
      prompt = `${text("instruction")}\n${input === "" ? "" : `${input}\n`}`;
      completion = text("output");
      used.add("input");
    }
  } else if (complete(row, ["prompt", "completion"], bad)) {
    prompt = text("prompt");
    completion = text("completion");
  }
  const kind = has("kind") ? text("kind") : undefined;
  const id = row["id"];
  if (has("id") && typeof id !== "string" && typeof id !== "number") bad("MOE5132", `id must be a string or a number, found ${typeName(id)}`, { key: "id" });
  if (faults > 0) return undefined;
  const extra = Object.fromEntries(Object.entries(row).filter(([key]) => !used.has(key)));
  return { ...(has("id") ? { id: String(id) } : {}), prompt, completion, ...(kind === undefined ? {} : { kind }), line, extra };
}

/** Reports the keys that are missing: one fault, unless a misspelling explains one of them. */
function complete(row: Record<string, unknown>, needed: readonly string[], bad: Refuse): boolean {
  const missing = needed.filter((key) => !Object.hasOwn(row, key));
  const unexplained: string[] = [];
  for (const key of missing) {
    const [near] = nearest(key, Object.keys(row).filter((k) => !needed.includes(k)), 1);
    if (near === undefined) unexplained.push(key);
    else bad("MOE5131", `missing key "${key}"`, { key: near, part: "key", rename: key, help: `did you mean "${key}"? The row has ${JSON.stringify(near)}` });
  }
  if (unexplained.length > 0)
    bad("MOE5131", `missing key${unexplained.length > 1 ? "s" : ""} ${unexplained.map((k) => `"${k}"`).join(" and ")}`, {
      help: unexplained.length === needed.length ? 'a row needs "prompt" and "completion", or "instruction" and "output", or "messages"' : `add "${unexplained[0]}", a string`,
    });
  return missing.length === 0;
}

function conversation(messages: unknown, bad: Refuse): string[] {
  const key = "messages";
  if (!Array.isArray(messages)) {
    bad("MOE5132", `messages must be an array, found ${typeName(messages)}`, { key });
    return [];
  }
  const contents: string[] = [];
  for (const [i, message] of messages.entries()) {
    const turn = message as { role?: unknown; content?: unknown } | null;
    if (turn === null || typeof turn !== "object" || typeof turn.role !== "string" || typeof turn.content !== "string") {
      bad("MOE5132", `messages[${i}] must be an object with the strings "role" and "content"`, { key });
      return [];
    }
    contents.push(turn.content);
  }
  const last = (messages as { role: string }[]).at(-1)?.role;
  if (last !== "assistant") bad("MOE5145", last === undefined ? "messages is empty" : `the last message is by ${JSON.stringify(last.slice(0, 40))}, expected "assistant"`, { key });
  return contents;
}
