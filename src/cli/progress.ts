import { SingleBar } from "cli-progress";
import type { StepMetrics } from "../runtime/index.ts";
import type { Terminal } from "./terminal.ts";

/** Milliseconds between two lines in a log. */
const lineEvery = 5000;

/** How a run goes: a bar for people who look on, a line now and then for logs, nothing for a machine. */
export class Progress {
  readonly #terminal: Terminal;
  #bar: SingleBar | undefined;
  #lastLine = 0;
  /** Seconds a step, smoothed. */
  #rate = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  step(m: StepMetrics): void {
    this.#rate = this.#rate === 0 ? m.seconds : 0.9 * this.#rate + 0.1 * m.seconds;
    const left = duration(this.#rate * (m.steps - m.step));
    const numbers = `loss ${m.loss.toFixed(4)}  balance ${m.balance.toFixed(4)}  ${Math.round(m.tokensPerSecond)} tokens/s  ${left} left`;
    if (this.#terminal.interactive) {
      if (!this.#bar) {
        this.#bar = new SingleBar({ format: "{bar} {value}/{total}  {numbers}", barCompleteChar: "█", barIncompleteChar: "░", barsize: 24, hideCursor: true, clearOnComplete: false, gracefulExit: false, stream: process.stderr });
        this.#bar.start(m.steps, m.step, { numbers });
      }
      this.#bar.update(m.step, { numbers });
      return;
    }
    const now = performance.now();
    if (this.#lastLine !== 0 && now - this.#lastLine < lineEvery && m.step !== m.steps) return;
    this.#lastLine = now;
    this.#terminal.say(`step ${m.step}/${m.steps}  ${numbers}`);
  }

  /** Leaves the bar as it stands, the cursor on the line below it. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
