import type { Node } from "./ast.ts";

/** Whether a value of the tree is a node (and not a span, a diagnostic, a list or a plain value). */
function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "span" in value;
}

/** The nodes directly below a node, in the order of its fields. Comments and diagnostics are none of them. */
export function childNodes(node: Node): Node[] {
  const children: Node[] = [];
  // Nodes are plain objects; `for in` makes no list of their fields, and this is asked of every node of a text several times.
  for (const key in node) {
    const value = (node as unknown as Readonly<Record<string, unknown>>)[key];
    if (typeof value !== "object" || key === "span" || key === "diagnostics" || key === "comments") continue;
    if (Array.isArray(value)) {
      for (const item of value as readonly unknown[]) if (isNode(item)) children.push(item);
    } else if (isNode(value)) children.push(value);
  }
  return children;
}

/** Visits a tree, parents first. Without recursion, so that no tree is too deep. `visit` returns false to go no deeper. */
export function walk(root: Node, visit: (node: Node, depth: number) => boolean | void): void {
  const stack: { node: Node; depth: number }[] = [{ node: root, depth: 0 }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    if (visit(next.node, next.depth) === false) continue;
    const children = childNodes(next.node);
    for (let i = children.length - 1; i >= 0; i--) stack.push({ node: children[i]!, depth: next.depth + 1 });
  }
}
