import type { Code, Details } from "../diagnostics/index.ts";
import type { Node, SourceFile } from "./ast.ts";
import { childNodes } from "./walk.ts";

/** No tree is deeper: what walks one may recurse. */
export const maxTreeDepth = 500;

/**
 * Holds a finished tree to its promises. Expressions deeper than `maxTreeDepth` become a `Missing`, with one report
 * (brackets are bounded before parsing, but chains such as `a.b.b.b…` are not). In a broken text, parts that recovery
 * made up may lie at the edge of their parent: its span grows to hold them.
 */
export function repairTree(file: SourceFile, tokens: number, broken: boolean, report: (code: Code, message: string, details: Details) => void): void {
  if (tokens > maxTreeDepth && cutDepth(file, report)) broken = true;
  if (broken) coverChildren(file);
}

type Mutable = Record<string, unknown>;

function cutDepth(file: SourceFile, report: (code: Code, message: string, details: Details) => void): boolean {
  const stack: { node: Node; depth: number }[] = [{ node: file, depth: 0 }];
  let cut = false;
  for (let next = stack.pop(); next; next = stack.pop()) {
    const { node, depth } = next;
    if (depth >= maxTreeDepth && "kind" in node) {
      if (!cut) report("MOE1020", `nested more than ${maxTreeDepth} deep`, { at: node.span, help: "give inner parts a name of their own" });
      cut = true;
      const changed = node as unknown as Mutable;
      for (const key of Object.keys(changed)) if (key !== "span") delete changed[key];
      changed["kind"] = "missing";
      continue;
    }
    for (const child of childNodes(node)) stack.push({ node: child, depth: depth + 1 });
  }
  return cut;
}

function coverChildren(root: Node): void {
  const order: Node[] = [root];
  for (let i = 0; i < order.length; i++) for (const child of childNodes(order[i]!)) order.push(child);
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i]!;
    let { start, end } = node.span;
    for (const child of childNodes(node)) {
      start = Math.min(start, child.span.start);
      end = Math.max(end, child.span.end);
    }
    if (start !== node.span.start || end !== node.span.end) (node as unknown as Mutable)["span"] = { file: node.span.file, start, end };
  }
}
