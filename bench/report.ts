import { mkdirSync, writeFileSync } from "node:fs";
import { machine, type Machine, type Measured } from "./measure.ts";
import { neighbour } from "./neighbours.ts";

/** One measured thing in a picture. */
export interface Bar extends Measured {
  /** Bars of one group stand together under its name. */
  readonly group: string;
}

export interface Picture {
  readonly title: string;
  readonly bars: readonly Bar[];
  /** Times that lie far apart are drawn on a logarithmic axis. */
  readonly logarithmic?: boolean;
}

/** The line that says where numbers come from. */
export function describe(m: Machine): string {
  return `${m.cpu}, ${m.cores} cores, Node ${m.node}, ${m.platform}`;
}

/** Writes `bench/results/NAME.json`, and `NAME.svg` where what draws is installed. */
export async function report(name: string, result: object, picture: Picture): Promise<void> {
  mkdirSync("bench/results", { recursive: true });
  writeFileSync(`bench/results/${name}.json`, `${JSON.stringify(result, null, 2)}\n`);
  const drawing = await neighbour<{ readonly draw: (chart: object) => Promise<string> }>("draw");
  if (drawing) writeFileSync(`bench/results/${name}.svg`, `${await drawing.draw(chart(picture))}\n`);
}

/** Points at medians, lines between quartiles, the groups below each other on one axis: a chart of Vega-Lite. */
function chart({ title, bars, logarithmic }: Picture): object {
  const [first, ...more] = title.split("\n");
  const ends = bars.flatMap((b) => [b.median, ...b.quartiles]);
  const scale = logarithmic ? { type: "log", domain: [Math.min(...ends) / 1.5, Math.max(...ends) * 2] } : { zero: true, domain: [0, Math.max(...ends) * 1.1] };
  const color = { condition: { test: "indexof(datum.name, 'moec') === 0", value: "#c2410c" }, value: "#475569" };
  const groups = [...new Set(bars.map((b) => b.group))].map((group) => {
    const own = bars.filter((b) => b.group === group);
    const y = { field: "name", type: "nominal", title: null, sort: own.map((b) => b.name), axis: { labelLimit: 400, minExtent: 240 } };
    const x = (field: string): object => ({ field, type: "quantitative", title: "milliseconds: median, and the line that half of the rounds lie on", scale });
    return {
      title: { text: group, anchor: "start", fontSize: 11 },
      data: { values: own.map(({ name, median, quartiles: [low, high] }) => ({ name, median, low, high, text: median < 10 ? median.toFixed(1) : median.toFixed(0) })) },
      width: 520,
      height: { step: 20 },
      layer: [
        { mark: { type: "rule", strokeWidth: 3, opacity: 0.5 }, encoding: { y, x: x("low"), x2: { field: "high" }, color } },
        { mark: { type: "point", filled: true, size: 60, opacity: 1 }, encoding: { y, x: x("median"), color } },
        { mark: { type: "text", align: "left", dx: 8, dy: -7, fontSize: 10 }, encoding: { y, x: x("median"), text: { field: "text" }, color } },
      ],
    };
  });
  return { title: { text: first, subtitle: [...more, describe(machine())], anchor: "start", offset: 12 }, background: "white", vconcat: groups };
}
