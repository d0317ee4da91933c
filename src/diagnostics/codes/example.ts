/** A whole spec with these clauses on the linears of the MLP, for the catalogue's examples. */
export function adapting(clauses: string, more = "", path = "layers.*.mlp.*_proj"): string {
  const lines = clauses.split("\n").map((line) => `    ${line}\n`);
  return `base llama = llama("models/tiny-llama")\n\nadapter A on llama {\n  at ${path} {\n${lines.join("")}  }\n}\n${more === "" ? "" : `\n${more}\n`}`;
}

/** Two routed experts of a definition of the example's own. */
export function ownExpert(definition: string, call = "own()"): string {
  return adapting(`experts e[2] = ${call}\nroute softmax()`, definition);
}

/** Two routed experts and a router of the example's own. */
export function ownRouter(definition: string): string {
  return adapting("experts e[2] = lora(rank: 4)\nroute own()", definition);
}

/** Two routed experts and a balance of the example's own. */
export function ownBalance(definition: string, more = ""): string {
  return adapting(`experts e[2] = lora(rank: 4)\nroute softmax()\nbalance 0.1 * own()${more}`, definition);
}
