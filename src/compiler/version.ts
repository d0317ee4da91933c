declare const MOEC_VERSION: string | undefined;

/** The compiler's version: the package's, put in when it is bundled. */
export const version: string = typeof MOEC_VERSION === "string" ? MOEC_VERSION : "0.0.0-source";
