import { syntaxCodes } from "./codes/1xxx-syntax.ts";
import { nameCodes } from "./codes/2xxx-names.ts";
import { shapeCodes } from "./codes/3xxx-shapes.ts";
import { graphCodes } from "./codes/4xxx-graph.ts";
import { fileCodes } from "./codes/51xx-files.ts";
import { backendCodes } from "./codes/52xx-backends.ts";
import { runCodes } from "./codes/53xx-runs.ts";
import { configCodes } from "./codes/9xxx-configuration.ts";

/** Every diagnostic moec can give. `moec explain CODE` prints the row. */
export const catalogue = {
  ...syntaxCodes,
  ...nameCodes,
  ...shapeCodes,
  ...graphCodes,
  ...fileCodes,
  ...backendCodes,
  ...runCodes,
  ...configCodes,
};

export type Code = keyof typeof catalogue;
