import { OnnxGraph } from "../../src/codegen/onnx/graph.ts";

/** The frozen layer alone: y = xW and dx = CWᵀ, with both layouts given. */
export const productModel: Uint8Array = (() => {
  const g = new OnnxGraph();
  for (const [name, ...dims] of [["x", "T", "in"], ["W", "in", "out"], ["C", "T", "out"], ["Wt", "out", "in"]] as const) g.input(name, { type: "f32", dims });
  g.output(g.named("y", "MatMul", ["x", "W"]), { type: "f32", dims: ["T", "out"] });
  g.output(g.named("dx", "MatMul", ["C", "Wt"]), { type: "f32", dims: ["T", "in"] });
  return g.finish("frozen", { doc: "", producer: "", metadata: {} });
})();
