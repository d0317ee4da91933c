#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { didYouMean } from "../diagnostics/index.ts";
import { version } from "../compiler/version.ts";
import { exitCodes, guarded, Terminal, type GlobalOptions } from "./terminal.ts";

const backends = ["auto", "tfjs-node-gpu", "tfjs-node", "webgpu", "wasm", "cpu"];

function wholeNumber(text: string): number {
  const n = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(n) || n < 0) throw new InvalidArgumentError("It is a whole number of at least 0.");
  return n;
}

function positiveNumber(text: string): number {
  const n = wholeNumber(text);
  if (n < 1) throw new InvalidArgumentError("It is a whole number of at least 1.");
  return n;
}

function number(text: string): number {
  const n = Number(text);
  if (text.trim() === "" || !Number.isFinite(n)) throw new InvalidArgumentError("It is a number.");
  return n;
}

function assignment(text: string, before: ReadonlyMap<string, string> = new Map()): ReadonlyMap<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It is name=value.");
  return new Map([...before, [text.slice(0, at).trim(), text.slice(at + 1).trim()]]);
}

const program = new Command("moec")
  .description("A small language and a compiler for mixture-of-experts adapters.")
  .version(version, "-V, --version")
  .option("--json", "results and diagnostics as JSON")
  .option("--no-color", "no colours (also: NO_COLOR=1)")
  .showHelpAfterError("(moec --help lists the commands)")
  .configureHelp({ sortSubcommands: false })
  .exitOverride();

/** Runs a command module's work with the global options, and sets the exit code. */
function action<A extends unknown[]>(load: () => Promise<(terminal: Terminal, texts: Map<string, string>, ...args: A) => Promise<number>>) {
  return async function (this: Command, ...args: unknown[]): Promise<void> {
    const terminal = new Terminal(this.optsWithGlobals<GlobalOptions>());
    const texts = new Map<string, string>();
    process.exitCode = await guarded(terminal, () => texts, async () => (await load())(terminal, texts, ...(args.slice(0, -1) as A)));
  };
}

const setOption = () => new Option("--set <name=value>", "gives a value to a `param` of the spec (again for more)").argParser(assignment);
const baseOption = () => new Option("--base <folder>", "a checkpoint folder in place of the spec's");
const adapterOption = () => new Option("--adapter <name>", "which adapter, where the spec declares several");
const backendOption = () => new Option("--backend <name>", "where tensors are computed").choices(backends).default("auto");

program
  .command("check")
  .description("checks specs against the language and their checkpoints' headers; reads no weight")
  .argument("<files...>", "specs, or - for standard input")
  .addOption(setOption())
  .addOption(baseOption())
  .option("--strict", "tensors that the model does not use are errors")
  .action(action(async () => (await import("./commands/check.ts")).check));

program
  .command("build")
  .description("writes X.moe.ts, X.d.moe.ts and X.moe.json")
  .argument("<file>", "the spec")
  .requiredOption("-o, --out <folder>", "where the files go")
  .addOption(adapterOption())
  .addOption(setOption())
  .addOption(baseOption())
  .option("--explain", "says what the passes rewrote")
  .option("--graph", "also writes X.graph.txt, the graph after all passes")
  .action(action(async () => (await import("./commands/build.ts")).build));

program
  .command("train")
  .description("trains an adapter")
  .argument("<file>", "the spec")
  .addOption(adapterOption())
  .addOption(baseOption())
  .option("--data <file>", "JSONL rows in place of the spec's")
  .option("--steps <n>", "stops after so many steps in all", positiveNumber)
  .option("--out <folder>", "where the adapter, its checkpoints and metrics go (default: out/ADAPTER)")
  .addOption(backendOption())
  .option("--seed <n>", "of initial weights, order of data and dropout", wholeNumber)
  .option("--resume <folder>", "goes on with a run that stopped")
  .option("--checkpoint-every <steps>", "a checkpoint after so many steps (default: every minute)", positiveNumber)
  .option("--allow-nan", "takes a base that holds NaN or infinities as it is")
  .addOption(setOption())
  .action(action(async () => (await import("./commands/train.ts")).train));

program
  .command("eval")
  .description("loss and exact matches by kind of data, and how much weight each group gets on each kind")
  .argument("<folder>", "a trained adapter's folder; or a spec, for its base before training")
  .requiredOption("--data <file>", "JSONL rows")
  .addOption(adapterOption())
  .addOption(baseOption())
  .addOption(backendOption())
  .addOption(setOption())
  .action(action(async () => (await import("./commands/eval.ts")).evaluate));

program
  .command("generate")
  .description("continues a text")
  .argument("<folder>", "a trained adapter's folder; or a spec, for its base before training")
  .argument("<prompt>", "the text to continue, or - for standard input")
  .option("--max-tokens <n>", "at most so many new tokens", positiveNumber, 64)
  .option("--temperature <t>", "0 takes the most likely token", number, 0)
  .option("--top-p <p>", "samples among the most likely tokens of this joint probability", number, 1)
  .option("--kind <name>", "the kind of data the text is of, where routing asks for it")
  .option("--seed <n>", "of sampling", wholeNumber, 1)
  .addOption(adapterOption())
  .addOption(baseOption())
  .addOption(backendOption())
  .addOption(setOption())
  .action(action(async () => (await import("./commands/generate.ts")).generate));

program
  .command("verify")
  .description("runs a spec's site on tensors from elsewhere and compares outputs, gates, balance and gradients")
  .argument("<file>", "the spec")
  .requiredOption("--tensors <case>", "a safetensors file: x, C, base.weight, expert.0.A …, output, grad.x …")
  .addOption(new Option("--backend <name>", "what computes it").choices(["interpreter", ...backends]).default("interpreter"))
  .option("--tolerance <t>", "greatest relative error (default: 1e-9 in float64, 1e-4 in float32)", number)
  .option("--kinds <map>", "which kind each task type is, as 1=world_knowledge,0=downstream")
  .addOption(adapterOption())
  .addOption(baseOption())
  .addOption(setOption())
  .action(action(async () => (await import("./commands/verify.ts")).verify));

program
  .command("explain")
  .description("says what a diagnostic's code means; without a code lists all")
  .argument("[code]", "for example MOE3010")
  .action(action(async () => (await import("./commands/explain.ts")).explain));

program
  .command("doctor")
  .description("says which backends work here, and why others do not")
  .action(action(async () => (await import("./commands/doctor.ts")).doctor));

function commandNames(): string[] {
  return program.commands.map((c) => c.name());
}

async function main(): Promise<void> {
  // Errors of usage are Commander's to tell; a misspelt command gets the nearest one.
  const first = process.argv[2];
  if (first !== undefined && !first.startsWith("-") && first !== "help" && !commandNames().includes(first)) {
    process.stderr.write(`moec: there is no command "${first}"; ${didYouMean(first, commandNames()) ?? `there are: ${commandNames().join(", ")}`}\n`);
    process.exitCode = exitCodes.usage;
    return;
  }
  if (first === undefined) {
    program.outputHelp({ error: true });
    process.exitCode = exitCodes.usage;
    return;
  }
  for (const c of program.commands) c.exitOverride();
  try {
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? exitCodes.fine : exitCodes.usage;
  }
}

// A reader that stops reading (`| head`) ends the command in silence.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.fine);
  throw error;
});

await main();
