import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { syntaxCodes } from "../../src/diagnostics/codes/1xxx-syntax.ts";
import type { Diagnostic } from "../../src/diagnostics/index.ts";
import { parse } from "../../src/parser/index.ts";
import { checkTree, golden, root } from "./support.ts";

/** A clause, an item or a line, within what it belongs to; something whole follows, so that recovery shows. */
const around = {
  at: (s: string) => `base b = llama("m")\nadapter A on b {\n  at layers.*.mlp {\n    ${s}\n    unfreeze\n  }\n}\ntrain A {\n  epochs 1\n}\n`,
  expert: (s: string) => `expert e(rank: int) {\n  ${s}\n}\nfn after(x) = x\n`,
  body: (s: string) => `fn f(x, over: axis) {\n  ${s}\n}\nfn after(x) = x\n`,
  file: (s: string) => `${s}\nfn after(x) = x\n`,
};

const cases: readonly [keyof typeof around, string][] = [
  ["file", "base b = llama(\"m\")\nadapter A on b {\n  at layers.*.mlp.up_ proj {\n    unfreeze\n  }\n}"],
  ["at", "experts a[3 = lora(rank: 4)"],
  ["at", "experts a[3] = lora(rank: 4"],
  ["at", "experts a[3] = lora(rank 4, alpha: 2)"],
  ["at", "experts a[3] = lora(rank: 4 alpha: 2)"],
  ["at", "experts a[3] = lora(rank = 4, alpha: 2)"],
  ["at", "experts a[3] = lora(rank: , alpha: 2)"],
  ["at", "experts a = lora(rank: 2)"],
  ["at", "experts a[] = lora(rank: 2)"],
  ["at", "experts a[2] lora(rank: 2)"],
  ["at", "experts [2] = lora(rank: 2)"],
  ["at", "experts 2a[2] = lora(rank: 2)"],
  ["at", "exprts a[2] = lora(rank: 2)"],
  ["at", "route softmax"],
  ["at", "route softmax();"],
  ["at", "balance 0.1 localized()"],
  ["at", "balance 0.1 * localized"],
  ["at", "balance 0.1"],
  ["at", "balance 0.1 + localized()"],
  ["at", "balance localized() { a -> }"],
  ["at", "balance localized() { a - > b }"],
  ["at", "balance localized() { a b\n c -> d }"],
  ["at", "balance localized() mean sites"],
  ["at", "experts a[2] = patch { gate_proj up_proj: lora(rank: 2) }"],
  ["at", "experts a[2] = patch { gate_proj lora(rank: 2) }"],
  ["at", "experts a[2] = patch { gate_proj, up_proj }"],
  ["at", "experts a[2] = patch { gate_proj: lora }"],
  ["at", "experts a[2] = patch {}"],
  ["at", "experts a[2] = patch"],
  ["at", "always patch { gate_proj: lora(rank: 2)"],
  ["at", "mix"],
  ["at", "mix gates"],
  ["at", "mix weight"],
  ["file", "adapter A b { at ** { unfreeze } }"],
  ["file", "adapter A on b { at layers..mlp { unfreeze } }"],
  ["file", "adapter A on b { at layers.* mlp { unfreeze } }"],
  ["file", "adapter A on b { at { unfreeze } }"],
  ["file", "adapter A on b { layers.* { unfreeze } }"],
  ["file", "adapter A on b {\n  at ** { unfreeze }\n"],
  ["file", "adapter A on b {\n  at ** {\n    unfreeze\n}\n"],
  ["file", "adapter A on b { at ** { unfreeze } } }"],
  ["file", "adapter B = A { at ** { unfreeze } }"],
  ["file", "adapter B = with { at ** { unfreeze } }"],
  ["file", "adapter B A with { at ** { unfreeze } }"],
  ["file", "adapter B = A with { experts a[2] = lora() }"],
  ["file", 'base b llama("m")'],
  ["file", 'base b = llama("m)'],
  ["file", "train A { epochs = 1 batch: 8 length }"],
  ["file", "train A {\n  epochs\n  batch 8\n}"],
  ["file", 'train A {\n  "x" 1\n  batch 8\n}'],
  ["file", "train A {\n  optimizer adamw(lr: 2e-4, weight_decay: 0\n  batch 8\n}"],
  ["file", "hello world"],
  ["file", 'Base llama = llama("x")'],
  ["file", "param rank: int in [1, 2]"],
  ["file", "param rank = 4"],
  ["file", "const x ="],
  ["file", "const x = 12px"],
  ["file", "const x = 1."],
  ["file", "const x = .5"],
  ["file", "const x = 1_000"],
  ["file", "const x = 1e999"],
  ["file", "const x = 9007199254740993"],
  ["file", 'const x = "a\\qb\\u{110000}"'],
  ["file", "const then = 4"],
  ["file", "import common.moe"],
  ["file", "const s = \u201cx\u201d"],
  ["file", "const s = 2\u00a0* 3"],
  ["file", "const é = 2"],
  ["expert", "weight A [in rank] = zeros()\n  (x [in]) -> [out] = x @ A"],
  ["expert", "weight A = zeros()\n  (x [in]) -> [out] = x @ A"],
  ["expert", "weight A [in, rank] zeros()\n  (x [in]) -> [out] = x @ A"],
  ["expert", "frozen A = zeros()\n  (x [in]) -> [out] = x @ A"],
  ["expert", "state b [out] zeros()\n  (x [in]) -> [out] = x @ A"],
  ["expert", "sate b [out] = zeros()\n  (x [in]) -> [out] = x @ A"],
  ["expert", "update b + 1\n  (x [in]) -> [out] = x"],
  ["expert", "update b =\n  (x [in]) -> [out] = x"],
  ["expert", "require rank = 1\n  (x [in]) -> [out] = x"],
  ["expert", "require 1 <= rank <= 4\n  (x [in]) -> [out] = x"],
  ["expert", "p = 3\n  (x [in]) -> [out] = x"],
  ["expert", "require 1 <= rank"],
  ["expert", "(x [in]) -> [out]"],
  ["expert", "(x [in]) [out] = x"],
  ["expert", "(x [in]) -> out = x"],
  ["expert", "(x [in] -> [out] = x"],
  ["expert", "(x in]) -> [out] = x"],
  ["expert", "x [in] -> [out] = x"],
  ["expert", "(x [in]) -> [out] = x\n  (y [out]) -> [out] = y"],
  ["body", "y =\n  z = y * 2\n  z"],
  ["body", "y = x +\n  z = y * 2\n  z"],
  ["body", "y = x * * 2\n  y"],
  ["body", "y = (x * 2\n  z = y\n  z"],
  ["body", "y = x * 2)\n  y"],
  ["body", "y = x\n  x + y\n  z = 3\n  z"],
  ["body", "y = x"],
  ["body", ""],
  ["body", "if x = 1 then 2 else 3"],
  ["body", "if x == 1 then 2"],
  ["body", "if x then else 3"],
  ["body", "x ** 2"],
  ["body", "sum(x, over = over)"],
  ["body", "x && y"],
  ["body", "y = [1, 2\n  y"],
  ["body", "x[2](3)"],
  ["body", "2(x)"],
  ["body", "weight A [in] = zeros()\n  x"],
  ["body", "state b [in] = zeros()\n  x"],
  ["body", "update b = x\n  x"],
  ["file", "fn f(x = x"],
  ["file", "fn f x = x"],
  ["file", "fn f(x) x"],
  ["file", "fn (x) = x"],
  ["file", "fn f(x: ) = x"],
  ["file", "expert e(rank) { (x [in]) -> [out] = x }"],
  ["file", "expert e { (x [in]) -> [out] = x }"],
  ["file", "model m {\n  axis a = 2\n  (x [a]) -> [a] = x\n}"],
  ["file", "model m(c) {\n config {\n  a int\n  b: int = 3\n }\n (x [a]) -> [a] = x }"],
  ["file", "model m(c) {\n block b(x [h]) -> [h] {\n  linear l [h, h bias true\n  linear k [h, h]\n  l(x)\n }\n (x [a]) -> [a] = x }"],
];

