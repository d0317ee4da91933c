export { renderGithub } from "./github.ts";
export { jsonReport, renderJson, type JsonDiagnostic, type JsonPlace, type JsonReport } from "./json.ts";
export { lineColumn, type Position, type Texts } from "./position.ts";
export { renderPretty, type PrettyOptions } from "./pretty.ts";
export { renderSarif } from "./sarif.ts";
