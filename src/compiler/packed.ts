import type { SourceFile } from "../parser/ast.ts";

/**
 * A library file's tree as it is shipped: what every node says alike (its file) and what lies in the package anyway (the text)
 * is left out, and comments, which nobody asks the library's trees for. That is half of what each command would have to read.
 */
export interface PackedFile {
  readonly path: string;
  /** Of the text that the tree is of. */
  readonly digest: number;
  /** A `SourceFile` whose spans are [start, end]. */
  readonly tree: object;
}

/** Packs a file's tree, for `unpack`. */
export function pack(file: SourceFile): PackedFile {
  const { text, path, comments: _, ...tree } = file;
  return { path, digest: digestOf(text), tree: JSON.parse(JSON.stringify(tree, (key, v: unknown) => (key === "span" ? spanEnds(v as SourceFile["span"]) : v))) as object };
}

function spanEnds({ start, end }: SourceFile["span"]): readonly [number, number] {
  return [start, end];
}

/** The tree again, without comments, where `text` is the one that it is of; it is made in the packed tree's place. */
export function unpack({ path: file, digest, tree }: PackedFile, text: string): SourceFile | undefined {
  if (digestOf(text) !== digest) return undefined;
  const pending: Record<string, unknown>[] = [tree as Record<string, unknown>];
  for (let node = pending.pop(); node; node = pending.pop()) {
    for (const key in node) {
      const value = node[key];
      if (typeof value !== "object" || value === null) continue;
      if (key === "span") {
        const [start, end] = value as readonly [number, number];
        node[key] = { file, start, end };
      } else pending.push(value as Record<string, unknown>);
    }
  }
  return { ...(tree as Omit<SourceFile, "path" | "text" | "comments">), path: file, text, comments: [] };
}

/** FNV-1a over UTF-16 units: tells a text that was changed after the package was built. */
function digestOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0) * 2 ** 20 + (text.length % 2 ** 20);
}
