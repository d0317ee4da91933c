import { codes } from "../row.ts";

/** 52xx: backends. */
export const backendCodes = codes({
  MOE5201: { severity: "error", title: "backend not usable", explain: "The backend asked for is not installed or does not work on this machine. `moec doctor` says why." },
});
