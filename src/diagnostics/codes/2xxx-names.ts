import { codes } from "../row.ts";

/** 2xxx: names, kinds and types. */
export const nameCodes = codes({
  MOE2001: {
    severity: "error",
    title: "unknown name",
    explain: "A name is used that nothing in scope declares. Names come from the definition's parameters and weights, the site (`in`, `out`, `layer`, `layers`), `param` and `const`, and the library.",
  },
  MOE2002: {
    severity: "error",
    title: "unknown definition",
    explain: "An expert, router, balance, model or function is called that neither the library nor the spec defines. Each kind has its own names: `route` takes routers, `experts` takes experts.",
  },
  MOE2003: {
    severity: "error",
    title: "arguments do not fit",
    explain: "A call gives an argument that the definition does not take, gives one twice, or leaves out one that has no default.",
  },
  MOE2004: {
    severity: "error",
    title: "value out of its type or range",
    explain: "A value is not of the type, among the choices or in the range that is declared for it.",
  },
  MOE2005: {
    severity: "error",
    title: "wrong kind of value",
    explain: "A number is needed where a text stands, a tensor where a truth value stands, and so on.",
  },
  MOE2006: {
    severity: "error",
    title: "not a function",
    explain: "Something is called that is no function, linear layer or block.",
  },
  MOE2007: {
    severity: "error",
    title: "`if` on data",
    explain: "`if` chooses while the spec is compiled, so its condition must be known then. To choose element by element use `where(condition, a, b)`.",
  },
  MOE2008: {
    severity: "error",
    title: "not known at compile time",
    explain: "Counts, ranks, sizes and weights of balances are fixed when the spec is compiled; this depends on the data.",
  },
  MOE2009: {
    severity: "error",
    title: "index outside a list",
    explain: "A list is indexed beyond its ends. Entries count from 0; an index with a fraction is rounded down, so `[2, 4, 6, 8][layer * 4 / layers]` gives each quarter of the layers its own number.",
  },
  MOE2010: {
    severity: "error",
    title: "division by zero",
    explain: "A compile-time expression divides by zero.",
  },
  MOE2011: {
    severity: "error",
    title: "a requirement does not hold",
    explain: "A definition states what its arguments must satisfy (`require`), and at this site they do not.",
  },
  MOE2012: {
    severity: "error",
    title: "endless recursion",
    explain: "A function calls itself without end.",
  },
  MOE2013: {
    severity: "error",
    title: "defined twice",
    explain: "A name is defined twice in one place. A spec may define again what the library defines, but nothing of its own twice.",
  },
  MOE2014: {
    severity: "error",
    title: "two stacks of layers",
    explain: "A model has at most one repeated block.",
  },
  MOE2015: {
    severity: "error",
    title: "asks for what is not given",
    explain: "What a definition asks for is its parameter list. An expert is given `x`, `y` and `W`; a router `x` and `mask`; a balance `gates`, `mask`, `matched` and every name its router gives to an intermediate value.",
  },
  MOE2016: {
    severity: "error",
    title: "no initial value",
    explain: "A trainable weight starts from a known distribution: `zeros()`, `ones()`, `constant(value)`, `normal(std)`, `uniform(bound)`, `kaiming_uniform(a)`.",
  },
  MOE2017: {
    severity: "error",
    title: "settings contradict each other",
    explain: "Two settings of the `train` block cannot hold together.",
  },
  MOE2020: {
    severity: "error",
    title: "two routers",
    explain: "A site has one router; its experts share it.",
  },
  MOE2021: {
    severity: "error",
    title: "scope of a router",
    explain: "A router belongs to one linear layer.",
  },
  MOE2022: {
    severity: "error",
    title: "experts without a router",
    explain: "Experts are weighted by a router's gates. Without one nothing says how much each counts; an expert that always counts is written `always`.",
  },
  MOE2023: {
    severity: "error",
    title: "a router without experts",
    explain: "A router's gates weigh experts; here there are none.",
  },
  MOE2024: {
    severity: "error",
    title: "a balance without a router",
    explain: "A balance is a loss on a router's gates; here there is no router.",
  },
  MOE2025: {
    severity: "error",
    title: "nothing to do",
    explain: "A clause or an adapter changes nothing and trains nothing.",
  },
  MOE2026: {
    severity: "error",
    title: "no kinds mapped",
    explain: "The balance tells kinds of data apart, so it needs to know which kind belongs to which group: `{ world_knowledge -> knowledge }`.",
  },
  MOE2027: {
    severity: "warning",
    title: "a group no kind maps to",
    explain: "The arrows name other groups only. That is legal, and every kind of data is then treated as not belonging to this group.",
  },
  MOE2028: {
    severity: "error",
    title: "arrows without effect",
    explain: "The balance does not ask for `matched`, so a map from kinds to groups would be ignored.",
  },
  MOE2029: {
    severity: "error",
    title: "an item that means nothing here",
    explain: "Linears and blocks are parts of a model. Experts and routers have weights of their own, which start from an initial value; a model's weights come from its checkpoint; a balance measures the gates and has no weights.",
  },
  MOE2090: {
    severity: "error",
    title: "not there yet",
    explain: "The language has a spelling for this, and the compiler does not carry it out yet. Nothing is trained that would silently mean less than what is written.",
  },
});
