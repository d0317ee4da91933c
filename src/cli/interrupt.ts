import { exitCodes, type Terminal } from "./terminal.ts";

/** The first Ctrl-C (or SIGTERM) ends after what is under way, a second one at once: what lies on the disk is whole either way. */
export class Interrupt {
  readonly #abort = new AbortController();
  readonly #handlers = (["SIGINT", "SIGTERM"] as const).map((name) => [name, (): void => this.#on(name)] as const);
  readonly #terminal: Terminal;
  readonly #unit: string;
  received: "SIGINT" | "SIGTERM" | undefined;

  /** `unit`: what is under way, "step". */
  constructor(terminal: Terminal, unit: string) {
    this.#terminal = terminal;
    this.#unit = unit;
    for (const [name, handler] of this.#handlers) process.on(name, handler);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  #on(name: "SIGINT" | "SIGTERM"): void {
    if (this.received) {
      // The cursor was hidden by the bar.
      if (this.#terminal.interactive) process.stderr.write("\x1b[?25h\n");
      process.exit(exitCodes.signal(name));
    }
    this.received = name;
    this.#terminal.say(`\nstopping after this ${this.#unit} (again to stop at once) …`);
    this.#abort.abort();
  }

  dispose(): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }
}
