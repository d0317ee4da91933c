import type { Diagnostic } from "../diagnostics/index.ts";
import type { Definitions } from "./definitions.ts";
import { Elaborator } from "./elaborate.ts";
import type { Emitter } from "./emitter.ts";
import type { Scope } from "./scope.ts";
import { TensorOps, type LineIndex } from "./tensors.ts";
import type { AxisTable } from "./values.ts";

/** What every elaboration of one program shares. */
export interface ElaborationContext {
  readonly axes: AxisTable;
  readonly definitions: Definitions;
  readonly constants: Scope;
  readonly lines: (file: string) => LineIndex | undefined;
}

/** An elaborator that writes to `emitter`, with dropout acting or not; `warn` takes its warnings. */
export function elaborator(context: ElaborationContext, emitter: Emitter, training: boolean, warn?: (d: Diagnostic) => void): Elaborator {
  return new Elaborator(new TensorOps(emitter, context.lines, context.axes), context.definitions.functions, training, warn);
}
