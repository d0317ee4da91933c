import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, it } from "vitest";

/** docs/architecture.md, "Rooms": which room may import which. A room may always import itself. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  diagnostics: [],
  formats: ["diagnostics"],
  parser: ["diagnostics"],
  format: ["diagnostics", "parser"],
  check: ["parser", "diagnostics", "formats"],
  ir: ["diagnostics"],
  lower: ["check", "parser", "ir", "diagnostics"],
  passes: ["ir", "diagnostics", "formats"],
  codegen: ["ir", "diagnostics", "formats"],
  runtime: ["formats", "diagnostics"],
  compiler: ["diagnostics", "formats", "parser", "check", "ir", "lower", "passes", "codegen"],
  cli: ["diagnostics", "formats", "parser", "check", "ir", "lower", "passes", "codegen", "runtime", "compiler", "format"],
};

/** Places that may use Node's own modules; all else runs in a browser's page. */
const node = [/^src\/cli\//, /^src\/runtime\/files\//, /^src\/runtime\/backends\/node\//];

const sources = (function walk(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? walk(path) : path.endsWith(".ts") ? [path] : [];
  });
})("src");

const room = (path: string): string => path.split("/")[1]!;

function importsOf(path: string): string[] {
  const text = readFileSync(path, "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  return [...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^;"'`]*?from\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)|(?:^|\n)\s*import\s*["']([^"']+)["']/g)].map((m) => (m[1] ?? m[2] ?? m[3])!);
}

it("looks at every room", () => {
  expect([...new Set(sources.map(room))].sort()).toEqual(Object.keys(arrows).sort());
});

it("imports only along the arrows that the architecture allows", () => {
  const wrong: string[] = [];
  for (const path of sources) {
    for (const wanted of importsOf(path)) {
      if (!wanted.startsWith(".")) continue;
      const target = relative(".", resolve(dirname(path), wanted));
      const [from, to] = [room(path), room(target)];
      if (from !== to && !arrows[from]!.includes(to)) wrong.push(`${path} imports ${target}: ${from} → ${to}`);
    }
  }
  expect(wrong).toEqual([]);
});

it("keeps Node's modules to the places that need them", () => {
  const wrong = sources.flatMap((path) =>
    node.some((n) => n.test(path)) ? [] : importsOf(path).flatMap((m) => (m.startsWith("node:") ? [`${path} imports ${m}`] : [])),
  );
  expect(wrong).toEqual([]);
});
