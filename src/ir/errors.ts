/**
 * A graph that no correct pass would make: a broken constraint, an unbound size, an index out of range. It is moec's
 * own mistake (or that of a hand-written graph text), never a user's; what users see goes through diagnostics.
 */
export class GraphError extends Error {
  /** The constraint's number, as in "dot.C2" or "C-results"; absent where no numbered constraint is at fault. */
  readonly constraint: string | undefined;
  constructor(message: string, constraint?: string) {
    super(constraint === undefined ? message : `${constraint}: ${message}`);
    this.name = "GraphError";
    this.constraint = constraint;
  }
}
