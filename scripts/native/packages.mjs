import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { link } from "./link.mjs";
import { run, step, StepError } from "./run.mjs";

/**
 * Installs packages without touching package.json, the lock file or other packages: into the cache folder `stage` (below
 * .native), without their install scripts, and links to them from the node_modules of the folder that the command line names
 * (this project's by default). Ends the process where that cannot be done.
 */
export function installPackages(stageName, packages) {
  try {
    const project = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..");
    const into = path.resolve(process.argv[2] ?? project);
    const wanted = Object.entries(packages).map(([name, version]) => `${name}@${version}`);
    const stage = path.join(project, ".native", stageName);
    const done = path.join(stage, ".complete");
    step(wanted.join(" and "), () => {
      if (fs.existsSync(done)) return "there already";
      fs.rmSync(stage, { recursive: true, force: true });
      fs.mkdirSync(stage, { recursive: true });
      fs.writeFileSync(path.join(stage, "package.json"), '{ "private": true }\n');
      run("Installing the packages", "npm", ["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", ...wanted], { cwd: stage });
      fs.writeFileSync(done, "");
      return undefined;
    });
    for (const name of Object.keys(packages)) {
      step(`link to ${name}`, () => link(path.join(stage, "node_modules", ...name.split("/")), path.join(into, "node_modules", ...name.split("/"))));
    }
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    process.stderr.write(`\n${error.message}\n${error.help ? `\n${error.help}\n` : ""}`);
    process.exit(1);
  }
}
