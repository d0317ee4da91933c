import type { OpName } from "../graph.ts";
import { globalConstraints } from "../verify.ts";
import { type AttributeSpec, type OperandSpec, describeKind, opGroups, rowOf } from "./index.ts";

/** The part of `docs/graph.md` that the op table writes: `scripts/docs-ops.mjs` puts it there. */
export function opsDocument(): string {
  const groups = opGroups.map((g) => `### ${g.title}\n\n${g.ops.map(opSection).join("\n")}`);
  const rules = Object.entries(globalConstraints).map(([id, text]) => `- **${id}**: ${text}`);
  return `## Rules for whole graphs\n\n${rules.join("\n")}\n\n## Operations\n\n${groups.join("\n")}`;
}

function opSection(op: OpName): string {
  const row = rowOf(op);
  const attributes = Object.entries(row.attributes as Readonly<Record<string, AttributeSpec>>);
  const lines = [
    `#### \`${op}(${signature(row.operands)})\``,
    "",
    `${row.summary} Result: ${row.result}.`,
    "",
    ...attributes.map(([name, spec]) => `- \`${name}\`: ${describeKind(spec.kind)}${spec.optional ? ", may be left out" : ""}`),
    ...row.constraints.map((c) => `- **${c.id}**: ${c.text}`),
    ...(row.decompose ? ["- a composite: it has a decomposition for targets without a kernel of their own"] : []),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

function signature(operands: OperandSpec): string {
  return [...operands.names, ...(operands.rest ? [`${operands.rest.name}…`] : [])].join(", ");
}
