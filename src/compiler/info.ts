import type { CheckedAdapter, ModelNode, SitePlan } from "../check/index.ts";
import type { Manifest, ManifestSite } from "../formats/manifest.ts";
import type { ProgramInfo } from "../codegen/info.ts";
import type { Weight } from "../ir/graph.ts";
import type { Program } from "./program.ts";
import { version } from "./version.ts";

/** What the manifest says beyond the graph: from the checked spec. `weights` are those of the lowered module. */
export async function programInfo(program: Program, adapter: CheckedAdapter, weights: readonly Weight[]): Promise<ProgramInfo> {
  const { model } = adapter.base;
  const { config } = model;
  const peft = peftOf(adapter);
  const vocabulary = model.nodes.flatMap((n) => n.axes).find((a) => a.name === "vocab")?.size;
  const context = config["max_position_embeddings"];
  return {
    moec: version,
    adapter: adapter.name,
    spec: { file: program.file, sha256: await sha256(specTexts(program)) },
    base: {
      model: model.definition.name.text,
      path: adapter.base.path,
      config,
      vocabulary: typeof vocabulary === "number" ? vocabulary : Number(config["vocab_size"] ?? 0),
      ...(typeof context === "number" ? { context } : {}),
    },
    groups: adapter.plan.groups.map(({ name, experts }) => ({ name, experts })),
    kinds: adapter.plan.kinds,
    ...(adapter.plan.fields.length ? { fields: adapter.plan.fields } : {}),
    sites: sitesOf(adapter, weights),
    train: adapter.train,
    ...(peft ? { peft } : {}),
    ...(adapter.declaration.doc ? { doc: adapter.declaration.doc } : {}),
  };
}

/** Everything the adapter was made from: the spec, its imports and the library, so that a change in any is noticed. */
function specTexts(program: Program): string {
  return [...program.texts].filter(([path]) => path.endsWith(".moe")).map(([path, text]) => `${path === program.file ? "" : path}\0${text}`).sort().join("\0");
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function sitesOf(adapter: CheckedAdapter, weights: readonly Weight[]): ManifestSite[] {
  const { plan, base } = adapter;
  const counts = trainableBySource(weights);
  return base.model.nodes.flatMap((node): ManifestSite[] => {
    const path = node.path.join(".");
    const site = plan.sites.get(path);
    const unfrozen = plan.unfrozen.has(path);
    if (!site && !unfrozen) return [];
    let trainable = 0;
    for (const [name, n] of counts) if (name.startsWith(`${path}.`) || node.tensors.some((t) => t.name === name)) trainable += n;
    const [from, to] = node.axes;
    return [
      {
        path,
        ...(node.layer === undefined ? {} : { layer: node.layer }),
        ...(site && typeof from?.size === "number" && typeof to?.size === "number" ? { in: from.size, out: to.size, module: moduleOf(node) } : {}),
        experts: site ? expertsOf(site) : [],
        trainable,
      },
    ];
  });
}

/** A linear's path in the base's own code. */
function moduleOf(node: ModelNode): string {
  return node.tensors[0]!.usual.slice(0, -".weight".length);
}

export function expertsOf(site: SitePlan): ManifestSite["experts"] {
  return [
    ...site.groups.map((g) => ({ group: g.name, kind: g.kind, count: g.count, always: false })),
    ...site.banks.filter((b) => b.always).map((b) => ({ group: b.name, kind: b.definition.name.text, count: 1, always: true })),
  ];
}

/** Trainable numbers by file tensor. */
function trainableBySource(weights: readonly Weight[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const w of weights) {
    if (!w.trainable || w.layoutOf !== undefined) continue;
    const type = w.type.kind === "list" ? w.type.of : w.type;
    const size = type.axes.reduce((n, a) => n * (typeof a.size === "number" ? a.size : 1), 1);
    for (const source of w.sources) {
      const names = source.adapter?.names ?? (source.tensor === undefined ? [] : [source.tensor]);
      for (const name of names) counts.set(name, (counts.get(name) ?? 0) + size / names.length);
    }
  }
  return counts;
}

/**
 * PEFT's LoraConfig can say an adapter where every site has just one always-on `lora` of the library, with equal
 * arguments, and the adapted modules are told by the ends of their names.
 */
function peftOf(adapter: CheckedAdapter): Manifest["peft"] {
  const { plan, base } = adapter;
  if (plan.sites.size === 0 || plan.unfrozen.size > 0) return undefined;
  let found: Manifest["peft"];
  for (const [, site] of plan.sites) {
    const [bank] = site.banks;
    const definition = bank?.definition;
    if (!bank || site.banks.length !== 1 || !bank.always || definition?.name.text !== "lora" || !definition.span.file.startsWith("std/")) return undefined;
    const value = (name: string): number | undefined => {
      const e = bank.parameters.get(name);
      return e?.kind === "const" && typeof e.value === "number" ? e.value : undefined;
    };
    const rank = value("rank");
    const alpha = value("alpha");
    const dropout = value("dropout");
    if (rank === undefined || alpha === undefined || dropout === undefined) return undefined;
    if (found && (found.rank !== rank || found.alpha !== alpha || found.dropout !== dropout)) return undefined;
    found = { rank, alpha, dropout, targets: [], rslora: false, fanInFanOut: false };
  }
  const linears = base.model.nodes.filter((n) => n.kind === "linear");
  const adapted = linears.filter((n) => plan.sites.has(n.path.join(".")));
  const targets = targetsOf(adapted, linears);
  return found && targets && { ...found, targets, fanInFanOut: adapted.some((n) => n.tensors[0]!.axes[0] === n.axes[0]) };
}

/**
 * The shortest ends of names, of one length, that all adapted linears have and no other: "gate_proj", or "mlp.c_proj" where
 * the attention has a c_proj too. None where layers are told apart: those are numbers.
 */
function targetsOf(adapted: readonly ModelNode[], linears: readonly ModelNode[]): readonly string[] | undefined {
  const end = (n: ModelNode, length: number): string => n.path.slice(-length).join(".");
  const within = Math.min(...adapted.map((n) => n.path.length - 1 - n.path.findLastIndex((part) => /^[0-9]+$/.test(part))));
  for (let length = 1; length <= within; length++) {
    const targets = new Set(adapted.map((n) => end(n, length)));
    if (linears.filter((n) => targets.has(end(n, length))).length === adapted.length) return [...targets].sort();
  }
  return undefined;
}
