import { planCosts, type CostPlan, type SiteCosts } from "../../compiler/index.ts";
import type { BackendName } from "../../formats/backends.ts";
import { chooseFrom, type RunOptions } from "../load.ts";
import { exitCodes, type Terminal } from "../terminal.ts";
import { aligned, amount, byteAmount, ranges, share } from "../units.ts";

interface Options extends RunOptions {
  readonly batch?: number;
  readonly length?: number;
  readonly for?: BackendName;
}

/** `moec plan FILE`: what the adapter costs, from headers alone. */
export async function plan(terminal: Terminal, file: string, options: Options): Promise<number> {
  const chosen = await chooseFrom(terminal, file, options);
  const costs = planCosts(chosen.program, chosen.adapter, options);
  if (terminal.json) terminal.printJson(costs);
  else {
    const { context } = costs.base;
    if (context !== undefined && costs.batch.length > context) terminal.say(terminal.color.yellow(`the base was made for sequences of ${context} tokens, the plan is for ${costs.batch.length}`));
    terminal.print(showPlan(costs, terminal.resultColor.bold));
  }
  return exitCodes.fine;
}

/** The plan as tables: sites alike on one line, then the totals. */
export function showPlan(costs: CostPlan, bold: (text: string) => string = (t) => t): string {
  const { base, batch } = costs;
  const dtypes = Object.keys(base.dtypes).join(" and ");
  const micro = batch.microBatches > 1 ? `${batch.microBatches} micro-batches of ${Math.ceil(batch.samples / batch.microBatches)}` : `a batch of ${batch.samples}`;
  return [
    `${bold(costs.adapter)} on ${base.path}: ${base.model}, ${base.layers} layers, ${amount(base.parameters)} parameters in ${dtypes}; ${micro} × ${batch.length} tokens`,
    "",
    siteTable(costs),
    "",
    memoryTable(costs),
  ].join("\n");
}

function siteTable(costs: CostPlan): string {
  const { operations, trainable } = costs;
  const rows = costs.sites.map((s) => [
    siteName(s),
    s.count === 1 ? "" : `×${s.count}`,
    s.in === undefined ? "" : `${s.in} → ${s.out}`,
    whatStands(s),
    amount(s.trainable),
    amount(s.count * s.trainable),
    s.operations ? amount(s.operations.extra) : "",
    s.operations ? share(s.operations.extra / s.operations.frozen) : "",
  ]);
  const sites = costs.sites.reduce((n, s) => n + s.count, 0);
  return aligned(
    [
      ["site", "", "linear", "experts", "trainable", "in all", "extra ops", "of frozen"],
      ...rows,
      ["total", `×${sites}`, "", "", "", amount(trainable.parameters), amount(operations.extra), share(operations.extra / operations.base)],
    ],
    "lrllrrrr",
  );
}

function siteName(s: SiteCosts): string {
  if (s.path === "") return "shared by the model";
  const [, stack, rest] = /^([^.]+)\.\*(?:\.(.*))?$/.exec(s.path) ?? [];
  if (stack === undefined) return s.path;
  return `${stack} ${ranges(s.layers)}${rest === undefined ? "" : ` · ${rest}`}`;
}

/** "knowledge 3 + skill 3 lora, softmax". */
function whatStands(s: SiteCosts): string {
  const parts: string[] = [];
  const routed = s.experts.filter((e) => !e.always);
  for (const kind of new Set(routed.map((e) => e.kind))) parts.push(`${routed.filter((e) => e.kind === kind).map((e) => `${e.group} ${e.count}`).join(" + ")} ${kind}`);
  for (const e of s.experts) if (e.always) parts.push(`always ${e.kind}`);
  if (s.router) parts.push(s.router);
  if (s.unfrozen) parts.push("unfrozen");
  return parts.join(", ");
}

function memoryTable(costs: CostPlan): string {
  const { memory, operations, trainable } = costs;
  const { activations } = memory;
  const kept = activations.layers + activations.outside;
  const rows: string[][] = [
    ["operations per token, base", amount(operations.base), ""],
    ["operations per token, adapter", amount(operations.extra), share(operations.extra / operations.base)],
    ["operations per token, training", operations.training === 0 ? "–" : amount(operations.training), "forward, backward and optimizer"],
    ["trainable parameters", amount(trainable.parameters), `${share(trainable.share)} of the base's`],
    ["", "", ""],
    ["base", byteAmount(memory.base), `float32; ${byteAmount(memory.checkpoint)} in its files`],
    ["base, transposed", byteAmount(memory.layouts), "matrices that training needs both ways"],
    ["adapter", byteAmount(memory.adapter), ""],
    ["AdamW's moments", byteAmount(memory.moments), ""],
    ["gradients", byteAmount(memory.gradients), ""],
    ["kept for backward", byteAmount(kept), `${byteAmount(activations.layers)} inside layers, ${byteAmount(activations.outside)} outside`],
    ["peak beside weights and moments", byteAmount(memory.peak), "at most: activations, gradients, work under way"],
    ["training in all", memory.training === 0 ? "–" : byteAmount(memory.training), ""],
    ["evaluation in all", byteAmount(memory.evaluation), ""],
  ];
  return aligned(rows.filter((r) => r[0] !== "base, transposed" || memory.layouts > 0), "lrl");
}
