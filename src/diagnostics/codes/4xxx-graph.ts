import { codes } from "../row.ts";

/** 4xxx: the graph. */
export const graphCodes = codes({
  MOE4001: {
    severity: "error",
    title: "a constraint of an operation does not hold",
    explain:
      "The graph verifier found an operation whose operands or attributes break a numbered constraint of the op table (`docs/graph.md` lists them). A spec that passed the checks should never lead here: unless you wrote the graph text yourself, this is a bug of moec, and worth reporting with the spec.",
  },
  MOE4002: {
    severity: "error",
    title: "a constraint of the graph does not hold",
    explain:
      "The graph verifier found a function, a weight or an entry that breaks one of the rules that hold for a whole graph: C-ssa (a value is made once and before its uses), C-axis (an axis name has one size in a function), C-results, C-functions, C-release, C-weights and C-entries (`docs/graph.md` lists them). Unless you wrote the graph text yourself, this is a bug of moec, and worth reporting with the spec.",
  },
  MOE4101: {
    severity: "error",
    title: "unexpected text in a graph",
    explain: "The text form of a graph has something that cannot stand at this place. `docs/graph.md` shows the form; `moec` prints it for every program, so the nearest printed graph is a good model.",
  },
  MOE4102: {
    severity: "error",
    title: "unknown name in a graph",
    explain: "A graph's text names an operation, a value, a function or a weight that is not there, or not yet: values are made before their uses, and functions stand before those that call them.",
  },
  MOE4103: {
    severity: "error",
    title: "name used twice in a graph",
    explain: "Functions, weights and entries have unique names in a module, values in a function, and attributes in an operation.",
  },
});
