import type { Manifest } from "../formats/manifest.ts";

/** What the graph does not say about a program: the compiler fills it in from the checked spec. */
export interface ProgramInfo extends Pick<Manifest, "adapter" | "backend" | "spec" | "base" | "groups" | "kinds" | "fields" | "sites" | "train" | "peft"> {
  /** The compiler's version. */
  readonly moec: string;
  /** The spec's doc comment on the adapter. */
  readonly doc?: string;
}
