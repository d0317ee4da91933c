import { diagnostic, didYouMean, fail, type Diagnostic } from "../diagnostics/index.ts";
import type { ConstDeclaration, ParamDeclaration } from "../parser/ast.ts";
import type { Definitions } from "./definitions.ts";
import { help, type Elaborator } from "./elaborate.ts";
import type { Scope } from "./scope.ts";
import { listed } from "./suggest.ts";
import { valuesIn } from "./text.ts";
import { constant, showConst, type Entity } from "./values.ts";

/** Says what is wrong, and goes on with the next unit. */
export interface Reports {
  readonly add: (d: Diagnostic) => void;
  readonly guard: (body: () => void) => void;
}

/** Puts `param`s and `const`s into `scope`, in the order of the text; `set` are values from the command line, as texts. */
export function evaluateConstants(set: ReadonlyMap<string, string>, definitions: Definitions, dry: Elaborator, scope: Scope, reporter: Reports): void {
  const names = definitions.constants.filter((c) => c.kind === "param").map((c) => c.name.text);
  for (const name of set.keys()) {
    if (!names.includes(name)) {
      reporter.add(diagnostic("MOE9002", `--set ${name}: the spec has no param "${name}"`, help(didYouMean(name, names) ?? listed("its params", names, "it has none: declare one, for example `param rank: int = 4`"))));
    }
  }
  for (const [i, c] of definitions.constants.entries()) {
    reporter.guard(() => {
      inOrder(c, definitions.constants.slice(i));
      if (c.kind === "const") {
        scope.define(c.name.text, dry.evaluateConst(c.value, scope, "a const is known at compile time"));
        return;
      }
      let value = dry.typed(c.type, c.default, scope, c.name.text);
      const text = set.get(c.name.text);
      if (text !== undefined) value = setValue(c.name.text, c.type.kind, text, c.type.kind === "choice" ? c.type.choices.map((x) => x.text) : undefined);
      if (c.allowed && value.kind === "const") {
        const allowed = dry.evaluateConst(c.allowed, scope, "allowed values are known at compile time").value;
        const given = value.value;
        if (!Array.isArray(allowed)) fail("MOE2005", `the values that ${c.name.text} may have are a list`, { at: c.allowed.span, help: "for example in [1, 2, 4]" });
        if (!allowed.includes(given)) {
          const one = `${c.name.text} is one of ${allowed.map(showConst).join(", ")}`;
          if (text === undefined) fail("MOE2004", `${one}; its default is ${showConst(given)}`, { at: c.default.span, secondary: [{ span: c.allowed.span, text: "the values it may have" }] });
          fail("MOE9002", `--set ${c.name.text}=${text}: ${one}`);
        }
      }
      scope.define(c.name.text, value);
    });
    if (!scope.names.has(c.name.text)) scope.faulty.add(c.name.text);
  }
}

/** A constant may use those above it. */
function inOrder(c: ParamDeclaration | ConstDeclaration, rest: readonly (ParamDeclaration | ConstDeclaration)[]): void {
  const values = c.kind === "const" ? [c.value] : [c.default, ...(c.allowed ? [c.allowed] : [])];
  for (const name of values.flatMap((v) => [...valuesIn(v)])) {
    const later = name.kind === "name" ? rest.find((r) => r.name.text === name.text) : undefined;
    if (!later) continue;
    if (later === c) fail("MOE2012", `"${c.name.text}" is made from itself`, { at: name.span });
    fail("MOE2001", `"${later.name.text}" is not known yet`, { at: name.span, secondary: [{ span: later.name.span, text: "it is declared here" }], help: "declare it above: constants are computed in the order of the text" });
  }
}

function setValue(name: string, type: string, text: string, choices: readonly string[] | undefined): Entity {
  const bad = (what: string) => fail("MOE9002", `--set ${name}=${text}: ${name} is ${what}`);
  switch (type) {
    case "int":
    case "float": {
      const number = Number(text);
      if (text.trim() === "" || !Number.isFinite(number) || (type === "int" && !Number.isSafeInteger(number))) bad(type === "int" ? "a whole number" : "a number");
      return constant(number);
    }
    case "bool":
      if (text !== "true" && text !== "false") bad("true or false");
      return constant(text === "true");
    case "choice":
      if (!choices!.includes(text)) bad(`one of ${choices!.join(", ")}`);
      return constant(text === "none" ? null : text, choices!);
    default:
      return constant(text);
  }
}
