import { diagnostic, nearest, type Details, type Diagnostic } from "../diagnostics/index.ts";
import type { Name, Path, PathSegment } from "../parser/ast.ts";
import type { ModelNode } from "./model.ts";
import { listed, suggest } from "./suggest.ts";

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

/** Whether some node, or a node above it, lies where the segments lead. */
function reaches(segments: readonly Matcher[], nodes: readonly ModelNode[]): boolean {
  return nodes.some((n) => n.path.some((_, length) => matches(segments, n.path.slice(0, length + 1))));
}

/** The names that stand right below where the segments lead. */
function namesBelow(segments: readonly Matcher[], nodes: readonly ModelNode[]): Set<string> {
  const names = new Set<string>();
  for (const n of nodes) {
    for (let length = 0; length < n.path.length; length++) if (matches(segments, n.path.slice(0, length))) names.add(n.path[length]!);
  }
  return names;
}

const isNumber = (name: string): boolean => /^\d+$/.test(name);

/** What to say of a name that names nothing, and what was probably meant by it. */
function nothingHere(
  glob: Name,
  below: ReadonlySet<string>,
  segments: readonly PathSegment[],
  i: number,
  model: string,
  nodes: readonly ModelNode[],
): { readonly diagnostic: Diagnostic; readonly near?: string } {
  const names = [...below].filter((n) => !isNumber(n));
  const layers = below.size - names.length;
  const say = (details: Pick<Details, "help" | "fixes">) => diagnostic("MOE3010", `"${glob.text}" matches nothing in the model "${model}"`, { at: glob.span, label: "no such name here", ...details });
  if (below.size === 0) return { diagnostic: say({ help: "the path ends before it: nothing lies below" }) };
  const [near] = nearest(glob.text, names, 1);
  if (near !== undefined) return { diagnostic: say(suggest(glob, names)), near };
  if (layers > 0 && isNumber(glob.text)) return { diagnostic: say({ help: `the layers are 0 to ${layers - 1}` }) };
  if (names.length === 0) {
    const fix = { title: "take every layer", edits: [{ span: glob.span, text: `*.${glob.text}` }], safe: true };
    return { diagnostic: say({ help: `layers are numbered: write *.${glob.text}, or a number from 0 to ${layers - 1}`, fixes: segments[i]!.braces ? [] : [fix] }) };
  }
  // Checkpoints call their tensors model.layers…: that prefix is theirs, paths here follow the model definition.
  const next = segments[i + 1];
  if (i === 0 && next && !segments[0]!.braces && reaches([matcher(next)], nodes)) {
    const edits = [{ span: { ...glob.span, end: next.span.start }, text: "" }];
    return { diagnostic: say({ help: `leave it out: paths here begin with ${names.join(", ")}`, fixes: [{ title: "leave it out", edits, safe: true }] }) };
  }
  return { diagnostic: say({ help: listed("here are", names)! }) };
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
  const before = diagnostics.length;
  // What a segment means: its own names, and for one that names nothing what was probably meant, so that the segments
  // after it are judged as if it were repaired.
  const meant: Matcher[] = [];
  let lost = false;
  for (const [i, segment] of segments.entries()) {
    const tests = [...all[i]!.tests];
    for (const [j, glob] of segment.globs.entries()) {
      const only = matcher(segment, j);
      if (reaches([...meant, only], nodes)) continue;
      const { diagnostic: d, near } = nothingHere(glob, namesBelow(meant, nodes), segments, i, model, nodes);
      diagnostics.push(d);
      if (near !== undefined) tests.push(globTest(near));
      else lost = true;
    }
    // Where it is not known what was meant, nothing can be said of what comes after.
    if (lost) return found;
    meant.push({ any: all[i]!.any, tests });
  }
  if (diagnostics.length > before) return found;
  if (found.length === 0) {
    const below = [...namesBelow(all, nodes)];
    diagnostics.push(
      diagnostic("MOE3010", `"${showPath(path)}" names no part of the model "${model}"`, {
        at: path.span,
        ...(below.length ? { help: `it goes on: ${showPath(path)}.${below.every(isNumber) ? "*" : below[0]!}` } : {}),
      }),
    );
    return found;
  }
  // Every name in braces adds something, or it was a mistake: {self_attn, mlp}.q_proj means self_attn alone.
  for (const [i, segment] of segments.entries()) {
    for (const [j, glob] of segment.globs.entries()) {
      if (segment.globs.length === 1) continue;
      const restricted = all.map((m, k) => (k === i ? matcher(segment, j) : m));
      if (nodes.some((n) => matches(restricted, n.path))) continue;
      diagnostics.push(diagnostic("MOE3010", `"${glob.text}" adds nothing: the rest of the path names nothing in it`, { at: glob.span, help: "leave it out" }));
    }
  }
  return found;
}
