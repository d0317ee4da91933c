import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { machine, type Machine, type Measured } from "./measure.ts";
import { neighbour } from "./neighbours.ts";

/** One measured thing in a picture. */
export interface Bar extends Pick<Measured, "name" | "median">, Partial<Pick<Measured, "quartiles">> {
  /** Bars of one group stand together under its name. */
  readonly group: string;
}

export interface Bars {
  readonly title: string;
  readonly bars: readonly Bar[];
  /** Milliseconds by default. */
  readonly unit?: string;
  /** One axis for all groups, which may be logarithmic where times lie far apart, or one for each. */
  readonly scales?: "one" | "logarithmic" | "own";
}

/** Curves over one axis, both logarithmic: a straight line of slope one is growth in proportion. */
export interface CurveGroup {
  readonly title: string;
  readonly axis: string;
  readonly curves: readonly { readonly name: string; readonly points: readonly (Measured & { readonly x: number })[] }[];
}

/** The line that says where numbers come from. */
export function describe(m: Machine): string {
  return `${m.cpu}, ${m.cores} cores, Node ${m.node}, ${m.platform}, wasm on ${m.wasmThreads === 1 ? "one thread" : `${m.wasmThreads} threads`}`;
}

/** Writes `NAME.json` into a folder, and the picture as `NAME.svg` where what draws is installed. */
export async function report(folder: string, name: string, result: object, picture?: object): Promise<void> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
  const drawing = picture && (await neighbour<{ readonly draw: (chart: object) => Promise<string> }>("draw"));
  if (drawing) writeFileSync(join(folder, `${name}.svg`), `${await drawing.draw(picture)}\n`);
}

const ours = "#c2410c";
const theirs = "#475569";

/** Points at medians, lines between quartiles, the groups below each other: a chart of Vega-Lite. */
export function bars({ title, bars, unit = "milliseconds", scales = "one" }: Bars): object {
  const scaleOf = (of: readonly Bar[]): object => {
    const ends = of.flatMap((b) => [b.median, ...(b.quartiles ?? [])]);
    return scales === "logarithmic" ? { type: "log", domain: [Math.min(...ends) / 1.5, Math.max(...ends) * 2] } : { zero: true, domain: [0, Math.max(...ends) * 1.1] };
  };
  const spread = bars.some((b) => b.quartiles);
  const color = { condition: { test: "indexof(datum.name, 'moec') === 0", value: ours }, value: theirs };
  const groups = [...new Set(bars.map((b) => b.group))].map((group) => {
    const own = bars.filter((b) => b.group === group);
    const scale = scaleOf(scales === "own" ? own : bars);
    const y = { field: "name", type: "nominal", title: null, sort: own.map((b) => b.name), axis: { labelLimit: 400, minExtent: 240 } };
    const x = (field: string): object => ({ field, type: "quantitative", title: `${unit}${spread ? ": median, and the line that half of the rounds lie on" : ""}`, scale });
    return {
      title: { text: group, anchor: "start", fontSize: 11 },
      data: { values: own.map(({ name, median, quartiles: [low, high] = [median, median] }) => ({ name, median, low, high, text: median < 10 ? median.toFixed(1) : median.toFixed(0) })) },
      width: 520,
      height: { step: 20 },
      layer: [
        { mark: { type: "rule", strokeWidth: 3, opacity: 0.5 }, encoding: { y, x: x("low"), x2: { field: "high" }, color } },
        { mark: { type: "point", filled: true, size: 60, opacity: 1 }, encoding: { y, x: x("median"), color } },
        { mark: { type: "text", align: "left", dx: 8, dy: -7, fontSize: 10 }, encoding: { y, x: x("median"), text: { field: "text" }, color } },
      ],
    };
  });
  return { title: titleOf(title), background: "white", vconcat: groups };
}

/** One small chart for each group, two in a row. */
export function curves(title: string, groups: readonly CurveGroup[]): object {
  const charts = groups.map((group) => {
    const values = group.curves.flatMap(({ name, points }) => points.map(({ x, median, quartiles: [low, high] }) => ({ name, x, median, low, high })));
    const names = group.curves.map((c) => c.name);
    const sizes = [...new Set(values.map((v) => v.x))].sort((a, b) => a - b);
    const x = { field: "x", type: "quantitative", title: group.axis.replace(/\W*$/, ""), scale: { type: "log", base: 2, nice: false, domain: [sizes[0]! / 1.15, sizes.at(-1)! * 1.15] }, axis: { values: sizes, format: "d" } };
    const y = (field: string): object => ({ field, type: "quantitative", title: "milliseconds", scale: { type: "log", nice: true } });
    const color = { field: "name", type: "nominal", title: null, sort: names, scale: { domain: names, range: names.map((n, i) => (n.startsWith("moec") ? [ours, "#f59e0b"][i % 2]! : [theirs, "#94a3b8"][i % 2]!)) }, legend: { orient: "top", direction: "vertical", labelLimit: 320 } };
    return {
      title: { text: group.title, anchor: "start", fontSize: 11 },
      data: { values },
      width: 320,
      height: 200,
      layer: [
        { mark: { type: "line", strokeWidth: 1.5 }, encoding: { x, y: y("median"), color } },
        { mark: { type: "rule", strokeWidth: 3, opacity: 0.5 }, encoding: { x, y: y("low"), y2: { field: "high" }, color } },
        { mark: { type: "point", filled: true, size: 45, opacity: 1 }, encoding: { x, y: y("median"), color } },
      ],
    };
  });
  return { title: titleOf(title), background: "white", concat: charts, columns: 2, resolve: { scale: { color: "independent", x: "independent", y: "independent" } } };
}

function titleOf(title: string): object {
  const [text, ...more] = title.split("\n");
  return { text, subtitle: [...more, describe(machine())], anchor: "start", offset: 12 };
}
