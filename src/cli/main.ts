import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { version } from "../compiler/version.ts";
import { diagnostic, didYouMean } from "../diagnostics/index.ts";
import { backendNames, everyBackend } from "../formats/backends.ts";
import { exitCodes, explainFailure, guarded, Terminal, type GlobalOptions } from "./terminal.ts";

const backends = ["auto", ...backendNames];

function wholeNumber(text: string): number {
  const n = Number(text);
  if (!/^\d+$/.test(text.trim()) || !Number.isSafeInteger(n)) throw new InvalidArgumentError("It is a whole number of at least 0.");
  return n;
}

function positiveNumber(text: string): number {
  const n = Number(text);
  if (!/^\d+$/.test(text.trim()) || !Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError("It is a whole number of at least 1.");
  return n;
}

/** A number from `least` on, to `most` where that is given. */
function number(least: number, most = Infinity): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (text.trim() === "" || !Number.isFinite(n) || n < least || n > most) {
      throw new InvalidArgumentError(`It is a number ${most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`}.`);
    }
    return n;
  };
}

function filled(text: string): string {
  if (text === "") throw new InvalidArgumentError("It is empty.");
  return text;
}

function filledAll(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, filled(text)];
}

function assignment(text: string, before: ReadonlyMap<string, string> = new Map()): ReadonlyMap<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It is name=value.");
  return new Map([...before, [text.slice(0, at).trim(), text.slice(at + 1).trim()]]);
}

/** `cluster=3`: each name once. */
function fieldValue(text: string, before: Readonly<Record<string, number>> = {}): Readonly<Record<string, number>> {
  const at = text.indexOf("=");
  const [name, value] = [text.slice(0, at).trim(), text.slice(at + 1).trim()];
  if (at < 1 || value === "" || !Number.isFinite(Number(value))) throw new InvalidArgumentError("It is name=number.");
  if (Object.hasOwn(before, name)) throw new InvalidArgumentError(`"${name}" is given twice.`);
  return { ...before, [name]: Number(value) };
}

/** `rank=1,2,4`: each name once, each value once. */
function valueList(text: string, before: ReadonlyMap<string, readonly string[]> = new Map()): ReadonlyMap<string, readonly string[]> {
  const at = text.indexOf("=");
  const [name, values] = [text.slice(0, at).trim(), text.slice(at + 1).split(",").map((v) => v.trim())];
  if (at < 1 || values.includes("")) throw new InvalidArgumentError("It is name=value,value,…");
  if (before.has(name)) throw new InvalidArgumentError(`"${name}" is listed twice.`);
  return new Map([...before, [name, [...new Set(values)]]]);
}

/** One of a few words, with the nearest one where it is none of them. */
function choice(names: readonly string[]): (text: string) => string {
  return (text) => {
    if (names.includes(text)) return text;
    throw new InvalidArgumentError(`\n${didYouMean(text, names) ?? ""}\nit is one of: ${names.join(", ")}`);
  };
}

const program = new Command("moec")
  .description("A small language and a compiler for mixture-of-experts adapters.")
  .version(version, "-V, --version", "the version of moec")
  .helpOption("-h, --help", "help on a command")
  .helpCommand("help [command]", "the same")
  .option("--json", "results as JSON on stdout, diagnostics as JSON on stderr")
  .option("--no-color", "no colours (also: NO_COLOR=1)")
  // Errors of usage are diagnostics like any other: `main` renders them.
  .configureOutput({ outputError: () => {} })
  .configureHelp({ showGlobalOptions: true })
  .exitOverride()
  .addHelpText("after", "\nExit codes: 0 fine, 1 mistakes in specs, files or data, 2 wrong usage, 70 a bug of moec; 130 after Ctrl-C.");

/** Runs a command module's work with the global options, and sets the exit code. */
function action<A extends unknown[]>(load: () => Promise<(terminal: Terminal, ...args: A) => Promise<number>>) {
  return async function (this: Command, ...args: unknown[]): Promise<void> {
    const terminal = new Terminal(this.optsWithGlobals<GlobalOptions>());
    let missing: string | undefined;
    process.exitCode = await guarded(terminal, async () => {
      missing = await (await import("./config.ts")).fillIn(terminal, this, args);
      return missing === undefined ? (await load())(terminal, ...(args.slice(0, -1) as A)) : exitCodes.usage;
    });
    if (missing !== undefined) throw new CommanderError(exitCodes.usage, "moec.missing", `error: ${missing}`);
  };
}

/** Lines under a command's help. */
const examples = (...lines: string[]): string => `\nFor example:\n${lines.map((l) => `  ${l}`).join("\n")}`;

const setOption = () => new Option("--set <name=value>", "gives a value to a `param` of the spec (again for more)").argParser(assignment);
const weightsOption = (): Option => new Option("--weights <folder>", "with a spec: a saved adapter, in moec's layout or PEFT's").argParser(filled);
const baseOption = () => new Option("--base <folder>", "a checkpoint folder in place of the spec's").argParser(filled);
const adapterOption = () => new Option("--adapter <name>", "which adapter, where the spec declares several").argParser(filled);
const seedOption = (of: string) => new Option("--seed <n>", `of ${of}`).argParser(wholeNumber);
const backendOption = (names = backends) =>
  new Option("--backend <name>", `what computes: ${names.join(", ")}`).argParser(choice(names)).default(names[0]);
const forOption = () =>
  new Option("--for <backend>", `what the code is laid out for: ${backendNames.join(", ")}; it runs on every one`).argParser(choice([...backendNames])).default(everyBackend);
const targetText = "a trained adapter's folder; or a spec, for its base before training";

program
  .command("check")
  .description("checks specs against the language and their checkpoints' headers; reads no weight")
  .argument("[files...]", "specs, or - for standard input (default: those of moec.config.json)", filledAll, [])
  .addOption(setOption())
  .addOption(baseOption())
  .option("--strict", "tensors that the model does not use are errors")
  .addHelpText("after", examples("moec check loramoe.moe", "moec check --json *.moe", "cat loramoe.moe | moec check -"))
  .action(action(async () => (await import("./commands/check.ts")).check));

program
  .command("fmt")
  .description("lays specs out as the Prettier plugin does; keeps meaning and comments")
  .argument("<files...>", "specs, or - from standard input to standard output", filledAll)
  .option("--check", "writes nothing; exit code 1 where a file would change")
  .addHelpText("after", examples("moec fmt *.moe", "moec fmt --check *.moe", "moec fmt - < loramoe.moe"))
  .action(action(async () => (await import("./commands/fmt.ts")).fmt));

program
  .command("build")
  .description("writes X.moe.ts, X.d.moe.ts and X.moe.json")
  .argument("[files...]", "specs, or - for standard input (default: those of moec.config.json)", filledAll, [])
  .addOption(new Option("-o, --out <folder>", "where the files go (default: `out` of moec.config.json)").argParser(filled))
  .addOption(adapterOption())
  .addOption(setOption())
  .addOption(baseOption())
  .addOption(forOption())
  .option("--explain", "says what the passes rewrote")
  .option("--graph", "also writes X.graph.txt, the graph after all passes")
  .option("--onnx", "also writes X.ENTRY.onnx, each entry as an ONNX model")
  .addHelpText("after", examples("moec build loramoe.moe -o src/generated", "moec build loramoe.moe -o src/generated --for tfjs-node"))
  .action(action(async () => (await import("./commands/build.ts")).build));

program
  .command("init")
  .description("a new project: a spec, a few rows of data, moec.config.json; writes over nothing")
  .argument("[folder]", "where (default: here)", filled)
  .addOption(new Option("--base <folder>", "the base checkpoint (default: models/base in the project)").argParser(filled))
  .addOption(new Option("--name <name>", "the package's name (default: the folder's)").argParser(filled))
  .option("-y, --yes", "asks nothing")
  .addHelpText("after", examples("moec init my-adapter", "moec init my-adapter --yes --base models/llama-2-7b"))
  .action(action(async () => (await import("./commands/init.ts")).init));

program
  .command("plan")
  .description("what an adapter costs: parameters, operations and memory, from the base's headers; reads no weight")
  .argument("<file>", "the spec, or - for standard input", filled)
  .addOption(adapterOption())
  .addOption(baseOption())
  .option("--batch <n>", "samples in a step (default: the spec's)", positiveNumber)
  .option("--length <n>", "tokens in a sample (default: the spec's)", positiveNumber)
  .addOption(forOption())
  .addOption(setOption())
  .addHelpText("after", examples("moec plan loramoe.moe", "moec plan loramoe.moe --base models/llama-2-7b --batch 8 --length 1024 --json"))
  .action(action(async () => (await import("./commands/plan.ts")).plan));

program
  .command("sweep")
  .description("every combination of values for the spec's params: what each costs and, with --train, how it does")
  .argument("<file>", "the spec", filled)
  .addOption(new Option("--over <name=a,b,…>", "the values of a `param` to try (again for more)").argParser(valueList).makeOptionMandatory())
  .option("--all", "more than 200 combinations, too")
  .addOption(setOption())
  .addOption(adapterOption())
  .addOption(baseOption())
  .option("--batch <n>", "samples in a step, for the costs (default: the spec's)", positiveNumber)
  .option("--length <n>", "tokens in a sample, for the costs (default: the spec's)", positiveNumber)
  .option("--train", "trains and tests each; what is finished in the folder is not run again")
  .addOption(new Option("--data <file>", "JSONL rows in place of the spec's").argParser(filled))
  .option("--steps <n>", "how many steps, in place of the spec's", positiveNumber)
  .addOption(backendOption())
  .addOption(new Option("-o, --out <folder>", "where runs and sweep.json go (default with --train: out/sweep-ADAPTER)").argParser(filled))
  .addHelpText("after", examples("moec sweep sensitivity.moe --over rank=1,2,4,8 --over experts=4,6,8", "moec sweep sensitivity.moe --over rank=1,8 --train --steps 100 -o out/ranks"))
  .action(action(async () => (await import("./commands/sweep.ts")).sweep));

program
  .command("train")
  .description("trains an adapter; Ctrl-C stops it so that it can be resumed")
  .argument("<file>", "the spec, or - for standard input", filled)
  .addOption(adapterOption())
  .addOption(baseOption())
  .addOption(new Option("--data <file>", "JSONL rows in place of the spec's").argParser(filled))
  .option("--steps <n>", "how many steps in all, in place of the spec's", positiveNumber)
  .addOption(new Option("--out <folder>", "where the adapter, its checkpoints and metrics go (default: out/ADAPTER)").argParser(filled))
  .addOption(backendOption())
  .addOption(seedOption("initial weights, order of data and dropout"))
  .addOption(new Option("--resume <folder>", "goes on with a run that stopped").argParser(filled).conflicts(["out", "restart"]))
  .option("--restart", "begins anew, though the folder holds a run that stopped")
  .option("--checkpoint-every <steps>", "a checkpoint after so many steps (default: every minute)", positiveNumber)
  .option("--allow-nan", "takes a base that holds NaN or infinities as it is")
  .addOption(setOption())
  .addHelpText("after", examples("moec train loramoe.moe", "moec train loramoe.moe --steps 50 --out out/short --backend wasm", "moec train loramoe.moe --resume out/LoRAMoE"))
  .action(action(async () => (await import("./commands/train.ts")).train));

program
  .command("eval")
  .description("loss and exact matches by kind of data, and how much weight each group gets on each kind")
  .argument("<folder>", targetText, filled)
  .addOption(new Option("--data <file>", "JSONL rows").argParser(filled).makeOptionMandatory())
  .addOption(weightsOption())
  .addOption(adapterOption())
  .addOption(baseOption())
  .addOption(backendOption())
  .addOption(setOption())
  .addHelpText("after", examples("moec eval out/LoRAMoE --data data/test.jsonl", "moec eval loramoe.moe --data data/test.jsonl --json"))
  .action(action(async () => (await import("./commands/eval.ts")).evaluate));

program
  .command("generate")
  .description("continues a text")
  .argument("<folder>", targetText, filled)
  .argument("<prompt>", "the text to continue, or - for standard input")
  .option("--max-tokens <n>", "at most so many new tokens", positiveNumber, 64)
  .option("--temperature <t>", "0 takes the most likely token", number(0), 0)
  .option("--top-p <p>", "samples among the most likely tokens of this joint probability", number(0, 1), 1)
  .addOption(new Option("--kind <name>", "the kind of data the text is of, where routing asks for it").argParser(filled))
  .addOption(new Option("--field <name=value>", "a number that routing looks at (again for more)").argParser(fieldValue))
  .addOption(seedOption("sampling").default(1))
  .addOption(weightsOption())
  .addOption(adapterOption())
  .addOption(baseOption())
  .addOption(backendOption())
  .addOption(setOption())
  .addHelpText("after", examples('moec generate out/LoRAMoE "The capital of France is"'))
  .action(action(async () => (await import("./commands/generate.ts")).generate));

program
  .command("merge")
  .description("writes the base with a trained adapter in its weights, as a checkpoint of its own; refuses what no weights can do")
  .argument("<folder>", "a trained adapter's folder; or a spec, with --weights", filled)
  .addOption(new Option("-o, --out <folder>", "where the checkpoint goes: a folder that is not there, or is empty").argParser(filled).makeOptionMandatory())
  .addOption(new Option("--kind <name>", "the kind of data that it is for, where gates depend on it").argParser(filled))
  .addOption(new Option("--field <name=value>", "a number that gates depend on (again for more)").argParser(fieldValue))
  .addOption(weightsOption())
  .addOption(adapterOption())
  .addOption(baseOption())
  .addOption(setOption())
  .addHelpText("after", examples("moec merge out/LoRA -o models/merged", "moec merge out/MOELoRA -o models/summaries --kind summary"))
  .action(action(async () => (await import("./commands/merge.ts")).merge));

program
  .command("verify")
  .description("runs a spec's site on tensors from elsewhere and compares outputs, gates, balance and gradients")
  .argument("<file>", "the spec, or - for standard input", filled)
  .addOption(new Option("--tensors <case>", "a safetensors file: x, C, base.weight, expert.0.A …, output, grad.x …").argParser(filled).makeOptionMandatory())
  .addOption(backendOption(["interpreter", ...backends]))
  .option("--tolerance <t>", "greatest relative error (default: 1e-9 in float64, 1e-4 in float32)", number(0))
  .option("--kinds <map>", "which kind each task type is, as 1=world_knowledge,0=downstream", filled)
  .addOption(adapterOption())
  .addOption(baseOption())
  .addOption(setOption())
  .addHelpText("after", examples("moec verify layer.moe --tensors case.safetensors", "moec verify layer.moe --tensors case.safetensors --backend wasm"))
  .action(action(async () => (await import("./commands/verify.ts")).verify));

program
  .command("explain")
  .description("says what a diagnostic's code means; without a code lists all")
  .argument("[code]", "for example MOE3002")
  .addHelpText("after", examples("moec explain MOE3002"))
  .action(action(async () => (await import("./commands/explain.ts")).explain));

program
  .command("doctor")
  .description("says which backends work here, and why others do not")
  .action(action(async () => (await import("./commands/doctor.ts")).doctor));

async function main(): Promise<void> {
  if (process.argv.length <= 2) {
    program.outputHelp({ error: true });
    process.exitCode = exitCodes.usage;
    return;
  }
  try {
    const [, , first, asked] = process.argv;
    // Commander shows the general help for a command that it does not know.
    const known = program.commands.map((c) => c.name());
    if (first === "help" && asked !== undefined && !asked.startsWith("-") && ![...known, "help"].includes(asked)) {
      throw new CommanderError(exitCodes.usage, "commander.unknownCommand", `unknown command '${asked}'\n${didYouMean(asked, known) ?? ""}`);
    }
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 || error.code === "commander.help" ? exitCodes.fine : usageError(error);
  }
}

/** What Commander says of a command line, as a diagnostic. */
function usageError(error: CommanderError): number {
  const terminal = new Terminal(program.opts<GlobalOptions>());
  const [first, ...more] = error.message.split("\n").map((l) => l.trim()).filter((l) => l !== "" && l !== "(outputHelp)");
  const message = first!.replace(/^error: /, "").replaceAll("'", '"').replace(/\. It is/, "; it is").replace(/\.$/, "");
  const help = more.map((l) => l.replace(/^\((.*)\)$/, "$1").replace(/^Did you mean (one of )?(.*)\?$/, (_, _one, names: string) => `did you mean ${names.split(", ").map((n) => `"${n}"`).join(" or ")}?`));
  const command = program.commands.find((c) => c.name() === program.args[0])?.name();
  terminal.show([diagnostic("MOE9001", message, { help: help.join(" ") || `\`moec ${command ? `${command} ` : ""}--help\` says what there is` })]);
  terminal.finish();
  return exitCodes.usage;
}

// A reader that stops reading (`| head`) ends the command in silence; a full disk does not.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.fine);
  process.stderr.write(`moec: standard output cannot be written: ${error.code ?? error.message}\n`);
  process.exit(exitCodes.errors);
});
// Messages that nobody reads any more are no reason to give up a run.
process.stderr.on("error", () => {});
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    const terminal = new Terminal();
    const code = explainFailure(terminal, error);
    process.exit(code);
  });
}

void main();
