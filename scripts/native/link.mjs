import fs from "node:fs";
import path from "node:path";
import { StepError } from "./run.mjs";

/**
 * Makes `place` (in a node_modules) a relative link to the package folder `root`. A link that leads elsewhere is
 * replaced; anything else that is there is left alone, with a StepError. Says "there already" where nothing was to do.
 */
export function link(root, place) {
  let there;
  try {
    there = fs.lstatSync(place);
  } catch {
    there = undefined;
  }
  if (there?.isSymbolicLink()) {
    if (fs.existsSync(place) && fs.realpathSync(place) === fs.realpathSync(root)) return "there already";
    fs.unlinkSync(place);
  } else if (there) {
    throw new StepError(`${place} is there already, and not by this script.`, "Remove it (`npm uninstall`) and run this again.");
  }
  fs.mkdirSync(path.dirname(place), { recursive: true });
  const target = fs.realpathSync(root);
  fs.symlinkSync(path.relative(fs.realpathSync(path.dirname(place)), target), place);
  return undefined;
}
