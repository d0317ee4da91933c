import { fail } from "../diagnostics/index.ts";
import type { OptimizerSettings, ScheduleSettings, TrainSettings } from "../formats/manifest.ts";
import type { Call, Expression, TrainDeclaration } from "../parser/ast.ts";
import { SyntaxUnit, type Elaborator } from "./elaborate.ts";
import type { Scope } from "./scope.ts";
import { listed, suggest } from "./suggest.ts";
import { showConst } from "./values.ts";

/** What an adapter without a `train` block is trained with: the authors' script (LoRAMoE) where it says. */
export const defaultTrain: TrainSettings = {
  epochs: 1,
  batch: 8,
  accumulate: 1,
  length: 1024,
  seed: 1,
  optimizer: { name: "adamw", lr: 2e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 },
  schedule: { name: "cosine", warmup: 0.03 },
  clip: 1,
};

interface Range {
  readonly integer?: boolean;
  readonly min?: number;
  readonly above?: number;
  readonly below?: number;
  readonly max?: number;
}

const numbers: Readonly<Record<string, Range>> = {
  epochs: { above: 0, max: 1e6 },
  steps: { integer: true, min: 1 },
  batch: { integer: true, min: 1, max: 65536 },
  accumulate: { integer: true, min: 1, max: 65536 },
  length: { integer: true, min: 2, max: 1048576 },
  seed: { integer: true, min: 0, max: 2 ** 31 - 1 },
  clip: { min: 0 },
};

const settingNames = ["data", "test", "optimizer", "schedule", "memory", ...Object.keys(numbers)];

const optimizers: Readonly<Record<string, Readonly<Record<string, Range>>>> = {
  adamw: { lr: { above: 0 }, weight_decay: { min: 0 }, beta1: { min: 0, below: 1 }, beta2: { min: 0, below: 1 }, eps: { above: 0 } },
};

const schedules: Readonly<Record<string, Readonly<Record<string, Range>>>> = {
  constant: { warmup: { min: 0, below: 1 } },
  linear: { warmup: { min: 0, below: 1 } },
  cosine: { warmup: { min: 0, below: 1 } },
};

/** The `train` block with every default filled in. One mistake a setting; the others are still read. */
export function trainSettings(declaration: TrainDeclaration, scope: Scope, elaborator: Elaborator, guard: (body: () => void) => void): TrainSettings {
  const result: { -readonly [K in keyof TrainSettings]: TrainSettings[K] } = { ...defaultTrain };
  const seen = new Map<string, Expression>();
  for (const setting of declaration.settings) {
    guard(() => {
      const name = setting.name.text;
      if (!settingNames.includes(name)) {
        fail("MOE2003", `training has no setting "${name}"`, { at: setting.name.span, ...suggest(setting.name, settingNames, listed("its settings", settingNames)) });
      }
      const before = seen.get(name);
      if (before) fail("MOE2013", `"${name}" is set twice`, { at: setting.name.span, secondary: [{ span: before.span, text: "first set here" }] });
      seen.set(name, setting.value);
      if (name === "data" || name === "test") {
        const value = elaborator.evaluateConst(setting.value, scope, "a path is known at compile time").value;
        if (typeof value !== "string") fail("MOE2004", `${name} is a path in double quotes, this is ${showConst(value)}`, { at: setting.value.span });
        result[name] = value;
      } else if (name === "optimizer") {
        const { named, values } = settingCall(setting.value, optimizers, "optimizer", scope, elaborator);
        const d = defaultTrain.optimizer;
        result.optimizer = {
          name: named as OptimizerSettings["name"],
          lr: values["lr"] ?? d.lr,
          beta1: values["beta1"] ?? d.beta1,
          beta2: values["beta2"] ?? d.beta2,
          eps: values["eps"] ?? d.eps,
          weightDecay: values["weight_decay"] ?? d.weightDecay,
        };
      } else if (name === "schedule") {
        const { named, values } = settingCall(setting.value, schedules, "schedule", scope, elaborator);
        result.schedule = { name: named as ScheduleSettings["name"], warmup: values["warmup"] ?? 0 };
      } else if (name === "memory") {
        result.memory = memorySetting(setting.value, scope, elaborator);
      } else {
        const value = ranged(setting.value, numbers[name]!, name, scope, elaborator);
        (result as Record<string, unknown>)[name] = value;
      }
    });
  }
  const { epochs, steps } = { epochs: seen.get("epochs"), steps: seen.get("steps") };
  if (epochs && steps) guard(() => fail("MOE2017", "training runs for epochs or for steps, not both", { at: steps.span, secondary: [{ span: epochs.span, text: "epochs are given here" }] }));
  if (result.batch % result.accumulate !== 0) {
    guard(() =>
      fail("MOE2017", `a batch of ${result.batch} samples does not divide into ${result.accumulate} micro-batches`, {
        at: (seen.get("accumulate") ?? seen.get("batch") ?? { span: declaration.span }).span,
        help: "`batch` counts the samples of one step, over all its micro-batches",
      }),
    );
  }
  return result;
}

