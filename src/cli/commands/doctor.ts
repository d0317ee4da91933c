import { probeBackends } from "../../runtime/backends/index.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

/** `moec doctor`: each backend, tried for real in a process of its own; 1 where none works. */
export async function doctor(terminal: Terminal): Promise<number> {
  terminal.say("trying each backend on a small matrix product …");
  const reports = await probeBackends();
  const code = reports.some((r) => r.usable) ? exitCodes.fine : exitCodes.errors;
  const chosen = reports.find((r) => r.usable && !r.software);
  if (terminal.json) {
    terminal.printJson({ auto: chosen?.name ?? null, backends: reports });
    return code;
  }
  const { green, yellow, red, bold } = terminal.resultColor;
  for (const r of reports) {
    const mark = !r.usable ? red("no  ") : r.software ? yellow("slow") : green("yes ");
    const facts = r.usable ? [r.version, r.device, r.milliseconds === undefined ? undefined : `${r.milliseconds.toFixed(1)} ms`] : [r.reason];
    terminal.print(`${mark} ${bold(r.name.padEnd(14))} ${facts.filter(Boolean).join(", ")}`);
    if (!r.usable && r.help) terminal.print(`     ${" ".repeat(14)} ${r.help}`);
  }
  terminal.print(`\n--backend auto takes ${bold(chosen?.name ?? "none of them")}. Times are of a float32 product [512, 512] by [512, 1376].`);
  return code;
}
