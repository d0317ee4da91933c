import { literal } from "./names.ts";

/** A property's name in an object literal. `__proto__` is computed: written plainly it would set the prototype. */
export function propertyKey(name: string): string {
  if (name === "__proto__") return `["__proto__"]`;
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : literal(name);
}

/** JSON-able data as an expression. */
export function value(data: unknown): string {
  if (typeof data === "string") return literal(data);
  if (Array.isArray(data)) return `[${data.map(value).join(", ")}]`;
  if (typeof data === "object" && data !== null) {
    const entries = Object.entries(data).filter(([, v]) => v !== undefined);
    return `{${entries.map(([k, v]) => `${propertyKey(k)}: ${value(v)}`).join(", ")}}`;
  }
  return JSON.stringify(data) ?? "undefined";
}
