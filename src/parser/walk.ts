import type { Node } from "./ast.ts";

/** Whether a value of the tree is a node (and not a span, a diagnostic, a list or a plain value). */
function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "span" in value;
}

/** The nodes directly below a node, in the order of its fields. Comments and diagnostics are none of them. */
export function childNodes(node: Node): Node[] {
  const children: Node[] = [];
  for (const [key, value] of Object.entries(node)) {
    if (key === "span" || key === "diagnostics" || key === "comments") continue;
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) children.push(item);
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