/** `memory keep`, `memory recompute`, or `memory 8`: so many GiB. */
function memorySetting(e: Expression, scope: Scope, elaborator: Elaborator): "keep" | "recompute" | number {
  const words = ["keep", "recompute"] as const;
  if (e.kind !== "name" || scope.lookup(e.text)) return ranged(e, { above: 0 }, "memory, in GiB,", scope, elaborator);
  return words.find((w) => w === e.text) ?? fail("MOE2004", `memory is keep, recompute, or a number of GiB; this is "${e.text}"`, { at: e.span, ...suggest(e, words) });
}

function settingCall(
  e: Expression,
  table: Readonly<Record<string, Readonly<Record<string, Range>>>>,
  what: string,
  scope: Scope,
  elaborator: Elaborator,
): { named: string; values: Record<string, number> } {
  if (e.kind === "missing") throw new SyntaxUnit();
  const call: Call | undefined = e.kind === "call" ? e : undefined;
  const name = call?.callee ?? (e.kind === "name" ? { text: e.text, span: e.span } : undefined);
  if (!name) return fail("MOE2004", `${article(what)} ${what} is needed here`, { at: e.span, help: `there are: ${Object.keys(table).map((n) => `${n}(…)`).join(", ")}` });
  if (!Object.hasOwn(table, name.text)) {
    return fail("MOE2002", `no ${what} is named "${name.text}"`, { at: name.span, ...suggest(name, Object.keys(table), listed("there are", Object.keys(table))) });
  }
  const ranges = table[name.text]!;
  const parameters = Object.keys(ranges).map((text) => ({ name: { text, span: name.span } }));
  const values: Record<string, number> = {};
  for (const [p, arg] of elaborator.bind(name.text, parameters, call?.args ?? [])) {
    values[p.name.text] = ranged(arg.value, ranges[p.name.text]!, `${name.text}'s ${p.name.text}`, scope, elaborator);
  }
  return { named: name.text, values };
}

function article(noun: string): string {
  return /^[aeiou]/.test(noun) ? "an" : "a";
}

function ranged(e: Expression, range: Range, what: string, scope: Scope, elaborator: Elaborator): number {
  const value = elaborator.evaluateConst(e, scope, `${what} is known at compile time`).value;
  const wants = [
    range.integer ? "a whole number" : "a number",
    range.min !== undefined ? `of at least ${range.min}` : range.above !== undefined ? `above ${range.above}` : "",
    range.max !== undefined ? `up to ${range.max}` : range.below !== undefined ? `below ${range.below}` : "",
  ].filter(Boolean);
  const ok =
    typeof value === "number" &&
    Number.isFinite(value) &&
    (!range.integer || Number.isSafeInteger(value)) &&
    (range.min === undefined || value >= range.min) &&
    (range.above === undefined || value > range.above) &&
    (range.max === undefined || value <= range.max) &&
    (range.below === undefined || value < range.below);
  if (!ok) return fail("MOE2004", `${what} is ${wants.join(" ")}, this is ${showConst(value)}`, { at: e.span });
  return value;
}
