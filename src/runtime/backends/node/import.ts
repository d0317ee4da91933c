/**
 * A module of an address that is known at run time. In a file of its own because the command line, one script from kept code
 * (`cli/start.ts`), cannot import by itself: V8 forgets whose import it is. There what starts the script does it (`scripts/build.mjs`).
 */
export const importModule = (url: string): Promise<unknown> => import(/* @vite-ignore */ url);
