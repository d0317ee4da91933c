#!/usr/bin/env node
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Script } from "node:vm";
import { codeFolder, keepCode, readCode } from "./compiled-code.ts";

// Runs `main.cjs`, beside this file: the whole command line as one script, from the code that V8 compiled of it in an earlier
// run of the same command. To compile it anew takes longer than most checks. Node's own cache (`module.enableCompileCache`, from
// 22.8 on) keeps modules as they were loaded; this one keeps the functions that the command called as well.

declare const MOEC_BUILD: string;

const path = join(__dirname, "main.cjs");
const before = "(function (require, module, exports, __filename, __dirname, importModule) {";
const folder = codeFolder(process.env);
const file = folder && join(folder, nameOf());
const kept = file === undefined ? undefined : readCode(file);
const script = new Script(`${before}${readFileSync(path, "latin1")}\n})`, {
  filename: path,
  columnOffset: -before.length,
  ...(kept ? { cachedData: kept.data as Buffer } : {}),
});

if (file !== undefined) {
  const known = kept && script.cachedDataRejected !== true ? kept.bytecode : 0;
  process.once("exit", (code) => {
    if (code !== 0) return;
    const { getHeapCodeStatistics } = process.getBuiltinModule("node:v8");
    const bytecode = getHeapCodeStatistics().bytecode_and_metadata_size;
    // An eighth more: the command went ways that it had not gone before.
    if (bytecode > known * 1.125) keepCode(file, { data: script.createCachedData(), bytecode });
  });
}

const module = { exports: {} };
(script.runInThisContext() as (...args: unknown[]) => void)(createRequire(path), module, module.exports, path, __dirname, (url: string): Promise<unknown> => import(url));

/** One file for each command, of this build and this Node: commands share little of what they call. */
function nameOf(): string {
  const { size, mtimeMs } = statSync(path);
  const command = /^[a-z]{1,16}$/.exec(process.argv[2] ?? "")?.[0] ?? "moec";
  return `${command}-${MOEC_BUILD}-${size.toString(36)}${Math.trunc(mtimeMs).toString(36)}-${process.version}-${process.arch}.code`;
}
