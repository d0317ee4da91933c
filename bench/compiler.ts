/**
 * The compiler on files of 10 to 10,000 lines, next to TypeSpec's, Prisma's and Langium's on files of equal length. All
 * sides in one run, interleaved; each is given a text that it has not seen, as after a keystroke.
 *
 *     npm run bench -- compiler [--install] [--rounds 11] [--lines 10,100,1000,10000]
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkText, compileAdapter, printProgram, printTypes } from "../src/compiler/index.ts";
import { format } from "../src/format/index.ts";
import { NodeHost } from "../src/runtime/files/index.ts";
import { library } from "../src/cli/library.ts";
import { interleave, machine, type Measured, type Side } from "./measure.ts";
import { neighbour } from "./neighbours.ts";
import { textOf, type Language } from "./texts.ts";

interface Neighbour {
  /** With the version. */
  readonly name: string;
  readonly prepare: (folder: string) => Readonly<Record<string, (text: string) => Promise<void>>>;
}

export interface CompilerResult {
  readonly machine: ReturnType<typeof machine>;
  readonly rounds: number;
  /** Whole processes on a spec of 100 lines, each next to Node doing nothing. */
  readonly processes: readonly (Measured & { readonly beyondNode: number })[];
  readonly inProcess: readonly { readonly lines: number; readonly sides: readonly Measured[] }[];
}

const folder = "build/bench/compiler";
const base = "examples/models/tiny-llama";

/** moec's own sides. `build` is for the file's first adapter, as `moec build --adapter A0`. */
function own(): Readonly<Record<string, (text: string) => Promise<void>>> {
  const host = new NodeHost();
  const texts = library();
  const program = async (text: string): ReturnType<typeof checkText> => {
    const made = await checkText(host, "bench.moe", text, { library: texts, base });
    if (made.diagnostics.some((d) => d.severity === "error")) throw new Error(`moec: ${made.diagnostics[0]!.message}`);
    return made;
  };
  return {
    check: async (text) => void (await program(text)),
    format: async (text) => {
      if (format(text, "bench.moe").text === undefined) throw new Error("moec: the text was not formatted");
    },
    build: async (text) => {
      const made = await program(text);
      const adapter = made.checked.adapters[0]!;
      const compiled = await compileAdapter(made, adapter);
      await printProgram(compiled, { types: true, format: true, runtimeImport: "moec/runtime" });
      printTypes(compiled);
    },
  };
}

/** What each neighbour does that moec does; its own words for it. */
const others: readonly { readonly module: string; readonly language: Language; readonly does: Readonly<Record<string, string>> }[] = [
  { module: "typespec", language: "typespec", does: { check: "compile, again", format: "format" } },
  { module: "prisma", language: "prisma", does: { check: "validate", format: "format" } },
  { module: "langium", language: "langium", does: { parse: "parse a grammar" } },
];

/** A side that is given a new text each round: a comment at its head moves all that follows. */
function edited(name: string, text: string, comment: string, run: (text: string) => Promise<void>): Side {
  let round = 0;
  return { name, run: () => run(`${comment} ${round++}\n${text}`) };
}

async function inProcess(lines: number, rounds: number): Promise<readonly Measured[]> {
  const moec = textOf("moec", lines - 1);
  const words: Readonly<Record<string, string>> = { check: "check, again", format: "format", build: "build" };
  const sides = Object.entries(own())
    .filter(([verb]) => verb !== "build" || moec.includes("adapter"))
    .map(([verb, run]) => edited(`moec ${words[verb]}`, moec, "//", run));
  const warmup = lines > 1000 ? 2 : 8;
  // First by itself, as in an editor's server: later the collector cleans up after others in whoever runs.
  const [check] = sides;
  const alone = await interleave([{ ...check!, name: `${check!.name}, alone` }], rounds, 2 * warmup);
  for (const { module, language, does } of others) {
    const found = await neighbour<Neighbour>(module);
    if (!found) continue;
    const text = textOf(language, lines - 1);
    const verbs = found.prepare(join(folder, `${module}-${lines}`));
    for (const [verb, words] of Object.entries(does)) sides.push(edited(`${found.name} ${words}`, text, "//", verbs[verb]!));
  }
  // Compilers are warm before they are timed: what a server or a watcher sees. Starts are the processes' business.
  return [...alone, ...(await interleave(sides, rounds, warmup))];
}

/** A process of Node's, from its start to its end. */
function starting(name: string, args: readonly string[]): Side {
  return {
    name,
    run: async () => {
      const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
      if (status !== 0) throw new Error(`${name}: ${stderr}`);
    },
  };
}

async function processes(rounds: number): Promise<CompilerResult["processes"]> {
  if (spawnSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" }).status !== 0) throw new Error("moec could not be built");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "hundred.moe");
  writeFileSync(file, textOf("moec", 100));
  const sides = [
    starting("node -e 0", ["-e", "0"]),
    starting("moec check", ["dist/cli.cjs", "check", file, "--base", base]),
    starting("moec fmt --check", ["dist/cli.cjs", "fmt", "--check", file]),
    starting("moec build", ["dist/cli.cjs", "build", file, "--adapter", "A0", "--base", base, "--out", join(folder, "out")]),
  ];
  if (await neighbour("typespec")) {
    const tsp = join(folder, "hundred.tsp");
    writeFileSync(tsp, textOf("typespec", 100));
    const program = "bench/neighbours/node_modules/@typespec/compiler/cmd/tsp.js";
    sides.push(starting("tsp compile --no-emit", [program, "compile", tsp, "--no-emit"]), starting("tsp format --check", [program, "format", "--check", tsp]));
  }
  const measured = await interleave(sides, rounds);
  return measured.map((m) => ({ ...m, beyondNode: m.median - measured[0]!.median }));
}

export async function benchCompiler(lines: readonly number[], rounds: number): Promise<CompilerResult> {
  const whole = await processes(rounds);
  const sizes = [];
  for (const n of lines) sizes.push({ lines: n, sides: await inProcess(n, n > 1000 ? Math.min(rounds, 5) : rounds) });
  return { machine: machine(), rounds, processes: whole, inProcess: sizes };
}
