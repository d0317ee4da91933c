import { basename, isAbsolute, join, relative, resolve, sep } from "node:path";
import { createInterface } from "node:readline/promises";
import { version } from "../../compiler/index.ts";
import { diagnostic, fail } from "../../diagnostics/index.ts";
import { atomicWrite, NodeHost } from "../../runtime/files/index.ts";
import { requireFolder } from "../load.ts";
import { projectFiles } from "../templates/project.ts";
import { exitCodes, type Terminal } from "../terminal.ts";

interface Options {
  readonly base?: string;
  readonly name?: string;
  readonly yes?: boolean;
}

/** `moec init [DIR]`: writes a new project; asks only a person who is there, and writes over nothing. */
export async function init(terminal: Terminal, dir: string | undefined, options: Options): Promise<number> {
  const folder = dir ?? ".";
  await requireFolder(folder);
  const asking = options.yes !== true && terminal.interactive && process.stdin.isTTY === true;
  // Before questions: nobody answers them for nothing.
  await refuseOverwriting(folder, projectFiles({ name: "x", base: "x", version }).keys());
  const asked = asking ? await ask(options, packageName(folder)) : options;
  const given = asked.base ?? join(folder, "models/base");
  const name = asked.name ?? packageName(folder);
  const wrong = /["\\\n\r\0]/.test(given)
    ? `a base's path has no quotes, backslashes or line ends: ${JSON.stringify(given)}`
    : !/^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]{0,200}$/.test(name)
      ? `${JSON.stringify(name)} is no package's name: small letters, digits, and - . _ ~`
      : undefined;
  if (wrong !== undefined) {
    terminal.show([diagnostic("MOE9001", wrong)]);
    return exitCodes.usage;
  }
  // A spec's paths count from where it lies.
  const base = isAbsolute(given) ? given : relative(resolve(folder), resolve(given)).split(sep).join("/") || ".";
  const files = projectFiles({ name, base, version });
  for (const [name, text] of files) await atomicWrite(join(folder, name), text);
  const paths = [...files.keys()].map((name) => join(folder, name));
  if (terminal.json) terminal.printJson({ folder, base, files: paths });
  else for (const path of paths) terminal.print(path);
  const there = (await new NodeHost().stat(given)) !== undefined;
  const steps = [
    ...(folder === "." ? [] : [`cd ${folder}`]),
    ...(there ? [] : [`hf download HuggingFaceTB/SmolLM2-135M --local-dir ${base}   # or any checkpoint of the Llama family`]),
    "npm install",
    "npm run check",
  ];
  terminal.say(`\nnext:\n${steps.map((s) => `  ${s}`).join("\n")}`);
  return exitCodes.fine;
}

/** MOE9008 where one of the files exists. */
async function refuseOverwriting(folder: string, names: Iterable<string>): Promise<void> {
  const host = new NodeHost();
  const there: string[] = [];
  for (const name of names) if (await host.stat(join(folder, name))) there.push(name);
  if (there.length > 0) fail("MOE9008", `${folder} has ${there.join(", ")} already`, { help: "nothing was written; name another folder: moec init FOLDER" });
}

async function ask(options: Options, name: string): Promise<Options> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-C or Ctrl-D instead of an answer: nothing was written, and no answer will come.
  let answered = false;
  lines.once("close", () => {
    if (answered) return;
    process.stderr.write("\n");
    process.exit(exitCodes.signal("SIGINT"));
  });
  const question = async (text: string, otherwise: string): Promise<string> => (await lines.question(`${text} (${otherwise}) `)).trim() || otherwise;
  try {
    return {
      name: options.name ?? packageName(await question("name of the project?", name)),
      ...(options.base === undefined ? baseAnswer(await question("folder of the base checkpoint?", "models/base, to be filled")) : { base: options.base }),
    };
  } finally {
    answered = true;
    lines.close();
  }
}

/** The default is not an answer. */
function baseAnswer(text: string): { readonly base?: string } {
  return text.startsWith("models/base,") ? {} : { base: text };
}

/** A name that npm takes, from a folder's. */
export function packageName(folder: string): string {
  const name = basename(resolve(folder)).normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[._-]+|[-]+$/g, "").slice(0, 200);
  return name === "" || name === "node_modules" ? "my-adapter" : name;
}
