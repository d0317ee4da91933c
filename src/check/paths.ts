import { diagnostic, nearest, type Diagnostic } from "../diagnostics/index.ts";
import type { Path, PathSegment } from "../parser/ast.ts";
import type { ModelNode } from "./model.ts";

/** `gate_*` as a test on names; every other character stands for itself. */
function globTest(glob: string): (name: string) => boolean {
  if (!glob.includes("*")) return (name) => name === glob;
  const parts = glob.split("*");
  return (name) => {
    // Greedy from the left is enough: each part is found as early as can be, the last must end the name.
    const first = parts[0]!;
    const last = parts[parts.length - 1]!;
    if (!name.startsWith(first) || name.length < first.length + last.length) return false;
    let at = first.length;
    for (const part of parts.slice(1, -1)) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return name.length - last.length >= at && name.endsWith(last);
  };
}

interface Matcher {
  /** `**` */
  readonly any: boolean;
  readonly tests: readonly ((name: string) => boolean)[];
}

function matcher(segment: PathSegment, only?: number): Matcher {
  const globs = only === undefined ? segment.globs : [segment.globs[only]!];
  return { any: globs.some((g) => g.text === "**"), tests: globs.map((g) => globTest(g.text)) };
}

/** Whether the first segments match the whole path. `**` takes any number of names. */
function matches(segments: readonly Matcher[], path: readonly string[], s = 0, p = 0): boolean {
  if (s === segments.length) return p === path.length;
  const segment = segments[s]!;
  if (segment.any) {
    for (let rest = p; rest <= path.length; rest++) if (matches(segments, path, s + 1, rest)) return true;
    return false;
  }
  return p < path.length && segment.tests.some((t) => t(path[p]!)) && matches(segments, path, s + 1, p + 1);
}

/** How a path is written, for messages. */
export function showPath(path: Path): string {
  return path.segments.map((s) => (s.braces ? `{${s.globs.map((g) => g.text).join(", ")}}` : (s.globs[0]?.text ?? ""))).join(".");
}

/**
 * The nodes that a path names. A path, or an alternative inside braces, that names nothing is an error with the
 * nearest names.
 */
export function resolvePath(path: Path, nodes: readonly ModelNode[], model: string, diagnostics: Diagnostic[]): ModelNode[] {
  const segments = path.segments;
  if (segments.length === 0 || segments.some((s) => s.globs.length === 0 || s.globs.some((g) => g.text === ""))) return [];
  if (segments.filter((s) => s.globs.some((g) => g.text === "**")).length > 4) {
    diagnostics.push(diagnostic("MOE3014", "a path has at most four `**`", { at: path.span }));
    return [];
  }
  const all = segments.map((s) => matcher(s));
  const found = nodes.filter((n) => matches(all, n.path));
  for (const [i, segment] of segments.entries()) {
    for (const [j, glob] of segment.globs.entries()) {
      const restricted = all.map((m, k) => (k === i ? matcher(segment, j) : m));
      if (nodes.some((n) => matches(restricted, n.path))) continue;
      // Only the first segment that fails is at fault: what comes after it was never reached.
      const prefix = restricted.slice(0, i + 1);
      if (nodes.some((n) => n.path.some((_, length) => matches(prefix, n.path.slice(0, length + 1))))) continue;
      const before = all.slice(0, i);
      const candidates = new Set<string>();
      for (const n of nodes) {
        for (let length = 0; length < n.path.length; length++) if (matches(before, n.path.slice(0, length))) candidates.add(n.path[length]!);
      }
      const near = nearest(glob.text, candidates);
      const numbers = [...candidates].filter((c) => /^\d+$/.test(c)).length;
      const list = numbers > 3 ? [...[...candidates].filter((c) => !/^\d+$/.test(c)), `0 … ${numbers - 1}`] : [...candidates];
      diagnostics.push(
        diagnostic("MOE3010", `"${glob.text}" matches nothing in the model "${model}"`, {
          at: glob.span,
          label: "no such name here",
          help: near.length ? `did you mean ${near.map((n) => `"${n}"`).join(" or ")}?` : `here are: ${list.slice(0, 12).join(", ")}${list.length > 12 ? ", …" : ""}`,
          fixes: near.length ? [{ title: `replace with ${near[0]}`, edits: [{ span: glob.span, text: near[0]! }], safe: near.length === 1 }] : [],
        }),
      );
      if (segment.globs.length === 1) return found;
    }
  }
  if (found.length === 0 && diagnostics.length === 0) diagnostics.push(diagnostic("MOE3010", `"${showPath(path)}" matches nothing in the model "${model}"`, { at: path.span }));
  return found;
}
