#!/usr/bin/env node
import module from "node:module";
import { compileCacheFolder } from "./compile-cache.ts";

// Where Node can keep compiled code (from 22.8 on), all that comes after this starts the faster for it.
const { enableCompileCache } = module as { readonly enableCompileCache?: (folder: string) => unknown };
const folder = enableCompileCache && compileCacheFolder(process.env);
if (folder !== undefined) enableCompileCache!(folder);

await import("./main.ts");