/** `MOE1002 ⟨,⟩ message`, with help and fixes below. */
function show(diagnostic: Diagnostic, text: string): string {
  const span = diagnostic.primary!.span;
  const out = [`  ${diagnostic.code} ⟨${text.slice(span.start, span.end)}⟩ ${diagnostic.message}`];
  if (diagnostic.help) out.push(`    help: ${diagnostic.help}`);
  for (const fix of diagnostic.fixes) out.push(`    fix${fix.safe ? "" : "?"}: ${fix.title}`);
  return `${out.join("\n")}\n`;
}

function applyFix(text: string, diagnostic: Diagnostic): string {
  const edits = [...(diagnostic.fixes[0]?.edits ?? [])].sort((a, b) => b.span.start - a.span.start);
  return edits.reduce((result, { span, text: by }) => result.slice(0, span.start) + by + result.slice(span.end), text);
}

describe("diagnostics", () => {
  it("of the table of broken texts", () => {
    const out = cases.map(([where, text]) => {
      const file = parse(around[where](text), "t.moe");
      checkTree(file);
      expect(file.diagnostics.length, text).toBeGreaterThan(0);
      return `${where}: ${text}\n${file.diagnostics.map((d) => show(d, file.text)).join("")}`;
    });
    golden(join(root, "test/parser/golden/errors.txt"), `${out.join("\n")}`);
  });

  it.each(cases)("what follows is still there: %s: %s", (where, text) => {
    const { declarations } = parse(around[where](text), "t.moe");
    const last = declarations[declarations.length - 1]!;
    expect(last.kind).toBe(where === "at" ? "train" : "fn");
    if (where === "at") {
      const adapter = declarations[1]!;
      const clauses = adapter.kind === "adapter" ? adapter.sites[0]!.clauses : [];
      expect(clauses[clauses.length - 1]!.kind).toBe("unfreeze");
    } else expect(last).toMatchObject({ name: { text: "after" } });
  });

  it("safe fixes repair what they are offered for", () => {
    let tried = 0;
    for (const [where, text] of cases) {
      const whole = around[where](text);
      const { diagnostics } = parse(whole, "t.moe");
      for (const diagnostic of diagnostics) {
        if (!diagnostic.fixes[0]?.safe) continue;
        tried++;
        const after = parse(applyFix(whole, diagnostic), "t.moe").diagnostics;
        expect(after.length, `${text} → ${applyFix(whole, diagnostic)}: ${after.map((d) => d.message).join()}`).toBeLessThan(diagnostics.length);
      }
    }
    expect(tried).toBeGreaterThan(15);
  });
});

describe("the catalogue's examples", () => {
  for (const [code, row] of Object.entries(syntaxCodes)) {
    it.runIf(row.bad)(`${code} bad`, () => {
      expect(parse(row.bad!, "t.moe").diagnostics.map((d) => d.code)).toEqual([code]);
    });
    it.runIf(row.good)(`${code} good`, () => {
      expect(parse(row.good!, "t.moe").diagnostics).toEqual([]);
    });
  }
});
