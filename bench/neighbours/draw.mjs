// Draws a chart as SVG, without a browser.
import { parse, View } from "vega";
import { compile } from "vega-lite";

/** @param chart a specification of Vega-Lite */
export async function draw(chart) {
  return await new View(parse(compile(chart).spec), { renderer: "none" }).toSVG();
}
