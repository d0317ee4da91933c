import { readFileSync } from "node:fs";

/** A fenced block of a Markdown file. */
export interface Block {
  readonly file: string;
  /** 1-based line of the opening fence. */
  readonly line: number;
  /** The first word after the fence: "moe", "ts", "sh", …; "" where there is none. */
  readonly language: string;
  readonly text: string;
}

/** The fenced blocks of a Markdown file, in order. */
export function blocksOf(file: string): Block[] {
  const blocks: Block[] = [];
  const lines = readFileSync(file, "utf8").split("\n");
  for (let i = 0; i < lines.length; i++) {
    const fence = /^```(\w*)/.exec(lines[i]!);
    if (!fence) continue;
    const end = lines.findIndex((line, j) => j > i && line.startsWith("```"));
    if (end < 0) throw new Error(`${file}:${i + 1}: a fence without an end`);
    blocks.push({ file, line: i + 1, language: fence[1]!, text: `${lines.slice(i + 1, end).join("\n")}\n` });
    i = end;
  }
  return blocks;
}
