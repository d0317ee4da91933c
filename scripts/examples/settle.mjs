/** What the makers of the examples' files share: write them, or with `--check` say which are out of date. */
import { mkdir, readFile, writeFile } from "node:fs/promises";

const examples = new URL("../../examples/", import.meta.url);

/**
 * Writes `files` (name to text) into a folder under examples/. With `--check` on the command line nothing is written:
 * each file that differs from its text is named on stderr, and the exit status is 1 if there is one.
 */
export async function settle(folder, files) {
  const check = process.argv.includes("--check");
  const at = new URL(`${folder}/`, examples);
  if (!check) await mkdir(at, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    const file = new URL(name, at);
    if (!check) {
      await writeFile(file, text);
      continue;
    }
    if ((await readFile(file, "utf8").catch(() => undefined)) === text) continue;
    process.stderr.write(`examples/${folder}/${name} is out of date: run \`node ${scriptName()}\`\n`);
    process.exitCode = 1;
  }
}

const scriptName = () => `scripts/examples/${process.argv[1].split(/[\\/]/).at(-1)}`;
