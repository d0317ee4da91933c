import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { childNodes, type Node, type SourceFile } from "../../src/parser/index.ts";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The library's and the examples' texts, by path. */
export function corpus(): { path: string; text: string }[] {
  return ["std", "examples"].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith(".moe"))
      .sort()
      .map((name) => ({ path: `${folder}/${name}`, text: readFileSync(join(root, folder, name), "utf8") })),
  );
}

/** Compares with a file; MOEC_GOLDEN=write rewrites it. */
export function golden(path: string, actual: string): void {
  if (process.env["MOEC_GOLDEN"] === "write") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, actual);
    return;
  }
  expect(existsSync(path), `${path} is missing; run with MOEC_GOLDEN=write`).toBe(true);
  expect(actual).toBe(readFileSync(path, "utf8"));
}

/** A tree as indented lines: field, kind, span, plain values. */
export function printTree(node: Node, field = "file", indent = ""): string {
  const plain: string[] = [];
  const below: string[] = [];
  for (const [key, value] of Object.entries(node)) {
    if (key === "span" || (key === "text" && field === "file") || key === "comments" || key === "diagnostics") continue;
    if (Array.isArray(value)) {
      if (value.length === 0) plain.push(`${key}=[]`);
      for (const item of value as Node[]) below.push(printTree(item, key, `${indent}  `));
    } else if (typeof value === "object" && value !== null && "span" in value) below.push(printTree(value as Node, key, `${indent}  `));
    else plain.push(key === "kind" ? String(value) : `${key}=${JSON.stringify(value)}`);
  }
  return `${indent}${field} ${node.span.start}..${node.span.end} ${plain.join(" ")}`.trimEnd() + `\n${below.join("")}`;
}

/** What holds of every tree, whatever the text: spans inside the text and inside their parents'. */
export function checkTree(file: SourceFile): void {
  const stack: Node[] = [file];
  for (let node = stack.pop(); node; node = stack.pop()) {
    const { start, end, file: path } = node.span;
    if (!(start >= 0 && start <= end && end <= file.text.length && path === file.path)) throw new Error(`bad span ${start}..${end} of ${JSON.stringify(node)}`);
    for (const child of childNodes(node)) {
      if (child.span.start < start || child.span.end > end) {
        throw new Error(`${JSON.stringify(child)} reaches out of ${start}..${end}`);
      }
      stack.push(child);
    }
  }
  for (const diagnostic of file.diagnostics) {
    const span = diagnostic.primary?.span;
    if (!span || span.start < 0 || span.start > span.end || span.end > file.text.length) throw new Error(`bad place of ${diagnostic.message}`);
  }
}
