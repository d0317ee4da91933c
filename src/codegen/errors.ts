/** A graph that a target cannot print: a bug of a pass before it, or of the target; never a user's mistake. */
export class CodegenError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CodegenError";
  }
}
