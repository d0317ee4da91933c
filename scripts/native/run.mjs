import { spawnSync } from "node:child_process";

/** A step that failed, told without a stack. */
export class StepError extends Error {
  constructor(message, help) {
    super(message);
    this.name = "StepError";
    this.help = help;
  }
}

/**
 * Runs a program to its end and returns its standard output. Throws a StepError with the end of what it printed when
 * it cannot be started or fails; `what` says in words what was being done.
 */
export function run(what, command, args, { cwd, env, help } = {}) {
  const done = spawnSync(command, args, { cwd, env: { ...process.env, ...env }, encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.error) throw new StepError(`${what}: ${command} cannot be started (${done.error.code ?? done.error.message}).`, help);
  if (done.status !== 0) {
    const said = `${done.stdout}\n${done.stderr}`.split("\n").filter((line) => line.trim() !== "").slice(-25).map((line) => `    ${line}`).join("\n");
    throw new StepError(`${what} failed (${command} ended with ${done.signal ?? `exit code ${done.status}`}):\n${said}`, help);
  }
  return done.stdout;
}

/** Prints a step's name, does it, prints how long it took. A step that returns a text has it printed too. */
export function step(name, work) {
  const start = performance.now();
  process.stderr.write(`• ${name} … `);
  try {
    const note = work();
    process.stderr.write(`${typeof note === "string" ? `${note}, ` : ""}${((performance.now() - start) / 1000).toFixed(1)} s\n`);
  } catch (error) {
    process.stderr.write("failed\n");
    throw error;
  }
}
